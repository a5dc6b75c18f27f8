//! `servo.toml`: how the daemon itself runs. Every key has an environment variable.

mod admin;

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use servo_protocol::HostLimits;
use thiserror::Error;

pub use admin::{AdminConfig, AdminConfigError, AdminTls, Listen};

/// How the daemon runs: `servo.toml`, overridden by `SERVOD_...` variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DaemonConfig {
    /// The log.
    pub log: LogConfig,
    /// Where `servo.yaml` is, when no flag and no `SERVO_CONFIG_FILE` says.
    pub assembly_file: Option<PathBuf>,
    /// Threads that servos are spread over; one for each processor by default.
    pub arbiters: Option<NonZeroUsize>,
    /// Whether a change of the configuration's files is a reason to reload; not by default.
    pub watch: bool,
    /// What a reload does to the servos that it changes.
    pub reload: ReloadConfig,
    /// How optimizers are spoken to.
    pub optimizer: OptimizerLimits,
    /// The HTTP server for those who look after the program.
    pub admin: AdminConfig,
}

/// What a reload does to the servos that it changes or removes. Those that stay as they are notice
/// nothing of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadConfig {
    /// What becomes of a command in progress.
    pub command: ReloadCommand,
    /// How long a command may take to its end, where it may; 60 s by default, an hour at most.
    pub finish_within: FinishWithin,
}

/// What becomes of a command in progress of a servo that a reload changes or removes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReloadCommand {
    /// It is cancelled, as by SIGTERM: the optimizer gives it again after the next HELLO. The
    /// default: commands mostly last longer than anybody wants to wait for a reload, and what was
    /// changed may be the reason why this one does no good.
    #[default]
    Cancel,
    /// It may end and be reported, within [`ReloadConfig::finish_within`]; then it is cancelled.
    Finish,
}

/// How long a command may take to its end when its servo is to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "servo_messages::Duration")]
pub struct FinishWithin(Duration);

/// Longer than an hour, a reload would be one that hangs.
const LONGEST_FINISH: Duration = Duration::from_secs(3600);

/// Too long a time for the end of a command.
#[derive(Debug, Error)]
#[error("invalid finish_within {0}: a reload waits no longer than 1h for a command")]
pub struct FinishWithinError(servo_messages::Duration);

impl FinishWithin {
    /// As a span of time.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl Default for FinishWithin {
    fn default() -> Self {
        Self(Duration::from_secs(60))
    }
}

impl TryFrom<servo_messages::Duration> for FinishWithin {
    type Error = FinishWithinError;

    fn try_from(given: servo_messages::Duration) -> Result<Self, FinishWithinError> {
        let time = Duration::from(given);
        if time > LONGEST_FINISH {
            return Err(FinishWithinError(given));
        }
        Ok(Self(time))
    }
}

/// How optimizers are spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerLimits {
    /// Requests that may be under way at a time, to one host and port, of all servos together;
    /// 100 by default.
    pub max_concurrent_requests: NonZeroUsize,
}

impl Default for OptimizerLimits {
    fn default() -> Self {
        Self {
            max_concurrent_requests: HostLimits::DEFAULT,
        }
    }
}

/// The log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `TRACE` to `CRITICAL`, or directives such as `info,servo_protocol=debug`.
    pub level: Option<String>,
    /// Lines for people or for programs.
    pub format: Option<LogFormat>,
    /// Files beside stderr; none by default.
    pub file: Option<LogFile>,
    /// How long a warning or an error is left out that repeats itself.
    pub rate_limit: LogRateLimit,
}

/// A warning or an error that repeats itself is written once in so long a time, with the number of those
/// that were left out; 10 s by default, 0 writes all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "servo_messages::Duration")]
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why `servo.toml` cannot be used.
#[derive(Debug, Error)]
#[error("{}: {cause}", file.display())]
pub struct DaemonConfigError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub cause: Box<config::ConfigError>,
}

