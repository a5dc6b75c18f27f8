//! What operators see of the checks, with Prometheus as it should be and as it should not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use servo_dispatch::{Check, CheckEvent, CheckFilter, DispatchOptions, DispatcherRef};
use servo_doubles::{PrometheusAnswer, PrometheusDouble};
use servo_messages::{HaltOn, Severity};

use crate::connecting::on_a_bus;

async fn checks(bus: &DispatcherRef, event: CheckEvent) -> Vec<Check> {
    let outcome = bus.dispatch(event, DispatchOptions::default()).await;
    outcome.unwrap().values().next().unwrap()
}

/// The checks of a stanza with this rest, against `double`.
fn checked(double: &PrometheusDouble, rest: &str) -> Vec<Check> {
    checked_at(&double.base_url(), rest)
}

fn checked_at(base_url: &str, rest: &str) -> Vec<Check> {
    let mut all = Vec::new();
    on_a_bus(
        &format!("{{base_url: '{base_url}', {rest}}}"),
        async |bus| {
            all = checks(&bus, CheckEvent::default()).await;
        },
    );
    all
}

/// Id, outcome and message of each.
fn told(checks: &[Check]) -> Vec<(&str, Option<bool>, &str)> {
    checks
        .iter()
        .map(|check| {
            let message = check.message().unwrap_or_default();
            (check.id.as_str(), check.success(), message)
        })
        .collect()
}

fn hint(check: &Check) -> &str {
    check.hint().unwrap_or_default()
}

fn targets(active: Value) -> PrometheusAnswer {
    PrometheusAnswer::Data(json!({"activeTargets": active, "droppedTargets": []}))
}

fn two_up() -> PrometheusAnswer {
    targets(json!([
        {"scrapeUrl": "http://a/", "health": "up", "scrapePool": "web", "labels": {"job": "web", "zone": "1"}},
        {"scrapeUrl": "http://b/", "health": "up", "scrapePool": "web", "labels": {"job": "web", "zone": "2"}},
    ]))
}

#[test]
fn all_is_well_in_the_documented_order_with_the_documented_words() {
    let double = PrometheusDouble::start();
    double.answer_targets(two_up());
    double.answer("rate(x{a=\"b\"}[1m])", PrometheusAnswer::Constant(1.0));
    let before = jiff::Timestamp::now();
    let checks = checked(
        &double,
        "metrics: [{name: m, query: 'rate(x{a=\"b\"}[1m])', step: 30s}, {name: n, query: nothing, absent: zero}], \
         targets: [{scrapeUrl: 'http://b/'}, {scrapePool: web, labels: {job: web}}]",
    );
    assert_eq!(
        told(&checks),
        [
            ("check_base_url", Some(true), ""),
            ("check_targets", Some(true), "found 2 targets"),
            ("check_queries_item_0", Some(true), "returned 1 results"),
            ("check_queries_item_1", Some(true), "returned 0 results"),
            ("check_expected_targets_item_0", Some(true), "it is up"),
            ("check_expected_targets_item_1", Some(true), "2 of 2 are up"),
        ]
    );
    let names: Vec<_> = checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(
        names,
        [
            &format!("Connect to \"{}\"", double.base_url()),
            "Active targets",
            "Run query \"rate(x{a=\"b\"}[1m])\"",
            "Run query \"nothing\"",
            "Target http://b/ is scraped",
            "Target of pool web with {job=\"web\"} is scraped",
        ]
    );
    for check in &checks {
        let expected = match check.id.as_str() {
            "check_base_url" => Severity::Critical,
            _ => Severity::Common,
        };
        assert_eq!(check.severity, expected, "{}", check.id);
    }
    let received = double.received();
    let asked: Vec<_> = received.iter().map(|query| query.query()).collect();
    assert_eq!(
        asked,
        ["", "rate(x{a=\"b\"}[1m])", "nothing or on() vector(0)"],
        "what is scraped is asked once"
    );
    let number = |key: &str| received[1].parameters[key].parse::<f64>().unwrap();
    assert!((number("end") - number("start") - 600.0).abs() < 0.001);
    assert!(number("end") >= before.as_second() as f64);
    assert_eq!(received[1].parameters["step"], "30s");
}

#[test]
fn a_server_that_is_down_stops_the_rest() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let checks = checked_at(
        &format!("http://u:secret@{address}"),
        "metrics: [{name: m, query: q}], targets: [{scrapePool: p}]",
    );
    let told = told(&checks);
    let (id, success, message) = told[0];
    assert_eq!((id, success), ("check_base_url", Some(false)));
    let beginning = format!(
        "caught exception (QueryError): cannot reach Prometheus at http://{address}/api/v1/targets: "
    );
    assert!(message.starts_with(&beginning), "{message}");
    assert!(hint(&checks[0]).contains("`base_url`"));
    assert!(told[1..].iter().all(|(_, success, _)| success.is_none()));
    assert_eq!(
        checks[0].name,
        format!("Connect to \"http://u:***@{address}\"")
    );
    assert!(!format!("{checks:?}").contains("secret"));
}

#[test]
fn whoever_does_not_talk_about_targets_is_no_prometheus() {
    for (answer, message, said) in [
        (
            PrometheusAnswer::Data(json!({"resultType": "vector", "result": []})),
            "expected activeTargets, but there is result instead",
            "root of Prometheus",
        ),
        (
            PrometheusAnswer::Http(200, "<html>log in".into()),
            "expected JSON from",
            "root of Prometheus",
        ),
        (
            PrometheusAnswer::Http(401, "who are you".into()),
            "expected JSON from",
            "bearer_token",
        ),
        (
            PrometheusAnswer::Error(500, "internal".into(), "oh no".into()),
            "caught exception (QueryError): Prometheus query request failed with error 'internal': oh no",
            "base_url",
        ),
    ] {
        let double = PrometheusDouble::start();
        double.answer_targets(answer);
        let checks = checked(&double, "metrics: []");
        let (id, success, found) = told(&checks)[0];
        assert_eq!((id, success), ("check_base_url", Some(false)));
        assert!(found.contains(message), "{found}");
        assert!(hint(&checks[0]).contains(said), "{:?}", checks[0]);
        assert_eq!(told(&checks)[1].1, None);
    }
}

