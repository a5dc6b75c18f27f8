//! The conversation with the optimizer, from HELLO to GOODBYE, as a state machine
//! (`spec/optimizer-protocol.md` §10).

mod ending;
mod greeting;
mod headway;
mod working;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use servo_dispatch::{Attach, DispatchError, DispatcherRef};
use servo_protocol::{
    Backoff, Budget, Command, CommandError, CommandKind, Completion, Event as Say, GiveUp,
    Operation, OptimizerClient, PostError, PostFailure, Request, Response, Sleep, post_with_retry,
};
use servo_supervision::ChildContext;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::headway::Headway;
use crate::{
    blueprint::Blueprint,
    execution::event_of,
    handle::Shared,
    policy::{Polling, Question},
    status::Phase,
};

/// How long a servo that another deployment has replaced keeps quiet (§13).
const DEPROVISIONED: Duration = Duration::from_secs(3600);
/// How long a servo waits that may not ask for a command now (§10).
const DECLINED: Duration = Duration::from_secs(60);
/// The shortest pause after an answer that is no usable command (§12).
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest, where another answer may come by itself (§12).
const LONG_PAUSE: Duration = Duration::from_secs(60);
/// The longest, where somebody has to change something first (§11).
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A SLEEP of no time at all still lasts this long, or an optimizer that says nothing else would
/// be asked without end.
const SHORTEST_SLEEP: Duration = Duration::from_millis(100);

/// One servo's conversation with its optimizer.
pub(crate) struct Session {
    spec: Arc<Blueprint>,
    client: Arc<dyn OptimizerClient>,
    dispatcher: DispatcherRef,
    shared: Arc<Shared>,
    child: ChildContext,
    /// It is to take no further commands; fires when the servo is to end, at the latest.
    rest: CancellationToken,
    /// After an answer that is no usable command; reset by one that is.
    pause: Backoff,
    /// Whether commands lead anywhere.
    headway: Headway,
    /// Names of the metrics that were described last, to warn about others.
    known_metrics: Option<Vec<String>>,
    /// The last answer was a command that cannot be carried out as it stands.
    last_was_invalid: bool,
    /// Hash of why it slept last.
    slept_for: u64,
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
    /// Its outcome is delivered, for as long as the budget lasts. Next: polling, or reconnecting.
    Reporting(Box<Outcome>),
    /// Connectors had to be replaced: the optimizer is told that others speak now. Next: connecting.
    Reconnecting,
    /// Nothing is said for a while. Next: polling, or connecting.
    Resting(Rest),
}

/// Why nothing is said.
enum Rest {
    /// The optimizer has nothing to do. On the heap: every state is as large as the largest.
    Sleeping(Box<Sleep>),
    /// The optimizer gave no usable answer.
    Waiting(Duration),
    /// Nobody allows the next question.
    Declined,
    /// Another deployment has replaced this one.
    Deprovisioned,
}

/// What is to be reported.
struct Outcome {
    completion: Completion,
    operation: Operation,
    /// Connectors had to be replaced.
    replaced: bool,
}

/// What a step leads to.
enum Step {
    To(State),
    /// The servo was told to stop.
    Stop,
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
    pub(crate) fn new(
        spec: Arc<Blueprint>,
        client: Arc<dyn OptimizerClient>,
        dispatcher: DispatcherRef,
        shared: Arc<Shared>,
        child: ChildContext,
        rest: CancellationToken,
    ) -> Self {
        Self {
            rest,
            spec,
            client,
            dispatcher,
            shared,
            child,
            pause: Backoff::new(Duration::from_secs(1), LONGEST_PAUSE),
            headway: Headway::default(),
            known_metrics: None,
            last_was_invalid: false,
            slept_for: 0,
        }
    }

    /// Runs until the servo is told to stop.
    pub(crate) async fn run(mut self: Box<Self>) -> Result<(), SessionError> {
        if !self.shared.standing().is_clean() {
            tracing::warn!(
                servo = %self.spec.name,
                "the servo failed and undid nothing; that is done now, and it begins anew"
            );
            Box::pin(self.close("error", false)).await;
        }
        let end = self.converse().await;
        let reason = match &end {
            Ok(()) => self.shared.goodbye_reason(),
            Err(SessionError::Startup(_)) => "startup failed".into(),
            Err(_) => "error".into(),
        };
        if let Err(error) = &end {
            tracing::error!(servo = %self.spec.name, "{error}");
        }
        Box::pin(self.close(&reason, end.is_ok())).await;
        // Told once everything is undone, so that whoever waits for it may end the program.
        if let Err(error) = &end {
            self.shared.status.send_modify(|s| {
                s.start_failure = Some(error.to_string());
                s.note_error(error.to_string());
            });
        }
        end
    }

