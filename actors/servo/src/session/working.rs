//! Commands: carried out, concluded and reported (`spec/optimizer-protocol.md` §10, §16).

use std::{cell::Cell, time::Duration};

use servo_messages::Status;
use servo_protocol::{
    Command, Completion, Event as Say, GiveUp, Operation, OptimizerStatus, PostError, PostFailure,
    Report, Response, StatusReply,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{LONG_PAUSE, LONGEST_PAUSE, Outcome, Rest, Session, State, Step};
use crate::{
    execution::{Execution, Verdict, event_of},
    observer::CommandOutcome,
    status::{LastCommand, Phase},
};

impl Session {
    /// Carries out a command, whatever comes of it.
    pub(super) async fn execute(&mut self, command: Command) -> Step {
        let Some(operation) = command.operation() else {
            return Step::To(State::Polling);
        };
        let uid = command.uid.clone();
        let command_uid = uid.as_ref().map(|u| u.as_str());
        let event = event_of(operation);
        tracing::info!(servo = %self.spec.name, command_uid, event, "What's Next? => {operation}");
        self.enter(Phase::Executing(operation));
        let began = Instant::now();
        let execution = Execution {
            servo: &self.spec.name,
            servo_uid: self.spec.servo_uid.as_deref(),
            client: &*self.client,
            dispatcher: &self.dispatcher,
            policy: &self.spec.common.policy,
            outage: &self.shared.outage,
            status: &self.shared.status,
            operation,
            uid: uid.clone(),
            forced: Cell::new(false),
        };
        let ended = execution
            .run(
                command.kind,
                &mut self.known_metrics,
                &self.child.stopping(),
            )
            .await;
        let next = if ended.forced {
            State::Reconnecting
        } else {
            State::Polling
        };
        let over = |outcome| {
            self.shared.status.send_modify(|s| s.command = None);
            self.tell(operation, outcome, began.elapsed());
        };
        match ended.verdict {
            Verdict::Complete(completion) => {
                self.conclude(operation, &completion, began.elapsed());
                Step::To(State::Reporting(Box::new(Outcome {
                    completion: *completion,
                    operation,
                    replaced: ended.forced,
                })))
            }
            Verdict::Abandoned(why) => {
                over(CommandOutcome::Abandoned);
                tracing::warn!(servo = %self.spec.name, command_uid, event, "{operation} was abandoned: {why}");
                match self.headway.refused(Duration::ZERO, LONG_PAUSE) {
                    Some(pause) if !ended.forced => Step::To(State::Resting(Rest::Waiting(pause))),
                    _ => Step::To(next),
                }
            }
            Verdict::Replaced => {
                over(CommandOutcome::Abandoned);
                self.replaced()
            }
            Verdict::Stopped => {
                over(CommandOutcome::Stopped);
                tracing::info!(servo = %self.spec.name, command_uid, event, "{operation} was stopped with the servo");
                Step::Stop
            }
        }
    }

    /// A command has come to an outcome that the optimizer is to be told.
    pub(super) fn conclude(&self, operation: Operation, completion: &Completion, took: Duration) {
        let status = completion.outcome.status();
        let explanation = completion.outcome.explanation();
        let message = explanation.map(|e| e.message.clone());
        let command_uid = completion.cmd_uid.as_ref().map(|u| u.as_str());
        let event = event_of(operation);
        if status == Status::Ok {
            tracing::debug!(servo = %self.spec.name, command_uid, event, ?took, "{operation} done");
        } else {
            tracing::error!(
                servo = %self.spec.name,
                command_uid,
                event,
                status = status.as_str(),
                reason = explanation.and_then(|e| e.reason.as_deref()),
                "{operation} answered {}: {}",
                status.as_str(),
                message.as_deref().unwrap_or_default(),
            );
        }
        self.shared.status.send_modify(|s| {
            s.command = None;
            s.finished += 1;
            if status != Status::Ok {
                s.not_ok += 1;
                let message = message.as_deref().unwrap_or_default();
                s.note_error(format!("{operation} {}: {message}", status.as_str()));
            }
            s.last = Some(Box::new(LastCommand {
                operation,
                status,
                message,
                took,
                ended: std::time::Instant::now(),
            }));
        });
        self.tell(operation, CommandOutcome::Completed(status), took);
    }

    fn tell(&self, operation: Operation, outcome: CommandOutcome, took: Duration) {
        if let Some(observer) = &self.spec.common.policy.observer {
            observer.command(operation, outcome, took);
        }
    }

    /// Delivers an outcome, for as long as the budget lasts.
    pub(super) async fn report(&mut self, outcome: Outcome) -> Step {
        let Outcome {
            completion,
            operation,
            replaced,
        } = outcome;
        self.enter(Phase::Reporting(operation));
        let uid = completion.cmd_uid.clone();
        let command_uid = uid.as_ref().map(|u| u.as_str());
        let event = event_of(operation);
        let servo = &*self.spec.name;
        let request = self.request(Say::Report(operation, Report::Completion(completion)));
        // A completion that is already being sent may finish after a stop (§16).
        let patience = CancellationToken::new();
        let limits = &self.spec.common.policy.requests;
        let answer = {
            let post = self.post(&*self.client, &request, limits, &patience);
            tokio::pin!(post);
            let stopping = self.child.stopping();
            tokio::select! {
                answer = &mut post => answer,
                () = stopping.cancelled() => {
                    let told = tokio::time::timeout(self.spec.common.policy.finish_report, post).await;
                    if !matches!(told, Ok(Ok(_))) {
                        tracing::warn!(servo, command_uid, event, "the outcome of {operation} could not be delivered before the stop; the optimizer will ask again");
                    }
                    return Step::Stop;
                }
            }
        };
        let pause = match answer {
            Ok(Response::Status(StatusReply {
                status: OptimizerStatus::Ok,
                ..
            })) => self.headway.taken(uid.as_ref(), LONG_PAUSE),
            Ok(Response::Status(reply)) => {
                tracing::warn!(
                    servo,
                    command_uid,
                    event,
                    "the outcome of {operation} was answered {reply}"
                );
                self.headway.refused(Duration::ZERO, LONG_PAUSE)
            }
            Ok(_) => {
                tracing::warn!(
                    servo,
                    command_uid,
                    event,
                    "the outcome of {operation} was answered with a command; it counts as delivered"
                );
                self.headway.refused(Duration::ZERO, LONG_PAUSE)
            }
            Err(PostFailure::Cancelled) => return Step::Stop,
            Err(PostFailure::GaveUp {
                error: PostError::ServoReplaced { .. },
                ..
            }) => return self.replaced(),
            Err(PostFailure::GaveUp { error, .. }) if error.delivered() => {
                tracing::warn!(
                    servo,
                    command_uid,
                    event,
                    "the answer to the outcome of {operation} is unreadable; it counts as delivered: {error}"
                );
                self.headway.refused(Duration::ZERO, LONG_PAUSE)
            }
            Err(failure) => {
                let (asked, longest) = match &failure {
                    PostFailure::GaveUp { error, why, .. } => (
                        error.retry_after().unwrap_or_default(),
                        match why {
                            GiveUp::Fatal => LONGEST_PAUSE,
                            GiveUp::OutOfTime | GiveUp::OutOfTries => LONG_PAUSE,
                        },
                    ),
                    PostFailure::Cancelled => (Duration::ZERO, LONG_PAUSE),
                };
                let lost = serde_json::to_string(&request).unwrap_or_default();
                let text = format!("the outcome of {operation} could not be delivered: {failure}");
                tracing::error!(servo, command_uid, event, completion = %lost, "{text}");
                self.shared.status.send_modify(|s| s.note_error(text));
                self.headway.refused(asked, longest)
            }
        };
        Step::To(match pause {
            _ if replaced => State::Reconnecting,
            Some(pause) => State::Resting(Rest::Waiting(pause)),
            None => State::Polling,
        })
    }
}
