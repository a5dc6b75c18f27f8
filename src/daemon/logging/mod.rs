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
mod record;
mod severity;
mod text;
mod threshold;

use std::{
    io::IsTerminal,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::tz::TimeZone;
use thiserror::Error;
use tracing::{
    Event, Metadata, Subscriber, level_filters::LevelFilter, span, subscriber::Interest,
};
use tracing_log::{AsLog, NormalizeEvent};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
    util::SubscriberInitExt,
};

pub(crate) use escape::one_line;
pub use severity::Severity;

use crate::config::{LogFile, LogFormat};
use record::{Fields, Record};
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

/// Where log lines go while something else draws on the terminal.
pub type Suspend = Arc<dyn Fn(&mut dyn FnMut()) + Send + Sync>;

static SUSPEND: RwLock<Option<Suspend>> = RwLock::new(None);

static NAME_SERVOS: AtomicBool = AtomicBool::new(false);

/// How often lost lines are told of.
const TELL_LOSSES: Duration = Duration::from_secs(10);

/// Has `suspend` run each write to the log from now on, so that a progress bar can step aside.
pub fn write_through(suspend: Option<Suspend>) {
    *SUSPEND.write().unwrap_or_else(PoisonError::into_inner) = suspend;
}

/// Whether lines for people name the servo that they are about: for programs of several servos.
pub fn name_servos(yes: bool) {
    NAME_SERVOS.store(yes, Ordering::Relaxed);
}

/// The running log. Dropping it brings what is under way to the file, within two seconds, and says
/// how much did not get there.
#[must_use = "lines that are under way are lost with it"]
pub struct Log {
    thresholds: Arc<RwLock<Thresholds>>,
    sinks: Arc<[Sink]>,
    file: Option<file::Writer>,
    told: Arc<Told>,
}

impl Log {
    /// Logs what `level` says from now on, as in [`init`].
    ///
    /// # Errors
    /// When `level` is neither a level nor directives. Nothing is changed then.
    pub fn set_level(&self, level: &str) -> Result<(), InitError> {
        let thresholds = Thresholds::parse(level)?;
        *write(&self.thresholds) = thresholds;
        tracing::callsite::rebuild_interest_cache();
        tracing_log::log::set_max_level(LevelFilter::current().as_log());
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            file.close(file::CLOSE);
            if let Some(message) = self.told.news(file.lines().losses()) {
                let record = Record::own(Severity::Warning, message);
                let stderr = |s: &&Sink| matches!(s.out, Out::Stderr);
                self.sinks
                    .iter()
                    .filter(stderr)
                    .for_each(|s| s.write(&record));
            }
        }
    }
}

fn write(thresholds: &RwLock<Thresholds>) -> std::sync::RwLockWriteGuard<'_, Thresholds> {
    thresholds.write().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the log on stderr, for people by default, in colours when `colour` and stderr is a
/// terminal; and in `file`. `level` is the threshold of both: one of the seven levels in any case,
/// or directives such as `info,servo_protocol=debug,hyper=off` (a target holds for all that begin
/// like it; what none names gets WARNING). A file that cannot be written is a warning in the log.
///
/// # Errors
/// When `level` is neither a level nor directives, or when something logs already.
pub fn init(
    level: &str,
    format: Option<LogFormat>,
    colour: bool,
    file: Option<&LogFile>,
) -> Result<Log, InitError> {
    let thresholds = Arc::new(RwLock::new(Thresholds::parse(level)?));
    let format = format.unwrap_or(LogFormat::Text);
    // Without a zone that can be found this is UTC.
    let zone = TimeZone::system();
    let layout = |format, colour| match format {
        LogFormat::Text => Form::Text(text::Layout {
            zone: zone.clone(),
            colour,
        }),
        LogFormat::Json => Form::Json,
    };
    let mut sinks = vec![Sink {
        form: layout(format, colour && std::io::stderr().is_terminal()),
        out: Out::Stderr,
    }];
    let (writer, failed) = match file.map(|f| (f, file::Writer::start(f))) {
        Some((config, Ok(writer))) => {
            sinks.push(Sink {
                form: layout(config.format.unwrap_or(format), false),
                out: Out::File(writer.lines()),
            });
            (Some(writer), None)
        }
        Some((_, Err(error))) => (None, Some(error)),
        None => (None, None),
    };
    let (told, sinks) = (Arc::new(Told::default()), Arc::from(sinks));
    tracing_subscriber::registry()
        .with(Sinks {
            thresholds: thresholds.clone(),
            sinks: Arc::clone(&sinks),
            told: told.clone(),
        })
        .try_init()
        .map_err(|e| InitError::Log(e.to_string()))?;
    if let Some(error) = failed {
        tracing::warn!("{error}");
    }
    Ok(Log {
        thresholds,
        sinks,
        file: writer,
        told,
    })
}

/// The layer that writes each record to all sinks.
struct Sinks {
    thresholds: Arc<RwLock<Thresholds>>,
    sinks: Arc<[Sink]>,
    told: Arc<Told>,
}

struct Sink {
    form: Form,
    out: Out,
}

enum Form {
    Text(text::Layout),
    Json,
}

enum Out {
    Stderr,
    File(file::Lines),
    #[cfg(test)]
    Memory(Arc<Mutex<String>>),
}

impl Sink {
    fn write(&self, record: &Record) {
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
    use std::io::Write;
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

/// What has been said of lines that never came into the file.
#[derive(Default)]
struct Told(Mutex<(u64, Option<Instant>)>);

impl Told {
    /// What there is to say now and has not been.
    fn news(&self, losses: &file::Losses) -> Option<String> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = losses.lines();
        let new = lines.saturating_sub(told.0);
        if new == 0 {
            return None;
        }
        *told = (lines, Some(Instant::now()));
        Some(format!(
            "{new} lines are missing in the log file, {lines} since the start: {}",
            losses.cause()
        ))
    }

    fn is_due(&self) -> bool {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.1.is_none_or(|at| at.elapsed() >= TELL_LOSSES)
    }
}

impl Sinks {
    fn thresholds(&self) -> std::sync::RwLockReadGuard<'_, Thresholds> {
        self.thresholds
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, record: &Record) {
        for sink in self.sinks.iter() {
            sink.write(record);
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
        self.write(&Record::of(event, &context));
        for sink in self.sinks.iter() {
            if let Out::File(lines) = &sink.out
                && lines.losses().lines() > 0
                && self.told.is_due()
                && let Some(message) = self.told.news(lines.losses())
            {
                self.write(&Record::own(Severity::Warning, message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;

    use super::*;

    /// What the program logs in `act` with `level`: lines for programs.
    fn logged(level: &str, act: impl FnOnce()) -> Vec<Value> {
        let text = Arc::new(Mutex::new(String::new()));
        let sinks = Sinks {
            thresholds: Arc::new(RwLock::new(Thresholds::parse(level).unwrap())),
            sinks: Arc::from([Sink {
                form: Form::Json,
                out: Out::Memory(text.clone()),
            }]),
            told: Arc::default(),
        };
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
    fn a_long_value_ends_somewhere() {
        let long = "ä".repeat(100_000);
        let lines = logged("info", || tracing::info!("{long}"));
        let message = lines[0]["msg"].as_str().unwrap();
        assert!(message.len() < 70_000);
        assert!(message.ends_with("bytes more)"));
    }
}
