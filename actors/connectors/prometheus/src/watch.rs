//! Watches the service levels of a command while its measurement runs (`spec/optimizer-protocol.md §14`,
//! `spec/metrics-and-load.md` §2.3).

use std::future;

use jiff::Timestamp;
use servo_messages::{
    Control, EventError, FastFailConfig, Reading, Slo, SloObserver, english_series,
};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::{config::MetricConfig, measuring::Measuring, window::Window};

/// The reason of a command whose conditions make no sense.
const INVALID_COMMAND: &str = "invalid-command";

/// What is watched, from when it was made.
pub(crate) struct Watch<'a> {
    measuring: &'a Measuring,
    config: &'a FastFailConfig,
    /// Those of the configured metrics that a condition names.
    metrics: Vec<&'a MetricConfig>,
    observer: SloObserver,
    since: Instant,
}

impl<'a> Watch<'a> {
    /// Begins to watch what `control` asks for; none if that is nothing, or if watching is switched off.
    pub(crate) fn begin(
        measuring: &'a Measuring,
        config: &'a FastFailConfig,
        control: &Control,
    ) -> Result<Option<Self>, EventError> {
        if config.disabled {
            return Ok(None);
        }
        let refused =
            |error| EventError::failed(format!("control: {error}")).with_reason(INVALID_COMMAND);
        let Some(slo) = Slo::of(control)
            .map_err(refused)?
            .filter(|slo| !slo.conditions.is_empty())
        else {
            return Ok(None);
        };
        for warning in &slo.warnings {
            tracing::warn!("{warning}");
        }
        let names = slo.metrics();
        let is_configured = |name: &str| measuring.configured().iter().any(|m| m.name == name);
        let unknown: Vec<_> = names.iter().filter(|name| !is_configured(name)).collect();
        if !unknown.is_empty() {
            tracing::warn!(
                "SLO conditions name metrics that are not configured here and so are always missing: {}",
                english_series(unknown)
            );
        }
        let conditions: Vec<String> = slo.conditions.iter().map(ToString::to_string).collect();
        tracing::info!(
            "Fast Fail enabled, the following SLO Conditions will be monitored during measurement: {}",
            conditions.join(", ")
        );
        let metrics = measuring
            .configured()
            .iter()
            .filter(|metric| names.contains(metric.name.as_str()))
            .collect();
        Ok(Some(Self {
            measuring,
            config,
            metrics,
            observer: SloObserver::new(slo, config.treat_zero_as_missing),
            since: Instant::now(),
        }))
    }

    /// Checks period after period and ends only with the violation that ends the measurement.
    pub(crate) async fn violated(mut self) -> EventError {
        let period = self.config.period.as_std();
        let Some(first) = self.since.checked_add(period).filter(|_| !period.is_zero()) else {
            // Beyond the end of time.
            return future::pending().await;
        };
        let mut ticks = interval_at(first, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            if self.since.elapsed() < self.config.skip.as_std() {
                continue;
            }
            let now = Timestamp::now();
            let readings = self.readings(now).await;
            let verdict = self.observer.observe(now, &readings);
            tracing::info!("{verdict}");
            if let Some(violation) = verdict.violation {
                return violation;
            }
        }
    }

    /// What Prometheus knows of the span before `now`. What it does not tell is missing.
    async fn readings(&self, now: Timestamp) -> Vec<Reading> {
        let span = self.config.span();
        let window = now
            .checked_sub(span.as_std())
            .and_then(|start| Window::starting(start, span));
        match window {
            Ok(window) => self.measuring.read_once(&self.metrics, window).await,
            Err(error) => {
                tracing::warn!("the fast_fail.span of {span} is too long: {error}");
                Vec::new()
            }
        }
    }
}
