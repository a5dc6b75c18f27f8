//! From tracing to the sinks.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use tracing::{
    Event, Metadata, Subscriber, level_filters::LevelFilter, span, subscriber::Interest,
};
use tracing_log::NormalizeEvent;
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::{
    queue::Losses,
    recent::recent,
    record::{self, Fields, Record},
    repetition::{Repetition, Verdict, counted},
    severity::Severity,
    sink::{Out, Sink},
    threshold::Thresholds,
};

/// How long a line that repeats itself is left out, unless `servo.toml` says otherwise.
const REPETITION: Duration = Duration::from_secs(10);

/// How often lost lines are told of.
const TELL_LOSSES: Duration = Duration::from_secs(10);

/// The layer that writes each record above the threshold to all sinks.
#[derive(Clone)]
pub(super) struct Sinks(Arc<Inner>);

struct Inner {
    thresholds: RwLock<Thresholds>,
    sinks: Vec<(Sink, Told)>,
    repetition: Repetition,
}

/// What has been said of lines that never came to one place: how many, and when.
#[derive(Default)]
pub(super) struct Told(Mutex<(u64, Option<Instant>)>);

impl Told {
    /// What there is to say now of `what` and has not been.
    fn news(&self, what: &str, losses: &Losses) -> Option<String> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = losses.lines();
        let new = lines.saturating_sub(told.0);
        if new == 0 {
            return None;
        }
        *told = (lines, Some(Instant::now()));
        Some(format!(
            "{new} lines are missing in {what}, {lines} since the start: {}",
            losses.cause()
        ))
    }

    fn is_due(&self) -> bool {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.1.is_none_or(|at| at.elapsed() >= TELL_LOSSES)
    }
}

impl Sinks {
    pub(super) fn new(thresholds: Thresholds, sinks: Vec<Sink>) -> Self {
        Self(Arc::new(Inner {
            thresholds: RwLock::new(thresholds),
            sinks: sinks
                .into_iter()
                .map(|sink| (sink, Told::default()))
                .collect(),
            repetition: Repetition::new(REPETITION),
        }))
    }

    fn thresholds(&self) -> RwLockReadGuard<'_, Thresholds> {
        self.0
            .thresholds
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_thresholds(&self, thresholds: Thresholds) {
        *self
            .0
            .thresholds
            .write()
            .unwrap_or_else(PoisonError::into_inner) = thresholds;
    }

    /// Leaves out what repeats itself within `window`; zero leaves out nothing.
    pub(super) fn set_rate_limit(&self, window: Duration) {
        self.0.repetition.set_window(window);
    }

    /// Says how often lines were left out, where nothing has said so yet.
    pub(super) fn tell_repetitions_at_the_end(&self) {
        for record in self.0.repetition.rest() {
            self.write(&record);
        }
    }

    fn write(&self, record: &Record) {
        for (sink, _) in &self.0.sinks {
            sink.write(record);
        }
    }

    /// Says, at any threshold, how many lines are missing where; only of what `is_due`.
    pub(super) fn tell_losses(&self, is_due: impl Fn(&Told) -> bool) {
        for (sink, told) in &self.0.sinks {
            if let Out::Queued { what, lines } = &sink.out
                && lines.losses().lines() > 0
                && is_due(told)
                && let Some(message) = told.news(what, lines.losses())
            {
                self.write(&Record::own(Severity::Warning, message));
            }
        }
    }
}

