//! A record: an event with the fields of the spans around it.

use std::fmt::{self, Write};

use jiff::Timestamp;
use serde_json::Value;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_log::NormalizeEvent;
use tracing_subscriber::{layer::Context, registry::LookupSpan};

use super::severity::{MARK, Severity};

/// Bytes of one value that are logged. Messages carry text of other programs, of any length.
const LONGEST: usize = 64 * 1024;

/// One entry of the log.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) time: Timestamp,
    pub(super) severity: Severity,
    pub(super) target: String,
    /// Module of the source.
    pub(super) module: String,
    /// Line of the source.
    pub(super) line: Option<u32>,
    pub(super) message: String,
    pub(super) fields: Fields,
}

/// Fields in the order in which they were set first; a later value replaces an earlier one.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    pub(super) fn set(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .and_then(|(_, value)| value.as_str())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    pub(super) fn extend(&mut self, later: &Fields) {
        for (name, value) in later.iter() {
            self.set(name, value.clone());
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(at).1)
    }
}

impl Record {
    /// That of `event`.
    pub(super) fn of<S>(event: &Event<'_>, context: &Context<'_, S>) -> Self
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let mut own = Fields::default();
        event.record(&mut own);
        // Records of the `log` crate hide where they come from in fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let level = *metadata.level();
        let severity = match own.text(MARK).and_then(|m| Severity::marked(level, m)) {
            Some(marked) => {
                own.take(MARK);
                marked
            }
            None => Severity::plain(level),
        };
        let message = match own.take("message") {
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let mut fields = Fields::default();
        let scope = context.event_scope(event);
        for span in scope.into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.extend(of_span);
            }
        }
        for (name, value) in own.0 {
            if !name.starts_with("log.") {
                fields.set(name, value);
            }
        }
        Self {
            time: Timestamp::now(),
            severity,
            target: metadata.target().to_owned(),
            module: metadata
                .module_path()
                .unwrap_or(metadata.target())
                .to_owned(),
            line: metadata.line(),
            message,
            fields,
        }
    }

    /// One of the log about itself.
    pub(super) fn own(severity: Severity, message: String) -> Self {
        Self {
            time: Timestamp::now(),
            severity,
            target: module_path!().to_owned(),
            module: module_path!().to_owned(),
            line: None,
            message,
            fields: Fields::default(),
        }
    }
}

/// How serious `event` is, without the rest of it.
pub(super) fn severity_of(event: &Event<'_>) -> Severity {
    struct Mark(tracing::Level, Option<Severity>);
    impl Visit for Mark {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            if field.name() == MARK {
                self.1 = Severity::marked(self.0, &format!("{value:?}"));
            }
        }
        fn record_str(&mut self, field: &Field, value: &str) {
            if field.name() == MARK {
                self.1 = Severity::marked(self.0, value);
            }
        }
    }
    let level = *event.metadata().level();
    let mut mark = Mark(level, None);
    event.record(&mut mark);
    mark.1.unwrap_or(Severity::plain(level))
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut text = Bounded::default();
        let _ = text.write_str(value);
        self.set(field.name(), text.finish().into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Bounded::default();
        let _ = write!(text, "{value:?}");
        self.set(field.name(), text.finish().into());
    }
}

/// Text up to a length, and how much came after it.
#[derive(Default)]
struct Bounded {
    text: String,
    over: usize,
}

impl Bounded {
    fn finish(mut self) -> String {
        if self.over > 0 {
            let _ = write!(self.text, "... ({} bytes more)", self.over);
        }
        self.text
    }
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = match self.over {
            0 => LONGEST.saturating_sub(self.text.len()).min(text.len()),
            _ => 0,
        };
        let whole = (0..=room).rev().find(|at| text.is_char_boundary(*at));
        let (kept, over) = text.split_at(whole.unwrap_or(0));
        self.text.push_str(kept);
        self.over += over.len();
        Ok(())
    }
}