    async fn converse(&mut self) -> Result<(), SessionError> {
        self.enter(Phase::Attaching);
        let attached = Box::pin(self.lifecycle(Attach)).await;
        // Those that did attach must detach, whatever became of the others.
        self.shared.standing().attached = greeting::took_part(&attached);
        match attached {
            Err(DispatchError::Cancelled { .. }) => return Ok(()),
            Err(error) => return Err(SessionError::Attach(error)),
            Ok(()) => {}
        }
        let mut state = State::Connecting;
        loop {
            if self.rest.is_cancelled() && !matches!(state, State::Reporting(_)) {
                return Ok(());
            }
            // On the heap while they last: a servo sleeps most of its life, and each step holds a
            // request and more.
            let step = match state {
                State::Connecting => Box::pin(self.connect()).await?,
                State::Polling => Box::pin(self.poll()).await,
                State::Executing(command) => Box::pin(self.execute(*command)).await,
                State::Reporting(outcome) => Box::pin(self.report(*outcome)).await,
                State::Reconnecting => {
                    self.enter(Phase::Connecting);
                    let rest = self.rest.clone();
                    Box::pin(self.say_goodbye("restarting", &rest)).await;
                    Step::To(State::Connecting)
                }
                State::Resting(rest) => {
                    let (duration, then) = self.begin_rest(rest);
                    match self.rested(duration).await {
                        Some(()) => Step::To(then),
                        None => Step::Stop,
                    }
                }
            };
            match step {
                Step::To(next) => state = next,
                Step::Stop => return Ok(()),
            }
        }
    }

    // === steps ===

    async fn poll(&mut self) -> Step {
        self.enter(Phase::Polling);
        self.shared
            .status
            .send_if_modified(|s| s.start_failure.take().is_some());
        if matches!(self.spec.common.policy.polling, Polling::Never) {
            self.enter(Phase::Idle);
            tracing::info!(servo = %self.spec.name, "connected; not asking for commands");
            self.rest.cancelled().await;
            return Step::Stop;
        }
        if self.is_refused(Question::Poll).await {
            if !self.rest.is_cancelled() {
                tracing::info!(servo = %self.spec.name, "Sleeping for 1m");
            }
            return Step::To(State::Resting(Rest::Declined));
        }
        tracing::debug!(servo = %self.spec.name, "getting next command");
        let request = self.request(Say::WhatsNext);
        let limits = &self.spec.common.policy.requests;
        let answer = self.post(&*self.client, &request, limits, &self.rest).await;
        let command = match answer {
            Ok(Response::Command(command)) => command,
            Ok(Response::Unusable(CommandError::Invalid(invalid))) => {
                let operation = invalid.operation;
                tracing::error!(
                    servo = %self.spec.name,
                    command_uid = invalid.uid.as_ref().map(|u| u.as_str()),
                    event = event_of(operation),
                    "{invalid}"
                );
                // The first is told at once. One that comes back unchanged does so without end.
                if std::mem::replace(&mut self.last_was_invalid, true) {
                    let duration = self.next_pause(Duration::ZERO, LONG_PAUSE);
                    self.enter(Phase::Waiting { duration });
                    if self.rested(duration).await.is_none() {
                        return Step::Stop;
                    }
                }
                let completion = Completion::of_invalid(&invalid);
                self.conclude(operation, &completion, Duration::ZERO);
                return Step::To(State::Reporting(Box::new(Outcome {
                    completion,
                    operation,
                    replaced: false,
                })));
            }
            Ok(Response::Unusable(error)) => {
                tracing::error!(servo = %self.spec.name, "{error}");
                return self.wait(Duration::ZERO, LONG_PAUSE);
            }
            Ok(Response::Status(reply)) => {
                tracing::warn!(
                    servo = %self.spec.name,
                    "expected a command but the optimizer said {reply}"
                );
                return self.wait(Duration::ZERO, LONG_PAUSE);
            }
            Err(PostFailure::Cancelled) => return Step::Stop,
            Err(PostFailure::GaveUp {
                error: PostError::ServoReplaced { .. },
                ..
            }) => return self.replaced(),
            Err(PostFailure::GaveUp {
                error,
                why,
                elapsed,
                ..
            }) => {
                let longest = if why == GiveUp::Fatal {
                    // What repeats is told by the outage, once a minute.
                    tracing::debug!(servo = %self.spec.name, "no command: {error}");
                    LONGEST_PAUSE
                } else {
                    let text = format!(
                        "no command for {}: {error}; the optimizer is asked on",
                        servo_messages::Duration::from(Duration::from_secs(elapsed.as_secs()))
                    );
                    tracing::error!(servo = %self.spec.name, "{text}");
                    self.shared.status.send_modify(|s| s.note_error(text));
                    LONG_PAUSE
                };
                return self.wait(error.retry_after().unwrap_or_default(), longest);
            }
        };
        self.pause.reset();
        self.last_was_invalid = false;
        match command.kind {
            CommandKind::Sleep(sleep) => Step::To(State::Resting(Rest::Sleeping(Box::new(sleep)))),
            _ => Step::To(State::Executing(Box::new(command))),
        }
    }

