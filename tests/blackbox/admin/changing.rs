//! What is changed over HTTP: servos, the configuration, the end.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use servo_doubles::{Fault, On, Script, ScriptedOptimizer};

use super::{TOKEN, client::ask_with, document, one};
use crate::bench::{SOON, wait};

#[test]
fn servos_come_and_go() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let daemon = one(&optimizer);
    daemon.until_ready();
    let post = |body: &str| {
        ask_with(
            daemon.address,
            "POST",
            "/api/v1/servos",
            "content-type: application/yaml\r\n",
            body.as_bytes(),
        )
    };
    let added = post(
        &[
            document("a/b", &optimizer, ""),
            document("c", &optimizer, ""),
        ]
        .join("---\n"),
    );
    assert_eq!(added.status, 201, "{}", added.text());
    assert_eq!(added.json(), json!({"added": ["a/b", "c"]}));
    daemon.until("/api/v1/servos/a/b", |s| {
        (s["state"] == "sleeping").then_some(())
    });
    let again = post(&document("c", &optimizer, ""));
    assert_eq!(again.status, 409, "{}", again.text());
    assert!(again.error().contains("\"c\""), "{}", again.text());
    for wrong in [
        "wait: {measure_enabled: perhaps}\n",
        "{",
        "name: [",
        "\0",
        "a: &a [*a]\n",
    ] {
        let answer = post(wrong);
        assert_eq!(answer.status, 422, "{wrong}: {}", answer.text());
        assert!(!answer.error().is_empty());
    }
    for empty in ["", " \n"] {
        assert_eq!(post(empty).status, 400);
    }
    let answer = ask_with(
        daemon.address,
        "POST",
        "/api/v1/servos",
        "",
        b"name: \xff\n",
    );
    assert_eq!(answer.status, 400);
    let removed = daemon.ask("DELETE", "/api/v1/servos/a%2Fb");
    assert_eq!(
        (removed.status, removed.json()),
        (
            200,
            json!({"removed": "a/b", "comes_back": false, "note": null})
        )
    );
    wait("GOODBYE", SOON, || {
        let received = optimizer.received();
        let goodbye = received.iter().find(|r| r.event == "GOODBYE")?;
        assert_eq!(goodbye.param["reason"], "reconfigured");
        Some(())
    });
    for method in ["GET", "DELETE"] {
        let gone = daemon.ask(method, "/api/v1/servos/a/b");
        assert_eq!(gone.status, 404);
        assert!(gone.error().contains("a/b"));
    }
    assert_eq!(daemon.get("/api/v1/servos").json()["total"], 2);
    let log = daemon.end();
    assert!(!log.contains(TOKEN));
}

/// Who removes a servo that the file names is told that it comes back.
#[test]
fn a_servo_of_the_file_comes_back() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let mut daemon = one(&optimizer);
    daemon.until_ready();
    let removed = daemon.ask("DELETE", "/api/v1/servos/solo");
    assert_eq!(removed.status, 200, "{}", removed.text());
    let told = removed.json();
    assert_eq!(
        (&told["removed"], &told["comes_back"]),
        (&json!("solo"), &json!(true))
    );
    assert!(told["note"].as_str().unwrap().contains("next reload"));
    daemon.running.until("the log says so", SOON, |_, log| {
        let line = log
            .lines()
            .find(|l| l.contains("removed while running: solo"))?;
        (line.contains("WARN") && line.contains("the next reload brings it back")).then_some(())
    });
    let reloaded = daemon.ask("POST", "/-/reload");
    assert_eq!(reloaded.json()["added"], 1, "{}", reloaded.text());
    daemon.end();
}

#[test]
fn what_is_no_yaml_by_its_own_account_is_not_read() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let daemon = one(&optimizer);
    let body = document("new", &optimizer, "");
    let post = |kind: &str| {
        let header = format!("content-type: {kind}\r\n");
        let at = "/api/v1/servos";
        ask_with(daemon.address, "POST", at, &header, body.as_bytes())
    };
    for wrong in ["image/png", "text/html; charset=utf-8", "yaml", ""] {
        let answer = post(wrong);
        assert_eq!(answer.status, 415, "{wrong}: {}", answer.text());
        assert!(answer.error().contains("application/yaml"));
    }
    assert_eq!(post("Application/YAML; charset=utf-8").status, 201);
    daemon.end();
}

