//! How to dispatch an event, and what comes of it.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use servo_messages::{ErrorKind, EventError, most_severe};
use servo_supervision::AskError;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::{
    context::{CallContext, Chain, ProgressSink},
    event::Stage,
};

/// Which connectors take part. Names that no connector bears are an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All connectors of the servo.
    #[default]
    All,
    /// These alone; an empty list is nobody.
    Only(Vec<Arc<str>>),
    /// All but these.
    Except(Vec<Arc<str>>),
    /// Some, without others among them.
    Without {
        /// These alone;
        only: Vec<Arc<str>>,
        /// but none of these.
        except: Vec<Arc<str>>,
    },
}

/// What an error of an `on` handler means for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorPolicy {
    /// The first error cancels the siblings and fails the dispatch.
    #[default]
    FailFast,
    /// All run to their end; an error is that connector's result.
    Collect,
}

/// Which stages run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stages {
    /// Run the `before` handlers.
    pub before: bool,
    /// Run the `on` handlers.
    pub on: bool,
    /// Run the `after` handlers.
    pub after: bool,
}

/// How to dispatch an event.
#[derive(Clone)]
pub struct DispatchOptions {
    /// Who takes part.
    pub scope: Scope,
    /// What an error means.
    pub on_error: ErrorPolicy,
    /// Which stages run; all by default.
    pub stages: Stages,
    /// How long it may take, [`DispatchOptions::DEFAULT_TIMEOUT`] by default. Then the token fires.
    pub timeout: Duration,
    /// How long handlers may clean up after the token fired, 10 s by default.
    pub grace: Duration,
    /// Ends the dispatch early; one that has fired already keeps it from beginning.
    pub cancel: CancellationToken,
    /// The optimizer's id of the command that caused it.
    pub command_uid: Option<Arc<str>>,
    /// Where progress goes.
    pub progress: Option<ProgressSink>,
    /// How often whoever waits wants to hear of progress; none leaves it to the connectors.
    pub progress_interval: Option<Duration>,
}

/// Where a dispatch comes from, when a handler made it.
#[derive(Clone, Default)]
pub(crate) struct Nesting {
    pub(crate) chain: Chain,
    /// The deadline of the handler's own dispatch.
    pub(crate) not_after: Option<Instant>,
    /// It is about one connector that comes or goes, and no milestone of its servo.
    pub(crate) personal: bool,
}

/// What one connector contributed.
#[derive(Clone, Debug)]
pub struct EventResult<T> {
    /// Who.
    pub connector: Arc<str>,
    /// When the handler ended.
    pub created_at: Timestamp,
    /// The contribution; an error only under [`ErrorPolicy::Collect`].
    pub value: Result<T, HandlerError>,
}

/// A connector's `before` handler said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Veto {
    /// Who.
    pub connector: Arc<str>,
    /// Its words.
    pub reason: String,
}

/// What came of a dispatch that did not fail.
#[derive(Clone, Debug)]
pub struct DispatchOutcome<T> {
    /// Who vetoed the event; then `results` is empty, and that does not mean that nobody answered.
    pub cancelled_by: Vec<Veto>,
    /// Contributions in bus order.
    pub results: Vec<EventResult<T>>,
}

/// A handler failed.
#[derive(Clone, Debug, Error)]
#[error("{connector}: {error}")]
pub struct HandlerError {
    /// Whose handler.
    pub connector: Arc<str>,
    /// The event.
    pub event: Arc<str>,
    /// The stage.
    pub stage: Stage,
    /// What went wrong.
    pub error: EventError,
}

