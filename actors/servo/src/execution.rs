//! One command, from the optimizer's words to the outcome it is told
//! (`spec/optimizer-protocol.md` §8, §9, §13).

use std::{future::Future, time::Duration};

use futures_util::{FutureExt, future::LocalBoxFuture};
use jiff::Timestamp;
use servo_dispatch::{
    Adjust, Describe, DispatchError, DispatchOptions, DispatchOutcome, DispatcherRef, HandlerError,
    Measure, Veto,
};
use servo_messages::{Adjustment, Control, Description, EventError, Measurement, english_series};
use servo_protocol::{
    CommandKind, CommandUid, Completion, Event as Say, Explanation, Operation, OptimizerClient,
    OptimizerStatus, Outage, Outcome, Payload, PostError, PostFailure, Progress, Report, Request,
    Response, StatusReply, post_with_retry,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    policy::ServoPolicy,
    progress::CommandProgress,
    status::{CommandStatus, ServoStatus},
};

/// One command being carried out.
pub(crate) struct Execution<'a> {
    pub(crate) servo: &'a str,
    pub(crate) servo_uid: Option<&'a str>,
    pub(crate) client: &'a dyn OptimizerClient,
    pub(crate) dispatcher: &'a DispatcherRef,
    pub(crate) policy: &'a ServoPolicy,
    pub(crate) outage: &'a Outage,
    pub(crate) status: &'a watch::Sender<ServoStatus>,
    pub(crate) operation: Operation,
    pub(crate) uid: Option<CommandUid>,
}

/// What a command came to.
pub(crate) enum Verdict {
    /// This is to be reported.
    Complete(Box<Completion>),
    /// Nothing is to be reported: the optimizer does not expect it any more.
    Abandoned(String),
    /// Another deployment has taken over.
    Replaced,
    /// The servo was told to stop; the optimizer will ask again.
    Stopped,
}

/// Why a command is stopped before its end.
enum Interruption {
    /// The optimizer wants it so.
    Cancelled(String),
    /// The optimizer does not know of it any more.
    LostTrack(String),
    /// Another deployment has taken over.
    Replaced,
    /// The servo was told to stop.
    Stopping,
}

type Answer = Result<Response, PostFailure>;

