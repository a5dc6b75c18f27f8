//! A report as vegeta itself writes it: the keys of its JSON and the layout of its text (spec/metrics-and-load.md §3.5, §3.8).

use std::{fmt::Write as _, time::Duration};

use serde_json::{Map, Value, json};

use crate::report::{Bytes, Latencies, Report};

/// Where the names of the figures stand, and where the figures: in a text for people.
const NAME_WIDTH: usize = 14;
const FIGURES_WIDTH: usize = 27;

/// The report as an object; times are whole nanoseconds.
pub(crate) fn json(report: &Report) -> Map<String, Value> {
    let Report {
        requests,
        latencies,
        service,
        lag,
        bytes_in,
        bytes_out,
        earliest,
        latest,
        end,
        duration,
        wait,
        rate,
        throughput,
        success,
        status_codes,
        errors,
        missed,
        health,
    } = report;
    let status_codes: Map<String, Value> = status_codes
        .iter()
        .map(|(code, count)| (code.to_string(), json!(count)))
        .collect();
    let members = [
        ("latencies", latencies_json(latencies)),
        ("bytes_in", bytes_json(bytes_in)),
        ("bytes_out", bytes_json(bytes_out)),
        ("earliest", json!(earliest)),
        ("latest", json!(latest)),
        ("end", json!(end)),
        ("duration", nanoseconds(*duration)),
        ("wait", nanoseconds(*wait)),
        ("requests", json!(requests)),
        ("rate", json!(rate)),
        ("throughput", json!(throughput)),
        ("success", json!(success)),
        ("status_codes", Value::Object(status_codes)),
        ("errors", json!(errors)),
        // Beyond vegeta's own.
        ("service", latencies_json(service)),
        ("lag", latencies_json(lag)),
        ("missed", json!(missed)),
        ("health", json!(health.to_string())),
    ];
    members
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn latencies_json(latencies: &Latencies) -> Value {
    json!({
        "total": nanoseconds(latencies.total),
        "mean": nanoseconds(latencies.mean),
        "50th": nanoseconds(latencies.p50),
        "90th": nanoseconds(latencies.p90),
        "95th": nanoseconds(latencies.p95),
        "99th": nanoseconds(latencies.p99),
        "max": nanoseconds(latencies.max),
        "min": nanoseconds(latencies.min),
    })
}

fn bytes_json(bytes: &Bytes) -> Value {
    json!({"total": bytes.total, "mean": bytes.mean})
}

fn nanoseconds(duration: Duration) -> Value {
    json!(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// The report for people, in lines without a line end after the last.
pub(crate) fn text(report: &Report) -> String {
    let Latencies {
        mean,
        min,
        p50,
        p90,
        p95,
        p99,
        max,
        ..
    } = report.latencies;
    let bytes = |bytes: &Bytes| format!("{}, {:.2}", bytes.total, bytes.mean);
    let codes: Vec<String> = report
        .status_codes
        .iter()
        .map(|(code, count)| format!("{code}:{count}"))
        .collect();
    let mut text = String::new();
    for (name, figures, values) in [
        (
            "Requests",
            "[total, rate, throughput]",
            format!(
                "{}, {:.2}, {:.2}",
                report.requests, report.rate, report.throughput
            ),
        ),
        (
            "Duration",
            "[total, attack, wait]",
            durations(&[
                report.duration.saturating_add(report.wait),
                report.duration,
                report.wait,
            ]),
        ),
        (
            "Latencies",
            "[min, mean, 50, 90, 95, 99, max]",
            durations(&[min, mean, p50, p90, p95, p99, max]),
        ),
        ("Bytes In", "[total, mean]", bytes(&report.bytes_in)),
        ("Bytes Out", "[total, mean]", bytes(&report.bytes_out)),
        (
            "Success",
            "[ratio]",
            format!("{:.2}%", report.success * 100.0),
        ),
        ("Status Codes", "[code:count]", codes.join("  ")),
    ] {
        // Two blanks at least, however long the names are.
        let figures = format!("{figures}  ");
        let _ = writeln!(text, "{name:<NAME_WIDTH$}{figures:<FIGURES_WIDTH$}{values}");
    }
    text.push_str("Error Set:");
    for error in &report.errors {
        text.push('\n');
        text.push_str(error);
    }
    text
}

fn durations(durations: &[Duration]) -> String {
    let shown: Vec<String> = durations
        .iter()
        .map(|duration| rounded(*duration))
        .collect();
    shown.join(", ")
}

/// With at most three digits after the point, in the unit that leaves something before it.
fn rounded(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos() as f64;
    let (unit, length) = [("s", 1e9), ("ms", 1e6), ("µs", 1e3)]
        .into_iter()
        .find(|(_, length)| nanoseconds >= *length)
        .unwrap_or(("ns", 1.0));
    let number = format!("{:.3}", nanoseconds / length);
    let number = number.trim_end_matches('0').trim_end_matches('.');
    format!("{number}{unit}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::report::Health;

    fn report() -> Report {
        let ms = |ms: f64| Duration::from_nanos((ms * 1e6) as u64);
        let latencies = Latencies {
            total: ms(135_720.0),
            mean: ms(113.1),
            min: ms(90.4),
            p50: ms(108.2),
            p90: ms(130.0),
            p95: ms(140.1),
            p99: ms(247.7),
            max: ms(264.8),
        };
        Report {
            requests: 1200,
            latencies,
            service: latencies,
            lag: Latencies::default(),
            bytes_in: Bytes {
                total: 3_714_690,
                mean: 3_095.575,
            },
            bytes_out: Bytes::default(),
            earliest: "2026-01-05T10:00:00.645818Z".parse().unwrap(),
            latest: "2026-01-05T10:00:10.595818Z".parse().unwrap(),
            end: "2026-01-05T10:00:10.740818Z".parse().unwrap(),
            duration: ms(9_950.0),
            wait: ms(145.0),
            rate: 120.0,
            throughput: 65.87,
            success: 0.554_166,
            status_codes: [(0, 535), (200, 665)].into(),
            errors: vec!["GET http://localhost:6060/: connection refused".into()],
            missed: 3,
            health: Health::Valid,
        }
    }

    #[test]
    fn the_text_has_the_layout_of_vegeta() {
        assert_eq!(
            text(&report()),
            "\
Requests      [total, rate, throughput]  1200, 120.00, 65.87
Duration      [total, attack, wait]      10.095s, 9.95s, 145ms
Latencies     [min, mean, 50, 90, 95, 99, max]  90.4ms, 113.1ms, 108.2ms, 130ms, 140.1ms, 247.7ms, 264.8ms
Bytes In      [total, mean]              3714690, 3095.57
Bytes Out     [total, mean]              0, 0.00
Success       [ratio]                    55.42%
Status Codes  [code:count]               0:535  200:665
Error Set:
GET http://localhost:6060/: connection refused"
        );
    }

    #[test]
    fn the_json_has_the_keys_of_vegeta_and_whole_nanoseconds() {
        let json = Value::Object(json(&report()));
        assert_eq!(json["latencies"]["99th"], 247_700_000);
        assert_eq!(json["duration"], 9_950_000_000_u64);
        assert_eq!(json["status_codes"], json!({"0": 535, "200": 665}));
        assert_eq!(json["earliest"], "2026-01-05T10:00:00.645818Z");
        let keys: Vec<&str> = json
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            keys[..14],
            [
                "latencies",
                "bytes_in",
                "bytes_out",
                "earliest",
                "latest",
                "end",
                "duration",
                "wait",
                "requests",
                "rate",
                "throughput",
                "success",
                "status_codes",
                "errors"
            ]
        );
    }

    #[test]
    fn durations_are_rounded_in_their_unit() {
        for (nanoseconds, shown) in [
            (0, "0ns"),
            (999, "999ns"),
            (1_500, "1.5µs"),
            (130_000_000, "130ms"),
            (123_456_789, "123.457ms"),
            (61_000_000_000, "61s"),
        ] {
            assert_eq!(rounded(Duration::from_nanos(nanoseconds)), shown);
        }
    }
}
