//! `servo.toml`: how the daemon itself runs. Every key has an environment variable.

mod admin;
mod log;
mod places;
mod read;

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use servo_protocol::HostLimits;
use thiserror::Error;

pub use admin::{AdminConfig, AdminConfigError, AdminTls, Listen, ListenError};
pub use log::{
    LogConfig, LogFile, LogFilePrefix, LogFilePrefixError, LogFormat, LogLevel, LogLevelError,
    LogRateLimit, LogRotation,
};
pub use read::DaemonConfigError;

/// How the daemon runs: `servo.toml`, overridden by `SERVOD_...` variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadConfig {
    /// What becomes of a command in progress.
    pub command: ReloadCommand,
    /// How long a command may take to its end, where it may; 60 s by default, an hour at most.
    pub finish_within: FinishWithin,
}

/// What becomes of a command in progress of a servo that a reload changes or removes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "servo_messages::Duration")]
#[schemars(with = "servo_messages::Duration")]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
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
            ("directory = \"l\"\nkeep = 0", "at least 1"),
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
            ("[optimizer]\nmax_concurrent_requests = 0", "at least 1"),
            ("watch = \"sometimes\"", "watch"),
        ] {
            let error = read(&format!("{wrong}\n")).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
