//! The conversation with the optimizer, from HELLO to GOODBYE, as a state machine
//! (`spec/optimizer-protocol.md` §10).

use std::{sync::Arc, time::Duration};

use servo_dispatch::{
    Attach, Detach, DispatchError, DispatchOptions, DispatcherRef, ErrorPolicy, Event, Shutdown,
    Startup,
};
use servo_protocol::{
    Backoff, Command, CommandError, CommandKind, Completion, Event as Say, Goodbye, Hello,
    OptimizerClient, OptimizerStatus, Outage, PostError, PostFailure, Report, Request, Response,
    Sleep, StatusReply, post_with_retry,
};
use servo_supervision::ChildContext;
use thiserror::Error;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    execution::{Execution, Verdict},
    policy::{Polling, Question},
    servo::ServoSpec,
    status::{LastCommand, Phase, ServoStatus},
};

/// How long a servo that another deployment has replaced keeps quiet (§13).
const DEPROVISIONED: Duration = Duration::from_secs(3600);
/// How long a servo waits that may not ask for a command now (§10).
const DECLINED: Duration = Duration::from_secs(60);
/// The shortest pause after an answer that is no usable command (§12).
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest (§11).
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A SLEEP of no time at all still lasts this long, or an optimizer that says nothing else would
/// be asked without end.
const SHORTEST_SLEEP: Duration = Duration::from_millis(100);

/// One servo's conversation with its optimizer.
pub(crate) struct Session {
    pub(crate) spec: Arc<ServoSpec>,
    pub(crate) client: Arc<dyn OptimizerClient>,
    pub(crate) dispatcher: DispatcherRef,
    pub(crate) status: watch::Sender<ServoStatus>,
    pub(crate) child: ChildContext,
    pub(crate) outage: Outage,
    /// After an answer that is no usable command; reset by one that is.
    pub(crate) pause: Backoff,
    /// Names of the metrics that were described last, to warn about others.
    pub(crate) known_metrics: Option<Vec<String>>,
    /// The last answer was a command that cannot be carried out as it stands.
    pub(crate) last_was_invalid: bool,
    pub(crate) goodbye_reason: Arc<dyn Fn() -> String + Send + Sync>,
}

/// Where the conversation stands; each state holds what exists only in it.
enum State {
    /// HELLO is said until it is answered, then the connectors start. Next: polling.
    Connecting,
    /// The next command is asked for. Next: executing, sleeping, reporting (a command that cannot
    /// be understood), or waiting.
    Polling,
    /// A command is carried out. Next: reporting, or polling when the optimizer lost track.
    Executing(Box<Command>),
    /// Its outcome is delivered, for as long as the budget lasts. Next: polling.
    Reporting(Box<Completion>, servo_protocol::Operation),
    /// The optimizer has nothing to do. Next: polling.
    Sleeping(Sleep),
    /// The optimizer gave no usable answer. Next: polling.
    Waiting(Duration),
    /// Another deployment has replaced this one. Next: connecting.
    Deprovisioned,
}

/// What a step leads to.
enum Step {
    To(State),
    /// The servo was told to stop.
    Stop,
}

/// How far the servo has come up; decides what its end must undo.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Nothing,
    Attached,
    Connected,
    Started,
}

/// Why a session ended other than by being told to stop.
#[derive(Debug, Error)]
pub enum SessionError {
    /// A connector could not prepare.
    #[error("the connectors could not be attached: {0}")]
    Attach(DispatchError),
    /// The optimizer never answered HELLO.
    #[error("cannot connect to the optimizer at {url}: {cause}")]
    Connect {
        /// Where.
        url: String,
        /// Why.
        cause: String,
    },
    /// A connector could not start.
    #[error("startup failed: {0}")]
    Startup(DispatchError),
}

impl Session {
    /// Runs until the servo is told to stop.
    pub(crate) async fn run(mut self) -> Result<(), SessionError> {
        let stopping = self.child.stopping();
        let mut reached = Reached::Nothing;
        let end = self.converse(&stopping, &mut reached).await;
        let reason = match &end {
            Ok(()) => (self.goodbye_reason)(),
            Err(SessionError::Startup(_)) => "startup failed".to_owned(),
            Err(_) => "error".to_owned(),
        };
        Box::pin(self.close(reached, reason)).await;
        // Told once everything is undone, so that whoever waits for it may end the program.
        if let Err(error) = &end {
            self.status
                .send_modify(|s| s.start_failure = Some(error.to_string()));
        }
        end
    }

