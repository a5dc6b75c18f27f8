//! `[log]`: what is logged, how, and where to.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use servo_shape::nearest;
use thiserror::Error;

use crate::daemon::logging;

/// The log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `TRACE` to `CRITICAL`, or directives such as `info,servo_protocol=debug`.
    pub level: Option<LogLevel>,
    /// Lines for people or for programs.
    pub format: Option<LogFormat>,
    /// Files beside stderr; none by default.
    pub file: Option<LogFile>,
    /// How long a warning or an error is left out that repeats itself.
    pub rate_limit: LogRateLimit,
}

/// A level, or directives for parts of the program.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct LogLevel(String);

/// A level that is none.
#[derive(Debug, Error)]
#[error("{text}")]
pub struct LogLevelError {
    text: String,
}

impl LogLevel {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LogLevel {
    type Error = LogLevelError;

    fn try_from(level: String) -> Result<Self, LogLevelError> {
        match logging::check_level(&level) {
            Ok(()) => Ok(Self(level)),
            Err(error) => {
                let meant = nearest(&level.to_uppercase(), logging::LEVELS);
                let meant = meant.map(|name| format!(" (did you mean \"{name}\"?)"));
                let text = format!("{error}{}", meant.unwrap_or_default());
                Err(LogLevelError { text })
            }
        }
    }
}

/// A warning or an error that repeats itself is written once in so long a time, with the number of those
/// that were left out; 10 s by default, 0 writes all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "servo_messages::Duration")]
#[schemars(with = "servo_messages::Duration")]
pub struct LogRateLimit(Duration);

impl LogRateLimit {
    /// As a span of time.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl Default for LogRateLimit {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

impl From<servo_messages::Duration> for LogRateLimit {
    fn from(given: servo_messages::Duration) -> Self {
        Self(given.as_std())
    }
}

/// The log in files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogFile {
    /// Where they are; made if it does not exist.
    pub directory: PathBuf,
    /// What their names begin with; `servo` by default.
    #[serde(default)]
    pub prefix: LogFilePrefix,
    /// When a new one begins.
    #[serde(default)]
    pub rotation: LogRotation,
    /// How many are kept, the current one among them; 7 by default. Without rotation there is one.
    #[serde(default = "default_keep")]
    pub keep: NonZeroUsize,
    /// Lines for people or for programs; as on stderr by default.
    pub format: Option<LogFormat>,
}

fn default_keep() -> NonZeroUsize {
    const { NonZeroUsize::new(7).unwrap() }
}

/// When a log file ends and the next one begins, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogRotation {
    /// Each hour: `servo.2026-01-21-12.log`.
    Hourly,
    /// Each day: `servo.2026-01-21.log`.
    #[default]
    Daily,
    /// Never: `servo.log`.
    Never,
}

/// What the name of a file begins with: no directory, not empty.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct LogFilePrefix(String);

impl LogFilePrefix {
    /// As it stands in the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LogFilePrefix {
    fn default() -> Self {
        Self("servo".to_owned())
    }
}

/// A name of log files that is none.
#[derive(Debug, Error)]
#[error(
    "invalid prefix of log files '{0}': expected the start of a file name, without '/'; the directory is a key of its own"
)]
pub struct LogFilePrefixError(String);

impl TryFrom<String> for LogFilePrefix {
    type Error = LogFilePrefixError;

    fn try_from(prefix: String) -> Result<Self, LogFilePrefixError> {
        if prefix.is_empty() || prefix.chars().any(|c| c == '/' || c.is_control()) {
            return Err(LogFilePrefixError(prefix));
        }
        Ok(Self(prefix))
    }
}

/// What a log line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
