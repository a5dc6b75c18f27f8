//! Where lines go: stderr and a file.

use std::{
    io::Write,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{file, json, record::Record, text};

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
    Stderr,
    File(file::Lines),
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
            Out::File(lines) => lines.write(line),
            #[cfg(test)]
            Out::Memory(text) => text
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_str(&line),
        }
    }
}

fn to_stderr(line: &str) {
    let suspend = SUSPEND
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    // There is nowhere to say that stderr is closed.
    let mut write = || drop(std::io::stderr().lock().write_all(line.as_bytes()));
    match suspend {
        Some(suspend) => suspend(&mut write),
        None => write(),
    }
}