    async fn converse(
        &mut self,
        stopping: &CancellationToken,
        reached: &mut Reached,
    ) -> Result<(), SessionError> {
        self.enter(Phase::Attaching);
        let attached = Box::pin(self.lifecycle(Attach, stopping)).await;
        // Those that did attach must detach, whatever became of the others.
        *reached = Reached::Attached;
        match attached {
            Err(DispatchError::Cancelled { .. }) => return Ok(()),
            Err(error) => return Err(SessionError::Attach(error)),
            Ok(()) => {}
        }
        let mut state = State::Connecting;
        loop {
            // On the heap while they last: a servo sleeps most of its life, and each step holds a
            // request and more.
            let step = match state {
                State::Connecting => Box::pin(self.connect(stopping, reached)).await?,
                State::Polling => Box::pin(self.poll(stopping)).await,
                State::Executing(command) => Box::pin(self.execute(*command, stopping)).await,
                State::Reporting(completion, operation) => {
                    Box::pin(self.report(*completion, operation, stopping)).await
                }
                State::Sleeping(sleep) => self.sleep(sleep, stopping).await,
                State::Waiting(duration) => {
                    self.enter(Phase::Waiting { duration });
                    self.rest(duration, State::Polling, stopping).await
                }
                State::Deprovisioned => {
                    self.enter(Phase::Deprovisioned);
                    self.rest(DEPROVISIONED, State::Connecting, stopping).await
                }
            };
            match step {
                Step::To(next) => state = next,
                Step::Stop => return Ok(()),
            }
        }
    }

    // === steps ===

    async fn connect(
        &mut self,
        stopping: &CancellationToken,
        reached: &mut Reached,
    ) -> Result<Step, SessionError> {
        self.enter(Phase::Connecting);
        if self.is_refused(Question::Connect, stopping).await {
            return Ok(Step::Stop);
        }
        tracing::info!(servo = %self.spec.name, optimizer = %self.client.display_url(), "Saying HELLO.");
        let request = self.request(Say::Hello(Hello {
            agent: self.spec.agent.clone(),
            telemetry: self.spec.telemetry.clone(),
        }));
        let began = Instant::now();
        let mut backoff = Backoff::standard();
        loop {
            let answer = post_with_retry(
                &*self.client,
                &request,
                &self.spec.policy.connect,
                &self.outage,
                stopping,
            )
            .await;
            let cause = match answer {
                Ok(Response::Status(reply)) if reply.status == OptimizerStatus::Ok => break,
                Ok(Response::Status(reply)) => format!("HELLO was answered {reply}"),
                Ok(_) => "HELLO was answered with a command".to_owned(),
                Err(PostFailure::Cancelled) => return Ok(Step::Stop),
                Err(PostFailure::GaveUp {
                    error: PostError::ServoReplaced { .. },
                    ..
                }) => return Ok(self.replaced()),
                Err(failure) => {
                    return Err(SessionError::Connect {
                        url: self.client.display_url(),
                        cause: failure.to_string(),
                    });
                }
            };
            // An optimizer that answers but does not welcome us is asked again, as long as one
            // that cannot be reached would be.
            if self
                .spec
                .policy
                .connect
                .max_time
                .is_some_and(|t| began.elapsed() >= t)
            {
                return Err(SessionError::Connect {
                    url: self.client.display_url(),
                    cause,
                });
            }
            let delay = backoff.next_delay();
            tracing::warn!(servo = %self.spec.name, retry_in = ?delay, "{cause}");
            if stopping
                .run_until_cancelled(tokio::time::sleep(delay))
                .await
                .is_none()
            {
                return Ok(Step::Stop);
            }
        }
        *reached = (*reached).max(Reached::Connected);
        if *reached < Reached::Started {
            let started = self.lifecycle(Startup, stopping).await;
            *reached = Reached::Started;
            match started {
                Err(DispatchError::Cancelled { .. }) => return Ok(Step::Stop),
                Err(error) => return Err(SessionError::Startup(error)),
                Ok(()) => {}
            }
        }
        Ok(Step::To(State::Polling))
    }

