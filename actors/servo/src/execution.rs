//! One command, from the optimizer's words to the outcome it is told
//! (`spec/optimizer-protocol.md` §9, §13).

mod operations;

use std::{cell::Cell, future::Future, time::Duration};

use futures_util::{FutureExt, future::LocalBoxFuture};
use servo_dispatch::{Adjust, Describe, DispatchOptions, DispatcherRef, Event, Measure};
use servo_messages::EventError;
use servo_protocol::{
    CommandKind, CommandUid, Completion, Event as Say, Explanation, Operation, OptimizerClient,
    OptimizerStatus, Outage, Outcome, PostError, PostFailure, Progress, Report, Request, Response,
    StatusReply, post_with_retry,
};
use tokio::{
    sync::{SemaphorePermit, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::operations::failed;

use crate::{
    policy::ServoPolicy,
    progress::CommandProgress,
    status::{CommandStatus, Schedule, ServoStatus},
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
    /// Handlers did not stop when they were told to, so their connectors were replaced.
    pub(crate) forced: Cell<bool>,
}

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) verdict: Verdict,
    /// Handlers did not stop when they were told to, so their connectors were replaced.
    pub(crate) forced: bool,
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

/// The right to carry out a command, for as long as it is held.
enum Turn<'a> {
    Free,
    Taken(#[expect(dead_code, reason = "held, not read")] SemaphorePermit<'a>),
}

impl Execution<'_> {
    pub(crate) async fn run(
        &self,
        kind: CommandKind,
        known_metrics: &mut Option<Vec<String>>,
        stopping: &CancellationToken,
    ) -> Ended {
        let cancel = CancellationToken::new();
        let progress = CommandProgress::new();
        self.status.send_modify(|s| {
            s.command = Some(Box::new(CommandStatus {
                operation: self.operation,
                uid: self.uid.as_ref().map(ToString::to_string),
                started: std::time::Instant::now(),
                percent: 0.0,
                schedule: None,
                message: None,
            }));
        });
        let options = DispatchOptions {
            grace: self.policy.cancel_grace,
            cancel: cancel.clone(),
            command_uid: self.uid.as_ref().map(|u| u.as_str().into()),
            progress: Some(progress.sink()),
            progress_interval: Some(self.policy.progress_interval),
            ..DispatchOptions::default()
        };
        let work = async {
            let Some(_turn) = self.turn(&progress, &cancel).await else {
                return failed(EventError::failed("it was never begun"));
            };
            self.schedule(&kind);
            self.carry_out(kind, known_metrics, options).await
        };
        tokio::pin!(work);
        let interruption = tokio::select! {
            biased;
            outcome = &mut work => return self.ended(self.complete(outcome)),
            interruption = self.accompany(&progress) => interruption,
            () = stopping.cancelled() => Interruption::Stopping,
        };
        let told = Instant::now();
        cancel.cancel();
        // The dispatcher gives up on its own after the grace; this is the backstop. A servo that is
        // to end has less time, whenever it is told.
        let given_up = async {
            tokio::select! {
                () = tokio::time::sleep(self.policy.cancel_grace + Duration::from_secs(5)) => {}
                () = async {
                    stopping.cancelled().await;
                    tokio::time::sleep(self.policy.stop_command).await;
                } => {}
            }
        };
        let stopped = tokio::select! {
            biased;
            _ = &mut work => true,
            () = given_up => false,
        };
        if !stopped {
            tracing::error!(
                servo = self.servo,
                command_uid = self.command_uid(),
                event = event_of(self.operation),
                "{} did not stop within {}",
                self.operation,
                servo_messages::Duration::from(told.elapsed())
            );
        }
        // Past the grace their supervisor has ended those that were still at work.
        if !stopped || told.elapsed() >= self.policy.cancel_grace {
            self.forced.set(true);
        }
        if stopping.is_cancelled() {
            return self.ended(Verdict::Stopped);
        }
        self.ended(match interruption {
            Interruption::Cancelled(reason) => self.complete(Outcome::Cancelled(Explanation {
                message: reason,
                reason: None,
                other_messages: Vec::new(),
            })),
            Interruption::LostTrack(why) => Verdict::Abandoned(why),
            Interruption::Replaced => Verdict::Replaced,
            Interruption::Stopping => Verdict::Stopped,
        })
    }

    fn ended(&self, verdict: Verdict) -> Ended {
        Ended {
            verdict,
            forced: self.forced.get(),
        }
    }

    /// Waits until one of the commands that may be carried out at the same time is this one; none
    /// if it is stopped before that.
    async fn turn(
        &self,
        progress: &CommandProgress,
        cancel: &CancellationToken,
    ) -> Option<Turn<'_>> {
        let Some(commands) = &self.policy.commands else {
            return Some(Turn::Free);
        };
        if let Ok(permit) = commands.try_acquire() {
            return Some(Turn::Taken(permit));
        }
        tracing::info!(
            servo = self.servo,
            command_uid = self.command_uid(),
            event = event_of(self.operation),
            "{} waits for its turn: as many commands as the limit allows are being carried out",
            self.operation
        );
        progress.say(Some("waiting for its turn".to_owned()));
        self.note(progress);
        let permit = cancel.run_until_cancelled(commands.acquire()).await?;
        progress.say(None);
        self.note(progress);
        // Nobody closes it; if somebody did, there would be no limit any more.
        Some(permit.map_or(Turn::Free, Turn::Taken))
    }

    fn command_uid(&self) -> Option<&str> {
        self.uid.as_ref().map(|u| u.as_str())
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
        let interval = self.policy.progress_interval;
        // Whoever wants to hear more often than that shall.
        let spacing = self.policy.progress_spacing.min(interval);
        let mut sent_at = Instant::now();
        let mut waiting = false;
        let mut in_flight: Option<LocalBoxFuture<'_, Answer>> = None;
        loop {
            let next = sent_at + if waiting { spacing } else { interval };
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
                    if in_flight.is_none() && sent_at.elapsed() >= spacing {
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

    /// Notes how long a measurement takes, for whoever watches it.
    fn schedule(&self, kind: &CommandKind) {
        let CommandKind::Measure { control, .. } = kind else {
            return;
        };
        let schedule = Schedule {
            began: std::time::Instant::now(),
            length: control.total().as_std(),
        };
        self.status.send_modify(|s| {
            if let Some(command) = &mut s.command {
                command.schedule = Some(schedule);
            }
        });
    }

    fn note(&self, progress: &CommandProgress) {
        let now = progress.snapshot();
        self.status.send_modify(|s| {
            if let Some(command) = &mut s.command {
                command.percent = now.percent;
                command.message = now.message;
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
        let span = tracing::info_span!(
            "request",
            servo = self.servo,
            command_uid = self.command_uid(),
            event = event_of(self.operation)
        );
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
        .instrument(span)
        .boxed_local()
    }

    /// What the optimizer's answer to a progress report means (§9).
    fn judge(&self, answer: Answer) -> Option<Interruption> {
        let reply = match answer {
            Ok(Response::Status(reply)) => reply,
            Ok(_) => {
                tracing::warn!(
                    servo = self.servo,
                    command_uid = self.command_uid(),
                    event = event_of(self.operation),
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
                    command_uid = self.command_uid(),
                    event = event_of(self.operation),
                    "progress was answered {reply}; going on"
                );
                None
            }
            StatusReply { .. } => {
                tracing::error!(
                    servo = self.servo,
                    command_uid = self.command_uid(),
                    event = event_of(self.operation),
                    "progress was answered {reply}; going on"
                );
                None
            }
        }
    }
}

/// The event that connectors handle for an operation.
pub(crate) fn event_of(operation: Operation) -> &'static str {
    match operation {
        Operation::Describe => Describe::NAME,
        Operation::Measure => Measure::NAME,
        Operation::Adjust => Adjust::NAME,
    }
}

/// The answer of the request in flight; never, when there is none.
async fn pending_or<T>(in_flight: &mut Option<impl Future<Output = T> + Unpin>) -> T {
    match in_flight {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
