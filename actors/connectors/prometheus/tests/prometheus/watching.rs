//! Service levels that are watched during a measurement (`spec/optimizer-protocol.md §14`, acceptance 44;
//! `spec/metrics-and-load.md` §2.3, acceptance 24 to 29).

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use servo_doubles::{PrometheusAnswer, PrometheusDouble, PrometheusQuery};
use servo_messages::{Control, ErrorKind, EventError, Measurement};
use tokio_util::sync::CancellationToken;

use crate::world::{PATIENCE, logged, measuring};

fn watched(condition: Value) -> Control {
    let json = json!({"duration": "5m", "userdata": {"slo": {"conditions": [condition]}}});
    serde_json::from_value(json).unwrap()
}

/// Measures with `fast_fail` until `enough` holds of what was asked, or the measurement ends by itself.
async fn measured(
    double: &PrometheusDouble,
    fast_fail: &str,
    control: &Control,
    enough: impl Fn(&[PrometheusQuery]) -> bool,
) -> Result<Measurement, EventError> {
    let yaml = format!(
        "{{metrics: [{{name: m, query: q, step: 1s}}, {{name: t, query: qt, step: 1s}}, {{name: x, query: qx}}], \
         fast_fail: {fast_fail}}}"
    );
    let measuring = measuring(&double.base_url(), &yaml);
    let cancel = CancellationToken::new();
    let wait = async |_, _| {
        let until = Instant::now() + PATIENCE;
        while !enough(&double.received()) {
            assert!(Instant::now() < until, "{:?}", double.received());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    };
    measuring.measure(None, control, &cancel, wait).await
}

fn checks(received: &[PrometheusQuery]) -> usize {
    received.iter().filter(|query| query.query() == "q").count()
}

#[tokio::test]
async fn a_violation_ends_the_measurement_with_the_agreed_message() {
    let double = PrometheusDouble::start();
    double.answer("q", PrometheusAnswer::Constant(6535.8));
    let (log, _guard) = logged();
    let control = watched(json!({"metric": "m", "threshold": 6000}));
    let error = measured(&double, "{period: 50ms}", &control, |_| false)
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Aborted);
    assert_eq!(error.reason.as_deref(), Some("slo-violation"));
    let message = &error.message;
    assert!(
        message.starts_with("SLO violation(s) observed: (m below 6000)[20"),
        "{message}"
    );
    assert!(
        message.ends_with(" SLO failed metric value 6535.8 was not below threshold value 6000]"),
        "{message}"
    );
    // Nothing but the metric that is watched was asked for, and only once.
    assert_eq!(double.received().len(), 1);
    assert_eq!(log.lines("Fast Fail enabled, the following SLO Conditions will be monitored during measurement: (m below 6000)").len(), 1);
    assert_eq!(
        log.lines("SLO statuses from last check: x1 failed [(m below 6000)]")
            .len(),
        1
    );
}

#[tokio::test]
async fn each_check_looks_back_over_the_span() {
    let double = PrometheusDouble::start();
    double.answer("q", PrometheusAnswer::Constant(5.0));
    let control = watched(json!({"metric": "m", "threshold": 10}));
    let before = Timestamp::now();
    measured(&double, "{period: 20ms, span: 2m}", &control, |received| {
        checks(received) >= 3
    })
    .await
    .unwrap();
    let received = double.received();
    for (index, query) in received.iter().take(3).enumerate() {
        assert_eq!(
            (query.query(), query.path.as_str()),
            ("q", "/api/v1/query_range")
        );
        let time = |key: &str| query.parameters[key].parse::<f64>().unwrap();
        assert!((time("end") - time("start") - 120.0).abs() < 1e-3);
        let earliest = before.as_microsecond() as f64 / 1e6 + 0.02 * (index + 1) as f64;
        assert!(time("end") > earliest - 1e-3, "{query:?}");
    }
    // The measurement itself asks for everything once its time is over.
    assert!(received.iter().any(|query| query.query() == "qx"));
}

