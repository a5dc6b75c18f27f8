//! A run as the connector makes it: from the stanza to reports and remarks, with progress on the way
//! (spec/metrics-and-load.md §3.6).

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use servo_dispatch::HandlerContext;
use servo_messages::{Control, Duration, EventError, ProgressText};

use crate::{
    attack::{Attack, Summary, Update},
    config::VegetaConfig,
    metric::LoadMetric,
    published,
    report::{Ailment, Health, Report},
    target::Target,
};

/// Error texts that a remark names.
const MOST_SHOWN_ERRORS: usize = 3;

/// A load with everything read that it needs, not yet started.
pub(crate) struct Load {
    config: Arc<VegetaConfig>,
    targets: Vec<Target>,
    warmup: Duration,
    duration: Duration,
}

/// What a load has come to.
pub(crate) struct Outcome {
    /// The periodic reports and the final one.
    pub(crate) reports: Vec<Report>,
    pub(crate) summary: Summary,
}

impl Load {
    /// Reads the targets.
    pub(crate) async fn prepare(
        config: &Arc<VegetaConfig>,
        warmup: Duration,
        duration: Duration,
    ) -> Result<Self, EventError> {
        let config = config.clone();
        let read = config.clone();
        let targets = tokio::task::spawn_blocking(move || read.load_targets())
            .await
            .map_err(failed)?
            .map_err(failed)?;
        Ok(Self {
            config,
            targets,
            warmup,
            duration,
        })
    }

    /// What is going to be done, in one sentence.
    pub(crate) fn profile(&self, control: &Control) -> String {
        format!(
            "Loading {} URL(s) for {} (delay of {}, warmup of {}) at a rate of {} (reporting every {})",
            self.targets.len(),
            self.duration,
            control.delay,
            self.warmup,
            self.config.rate,
            self.config.reporting_interval,
        )
    }

    /// Generates the load, reporting progress, and publishing each report to whoever subscribed. A cancelled one says so
    /// in its summary.
    ///
    /// # Errors
    /// It could not be generated.
    pub(crate) async fn run(self, cx: &HandlerContext) -> Result<Outcome, EventError> {
        let subject = Subject {
            text: format!(
                "Vegeta attacking \"{}\" @ {}",
                self.config.shown_target(&self.targets),
                self.config.rate
            ),
            total: self.warmup.saturating_add(self.duration),
            began: Instant::now(),
        };
        let plan = self.config.plan(self.targets, self.warmup, self.duration);
        let mut attack = Attack::start(plan, cx.cancellation())
            .await
            .map_err(failed)?;
        let published = published::Reports::of(cx);
        let mut reports = Vec::new();
        while let Some(update) = attack.update().await {
            match update {
                Update::Report(report) => {
                    subject.tell(cx, Some(&report));
                    published.publish(&report);
                    reports.push(*report);
                }
                Update::Interim(report) => subject.tell(cx, report.as_deref()),
            }
        }
        let summary = attack.finish().await.map_err(failed)?;
        Ok(Outcome { reports, summary })
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

/// The most telling numbers of a report, on one line.
pub(crate) fn figures(report: &Report) -> String {
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

/// Where the load was not what was asked for, by the name of an annotation. Also says it in the log.
pub(crate) fn remarks(summary: &Summary) -> BTreeMap<String, String> {
    let mut remarks = BTreeMap::new();
    let mut remark = |name: &str, text: String| remarks.insert(name.to_owned(), text);
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
        remark("load_missed", text);
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
            remark("load_health", health.to_string());
        }
        if let Some(text) = failures(report) {
            tracing::warn!("{text}");
            remark("load_errors", text);
        }
    }
    if dropped_updates > 0 {
        tracing::warn!(
            dropped_updates,
            "reports were lost because this servo was busy"
        );
    }
    remarks
}

/// What went wrong, for people: the metrics only say how often.
pub(crate) fn failures(report: &Report) -> Option<String> {
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
