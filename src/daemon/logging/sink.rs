//! Where lines go: stderr and a file.

use std::{
    io::{self, Write},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{json, queue, record::Record, text};

/// Where log lines go while something else draws on the terminal.
pub type Suspend = Arc<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

static SUSPEND: RwLock<Option<Suspend>> = RwLock::new(None);

static NAME_SERVOS: AtomicBool = AtomicBool::new(false);

/// Has `suspend` run each write to the log from now on, so that a progress bar can step aside.
pub fn write_through(suspend: Option<Suspend>) {
    *SUSPEND.write().unwrap_or_else(PoisonError::into_inner) = suspend;
}

/// Whether lines for people name the servo that they are about: for programs of several servos.
pub fn name_servos(yes: bool) {
    NAME_SERVOS.store(yes, Ordering::Relaxed);
}

/// One place and what lines look like there.
pub(super) struct Sink {
    pub(super) form: Form,
    pub(super) out: Out,
}

pub(super) enum Form {
    Text(text::Layout),
    Json,
}

pub(super) enum Out {
    /// At once: what a command logs stands where it belongs in what it prints.
    Stderr,
    /// Soon.
    Queued {
        /// "the log file", say.
        what: &'static str,
        lines: queue::Lines,
    },
    #[cfg(test)]
    Memory(Arc<std::sync::Mutex<String>>),
}

impl Sink {
    pub(super) fn write(&self, record: &Record) {
        let line = match &self.form {
            Form::Text(layout) => layout.line(record, NAME_SERVOS.load(Ordering::Relaxed)),
            Form::Json => json::line(record),
        };
        match &self.out {
            Out::Stderr => to_stderr(&line),
            Out::Queued { lines, .. } => lines.write(&line),
            #[cfg(test)]
            Out::Memory(text) => text
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_str(&line),
        }
    }
}

/// Stderr, for the thread of a queue.
pub(super) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let suspend = suspended();
        let mut written = Ok(0);
        let mut write = || written = io::stderr().write(bytes);
        match suspend {
            Some(suspend) => suspend(&mut write),
            None => write(),
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn suspended() -> Option<Suspend> {
    SUSPEND
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

fn to_stderr(line: &str) {
    // There is nowhere to say that stderr is closed.
    let _ = Stderr.write_all(line.as_bytes());
}
