//! The log: on stderr, and in files when `servo.toml` says so (`spec/config-and-cli.md` §8.1).
//!
//! Crates log with `tracing`. What a line says beside its message comes from fields, those of the
//! spans around it included: `servo`, `connector`, `event` and `stage` name the component that
//! speaks, `logger` sets another name for it, `severity = "success"` on INFO and
//! `severity = "critical"` on ERROR are the two levels that tracing does not have. All others follow
//! the message. Records of the `log` crate come in too.

mod escape;
mod file;
mod json;
mod layer;
mod queue;
mod recent;
mod record;
mod repetition;
mod severity;
mod sink;
mod text;
mod threshold;

use std::{io::IsTerminal, time::Duration};

use jiff::tz::TimeZone;
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_log::AsLog;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

pub(crate) use escape::one_line;
pub use recent::{Recent, RecentRecord, recent};
pub use severity::Severity;
pub use sink::{Suspend, name_servos, write_through};

use crate::config::{LogFile, LogFormat};
use layer::Sinks;
use sink::{Form, Out, Sink};
use threshold::Thresholds;

/// Why the program cannot start.
#[derive(Debug, Error)]
pub enum InitError {
    /// The level is none.
    #[error(
        "invalid log level '{level}': expected TRACE, DEBUG, INFO, SUCCESS, WARNING, ERROR, CRITICAL, or directives such as info,servo_protocol=debug"
    )]
    LogLevel {
        /// What was given.
        level: String,
    },
    /// Something logs already.
    #[error("the log cannot be set up: {0}")]
    Log(String),
}

/// The running log. Dropping it brings what is under way to where it belongs, within two seconds each, and says how much
/// did not get there.
#[must_use = "dropping it closes the log"]
pub struct Log {
    sinks: Sinks,
    file: Option<queue::Writer>,
    stderr: Option<queue::Writer>,
}

impl Log {
    /// Logs what `level` says from now on, as in [`init`].
    ///
    /// # Errors
    /// When `level` is neither a level nor directives. Nothing is changed then.
    pub fn set_level(&self, level: &str) -> Result<(), InitError> {
        self.sinks.set_thresholds(Thresholds::parse(level)?);
        tracing::callsite::rebuild_interest_cache();
        tracing_log::log::set_max_level(LevelFilter::current().as_log());
        Ok(())
    }

    /// Writes a warning or an error that repeats itself once in `window` from now on, with the number of
    /// those that were left out; at first that is 10 s. Zero writes all.
    pub fn set_rate_limit(&self, window: Duration) {
        self.sinks.set_rate_limit(window);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.sinks.tell_repetitions_at_the_end();
        if let Some(file) = &self.file {
            file.close(queue::CLOSE);
        }
        self.sinks.tell_losses(|_| true);
        if let Some(stderr) = &self.stderr {
            stderr.close(queue::CLOSE);
        }
    }
}

/// The words for levels.
pub const LEVELS: [&str; 8] = [
    "TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL", "OFF",
];

/// Whether `level` is one of the seven levels, or directives, as in [`init`].
///
/// # Errors
/// When it is neither.
pub fn check_level(level: &str) -> Result<(), InitError> {
    Thresholds::parse(level).map(drop)
}

/// Starts the log on stderr, for people by default, in colours when `colour` and stderr is a
/// terminal; and in `file`. A `lasting` program goes on when nobody reads its stderr: lines wait, and are dropped and
/// counted when they are too many. `level` is the threshold of both: one of the seven levels in any case,
/// or directives such as `info,servo_protocol=debug,hyper=off` (a target holds for all that begin
/// like it; what none names gets WARNING). A file that cannot be written is a warning in the log.
///
/// # Errors
/// When `level` is neither a level nor directives, or when something logs already.
pub fn init(
    level: &str,
    format: Option<LogFormat>,
    colour: bool,
    lasting: bool,
    file: Option<&LogFile>,
) -> Result<Log, InitError> {
    let colour = colour && std::io::stderr().is_terminal();
    let (log, failed) = assemble(level, format, colour, lasting, file)?;
    tracing_subscriber::registry()
        .with(log.sinks.clone())
        .try_init()
        .map_err(|e| InitError::Log(e.to_string()))?;
    if let Some(error) = failed {
        tracing::warn!("{error}");
    }
    Ok(log)
}

