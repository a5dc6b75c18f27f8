//! Whether the configured load can be generated and is answered: a short run of it (spec/metrics-and-load.md §3.7).

use std::{cell::OnceCell, sync::Arc, time::Duration};

use servo_dispatch::{Check, CheckEvent, CheckFailure, Checks, HandlerContext};
use servo_messages::EventError;

use crate::{
    config::VegetaConfig,
    load::{self, Load, Outcome},
    metric::LoadMetric,
    plan::ReportMode,
};

/// How long the load lasts.
const DURATION: Duration = Duration::from_secs(5);
/// How often it is reported.
const REPORTING_INTERVAL: Duration = Duration::from_secs(1);
/// The error rate, in percent, that is too high.
const HIGHEST_ERROR_RATE: f64 = 5.0;
/// What a run may take beyond its load and the time limit of its last request.
const MARGIN: Duration = Duration::from_secs(5);
/// What the checks say that have nothing to look at.
const NO_RUN: &str = "no load test was run";

/// Runs the load once, if a check wants it, and looks at what came of it.
pub(crate) async fn run(
    config: &VegetaConfig,
    event: &CheckEvent,
    cx: &HandlerContext,
) -> Result<Vec<Check>, EventError> {
    let outcome = OnceCell::new();
    let tested = || outcome.get().ok_or_else(|| CheckFailure::new(NO_RUN));
    let mut checks = Checks::new();
    checks
        .require("Vegeta execution", async || {
            let found = generate(config, cx).await?;
            let text = execution(&found);
            let _ = outcome.set(found);
            Ok::<_, CheckFailure>(text)
        })
        .id("check_execution")
        .describe("The load can be generated: 5 seconds of it at the configured rate")
        .within(limit(config, event));
    checks
        .check("Report aggregation", async || {
            aggregation(tested()?.reports.len())
        })
        .id("check_report_aggregation")
        .describe("The load is reported on while it goes on");
    checks
        .check("Error rate < 5.0%", async || error_rate(tested()?))
        .id("check_error_rates")
        .describe("The targets answer the load");
    checks.run(event, cx).await
}

/// A run ends when its last request has, which may take as long as a request may.
fn limit(config: &VegetaConfig, event: &CheckEvent) -> Duration {
    let timeout = config.timeout.as_std();
    if timeout.is_zero() {
        return event.timeout;
    }
    event
        .timeout
        .min(timeout.saturating_add(DURATION).saturating_add(MARGIN))
}

async fn generate(config: &VegetaConfig, cx: &HandlerContext) -> Result<Outcome, CheckFailure> {
    let config = Arc::new(VegetaConfig {
        reporting_interval: REPORTING_INTERVAL.into(),
        report_mode: ReportMode::Cumulative,
        ..config.clone()
    });
    let failed = |error: EventError| {
        CheckFailure::new(format!("Vegeta exit code: 1 ({})", error.message)).hint(
            "correct `target` or `targets`, the files named there, or what the message says of this machine",
        )
    };
    let load = Load::prepare(&config, Duration::ZERO.into(), DURATION.into())
        .await
        .map_err(failed)?;
    load.run(cx).await.map_err(failed)
}

fn execution(outcome: &Outcome) -> String {
    let summary = &outcome.summary;
    let sent = summary.planned.saturating_sub(summary.missed);
    match summary.missed {
        0 => format!("Vegeta exit code: 0 ({sent} requests sent)"),
        _ => format!(
            "Vegeta exit code: 0 ({sent} of {} requests sent: at most {} could be under way at once)",
            summary.planned, summary.limit
        ),
    }
}

fn aggregation(reports: usize) -> Result<String, CheckFailure> {
    let message = format!("Collected {reports} reports");
    if reports > 0 {
        return Ok(message);
    }
    Err(CheckFailure::new(message).hint("no request came to its end: is `timeout` too long?"))
}

fn error_rate(outcome: &Outcome) -> Result<String, CheckFailure> {
    let Some(last) = outcome.reports.last() else {
        return Err(CheckFailure::new(NO_RUN));
    };
    let rate = LoadMetric::ErrorRate.value(last);
    let message = format!("Vegeta reported an error rate of {rate:.2}%");
    if rate < HIGHEST_ERROR_RATE {
        return Ok(message);
    }
    let seen = load::failures(last).unwrap_or_default();
    Err(CheckFailure::new(message).hint(format!(
        "make sure that the targets stand this load and answer with a status from 200 to 399: {seen}"
    )))
}
