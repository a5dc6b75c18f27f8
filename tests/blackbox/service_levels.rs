//! Service levels that an optimizer sends with a measurement (`spec/optimizer-protocol.md` §14, §23.16, §23.44).

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use servo_doubles::{PrometheusAnswer, PrometheusDouble, Script, ScriptedOptimizer};

use crate::bench::{Bench, SOON};

fn with(conditions: Value) -> Value {
    json!({"duration": "60s", "userdata": {"slo": {"conditions": conditions}}})
}

fn servo_yaml(optimizer: &ScriptedOptimizer, prometheus: &PrometheusDouble) -> String {
    format!(
        "optimizer: {{id: example.com/app, token: t, base_url: \"{}\"}}\n\
         prometheus:\n  base_url: \"{}\"\n  metrics: [{{name: throughput, query: q, step: 1s}}]\n  \
         fast_fail: {{period: 300ms, span: 10s}}\n\
         wait: {{measure_enabled: true}}\n",
        optimizer.base_url(),
        prometheus.base_url()
    )
}

#[test]
fn conditions_that_make_no_sense_fail_the_command_and_violated_ones_abort_it() {
    let prometheus = PrometheusDouble::start();
    for value in [6000.0, 6535.8, 5000.0, 6535.8] {
        prometheus.answer("q", PrometheusAnswer::Constant(value));
    }
    let once = json!([{"metric": "throughput", "threshold": 6000}]);
    let twice = json!([{"metric": "throughput", "threshold": 6000, "trigger_count": 2, "trigger_window": 3}]);
    let optimizer = ScriptedOptimizer::start(
        Script::new()
            .measure(
                "unknown",
                &[],
                with(json!([{"metric": "m", "threshold": 1, "treshold": 2}])),
            )
            .measure(
                "both",
                &[],
                with(json!([{"metric": "m", "threshold": 1, "threshold_metric": "n"}])),
            )
            .measure(
                "same",
                &[],
                with(json!([{"metric": "m", "threshold": 1}, {"metric": "m", "threshold": 1}])),
            )
            .measure("once", &["throughput"], with(once))
            .measure("twice", &["throughput"], with(twice)),
    );
    let bench = Bench::new();
    bench.write("servo.yaml", &servo_yaml(&optimizer, &prometheus));
    let servo = bench.start(&["run", "--no-banner"]);
    let completion = |uid: &str| {
        optimizer
            .find(SOON, |received| {
                let found = received
                    .iter()
                    .find(|r| r.param["cmd_uid"] == uid && r.param.get("status").is_some());
                found.map(|r| r.param.clone())
            })
            .unwrap()
    };
    for (uid, told) in [
        (
            "unknown",
            "userdata.slo.conditions[0].treshold: unknown key",
        ),
        (
            "both",
            "SLO Condition cannot specify both threshold and threshold_metric",
        ),
        (
            "same",
            "Slo conditions must be unique. Redundant conditions found: (m below 1)",
        ),
    ] {
        let answer = completion(uid);
        assert_eq!(answer["status"], "failed", "{answer}");
        assert_eq!(answer["reason"], "invalid-command", "{answer}");
        assert!(
            answer["message"].as_str().unwrap().contains(told),
            "{answer}"
        );
    }

    // The limit itself passes; the next value does not. `wait` would have gone on for a minute.
    let answer = completion("once");
    assert_eq!(answer["status"], "aborted", "{answer}");
    assert_eq!(answer["reason"], "slo-violation");
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.starts_with("SLO violation(s) observed: (throughput below 6000)[20"),
        "{message}"
    );
    assert!(
        message.ends_with(" SLO failed metric value 6535.8 was not below threshold value 6000]"),
        "{message}"
    );

    let answer = completion("twice");
    assert_eq!(answer["status"], "aborted", "{answer}");
    let message = answer["message"].as_str().unwrap();
    assert_eq!(message.matches(" SLO failed ").count(), 2, "{message}");

    servo.signal(Signal::TERM);
    let ended = servo.ended(Duration::from_secs(10));
    ended.assert_code(0);
    ended.assert_stderr(&[
        "Fast Fail enabled, the following SLO Conditions will be monitored during measurement: (throughput below 6000)",
        "SLO statuses from last check: x1 passed [(throughput below 6000)]",
        "SLO statuses from last check: x1 failed [(throughput below 6000)]",
    ]);
    assert_eq!(optimizer.violations(), Vec::<String>::new());
}
