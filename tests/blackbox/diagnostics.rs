//! Diagnostics for an optimizer that asks for them (`spec/optimizer-protocol.md` §18, §23.45).

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use servo_doubles::{HttpRequest, HttpTarget, TargetAnswer};

use crate::bench::{Bench, SOON, wait};

const SERVO: &str = "/accounts/example.com/applications/app/servo";
const CHECK: &str = "/accounts/example.com/applications/app/assets/opsani.com/diagnostics-check";
const OUTPUT: &str = "/accounts/example.com/applications/app/assets/opsani.com/diagnostics-output";
const TOKEN: &str = "s3cr3t-31337-token";

fn answer(body: Value) -> TargetAnswer {
    TargetAnswer::Http {
        status: 200,
        latency: Duration::ZERO,
        body: body.to_string().into_bytes(),
    }
}

/// An optimizer that has the servo sleep and says `verdict` when it is asked about diagnostics.
fn optimizer(verdict: &str) -> HttpTarget {
    let sleep = json!({"cmd": "SLEEP", "param": {"duration": 3600}});
    let optimizer = HttpTarget::start(answer(sleep));
    // HELLO.
    optimizer.next(1, answer(json!({"status": "ok"})));
    optimizer.set_path(CHECK, answer(json!({"data": verdict})));
    optimizer.set_path(OUTPUT, answer(json!({"status": "ok"})));
    optimizer
}

fn bench(optimizer: &HttpTarget, more: &str) -> Bench {
    let bench = Bench::new();
    let base_url = format!("http://{}", optimizer.address());
    bench.write(
        "servo.yaml",
        &format!(
            "optimizer: {{id: example.com/app, token: {TOKEN}, base_url: \"{base_url}\"}}\n\
             wait: {{measure_enabled: true}}\n{more}"
        ),
    );
    bench
}

fn asked(optimizer: &HttpTarget, method: &str, path: &str) -> Vec<HttpRequest> {
    let all = optimizer.last_requests();
    all.into_iter()
        .filter(|r| r.method == method && r.path() == path)
        .collect()
}

#[test]
fn what_is_asked_for_is_sent_once_without_secrets_and_taken_back() {
    let optimizer = optimizer("SEND");
    let bench = bench(
        &optimizer,
        "no_diagnostics: false\n\
         settings: {proxies: {\"all://elsewhere.example\": \"http://user:proxy-pass@proxy:3128\"}}\n",
    );
    let servo = bench.start(&["--log-level", "TRACE", "run", "--no-banner"]);
    let taken_back = || asked(&optimizer, "PUT", CHECK).into_iter().next();
    let taken_back = wait("the wish is taken back", SOON, taken_back);
    let body: Value = serde_json::from_slice(&taken_back.body).unwrap();
    assert_eq!(body, json!({"data": "WITHHOLD"}));

    let sent = asked(&optimizer, "PUT", OUTPUT);
    assert_eq!(sent.len(), 1);
    assert!(sent[0].body.len() < 1024 * 1024);
    assert_eq!(sent[0].headers["authorization"], format!("Bearer {TOKEN}"));
    let text = String::from_utf8(sent[0].body.clone()).unwrap();
    assert!(
        !text.contains(TOKEN) && !text.contains("proxy-pass"),
        "{text}"
    );
    let body: Value = serde_json::from_str(&text).unwrap();
    let map = &body["data"]["configmap"];
    assert_eq!(map["optimizer"]["id"], "example.com/app");
    assert_eq!(map["optimizer"]["token"], "[REDACTED]");
    assert_eq!(map["wait"]["measure_enabled"], true);
    let logs = body["data"]["logs"].as_object().unwrap();
    assert!(!logs.is_empty());
    for (time, line) in logs {
        let (time, _) = time.split_once('#').unwrap_or((time, ""));
        assert_eq!(time.len(), "2026-01-21 12:00:01.123".len(), "{time}");
        assert!(line.as_str().unwrap().split(" | ").count() >= 3, "{line}");
    }
    assert!(
        logs.values()
            .any(|line| line.as_str().unwrap().contains("Saying HELLO")),
        "{text}"
    );

    servo.signal(Signal::TERM);
    servo.ended(Duration::from_secs(10)).assert_code(0);
    let polls = asked(&optimizer, "GET", CHECK);
    assert_eq!(polls.len(), 1, "the next is a minute later");
    assert!(polls[0].body.is_empty());
}

#[test]
fn stop_ends_the_polls_and_the_servo_goes_on() {
    let optimizer = optimizer("STOP");
    let bench = bench(&optimizer, "no_diagnostics: false\n");
    let mut servo = bench.start(&["run", "--no-banner"]);
    servo.until("the end of the polls", SOON, |_, log| {
        log.contains("wants no diagnostics any more").then_some(())
    });
    assert!(asked(&optimizer, "PUT", OUTPUT).is_empty());
    assert!(asked(&optimizer, "PUT", CHECK).is_empty());
    assert!(!servo.has_ended());
    servo.signal(Signal::TERM);
    servo.ended(Duration::from_secs(10)).assert_code(0);
}

#[test]
fn by_default_nobody_asks() {
    let optimizer = optimizer("SEND");
    let bench = bench(&optimizer, "");
    let servo = bench.start(&["run", "--no-banner"]);
    wait("the servo is connected", SOON, || {
        (asked(&optimizer, "POST", SERVO).len() >= 2).then_some(())
    });
    servo.signal(Signal::TERM);
    servo.ended(Duration::from_secs(10)).assert_code(0);
    assert!(asked(&optimizer, "GET", CHECK).is_empty());
}