#[tokio::test]
async fn so_many_failures_among_so_many_checks() {
    let double = PrometheusDouble::start();
    for value in [20.0, 5.0, 20.0] {
        double.answer("q", PrometheusAnswer::Constant(value));
    }
    let condition =
        json!({"metric": "m", "threshold": 10, "trigger_count": 2, "trigger_window": 3});
    let error = measured(&double, "{period: 20ms}", &watched(condition), |_| false)
        .await
        .unwrap_err();
    assert_eq!(checks(&double.received()), 3);
    assert_eq!(
        error.message.matches(" SLO failed ").count(),
        2,
        "{}",
        error.message
    );
    assert_eq!(error.message.matches(" SLO passed").count(), 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_missing_and_the_measurement_goes_on() {
    let double = PrometheusDouble::start();
    for answer in [
        PrometheusAnswer::Constant(20.0),
        PrometheusAnswer::Error(503, "unavailable".into(), "too busy".into()),
        PrometheusAnswer::Empty,
        PrometheusAnswer::Reset,
        PrometheusAnswer::Constant(f64::NAN),
        PrometheusAnswer::Constant(20.0),
    ] {
        double.answer("q", answer);
    }
    let (log, _guard) = logged();
    let condition =
        json!({"metric": "m", "threshold": 10, "trigger_count": 2, "trigger_window": 2});
    let error = measured(&double, "{period: 20ms}", &watched(condition), |_| false)
        .await
        .unwrap_err();
    // The first failure has left the window; the sixth and the seventh are in it.
    assert_eq!(checks(&double.received()), 7);
    assert_eq!(error.message.matches(" SLO failed ").count(), 2);
    assert_eq!(
        log.lines("fast fail counts a metric as missing").len(),
        2,
        "{}",
        log.text()
    );
    assert_eq!(
        log.lines("SLO statuses from last check: x1 missing_metric [(m below 10)]")
            .len(),
        4
    );
}

#[tokio::test]
async fn no_check_before_the_time_to_skip() {
    let double = PrometheusDouble::start();
    double.answer("q", PrometheusAnswer::Constant(20.0));
    let control = watched(json!({"metric": "m", "threshold": 10}));
    let began = Instant::now();
    measured(&double, "{period: 10ms, skip: 200ms}", &control, |_| false)
        .await
        .unwrap_err();
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(checks(&double.received()), 1);
}

#[tokio::test]
async fn zero_counts_as_missing_if_the_stanza_says_so() {
    let double = PrometheusDouble::start();
    double.answer("q", PrometheusAnswer::Constant(0.0));
    let control = watched(json!({"metric": "m", "threshold": 10, "keep": "above"}));
    let fast_fail = "{period: 10ms, treat_zero_as_missing: true}";
    measured(&double, fast_fail, &control, |received| {
        checks(received) >= 3
    })
    .await
    .unwrap();
    measured(&double, "{period: 10ms}", &control, |_| false)
        .await
        .unwrap_err();
}

#[tokio::test]
async fn a_limit_can_be_another_metric() {
    let double = PrometheusDouble::start();
    double.answer("q", PrometheusAnswer::Values(vec![4.0, 6.0]));
    double.answer("qt", PrometheusAnswer::Constant(4.0));
    let control =
        watched(json!({"metric": "m", "threshold_metric": "t", "threshold_multiplier": 1.1}));
    let error = measured(&double, "{period: 20ms, span: 1s}", &control, |_| false)
        .await
        .unwrap_err();
    assert!(
        error
            .message
            .ends_with("SLO failed metric value 5 was not below threshold value 4.4]"),
        "{}",
        error.message
    );
}

#[tokio::test]
async fn switched_off_nothing_is_asked_before_the_end() {
    let double = PrometheusDouble::start();
    double.answer("q", PrometheusAnswer::Constant(20.0));
    let control = watched(json!({"metric": "m", "threshold": 10}));
    let yaml = "{metrics: [{name: m, query: q}], fast_fail: {disabled: 1, period: 1ms}}";
    let measuring = measuring(&double.base_url(), yaml);
    let wait = async |_, _| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(double.received().is_empty());
        Ok(())
    };
    let cancel = CancellationToken::new();
    measuring
        .measure(None, &control, &cancel, wait)
        .await
        .unwrap();
    assert_eq!(double.received().len(), 1);
}

#[tokio::test]
async fn a_metric_that_is_not_configured_is_told_once() {
    let double = PrometheusDouble::start();
    let (log, _guard) = logged();
    let control = watched(json!({"metric": "nope", "threshold": 10}));
    let checked = log.clone();
    measured(&double, "{period: 10ms}", &control, |_| {
        checked.lines("x1 missing_metric [(nope below 10)]").len() >= 2
    })
    .await
    .unwrap();
    let told = log.lines("not configured here");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("WARN") && told[0].ends_with(": nope"),
        "{told:?}"
    );
}
