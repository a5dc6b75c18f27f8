//! Reports on the channel `loadgen.vegeta` while load runs (spec/metrics-and-load.md §3.6, acceptance 43).

use std::time::Duration;

use serde_json::{Value, json};
use servo_dispatch::{DispatchOptions, LOADGEN_VEGETA, Measure, Overflow, SubscribeOptions};
use servo_messages::Control;

use crate::{
    connecting::on_a_bus,
    server::{Answer, Server, ok, response},
};

fn measure() -> Measure {
    Measure {
        metrics: None,
        control: Control {
            warmup: Duration::from_millis(400).into(),
            duration: Duration::from_millis(600).into(),
            ..Control::default()
        },
    }
}

#[test]
fn subscribers_read_each_report_after_the_warm_up_with_all_its_keys() {
    let server = Server::new(|seen| {
        Answer::Now(if seen.sequence() % 4 == 3 {
            response("503 Service Unavailable", "", "")
        } else {
            ok("hello")
        })
    });
    let yaml = format!(
        "{{rate: 100/1s, reporting_interval: 200ms, target: '{}'}}",
        server.get("/x")
    );
    on_a_bus(&yaml, async |bus| {
        let exchange = bus.exchange();
        let mut reports = exchange
            .subscribe(LOADGEN_VEGETA, SubscribeOptions::default())
            .unwrap();
        // Never reads, and wants to be waited for.
        let _slow = exchange
            .subscribe(
                "loadgen.*",
                SubscribeOptions::default()
                    .capacity(1)
                    .overflow(Overflow::Block {
                        patience: Duration::from_secs(5),
                    }),
            )
            .unwrap();
        let measured = bus.dispatch(measure(), DispatchOptions::default());
        let measured = tokio::time::timeout(Duration::from_secs(10), measured).await;
        assert!(measured.unwrap().is_ok());
        assert_eq!(server.seen().len(), 100, "a subscriber held up the load");
        let delivery = reports.try_next().expect("a report");
        assert_eq!(delivery.content_type(), "application/json");
        assert_eq!(delivery.metadata("connector"), Some("vegeta"));
        let report: Value = delivery.parse_json().unwrap();
        let keys: Vec<&str> = report
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        for key in [
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
            "error_rate",
            "status_codes",
            "errors",
        ] {
            assert!(keys.contains(&key), "{key} in {keys:?}");
        }
        let number = |value: &Value| value.as_f64().unwrap();
        for key in ["total", "mean", "p50", "p90", "p95", "p99", "max", "min"] {
            assert!(number(&report["latencies"][key]) > 0.0, "{report}");
        }
        // No request of the warm-up's forty is in it.
        let requests = number(&report["requests"]);
        assert!(requests > 0.0 && requests <= 25.0, "{report}");
        let success = number(&report["success"]);
        assert!((number(&report["error_rate"]) - (100.0 - 100.0 * success)).abs() < 1e-9);
        // Per minute and per second.
        assert!(
            (number(&report["throughput"]) / (60.0 * number(&report["rate"]) * success) - 1.0)
                .abs()
                < 0.5,
            "{report}"
        );
        let seconds = number(&report["duration"]);
        assert!(seconds > 0.05 && seconds < 0.5, "{report}");
        assert_eq!(report["errors"], json!(["503 Service Unavailable"]));
        assert_eq!(
            number(&report["bytes_in"]["mean"]).round(),
            (5.0 * success).round()
        );
        let time = report["end"].as_str().unwrap();
        assert!(
            time.ends_with("+00:00") && time.len() == "2026-01-05T10:00:00.645818+00:00".len(),
            "{time}"
        );
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    });
}

#[test]
fn one_report_for_each_interval_and_none_of_the_warm_up() {
    let server = Server::friendly();
    let yaml = format!(
        "{{rate: 100/1s, reporting_interval: 200ms, target: '{}'}}",
        server.get("/x")
    );
    on_a_bus(&yaml, async |bus| {
        let mut reports = bus
            .exchange()
            .subscribe(LOADGEN_VEGETA, SubscribeOptions::default())
            .unwrap();
        bus.dispatch(measure(), DispatchOptions::default())
            .await
            .unwrap();
        let count = std::iter::from_fn(|| reports.try_next()).count();
        assert_eq!(count, 3);
    });
}
