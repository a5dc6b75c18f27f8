//! What each command asks of the connectors, and what their answers mean to the optimizer
//! (`spec/optimizer-protocol.md` §7, §8).

use std::time::Duration;

use jiff::Timestamp;
use servo_dispatch::{
    Adjust, Describe, DispatchError, DispatchOptions, DispatchOutcome, Event, Measure, Veto,
};
use servo_messages::{Adjustment, Control, Description, EventError, Measurement, english_series};
use servo_protocol::{CommandKind, Explanation, Outcome, Payload};
use tokio::time::Instant;

use super::{Execution, event_of};

impl Execution<'_> {
    /// Has the connectors do what is asked, in the time that it may take.
    pub(super) async fn carry_out(
        &self,
        kind: CommandKind,
        known_metrics: &mut Option<Vec<String>>,
        options: DispatchOptions,
    ) -> Outcome {
        match kind {
            CommandKind::Describe { control } => {
                self.describe(control, known_metrics, options).await
            }
            CommandKind::Measure { metrics, control } => {
                self.measure(metrics, control, known_metrics.as_deref(), options)
                    .await
            }
            CommandKind::Adjust {
                adjustments,
                control,
            } => self.adjust(adjustments, control, options).await,
            // The loop never gets here with a SLEEP; saying so beats a panic.
            CommandKind::Sleep(_) => failed(EventError::failed("SLEEP is not an operation")),
        }
    }

    async fn describe(
        &self,
        control: Control,
        known_metrics: &mut Option<Vec<String>>,
        options: DispatchOptions,
    ) -> Outcome {
        let options = DispatchOptions {
            timeout: self.limit(self.policy.describe_timeout),
            ..options
        };
        match self.ask(Describe { control }, options).await {
            Err(outcome) => outcome,
            Ok(results) => {
                let description = self.merge(results.into_iter().map(|(_, d)| d));
                tracing::info!(
                    servo = self.servo,
                    command_uid = self.command_uid(),
                    event = Describe::NAME,
                    "Described: {} components, {} metrics",
                    description.components.len(),
                    description.metrics.len()
                );
                *known_metrics = Some(description.metrics.iter().map(|m| m.name.clone()).collect());
                Outcome::Ok(Payload::Descriptor(description))
            }
        }
    }

    async fn measure(
        &self,
        metrics: Vec<String>,
        control: Control,
        known_metrics: Option<&[String]>,
        options: DispatchOptions,
    ) -> Outcome {
        self.tell_of_unknown(&metrics, known_metrics);
        let options = DispatchOptions {
            timeout: (control.total().as_std())
                .saturating_add(self.limit(self.policy.measure_slack)),
            ..options
        };
        let event = Measure {
            metrics: (!metrics.is_empty()).then_some(metrics),
            control,
        };
        let results = match self.ask(event, options).await {
            Err(outcome) => return outcome,
            Ok(results) => results,
        };
        let measurement = results
            .into_iter()
            .fold(Measurement::default(), |all, (_, one)| all.merge(one));
        tracing::info!(
            servo = self.servo,
            command_uid = self.command_uid(),
            event = Measure::NAME,
            "Measured: {} readings, {} annotations",
            measurement.readings.len(),
            measurement.annotations.len()
        );
        match Payload::measured(&measurement, Timestamp::now()) {
            Ok((payload, warnings)) => {
                for warning in warnings {
                    tracing::warn!(
                        servo = self.servo,
                        command_uid = self.command_uid(),
                        event = Measure::NAME,
                        "{warning}"
                    );
                }
                Outcome::Ok(payload)
            }
            Err(error) => failed(
                EventError::measurement_failed(format!(
                    "the measurement cannot be expressed for the optimizer: {error}"
                ))
                .with_reason("unknown"),
            ),
        }
    }

    /// An optimizer may ask for anything, thousands of times; each command has a few lines at most.
    fn tell_of_unknown(&self, metrics: &[String], known: Option<&[String]>) {
        const MOST: usize = 10;
        let Some(known) = known else { return };
        let mut unknown = metrics.iter().filter(|metric| !known.contains(metric));
        for metric in unknown.by_ref().take(MOST) {
            tracing::warn!(
                servo = self.servo,
                command_uid = self.command_uid(),
                event = Measure::NAME,
                metric,
                "no connector declares this metric; it will be missing"
            );
        }
        let more = unknown.count();
        if more > 0 {
            tracing::warn!(
                servo = self.servo,
                command_uid = self.command_uid(),
                event = Measure::NAME,
                "nor does any declare {more} other metrics that are asked for"
            );
        }
    }

    async fn adjust(
        &self,
        adjustments: Vec<Adjustment>,
        control: Control,
        options: DispatchOptions,
    ) -> Outcome {
        tracing::info!(
            servo = self.servo,
            command_uid = self.command_uid(),
            event = Adjust::NAME,
            "Adjusting... [{}]",
            english_series(adjustments.iter().map(ToString::to_string))
        );
        let options = DispatchOptions {
            timeout: self
                .limit(self.policy.adjust_timeout)
                .saturating_add(control.settlement.map(|s| s.as_std()).unwrap_or_default()),
            ..options
        };
        let event = Adjust {
            adjustments,
            control,
        };
        match self.ask(event, options).await {
            Err(outcome) => outcome,
            // An adjustment that nobody carried out must not pass for one that was.
            Ok(results) if results.is_empty() => failed(EventError::adjustment_failed(
                "adjustment failed: no connector handled the request",
            )),
            Ok(results) => {
                let description = self.merge(results.into_iter().map(|(_, d)| d));
                tracing::info!(
                    servo = self.servo,
                    command_uid = self.command_uid(),
                    event = Adjust::NAME,
                    "Adjusted: {} components, {} settings",
                    description.components.len(),
                    description
                        .components
                        .iter()
                        .map(|c| c.settings.len())
                        .sum::<usize>()
                );
                Outcome::Ok(Payload::State(description))
            }
        }
    }

    fn merge(&self, descriptions: impl Iterator<Item = Description>) -> Description {
        let mut all = Description::default();
        for description in descriptions {
            for warning in all.merge(description) {
                tracing::warn!(
                    servo = self.servo,
                    command_uid = self.command_uid(),
                    event = event_of(self.operation),
                    "{warning}"
                );
            }
        }
        all
    }

    /// What a command may take beyond what it asks for itself.
    fn limit(&self, usual: Duration) -> Duration {
        self.policy.command_timeout.unwrap_or(usual)
    }

    /// The connectors' contributions, or the outcome that there is instead.
    async fn ask<E: Event>(
        &self,
        event: E,
        options: DispatchOptions,
    ) -> Result<Vec<(String, E::Output)>, Outcome> {
        let patience = options.timeout.saturating_add(options.grace);
        let began = Instant::now();
        let dispatched = self.dispatcher.dispatch(event, options).await;
        if matches!(dispatched, Err(DispatchError::Deadline { .. })) && began.elapsed() >= patience
        {
            // Past the grace their supervisor has ended those that were still at work.
            self.forced.set(true);
        }
        settle(dispatched)
    }
}

