//! What is asked and what is answered: items 9 to 17, 20, 21, and 44 for empty series.

use std::collections::BTreeMap;

use servo_doubles::{PrometheusAnswer, PrometheusDouble};

use super::*;

/// A process that appends what it is started with to `seen`; with `PORT=bad` it does not start.
const MAIN: &str = r#"
process:
  components:
    - name: main
      command: [sh, -c, 'echo "$CPU $REPLICAS $PORT" >> seen; [ "$PORT" != bad ] || exit 3; exec sleep 600']
      settle: 300ms
      restart: {backoff: 10ms, attempts: 1}
      settings:
        - {name: cpu, type: range, min: 0.5, max: 4.0, step: 0.5, value: 1.0, unit: cores, env: CPU}
        - {name: replicas, type: range, min: 1, max: 8, step: 1, value: 1, env: REPLICAS}
        - {name: port, type: enum, values: ["80", "8080", bad], value: "80", env: PORT}
"#;

fn prometheus(name: &str, double: &PrometheusDouble, metrics: &[&str]) -> String {
    let metrics: Vec<String> = metrics
        .iter()
        .map(|metric| format!("{{name: {metric}, query: {metric}, unit: rpm, step: 1s}}"))
        .collect();
    format!(
        "{name}:\n  base_url: \"{}\"\n  metrics: [{}]\n  fast_fail: {{period: 300ms, span: 10s}}\n",
        double.base_url(),
        metrics.join(", ")
    )
}

fn command(cmd: &str, uid: &str, param: Value) -> Value {
    json!({"cmd": cmd, "cmd_uid": uid, "param": param})
}

/// §23 item 9
#[test]
fn item_09_a_description() {
    let double = PrometheusDouble::start();
    let stanzas = format!(
        "{MAIN}{}",
        prometheus("prometheus", &double, &["throughput"])
    );
    let script = Script::new().then(command("DESCRIBE", "u1", Value::Null));
    let session = Session::start(script, &stanzas);
    let told = session.completion("u1");
    assert_eq!(
        (&told["status"], &told["reason"], &told["message"]),
        (&json!("ok"), &json!("success"), &Value::Null)
    );
    let descriptor = &told["descriptor"];
    let settings = &descriptor["application"]["components"]["main"]["settings"];
    assert_eq!(
        settings["replicas"],
        json!({"type": "range", "min": 1, "max": 8, "step": 1, "pinned": false, "value": 1})
    );
    assert_eq!(
        settings["port"]["values"],
        json!(["80", "8080", "bad"]),
        "{told}"
    );
    assert_eq!(
        descriptor["measurement"]["metrics"]["throughput"],
        json!({"unit": "rpm"})
    );
    session.end();
}

/// §23 item 10; their order, which only a connector sees: `actors/servo/tests/it/payloads.rs`.
#[test]
fn item_10_metrics_as_an_object_and_as_a_list() {
    let double = PrometheusDouble::start();
    for metric in ["z", "a", "m"] {
        double.answer(metric, PrometheusAnswer::Constant(1.0));
    }
    let stanza = prometheus("prometheus", &double, &["a", "m", "other", "z"]);
    let control = json!({"duration": "1s"});
    let object = json!({"z": {"unit": "rpm"}, "a": {}, "m": null});
    let script = Script::new()
        .then(command(
            "MEASURE",
            "u1",
            json!({"metrics": object, "control": control}),
        ))
        .measure("u2", &["z", "a", "m"], control);
    let session = Session::start(script, &stanza);
    for uid in ["u1", "u2"] {
        let told = session.completion(uid);
        assert_eq!(told["status"], "ok");
        let metrics: Vec<_> = told["metrics"].as_object().unwrap().keys().collect();
        let mut sorted = metrics.clone();
        sorted.sort();
        assert_eq!(sorted, ["a", "m", "z"], "{told}");
    }
    session.end();
    // Each is asked for by name, nothing else is.
    let asked = double.received();
    let mut asked: Vec<_> = asked.iter().map(|query| query.query()).collect();
    asked.sort_unstable();
    assert_eq!(asked, ["a", "a", "m", "m", "z", "z"]);
}