#[test]
fn reloads_that_work_and_that_do_not_are_told_alike_everywhere() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let mut daemon = one(&optimizer);
    daemon.until_ready();
    let hash = daemon.metric("servo_config_hash").unwrap();
    let before = daemon
        .metric("servo_config_last_reload_success_timestamp_seconds")
        .unwrap();
    let two = [
        document("solo", &optimizer, ""),
        document("new", &optimizer, ""),
    ]
    .join("---\n");
    daemon.bench.write("servo.yaml", &two);
    let answer = daemon.ask("POST", "/-/reload");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    let line = told["result"].as_str().unwrap().to_owned();
    assert!(
        line.starts_with("reload finished: +1 ~0 -0 =1 in "),
        "{line}"
    );
    for (key, count) in [
        ("added", 1),
        ("changed", 0),
        ("removed", 0),
        ("unchanged", 1),
    ] {
        assert_eq!(told[key], count, "{told}");
    }
    daemon
        .running
        .until("the line is in the log", SOON, |_, log| {
            log.contains(&line).then_some(())
        });
    let status = daemon.get("/api/v1/status").json();
    assert_eq!(status["reloads"]["last"]["ok"], true);
    assert_eq!(status["reloads"]["last"]["text"], line.as_str());
    assert_eq!(
        daemon.metric("servo_reloads_total{outcome=\"succeeded\"}"),
        Some(1.0)
    );
    assert_eq!(
        daemon.metric("servo_config_last_reload_successful"),
        Some(1.0)
    );
    assert_ne!(daemon.metric("servo_config_hash").unwrap(), hash);
    let after = daemon
        .metric("servo_config_last_reload_success_timestamp_seconds")
        .unwrap();
    assert!(after >= before);

    daemon.bench.write(
        "servo.yaml",
        "name: solo\nwait: {measure_enabled: perhaps}\n",
    );
    for path in ["/-/reload", "/api/v1/reload"] {
        let answer = daemon.ask("PUT", path);
        assert_eq!(answer.status, 422, "{}", answer.text());
        let line = answer.error();
        assert!(
            line.starts_with("reload refused: ") && line.contains("perhaps"),
            "{line}"
        );
        daemon
            .running
            .until("the refusal is in the log", SOON, |_, log| {
                let mut lines = log.lines().filter(|l| l.contains("reload refused: "));
                lines
                    .any(|l| l.contains("ERROR") && l.contains("perhaps"))
                    .then_some(())
            });
        let last = daemon.get("/api/v1/status").json()["reloads"]["last"].clone();
        assert_eq!(
            (&last["ok"], last["text"].as_str()),
            (&json!(false), Some(&*line))
        );
    }
    assert_eq!(
        daemon.metric("servo_reloads_total{outcome=\"refused\"}"),
        Some(2.0)
    );
    assert_eq!(
        daemon.metric("servo_config_last_reload_successful"),
        Some(0.0)
    );
    assert_eq!(
        daemon.metric("servo_config_last_reload_success_timestamp_seconds"),
        Some(after)
    );
    assert_eq!(
        daemon.get("/api/v1/servos").json()["total"],
        2,
        "all as before"
    );
    daemon.end();
}

#[test]
fn quitting_ends_in_order() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let daemon = one(&optimizer);
    daemon.until("/api/v1/servos/solo", |s| {
        (s["state"] == "sleeping").then_some(())
    });
    let answer = daemon.ask("PUT", "/-/quit");
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"result": "shutting down"}))
    );
    let ended = daemon.running.ended(SOON);
    ended.assert_code(0);
    let told: Vec<&str> = ended
        .stderr
        .lines()
        .filter(|l| l.contains("servo::daemon::run:"))
        .collect();
    assert_eq!(told.len(), 2, "{ended}");
    assert!(
        told[0].ends_with("shutting down (asked to over HTTP): 1 servo says GOODBYE"),
        "{ended}"
    );
    assert!(told[1].contains("shut down in 0."), "{ended}");
    let goodbye = optimizer.received().pop().unwrap();
    assert_eq!(
        (goodbye.event.as_str(), &goodbye.param["reason"]),
        ("GOODBYE", &json!("shutdown"))
    );
}

/// A reload that comes too late is no error of anybody.
#[test]
fn a_reload_while_the_program_ends_is_refused_without_alarm() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let mut daemon = one(&optimizer);
    daemon.until("/api/v1/servos/solo", |s| {
        (s["state"] == "sleeping").then_some(())
    });
    optimizer.inject(
        On::event("GOODBYE").always(),
        Fault::Delay(Duration::from_secs(2)),
    );
    daemon.running.signal(Signal::TERM);
    let told = |what: &'static str| move |_: &str, log: &str| log.contains(what).then_some(());
    daemon
        .running
        .until("it ends", SOON, told("shutting down (SIGTERM)"));
    let answer = daemon.ask("POST", "/-/reload");
    assert!(
        answer.error().contains("shutting down"),
        "{}",
        answer.text()
    );
    let ended = daemon.running.ended(SOON);
    ended.assert_code(0);
    assert!(
        ended.stderr.contains("reload refused") && !ended.stderr.contains("| ERROR"),
        "{ended}"
    );
}
