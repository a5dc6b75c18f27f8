//! The connector: generates the configured load while others measure, and reports what it saw (spec/metrics-and-load.md §3.6).

use std::{sync::Arc, time::Instant};

use servo_dispatch::{
    BoxError, ConfigProblem, Connector, ConnectorContext, Describe, HandlerContext, Maturity,
    Measure, Metadata, Metrics, On, Routes,
};
use servo_messages::{
    Description, Duration, EventError, Measurement, Metric, ProgressText, TimeSeries,
};

use crate::{
    attack::{Attack, Summary, Update},
    config::VegetaConfig,
    metric::LoadMetric,
    report::{Ailment, Health, Report},
    target::Target,
};

/// Error texts that the annotation names.
const MOST_SHOWN_ERRORS: usize = 3;

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
        routes.on::<Describe>().on::<Metrics>().on::<Measure>();
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
        let targets = self.load_targets().await?;
        let profile = format!(
            "Loading {} URL(s) for {duration} (delay of {}, warmup of {}) at a rate of {} (reporting every {})",
            targets.len(),
            control.delay,
            control.warmup,
            self.config.rate,
            self.config.reporting_interval,
        );
        tracing::info!("{profile}");
        let subject = Subject {
            text: format!(
                "Vegeta attacking \"{}\" @ {}",
                self.config.shown_target(&targets),
                self.config.rate
            ),
            total: control.warmup.saturating_add(duration),
            began: Instant::now(),
        };
        let plan = self.config.plan(targets, control.warmup, duration);
        let mut attack = Attack::start(plan, cx.cancellation())
            .await
            .map_err(failed)?;
        let mut reports = Vec::new();
        while let Some(update) = attack.update().await {
            match update {
                Update::Report(report) => {
                    subject.tell(cx, Some(&report));
                    reports.push(*report);
                }
                Update::Interim(report) => subject.tell(cx, report.as_deref()),
            }
        }
        let summary = attack.finish().await.map_err(failed)?;
        if summary.cancelled {
            return Err(cx.cancelled());
        }
        let mut measurement = Measurement::new(
            wanted(measure.metrics.as_deref()).map(|metric| series(metric, &reports).into()),
        );
        measurement
            .annotations
            .insert("load_profile".to_owned(), profile);
        annotate(&mut measurement, &summary);
        Ok(measurement)
    }
}

impl Vegeta {
    async fn load_targets(&self) -> Result<Vec<Target>, EventError> {
        let config = self.config.clone();
        tokio::task::spawn_blocking(move || config.load_targets())
            .await
            .map_err(failed)?
            .map_err(failed)
    }
}

/// What is under load, for progress texts.
struct Subject {
    text: String,
    total: Duration,
    began: Instant,
}

impl Subject {
    /// Reports progress with the figures so far; there are none during warm-up.
    fn tell(&self, cx: &HandlerContext, report: Option<&Report>) {
        let elapsed = self.began.elapsed();
        let percent = (100.0 * elapsed.as_secs_f64() / self.total.as_secs_f64()).min(100.0);
        // Whole milliseconds read better.
        let elapsed = std::time::Duration::from_millis(
            u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        )
        .into();
        let figures = report.map_or_else(|| "warming up".to_owned(), figures);
        let text = ProgressText { percent, elapsed }.before(&format!("{}: {figures}", self.text));
        cx.progress(percent, Some(text));
    }
}

fn figures(report: &Report) -> String {
    let of = |metric: LoadMetric| metric.value(report);
    format!(
        "~{:.2}rpm ({:.2}% errors) [latencies: 50th={:.2}ms, 90th={:.2}ms, 95th={:.2}ms, 99th={:.2}ms]",
        of(LoadMetric::Throughput),
        of(LoadMetric::ErrorRate),
        of(LoadMetric::Latency50th),
        of(LoadMetric::Latency90th),
        of(LoadMetric::Latency95th),
        of(LoadMetric::Latency99th),
    )
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

/// Says in log and annotations where the load was not what was asked for.
fn annotate(measurement: &mut Measurement, summary: &Summary) {
    let Summary {
        planned,
        missed,
        limit,
        dropped_updates,
        ..
    } = *summary;
    if missed > 0 {
        let text = format!(
            "could not sustain the rate: {missed} of {planned} requests were not sent (max_workers={limit})"
        );
        tracing::warn!("{text}");
        measurement
            .annotations
            .insert("load_missed".to_owned(), text);
    }
    if let Some(report) = &summary.report {
        let health = report.health;
        match health {
            Health::Valid => {}
            // Told above.
            Health::Degraded(Ailment::Missed { .. }) | Health::Invalid(Ailment::Missed { .. }) => {}
            // Worth a note: what it adds also shows in the scatter of the figures.
            Health::Degraded(Ailment::Late { .. }) => tracing::info!("the load was {health}"),
            Health::Invalid(Ailment::Late { .. }) => {
                tracing::warn!("the load was {health}: it was not the planned one");
            }
        }
        if health != Health::Valid {
            measurement
                .annotations
                .insert("load_health".to_owned(), health.to_string());
        }
        if let Some(text) = failures(report) {
            tracing::warn!("{text}");
            measurement
                .annotations
                .insert("load_errors".to_owned(), text);
        }
    }
    if dropped_updates > 0 {
        tracing::warn!(
            dropped_updates,
            "reports were lost because this servo was busy"
        );
    }
}

/// What went wrong, for people: the metrics only say how often.
fn failures(report: &Report) -> Option<String> {
    let (shown, others) = report
        .errors
        .split_at(report.errors.len().min(MOST_SHOWN_ERRORS));
    if shown.is_empty() {
        return None;
    }
    let requests = report.requests;
    let mut text = if report.success > 0.0 {
        let share = LoadMetric::ErrorRate.value(report);
        format!("{share:.2}% of {requests} requests failed")
    } else {
        format!("all {requests} requests failed (latencies tell how fast)")
    };
    text.push_str(": ");
    text.push_str(&shown.join("; "));
    if !others.is_empty() {
        text.push_str(&format!("; and {} other errors", others.len()));
    }
    Some(text)
}

fn failed(cause: impl std::fmt::Display) -> EventError {
    EventError::measurement_failed(format!("no load could be generated: {cause}"))
}
