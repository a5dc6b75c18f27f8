//! The connector: a servo's events, answered by Prometheus.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use servo_dispatch::{
    BeforeError, BoxError, Check, CheckEvent, ConfigProblem, Connector, ConnectorCommand,
    ConnectorContext, Describe, EventName, HandlerContext, Maturity, Measure, Metadata, Metrics,
    On, Routes, Stage,
};
use servo_messages::{Description, EventError, Measurement, Metric};

use tokio::sync::OnceCell;

use crate::{
    checks::Subject, client::PrometheusClient, config::PrometheusConfig, measuring::Measuring,
    scraped, streaming, validation,
};

/// The longest time between two progress reports (`spec/metrics-and-load.md` §0.8).
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// The command and its event.
const TARGETS: &str = "targets";
/// Why a command was not even tried.
const INVALID_ARGUMENT: &str = "invalid-argument";

/// `spec/metrics-and-load.md` §1.1
const SAMPLE: &str = "\
description: Update the base_url and metrics to match your Prometheus configuration
metrics:
- name: throughput
  unit: rps
  query: rate(http_requests_total[5m])
- name: error_rate
  unit: '%'
  query: rate(errors[5m])
";

/// Measures by PromQL range queries.
#[derive(Debug)]
pub struct Prometheus {
    config: Arc<PrometheusConfig>,
    measuring: Measuring,
}

impl Connector for Prometheus {
    type Config = PrometheusConfig;

    const METADATA: Metadata = Metadata::new("prometheus", "Prometheus", "1.5.0")
        .describe("Prometheus Connector for Opsani")
        .homepage("https://github.com/opsani/prometheus-connector")
        .maturity(Maturity::Stable)
        .license("Apache 2.0");

    const COMMANDS: &'static [ConnectorCommand] = &[ConnectorCommand {
        name: TARGETS,
        about: "Show what Prometheus scrapes at present",
        arguments: &[],
        event: TARGETS,
        columns: &[
            ("POOL", "pool"),
            ("HEALTH", "health"),
            ("URL", "url"),
            ("LABELS", "labels"),
            ("LAST SCRAPED", "last_scraped"),
            ("ERROR", "error"),
        ],
    }];

    fn sample() -> &'static str {
        SAMPLE
    }

    fn validate(config: &PrometheusConfig) -> Vec<ConfigProblem> {
        validation::problems(config)
    }

    fn build(config: Arc<PrometheusConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        let problems = validation::problems(&config);
        let errors: Vec<String> = problems
            .iter()
            .filter(|problem| !problem.warning)
            .map(ToString::to_string)
            .collect();
        if !errors.is_empty() {
            return Err(errors.join("; ").into());
        }
        Ok(Self {
            measuring: Measuring::new(&config, PrometheusClient::new(&config)?),
            config,
        })
    }

    fn routes(config: &PrometheusConfig, routes: &mut Routes<Self>) {
        #[expect(clippy::expect_used, reason = "a constant, seen by every test")]
        let targets = EventName::try_new(TARGETS).expect("a name of an event");
        routes
            .on::<Describe>()
            .on::<Metrics>()
            .on::<Measure>()
            .on::<CheckEvent>()
            .dynamic(targets, Stage::On, |connector, event, cx| async move {
                connector.targets(&event.args, &cx).await.map(Some)
            });
        if let Some(interval) = config.streaming_interval {
            streaming::stream(routes, interval);
        }
    }
}

impl Prometheus {
    /// What it measures, and how.
    pub(crate) fn measuring(&self) -> &Measuring {
        &self.measuring
    }

    /// Answers `servo prometheus targets`: a row for each active target.
    async fn targets(&self, args: &Value, cx: &HandlerContext) -> Result<Value, BeforeError> {
        if let Some(unknown) = args.as_object().and_then(|args| args.keys().next()) {
            let text = format!("{TARGETS} takes no argument, but was given '{unknown}'");
            return Err(EventError::failed(text)
                .with_reason(INVALID_ARGUMENT)
                .into());
        }
        let asked = scraped::rows(self.measuring.client());
        match cx.cancellation().run_until_cancelled(asked).await {
            Some(rows) => rows.map_err(|error| EventError::failed(error.to_string()).into()),
            None => Err(cx.cancelled().into()),
        }
    }
}

impl On<CheckEvent> for Prometheus {
    async fn on(&self, event: &CheckEvent, cx: &HandlerContext) -> Result<Vec<Check>, EventError> {
        let subject = Subject {
            client: self.measuring.client(),
            metrics: self.measuring.configured(),
            expected: self.config.targets.as_deref().unwrap_or_default(),
            scraped: OnceCell::new(),
        };
        subject.checks(event).run(event, cx).await
    }
}

impl On<Metrics> for Prometheus {
    async fn on(&self, _: &Metrics, _: &HandlerContext) -> Result<Vec<Metric>, EventError> {
        Ok(self.measuring.metrics())
    }
}

impl On<Describe> for Prometheus {
    async fn on(&self, _: &Describe, _: &HandlerContext) -> Result<Description, EventError> {
        Ok(Description {
            metrics: self.measuring.metrics(),
            ..Description::default()
        })
    }
}

impl On<Measure> for Prometheus {
    async fn on(&self, measure: &Measure, cx: &HandlerContext) -> Result<Measurement, EventError> {
        self.measuring
            .measure(
                measure.metrics.as_deref(),
                &measure.control,
                cx.cancellation(),
                async |total, text| {
                    let total = total.as_std();
                    let interval = LONGEST_SILENCE.min(total);
                    cx.sleep_with_progress(total, interval, &text).await
                },
            )
            .await
    }
}