    async fn poll(&mut self, stopping: &CancellationToken) -> Step {
        self.enter(Phase::Polling);
        self.status
            .send_if_modified(|s| s.start_failure.take().is_some());
        if matches!(self.spec.policy.polling, Polling::Never) {
            self.enter(Phase::Idle);
            tracing::info!(servo = %self.spec.name, "connected; not asking for commands");
            stopping.cancelled().await;
            return Step::Stop;
        }
        if self.is_refused(Question::Poll, stopping).await {
            if !stopping.is_cancelled() {
                tracing::info!(servo = %self.spec.name, "Sleeping for 1m");
            }
            return self.rest(DECLINED, State::Polling, stopping).await;
        }
        tracing::debug!(servo = %self.spec.name, "getting next command");
        let answer = post_with_retry(
            &*self.client,
            &self.request(Say::WhatsNext),
            &self.spec.policy.requests,
            &self.outage,
            stopping,
        )
        .await;
        let command = match answer {
            Ok(Response::Command(command)) => command,
            Ok(Response::Unusable(CommandError::Invalid(invalid))) => {
                tracing::error!(servo = %self.spec.name, operation = %invalid.operation, "{invalid}");
                // The first is told at once. One that comes back unchanged does so without end.
                if std::mem::replace(&mut self.last_was_invalid, true)
                    && let stop @ Step::Stop = self.pause_for(Duration::ZERO, stopping).await
                {
                    return stop;
                }
                let operation = invalid.operation;
                return Step::To(State::Reporting(
                    Box::new(Completion::of_invalid(&invalid)),
                    operation,
                ));
            }
            Ok(Response::Unusable(error)) => {
                tracing::error!(servo = %self.spec.name, "{error}");
                return self.wait(Duration::ZERO);
            }
            Ok(Response::Status(reply)) => {
                tracing::warn!(
                    servo = %self.spec.name,
                    "expected a command but the optimizer said {reply}"
                );
                return self.wait(Duration::ZERO);
            }
            Err(PostFailure::Cancelled) => return Step::Stop,
            Err(PostFailure::GaveUp {
                error: PostError::ServoReplaced { .. },
                ..
            }) => return self.replaced(),
            Err(PostFailure::GaveUp { error, tries, .. }) => {
                // What repeats is told by the outage, once a minute.
                tracing::debug!(servo = %self.spec.name, tries, "no command: {error}");
                return self.wait(error.retry_after().unwrap_or_default());
            }
        };
        self.pause.reset();
        self.last_was_invalid = false;
        match command.kind {
            CommandKind::Sleep(sleep) => Step::To(State::Sleeping(sleep)),
            _ => Step::To(State::Executing(Box::new(command))),
        }
    }

    /// Whether an operator is to be asked and does not agree, or the servo was told to stop.
    async fn is_refused(&self, question: Question, stopping: &CancellationToken) -> bool {
        let Polling::WhenAllowed(operator) = &self.spec.policy.polling else {
            return false;
        };
        let answer = operator.allows(&self.spec.name, question);
        stopping.run_until_cancelled(answer).await != Some(true)
    }

