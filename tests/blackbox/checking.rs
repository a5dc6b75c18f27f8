//! `servo check`, and the checks of `servo run`.

use std::time::Duration;

use rustix::process::Signal;
use servo_doubles::{Fault, On, Script, ScriptedOptimizer};

use crate::bench::{Bench, SOON};

const WAIT: &str = "wait: {measure_enabled: true}\n";

fn document(name: &str, optimizer: &ScriptedOptimizer, more: &str) -> String {
    format!(
        "name: {name}\noptimizer: {{id: example.com/{name}, token: t, base_url: \"{}\"}}\n{more}",
        optimizer.base_url()
    )
}

/// A bench with one servo called `solo`.
fn bench(more: &str) -> (Bench, ScriptedOptimizer) {
    let (bench, optimizer) = (Bench::new(), ScriptedOptimizer::start(Script::new()));
    let text = document("solo", &optimizer, &format!("{WAIT}{more}"));
    bench.write("servo.yaml", &text);
    (bench, optimizer)
}

fn run(bench: &Bench, arguments: &[&str], variables: &[(&str, &str)]) -> crate::bench::Ended {
    let mut command = bench.servo(arguments);
    command.envs(variables.iter().copied());
    crate::bench::Running::start(command).ended(SOON)
}

#[test]
fn a_dry_run_is_a_table_and_one_hello() {
    let (bench, optimizer) = bench("");
    let ended = run(
        &bench,
        &["run", "--dry-run"],
        &[("CHECKS_PROGRESSIVE", "False")],
    );
    ended.assert_code(0);
    assert_eq!(
        ended.stdout,
        "CONNECTOR    STATUS    ERRORS\nsolo         √ PASSED\n"
    );
    // No GOODBYE: a live deployment may be connected.
    assert_eq!(optimizer.events(), ["HELLO"]);
    assert_eq!(optimizer.violations(), Vec::<String>::new());
    let json = bench.run(&["run", "--dry-run", "-o", "json"]);
    assert_eq!(json.assert_code(0).json()["ready"], true, "{json}");
    // Told in the log, by default.
    let ended = bench.run(&["run", "-d"]);
    ended.assert_code(0).assert_stderr(&[
        "✅ Check 'Opsani API connectivity' passed",
        "🔥 All checks passed.",
    ]);
    assert_eq!(ended.stdout, "", "{ended}");
    bench.assert_nothing_left(SOON);
}

#[test]
fn what_an_optimizer_must_answer() {
    for (fault, told) in [
        (Fault::status(503), "Response status code: 503"),
        (Fault::status(401), "Response status code: 401"),
        (
            Fault::Body {
                headers: vec![("content-type".to_owned(), "text/html".to_owned())],
                body: b"<html>".to_vec(),
            },
            "Response status code: 200, but the body is no answer of an optimizer",
        ),
        (
            Fault::Answer(serde_json::json!({"status": "invalid", "reason": "go away"})),
            "go away",
        ),
        (Fault::Reset, "POST http://"),
    ] {
        let (bench, optimizer) = bench("");
        optimizer.inject(On::any().always(), fault);
        let ended = bench.run(&["check"]);
        ended
            .assert_code(1)
            .assert_stdout(&["solo         X FAILED  (1/1) Opsani API connectivity: ['"])
            .assert_stderr(&["the checks did not pass"]);
        let text = ended
            .stdout
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        assert!(text.replace("', '", " ").contains(told), "{told}: {ended}");
        assert_eq!(optimizer.events().len(), 1, "{ended}");
    }
}

#[test]
fn another_deployment_has_taken_its_place() {
    let bench = Bench::new();
    let optimizer = ScriptedOptimizer::start(Script::new().expects_servo_uid("new"));
    let text = document("solo", &optimizer, &format!("{WAIT}servo_uid: old\n"));
    bench.write("servo.yaml", &text);
    let ended = bench.run(&["check"]);
    ended
        .assert_code(1)
        .assert_stdout(&["Response status code: 410"])
        .assert_stderr(&["Hint: another deployment"]);
}

