//! The log of one test.

use std::{
    fmt::{self, Write},
    sync::{Arc, Mutex},
};

use tracing::{
    Level, Subscriber,
    field::{Field, Visit},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{Layer, layer::Context, prelude::*};

/// Keeps what is logged on this thread at INFO and above, for as long as it lives.
pub(crate) struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

/// `LEVEL message key=value ...`
struct Line(String, String);

impl Log {
    pub(crate) fn begin() -> Self {
        let lines = Lines::default();
        let registry = tracing_subscriber::registry().with(lines.clone());
        Self {
            lines,
            _guard: registry.set_default(),
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.0.lock().unwrap().clone()
    }

    /// The lines that hold this.
    pub(crate) fn with(&self, text: &str) -> Vec<String> {
        let mut lines = self.lines();
        lines.retain(|line| line.contains(text));
        lines
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > Level::INFO {
            return;
        }
        let mut line = Line(String::new(), String::new());
        event.record(&mut line);
        let Line(message, fields) = line;
        let level = event.metadata().level();
        self.0
            .lock()
            .unwrap()
            .push(format!("{level} {message}{fields}"));
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.0 = format!("{value:?}"),
            name => write!(self.1, " {name}={value:?}").unwrap(),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.1, " {}={value}", field.name()).unwrap();
    }
}
