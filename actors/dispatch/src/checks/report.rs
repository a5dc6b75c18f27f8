//! What a run of checks tells while it goes on (`spec/events-and-checks.md` §6.13, §6.14).

use std::{fmt, sync::Arc, time::Duration};

use servo_messages::CheckDelay;

use super::check::{Check, NO_MESSAGE};

/// What a run of checks tells while it goes on. Its text is what is logged.
#[derive(Clone, Copy, Debug)]
pub enum CheckReport<'r> {
    /// The run begins, and may take several passes.
    Began {
        /// How long it may go on.
        wait: Duration,
        /// The pause between passes.
        delay: CheckDelay,
        /// Whether results are told as they come.
        progressive: bool,
    },
    /// A check succeeded that had not before.
    Passed(CheckOf<'r>),
    /// A check failed that is mere advice.
    Warned(CheckOf<'r>),
    /// A check failed.
    Failed {
        /// Which one.
        of: CheckOf<'r>,
        /// How many had passed in this pass.
        passed: usize,
    },
    /// The remedy of a failed check is about to be tried.
    RemedyBegins(CheckOf<'r>),
    /// It was not done in time.
    RemedyTimedOut {
        /// Of which check.
        of: CheckOf<'r>,
        /// How long it had.
        limit: Duration,
    },
    /// It did not work.
    RemedyFailed {
        /// Of which check.
        of: CheckOf<'r>,
        /// Why.
        error: &'r str,
    },
    /// A pass is over: what there is to show in a table.
    PassEnded {
        /// All results.
        results: &'r [ConnectorChecks],
    },
    /// All checks passed.
    AllPassed,
    /// The filter selected no check.
    NothingMatched,
    /// The next pass begins after that long.
    Waiting {
        /// How long.
        pause: Duration,
    },
    /// The time for repeating is up.
    GaveUp {
        /// How long it went on.
        wait: Duration,
    },
}

/// A check and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct CheckOf<'r> {
    /// The connector.
    pub connector: &'r str,
    /// The check.
    pub check: &'r Check,
}

/// The results of one connector, in the order of its checks.
#[derive(Clone, Debug)]
pub struct ConnectorChecks {
    /// Whose.
    pub connector: Arc<str>,
    /// What came of them.
    pub checks: Vec<Check>,
}

/// Where reports go. Called on the threads of the connectors, so it must not block.
pub(crate) type Reporter = Arc<dyn Fn(&CheckReport<'_>) + Send + Sync>;

// === impl CheckReport ===

impl<'r> CheckReport<'r> {
    /// The check that it is about, if it is about one.
    pub fn check(&self) -> Option<CheckOf<'r>> {
        match *self {
            CheckReport::Passed(of)
            | CheckReport::Warned(of)
            | CheckReport::Failed { of, .. }
            | CheckReport::RemedyBegins(of)
            | CheckReport::RemedyTimedOut { of, .. }
            | CheckReport::RemedyFailed { of, .. } => Some(of),
            CheckReport::Began { .. }
            | CheckReport::PassEnded { .. }
            | CheckReport::AllPassed
            | CheckReport::NothingMatched
            | CheckReport::Waiting { .. }
            | CheckReport::GaveUp { .. } => None,
        }
    }

    /// Logs it, with a failed check's hint and error behind it. The end of a pass is not logged.
    pub fn log(&self, servo: &str) {
        let check = self.check();
        let connector = check.map(|of| of.connector);
        let id = check.map(|of| of.check.id.as_str());
        match self {
            CheckReport::PassEnded { .. } => {}
            CheckReport::GaveUp { .. } => {
                tracing::error!(servo, "{self}");
            }
            CheckReport::NothingMatched => {
                tracing::warn!(servo, "{self}");
            }
            CheckReport::RemedyTimedOut { .. } | CheckReport::RemedyFailed { .. } => {
                tracing::warn!(servo, connector, check = id, "{self}");
            }
            CheckReport::Warned(of) | CheckReport::Failed { of, .. } => {
                tracing::warn!(servo, connector, check = id, "{self}");
                if let Some(hint) = of.check.hint() {
                    tracing::info!(servo, connector, check = id, "Hint: {hint}");
                }
                if let Some(exception) = of.check.exception() {
                    tracing::debug!(servo, connector, check = id, "{exception}");
                }
            }
            _ => tracing::info!(servo, connector, check = id, "{self}"),
        }
    }
}

impl fmt::Display for CheckReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |duration: &Duration| servo_messages::Duration::from(*duration);
        match self {
            CheckReport::Began {
                wait,
                delay,
                progressive,
            } => {
                let how = if *progressive { " progressively" } else { "" };
                let wait = text(wait);
                write!(
                    f,
                    "Running checks{how} for up to {wait} with a delay of {delay} between iterations"
                )
            }
            CheckReport::Passed(of) => write!(f, "✅ Check '{}' passed", of.check.name),
            CheckReport::Warned(of) => {
                write!(f, "⚠️ Check '{}' warned: {}", of.check.name, of.message())
            }
            CheckReport::Failed { of, passed } => {
                let (name, message) = (&of.check.name, of.message());
                write!(f, "❌ Check '{name}' failed ({passed} passed): {message}")
            }
            CheckReport::RemedyBegins(_) => f.write_str("💡 Attempting to apply remedy..."),
            CheckReport::RemedyTimedOut { limit, .. } => {
                write!(f, "💡 Remedy attempt timed out after {}", text(limit))
            }
            CheckReport::RemedyFailed { of, error } => {
                write!(f, "💡 Remedy for '{}' failed: {error}", of.check.name)
            }
            CheckReport::PassEnded { results } => {
                let count: usize = results.iter().map(|c| c.checks.len()).sum();
                write!(f, "{count} checks of {} connectors ended", results.len())
            }
            CheckReport::AllPassed => f.write_str("🔥 All checks passed."),
            CheckReport::NothingMatched => f.write_str("no checks matched the filter"),
            CheckReport::Waiting { pause } => write!(
                f,
                "waiting for {} seconds before re-running checks",
                (pause.as_secs_f64() * 1000.0).round() / 1000.0
            ),
            CheckReport::GaveUp { wait } => {
                write!(f, "timed out waiting for checks to pass {}", text(wait))
            }
        }
    }
}

// === impl CheckOf ===

impl<'r> CheckOf<'r> {
    /// What the check says, or in its place that it failed.
    fn message(&self) -> &'r str {
        self.check
            .message()
            .filter(|message| !message.trim().is_empty())
            .unwrap_or(NO_MESSAGE)
    }
}