/// A log that nobody writes to yet, and why it has no file although it was to have one.
fn assemble(
    level: &str,
    format: Option<LogFormat>,
    colour: bool,
    lasting: bool,
    file: Option<&LogFile>,
) -> Result<(Log, Option<file::FileError>), InitError> {
    let thresholds = Thresholds::parse(level)?;
    let format = format.unwrap_or(LogFormat::Text);
    // Without a zone that can be found this is UTC.
    let zone = TimeZone::system();
    let form = |format, colour| match format {
        LogFormat::Text => Form::Text(text::Layout::new(zone.clone(), colour)),
        LogFormat::Json => Form::Json,
    };
    // Without a thread lines are written at once.
    let stderr = lasting.then(|| queue::Writer::start("its reader", sink::Stderr, || {}));
    let stderr = stderr.and_then(Result::ok);
    let mut sinks = vec![Sink {
        form: form(format, colour),
        out: match &stderr {
            Some(writer) => Out::Queued {
                what: "the log on stderr",
                lines: writer.lines(),
            },
            None => Out::Stderr,
        },
    }];
    let (file, failed) = match file.map(|config| (config, file::open(config))) {
        Some((config, Ok(writer))) => {
            sinks.push(Sink {
                form: form(config.format.unwrap_or(format), false),
                out: Out::Queued {
                    what: "the log file",
                    lines: writer.lines(),
                },
            });
            (Some(writer), None)
        }
        Some((_, Err(error))) => (None, Some(error)),
        None => (None, None),
    };
    let sinks = Sinks::new(thresholds, sinks);
    let log = Log {
        sinks,
        file,
        stderr,
    };
    Ok((log, failed))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, num::NonZeroUsize};

    use super::*;
    use crate::config::LogRotation;

    fn file(directory: std::path::PathBuf) -> LogFile {
        LogFile {
            directory,
            prefix: Default::default(),
            rotation: LogRotation::Never,
            keep: NonZeroUsize::MIN,
            format: None,
        }
    }

    #[test]
    fn one_threshold_that_can_change_and_a_file_without_colour() {
        let folder = tempfile::tempdir().unwrap();
        let config = file(folder.path().join("logs"));
        let (log, failed) = assemble("success", None, true, false, Some(&config)).unwrap();
        assert!(failed.is_none());
        let subscriber = tracing_subscriber::registry().with(log.sinks.clone());
        tracing::subscriber::with_default(subscriber, || {
            for level in ["success", "debug", "critical"] {
                log.set_level(level).unwrap();
                tracing::debug!("debug at {level}");
                tracing::info!(severity = "success", "done at {level}");
                tracing::error!("error at {level}");
            }
            assert!(log.set_level("loud").is_err());
            tracing::error!(severity = "critical", "after a wrong level");
        });
        drop(log);
        let text = fs::read_to_string(folder.path().join("logs/servo.log")).unwrap();
        let said: Vec<_> = text
            .lines()
            .map(|l| l.rsplit_once(" - ").unwrap().1)
            .collect();
        assert_eq!(
            said,
            [
                "done at success",
                "error at success",
                "debug at debug",
                "done at debug",
                "error at debug",
                "after a wrong level",
            ]
        );
        assert!(!text.contains('\x1b'));
        assert!(text.contains("| SUCCESS  |") && text.contains("| CRITICAL |"));
    }

    #[test]
    fn a_file_that_cannot_be_is_no_reason_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::write(&taken, "").unwrap();
        let (log, failed) = assemble("info", None, false, false, Some(&file(taken))).unwrap();
        assert!(log.file.is_none());
        assert!(failed.unwrap().to_string().contains("taken"));
    }
}
