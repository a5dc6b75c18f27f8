//! Where the configuration of a fleet comes from, again and again.

use std::path::PathBuf;

use crate::config::{DaemonConfig, ServoConfig};

/// Where the configuration of the running program comes from. What it was told for good, as flags and
/// the variables of the process, it keeps; files it reads again each time.
///
/// Its methods block: they are called on threads that are there for it. Errors are one line, with file,
/// line and key.
pub trait ConfigurationSource: Send + Sync {
    /// Reads all of it again.
    ///
    /// # Errors
    /// When anything is wrong.
    fn load(&self) -> Result<Loaded, String>;

    /// Reads documents such as those of `servo.yaml`, each with an optimizer of its own.
    ///
    /// # Errors
    /// When anything is wrong with them.
    fn documents(&self, yaml: &str) -> Result<Vec<ServoConfig>, String>;

    /// Logs as `loaded` says from now on, as far as that needs no restart: the level, and how often what
    /// repeats itself is told.
    ///
    /// # Errors
    /// When the level is neither a level nor directives. Nothing is changed then.
    fn apply_log(&self, loaded: &Loaded) -> Result<(), String>;

    /// The files that [`ConfigurationSource::load`] reads, those among them that do not exist yet. Those
    /// that servos name are not among them.
    fn files(&self) -> Vec<PathBuf>;

    /// Where relative names of files begin.
    fn directory(&self) -> PathBuf;
}

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The servos that are to run.
    pub servos: Vec<ServoConfig>,
    /// Whether the file has several, so that log lines say whose they are.
    pub several: bool,
    /// What `servo.toml` and its variables say.
    pub daemon: DaemonConfig,
    /// The level of the log, whoever says so.
    pub log_level: String,
    /// What deserves a warning but stops nobody, one line each.
    pub warnings: Vec<String>,
}