/// §23 item 11
#[test]
fn item_11_readings_of_several_connectors() {
    let [one, two] = [(); 2].map(|()| PrometheusDouble::start());
    one.answer("errors", PrometheusAnswer::Constant(0.4));
    let series = ["a", "b"].map(|pod| {
        let labels = BTreeMap::from([("pod".to_owned(), pod.to_owned())]);
        (labels, 1.5)
    });
    two.answer("throughput", PrometheusAnswer::Series(series.to_vec()));
    let stanzas = format!(
        "connectors: {{one: prometheus, two: prometheus}}\n{}{}",
        prometheus("one", &one, &["errors"]),
        prometheus("two", &two, &["throughput"])
    );
    let script = Script::new().measure("u1", &["errors", "throughput"], json!({"duration": "1s"}));
    let session = Session::start(script, &stanzas);
    let told = session.completion("u1");
    assert_eq!(told["status"], "ok", "{told}");
    let errors = &told["metrics"]["errors"];
    assert_eq!(errors["values"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(errors["values"][0]["data"][0][1], 0.4);
    let values = told["metrics"]["throughput"]["values"].as_array().unwrap();
    assert_eq!(values.len(), 2, "{told}");
    for (value, pod) in values.iter().zip(["a", "b"]) {
        assert!(value["id"].as_str().unwrap().contains(pod), "{told}");
        assert!(value["data"][0][0].is_u64(), "{told}");
        assert_eq!(value["data"][0][1], 1.5, "{told}");
    }
    let (received, _) = session.end();
    let told = received.iter().filter(|r| r.completes("MEASUREMENT"));
    assert_eq!(told.count(), 1);
}

/// §23 item 12
#[test]
fn item_12_what_is_no_number() {
    let double = PrometheusDouble::start();
    double.answer("nan", PrometheusAnswer::Constant(f64::NAN));
    double.answer("fine", PrometheusAnswer::Constant(2.0));
    let stanza = prometheus("prometheus", &double, &["nan", "fine"]);
    let script = Script::new().measure("u1", &["nan", "fine"], json!({"duration": "1s"}));
    let session = Session::start(script, &stanza);
    let told = session.completion("u1");
    assert_eq!(told["status"], "ok", "{told}");
    assert!(told["metrics"]["fine"].is_object(), "{told}");
    assert_eq!(told["metrics"].get("nan"), None, "{told}");
    let (received, ended) = session.end();
    let body = received
        .iter()
        .find(|r| r.completes("MEASUREMENT"))
        .unwrap();
    assert!(!String::from_utf8_lossy(&body.http.body).contains("NaN"));
    assert!(warnings(&ended.stderr, "nan").count() > 0, "{ended}");
}

/// §23 item 13
#[test]
fn item_13_values_keep_their_types() {
    let settings = json!({
        "replicas": {"value": 2}, "cpu": {"value": 1.5}, "port": {"value": "8080"}
    });
    let state = json!({"application": {"components": {"main": {"settings": settings}}}});
    let script = Script::new().then(command("ADJUST", "u1", json!({"state": state})));
    let session = Session::start(script, MAIN);
    let told = session.completion("u1");
    assert_eq!(told["status"], "ok", "{told}");
    let settings = &told["state"]["application"]["components"]["main"]["settings"];
    assert_eq!(settings["replicas"]["value"].as_u64(), Some(2), "{told}");
    assert_eq!(settings["cpu"]["value"], json!(1.5), "{told}");
    assert_eq!(settings["port"]["value"], json!("8080"), "{told}");
    let seen = std::fs::read_to_string(session.bench.path("seen")).unwrap();
    assert_eq!(seen.lines().last(), Some("1.5 2 8080"));
    let (_, ended) = session.end();
    ended.assert_stderr(&["Adjusting... [main.replicas=2, main.cpu=1.5, and main.port=8080]"]);
}

/// What is answered to a command that makes no sense, after which the servo asks for the next.
fn refused(command: Value) -> String {
    let uid = command["cmd_uid"].as_str().unwrap().to_owned();
    let session = Session::start(Script::new().then(command), NO_WAIT);
    let told = session.completion(&uid);
    assert_eq!(
        (&told["status"], &told["reason"]),
        (&json!("failed"), &json!("invalid-command")),
        "{told}"
    );
    until(&session.optimizer, "WHATS_NEXT", 2);
    session.end();
    told["message"].as_str().unwrap().to_owned()
}

/// §23 item 14
#[test]
fn item_14_an_adjustment_without_a_state() {
    let message = refused(command("ADJUST", "u1", json!({"control": {}})));
    assert!(message.contains("state"), "{message}");
}

/// §23 item 15
#[test]
fn item_15_past_and_delay() {
    let with = |control: Value| {
        let param = json!({"metrics": ["throughput"], "control": control});
        command("MEASURE", "u1", param)
    };
    let message = refused(with(json!({"past": 1, "delay": 2})));
    assert!(
        message.contains("past and delay attributes must be equal"),
        "{message}"
    );
    let equal = with(json!({"duration": 0, "past": 10, "delay": "10s"}));
    let session = Session::start(Script::new().then(equal), NO_WAIT);
    assert_eq!(session.completion("u1")["status"], "ok");
    session.end();
}

/// §23 item 16
#[test]
fn item_16_an_unknown_key_in_a_condition() {
    let slo = json!({"conditions": [{"metric": "m", "threshold": 5, "treshold": 4}]});
    let control = json!({"duration": 0, "userdata": {"slo": slo}});
    let param = json!({"metrics": ["m"], "control": control});
    let message = refused(command("MEASURE", "u1", param));
    assert!(message.contains("treshold"), "{message}");
}

/// §23 item 17; `actors/servo/tests/it/times.rs` sleeps for as long as it takes.
#[test]
fn item_17_forms_of_sleep() {
    side_by_side("item_17", forms_of_sleep);
}

pub(super) fn forms_of_sleep() {
    let script = Script::new()
        .then(json!({"cmd": "SLEEP", "param": {"duration": -5}}))
        .then(json!({"cmd": "SLEEP", "param": {"duration": "2s"}}));
    let session = Session::start(script, WAIT);
    until(&session.optimizer, "WHATS_NEXT", 3);
    let asked = times(&session.optimizer, "WHATS_NEXT");
    assert!(asked[1] - asked[0] < seconds(1.0), "{asked:?}");
    assert!(asked[2] - asked[1] >= seconds(2.0), "{asked:?}");
    assert!(asked[2] - asked[1] < seconds(4.0), "{asked:?}");
    session.end();
    for answer in [
        json!({"cmd": "SLEEP", "param": {}}),
        json!({"cmd": "SLEEP"}),
        json!({"cmd": "SLEEP", "param": null}),
    ] {
        let mut session = Session::start(Script::new().then(answer), WAIT);
        session.servo.until("the sleep", SOON, |_, log| {
            log.contains("Sleeping for 2m (unknown reason)")
                .then_some(())
        });
        assert_eq!(times(&session.optimizer, "WHATS_NEXT").len(), 1);
        session.end();
    }
}

/// §23 item 20; what panics: `actors/servo/tests/it/commands.rs`.
#[test]
fn item_20_a_connector_that_fails_and_then_works() {
    let double = PrometheusDouble::start();
    let error = PrometheusAnswer::Error(400, "bad_data".to_owned(), "no such thing".to_owned());
    double.answer("throughput", error);
    double.answer("throughput", PrometheusAnswer::Constant(3.0));
    let stanza = prometheus("prometheus", &double, &["throughput"]);
    let control = json!({"duration": 0});
    let script = Script::new()
        .measure("u1", &["throughput"], control.clone())
        .measure("u2", &["throughput"], control);
    let session = Session::start(script, &stanza);
    let told = session.completion("u1");
    assert_eq!(told["status"], "failed", "{told}");
    let message = told["message"].as_str().unwrap();
    assert!(message.starts_with("prometheus: "), "whose: {message}");
    assert!(message.contains("no such thing"), "{message}");
    assert_eq!(session.completion("u2")["status"], "ok");
    let (_, ended) = session.end();
    let error = ended.stderr.lines().find(|line| line.contains("| ERROR"));
    assert!(error.is_some_and(|e| e.contains("failed")), "{ended}");
}

/// §23 item 21; an abort beside a rejection: `judging.rs`.
#[test]
fn item_21_a_rejected_adjustment() {
    let script = Script::new().adjust("u1", "main", "port", json!("bad"));
    let session = Session::start(script, MAIN);
    let told = session.completion("u1");
    assert_eq!(
        (&told["status"], &told["reason"]),
        (&json!("rejected"), &json!("start-failed")),
        "{told}"
    );
    session.end();
}

/// §23 item 44: with neither numbers nor series there is nothing to judge.
#[test]
fn item_44_an_empty_series_is_missing() {
    let double = PrometheusDouble::start();
    for answer in [
        PrometheusAnswer::Empty,
        PrometheusAnswer::Values(Vec::new()),
    ] {
        double.answer("throughput", answer);
    }
    let stanza = prometheus("prometheus", &double, &["throughput"]);
    let slo = json!({"conditions": [{"metric": "throughput", "threshold": 6000}]});
    let control = json!({"duration": "2s", "userdata": {"slo": slo}});
    let script = Script::new().measure("u1", &["throughput"], control);
    let session = Session::start(script, &stanza);
    let told = session.completion("u1");
    assert_eq!(told["status"], "ok", "{told}");
    let (_, ended) = session.end();
    let missing = "SLO statuses from last check: x1 missing_metric [(throughput below 6000)]";
    assert!(ended.stderr.matches(missing).count() >= 2, "{ended}");
}
