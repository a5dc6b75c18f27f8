//! Log lines for people (`spec/config-and-cli.md` §8.1):
//! `2026-01-21 12:00:01.123 | INFO     | module:line | component - message key=value`.

use std::{
    borrow::Cow,
    fmt::Write,
    sync::{Mutex, PoisonError},
};

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use super::{
    escape,
    record::{Fields, Record},
    severity::Severity,
};

/// What lines look like.
pub(super) struct Layout {
    zone: TimeZone,
    colour: bool,
    /// The last second that was written, and how: the date and time of day are most of the work of a line.
    second: Mutex<(i64, String)>,
}

/// Before further lines of a message: a line that begins otherwise is no record.
const CONTINUED: &str = "    ";

const RESET: &str = "\x1b[0m";
const DIM: &str = "\x1b[2m";

impl Layout {
    /// With times in `zone`, and escape sequences for a terminal when `colour`.
    pub(super) fn new(zone: TimeZone, colour: bool) -> Self {
        Self {
            zone,
            colour,
            second: Mutex::new((i64::MIN, String::new())),
        }
    }

    fn write_time(&self, out: &mut String, time: Timestamp) {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if second.0 != time.as_second() {
            let zoned = time.to_zoned(self.zone.clone());
            second.0 = time.as_second();
            second.1 = zoned.strftime("%Y-%m-%d %H:%M:%S").to_string();
        }
        let _ = write!(out, "{}.{:03}", second.1, time.subsec_millisecond().abs());
    }

    /// The line of `record`, with its newline; several when the message has several. The servo is
    /// named when `name_servos`.
    pub(super) fn line(&self, record: &Record, name_servos: bool) -> String {
        let (dim, level, reset) = match self.colour {
            true => (DIM, colour(record.severity), RESET),
            false => ("", "", ""),
        };
        let mut out = String::with_capacity(256 + record.message.len());
        out.push_str(dim);
        self.write_time(&mut out, record.time);
        let _ = write!(
            out,
            "{reset} | {level}{:<8}{reset} | {dim}{}",
            record.severity.name(),
            escape::one_line(&record.module),
        );
        if let Some(line) = record.line {
            let _ = write!(out, ":{line}");
        }
        let (component, told) = component(&record.fields, name_servos);
        let _ = write!(out, "{reset} | {} - ", escape::one_line(&component));
        let mut lines = record.message.lines();
        out.push_str(&escape::one_line(lines.next().unwrap_or_default()));
        for (name, value) in record.fields.iter().filter(|(n, _)| !told.contains(n)) {
            let value = match value {
                Value::String(text) => escape::value(text),
                other => other.to_string(),
            };
            let _ = write!(out, " {dim}{name}={reset}{value}");
        }
        for line in lines {
            out.push('\n');
            out.push_str(CONTINUED);
            out.push_str(&escape::one_line(line));
        }
        out.push('\n');
        out
    }
}

/// Who speaks, and the fields that tell it already.
fn component(fields: &Fields, name_servos: bool) -> (Cow<'_, str>, Vec<&'static str>) {
    let mut told = vec!["servo"];
    let name: Cow<'_, str> = if let Some(own) = fields.text("logger") {
        told.push("logger");
        own.into()
    } else {
        told.push("connector");
        let name = fields.text("connector").unwrap_or("servo");
        match fields.text("event") {
            None => name.into(),
            Some(event) => {
                told.extend(["event", "stage"]);
                match fields.text("stage") {
                    Some(stage) if stage != "on" => format!("{name}[{stage}:{event}]").into(),
                    _ => format!("{name}[{event}]").into(),
                }
            }
        }
    };
    match fields.text("servo").filter(|_| name_servos) {
        Some(servo) => (format!("{servo}({name})").into(), told),
        None => (name, told),
    }
}

fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Trace => "\x1b[36m",
        Severity::Debug => "\x1b[34m",
        Severity::Info => "\x1b[1m",
        Severity::Success => "\x1b[1;32m",
        Severity::Warning => "\x1b[1;33m",
        Severity::Error => "\x1b[1;31m",
        Severity::Critical => "\x1b[1;37;41m",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn record(message: &str, fields: &[(&'static str, Value)]) -> Record {
        let mut record = Record::own(Severity::Info, message.to_owned());
        record.time = "2026-01-21T12:00:01.123456Z".parse().unwrap();
        record.module = "servo_dispatch::host".to_owned();
        record.line = Some(102);
        for (name, value) in fields {
            record.fields.set(name, value.clone());
        }
        record
    }

    fn shown(record: &Record, name_servos: bool) -> String {
        let layout = Layout::new(TimeZone::UTC, false);
        layout.line(record, name_servos)
    }

    const START: &str = "2026-01-21 12:00:01.123 | INFO     | servo_dispatch::host:102 | ";

    fn after_start(record: &Record, name_servos: bool) -> String {
        let line = shown(record, name_servos);
        line.strip_prefix(START).unwrap_or(&line).to_owned()
    }

    #[test]
    fn time_level_place_component_message() {
        assert_eq!(
            shown(&record("Hello", &[]), false),
            format!("{START}servo - Hello\n")
        );
        let mut critical = record("no", &[]);
        critical.severity = Severity::Critical;
        critical.line = None;
        assert_eq!(
            shown(&critical, true),
            "2026-01-21 12:00:01.123 | CRITICAL | servo_dispatch::host | servo - no\n"
        );
        let layout = Layout::new(TimeZone::fixed(jiff::tz::offset(-5)), false);
        assert!(
            layout
                .line(&record("", &[]), false)
                .starts_with("2026-01-21 07:00:01.123 |")
        );
    }

    #[test]
    fn the_component_tells_connector_event_and_servo() {
        let connector = ("connector", "prom1".into());
        let event = ("event", "adjust".into());
        let servo = ("servo", "example.com/app".into());
        let on = ("stage", "on".into());
        let before = ("stage", "before".into());
        for (fields, several, expected) in [
            (vec![connector.clone()], false, "prom1"),
            (
                vec![connector.clone(), event.clone(), on],
                false,
                "prom1[adjust]",
            ),
            (
                vec![
                    servo.clone(),
                    connector.clone(),
                    event.clone(),
                    before.clone(),
                ],
                false,
                "prom1[before:adjust]",
            ),
            (
                vec![servo.clone(), connector, event.clone(), before],
                true,
                "example.com/app(prom1[before:adjust])",
            ),
            (vec![servo.clone()], true, "example.com/app(servo)"),
            (
                vec![servo, ("logger", "probe".into())],
                true,
                "example.com/app(probe)",
            ),
            (vec![event], false, "servo[adjust]"),
        ] {
            assert_eq!(
                after_start(&record("x", &fields), several),
                format!("{expected} - x\n")
            );
        }
    }

    #[test]
    fn fields_follow_the_message() {
        let fields = [
            ("connector", "web".into()),
            ("command_uid", 7.into()),
            ("component", "two words".into()),
            ("share", 0.5.into()),
            ("query", "a{b=\"c\"}".into()),
        ];
        assert_eq!(
            after_start(&record("slow", &fields), false),
            "web - slow command_uid=7 component=\"two words\" share=0.5 query=\"a{b=\\\"c\\\"}\"\n"
        );
    }

    #[test]
    fn further_lines_cannot_pass_for_records() {
        let forged = "first\n2026-01-21 12:00:01.124 | ERROR    | x:1 | servo - forged\x1b[2J";
        assert_eq!(
            after_start(&record(forged, &[("n", 1.into())]), false),
            "servo - first n=1\n    2026-01-21 12:00:01.124 | ERROR    | x:1 | servo - forged\\x1b[2J\n"
        );
    }

    #[test]
    fn colour_on_request_only() {
        let layout = Layout::new(TimeZone::UTC, true);
        let line = layout.line(&record("x", &[("n", 1.into())]), false);
        assert!(line.contains("\x1b[1mINFO    \x1b[0m"), "{line:?}");
        assert!(!shown(&record("x", &[("n", 1.into())]), false).contains('\x1b'));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn foreign_text_adds_no_record_and_no_control(text in any::<String>(), value in any::<String>()) {
            let line = shown(&record(&text, &[("v", value.clone().into()), ("connector", value.into())]), false);
            let body = line.strip_suffix('\n').unwrap();
            prop_assert!(body.chars().all(|c| c == '\n' || !c.is_control()));
            prop_assert!(body.split('\n').skip(1).all(|l| l.starts_with(CONTINUED)));
        }
    }
}
