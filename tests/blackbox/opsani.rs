//! `servo run` against an optimizer on the network.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use servo_doubles::{Fault, On, Script, ScriptedOptimizer};

use crate::{
    bench::{Bench, SOON, wait},
    toy::{Toy, running},
};

const TOKEN: &str = "s3cr3t-31337-token";

fn servo_yaml(optimizer: &ScriptedOptimizer, connectors: &str) -> String {
    format!(
        "optimizer: {{id: example.com/app, token: {TOKEN}, base_url: \"{}\"}}\n{connectors}\n",
        optimizer.base_url()
    )
}

const WAIT: &str = "wait: {measure_enabled: true}";

#[test]
fn a_session_from_hello_to_goodbye() {
    let optimizer = ScriptedOptimizer::start(
        Script::new()
            .describe("d1")
            .measure("m1", &["throughput"], json!({"duration": "200ms"}))
            .adjust("a1", "web", "cpu", json!(2))
            .measure("m2", &[], json!({"duration": "0"})),
    );
    optimizer.accept_only("authorization", &format!("Bearer {TOKEN}"));
    let bench = Bench::new();
    bench.write("servo.yaml", &servo_yaml(&optimizer, WAIT));
    let servo = bench.start(&["--log-level", "TRACE", "run", "--no-banner"]);
    optimizer
        .wait_for(SOON, |received| {
            received
                .iter()
                .any(|r| r.param["cmd_uid"] == "m2" && r.param.get("status").is_some())
        })
        .unwrap();
    servo.signal(Signal::TERM);
    let ended = servo.ended(Duration::from_secs(10));
    ended.assert_code(0);
    assert_eq!(ended.stdout, "", "only results go to stdout");
    assert!(!ended.stderr.contains(TOKEN), "the token in the log");
    assert!(!ended.stderr.is_empty());

    assert_eq!(optimizer.violations(), Vec::<String>::new());
    let received = optimizer.received();
    let events: Vec<_> = received
        .iter()
        .filter(|r| !r.progresses("MEASUREMENT") && !r.progresses("ADJUSTMENT"))
        .map(|r| r.event.as_str())
        .collect();
    assert_eq!(
        events[..9],
        [
            "HELLO",
            "WHATS_NEXT",
            "DESCRIPTION",
            "WHATS_NEXT",
            "MEASUREMENT",
            "WHATS_NEXT",
            "ADJUSTMENT",
            "WHATS_NEXT",
            "MEASUREMENT"
        ]
    );
    let last = received.last().unwrap();
    assert_eq!(last.event, "GOODBYE");
    assert_eq!(last.param["reason"], "SIGTERM");
    assert_eq!(
        last.http.target,
        "/accounts/example.com/applications/app/servo"
    );
    let hello = &received[0];
    assert!(
        hello.param["agent"]
            .as_str()
            .is_some_and(|a| a.contains(env!("CARGO_PKG_VERSION"))),
        "{}",
        hello.param
    );
    assert_eq!(
        optimizer.completion("DESCRIPTION", SOON).unwrap()["status"],
        "ok"
    );
    assert_eq!(
        optimizer.completion("MEASUREMENT", SOON).unwrap()["status"],
        "ok"
    );
    let adjusted = optimizer.completion("ADJUSTMENT", SOON).unwrap();
    assert_eq!(adjusted["status"], "failed", "{adjusted}");
    assert_eq!(
        adjusted["message"],
        "adjustment failed: no connector handled the request"
    );
}

#[test]
fn the_toy_is_described_measured_and_adjusted_over_the_network() {
    let toy = Toy::new();
    let optimizer = ScriptedOptimizer::start(
        Script::new()
            .describe("d1")
            .adjust("a1", "toy", "rounds", json!(2))
            .measure("m1", &["latency_50th"], json!({"duration": "300ms"}))
            .adjust("a2", "toy", "rounds", json!(99))
            .adjust("a3", "toy", "speed", json!(1)),
    );
    let bench = Bench::new();
    bench.write("servo.yaml", &servo_yaml(&optimizer, &toy.connectors()));
    let servo = bench.start(&["run"]);
    let completion = |uid: &str| {
        optimizer
            .find(SOON, |received| {
                received
                    .iter()
                    .find(|r| r.param["cmd_uid"] == uid && r.param.get("status").is_some())
                    .map(|r| r.param.clone())
            })
            .unwrap()
    };
    let settings =
        |param: &serde_json::Value| param["application"]["components"]["toy"]["settings"].clone();
    let described = completion("d1");
    assert_eq!(
        settings(&described["descriptor"])["rounds"]["value"],
        4,
        "{described}"
    );
    let adjusted = completion("a1");
    assert_eq!(adjusted["status"], "ok", "{adjusted}");
    assert_eq!(
        settings(&adjusted["state"])["rounds"]["value"],
        2,
        "{adjusted}"
    );
    let measured = completion("m1");
    assert!(
        measured["metrics"]["latency_50th"].is_object(),
        "{measured}"
    );
    let out_of_range = completion("a2");
    assert_ne!(out_of_range["status"], "ok", "{out_of_range}");
    for part in ["99", "8"] {
        assert!(
            out_of_range["message"].as_str().unwrap().contains(part),
            "{out_of_range}"
        );
    }
    let unknown = completion("a3");
    assert_ne!(unknown["status"], "ok", "{unknown}");
    for part in ["speed", "rounds"] {
        assert!(
            unknown["message"].as_str().unwrap().contains(part),
            "{unknown}"
        );
    }
    assert_eq!(running(&bench), 1, "still with the last good settings");
    servo.signal(Signal::INT);
    servo.ended(Duration::from_secs(15)).assert_code(0);
    bench.assert_nothing_left(SOON);
    assert_eq!(
        optimizer.received().last().unwrap().param["reason"],
        "SIGINT"
    );
    assert_eq!(optimizer.violations(), Vec::<String>::new());
}