    /// Whether an operator is to be asked and does not agree, or the servo was told to stop.
    async fn is_refused(&self, question: Question) -> bool {
        let Polling::WhenAllowed(operator) = &self.spec.common.policy.polling else {
            return false;
        };
        let answer = operator.allows(&self.spec.name, question);
        self.rest.run_until_cancelled(answer).await != Some(true)
    }

    // === time ===

    /// How long a rest is, and what comes after it.
    fn begin_rest(&mut self, rest: Rest) -> (Duration, State) {
        match rest {
            Rest::Sleeping(sleep) => {
                self.tell_of(&sleep);
                let Sleep { duration, reason } = *sleep;
                self.enter(Phase::Sleeping { duration, reason });
                (duration.max(SHORTEST_SLEEP), State::Polling)
            }
            Rest::Waiting(duration) => {
                self.enter(Phase::Waiting { duration });
                (duration, State::Polling)
            }
            Rest::Declined => (DECLINED, State::Polling),
            Rest::Deprovisioned => {
                self.enter(Phase::Deprovisioned);
                (DEPROVISIONED, State::Connecting)
            }
        }
    }

    fn tell_of(&mut self, Sleep { duration, reason }: &Sleep) {
        let mut hasher = DefaultHasher::new();
        reason.hash(&mut hasher);
        let hash = hasher.finish();
        let already = std::mem::replace(&mut self.slept_for, hash) == hash;
        let duration = servo_messages::Duration::from(*duration);
        // Said once for each reason: an idle servo must not fill the log.
        if already {
            tracing::debug!(servo = %self.spec.name, "Sleeping for {duration} ({reason}).");
        } else {
            tracing::info!(servo = %self.spec.name, "Sleeping for {duration} ({reason}).");
        }
    }

    /// Lets so much time pass; none when the servo was told to stop meanwhile.
    async fn rested(&self, duration: Duration) -> Option<()> {
        // Servos spend their lives here: this way there is one timer in the future, and not two.
        tokio::select! {
            biased;
            () = self.rest.cancelled() => None,
            () = tokio::time::sleep(duration) => Some(()),
        }
    }

    /// Keeps off the optimizer for a while, `at_least` that long.
    fn wait(&mut self, at_least: Duration, longest: Duration) -> Step {
        Step::To(State::Resting(Rest::Waiting(
            self.next_pause(at_least, longest),
        )))
    }

    fn next_pause(&mut self, at_least: Duration, longest: Duration) -> Duration {
        pause_of(&mut self.pause, at_least, longest)
    }

    // === words ===

    fn replaced(&self) -> Step {
        // The optimizer knows another one by this name: a GOODBYE would be taken for that one's.
        self.shared.standing().greeted = false;
        let text = format!(
            "the optimizer expects another deployment of this servo than {}; asking again in {}",
            self.spec
                .servo_uid
                .as_deref()
                .unwrap_or("one without servo_uid"),
            servo_messages::Duration::from(DEPROVISIONED)
        );
        tracing::warn!(
            servo = %self.spec.name,
            servo_uid = self.spec.servo_uid.as_deref(),
            "{text}"
        );
        self.shared.status.send_modify(|s| s.note_error(text));
        Step::To(State::Resting(Rest::Deprovisioned))
    }

    fn request(&self, event: Say) -> Request {
        Request {
            event,
            servo_uid: self.spec.servo_uid.clone(),
        }
    }

    /// Sends a request within limits; the log of what goes wrong names the servo.
    async fn post(
        &self,
        client: &dyn OptimizerClient,
        request: &Request,
        limits: &Budget,
        cancel: &CancellationToken,
    ) -> Result<Response, PostFailure> {
        let span = tracing::info_span!("request", servo = &*self.spec.name);
        post_with_retry(client, request, limits, &self.shared.outage, cancel)
            .instrument(span)
            .await
    }

    fn enter(&self, phase: Phase) {
        self.child.set_doing(phase.words());
        self.shared.status.send_modify(|s| {
            s.phase = phase;
            s.since = std::time::Instant::now();
        });
    }
}

/// The upper half of each delay is random: enough to spread servos, and few enough requests however
/// the dice fall (§23.18).
fn pause_of(pause: &mut Backoff, at_least: Duration, longest: Duration) -> Duration {
    let bound = pause.bound().min(longest);
    let random = pause.next_delay().min(longest);
    (bound / 2 + random / 2)
        .max(SHORTEST_PAUSE)
        .max(at_least.min(LONGEST_PAUSE))
}