impl Execution<'_> {
    pub(crate) async fn run(
        &self,
        kind: CommandKind,
        known_metrics: &mut Option<Vec<String>>,
        stopping: &CancellationToken,
    ) -> Verdict {
        let cancel = CancellationToken::new();
        let progress = CommandProgress::new();
        self.status.send_modify(|s| {
            s.command = Some(CommandStatus {
                operation: self.operation,
                uid: self.uid.as_ref().map(ToString::to_string),
                started: std::time::Instant::now(),
                percent: 0.0,
            });
        });
        let options = DispatchOptions {
            grace: self.policy.cancel_grace,
            cancel: cancel.clone(),
            command_uid: self.uid.as_ref().map(|u| u.as_str().into()),
            progress: Some(progress.sink()),
            ..DispatchOptions::default()
        };
        let work = self.carry_out(kind, known_metrics, options);
        tokio::pin!(work);
        let interruption = tokio::select! {
            biased;
            outcome = &mut work => return self.complete(outcome),
            interruption = self.accompany(&progress) => interruption,
            () = stopping.cancelled() => Interruption::Stopping,
        };
        cancel.cancel();
        let grace = match interruption {
            Interruption::Stopping => self.policy.stop_command,
            // The dispatcher gives up on its own after the grace; this is the backstop.
            _ => self.policy.cancel_grace + Duration::from_secs(5),
        };
        if tokio::time::timeout(grace, &mut work).await.is_err() {
            tracing::error!(
                servo = self.servo,
                command_uid = self.uid.as_ref().map(|u| u.as_str()),
                "{} did not stop within {}",
                self.operation,
                servo_messages::Duration::from(grace)
            );
        }
        match interruption {
            Interruption::Cancelled(reason) => self.complete(Outcome::Cancelled(Explanation {
                message: reason,
                reason: None,
                other_messages: Vec::new(),
            })),
            Interruption::LostTrack(why) => Verdict::Abandoned(why),
            Interruption::Replaced => Verdict::Replaced,
            Interruption::Stopping => Verdict::Stopped,
        }
    }

    fn complete(&self, outcome: Outcome) -> Verdict {
        Verdict::Complete(Box::new(Completion {
            cmd_uid: self.uid.clone(),
            outcome,
        }))
    }

    // === progress ===

    /// Reports progress for as long as the optimizer is content with it. Dropping it abandons the
    /// report in flight, so that none arrives after the completion.
    async fn accompany(&self, progress: &CommandProgress) -> Interruption {
        let mut sent_at = Instant::now();
        let mut waiting = false;
        let mut in_flight: Option<LocalBoxFuture<'_, Answer>> = None;
        loop {
            let next = sent_at
                + if waiting {
                    self.policy.progress_spacing
                } else {
                    self.policy.progress_interval
                };
            tokio::select! {
                answer = pending_or(&mut in_flight) => {
                    in_flight = None;
                    if let Some(interruption) = self.judge(answer) {
                        return interruption;
                    }
                }
                () = progress.changed(), if !waiting => {
                    waiting = true;
                    self.note(progress);
                    // The first report goes out at once.
                    if in_flight.is_none() && sent_at.elapsed() >= self.policy.progress_spacing {
                        waiting = false;
                        sent_at = Instant::now();
                        in_flight = Some(self.post(progress));
                    }
                }
                () = tokio::time::sleep_until(next), if in_flight.is_none() => {
                    waiting = false;
                    sent_at = Instant::now();
                    in_flight = Some(self.post(progress));
                }
            }
        }
    }

    fn note(&self, progress: &CommandProgress) {
        let percent = progress.snapshot().percent;
        self.status.send_modify(|s| {
            if let Some(command) = &mut s.command {
                command.percent = percent;
            }
        });
    }

    fn post(&self, progress: &CommandProgress) -> LocalBoxFuture<'_, Answer> {
        self.note(progress);
        let now = progress.snapshot();
        let request = Request {
            event: Say::Report(
                self.operation,
                Report::Progress(Progress {
                    progress: now.percent,
                    runtime: now.runtime.as_secs_f64(),
                    cmd_uid: self.uid.clone(),
                    message: now.message,
                }),
            ),
            servo_uid: self.servo_uid.map(str::to_owned),
        };
        async move {
            post_with_retry(
                self.client,
                &request,
                &self.policy.progress,
                self.outage,
                &CancellationToken::new(),
            )
            .await
        }
        .boxed_local()
    }

    /// What the optimizer's answer to a progress report means (§9).
    fn judge(&self, answer: Answer) -> Option<Interruption> {
        let reply = match answer {
            Ok(Response::Status(reply)) => reply,
            Ok(_) => {
                tracing::warn!(
                    servo = self.servo,
                    "progress was answered with a command; going on"
                );
                return None;
            }
            Err(PostFailure::GaveUp {
                error: PostError::ServoReplaced { .. },
                ..
            }) => return Some(Interruption::Replaced),
            // Old progress is worthless; the outage itself has been told already.
            Err(_) => return None,
        };
        if reply.is_unexpected_cmd_uid() {
            return Some(Interruption::LostTrack(reply.to_string()));
        }
        match &reply {
            StatusReply {
                status: OptimizerStatus::Ok,
                ..
            } => None,
            StatusReply {
                status: OptimizerStatus::Cancel,
                reason,
                ..
            } => Some(Interruption::Cancelled(
                reason
                    .clone()
                    .unwrap_or_else(|| "Command cancelled".to_owned()),
            )),
            StatusReply {
                status: OptimizerStatus::UnexpectedEvent,
                ..
            } => Some(Interruption::LostTrack(reply.to_string())),
            StatusReply {
                status: OptimizerStatus::Invalid,
                ..
            } => {
                tracing::warn!(
                    servo = self.servo,
                    "progress was answered {reply}; going on"
                );
                None
            }
            StatusReply { .. } => {
                tracing::error!(
                    servo = self.servo,
                    "progress was answered {reply}; going on"
                );
                None
            }
        }
    }

    // === the three operations ===

    async fn carry_out(
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
            timeout: self.policy.describe_timeout,
            ..options
        };
        match settle(
            self.dispatcher
                .dispatch(Describe { control }, options)
                .await,
        ) {
            Err(outcome) => outcome,
            Ok(results) => {
                let description = self.merge(results.into_iter().map(|(_, d)| d));
                tracing::info!(
                    servo = self.servo,
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
        for metric in &metrics {
            if known_metrics.is_some_and(|known| !known.contains(metric)) {
                tracing::warn!(
                    servo = self.servo,
                    metric,
                    "no connector declares this metric; it will be missing"
                );
            }
        }
        let options = DispatchOptions {
            timeout: (control.total().as_std()).saturating_add(self.policy.measure_slack),
            ..options
        };
        let event = Measure {
            metrics: (!metrics.is_empty()).then_some(metrics),
            control,
        };
        let results = match settle(self.dispatcher.dispatch(event, options).await) {
            Err(outcome) => return outcome,
            Ok(results) => results,
        };
        let measurement = results
            .into_iter()
            .fold(Measurement::default(), |all, (_, one)| all.merge(one));
        tracing::info!(
            servo = self.servo,
            "Measured: {} readings, {} annotations",
            measurement.readings.len(),
            measurement.annotations.len()
        );
        match Payload::measured(&measurement, Timestamp::now()) {
            Ok((payload, warnings)) => {
                for warning in warnings {
                    tracing::warn!(servo = self.servo, "{warning}");
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

    async fn adjust(
        &self,
        adjustments: Vec<Adjustment>,
        control: Control,
        options: DispatchOptions,
    ) -> Outcome {
        tracing::info!(
            servo = self.servo,
            "Adjusting... [{}]",
            english_series(adjustments.iter().map(ToString::to_string))
        );
        let options = DispatchOptions {
            timeout: self
                .policy
                .adjust_timeout
                .saturating_add(control.settlement.map(|s| s.as_std()).unwrap_or_default()),
            ..options
        };
        let event = Adjust {
            adjustments,
            control,
        };
        match settle(self.dispatcher.dispatch(event, options).await) {
            Err(outcome) => outcome,
            // An adjustment that nobody carried out must not pass for one that was.
            Ok(results) if results.is_empty() => failed(EventError::adjustment_failed(
                "adjustment failed: no connector handled the request",
            )),
            Ok(results) => {
                let description = self.merge(results.into_iter().map(|(_, d)| d));
                tracing::info!(
                    servo = self.servo,
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
                tracing::warn!(servo = self.servo, "{warning}");
            }
        }
        all
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
        Err(DispatchError::Handlers(errors)) => {
            let errors: Vec<EventError> = errors
                .into_iter()
                .map(HandlerError::into_reported)
                .collect();
            Err(Outcome::from_errors(&errors))
        }
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

fn failed(error: EventError) -> Outcome {
    Outcome::from_errors(std::slice::from_ref(&error))
}

/// The answer of the request in flight; never, when there is none.
async fn pending_or<T>(in_flight: &mut Option<impl Future<Output = T> + Unpin>) -> T {
    match in_flight {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
