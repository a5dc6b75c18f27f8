//! A component's output: line by line into the log, the last lines kept for error messages.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::config::{LineMatcher, OutputPolicy};

/// Lines kept for error messages.
const TAIL_LINES: usize = 20;
/// The head and the tail of a line that are kept; what lies between is cut out.
const HEAD_BYTES: usize = 3072;
const END_BYTES: usize = 1024;
/// Bytes of each line that an error message shows.
const SHOWN_BYTES: usize = 300;
/// Lines of one component and stream that reach the log in a second. A component that floods must not
/// take the CPU it is measured on.
const LOGGED_PER_SECOND: u32 = 200;
/// How often it is told that lines were withheld.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// The last lines of both streams, in the order they were read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The kept lines, oldest first.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|line| shorten(line))
            .collect()
    }
}

fn shorten(line: &str) -> String {
    if line.len() <= SHOWN_BYTES {
        return line.to_owned();
    }
    let end = (0..=SHOWN_BYTES)
        .rev()
        .find(|at| line.is_char_boundary(*at))
        .unwrap_or(0);
    format!("{}…", line.get(..end).unwrap_or_default())
}

/// Cuts a stream of bytes into lines of bounded length.
#[derive(Debug, Default)]
struct Lines {
    head: Vec<u8>,
    end: VecDeque<u8>,
    cut: u64,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(String)) {
        let mut parts = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            self.append(part);
            if parts.peek().is_some() {
                emit(self.take());
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(room);
        self.head.extend_from_slice(head);
        let skipped = rest.len().saturating_sub(END_BYTES);
        self.end.extend(rest.iter().skip(skipped));
        let over = self.end.len().saturating_sub(END_BYTES);
        self.end.drain(..over);
        self.cut += (skipped + over) as u64;
    }

    fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.head).into_owned();
        if self.cut > 0 {
            text.push_str(&format!(" … {} bytes cut … ", self.cut));
        }
        let end: Vec<u8> = self.end.iter().copied().collect();
        text.push_str(&String::from_utf8_lossy(&end));
        if text.ends_with('\r') {
            text.pop();
        }
        text
    }

    fn take(&mut self) -> String {
        let text = self.text();
        self.head.clear();
        self.end.clear();
        self.cut = 0;
        text
    }
}

/// What one stream's lines are used for.
pub(crate) struct Sink {
    pub(crate) component: String,
    pub(crate) stream: &'static str,
    pub(crate) policy: OutputPolicy,
    pub(crate) tail: Tail,
    /// The line that means "ready", and where to say that it has come.
    pub(crate) awaited: Option<(LineMatcher, Arc<watch::Sender<bool>>)>,
}

impl Sink {
    /// Reads to the end of the stream.
    pub(crate) async fn drain(mut self, mut stream: impl AsyncRead + Unpin) {
        let mut lines = Lines::default();
        let mut buffer = vec![0; 16 << 10];
        let mut window = Window::new();
        loop {
            let read = match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            };
            lines.feed(buffer.get(..read).unwrap_or_default(), |line| {
                self.line(line, &mut window);
            });
            // Some programs say that they are ready in a line without an end.
            if self.awaited.is_some() && !lines.is_empty() {
                self.look_for_ready(&lines.text());
            }
            // Output that never pauses must not keep the thread.
            tokio::task::yield_now().await;
        }
        if !lines.is_empty() {
            self.line(lines.take(), &mut window);
        }
        window.report(&self);
    }

    fn look_for_ready(&mut self, line: &str) {
        if let Some((matcher, found)) = &self.awaited
            && matcher.matches(line)
        {
            found.send_replace(true);
            self.awaited = None;
        }
    }

    fn line(&mut self, line: String, window: &mut Window) {
        self.look_for_ready(&line);
        if self.policy == OutputPolicy::Log && window.admits(self) {
            tracing::info!(component = %self.component, stream = self.stream, "{line}");
        }
        self.tail.push(line);
    }
}

