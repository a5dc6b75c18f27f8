//! What is sent: the configuration and the log, as one JSON value (`spec/optimizer-protocol.md` §18).

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};

use serde_json::{Map, Value, json};
use servo_dispatch::Registry;

use super::secrets::Secrets;
use crate::{
    config::{ServoConfig, Shapes, Show, effective},
    connectors,
    daemon::logging::RecentRecord,
};

/// Longest encoded body, with what stands around the data: 1 MiB less 10 kB.
const LONGEST: usize = 1024 * 1024 - 10_000;

/// Longest encoded configuration; the rest is for the log.
const LONGEST_CONFIGURATION: usize = LONGEST / 2;

/// Who speaks where no connector and no part of the program does.
const SERVO: &str = "servo";

/// What an optimizer is sent of `servo`: `all` and `trouble` are the last records of the log, oldest
/// first. Those about other servos are no business of this one's optimizer.
pub(super) fn data(
    servo: &ServoConfig,
    all: &[Arc<RecentRecord>],
    trouble: &[Arc<RecentRecord>],
) -> Value {
    let (configuration, secrets) = configuration(servo);
    let encoded = configuration.to_string().len();
    let configuration = if encoded > LONGEST_CONFIGURATION {
        json!({"error": format!("the configuration is longer than {LONGEST_CONFIGURATION} bytes: left out")})
    } else {
        configuration
    };
    let rest = LONGEST.saturating_sub(configuration.to_string().len());
    let mut known = HashSet::new();
    let mut records: Vec<&RecentRecord> = trouble
        .iter()
        .chain(all)
        .filter(|record| record.servo.as_ref().is_none_or(|name| *name == servo.name))
        .filter(|record| known.insert(Arc::as_ptr(record)))
        .map(Arc::as_ref)
        .collect();
    records.sort_by_key(|record| record.time);
    json!({"configmap": configuration, "logs": logs(&records, &secrets, rest)})
}

/// The effective configuration without what nobody said and without secrets; and these.
fn configuration(servo: &ServoConfig) -> (Value, Secrets) {
    static CONNECTORS: LazyLock<(Registry, Shapes)> =
        LazyLock::new(|| (connectors::bundled(), Shapes::default()));
    let (registry, shapes) = &*CONNECTORS;
    let shown = |secrets| {
        let show = Show {
            defaults: false,
            secrets,
        };
        let document = effective(servo, registry, shapes, show).document;
        // Keys that are no texts have no place in JSON; `servo.yaml` has none.
        serde_json::to_value(document).unwrap_or_default()
    };
    let masked = shown(false);
    let secrets = Secrets::between(&shown(true), &masked);
    (secrets.redact(masked), secrets)
}

/// The latest records for which there is room, by their times.
fn logs(records: &[&RecentRecord], secrets: &Secrets, room: usize) -> Map<String, Value> {
    let mut fitting = Vec::new();
    // Around it all: `{"data":{"configmap":,"logs":{}}}`.
    let mut left = room.saturating_sub(64);
    for record in records.iter().rev() {
        let line = line(record, secrets);
        // Two pairs of quotes, a colon and a comma, and a number that makes the time unique.
        let cost = encoded(&line) + TIME.len() + 16;
        if cost > left {
            break;
        }
        left -= cost;
        fitting.push((record, line));
    }
    let mut logs = Map::new();
    let mut last = (String::new(), 0_usize);
    for (record, line) in fitting.into_iter().rev() {
        let time = record.time.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string();
        last = match last {
            (same, count) if same == time => (same, count + 1),
            _ => (time, 1),
        };
        let (time, count) = &last;
        let key = match count {
            1 => time.clone(),
            _ => format!("{time}#{count}"),
        };
        logs.insert(key, Value::String(line));
    }
    logs
}

/// As long as every time is.
const TIME: &str = "2026-01-21 12:00:01.123";

/// `LEVEL    | source | component - text`, of several lines where the text is.
fn line(record: &RecentRecord, secrets: &Secrets) -> String {
    let source = record.servo.as_deref().unwrap_or(SERVO);
    let line = format!(
        "{:<8} | {source} | {} - {}",
        record.level.name(),
        record.component,
        record.text
    );
    let shown = |c: &char| c.is_ascii() && (!c.is_ascii_control() || matches!(c, '\n' | '\t'));
    secrets.without(&line).chars().filter(shown).collect()
}

