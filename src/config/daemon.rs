//! `servo.toml`: how the daemon itself runs. Every key has an environment variable.

use std::path::{Path, PathBuf};

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
    pub arbiters: Option<std::num::NonZeroUsize>,
}

/// The log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `TRACE` to `ERROR`, or directives such as `info,servo_protocol=debug`.
    pub level: Option<String>,
    /// Lines for people or for programs.
    pub format: Option<LogFormat>,
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
    /// When the file is not TOML, or has a key or a value that is not known.
    pub fn load(file: &Path) -> Result<Self, DaemonConfigError> {
        config::Config::builder()
            .add_source(
                config::File::from(file)
                    .format(config::FileFormat::Toml)
                    .required(false),
            )
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
