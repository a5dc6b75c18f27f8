//! The log in files: written by a thread of its own, so that a slow disk holds up nobody.

use std::{
    fs, io,
    io::Write,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use thiserror::Error;
use tracing_appender::rolling::RollingFileAppender;

use crate::config::{LogFile, LogRotation};

/// Lines that wait for the disk. More are dropped and counted.
const QUEUE: usize = 8192;

/// What the disk has for the last lines when the program ends.
pub(super) const CLOSE: Duration = Duration::from_secs(2);

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

/// Lines that never came into a file.
#[derive(Debug, Default)]
pub(super) struct Losses {
    lines: AtomicU64,
    cause: Mutex<Option<String>>,
}

impl Losses {
    fn count(&self, lines: u64, cause: impl FnOnce() -> String) {
        self.lines.fetch_add(lines, Ordering::Relaxed);
        *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause());
    }

    /// How many since the program started.
    pub(super) fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Why the last one.
    pub(super) fn cause(&self) -> String {
        let cause = self.cause.lock().unwrap_or_else(PoisonError::into_inner);
        cause.clone().unwrap_or_default()
    }
}

/// Takes lines for the file.
#[derive(Clone)]
pub(super) struct Lines {
    queue: mpsc::SyncSender<Message>,
    shared: Arc<Shared>,
}

/// Writes the lines, until [`Writer::close`].
pub(super) struct Writer {
    lines: Lines,
    closed: mpsc::Receiver<()>,
}

#[derive(Default)]
struct Shared {
    losses: Losses,
    /// Lines in the queue.
    waiting: AtomicU64,
}

enum Message {
    Line(String),
    Close,
}

impl Lines {
    /// Has `line` written soon; never waits.
    pub(super) fn write(&self, line: String) {
        // Counted first: the thread may be done with it before this one goes on.
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.queue.try_send(Message::Line(line)) {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            self.shared.losses.count(1, || match error {
                mpsc::TrySendError::Full(_) => "the disk does not keep up".to_owned(),
                mpsc::TrySendError::Disconnected(_) => "the file is closed".to_owned(),
            });
        }
    }

    pub(super) fn losses(&self) -> &Losses {
        &self.shared.losses
    }
}

impl Writer {
    /// Opens the current file in the directory of `config`, which is made if there is none.
    pub(super) fn start(config: &LogFile) -> Result<Self, FileError> {
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
        Self::spawn(appender, OldFiles::of(config))
    }

    fn spawn(
        mut out: impl Write + Send + 'static,
        mut old: Option<OldFiles>,
    ) -> Result<Self, FileError> {
        let (queue, messages) = mpsc::sync_channel(QUEUE);
        let (closing, closed) = mpsc::sync_channel(1);
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        thread::Builder::new()
            .name("log-file".to_owned())
            .spawn(move || {
                let failed = |error: io::Error| of_thread.losses.count(1, || error.to_string());
                while let Ok(Message::Line(line)) = messages.recv() {
                    out.write_all(line.as_bytes()).unwrap_or_else(failed);
                    of_thread.waiting.fetch_sub(1, Ordering::Relaxed);
                    if let Some(old) = &mut old {
                        old.remove_when_due(Timestamp::now());
                    }
                }
                out.flush().unwrap_or_else(failed);
                let _ = closing.send(());
            })
            .map_err(FileError::Thread)?;
        Ok(Self {
            lines: Lines { queue, shared },
            closed,
        })
    }

    pub(super) fn lines(&self) -> Lines {
        self.lines.clone()
    }

    /// Waits for the lines that are under way. What has not come to the disk in time is lost.
    pub(super) fn close(&self, time: Duration) {
        let end = Instant::now() + time;
        while let Err(mpsc::TrySendError::Full(_)) = self.lines.queue.try_send(Message::Close) {
            if Instant::now() >= end {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let left = end.saturating_duration_since(Instant::now());
        if let Err(mpsc::RecvTimeoutError::Timeout) = self.closed.recv_timeout(left) {
            let waiting = self.lines.shared.waiting.load(Ordering::Relaxed);
            self.lines.losses().count(waiting, || {
                format!("they were not written within {} s", time.as_secs_f64())
            });
        }
    }
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

    use super::*;

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
            let writer = Writer::start(&config(&logs, LogRotation::Never)).unwrap();
            for n in 0..100 {
                writer.lines().write(format!("{run} {n}\n"));
            }
            writer.close(CLOSE);
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
        let writer = Writer::start(&config(folder.path(), LogRotation::Daily)).unwrap();
        writer.lines().write("x\n".to_owned());
        writer.close(CLOSE);
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
        let error = Writer::start(&config(&file.join("logs"), LogRotation::Daily)).err();
        let text = error.unwrap().to_string();
        assert!(
            text.contains("file/logs") && text.contains("log.file.directory"),
            "{text}"
        );
    }

    /// A disk that fails, or hangs until told.
    enum Disk {
        Full,
        Stuck(mpsc::Receiver<()>),
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self {
                Disk::Full => Err(io::Error::from(io::ErrorKind::StorageFull)),
                Disk::Stuck(go) => {
                    let _ = go.recv();
                    Ok(bytes.len())
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_are_lost_are_counted() {
        let writer = Writer::spawn(Disk::Full, None).unwrap();
        for _ in 0..3 {
            writer.lines().write("x\n".to_owned());
        }
        writer.close(CLOSE);
        let lines = writer.lines();
        assert_eq!(lines.losses().lines(), 3);
        assert!(
            lines.losses().cause().contains("no storage space"),
            "{}",
            lines.losses().cause()
        );

        let (go, stuck) = mpsc::channel();
        let writer = Writer::spawn(Disk::Stuck(stuck), None).unwrap();
        let lines = writer.lines();
        let more = 5;
        for _ in 0..QUEUE + 1 + more {
            lines.write("x\n".to_owned());
        }
        // One line may be with the disk already, or not yet.
        let dropped = lines.losses().lines();
        assert!(
            (more as u64..=more as u64 + 1).contains(&dropped),
            "{dropped}"
        );
        writer.close(Duration::from_millis(20));
        assert_eq!(lines.losses().lines(), (QUEUE + 1 + more) as u64);
        drop(go);
    }
}