impl DaemonConfig {
    /// Reads `file` if it exists, and the environment: `SERVOD_LOG__LEVEL` is `log.level`.
    ///
    /// # Errors
    /// When there is something that cannot be read, as the directory that a container runtime makes
    /// of a mount without a source, when it is not TOML, or has a key or a value that is not known.
    pub fn load(file: &Path) -> Result<Self, DaemonConfigError> {
        let text = match std::fs::read_to_string(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            other => other,
        };
        let text = text.map_err(|cause| DaemonConfigError {
            file: file.to_owned(),
            cause: Box::new(config::ConfigError::Foreign(Box::new(cause))),
        })?;
        config::Config::builder()
            .add_source(config::File::from_str(&text, config::FileFormat::Toml))
            .add_source(
                config::Environment::with_prefix("SERVOD")
                    .prefix_separator("_")
                    .separator("__")
                    .ignore_empty(true)
                    .try_parsing(true),
            )
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|cause| DaemonConfigError {
                file: file.to_owned(),
                cause: Box::new(cause),
            })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<DaemonConfig, DaemonConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("servo.toml");
        std::fs::write(&file, text).unwrap();
        DaemonConfig::load(&file)
    }

    #[test]
    fn log_files() {
        assert_eq!(read("").unwrap().log.file, None);
        let file = read("[log.file]\ndirectory = \"logs\"\n").unwrap().log.file;
        assert_eq!(
            file.unwrap(),
            LogFile {
                directory: PathBuf::from("logs"),
                prefix: LogFilePrefix::default(),
                rotation: LogRotation::Daily,
                keep: NonZeroUsize::new(7).unwrap(),
                format: None,
            }
        );
        let file = read(
            "[log]\nfile = {directory = \"/l\", prefix = \"s\", rotation = \"never\", keep = 2, format = \"json\"}\n",
        );
        let file = file.unwrap().log.file.unwrap();
        assert_eq!(file.prefix.as_str(), "s");
        assert_eq!(file.rotation, LogRotation::Never);
        assert_eq!(file.format, Some(LogFormat::Json));
        for (wrong, told) in [
            ("prefix = \"s\"", "directory"),
            ("directory = \"l\"\nprefix = \"a/b\"", "'a/b'"),
            ("directory = \"l\"\nkeep = 0", "nonzero"),
            ("directory = \"l\"\nrotation = \"weekly\"", "weekly"),
            ("directory = \"l\"\nkep = 1", "kep"),
        ] {
            let error = read(&format!("[log.file]\n{wrong}\n"))
                .unwrap_err()
                .to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn the_example_is_valid_and_tells_the_defaults() {
        let example = include_str!("../../servo.toml.example");
        assert_eq!(read(example).unwrap(), DaemonConfig::default());
        let config = DaemonConfig::default();
        assert_eq!(config.reload.finish_within.get(), Duration::from_secs(60));
        assert_eq!(config.optimizer.max_concurrent_requests.get(), 100);
        // A comment line that is a key or a section, switched on.
        let on: String = example
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.starts_with('[') || rest.contains(" = ") => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let on = read(&on).unwrap();
        assert!(on.log.file.is_some() && on.admin.tls.is_some(), "{on:?}");
        assert_eq!(on.reload, DaemonConfig::default().reload);
    }

    #[test]
    fn the_log_is_limited_unless_told_otherwise() {
        for (text, seconds) in [
            ("", 10),
            ("[log]\nrate_limit = \"1m\"\n", 60),
            ("[log]\nrate_limit = \"0s\"\n", 0),
            ("[log]\nrate_limit = 0\n", 0),
        ] {
            let limit = read(text).unwrap().log.rate_limit.get();
            assert_eq!(limit, Duration::from_secs(seconds), "{text}");
        }
        let error = read("[log]\nrate_limit = \"often\"\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("often"), "{error}");
    }

    #[test]
    fn reloads_and_limits() {
        let config = read(
            "watch = true\n[reload]\ncommand = \"finish\"\nfinish_within = \"5m\"\n\
             [optimizer]\nmax_concurrent_requests = 7\n",
        )
        .unwrap();
        assert!(config.watch);
        assert_eq!(config.reload.command, ReloadCommand::Finish);
        assert_eq!(config.reload.finish_within.get(), Duration::from_secs(300));
        assert_eq!(config.optimizer.max_concurrent_requests.get(), 7);
        for (wrong, told) in [
            ("[reload]\ncommand = \"wait\"", "wait"),
            ("[reload]\nfinish_within = \"2h\"", "no longer than 1h"),
            ("[optimizer]\nmax_concurrent_requests = 0", "nonzero"),
            ("watch = \"sometimes\"", "watch"),
        ] {
            let error = read(&format!("{wrong}\n")).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
