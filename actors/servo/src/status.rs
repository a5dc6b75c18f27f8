//! What a servo is doing, for whoever looks at it.

use std::{
    borrow::Cow,
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
    pub command: Option<Box<CommandStatus>>,
    /// The last command that was finished.
    pub last: Option<Box<LastCommand>>,
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
    /// 0 to 100, as connectors reported it last.
    pub percent: f64,
    /// What is known beforehand of how long it takes; none before it begins.
    pub schedule: Option<Schedule>,
    /// What a connector said of it last, or what keeps it from beginning.
    pub message: Option<String>,
}

/// A piece of work of known length.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// When it began.
    pub began: Instant,
    /// How long it takes.
    pub length: Duration,
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

impl CommandStatus {
    /// How far it is at this moment, 0 to 100: what was reported, or how much of a known time has
    /// passed, whichever is more. Connectors report once a minute (`spec/optimizer-protocol.md` §9).
    pub fn percent_now(&self) -> f64 {
        let passed = self.schedule.map_or(0.0, |schedule| {
            let elapsed = schedule.began.elapsed().as_secs_f64();
            (100.0 * elapsed / schedule.length.as_secs_f64().max(f64::MIN_POSITIVE)).min(99.0)
        });
        self.percent.max(passed)
    }
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

impl Phase {
    /// The same text as its `Display`, taking no more memory than it needs.
    pub(crate) fn words(&self) -> Cow<'static, str> {
        match self {
            Self::Executing(_)
            | Self::Reporting(_)
            | Self::Sleeping { .. }
            | Self::Waiting { .. } => {
                let mut text = self.to_string();
                text.shrink_to_fit();
                Cow::Owned(text)
            }
            Self::ShuttingDown => Cow::Borrowed("shutting down"),
            other => Cow::Borrowed(other.name()),
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
                // It is of the odd length that chance makes it.
                let step = if duration.as_secs() > 0 { 100 } else { 1 };
                let rounded = Duration::from_millis(duration.as_millis() as u64 / step * step);
                write!(f, "waiting for {}", servo_messages::Duration::from(rounded))
            }
            other => f.write_str(&other.words()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_wait_is_told_in_figures_that_can_be_read() {
        for (nanoseconds, told) in [
            (2_641_004_665, "waiting for 2.6s"),
            (310_177_936, "waiting for 310ms"),
            (300_000_000_000, "waiting for 5m"),
        ] {
            let duration = Duration::from_nanos(nanoseconds);
            assert_eq!(Phase::Waiting { duration }.to_string(), told);
        }
    }

    fn half_done(percent: f64, schedule: Option<Schedule>) -> CommandStatus {
        CommandStatus {
            operation: Operation::Measure,
            uid: None,
            started: Instant::now(),
            percent,
            schedule,
            message: None,
        }
    }

    #[test]
    fn known_times_pass_between_reports() {
        let began = Instant::now().checked_sub(Duration::from_secs(30)).unwrap();
        let of = |length| {
            Some(Schedule {
                began,
                length: Duration::from_secs(length),
            })
        };
        let passed = half_done(0.0, of(60)).percent_now();
        assert!((50.0..60.0).contains(&passed), "{passed}");
        assert_eq!(half_done(80.0, of(60)).percent_now(), 80.0);
        assert_eq!(half_done(0.0, of(0)).percent_now(), 99.0);
        assert_eq!(half_done(12.0, None).percent_now(), 12.0);
    }
}
