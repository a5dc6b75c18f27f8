//! Whole measurements: selection, window, policies for absent metrics, failures of several.

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use servo_connector_prometheus::Measuring;
use servo_doubles::{PrometheusAnswer, PrometheusDouble};
use servo_messages::{ErrorKind, EventError, Measurement, Unit};
use tokio_util::sync::CancellationToken;

use crate::world::{PATIENCE, control, logged, measure, measuring};

fn labelled(labels: &[(&str, &str)], value: f64) -> (BTreeMap<String, String>, f64) {
    let labels = labels
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    (labels.collect(), value)
}

fn wire(measurement: &Measurement) -> Value {
    Value::Object(measurement.to_wire(Timestamp::now()).metrics)
}

async fn with_absent(double: &PrometheusDouble, policy: &str) -> Result<Measurement, EventError> {
    let yaml = format!("metrics: [{{name: m, query: up, absent: {policy}}}]");
    measure(&measuring(&double.base_url(), &yaml)).await
}

#[tokio::test]
async fn the_window_begins_after_the_warmup_and_the_delay_only_adds_to_the_wait() {
    let double = PrometheusDouble::start();
    // Without reading the parameters, whose forms are for a real server to judge.
    let nothing = json!({"status": "success", "data": {"resultType": "matrix", "result": []}});
    double.answer_all(Some(PrometheusAnswer::Http(200, nothing.to_string())));
    let measuring = measuring(
        &double.base_url(),
        "metrics: [{name: a, query: qa, step: 30s}, {name: b, query: qb, step: 1.5s}]",
    );
    let control = control(r#"{"warmup": 1, "duration": "2s", "delay": 3}"#);
    let waits = RefCell::new(Vec::new());
    let cancel = CancellationToken::new();
    let before = Timestamp::now();
    let result = measuring.measure(None, &control, &cancel, async |total, text| {
        assert!(
            double.received().is_empty(),
            "asked before the time had passed"
        );
        waits.borrow_mut().push((total, text));
        Ok(())
    });
    result.await.unwrap();
    let after = Timestamp::now();
    assert_eq!(
        waits.into_inner(),
        [(
            Duration::from_secs(6).into(),
            "measuring Prometheus metrics for 6s".to_owned()
        )]
    );
    let received = double.received();
    assert_eq!(received.len(), 2);
    for query in &received {
        let time = |key: &str| query.parameters[key].parse::<f64>().unwrap();
        let start = time("start");
        let seconds = |time: Timestamp| time.as_microsecond() as f64 / 1e6;
        assert!((seconds(before) + 1.0 - 1e-5..=seconds(after) + 1.0 + 1e-5).contains(&start));
        assert!((time("end") - start - 2.0).abs() < 1e-5);
    }
    let mut steps: Vec<&str> = received
        .iter()
        .map(|q| q.parameters["step"].as_str())
        .collect();
    steps.sort_unstable();
    assert_eq!(steps, ["1s500ms", "30s"]);
}

#[tokio::test]
async fn zero_duration_asks_for_the_moment_without_waiting() {
    let double = PrometheusDouble::start();
    double.answer("q", PrometheusAnswer::Constant(3.0));
    let measuring = measuring(&double.base_url(), "metrics: [{name: a, query: q}]");
    let no_time = control(r#"{"duration": 0}"#);
    let cancel = CancellationToken::new();
    let never = async |_, _| -> Result<(), EventError> { panic!("waited") };
    let measurement = measuring
        .measure(None, &no_time, &cancel, never)
        .await
        .unwrap();
    let received = double.received();
    assert_eq!(
        received[0].parameters["start"],
        received[0].parameters["end"]
    );
    assert_eq!(measurement.readings.len(), 1);
    assert_eq!(measurement.max("a"), Some(3.0));
}

#[tokio::test]
async fn only_wanted_metrics_are_asked_in_configured_order() {
    let double = PrometheusDouble::start();
    double.answer_all(Some(PrometheusAnswer::Constant(1.0)));
    let measuring = measuring(
        &double.base_url(),
        "metrics: [{name: a, query: qa}, {name: b, query: qb}, {name: c, query: qc}]",
    );
    let names = async |wanted: &[&str]| {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        let measurement = measuring
            .measure(
                Some(&wanted),
                &control("{}"),
                &CancellationToken::new(),
                async |_, _| Ok(()),
            )
            .await
            .unwrap();
        let names = measurement.readings.iter().map(|r| r.metric().name.clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&["c", "somebody_elses", "a"]).await, ["a", "c"]);
    assert_eq!(double.received().len(), 2);
    assert_eq!(names(&[]).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn metrics_of_others_alone_return_at_once() {
    let double = PrometheusDouble::start();
    let measuring = measuring(&double.base_url(), "metrics: [{name: a, query: qa}]");
    let wanted = ["other".to_owned()];
    let never = async |_, _| -> Result<(), EventError> { panic!("waited") };
    let measurement = measuring
        .measure(
            Some(&wanted),
            &control(r#"{"duration": "1h"}"#),
            &CancellationToken::new(),
            never,
        )
        .await
        .unwrap();
    assert!(measurement.is_empty());
    assert!(double.received().is_empty());
}

#[tokio::test]
async fn each_series_of_a_metric_has_an_entry_of_its_own() {
    let double = PrometheusDouble::start();
    double.answer(
        "q",
        PrometheusAnswer::Series(vec![
            labelled(&[("instance", "i1"), ("job", "j")], 1.0),
            labelled(&[("instance", "i2"), ("job", "j")], 2.0),
        ]),
    );
    let yaml = "metrics: [{name: m, unit: rps, query: q, step: 5s}]";
    let measurement = measure(&measuring(&double.base_url(), yaml)).await.unwrap();
    let wire = wire(&measurement);
    assert_eq!(wire["m"]["unit"], "rps");
    let values = wire["m"]["values"].as_array().unwrap();
    let ids: Vec<&str> = values.iter().map(|v| v["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["{instance=i1,job=j}", "{instance=i2,job=j}"]);
    for (entry, value) in values.iter().zip([1.0, 2.0]) {
        let data = entry["data"].as_array().unwrap();
        assert_eq!(data.len(), 3);
        assert!(
            data.iter()
                .all(|point| point[1] == value && point[0].is_i64())
        );
    }
}

#[tokio::test]
async fn what_is_not_finite_never_reaches_the_payload() {
    let double = PrometheusDouble::start();
    let values = vec![f64::NAN, 2.0, f64::INFINITY];
    double.answer("q", PrometheusAnswer::Values(values));
    let yaml = "metrics: [{name: m, query: q, step: 5s}]";
    let measurement = measure(&measuring(&double.base_url(), yaml)).await.unwrap();
    let wire = wire(&measurement);
    let data = wire["m"]["values"][0]["data"].as_array().unwrap();
    assert_eq!(
        data.iter().map(|point| &point[1]).collect::<Vec<_>>(),
        [&json!(2.0)]
    );
}

#[tokio::test]
async fn zero_appends_its_suffix_and_puts_the_filler_last() {
    let double = PrometheusDouble::start();
    let series = vec![labelled(&[], 0.0), labelled(&[("a", "b")], 5.0)];
    double.answer("up or on() vector(0)", PrometheusAnswer::Series(series));
    let measurement = with_absent(&double, "zero").await.unwrap();
    let values: Vec<f64> = measurement
        .readings
        .iter()
        .map(|reading| reading.values()[0])
        .collect();
    assert_eq!(values, [5.0, 0.0]);
    assert_eq!(double.received().len(), 1);
}

#[tokio::test]
async fn zero_on_a_scalar_query_is_explained() {
    let double = PrometheusDouble::start();
    let text = "1:6: parse error: set operator \"or\" not allowed in binary scalar expression";
    double.answer_all(Some(PrometheusAnswer::Error(
        400,
        "bad_data".into(),
        text.into(),
    )));
    let error = with_absent(&double, "zero").await.unwrap_err().message;
    assert!(
        error.contains(text) && error.contains("vector(...)"),
        "{error}"
    );
}

#[tokio::test]
async fn an_empty_answer_is_probed_only_where_the_policy_wants_it() {
    for (policy, requests) in [("ignore", 1), ("zero", 1), ("warn", 2), ("fail", 2)] {
        let double = PrometheusDouble::start();
        // The probe finds nothing: the metric is there.
        let measurement = with_absent(&double, policy).await.unwrap();
        assert!(measurement.is_empty());
        let received = double.received();
        assert_eq!(received.len(), requests, "{policy}");
        if let Some(probe) = received.get(1) {
            assert_eq!(probe.path, "/api/v1/query");
            assert_eq!(probe.query(), "absent(up)");
            assert_eq!(probe.parameters["time"], received[0].parameters["end"]);
        }
    }
}

#[tokio::test]
async fn an_absent_metric_fails_the_measurement_or_is_warned_of() {
    let double = PrometheusDouble::start();
    double.answer("absent(up)", PrometheusAnswer::Constant(1.0));
    let error = with_absent(&double, "fail").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::MeasurementFailed);
    assert!(
        error
            .message
            .contains("Required metric 'm' is absent from Prometheus"),
        "{error}"
    );
    let (log, _guard) = logged();
    assert!(with_absent(&double, "warn").await.unwrap().is_empty());
    assert_eq!(log.lines("Found absent metric for query (`up`)").len(), 1);
}

#[tokio::test]
async fn a_strange_probe_is_an_error() {
    let double = PrometheusDouble::start();
    let scalar = json!({"resultType": "scalar", "result": [1, "1"]});
    double.answer("absent(up)", PrometheusAnswer::Data(scalar));
    let error = with_absent(&double, "fail").await.unwrap_err().message;
    assert!(
        error.contains("expected a vector result but found scalar"),
        "{error}"
    );
}

#[tokio::test]
async fn every_metric_that_failed_is_named_and_none_hides_the_others() {
    let double = PrometheusDouble::start();
    let bad = PrometheusAnswer::Error(400, "bad_data".into(), "parse error".into());
    double.answer("qa", bad);
    double.answer("qb", PrometheusAnswer::Constant(1.0));
    let execution = PrometheusAnswer::Error(422, "execution".into(), "many-to-many".into());
    double.answer("qc", execution);
    let text = json!({"resultType": "string", "result": [1, "17"]});
    double.answer("qd", PrometheusAnswer::Data(text));
    let measuring = measuring(
        &double.base_url(),
        "metrics: [{name: a, query: qa}, {name: b, query: qb}, {name: c, query: qc}, {name: d, query: qd}]",
    );
    let error = measure(&measuring).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::MeasurementFailed);
    assert_eq!(
        error.message,
        "Prometheus query request failed with error 'bad_data': parse error (metric 'a', query `qa`); \
         Prometheus query request failed with error 'execution': many-to-many (metric 'c', query `qc`); \
         query for metric 'd' returned a string: expected numbers"
    );
    assert_eq!(
        double.received().len(),
        4,
        "none is repeated, none is left out"
    );
}

#[tokio::test]
async fn many_metrics_of_a_server_that_is_down_fail_as_soon_as_the_first() {
    let metrics: Vec<String> = (0..20)
        .map(|at| format!("{{name: m{at}, query: q}}"))
        .collect();
    let yaml = format!("{{max_concurrency: 1, metrics: [{}]}}", metrics.join(", "));
    let address = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .and_then(|listener| listener.local_addr())
        .unwrap();
    let text = measure(&measuring(&format!("http://{address}"), &yaml))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        text.matches("cannot reach Prometheus").count(),
        20,
        "{text}"
    );
    assert_eq!(text.matches("given up").count(), 1, "{text}");
}

#[tokio::test]
async fn more_points_than_prometheus_gives_are_refused_before_the_wait() {
    let double = PrometheusDouble::start();
    let measuring = measuring(
        &double.base_url(),
        "metrics: [{name: m, query: q, step: 1s}]",
    );
    let never = async |_, _| -> Result<(), EventError> { panic!("waited") };
    let error = measuring
        .measure(
            None,
            &control(r#"{"duration": "1d"}"#),
            &CancellationToken::new(),
            never,
        )
        .await
        .unwrap_err();
    for word in ["metric 'm'", "1d", "1s", "11,000", "7s855ms"] {
        assert!(error.message.contains(word), "{word}: {error}");
    }
    assert!(double.received().is_empty());
}

#[tokio::test]
async fn doubts_of_the_server_are_logged_once_with_the_metric() {
    let (log, _guard) = logged();
    let double = PrometheusDouble::start();
    let body = json!({
        "status": "success", "data": {"resultType": "matrix", "result": []},
        "warnings": ["metric might not be a counter", "metric might not be a counter"],
    });
    double.answer_all(Some(PrometheusAnswer::Http(200, body.to_string())));
    let yaml = "metrics: [{name: m, query: q}]";
    measure(&measuring(&double.base_url(), yaml)).await.unwrap();
    let lines = log.lines("might not be a counter");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("metric=m"), "{lines:?}");
}

#[tokio::test]
async fn a_step_longer_than_the_window_is_warned_of() {
    let (log, _guard) = logged();
    let double = PrometheusDouble::start();
    let yaml = "metrics: [{name: m, query: q, step: 1m}, {name: n, query: q, step: 1s}]";
    measure(&measuring(&double.base_url(), yaml)).await.unwrap();
    let lines = log.lines("longer than the window");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("metric=m"), "{lines:?}");
    assert_eq!(log.lines("Measuring 2 metrics for 10s: m and n").len(), 1);
}

#[tokio::test]
async fn no_more_queries_are_in_flight_than_allowed() {
    let double = PrometheusDouble::start();
    let late = Duration::from_millis(300);
    let answer = PrometheusAnswer::Late(late, Box::new(PrometheusAnswer::Constant(1.0)));
    double.answer_all(Some(answer));
    let measuring = measuring(
        &double.base_url(),
        "{max_concurrency: 2, metrics: [{name: a, query: a}, {name: b, query: b}, {name: c, query: c}]}",
    );
    let began = std::time::Instant::now();
    let measurement = measure(&measuring).await.unwrap();
    assert_eq!(measurement.readings.len(), 3);
    assert!(began.elapsed() >= late * 2, "three at once");
}

async fn ends_at_once_when_cancelled(measuring: &Measuring, double: &PrometheusDouble) {
    let cancel = CancellationToken::new();
    let control = control(r#"{"duration": 1}"#);
    let measured = measuring.measure(None, &control, &cancel, async |_, _| Ok(()));
    let cancelled = async {
        while double.received().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
        std::time::Instant::now()
    };
    let (result, at) =
        tokio::time::timeout(PATIENCE, futures_util::future::join(measured, cancelled))
            .await
            .unwrap();
    assert_eq!(result.unwrap_err().kind, ErrorKind::Cancelled);
    assert!(at.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn cancelling_aborts_a_query_in_flight_and_one_that_waits_for_its_next_try() {
    for answer in [
        PrometheusAnswer::Stall,
        PrometheusAnswer::Error(503, "unavailable".into(), "starting".into()),
    ] {
        let double = PrometheusDouble::start();
        double.answer_all(Some(answer));
        let config = "metrics: [{name: m, unit: count, query: q}]";
        ends_at_once_when_cancelled(&measuring(&double.base_url(), config), &double).await;
    }
}

#[tokio::test]
async fn an_error_of_the_wait_ends_the_measurement() {
    let double = PrometheusDouble::start();
    let measuring = measuring(
        &double.base_url(),
        "metrics: [{name: m, unit: '%', query: q}]",
    );
    assert_eq!(measuring.metrics()[0].unit, Unit::Percentage);
    let gone = async |_, _| Err(EventError::cancelled("no more"));
    let error = measuring
        .measure(None, &control("{}"), &CancellationToken::new(), gone)
        .await
        .unwrap_err();
    assert_eq!(error.message, "no more");
    assert!(double.received().is_empty());
}
