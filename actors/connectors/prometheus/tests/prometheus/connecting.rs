//! The connector on a servo's bus, under its supervisor.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::json;
use servo_connector_prometheus::Prometheus;
use servo_dispatch::{
    Bus, Connector as _, ConnectorPolicy, ConnectorType, Describe, DispatchOptions, Dispatcher,
    DispatcherRef, Measure, Metrics, Mount, Scope,
};
use servo_doubles::{PrometheusAnswer, PrometheusDouble};
use servo_messages::{Control, ErrorKind, EventError, Measurement, Metric, Unit};
use servo_supervision::Root;
use tokio_util::sync::CancellationToken;

use crate::world::{PATIENCE, control};

/// Runs `body` on a bus with the stanza as the only connector.
pub fn on_a_bus<F: Future<Output = ()>>(yaml: &str, body: impl FnOnce(DispatcherRef) -> F) {
    let stanza = ConnectorType::of::<Prometheus>()
        .parse(serde_yaml::from_str(yaml).unwrap())
        .unwrap();
    actix::System::new().block_on(async {
        let (spec, dispatcher) = Dispatcher::spec("test".into(), Bus::default());
        let seat = dispatcher.clone();
        let root = Root::start("test", move |children| {
            children.start(spec.clone());
            stanza.mount(Mount {
                servo: "test".into(),
                name: "prometheus".into(),
                settings: std::sync::Arc::default(),
                dispatcher: seat.clone(),
                policy: ConnectorPolicy::default(),
                children,
            })
        });
        let until = Instant::now() + PATIENCE;
        while metrics(&dispatcher).await.is_none() {
            assert!(Instant::now() < until, "the connector does not come up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        body(dispatcher).await;
        root.shutdown(Duration::from_secs(10)).await.unwrap();
    });
}

async fn metrics(bus: &DispatcherRef) -> Option<Vec<Metric>> {
    let outcome = bus.dispatch(Metrics, DispatchOptions::default()).await;
    outcome.ok()?.values().next()
}

async fn measure(
    bus: &DispatcherRef,
    control: Control,
    options: DispatchOptions,
) -> Result<Measurement, EventError> {
    let event = Measure {
        metrics: None,
        control,
    };
    let outcome = bus.dispatch(event, options).await;
    outcome
        .map(|outcome| outcome.values().next().unwrap())
        .map_err(|error| error.most_severe())
}

#[test]
fn it_says_what_it_measures_waits_for_the_window_and_reports_progress() {
    let double = PrometheusDouble::start();
    double.answer("q", PrometheusAnswer::Constant(4.0));
    let yaml = format!(
        "{{base_url: '{}', metrics: [{{name: m, unit: rps, query: q, step: 1s}}]}}",
        double.base_url()
    );
    on_a_bus(&yaml, async |bus| {
        let expected = vec![Metric::new("m", Unit::RequestsPerSecond)];
        assert_eq!(metrics(&bus).await, Some(expected.clone()));
        let event = Describe {
            control: Control::default(),
        };
        let outcome = bus
            .dispatch(event, DispatchOptions::default())
            .await
            .unwrap();
        let description = outcome.values().next().unwrap();
        assert_eq!(description.metrics, expected);
        assert!(description.components.is_empty());

        let told = Arc::<Mutex<Vec<String>>>::default();
        let sink = told.clone();
        let options = DispatchOptions {
            progress: Some(Arc::new(move |update| {
                sink.lock().unwrap().extend(update.message);
            })),
            ..DispatchOptions::default()
        };
        let began = Instant::now();
        let control = control(r#"{"warmup": 0.2, "duration": 0.3, "delay": 0.2}"#);
        let measurement = measure(&bus, control, options).await.unwrap();
        assert!(
            began.elapsed() >= Duration::from_millis(700),
            "{:?}",
            began.elapsed()
        );
        assert_eq!(measurement.max("m"), Some(4.0));
        assert_eq!(double.received().len(), 1);
        let told = told.lock().unwrap();
        assert!(
            told[0].starts_with("measuring Prometheus metrics for 700ms (0.00%"),
            "{told:?}"
        );
    });
}

#[test]
fn a_failed_measurement_leaves_the_connector_ready_for_the_next() {
    let double = PrometheusDouble::start();
    let refusal = PrometheusAnswer::Error(400, "bad_data".into(), "parse error".into());
    double.answer("q", refusal);
    double.answer("q", PrometheusAnswer::Constant(1.0));
    let yaml = format!(
        "{{base_url: '{}', metrics: [{{name: m, query: q}}]}}",
        double.base_url()
    );
    on_a_bus(&yaml, async |bus| {
        let now = || control(r#"{"duration": 0}"#);
        let error = measure(&bus, now(), DispatchOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::MeasurementFailed);
        assert!(error.message.contains("parse error"), "{error}");
        let measurement = measure(&bus, now(), DispatchOptions::default())
            .await
            .unwrap();
        assert_eq!(measurement.max("m"), Some(1.0));
    });
}

#[test]
fn cancelling_ends_the_wait_at_once() {
    let double = PrometheusDouble::start();
    let yaml = format!(
        "{{base_url: '{}', metrics: [{{name: m, query: q}}]}}",
        double.base_url()
    );
    on_a_bus(&yaml, async |bus| {
        let cancel = CancellationToken::new();
        let token = cancel.clone();
        let options = DispatchOptions {
            // The first report says that the wait has begun.
            progress: Some(Arc::new(move |_| token.cancel())),
            cancel,
            ..DispatchOptions::within(Duration::from_secs(600))
        };
        let began = Instant::now();
        let result = measure(&bus, control(r#"{"duration": "5m"}"#), options).await;
        assert!(result.is_err());
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        assert!(double.received().is_empty());
    });
}

/// Dispatches the connector's own command as the command line does.
async fn targets(
    bus: &DispatcherRef,
    args: serde_json::Value,
) -> Result<serde_json::Value, EventError> {
    let command = Prometheus::COMMANDS[0];
    let options = DispatchOptions {
        scope: Scope::Only(vec!["prometheus".into()]),
        ..DispatchOptions::default()
    };
    let outcome = bus.dispatch_named(command.event, args, options).await;
    outcome
        .map(|outcome| outcome.values().next().unwrap())
        .map_err(|error| error.most_severe())
}

#[test]
fn the_command_targets_has_a_row_for_each_target_with_every_column() {
    let double = PrometheusDouble::start();
    double.answer_targets(PrometheusAnswer::Data(json!({
        "activeTargets": [
            {"scrapePool": "opsani-envoy-sidecars", "health": "up",
             "scrapeUrl": "http://192.168.95.123:9901/stats/prometheus",
             "globalUrl": "http://192.168.95.123:9901/stats/prometheus",
             "labels": {"job": "j", "instance": "i"}, "discoveredLabels": {}, "lastError": "",
             "lastScrape": "2021-06-11T10:00:00.5Z", "lastScrapeDuration": 0.002},
            {"scrapeUrl": "http://b/", "health": "down", "lastError": "refused"},
        ],
        "droppedTargets": null,
    })));
    let yaml = format!("{{base_url: '{}/', metrics: []}}", double.base_url());
    on_a_bus(&yaml, async |bus| {
        let rows = targets(&bus, json!({})).await.unwrap();
        let [command] = Prometheus::COMMANDS else {
            panic!("other commands");
        };
        assert_eq!(command.name, "targets");
        let cells: Vec<Vec<&str>> = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                let cell = |(_, key): &(_, &str)| row[key].as_str().unwrap();
                command.columns.iter().map(cell).collect()
            })
            .collect();
        assert_eq!(
            cells[0][..4],
            [
                "opsani-envoy-sidecars",
                "up",
                "http://192.168.95.123:9901/stats/prometheus",
                "instance=i\njob=j"
            ]
        );
        assert!(
            cells[0][4].starts_with("2021-06-11 10:00:00 (")
                && cells[0][4].ends_with(" ago in 2ms)"),
            "{cells:?}"
        );
        assert_eq!(cells[0][5], "-");
        assert_eq!(cells[1], ["-", "down", "http://b/", "-", "-", "refused"]);
        let received = double.received();
        assert_eq!(received.len(), 1);
        assert_eq!(received[0].path, "/api/v1/targets");
        assert_eq!(received[0].http.target, "/api/v1/targets");

        double.answer_targets(PrometheusAnswer::Empty);
        assert_eq!(
            targets(&bus, serde_json::Value::Null).await.unwrap(),
            json!([])
        );
    });
}

#[test]
fn a_command_that_cannot_be_answered_says_why_at_once() {
    let double = PrometheusDouble::start();
    let refusal = PrometheusAnswer::Error(503, "timeout".into(), "too busy".into());
    double.answer_targets(refusal);
    let yaml = format!("{{base_url: '{}', metrics: []}}", double.base_url());
    on_a_bus(&yaml, async |bus| {
        let error = targets(&bus, json!({})).await.unwrap_err();
        assert!(error.message.contains("'timeout': too busy"), "{error}");
        assert_eq!(double.received().len(), 1);
        double.answer_targets(PrometheusAnswer::Data(
            json!({"activeTargets": [{"health": "up"}]}),
        ));
        let error = targets(&bus, json!({})).await.unwrap_err();
        assert!(error.message.contains("scrapeUrl"), "{error}");
        let error = targets(&bus, json!({"state": "any"})).await.unwrap_err();
        assert_eq!(error.reason.as_deref(), Some("invalid-argument"));
        assert!(error.message.contains("'state'"), "{error}");
    });
}
