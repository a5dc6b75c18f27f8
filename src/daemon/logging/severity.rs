//! How serious a record is: ServoX's seven levels on tracing's five (`spec/config-and-cli.md` §8.1).

use tracing::Level;

/// Level of a record, low to high.
///
/// tracing has five levels. A success is `tracing::info!(severity = "success", ...)`, a critical
/// error `tracing::error!(severity = "critical", ...)`: no crate that logs depends on this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Every step.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What happens.
    Info,
    /// Something that was asked for is done.
    Success,
    /// Something is not as it should be; the work goes on.
    Warning,
    /// Something failed.
    Error,
    /// The program cannot do its work.
    Critical,
}

/// The field that tells a success from plain INFO and a critical error from plain ERROR.
pub(super) const MARK: &str = "severity";

impl Severity {
    /// That of a record at `level` whose field `severity` is `mark`; `None` when that mark means
    /// nothing at that level.
    pub(super) fn marked(level: Level, mark: &str) -> Option<Self> {
        match Self::parse(mark)? {
            Severity::Success if level == Level::INFO => Some(Severity::Success),
            Severity::Critical if level == Level::ERROR => Some(Severity::Critical),
            _ => None,
        }
    }

    /// That of a record at `level` without a mark.
    pub(super) fn plain(level: Level) -> Self {
        match level {
            Level::TRACE => Severity::Trace,
            Level::DEBUG => Severity::Debug,
            Level::INFO => Severity::Info,
            Level::WARN => Severity::Warning,
            Level::ERROR => Severity::Error,
        }
    }

    /// The highest that a record at `level` can have.
    pub(super) fn highest(level: Level) -> Self {
        match level {
            Level::INFO => Severity::Success,
            Level::ERROR => Severity::Critical,
            other => Severity::plain(other),
        }
    }

    /// tracing's level that holds records of this one.
    pub(super) fn level(self) -> Level {
        match self {
            Severity::Trace => Level::TRACE,
            Severity::Debug => Level::DEBUG,
            Severity::Info | Severity::Success => Level::INFO,
            Severity::Warning => Level::WARN,
            Severity::Error | Severity::Critical => Level::ERROR,
        }
    }

    /// As it stands in the log.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Trace => "TRACE",
            Severity::Debug => "DEBUG",
            Severity::Info => "INFO",
            Severity::Success => "SUCCESS",
            Severity::Warning => "WARNING",
            Severity::Error => "ERROR",
            Severity::Critical => "CRITICAL",
        }
    }

    /// The level of this name, in any case; `WARN` is one too.
    pub fn parse(name: &str) -> Option<Self> {
        [
            ("trace", Severity::Trace),
            ("debug", Severity::Debug),
            ("info", Severity::Info),
            ("success", Severity::Success),
            ("warning", Severity::Warning),
            ("warn", Severity::Warning),
            ("error", Severity::Error),
            ("critical", Severity::Critical),
        ]
        .into_iter()
        .find_map(|(known, severity)| name.eq_ignore_ascii_case(known).then_some(severity))
    }
}
