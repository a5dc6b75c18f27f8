//! The connector: a servo's events, answered by Prometheus.

use std::{sync::Arc, time::Duration};

use servo_dispatch::{
    BoxError, ConfigProblem, Connector, ConnectorContext, Describe, HandlerContext, Maturity,
    Measure, Metadata, Metrics, On, Routes,
};
use servo_messages::{Description, EventError, Measurement, Metric};

use crate::{client::PrometheusClient, config::PrometheusConfig, measuring::Measuring, validation};

/// The longest time between two progress reports (`spec/metrics-and-load.md` §0.8).
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// Measures by PromQL range queries.
#[derive(Debug)]
pub struct Prometheus {
    measuring: Measuring,
    watches: bool,
}

impl Connector for Prometheus {
    type Config = PrometheusConfig;

    const METADATA: Metadata = Metadata::new("prometheus", "Prometheus", env!("CARGO_PKG_VERSION"))
        .describe("Prometheus Connector for Opsani")
        .homepage("https://github.com/opsani/prometheus-connector")
        .maturity(Maturity::Stable)
        .license("Apache 2.0");

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
            watches: !config.fast_fail.disabled,
        })
    }

    fn routes(_: &PrometheusConfig, routes: &mut Routes<Self>) {
        routes.on::<Describe>().on::<Metrics>().on::<Measure>();
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
        if self.watches && measure.control.slo().is_some() {
            tracing::warn!(
                "the SLO conditions of the optimizer are not watched during the measurement: fast_fail is \
                 without effect in this version"
            );
        }
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
