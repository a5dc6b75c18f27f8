//! The log in files, of which old ones are removed.

use std::{fs, io, path::PathBuf};

use jiff::Timestamp;
use thiserror::Error;
use tracing_appender::rolling::RollingFileAppender;

use super::queue::Writer;
use crate::config::{LogFile, LogRotation};

/// What file names end in.
const SUFFIX: &str = "log";

/// Why there is no log file.
#[derive(Debug, Error)]
pub(super) enum FileError {
    /// The directory cannot be made, or nothing be written in it.
    #[error(
        "cannot write log files in {}: {cause}; the log goes to stderr only. Choose another directory as `log.file.directory` in servo.toml or with SERVOD_LOG__FILE__DIRECTORY",
        directory.display()
    )]
    Unwritable { directory: PathBuf, cause: String },
    /// No thread.
    #[error("cannot start the writer of log files: {0}; the log goes to stderr only")]
    Thread(io::Error),
}

/// Opens the current file in the directory of `config`, which is made if there is none.
pub(super) fn open(config: &LogFile) -> Result<Writer, FileError> {
    let unwritable = |cause: String| FileError::Unwritable {
        directory: config.directory.clone(),
        cause,
    };
    let rotation = match config.rotation {
        LogRotation::Hourly => tracing_appender::rolling::Rotation::HOURLY,
        LogRotation::Daily => tracing_appender::rolling::Rotation::DAILY,
        LogRotation::Never => tracing_appender::rolling::Rotation::NEVER,
    };
    fs::create_dir_all(&config.directory).map_err(|e| unwritable(e.to_string()))?;
    // Its own limit of files is not used: it removes every `<prefix>*.log` of the directory,
    // ServoX's servo.log among them.
    let appender = RollingFileAppender::builder()
        .rotation(rotation)
        .filename_prefix(config.prefix.as_str())
        .filename_suffix(SUFFIX)
        .build(&config.directory)
        .map_err(|e| unwritable(cause(&e)))?;
    let mut old = OldFiles::of(config);
    let remove_old = move || {
        if let Some(old) = &mut old {
            old.remove_when_due(Timestamp::now());
        }
    };
    Writer::start("the disk", appender, remove_old).map_err(FileError::Thread)
}

/// The innermost cause: the outer ones say that a log file could not be made.
fn cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => cause(source),
        None => error.to_string(),
    }
}

/// The files of earlier days or hours, of which a number is kept.
struct OldFiles {
    directory: PathBuf,
    prefix: String,
    keep: usize,
    /// Seconds that a file is for. Files change at full hours and days in UTC.
    period: i64,
    /// The period in which files were removed last.
    done: Option<i64>,
}

impl OldFiles {
    fn of(config: &LogFile) -> Option<Self> {
        let period = match config.rotation {
            LogRotation::Hourly => 3600,
            LogRotation::Daily => 24 * 3600,
            LogRotation::Never => return None,
        };
        Some(Self {
            directory: config.directory.clone(),
            prefix: config.prefix.as_str().to_owned(),
            keep: config.keep.get(),
            period,
            done: None,
        })
    }

    fn remove_when_due(&mut self, now: Timestamp) {
        let current = now.as_second().div_euclid(self.period);
        if self.done == Some(current) {
            return;
        }
        self.done = Some(current);
        if let Err(error) = self.remove() {
            tracing::warn!(directory = %self.directory.display(), "cannot remove old log files: {error}");
        }
    }

    fn remove(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if self.is_ours(&name) && entry.file_type()?.is_file() {
                files.push(name);
            }
        }
        // The date stands in the name from year to hour.
        files.sort_unstable_by(|a, b| b.cmp(a));
        for name in files.iter().skip(self.keep) {
            fs::remove_file(self.directory.join(name))?;
        }
        Ok(())
    }

    /// Whether this is `<prefix>.<date>.log` or `<prefix>.<date>-<hour>.log`.
    fn is_ours(&self, name: &str) -> bool {
        let date = name
            .strip_prefix(&self.prefix)
            .and_then(|rest| rest.strip_prefix('.'))
            .and_then(|rest| rest.strip_suffix(SUFFIX))
            .and_then(|rest| rest.strip_suffix('.'));
        date.is_some_and(|date| {
            let pattern = "0000-00-00-00".as_bytes();
            matches!(date.len(), 10 | 13)
                && date.bytes().zip(pattern).all(|(byte, like)| match like {
                    b'0' => byte.is_ascii_digit(),
                    other => byte == *other,
                })
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{num::NonZeroUsize, path::Path};

    use super::{super::queue::CLOSE, *};

    fn config(directory: &Path, rotation: LogRotation) -> LogFile {
        LogFile {
            directory: directory.to_owned(),
            prefix: "servo".to_owned().try_into().unwrap(),
            rotation,
            keep: NonZeroUsize::new(2).unwrap(),
            format: None,
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn lines_come_to_the_file_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("var/logs");
        for run in 0..2 {
            let writer = open(&config(&logs, LogRotation::Never)).unwrap();
            for n in 0..100 {
                writer.lines().write(&format!("{run} {n}\n"));
            }
            assert!(writer.close(CLOSE));
            assert_eq!(writer.lines().losses().lines(), 0);
        }
        assert_eq!(names(&logs), ["servo.log"]);
        let text = fs::read_to_string(logs.join("servo.log")).unwrap();
        let expected: Vec<_> = (0..2)
            .flat_map(|run| (0..100).map(move |n| format!("{run} {n}")))
            .collect();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn old_files_go_and_those_of_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let foreign = [
            "servo.log",
            "servo-x.2020-01-01.log",
            "servo.2020-01-01.log.gz",
            "servo.20200101xx.log",
            "other.2020-01-01.log",
        ];
        let old = ["servo.2020-01-01.log", "servo.2020-01-02-23.log"];
        for name in foreign.iter().chain(&old).chain(&["servo.2020-01-03.log"]) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let writer = open(&config(folder.path(), LogRotation::Daily)).unwrap();
        writer.lines().write("x\n");
        assert!(writer.close(CLOSE));
        let left = names(folder.path());
        for name in foreign.iter().chain(&["servo.2020-01-03.log"]) {
            assert!(left.iter().any(|l| l == name), "{name} is gone: {left:?}");
        }
        assert_eq!(left.len(), foreign.len() + 2, "{left:?}");
        assert!(!left.iter().any(|l| old.contains(&l.as_str())), "{left:?}");
    }

    #[test]
    fn a_directory_that_cannot_be_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = open(&config(&file.join("logs"), LogRotation::Daily)).err();
        let text = error.unwrap().to_string();
        assert!(
            text.contains("file/logs") && text.contains("log.file.directory"),
            "{text}"
        );
    }
}