#[test]
fn checks_are_repeated_as_long_as_the_stanza_says() {
    let (bench, optimizer) = bench("");
    optimizer.inject(On::any().always(), Fault::status(503));
    let times = [("CHECKS_WAIT", "2s"), ("CHECKS_DELAY", "500ms")];
    let ended = run(&bench, &["run", "--check"], &times);
    ended.assert_code(1).assert_stderr(&[
        "Running checks progressively for up to 2s with a delay of 500ms between iterations",
        "❌ Check 'Opsani API connectivity' failed (0 passed): Response status code: 503",
        "waiting for 0.5 seconds before re-running checks",
        "timed out waiting for checks to pass 2s",
    ]);
    assert!(ended.took >= Duration::from_secs(2), "{ended}");
    assert!((3..=7).contains(&optimizer.events().len()), "{ended}");

    let (bench, optimizer) = self::bench("checks: {wait: 0}\n");
    optimizer.inject(On::any().always(), Fault::status(503));
    bench.run(&["run", "--check"]).assert_code(1);
    assert_eq!(optimizer.events(), ["HELLO"]);
}

#[test]
fn the_optimizer_comes_up_while_it_is_waited_for() {
    let (bench, optimizer) = bench("");
    optimizer.inject(On::any().times(2), Fault::status(503));
    let ended = bench.run(&["check", "-w", "30s", "-d", "100ms"]);
    ended
        .assert_code(0)
        .assert_stdout(&["X FAILED", "√ PASSED"]);
    assert_eq!(optimizer.events().len(), 3);
}

#[test]
fn the_formats_of_servo_check() {
    let (bench, optimizer) = bench("");
    let json = bench.run(&["check", "-o", "json"]).assert_code(0).json();
    assert_eq!(json["servo"], "solo");
    assert_eq!(json["ready"], true);
    let check = &json["checks"][0];
    assert_eq!(check["connector"], "solo");
    assert_eq!(check["id"], "ffd7e219");
    assert_eq!(check["severity"], "common");
    assert_eq!(check["success"], true);
    assert_eq!(check["message"], "Response status code: 200");
    assert_eq!(check["remedy"], false);
    assert!(check["runtime"].is_f64());
    bench
        .run(&["check", "-o", "yaml"])
        .assert_code(0)
        .assert_stdout(&["servo: solo\nready: true\n"]);
    bench.run(&["check", "--verbose"]).assert_code(0).assert_stdout(&[
        "CONNECTOR    CHECK                    ID        TAGS    STATUS    MESSAGE\n",
        "solo         Opsani API connectivity  ffd7e219  -       √ PASSED  Response status code: 200\n",
    ]);
    let ended = bench.run(&["check", "--progressive"]);
    ended.assert_code(0).assert_stderr(&["✅ Check"]);
    assert_eq!(ended.stdout, "", "{ended}");
    optimizer.inject(On::any().always(), Fault::status(500));
    bench
        .run(&["check", "-o", "junit"])
        .assert_code(1)
        .assert_stdout(&[
            "<testsuite name=\"solo\" tests=\"1\" failures=\"1\" errors=\"0\" skipped=\"0\"",
            "<testcase classname=\"solo\" name=\"Opsani API connectivity\"",
            "<failure type=\"common\" message=\"Response status code: 500\">",
            "</testsuites>",
        ]);
    let ended = bench.run(&["check", "--quiet"]);
    assert_eq!(ended.assert_code(1).stdout, "", "{ended}");
}

#[test]
fn which_checks_are_run() {
    let (bench, optimizer) = bench("");
    for (code, arguments, told) in [
        (0, &["check", "servo"] as &[&str], ""),
        (0, &["check", "solo", "-i", "ffd7e219"], ""),
        (0, &["check", "-n", "/API/"], ""),
        (1, &["check", "-n", "API"], "no checks matched the filter"),
        (1, &["check", "-t", "slow"], "no checks matched the filter"),
        (
            1,
            &["check", "wait"],
            "At least one configured connector must respond to the Check event",
        ),
        (
            2,
            &["check", "wat"],
            "no connector found named 'wat' (did you mean 'wait'?)",
        ),
        (2, &["check", "-n", "/[/"], "no regular expression"),
        (2, &["check", "--halt-on", "sometimes"], "sometimes"),
        (0, &["check", "--halt-on-failed", "requirement"], ""),
        (2, &["check", "-w", "soon"], "Invalid duration 'soon'"),
        (2, &["check", "-d", "x"], "expected 'expo' or a duration"),
    ] {
        let before = optimizer.events().len();
        let ended = bench.run(arguments);
        ended.assert_code(code).assert_stderr(&[told]);
        let asked = optimizer.events().len() - before;
        assert_eq!(asked, usize::from(code == 0), "{ended}");
    }
    let (bench, _optimizer) = self::bench("checks: {connectors: [nope]}\n");
    bench
        .run(&["run", "--dry-run"])
        .assert_code(1)
        .assert_stderr(&[
            "A connector named within the checks config was not found in the current Assembly",
            "nope",
        ]);
}