impl<S> Layer<S> for Sinks
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.thresholds().may_admit(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.thresholds().may_admit(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.thresholds().most_verbose())
    }

    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        self.thresholds()
            .admits(metadata.target(), record::severity_of(event))
    }

    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut new = Fields::default();
            values.record(&mut new);
            if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
                fields.extend(&new);
            }
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let record = Record::of(event, &context);
        let now = Instant::now();
        for overdue in self.0.repetition.overdue(now) {
            recent().push(&overdue);
            self.write(&overdue);
        }
        match self.0.repetition.judge(&record, now) {
            Verdict::Suppress => return,
            Verdict::Write { suppressed } => {
                let record = counted(record, suppressed);
                recent().push(&record);
                self.write(&record);
            }
        }
        self.tell_losses(Told::is_due);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;
    use tracing_subscriber::layer::SubscriberExt;

    use super::{super::sink::Form, *};

    /// What the program logs in `act` with `level`: lines for programs.
    fn logged(level: &str, act: impl FnOnce()) -> Vec<Value> {
        let text = Arc::new(Mutex::new(String::new()));
        let sinks = Sinks::new(
            Thresholds::parse(level).unwrap(),
            vec![Sink {
                form: Form::Json,
                out: Out::Memory(text.clone()),
            }],
        );
        tracing::subscriber::with_default(tracing_subscriber::registry().with(sinks), act);
        let text = text.lock().unwrap();
        text.lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect()
    }

    fn every_level() {
        tracing::trace!("trace");
        tracing::debug!("debug");
        tracing::info!("info");
        tracing::info!(severity = "success", "success");
        tracing::warn!("warning");
        tracing::error!("error");
        tracing::error!(severity = %"CRITICAL", "critical");
    }

    #[test]
    fn seven_levels() {
        for (level, least) in [
            ("trace", "TRACE"),
            ("INFO", "INFO"),
            ("Success", "SUCCESS"),
            ("warn", "WARNING"),
            ("error", "ERROR"),
            ("critical", "CRITICAL"),
        ] {
            let names: Vec<_> = logged(level, every_level)
                .iter()
                .map(|line| {
                    let name = line["level"].as_str().unwrap().to_owned();
                    assert_eq!(line["msg"], name.to_lowercase());
                    assert!(line.get("severity").is_none(), "{line}");
                    name
                })
                .collect();
            let all = [
                "TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL",
            ];
            let from = all.iter().position(|l| *l == least).unwrap();
            assert_eq!(names, all[from..], "{level}");
        }
    }

    #[test]
    fn a_mark_that_means_nothing_is_a_field() {
        let lines = logged("trace", || {
            tracing::warn!(severity = "success", "a");
            tracing::info!(severity = "high", "b");
        });
        assert_eq!(lines[0]["level"], "WARNING");
        assert_eq!(lines[0]["severity"], "success");
        assert_eq!(lines[1]["level"], "INFO");
    }

    #[test]
    fn records_stand_in_their_spans_at_every_threshold() {
        let lines = logged("error", || {
            let span = tracing::info_span!(
                "handler",
                servo = "a/b",
                connector = "web",
                command_uid = tracing::field::Empty
            );
            span.record("command_uid", 7);
            let _entered = span.enter();
            tracing::warn!("dropped");
            tracing::error!(connector = "other", "kept");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["servo"], "a/b");
        assert_eq!(lines[0]["connector"], "other", "the event's own wins");
        assert_eq!(lines[0]["command_uid"], 7);
    }

    #[test]
    fn directives_select_parts() {
        let lines = logged("error,special=success", || {
            tracing::info!(target: "special::part", "plain");
            tracing::info!(target: "special::part", severity = "success", "done");
            tracing::warn!("dropped");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["msg"], "done");
        assert_eq!(lines[0]["target"], "special::part");
    }

    #[test]
    fn records_of_the_log_crate_come_in() {
        let lines = logged("warn,chatty=info", || {
            for (target, level) in [
                ("chatty", tracing_log::log::Level::Info),
                ("other", tracing_log::log::Level::Info),
            ] {
                tracing_log::format_trace(
                    &tracing_log::log::Record::builder()
                        .args(format_args!("from a library"))
                        .level(level)
                        .target(target)
                        .module_path(Some("chatty::inner"))
                        .line(Some(3))
                        .build(),
                )
                .unwrap();
            }
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0]["msg"], "from a library");
        assert_eq!(lines[0]["target"], "chatty");
        assert!(lines[0].get("log.target").is_none(), "{}", lines[0]);
    }

    #[test]
    fn what_repeats_itself_is_left_out_and_what_differs_is_not() {
        let lines = logged("info", || {
            for n in 0..5 {
                tracing::warn!(servo = "a", attempt = n, "refused");
                tracing::warn!(servo = "b", "refused");
                tracing::error!(servo = "a", "lost {n}");
            }
            tracing::info!(servo = "a", "back");
            tracing::info!(servo = "a", "back");
        });
        let said: Vec<_> = lines.iter().map(|l| l["msg"].as_str().unwrap()).collect();
        let expected = [
            "refused", "refused", "lost 0", "lost 1", "lost 2", "lost 3", "lost 4", "back", "back",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_long_value_ends_somewhere() {
        let long = "ä".repeat(100_000);
        let lines = logged("info", || tracing::info!("{long}"));
        let message = lines[0]["msg"].as_str().unwrap();
        assert!(message.len() < 70_000);
        assert!(message.ends_with("bytes more)"));
    }
}
