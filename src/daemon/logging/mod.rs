//! The log, on stderr.

mod json;

use std::io::IsTerminal;

use thiserror::Error;
use tracing_subscriber::{
    EnvFilter, Layer, fmt::format::JsonFields, layer::SubscriberExt, registry::Registry,
    util::SubscriberInitExt,
};

use crate::config::LogFormat;

/// Why the program cannot start.
#[derive(Debug, Error)]
pub enum InitError {
    /// The level is none.
    #[error(
        "invalid log level '{level}': expected TRACE, DEBUG, INFO, WARNING, ERROR, or directives such as info,servo_protocol=debug"
    )]
    LogLevel {
        /// What was given.
        level: String,
    },
    /// Something logs already.
    #[error("the log cannot be set up: {0}")]
    Log(String),
}

/// Where log lines go while something else draws on the terminal.
pub type Suspend = std::sync::Arc<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

static SUSPEND: std::sync::RwLock<Option<Suspend>> = std::sync::RwLock::new(None);

/// Has `suspend` run each write to the log from now on, so that a progress bar can step aside.
pub fn write_through(suspend: Option<Suspend>) {
    *SUSPEND
        .write()
        .unwrap_or_else(std::sync::PoisonError::into_inner) = suspend;
}

/// One line of the log on its way to stderr.
struct Line;

impl std::io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let suspend = SUSPEND
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        let mut outcome = Ok(());
        let mut write = || outcome = std::io::stderr().lock().write_all(bytes);
        match suspend {
            Some(suspend) => suspend(&mut write),
            None => write(),
        }
        outcome.map(|()| bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// Starts the log: lines for people by default, on stderr.
///
/// # Errors
/// When `level` is neither a level nor directives.
pub fn init(level: &str, format: Option<LogFormat>, colour: bool) -> Result<(), InitError> {
    let filter = filter(level)?;
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format.unwrap_or(LogFormat::Text) {
        LogFormat::Text => Box::new(
            tracing_subscriber::fmt::layer()
                .with_writer(|| Line)
                .with_ansi(colour && std::io::stderr().is_terminal()),
        ),
        LogFormat::Json => Box::new(
            tracing_subscriber::fmt::layer()
                .fmt_fields(JsonFields::new())
                .event_format(json::JsonLines)
                .with_writer(|| Line),
        ),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()
        .map_err(|e| InitError::Log(e.to_string()))
}

/// ServoX's names for levels are understood too.
fn filter(level: &str) -> Result<EnvFilter, InitError> {
    let invalid = || InitError::LogLevel {
        level: level.to_owned(),
    };
    let plain = match level.to_ascii_uppercase().as_str() {
        "TRACE" => Some("trace"),
        "DEBUG" => Some("debug"),
        "INFO" | "SUCCESS" => Some("info"),
        "WARN" | "WARNING" => Some("warn"),
        "ERROR" | "CRITICAL" => Some("error"),
        _ => None,
    };
    // A lone word that is no level would be taken for the name of a target.
    let directives = match plain {
        Some(level) => level.to_owned(),
        None if level.contains(['=', ',']) => level.to_owned(),
        None => return Err(invalid()),
    };
    EnvFilter::try_new(directives).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_in_any_case_and_directives() {
        for good in [
            "info",
            "WARNING",
            "Success",
            "critical",
            "info,servo_protocol=debug",
        ] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["loud", "", "info,servo=loud"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