/// Why a dispatch has no outcome.
#[derive(Clone, Debug, Error)]
pub enum DispatchError {
    /// Handlers failed; never empty. In bus order, and those that failed after they were told to
    /// stop behind those that did so by themselves.
    #[error("{}", describe(.0))]
    Handlers(Vec<HandlerError>),
    /// The caller's token fired and the handlers stopped.
    #[error("{event} was cancelled")]
    Cancelled {
        /// The event.
        event: Arc<str>,
    },
    /// The time was up.
    #[error("{event} did not end within {}; still at work: {}", servo_messages::Duration::from(*after), .waiting_for.join(", "))]
    Deadline {
        /// The event.
        event: Arc<str>,
        /// The time it had.
        after: Duration,
        /// Connectors that had not answered.
        waiting_for: Vec<String>,
    },
    /// The scope names a connector that the servo does not have.
    #[error("no connector found named '{name}': the servo has {}", .valid.join(", "))]
    UnknownConnector {
        /// The wrong name.
        name: String,
        /// The right ones.
        valid: Vec<String>,
    },
    /// Nested dispatches go round in circles.
    #[error("{event} cannot be dispatched again from within itself: {chain}")]
    Cycle {
        /// The event.
        event: Arc<str>,
        /// How it came to that.
        chain: String,
    },
    /// No such event exists.
    #[error("Unknown event '{name}'{}", .nearest.as_ref().map(|n| format!(": did you mean '{n}'?")).unwrap_or_default())]
    UnknownEvent {
        /// The wrong name.
        name: String,
        /// The most similar one.
        nearest: Option<String>,
    },
    /// The arguments do not fit the event.
    #[error("invalid arguments for event '{event}': {message}")]
    Arguments {
        /// The event.
        event: String,
        /// Which argument, and why.
        message: String,
    },
    /// The dispatcher itself could not be asked.
    #[error("cannot dispatch: {0}")]
    Dispatcher(Arc<AskError>),
}

fn describe(errors: &[HandlerError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

// === impl Scope ===

impl Scope {
    /// Whether that connector takes part.
    pub fn includes(&self, connector: &str) -> bool {
        let is_among = |names: &[Arc<str>]| names.iter().any(|name| **name == *connector);
        match self {
            Self::All => true,
            Self::Only(only) => is_among(only),
            Self::Except(except) => !is_among(except),
            Self::Without { only, except } => is_among(only) && !is_among(except),
        }
    }

    /// The connectors that it wants by their names; none if it wants all but some.
    pub(crate) fn wanted(&self) -> Option<impl Iterator<Item = &Arc<str>>> {
        match self {
            Self::Only(only) | Self::Without { only, .. } => {
                Some(only.iter().filter(|name| self.includes(name)))
            }
            Self::All | Self::Except(_) => None,
        }
    }

    /// All names in it.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        let (some, others): (&[_], &[_]) = match self {
            Self::All => (&[], &[]),
            Self::Only(names) | Self::Except(names) => (names, &[]),
            Self::Without { only, except } => (only, except),
        };
        some.iter().chain(others)
    }
}

// === impl DispatchOptions ===

impl Default for Stages {
    fn default() -> Self {
        Self {
            before: true,
            on: true,
            after: true,
        }
    }
}

impl Stages {
    pub(crate) const NONE: Self = Self {
        before: false,
        on: false,
        after: false,
    };

    pub(crate) fn only(stage: Stage) -> Self {
        let mut only = Self::NONE;
        only.add(stage);
        only
    }

    pub(crate) fn add(&mut self, stage: Stage) {
        match stage {
            Stage::Before => self.before = true,
            Stage::On => self.on = true,
            Stage::After => self.after = true,
        }
    }

    pub(crate) fn has(self, stage: Stage) -> bool {
        match stage {
            Stage::Before => self.before,
            Stage::On => self.on,
            Stage::After => self.after,
        }
    }

    /// Whether they have a stage in common.
    pub(crate) fn meet(self, other: Self) -> bool {
        Stage::ALL
            .into_iter()
            .any(|stage| self.has(stage) && other.has(stage))
    }
}

impl Default for DispatchOptions {
    fn default() -> Self {
        Self {
            scope: Scope::All,
            on_error: ErrorPolicy::FailFast,
            stages: Stages::default(),
            timeout: Self::DEFAULT_TIMEOUT,
            grace: Self::DEFAULT_GRACE,
            cancel: CancellationToken::new(),
            command_uid: None,
            progress: None,
            progress_interval: None,
        }
    }
}