/// Told before anything goes out.
#[test]
fn wrong_stanzas() {
    for (stanza, key) in [
        ("{wait: soon}", "wait"),
        ("{delay: x}", "delay"),
        ("{halt_on: sometimes}", "halt_on"),
        ("{connectors: vegeta}", "connectors"),
        ("{bogus: 1}", "bogus"),
    ] {
        let (bench, optimizer) = bench(&format!("checks: {stanza}\n"));
        let ended = bench.run(&["run", "--check"]);
        ended.assert_code(1).assert_stderr(&["checks", key]);
        assert_eq!(optimizer.events(), Vec::<String>::new());
    }
}

#[test]
fn servos_run_when_their_checks_pass() {
    for (arguments, variables) in [
        (&["run", "--check"] as &[&str], &[] as &[(&str, &str)]),
        (&["run"], &[("SERVO_RUN_CHECK", "yes")]),
        (&["check", "--run"], &[]),
    ] {
        let (bench, optimizer) = bench("");
        let mut command = bench.servo(arguments);
        command.envs(variables.iter().copied());
        let servo = crate::bench::Running::start(command);
        optimizer
            .wait_for(SOON, |received| {
                received.iter().any(|r| r.event == "WHATS_NEXT")
            })
            .unwrap();
        servo.signal(Signal::TERM);
        servo.ended(SOON).assert_code(0);
        assert_eq!(optimizer.events()[..3], ["HELLO", "HELLO", "WHATS_NEXT"]);
    }
}

#[test]
fn all_of_several_must_be_ready() {
    let bench = Bench::new();
    let [left, right] = [(); 2].map(|()| ScriptedOptimizer::start(Script::new()));
    right.inject(On::any().always(), Fault::status(503));
    let checks = "checks: {wait: 0}\n";
    bench.write(
        "servo.yaml",
        &format!(
            "{}---\n{}",
            document("left", &left, checks),
            document("right", &right, checks)
        ),
    );
    let ended = bench.run(&["check"]);
    ended.assert_code(1).assert_stdout(&[
        "left\nCONNECTOR    STATUS    ERRORS\nleft         √ PASSED\n",
        "right\nCONNECTOR    STATUS    ERRORS\nright        X FAILED",
    ]);
    let json = bench.run(&["check", "-o", "json"]).assert_code(1).json();
    assert_eq!(json[0]["ready"], true, "{json}");
    assert_eq!(json[1]["ready"], false, "{json}");
    bench.run(&["check", "left"]).assert_code(0);
    bench.run(&["-n", "left", "check"]).assert_code(0);
    bench.run(&["run", "--check"]).assert_code(1);
    assert!(left.events().iter().all(|event| event == "HELLO"));
}

#[test]
fn signals_end_the_checks() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (bench, optimizer) = bench("");
        optimizer.inject(On::any().always(), Fault::status(503));
        let mut servo = bench.start(&["run", "--check"]);
        servo.until("the first pass", SOON, |_, err| {
            err.contains("before re-running checks").then_some(())
        });
        servo.signal(signal);
        let ended = servo.ended(Duration::from_secs(10));
        ended.assert_code(code);
        assert_eq!(optimizer.events(), ["HELLO"], "{ended}");
    }
}

/// Its check is whether trials can be kept.
#[test]
fn an_embedded_optimizer() {
    let bench = Bench::new();
    let write = |database: &str| {
        let stanza = format!(
            "optimizer: {{embedded: {{id: toys/toy, database: {database}, objective: {{minimize: x}}}}}}\n{WAIT}"
        );
        bench.write("servo.yaml", &stanza);
    };
    write("trials.db");
    bench
        .run(&["check"])
        .assert_code(0)
        .assert_stdout(&["toys/toy     √ PASSED"]);
    assert!(!bench.path("trials.db").exists());
    write("no/such/folder/trials.db");
    bench
        .run(&["check"])
        .assert_code(1)
        .assert_stdout(&["Trial file: ['no/such/folder/trials.db: No such file"]);
}
