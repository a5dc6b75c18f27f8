//! `servo.toml`: how the daemon itself runs. Every key has an environment variable.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;

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
        // A comment line that is a key or a section, switched on.
        let on: String = example
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if rest.starts_with('[') || rest.contains(" = ") => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        assert!(read(&on).unwrap().log.file.is_some(), "{on}");
    }
}
