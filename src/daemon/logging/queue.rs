//! Lines on their way to a place that may be slow, a disk or a pipe: written by a thread of its own, many at a time, so
//! that it holds up nobody. What does not fit into memory meanwhile is dropped and counted.

use std::{
    io::{self, Write},
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// Bytes that wait for the place: half a second of what 10,000 servos say that are all busy, or a line from each.
const MOST: usize = 4 * 1024 * 1024;

/// What the place has for the last lines when the program ends.
pub(super) const CLOSE: Duration = Duration::from_secs(2);

/// How long lines are gathered after the first, for a thread that woke at each would cost more than they do.
const GATHER: Duration = Duration::from_millis(5);

/// Memory for so many bytes is kept for the next lines.
const KEPT: usize = 16 * 1024;

/// Lines that never came to their place.
#[derive(Debug, Default)]
pub(super) struct Losses {
    lines: AtomicU64,
    cause: Mutex<Option<String>>,
}

/// Takes lines.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

/// Writes the lines, until [`Writer::close`].
pub(super) struct Writer {
    lines: Lines,
    closed: mpsc::Receiver<()>,
}

struct Shared {
    place: &'static str,
    waiting: Mutex<Waiting>,
    /// There is something to write, or an end.
    news: Condvar,
    losses: Losses,
}

#[derive(Default)]
struct Waiting {
    text: String,
    lines: u64,
    /// Lines that the thread is about to write.
    in_hand: u64,
    closing: bool,
}

// === impl Losses ===

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

// === impl Lines ===

impl Lines {
    /// Has `line` written soon; never waits.
    pub(super) fn write(&self, line: &str) {
        let mut waiting = self.0.waiting();
        if waiting.closing {
            drop(waiting);
            self.0.losses.count(1, || "it is closed".to_owned());
            return;
        }
        if waiting.text.len().saturating_add(line.len()) > MOST {
            drop(waiting);
            let place = self.0.place;
            self.0
                .losses
                .count(1, || format!("{place} does not keep up"));
            return;
        }
        let is_news = waiting.text.is_empty();
        waiting.text.push_str(line);
        waiting.lines += 1;
        drop(waiting);
        if is_news {
            self.0.news.notify_one();
        }
    }

    pub(super) fn losses(&self) -> &Losses {
        &self.0.losses
    }
}

// === impl Shared ===

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what waits, into the empty `text`, as soon as there is something; none is there at the end.
    fn next(&self, text: &mut String) -> Option<u64> {
        let waiting = self.waiting();
        let idle = |waiting: &mut Waiting| waiting.text.is_empty() && !waiting.closing;
        let waiting = self
            .news
            .wait_while(waiting, idle)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut waiting, _) = self
            .news
            .wait_timeout_while(waiting, GATHER, |waiting| !waiting.closing)
            .unwrap_or_else(PoisonError::into_inner);
        mem::swap(text, &mut waiting.text);
        let lines = mem::take(&mut waiting.lines);
        waiting.in_hand = lines;
        (lines > 0).then_some(lines)
    }
}

// === impl Writer ===

impl Writer {
    /// A thread that writes to `out`, which is `place` in words, and calls `written` after it has.
    pub(super) fn start(
        place: &'static str,
        mut out: impl Write + Send + 'static,
        mut written: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let (closing, closed) = mpsc::sync_channel(1);
        let shared = Arc::new(Shared {
            place,
            waiting: Mutex::default(),
            news: Condvar::new(),
            losses: Losses::default(),
        });
        let lines = Lines(shared.clone());
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                let mut text = String::new();
                while let Some(lines) = shared.next(&mut text) {
                    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
                        shared.losses.count(lines, || error.to_string());
                    }
                    text.clear();
                    text.shrink_to(KEPT);
                    written();
                }
                let _ = closing.send(());
            })?;
        Ok(Self { lines, closed })
    }

    pub(super) fn lines(&self) -> Lines {
        self.lines.clone()
    }

    /// Waits for the lines that are under way, and tells whether they got there. What has not in time is lost.
    pub(super) fn close(&self, time: Duration) -> bool {
        let shared = &self.lines.0;
        shared.waiting().closing = true;
        shared.news.notify_one();
        let in_time = self.closed.recv_timeout(time).is_ok();
        if !in_time {
            let waiting = shared.waiting();
            let lost = waiting.lines + waiting.in_hand;
            drop(waiting);
            shared.losses.count(lost, || {
                format!("they were not written within {} s", time.as_secs_f64())
            });
        }
        in_time
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A place that fails, or hangs until told.
    enum Place {
        Full,
        Stuck(mpsc::Receiver<()>),
    }

    impl Write for Place {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self {
                Place::Full => Err(io::Error::from(io::ErrorKind::StorageFull)),
                Place::Stuck(go) => {
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
    fn lines_that_cannot_be_written_are_counted() {
        let writer = Writer::start("the disk", Place::Full, || {}).unwrap();
        for _ in 0..3 {
            writer.lines().write("x\n");
        }
        assert!(writer.close(CLOSE));
        let lines = writer.lines();
        assert_eq!(lines.losses().lines(), 3);
        let cause = lines.losses().cause();
        assert!(cause.contains("no storage space"), "{cause}");
        lines.write("y\n");
        assert_eq!(lines.losses().lines(), 4);
        assert_eq!(lines.losses().cause(), "it is closed");
    }

    #[test]
    fn nobody_waits_for_a_place_that_hangs_and_memory_is_bounded() {
        let (go, stuck) = mpsc::channel();
        let writer = Writer::start("stderr", Place::Stuck(stuck), || {}).unwrap();
        let lines = writer.lines();
        let line = format!("{}\n", "x".repeat(1023));
        let fit = MOST / line.len();
        let written = 3 * fit;
        for _ in 0..written {
            lines.write(&line);
        }
        // What the thread took in hand before it hung has room of its own.
        let lost = usize::try_from(lines.losses().lines()).unwrap();
        assert!((fit..=2 * fit).contains(&lost), "{lost}");
        assert_eq!(lines.losses().cause(), "stderr does not keep up");
        assert!(!writer.close(Duration::from_millis(20)));
        assert_eq!(lines.losses().lines(), written as u64);
        drop(go);
    }

    #[test]
    fn all_come_in_order_and_the_end_waits_for_them() {
        let (sent, received) = mpsc::channel();
        struct Out(mpsc::Sender<String>);
        impl Write for Out {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                self.0.send(text).map_err(io::Error::other)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let writer = Writer::start("a test", Out(sent), || {}).unwrap();
        let lines = writer.lines();
        let all: String = (0..1000)
            .map(|n| format!("{n}\n"))
            .inspect(|line| lines.write(line))
            .collect();
        assert!(writer.close(CLOSE));
        assert_eq!(received.iter().collect::<String>(), all);
        assert_eq!(lines.losses().lines(), 0);
    }
}