impl DispatchOptions {
    /// What an event may take when nobody says otherwise (`spec/events-and-checks.md` §2.5).
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
    /// The longest timeout; a longer one counts as this: a year.
    pub const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 86_400);
    /// What handlers have to clean up after their token fired (`spec/events-and-checks.md` §2.5).
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

    /// Options with another timeout.
    #[must_use]
    pub fn within(timeout: Duration) -> Self {
        Self {
            timeout,
            ..Self::default()
        }
    }

    /// What a handler of `parent` asks for, tied to what it was asked itself.
    pub(crate) fn nested(mut self, parent: &CallContext) -> Self {
        // Cancelled with the parent, but its own end must not cancel the parent.
        self.cancel = parent.shared.stop.token().child_token();
        // The asking handler has to hear of the end within its own grace, or it would pass for
        // stuck in the place of the one that is.
        self.grace = self.grace.min(parent.shared.grace * 2 / 3);
        let shared = &parent.shared;
        self.command_uid = self.command_uid.or_else(|| shared.command_uid.clone());
        self.progress = self.progress.or_else(|| shared.progress.clone());
        self.progress_interval = self.progress_interval.or(shared.progress_interval);
        self
    }
}

impl Nesting {
    /// The same, about one connector that comes or goes.
    pub(crate) fn personal(mut self) -> Self {
        self.personal = true;
        self
    }

    /// When a dispatch that begins at `now` and may take `timeout` ends.
    pub(crate) fn deadline(&self, now: Instant, timeout: Duration) -> Instant {
        // Timeouts come from outside, and may be beyond what a clock can express.
        let own = now + timeout.min(DispatchOptions::MAX_TIMEOUT);
        self.not_after.map_or(own, |limit| own.min(limit))
    }
}

impl fmt::Debug for DispatchOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DispatchOptions")
            .field("scope", &self.scope)
            .field("on_error", &self.on_error)
            .field("stages", &self.stages)
            .field("timeout", &self.timeout)
            .field("command_uid", &self.command_uid)
            .finish_non_exhaustive()
    }
}

// === impl DispatchOutcome ===

impl<T> DispatchOutcome<T> {
    /// The contributions without their connectors; errors are left out.
    pub fn values(self) -> impl Iterator<Item = T> {
        self.results.into_iter().filter_map(|r| r.value.ok())
    }
}

// === impl HandlerError ===

impl HandlerError {
    /// The error as others are told of it: its message begins with the connector. Of one that was given up
    /// early it stays as it is: optimizers read it (`spec/optimizer-protocol.md` §14, §23.44).
    pub fn into_reported(self) -> EventError {
        if self.error.kind == ErrorKind::Aborted {
            return self.error;
        }
        EventError {
            message: format!("{}: {}", self.connector, self.error.message),
            ..self.error
        }
    }
}

// === impl DispatchError ===

impl DispatchError {
    /// The error that stands for all of them: the most severe, the earliest on a tie
    /// (`spec/events-and-checks.md` §2.7), its message prefixed with the connector. The rest go with it,
    /// so that a handler that fails with what it asked for loses none of them.
    pub fn most_severe(&self) -> EventError {
        match self {
            DispatchError::Handlers(_) => {
                let mut each = self.each();
                let Some(worst) = most_severe(&each) else {
                    return EventError::failed(self.to_string());
                };
                let place = each.iter().position(|error| std::ptr::eq(error, worst));
                let worst = each.remove(place.unwrap_or_default());
                EventError {
                    others: each,
                    ..worst
                }
            }
            DispatchError::Cancelled { .. } => EventError::cancelled(self.to_string()),
            DispatchError::Deadline { .. } => EventError::timed_out(self.to_string()),
            _ => EventError::failed(self.to_string()),
        }
    }

    /// Every error of every handler, those of nested dispatches in the place of their handler's; each
    /// with its connector in front.
    pub fn each(&self) -> Vec<EventError> {
        let DispatchError::Handlers(errors) = self else {
            return vec![self.most_severe()];
        };
        let errors = errors.iter().cloned();
        errors
            .flat_map(|error| error.into_reported().into_each())
            .collect()
    }

    /// The texts of the errors that [`DispatchError::most_severe`] did not choose.
    pub fn other_messages(&self) -> Vec<String> {
        let others = self.most_severe().others;
        others.into_iter().map(|other| other.message).collect()
    }
}