/// No optimizer holds up the end, neither a silent one nor one that measures.
#[test]
fn signals_that_ask_for_something_do_not_end_it() {
    let optimizer = ScriptedOptimizer::start(Script::new().sleep(json!("60s")));
    let bench = Bench::new();
    bench.write("servo.yaml", &servo_yaml(&optimizer, WAIT));
    let mut servo = bench.start(&["run"]);
    optimizer
        .wait_for(SOON, |received| {
            received.iter().any(|r| r.event == "WHATS_NEXT")
        })
        .unwrap();
    servo.signal(Signal::USR1);
    servo.signal(Signal::HUP);
    servo.until("both are told of", SOON, |_, log| {
        (log.contains("supervision tree") && log.contains("reload finished: +0 ~0 -0 =1 in "))
            .then_some(())
    });
    servo.signal(Signal::TERM);
    let ended = servo.ended(Duration::from_secs(10));
    ended.assert_code(0);
    for actor in [
        "assembly",
        "example.com/app",
        "dispatcher",
        "wait",
        "optimizer",
    ] {
        assert!(
            ended.stderr.contains(actor),
            "{actor} is not in the tree: {ended}"
        );
    }
}

#[test]
fn the_end_is_bounded_in_time() {
    let optimizer =
        ScriptedOptimizer::start(Script::new().measure("m1", &[], json!({"duration": "10m"})));
    optimizer.inject(On::event("GOODBYE").always(), Fault::Stall);
    let bench = Bench::new();
    bench.write("servo.yaml", &servo_yaml(&optimizer, WAIT));
    let servo = bench.start(&["run"]);
    optimizer
        .wait_for(SOON, |received| {
            received.iter().any(|r| r.progresses("MEASUREMENT"))
        })
        .unwrap();
    servo.signal(Signal::TERM);
    servo.ended(Duration::from_secs(25)).assert_code(0);
    assert!(optimizer.events().iter().any(|e| e == "GOODBYE"));
    assert!(
        !optimizer
            .received()
            .iter()
            .any(|r| r.completes("MEASUREMENT")),
        "it is handed out again after the next HELLO"
    );
}

#[test]
fn a_second_signal_ends_at_once() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    optimizer.inject(On::event("GOODBYE").always(), Fault::Stall);
    let bench = Bench::new();
    bench.write("servo.yaml", &servo_yaml(&optimizer, WAIT));
    let mut servo = bench.start(&["run"]);
    let said = |event: &'static str| {
        optimizer
            .wait_for(SOON, move |received| {
                received.iter().any(|r| r.event == event)
            })
            .unwrap();
    };
    said("WHATS_NEXT");
    servo.signal(Signal::TERM);
    said("GOODBYE");
    // Signals close to each other count as one, so it is sent as somebody impatient does it.
    wait("the end", Duration::from_secs(4), || {
        servo.signal(Signal::TERM);
        servo.has_ended().then_some(())
    });
    servo.ended(SOON).assert_code(143);
}

#[test]
fn an_optimizer_that_comes_late() {
    let optimizer = ScriptedOptimizer::start(Script::new().describe("d1"));
    optimizer.inject(On::event("HELLO").times(2), Fault::status(503));
    optimizer.inject(On::event("WHATS_NEXT"), Fault::Reset);
    let bench = Bench::new();
    bench.write("servo.yaml", &servo_yaml(&optimizer, WAIT));
    let servo = bench.start(&["run"]);
    assert_eq!(
        optimizer.completion("DESCRIPTION", SOON).unwrap()["status"],
        "ok"
    );
    servo.signal(Signal::TERM);
    servo
        .ended(Duration::from_secs(10))
        .assert_code(0)
        .assert_stderr(&["503"]);
}

/// A token that is refused is told once, not with each try.
#[test]
fn a_refused_token() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    optimizer.accept_only("authorization", "Bearer another");
    let bench = Bench::new();
    bench.write("servo.yaml", &servo_yaml(&optimizer, WAIT));
    let ended = bench.run(&["run"]);
    ended
        .assert_code(1)
        .assert_stderr(&["401", "check the optimizer's token"]);
    assert_eq!(
        ended.stderr.matches("no usable answer").count(),
        1,
        "{ended}"
    );
    assert!(!ended.stderr.contains(TOKEN), "the token in the log");
    assert_eq!(optimizer.events(), ["HELLO"]);
}