    async fn execute(&mut self, command: Command, stopping: &CancellationToken) -> Step {
        let Some(operation) = command.operation() else {
            return Step::To(State::Polling);
        };
        let uid = command.uid.clone();
        tracing::info!(
            servo = %self.spec.name,
            command_uid = uid.as_ref().map(|u| u.as_str()),
            "What's Next? => {operation}"
        );
        self.enter(Phase::Executing(operation));
        let began = Instant::now();
        let execution = Execution {
            servo: &self.spec.name,
            servo_uid: self.spec.servo_uid.as_deref(),
            client: &*self.client,
            dispatcher: &self.dispatcher,
            policy: &self.spec.policy,
            outage: &self.outage,
            status: &self.status,
            operation,
            uid: uid.clone(),
        };
        let verdict = execution
            .run(command.kind, &mut self.known_metrics, stopping)
            .await;
        match verdict {
            Verdict::Complete(completion) => {
                let status = completion.outcome.status();
                let explanation = completion.outcome.explanation();
                let message = explanation.map(|e| e.message.clone());
                if status == servo_messages::Status::Ok {
                    tracing::debug!(servo = %self.spec.name, %operation, "done");
                } else {
                    tracing::error!(
                        servo = %self.spec.name,
                        command_uid = uid.as_ref().map(|u| u.as_str()),
                        status = status.as_str(),
                        reason = explanation.and_then(|e| e.reason.as_deref()),
                        "{operation} answered {}: {}",
                        status.as_str(),
                        message.as_deref().unwrap_or_default(),
                    );
                }
                self.status.send_modify(|s| {
                    s.command = None;
                    s.finished += 1;
                    s.not_ok += u64::from(status != servo_messages::Status::Ok);
                    s.last = Some(LastCommand {
                        operation,
                        status,
                        message,
                        took: began.elapsed(),
                    });
                });
                Step::To(State::Reporting(completion, operation))
            }
            Verdict::Abandoned(why) => {
                self.status.send_modify(|s| s.command = None);
                tracing::warn!(servo = %self.spec.name, command_uid = uid.as_ref().map(|u| u.as_str()), "{operation} was abandoned: {why}");
                Step::To(State::Polling)
            }
            Verdict::Replaced => {
                self.status.send_modify(|s| s.command = None);
                self.replaced()
            }
            Verdict::Stopped => Step::Stop,
        }
    }

    async fn report(
        &mut self,
        completion: Completion,
        operation: servo_protocol::Operation,
        stopping: &CancellationToken,
    ) -> Step {
        self.enter(Phase::Reporting(operation));
        let request = self.request(Say::Report(operation, Report::Completion(completion)));
        // A completion that is already being sent may finish after a stop (§16).
        let patience = CancellationToken::new();
        let post = post_with_retry(
            &*self.client,
            &request,
            &self.spec.policy.requests,
            &self.outage,
            &patience,
        );
        tokio::pin!(post);
        let answer = tokio::select! {
            answer = &mut post => answer,
            () = stopping.cancelled() => {
                return match tokio::time::timeout(self.spec.policy.finish_report, post).await {
                    Ok(Ok(_)) => Step::Stop,
                    _ => {
                        tracing::warn!(servo = %self.spec.name, "the outcome of {operation} could not be delivered before the stop; the optimizer will ask again");
                        Step::Stop
                    }
                };
            }
        };
        match answer {
            Ok(Response::Status(StatusReply {
                status: OptimizerStatus::Ok,
                ..
            })) => {}
            Ok(Response::Status(reply)) => {
                tracing::warn!(servo = %self.spec.name, "the outcome of {operation} was answered {reply}");
            }
            Ok(_) => {
                tracing::warn!(servo = %self.spec.name, "the outcome of {operation} was answered with a command; it counts as delivered");
            }
            Err(PostFailure::Cancelled) => return Step::Stop,
            Err(PostFailure::GaveUp {
                error: PostError::ServoReplaced { .. },
                ..
            }) => return self.replaced(),
            Err(PostFailure::GaveUp { error, .. }) if error.delivered() => {
                tracing::warn!(servo = %self.spec.name, "the answer to the outcome of {operation} is unreadable; it counts as delivered: {error}");
            }
            Err(failure) => {
                let lost = serde_json::to_string(&request).unwrap_or_default();
                tracing::error!(servo = %self.spec.name, completion = %lost, "the outcome of {operation} could not be delivered: {failure}");
            }
        }
        Step::To(State::Polling)
    }

    async fn sleep(&mut self, sleep: Sleep, stopping: &CancellationToken) -> Step {
        let Sleep { duration, reason } = sleep;
        let already = self.status.borrow().slept_for.as_deref() == Some(&*reason);
        let text = format!(
            "Sleeping for {} ({reason}).",
            servo_messages::Duration::from(duration)
        );
        // Said once for each reason: an idle servo must not fill the log.
        if already {
            tracing::debug!(servo = %self.spec.name, "{text}");
        } else {
            tracing::info!(servo = %self.spec.name, "{text}");
        }
        self.status
            .send_modify(|s| s.slept_for = Some(reason.clone()));
        self.enter(Phase::Sleeping { duration, reason });
        self.rest(duration.max(SHORTEST_SLEEP), State::Polling, stopping)
            .await
    }