/// Counts the lines of the current second, and those that were withheld.
struct Window {
    began: Instant,
    logged: u32,
    withheld: u64,
    told: Option<Instant>,
}

impl Window {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            logged: 0,
            withheld: 0,
            told: None,
        }
    }

    fn admits(&mut self, sink: &Sink) -> bool {
        if self.began.elapsed() >= Duration::from_secs(1) {
            (self.began, self.logged) = (Instant::now(), 0);
            if self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
                self.report(sink);
            }
        }
        if self.logged < LOGGED_PER_SECOND {
            self.logged += 1;
            return true;
        }
        self.withheld += 1;
        false
    }

    fn report(&mut self, sink: &Sink) {
        if self.withheld > 0 {
            tracing::warn!(
                component = %sink.component,
                stream = sink.stream,
                lines = self.withheld,
                "output came faster than {LOGGED_PER_SECOND} lines/s: the rest was not logged"
            );
            (self.withheld, self.told) = (0, Some(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(chunks: &[&[u8]]) -> (Vec<String>, String) {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for chunk in chunks {
            lines.feed(chunk, |line| found.push(line));
        }
        let rest = lines.take();
        (found, rest)
    }

    #[test]
    fn lines_are_found_across_chunks() {
        let (lines, rest) = cut(&[b"a\r\nb", b"c\n", b"\n", b"d"]);
        assert_eq!(lines, ["a", "bc", ""]);
        assert_eq!(rest, "d");
    }

    #[test]
    fn bytes_that_are_no_text_stay_visible() {
        let (lines, _) = cut(&[b"\xff\xfe ok\n"]);
        assert_eq!(lines, ["\u{fffd}\u{fffd} ok"]);
    }

    #[test]
    fn a_line_without_an_end_keeps_its_head_and_its_tail() {
        let mut lines = Lines::default();
        lines.feed(b"HEAD", |_| ());
        for _ in 0..1000 {
            lines.feed(&[b'x'; 10_000], |_| ());
        }
        lines.feed(b"TAIL", |_| ());
        let text = lines.take();
        assert!(text.len() < 5000);
        assert!(text.starts_with("HEADx") && text.ends_with("xTAIL"));
        let kept = HEAD_BYTES + END_BYTES;
        assert!(text.contains(&format!("{} bytes cut", 10_000_008 - kept)));
    }

    #[test]
    fn the_tail_holds_the_last_lines_shortened() {
        let tail = Tail::default();
        for at in 0..100 {
            tail.push(format!("{at} {}", "ü".repeat(1000)));
        }
        let lines = tail.lines();
        assert_eq!(lines.len(), TAIL_LINES);
        assert!(lines.first().is_some_and(|line| line.starts_with("80 ")));
        assert!(lines.iter().all(|line| line.len() <= SHOWN_BYTES + 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_told_of_once_a_minute() {
        let sink = Sink {
            component: "web".into(),
            stream: "stdout",
            policy: OutputPolicy::Log,
            tail: Tail::default(),
            awaited: None,
        };
        let mut window = Window::new();
        let (mut logged, mut told) = (0, 0);
        for _ in 0..150 {
            for _ in 0..1_000 {
                logged += u32::from(window.admits(&sink));
            }
            let before = window.withheld;
            tokio::time::advance(Duration::from_secs(1)).await;
            logged += u32::from(window.admits(&sink));
            told += u32::from(window.withheld < before);
        }
        assert_eq!(logged, 150 * LOGGED_PER_SECOND + 1);
        assert_eq!(told, 3);
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_into_chunks_does_not_matter(
            text in "[a-z\n\r]{0,200}",
            size in 1_usize..50,
        ) {
            let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let (mut lines, rest) = cut(&chunks);
            lines.push(rest);
            let strip = |line: &str| line.strip_suffix('\r').unwrap_or(line).to_owned();
            let expected: Vec<String> = text.split('\n').map(strip).collect();
            prop_assert_eq!(lines, expected);
        }
    }
}