#[test]
fn a_prometheus_without_targets_is_told_and_stops_nothing() {
    for data in [
        json!({"activeTargets": []}),
        json!({"activeTargets": null}),
        json!({"droppedTargets": []}),
        json!({}),
    ] {
        let double = PrometheusDouble::start();
        double.answer_targets(PrometheusAnswer::Data(data));
        let checks = checked(&double, "metrics: [{name: m, query: q}]");
        assert_eq!(
            told(&checks),
            [
                ("check_base_url", Some(true), ""),
                (
                    "check_targets",
                    Some(false),
                    "no targets are being scraped by Prometheus"
                ),
                ("check_queries_item_0", Some(true), "returned 0 results"),
            ]
        );
        assert!(hint(&checks[1]).contains("scrape_configs"));
    }
}

#[test]
fn targets_that_are_down_are_named() {
    let double = PrometheusDouble::start();
    let down = |url: &str| json!({"scrapeUrl": url, "health": "down", "lastError": "refused", "scrapePool": "p"});
    let up = json!({"scrapeUrl": "http://u/", "health": "up", "scrapePool": "p"});
    let new = json!({"scrapeUrl": "http://n/", "health": "unknown", "scrapePool": "new"});
    double.answer_targets(targets(json!([
        down("http://a/"),
        up,
        new,
        down("http://b/"),
        down("http://c/"),
        down("http://d/")
    ])));
    let checks = checked(
        &double,
        "metrics: [], targets: [{scrapePool: p}, {scrapeUrl: 'http://a/'}, {scrapeUrl: 'http://x/'}, {scrapePool: new}, \
         {scrapeUrl: 'http://a/', health: down}]",
    );
    let first = "http://a/: refused; http://b/: refused; http://c/: refused; 1 more";
    assert_eq!(
        told(&checks)[1..],
        [
            (
                "check_targets",
                Some(true),
                &*format!("found 6 targets (4 down: {first})")
            ),
            (
                "check_expected_targets_item_0",
                Some(true),
                &*format!("1 of 5 are up (but {first})")
            ),
            (
                "check_expected_targets_item_1",
                Some(false),
                "found, but not up: http://a/: refused"
            ),
            (
                "check_expected_targets_item_2",
                Some(false),
                "Prometheus scrapes 6 targets, but none is http://x/"
            ),
            (
                "check_expected_targets_item_3",
                Some(false),
                "found, but not up: http://n/: not scraped yet"
            ),
            ("check_expected_targets_item_4", Some(true), "it is down"),
        ]
    );
    assert!(hint(&checks[3]).contains("can reach it"));
    assert!(hint(&checks[4]).contains("/targets"));
}

#[test]
fn each_query_that_fails_says_why_and_leaves_the_others_alone() {
    let double = PrometheusDouble::start();
    double.answer_targets(two_up());
    let refusal = |text: &str| PrometheusAnswer::Error(400, "bad_data".into(), text.into());
    double.answer("sum(", refusal("parse error"));
    double.answer(
        "1 or on() vector(0)",
        refusal("set operator \"or\" not allowed in binary scalar expression"),
    );
    double.answer("fine", PrometheusAnswer::Constant(f64::NAN));
    double.answer("slow", PrometheusAnswer::Stall);
    let checks = checked(
        &double,
        "timeout: 300ms, metrics: [{name: a, query: sum(}, {name: b, query: '1', absent: zero}, \
         {name: c, query: slow}, {name: d, query: fine, step: 1ms}]",
    );
    let told = told(&checks[2..]);
    assert_eq!(
        told[0].2,
        "caught exception (QueryError): Prometheus query request failed with error 'bad_data': parse error"
    );
    assert!(hint(&checks[2]).contains("metric 'a'"));
    assert!(
        hint(&checks[3]).contains("absent: zero"),
        "{}",
        hint(&checks[3])
    );
    assert!(told[2].2.contains("within 300ms"), "{told:?}");
    assert!(hint(&checks[4]).contains("raise `timeout`"));
    assert_eq!(told[3].1, Some(true), "{told:?}");
    assert_eq!(told[3].2, "returned 1 results");
}

#[test]
fn a_server_that_never_answers_is_told_in_time_and_a_filter_is_followed() {
    let double = PrometheusDouble::start();
    double.answer_all(Some(PrometheusAnswer::Stall));
    let yaml = format!(
        "{{base_url: '{}', metrics: [{{name: m, query: q}}]}}",
        double.base_url()
    );
    on_a_bus(&yaml, async |bus| {
        let began = Instant::now();
        let mut event = CheckEvent::default();
        event.timeout = Duration::from_millis(200);
        let all = checks(&bus, event).await;
        assert_eq!(told(&all)[0].2, "timed out after 200ms");
        assert!(began.elapsed() < Duration::from_secs(5));

        double.answer_all(None);
        let ids = ["check_queries_item_0".to_owned()];
        let filter = CheckFilter::parse(None, Some(&ids), None).unwrap();
        let some = checks(&bus, CheckEvent::new(filter, HaltOn::default())).await;
        let ids: Vec<_> = some.iter().map(|check| check.id.as_str()).collect();
        assert_eq!(ids, ["check_base_url", "check_queries_item_0"]);
    });
}
