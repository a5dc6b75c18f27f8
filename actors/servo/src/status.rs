//! What a servo is doing, for whoever looks at it.

use std::{
    fmt,
    time::{Duration, Instant, SystemTime},
};

use servo_protocol::Operation;

/// Where the optimizer loop stands (`spec/optimizer-protocol.md` §10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has not begun.
    Starting,
    /// Connectors prepare; nothing has been said to the optimizer yet.
    Attaching,
    /// HELLO has not been answered.
    Connecting,
    /// Connected, and takes no commands.
    Idle,
    /// Waits for the next command.
    Polling,
    /// Carries out a command.
    Executing(Operation),
    /// Tells the optimizer what came of it.
    Reporting(Operation),
    /// Sleeps, as the optimizer told it.
    Sleeping {
        /// For how long.
        duration: Duration,
        /// The optimizer's words.
        reason: String,
    },
    /// Keeps off an optimizer that gave no usable answer.
    Waiting {
        /// For how long.
        duration: Duration,
    },
    /// Another deployment has taken its place; it asks again in an hour.
    Deprovisioned,
    /// Connectors undo what they must.
    ShuttingDown,
    /// Over.
    Ended,
}

/// A snapshot of a servo.
#[derive(Clone, Debug)]
pub struct ServoStatus {
    /// Where its loop stands.
    pub phase: Phase,
    /// Since when.
    pub since: Instant,
    /// The command in progress.
    pub command: Option<CommandStatus>,
    /// The last command that was finished.
    pub last: Option<LastCommand>,
    /// Why it did not come up the last time it tried; none once it has.
    pub start_failure: Option<String>,
    /// Commands finished so far.
    pub finished: u64,
    /// Of these, how many were not `ok`.
    pub not_ok: u64,
    /// The last thing that went wrong, and when: a start or a command that failed, an outcome that
    /// was lost. It stays when all is well again.
    pub last_error: Option<(SystemTime, String)>,
}

/// A command in progress.
#[derive(Clone, Debug)]
pub struct CommandStatus {
    /// What is done.
    pub operation: Operation,
    /// The optimizer's id for it.
    pub uid: Option<String>,
    /// Since when.
    pub started: Instant,
    /// 0 to 100.
    pub percent: f64,
    /// What a connector said of it last, or what keeps it from beginning.
    pub message: Option<String>,
}

/// A finished command.
#[derive(Clone, Debug)]
pub struct LastCommand {
    /// What was done.
    pub operation: Operation,
    /// `ok`, `failed`, ...
    pub status: servo_messages::Status,
    /// What the optimizer was told when it was not `ok`.
    pub message: Option<String>,
    /// How long it took.
    pub took: Duration,
    /// When it ended.
    pub ended: Instant,
}

impl Default for ServoStatus {
    fn default() -> Self {
        Self {
            phase: Phase::Starting,
            since: Instant::now(),
            command: None,
            last: None,
            start_failure: None,
            finished: 0,
            not_ok: 0,
            last_error: None,
        }
    }
}

// === impl ServoStatus ===

impl ServoStatus {
    pub(crate) fn note_error(&mut self, what: impl Into<String>) {
        self.last_error = Some((SystemTime::now(), what.into()));
    }
}

// === impl Phase ===

impl Phase {
    /// One word for it, as programs are told.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Attaching => "attaching",
            Self::Connecting => "connecting",
            Self::Idle => "idle",
            Self::Polling => "polling",
            Self::Executing(_) => "executing",
            Self::Reporting(_) => "reporting",
            Self::Sleeping { .. } => "sleeping",
            Self::Waiting { .. } => "waiting",
            Self::Deprovisioned => "deprovisioned",
            Self::ShuttingDown => "shutting_down",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Phase::Executing(operation) | Phase::Reporting(operation) => {
                write!(f, "{} {operation}", self.name())
            }
            Phase::Sleeping { duration, reason } => {
                write!(
                    f,
                    "sleeping for {} ({reason})",
                    servo_messages::Duration::from(*duration)
                )
            }
            Phase::Waiting { duration } => {
                write!(
                    f,
                    "waiting for {}",
                    servo_messages::Duration::from(*duration)
                )
            }
            Phase::ShuttingDown => f.write_str("shutting down"),
            other => f.write_str(other.name()),
        }
    }
}