/// Bytes of `text` inside the quotes of a JSON string.
fn encoded(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\t' => 2,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::{config::sample, daemon::logging::Severity};

    fn servo(yaml: &str) -> ServoConfig {
        let servos = sample::servos(yaml, &[], &connectors::bundled());
        servos.into_iter().next().unwrap()
    }

    const YAML: &str = "\
no_diagnostics: false
optimizer: {id: example.com/app, token: hush-hush, base_url: 'http://127.0.0.1:1/'}
settings: {proxies: {'all://': 'http://u:proxy-pass@p:3128'}}
wait: {measure_enabled: true}
";

    fn record(time: &str, servo: Option<&str>, text: &str) -> Arc<RecentRecord> {
        Arc::new(RecentRecord {
            time: time.parse().unwrap(),
            level: Severity::Warning,
            servo: servo.map(Arc::from),
            component: "wait".to_owned(),
            text: text.to_owned(),
        })
    }

    #[test]
    fn the_configuration_that_was_given_without_secrets() {
        let data = data(&servo(YAML), &[], &[]);
        let text = data.to_string();
        assert!(
            !text.contains("hush") && !text.contains("proxy-pass"),
            "{text}"
        );
        let map = &data["configmap"];
        assert_eq!(map["optimizer"]["id"], "example.com/app");
        assert_eq!(map["optimizer"]["token"], "[REDACTED]");
        assert_eq!(map["wait"]["measure_enabled"], true);
        assert_eq!(map["no_diagnostics"], false);
        assert!(map.get("checks").is_none(), "{map}");
    }

    #[test]
    fn lines_of_this_servo_and_of_no_servo_by_their_times() {
        let early = "2026-01-21T12:00:01.123456Z";
        let own = record(
            early,
            Some("example.com/app"),
            "é slow\nhush-hush \u{1b}[2Jagain",
        );
        let all = [
            own.clone(),
            record(early, None, "started"),
            record(early, Some("other/app"), "not yours"),
            record("2026-01-21T12:00:02Z", None, "later"),
        ];
        let trouble = [
            record(
                "2026-01-20T00:00:00.5Z",
                Some("example.com/app"),
                "old trouble",
            ),
            own,
        ];
        let data = data(&servo(YAML), &all, &trouble);
        let expected = json!({
            "2026-01-20 00:00:00.500": "WARNING  | example.com/app | wait - old trouble",
            "2026-01-21 12:00:01.123": "WARNING  | example.com/app | wait -  slow\n[REDACTED] [2Jagain",
            "2026-01-21 12:00:01.123#2": "WARNING  | servo | wait - started",
            "2026-01-21 12:00:02.000": "WARNING  | servo | wait - later",
        });
        assert_eq!(data["logs"], expected);
    }

    #[test]
    fn the_body_stays_below_a_mebibyte_and_has_the_latest() {
        let records: Vec<_> = (0..5_000)
            .map(|n| {
                let time = Timestamp::from_millisecond(1_768_000_000_000 + n / 3).unwrap();
                record(
                    &time.to_string(),
                    None,
                    &format!("{n} {}", "\"\\\n".repeat(350)),
                )
            })
            .collect();
        let data = data(&servo(YAML), &records, &[]);
        let body = json!({ "data": data }).to_string();
        assert!(body.len() < 1024 * 1024, "{}", body.len());
        assert!(body.len() > 900_000, "{}", body.len());
        let logs = data["logs"].as_object().unwrap();
        let last = logs.values().next_back().unwrap().as_str().unwrap();
        assert!(last.contains("- 4999 "), "{last}");
    }

    #[test]
    fn a_configuration_beyond_measure_is_left_out() {
        let long = "x".repeat(LONGEST_CONFIGURATION);
        let data = data(&servo(&format!("{YAML}description: {long}\n")), &[], &[]);
        assert!(
            data["configmap"]["error"]
                .as_str()
                .unwrap()
                .contains("left out")
        );
        assert!(json!({ "data": data }).to_string().len() < 1024 * 1024);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn each_line_has_a_key_of_its_own_and_is_ascii(
            lines in proptest::collection::vec((0_i64..5, any::<String>()), 0..60)
        ) {
            let count = lines.len();
            let records: Vec<_> = lines
                .into_iter()
                .map(|(at, text)| {
                    let time = Timestamp::from_millisecond(at).unwrap();
                    record(&time.to_string(), None, &text)
                })
                .collect();
            let mut sorted: Vec<&RecentRecord> = records.iter().map(Arc::as_ref).collect();
            sorted.sort_by_key(|record| record.time);
            let logs = logs(&sorted, &Secrets::default(), LONGEST);
            prop_assert_eq!(logs.len(), count);
            for line in logs.values() {
                prop_assert!(line.as_str().unwrap().is_ascii());
                prop_assert_eq!(encoded(line.as_str().unwrap()) + 2, line.to_string().len());
            }
        }
    }
}
