//! Starts that fail, checks, and diagnostics: items 42, 45 for a long log, and 47.

use std::time::Instant;

use servo_doubles::{Fault, HttpTarget, On, TargetAnswer};

use super::*;
use crate::bench::wait;

/// §23 item 42
#[test]
fn item_42_a_dry_run() {
    side_by_side("item_42", a_dry_run);
}

pub(super) fn a_dry_run() {
    let check = |fault: Option<Fault>, variables: &[(&str, &str)]| {
        let optimizer = ScriptedOptimizer::start(Script::new());
        if let Some(fault) = fault {
            optimizer.inject(On::any().always(), fault);
        }
        let bench = Bench::new();
        let more = format!("{WAIT}checks: {{progressive: false}}\n");
        bench.write("servo.yaml", &document("solo", &optimizer, &more));
        let mut command = bench.servo(&["run", "--check", "--dry-run"]);
        command.envs(variables.iter().copied());
        let began = Instant::now();
        let ended = Running::start(command).ended(SOON);
        (ended, began.elapsed(), optimizer.events())
    };
    let (ended, ..) = check(None, &[]);
    ended.assert_code(0).assert_stdout(&["√ PASSED"]);

    let (ended, took, events) = check(
        Some(Fault::status(503)),
        &[("CHECKS_WAIT", "3s"), ("CHECKS_DELAY", "1s")],
    );
    ended.assert_code(1).assert_stdout(&["X FAILED"]);
    assert!(took >= seconds(2.0) && took < seconds(6.0), "{took:?}");
    assert!((3..=5).contains(&events.len()), "{events:?}");

    let (ended, ..) = check(Some(Fault::html()), &[("CHECKS_WAIT", "0")]);
    ended.assert_code(1).assert_stdout(&["X FAILED"]);

    let (ended, took, events) = check(Some(Fault::status(503)), &[("CHECKS_WAIT", "0")]);
    ended.assert_code(1);
    assert!(took < seconds(3.0), "{took:?}");
    assert_eq!(events, ["HELLO"]);
}

const CHECK: &str = "/accounts/example.com/applications/app/assets/opsani.com/diagnostics-check";
const OUTPUT: &str = "/accounts/example.com/applications/app/assets/opsani.com/diagnostics-output";

/// §23 item 45: what is sent stays below 1 MiB however much has been logged.
#[test]
fn item_45_diagnostics_of_a_long_log() {
    side_by_side("item_45", diagnostics_of_a_long_log);
}

pub(super) fn diagnostics_of_a_long_log() {
    let answer = |body: Value| TargetAnswer::Http {
        status: 200,
        latency: Duration::ZERO,
        body: body.to_string().into_bytes(),
    };
    let ok = || answer(json!({"status": "ok"}));
    let optimizer = HttpTarget::start(answer(sleep(json!(3600))));
    // Each fills some 2.5 KiB at TRACE.
    const COMMANDS: u64 = 2300;
    optimizer.next(1, ok());
    for i in 0..COMMANDS {
        let param = json!({"metrics": ["throughput"], "control": {"duration": 0}});
        let command = json!({"cmd": "MEASURE", "cmd_uid": i, "param": param});
        optimizer.next(1, answer(command));
        optimizer.next(1, ok());
    }
    optimizer.set_path(CHECK, TargetAnswer::status(503));
    optimizer.set_path(OUTPUT, ok());
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &format!(
            "optimizer: {{id: example.com/app, token: s3cr3t-45, base_url: \"http://{}\"}}\n{NO_WAIT}no_diagnostics: false\n",
            optimizer.address()
        ),
    );
    let servo = bench.start(&["--log-level", "TRACE", "run", "--no-banner"]);
    // HELLO, and the question that SLEEP answers.
    let requests = 2 * COMMANDS + 2;
    optimizer
        .wait_for_count(requests, Duration::from_secs(60))
        .unwrap();
    wait("5 MiB of log", SOON, || {
        (servo.stderr().len() > 5 << 20).then_some(())
    });
    optimizer.set_path(CHECK, answer(json!({"data": "SEND"})));
    let sent = wait("diagnostics", Duration::from_secs(60), || {
        let mut all = optimizer.last_requests().into_iter();
        all.rfind(|r| r.path() == OUTPUT)
    });
    let size = sent.body.len();
    assert!((100 << 10..1 << 20).contains(&size), "{size}");
    let text = String::from_utf8(sent.body).unwrap();
    assert!(!text.contains("s3cr3t-45"));
    let body: Value = serde_json::from_str(&text).unwrap();
    assert!(body["data"]["configmap"].is_object());
    let logs = body["data"]["logs"].as_object().unwrap();
    assert!(logs.len() > 100, "{}", logs.len());
    servo.signal(Signal::TERM);
    servo.ended(SOON).assert_code(0);
}

/// §23 item 47
#[test]
fn item_47_a_startup_that_fails() {
    let stanza = r#"
process:
  components:
    - name: good
      command: [sh, -c, 'trap "echo stopped >> told; exit 0" TERM; echo started >> told; while :; do sleep 0.05; done']
      settle: 100ms
connectors: {process: process, broken: process, wait: wait}
broken:
  components:
    - name: bad
      command: [sh, -c, 'while [ ! -e told ]; do sleep 0.05; done; sleep 1; echo oh no >&2; exit 3']
      settle: 5s
      restart: {backoff: 10ms, attempts: 1}
wait: {measure_enabled: true}
"#;
    let session = Session::start(Script::new(), stanza);
    let ended = session.servo.ended(SOON);
    ended.assert_code(1).assert_stderr(&["bad", "oh no"]);
    let received = session.optimizer.received();
    let events: Vec<&str> = received.iter().map(|r| r.event.as_str()).collect();
    assert_eq!(events, ["HELLO", "GOODBYE"]);
    assert_eq!(received[1].param["reason"], "startup failed");
    let told = std::fs::read_to_string(session.bench.path("told")).unwrap();
    assert_eq!(told, "started\nstopped\n");
    session.bench.assert_nothing_left(SOON);
}