    async fn rest(&self, duration: Duration, then: State, stopping: &CancellationToken) -> Step {
        match stopping
            .run_until_cancelled(tokio::time::sleep(duration))
            .await
        {
            Some(()) => Step::To(then),
            None => Step::Stop,
        }
    }

    /// Keeps off the optimizer for a while, `at_least` that long.
    fn wait(&mut self, at_least: Duration) -> Step {
        Step::To(State::Waiting(self.next_pause(at_least)))
    }

    fn next_pause(&mut self, at_least: Duration) -> Duration {
        self.pause
            .next_delay()
            .max(SHORTEST_PAUSE)
            .max(at_least.min(LONGEST_PAUSE))
    }

    async fn pause_for(&mut self, at_least: Duration, stopping: &CancellationToken) -> Step {
        let duration = self.next_pause(at_least);
        self.enter(Phase::Waiting { duration });
        self.rest(duration, State::Polling, stopping).await
    }

    fn replaced(&self) -> Step {
        tracing::warn!(
            servo = %self.spec.name,
            servo_uid = self.spec.servo_uid.as_deref(),
            "the optimizer expects another deployment of this servo; asking again in {}",
            servo_messages::Duration::from(DEPROVISIONED)
        );
        Step::To(State::Deprovisioned)
    }

    // === end ===

    /// Undoes what was reached: connectors shut down and detach, the optimizer is told. Each part
    /// is bounded and tried whatever became of the one before (§16).
    async fn close(&mut self, reached: Reached, reason: String) {
        self.enter(Phase::ShuttingDown);
        let half = self.spec.policy.stop_connectors / 2;
        if reached >= Reached::Started {
            self.ending(Shutdown, half).await;
        }
        if reached >= Reached::Attached {
            self.ending(Detach, half).await;
        }
        if reached >= Reached::Connected {
            let answer = post_with_retry(
                &*self.client,
                &self.request(Say::Goodbye(Goodbye {
                    reason: reason.clone(),
                })),
                &self.spec.policy.goodbye,
                &self.outage,
                &CancellationToken::new(),
            )
            .await;
            match answer {
                Ok(_) => tracing::info!(servo = %self.spec.name, reason, "Said GOODBYE."),
                Err(failure) => {
                    tracing::warn!(servo = %self.spec.name, reason, "GOODBYE could not be said: {failure}");
                }
            }
        }
        self.enter(Phase::Ended);
    }

    async fn lifecycle<E: Event<Output = ()>>(
        &self,
        event: E,
        stopping: &CancellationToken,
    ) -> Result<(), DispatchError> {
        self.dispatcher
            .dispatch(
                event,
                DispatchOptions {
                    timeout: self.spec.policy.describe_timeout,
                    cancel: stopping.child_token(),
                    ..DispatchOptions::default()
                },
            )
            .await
            .map(drop)
    }

    async fn ending<E: Event<Output = ()>>(&self, event: E, within: Duration) {
        let outcome = self
            .dispatcher
            .dispatch(
                event,
                DispatchOptions {
                    timeout: within.mul_f64(0.8),
                    grace: within.mul_f64(0.2),
                    on_error: ErrorPolicy::Collect,
                    ..DispatchOptions::default()
                },
            )
            .await;
        match outcome {
            Ok(outcome) => {
                for result in outcome.results {
                    let connector = &*result.connector;
                    match result.value {
                        Ok(()) => {
                            tracing::debug!(servo = %self.spec.name, connector, "{} done", E::NAME);
                        }
                        Err(error) => {
                            tracing::error!(servo = %self.spec.name, connector, "{} failed: {}", E::NAME, error.error);
                        }
                    }
                }
            }
            Err(error) => tracing::error!(servo = %self.spec.name, "{} failed: {error}", E::NAME),
        }
    }

    fn request(&self, event: Say) -> Request {
        Request {
            event,
            servo_uid: self.spec.servo_uid.clone(),
        }
    }

    fn enter(&self, phase: Phase) {
        self.child.set_doing(phase.to_string());
        self.status.send_modify(|s| {
            s.phase = phase;
            s.since = std::time::Instant::now();
        });
    }
}
