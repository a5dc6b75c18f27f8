//! The connector: generates the configured load while others measure, and reports what it saw (spec/metrics-and-load.md §3.6).

use std::sync::Arc;

use servo_dispatch::{
    BoxError, Check, CheckEvent, ConfigProblem, Connector, ConnectorCommand, ConnectorContext,
    Describe, HandlerContext, Maturity, Measure, Metadata, Metrics, On, Routes, Stage,
};
use servo_messages::{Description, EventError, Measurement, Metric, TimeSeries};

use crate::{
    checks, command,
    config::VegetaConfig,
    load::{self, Load},
    metric::LoadMetric,
    report::Report,
};

/// `spec/config-and-cli.md` §7.6
const SAMPLE: &str = "\
description: Update the rate and target/targets to match your load profile
rate: 50/1s
target: GET https://example.com/
";

/// Generates open-loop HTTP load during each measurement.
#[derive(Debug)]
pub struct Vegeta {
    config: Arc<VegetaConfig>,
}

impl Connector for Vegeta {
    type Config = VegetaConfig;

    const METADATA: Metadata = Metadata::new("vegeta", "Vegeta", "0.5.0")
        .describe("Vegeta load testing connector")
        .homepage("https://github.com/opsani/vegeta-connector")
        .maturity(Maturity::Stable)
        .license("Apache 2.0");

    const COMMANDS: &'static [ConnectorCommand] = &[command::ATTACK];

    fn sample() -> &'static str {
        SAMPLE
    }

    fn validate(config: &VegetaConfig) -> Vec<ConfigProblem> {
        let mut problems: Vec<_> = config
            .problems()
            .into_iter()
            .map(|(key, message)| ConfigProblem::error(key, message))
            .collect();
        if config.rate.paced().is_none() && config.max_workers.is_none_or(|most| most == 0) {
            let workers = config.workers;
            problems.push(ConfigProblem::warning(
                "max_workers",
                format!("is not set, so rate {} is as fast as {workers} concurrent clients (workers) can", config.rate),
            ));
        }
        problems
    }

    fn build(config: Arc<VegetaConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Ok(Self { config })
    }

    fn routes(_: &VegetaConfig, routes: &mut Routes<Self>) {
        routes
            .on::<Describe>()
            .on::<Metrics>()
            .on::<Measure>()
            .on::<CheckEvent>()
            .dynamic(
                command::event(),
                Stage::On,
                |connector, event, cx| async move {
                    let result = command::attack(&connector.config, &event.args, &cx).await;
                    result.map(Some).map_err(Into::into)
                },
            );
    }
}

impl On<Describe> for Vegeta {
    async fn on(&self, _: &Describe, _: &HandlerContext) -> Result<Description, EventError> {
        Ok(Description {
            metrics: metrics(),
            ..Description::default()
        })
    }
}

impl On<CheckEvent> for Vegeta {
    async fn on(&self, event: &CheckEvent, cx: &HandlerContext) -> Result<Vec<Check>, EventError> {
        checks::run(&self.config, event, cx).await
    }
}

impl On<Metrics> for Vegeta {
    async fn on(&self, _: &Metrics, _: &HandlerContext) -> Result<Vec<Metric>, EventError> {
        Ok(metrics())
    }
}

impl On<Measure> for Vegeta {
    async fn on(&self, measure: &Measure, cx: &HandlerContext) -> Result<Measurement, EventError> {
        let control = &measure.control;
        let duration = match self.config.duration {
            // Nobody said how long: `servo measure` without a duration.
            Some(own) if control.duration.is_zero() && cx.command_uid().is_none() => own,
            _ => control.duration,
        };
        if duration.is_zero() {
            tracing::warn!("the duration of the measurement is zero: no load is generated");
            return Ok(Measurement::default());
        }
        let load = Load::prepare(&self.config, control.warmup, duration).await?;
        let profile = load.profile(control);
        tracing::info!("{profile}");
        let outcome = load.run(cx).await?;
        if outcome.summary.cancelled {
            return Err(cx.cancelled());
        }
        let mut measurement = Measurement::new(
            wanted(measure.metrics.as_deref())
                .map(|metric| series(metric, &outcome.reports).into()),
        );
        measurement
            .annotations
            .insert("load_profile".to_owned(), profile);
        measurement
            .annotations
            .extend(load::remarks(&outcome.summary));
        Ok(measurement)
    }
}

fn metrics() -> Vec<Metric> {
    LoadMetric::ALL
        .into_iter()
        .map(LoadMetric::metric)
        .collect()
}

/// The metrics that were asked for. Names of other connectors' metrics are not ours to refuse.
fn wanted(names: Option<&[String]>) -> impl Iterator<Item = LoadMetric> {
    LoadMetric::ALL.into_iter().filter(move |metric| {
        names.is_none_or(|names| names.is_empty() || names.iter().any(|name| name == metric.name()))
    })
}

fn series(metric: LoadMetric, reports: &[Report]) -> TimeSeries {
    TimeSeries::new(
        metric.metric(),
        reports
            .iter()
            .map(|report| (report.end, metric.value(report))),
    )
}