/// The contributions of a dispatch, or the outcome that it means to the optimizer.
fn settle<T>(
    dispatched: Result<DispatchOutcome<T>, DispatchError>,
) -> Result<Vec<(String, T)>, Outcome> {
    match dispatched {
        Ok(DispatchOutcome {
            cancelled_by,
            results,
        }) if cancelled_by.is_empty() => Ok(results
            .into_iter()
            .filter_map(|r| Some((r.connector.to_string(), r.value.ok()?)))
            .collect()),
        // A vetoed command must not pass for an empty result.
        Ok(DispatchOutcome { cancelled_by, .. }) => Err(Outcome::Cancelled(Explanation {
            message: vetoed(&cancelled_by),
            reason: None,
            other_messages: Vec::new(),
        })),
        Err(error @ DispatchError::Handlers(_)) => Err(Outcome::from_errors(&error.each())),
        Err(error @ DispatchError::Deadline { .. }) => Err(failed(
            EventError::failed(error.to_string()).with_reason("timeout"),
        )),
        Err(error) => Err(failed(
            EventError::failed(error.to_string()).with_reason("unknown"),
        )),
    }
}

fn vetoed(vetoes: &[Veto]) -> String {
    vetoes
        .iter()
        .map(|v| format!("{}: {}", v.connector, v.reason))
        .collect::<Vec<_>>()
        .join("; ")
}

pub(super) fn failed(error: EventError) -> Outcome {
    Outcome::from_errors(std::slice::from_ref(&error))
}
