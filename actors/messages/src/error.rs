//! How an event can fail, and what the optimizer is told.
//!
//! Contract: `spec/optimizer-protocol.md §8`, `spec/events-and-checks.md §2.7`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kinds of failure a connector can signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The optimizer called the command off.
    OptimizerCancelled,
    /// Given up early for a reason of the domain, such as a violated SLO.
    Aborted,
    /// This configuration can never work.
    AdjustmentRejected,
    /// The adjustment did not work and may be tried again.
    AdjustmentFailed,
    /// The measurement did not work and may be tried again.
    MeasurementFailed,
    /// A `before` handler declined the event.
    Cancelled,
    /// A deadline passed.
    TimedOut,
    /// Any other failure that a connector names itself.
    Failed,
    /// A failure outside of the vocabulary: a bug, a panic, an I/O error.
    Unclassified,
}

impl ErrorKind {
    /// Which of several errors is reported: the highest.
    pub const fn priority(self) -> u8 {
        match self {
            ErrorKind::OptimizerCancelled => 5,
            ErrorKind::Aborted => 4,
            ErrorKind::AdjustmentRejected => 3,
            ErrorKind::AdjustmentFailed => 2,
            ErrorKind::MeasurementFailed => 1,
            ErrorKind::Cancelled
            | ErrorKind::TimedOut
            | ErrorKind::Failed
            | ErrorKind::Unclassified => 0,
        }
    }

    /// What the optimizer is told.
    pub const fn status(self) -> Status {
        match self {
            ErrorKind::OptimizerCancelled | ErrorKind::Cancelled => Status::Cancelled,
            ErrorKind::Aborted => Status::Aborted,
            ErrorKind::AdjustmentRejected => Status::Rejected,
            ErrorKind::AdjustmentFailed
            | ErrorKind::MeasurementFailed
            | ErrorKind::TimedOut
            | ErrorKind::Failed
            | ErrorKind::Unclassified => Status::Failed,
        }
    }
}

/// The outcome of a command, as the optimizer reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Done.
    Ok,
    /// Did not work; may be tried again.
    Failed,
    /// Can never work.
    Rejected,
    /// Given up early.
    Aborted,
    /// Called off.
    Cancelled,
}

impl Status {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Failed => "failed",
            Status::Rejected => "rejected",
            Status::Aborted => "aborted",
            Status::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is no status a servo reports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown status '{0}': expected one of ok, failed, rejected, aborted, cancelled")]
pub struct UnknownStatus(pub String);

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [
            Status::Ok,
            Status::Failed,
            Status::Rejected,
            Status::Aborted,
            Status::Cancelled,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

/// Why an event did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EventError {
    /// What sort of failure.
    pub kind: ErrorKind,
    /// What happened, for people.
    pub message: String,
    /// What happened, for machines: `slo-violation`, `start-failed`, `unstable`, `unschedulable`, ...
    pub reason: Option<String>,
    /// What failed beside it, when one event asked others for something: each on its own, none of them
    /// more severe than this one.
    pub others: Vec<EventError>,
}

impl EventError {
    /// An error of this kind, without reason.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> EventError {
        EventError {
            kind,
            message: message.into(),
            reason: None,
            others: Vec::new(),
        }
    }

    /// Any failure that has no kind of its own.
    pub fn failed(message: impl Into<String>) -> EventError {
        EventError::new(ErrorKind::Failed, message)
    }

    /// A failure outside of the vocabulary (a bug, a panic), told with the connector it came from.
    pub fn unclassified(connector: impl fmt::Display, problem: impl fmt::Display) -> EventError {
        EventError::new(ErrorKind::Unclassified, format!("{connector}: {problem}"))
            .with_reason("unknown")
    }

    /// This configuration can never work.
    pub fn adjustment_rejected(
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> EventError {
        EventError::new(ErrorKind::AdjustmentRejected, message).with_reason(reason)
    }

    /// The adjustment did not work and may be tried again.
    pub fn adjustment_failed(message: impl Into<String>) -> EventError {
        EventError::new(ErrorKind::AdjustmentFailed, message)
    }

    /// The measurement did not work and may be tried again.
    pub fn measurement_failed(message: impl Into<String>) -> EventError {
        EventError::new(ErrorKind::MeasurementFailed, message)
    }

    /// Given up early.
    pub fn aborted(reason: impl Into<String>, message: impl Into<String>) -> EventError {
        EventError::new(ErrorKind::Aborted, message).with_reason(reason)
    }

    /// Declined by a `before` handler.
    pub fn cancelled(message: impl Into<String>) -> EventError {
        EventError::new(ErrorKind::Cancelled, message)
    }

    /// Called off by the optimizer.
    pub fn optimizer_cancelled(message: impl Into<String>) -> EventError {
        EventError::new(ErrorKind::OptimizerCancelled, message)
    }

    /// A deadline passed.
    pub fn timed_out(message: impl Into<String>) -> EventError {
        EventError::new(ErrorKind::TimedOut, message)
    }

    /// The same error with this reason.
    #[must_use]
    pub fn with_reason(self, reason: impl Into<String>) -> EventError {
        EventError {
            reason: Some(reason.into()),
            ..self
        }
    }

    /// What the optimizer is told.
    pub const fn status(&self) -> Status {
        self.kind.status()
    }

    /// It, and whatever failed beside it, each for itself (`spec/events-and-checks.md §2.7`).
    pub fn into_each(mut self) -> Vec<EventError> {
        let others = std::mem::take(&mut self.others);
        let others = others.into_iter().flat_map(EventError::into_each);
        std::iter::once(self).chain(others).collect()
    }
}

/// The error to report of several: the one of highest priority, the earliest of equals.
pub fn most_severe<'a>(errors: impl IntoIterator<Item = &'a EventError>) -> Option<&'a EventError> {
    errors.into_iter().reduce(|worst, next| {
        if next.kind.priority() > worst.kind.priority() {
            next
        } else {
            worst
        }
    })
}
