//! What checks and the life of connectors look like from outside (`spec/events-and-checks.md` §7), in its order.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use servo_doubles::{
    Fault, On, PrometheusAnswer, PrometheusDouble, ReceivedEvent, Script, ScriptedOptimizer,
};

use crate::bench::{Bench, Ended, Running, SOON};

const ONLY_CONNECTION: &str = "Check 'Opsani API connectivity'";

fn optimizer() -> ScriptedOptimizer {
    ScriptedOptimizer::start(Script::new())
}

fn document(name: &str, optimizer: &ScriptedOptimizer, more: &str) -> String {
    format!(
        "name: {name}\noptimizer: {{id: example.com/{name}, token: t, base_url: \"{}\"}}\n{more}",
        optimizer.base_url()
    )
}

/// A bench with one servo called `solo`, and its optimizer.
fn solo(more: &str) -> (Bench, ScriptedOptimizer) {
    let (bench, optimizer) = (Bench::new(), optimizer());
    bench.write("servo.yaml", &document("solo", &optimizer, more));
    (bench, optimizer)
}

/// The connectors `prom` and `other`, each with a Prometheus of its own.
fn with_prometheus(checks: &str) -> (Bench, ScriptedOptimizer, [PrometheusDouble; 2]) {
    let doubles = [(); 2].map(|()| PrometheusDouble::start());
    let stanza = |name: &str, double: &PrometheusDouble| {
        format!(
            "{name}: {{base_url: \"{}\", metrics: [{{name: {name}_rps, query: up}}]}}\n",
            double.base_url()
        )
    };
    let (bench, optimizer) = solo(&format!(
        "connectors: {{prom: prometheus, other: prometheus}}\n{}{}{checks}",
        stanza("prom", &doubles[0]),
        stanza("other", &doubles[1]),
    ));
    (bench, optimizer, doubles)
}

fn two_targets() -> PrometheusAnswer {
    let target = |port: u16| json!({"scrapeUrl": format!("http://a:{port}/"), "health": "up", "scrapePool": "a", "labels": {}});
    PrometheusAnswer::Data(json!({"activeTargets": [target(1), target(2)], "droppedTargets": []}))
}

fn run_with(bench: &Bench, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = bench.servo(arguments);
    command.envs(variables.iter().copied());
    Running::start(command).ended(SOON)
}

/// The names of the checks that passed or failed, in the order in which the log tells them.
fn told(ended: &Ended) -> Vec<&str> {
    let names = ended.stderr.lines().filter_map(|line| {
        let (_, rest) = line.split_once("Check '")?;
        Some(rest.split_once('\'')?.0)
    });
    names.collect()
}

/// Item 15.
#[test]
fn aliases_are_told_apart_among_the_events() {
    let (bench, _optimizer, _doubles) = with_prometheus("");
    let ended = bench.run(&["show", "events"]);
    ended
        .assert_code(0)
        .assert_stdout(&["Servo", "other (Prometheus)", "prom (Prometheus)"]);
    let all = bench.run(&["show", "events", "--all", "--before"]);
    let rows: Vec<Vec<&str>> = all
        .assert_code(0)
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let before_measure = rows
        .iter()
        .position(|row| row.starts_with(&["before", "measure"]));
    let connectors: Vec<&str> = rows[before_measure.unwrap_or_else(|| panic!("{all}"))..]
        .iter()
        .filter_map(|row| row.last().copied())
        .collect();
    assert!(connectors.contains(&"Kubernetes"), "{all}");
    all.assert_stderr(&["connectors=", "kubernetes", "once they can run"]);
    // Headers aside, every row is of a `before`, or goes on with the connectors of one.
    let no_on = bench.run(&["show", "events", "--all", "--no-on", "--before"]);
    for ended in [&all, &no_on] {
        let lines = ended.assert_code(0).stdout.lines().skip(1);
        for line in lines.filter(|line| !line.is_empty()) {
            let is_of_a_stage = line.starts_with("before ") || line.starts_with("after ");
            assert!(is_of_a_stage || line.starts_with(' '), "{ended}");
        }
    }
}

/// Item 16. What a hanging handler does to it is tested where handlers can be made to hang.
#[test]
fn connectors_shut_down_and_detach_before_goodbye() {
    let component = |name: &str| {
        format!(
            "{name}: {{components: [{{name: {name}, command: [sleep, '600'], settings: []}}]}}\n"
        )
    };
    let (bench, optimizer) = solo(&format!(
        "connectors: {{left: process, right: process}}\n{}{}",
        component("left"),
        component("right")
    ));
    let servo = bench.start(&["run", "-l", "DEBUG"]);
    optimizer
        .wait_for(SOON, |received| {
            received.iter().any(|r| r.event == "WHATS_NEXT")
        })
        .unwrap();
    servo.signal(Signal::TERM);
    let ended = servo.ended(Duration::from_secs(30));
    ended.assert_code(0);
    let at = |connector: &str, what: &str| {
        ended
            .stderr
            .lines()
            .position(|line| line.contains(connector) && line.contains(what))
            .unwrap_or_else(|| panic!("{connector} {what}: {ended}"))
    };
    let last_shutdown = at("left", "shutdown done").max(at("right", "shutdown done"));
    let first_detach = at("left", "detach done").min(at("right", "detach done"));
    assert!(last_shutdown < first_detach, "{ended}");
    assert!(at("left", "detach done").max(at("right", "detach done")) < at("", "Said GOODBYE."));
    let goodbyes: Vec<ReceivedEvent> = optimizer
        .received()
        .into_iter()
        .filter(|r| r.event == "GOODBYE")
        .collect();
    assert_eq!(goodbyes.len(), 1);
    assert_eq!(goodbyes[0].param["reason"], "SIGTERM");
    bench.assert_nothing_left(SOON);
}

/// Item 20.
#[test]
fn several_servos_have_an_optimizer_each() {
    let optimizer = optimizer();
    let one = document("one", &optimizer, "");
    for (second, told) in [
        (
            "name: two\nconnectors: []\n".to_owned(),
            "cannot configure a multi-servo assembly without an optimizer specified in each config",
        ),
        (one.clone(), "document 1 is named \"one\" too"),
        (
            one.replace("name: one", "name: two"),
            "document 1 has the optimizer example.com/one too",
        ),
    ] {
        let bench = Bench::new();
        bench.write("servo.yaml", &format!("{one}---\n{second}"));
        for arguments in [&["run"][..], &["run", "--dry-run"], &["validate"]] {
            bench
                .run(arguments)
                .assert_code(1)
                .assert_stderr(&["document 2", told]);
        }
    }
    assert_eq!(optimizer.events(), Vec::<String>::new());
}

/// Item 38.
#[test]
fn a_dry_run_against_an_optimizer_that_answers() {
    let (bench, optimizer) = solo("");
    let ended = bench.run(&["run", "--dry-run"]);
    ended
        .assert_code(0)
        .assert_stderr(&["✅ Check 'Opsani API connectivity' passed"]);
    let bodies: Vec<_> = optimizer.received().into_iter().map(|r| r.json).collect();
    assert_eq!(
        bodies,
        [json!({"event": "HELLO", "param": null, "servo_uid": null})]
    );
}

/// Item 38.
#[test]
fn a_dry_run_against_an_optimizer_that_is_not_there() {
    let (bench, optimizer) = solo("checks: {wait: 2s, delay: 1s, progressive: false}\n");
    optimizer.inject(On::any().always(), Fault::status(404));
    let ended = bench.run(&["run", "--dry-run"]);
    ended.assert_code(1).assert_stdout(&[
        "solo         X FAILED  (1/1) Opsani API connectivity: ['Response status code: 404']",
    ]);
    ended.assert_stderr(&["timed out waiting for checks to pass 2s"]);
    assert!(ended.took < Duration::from_secs(3), "{ended}");
    let request = &optimizer.received()[0];
    assert_eq!(request.event, "HELLO");
    assert_eq!(
        request.json,
        json!({"event": "HELLO", "param": null, "servo_uid": null})
    );
    let keys: Vec<&String> = request.json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["event", "param", "servo_uid"]);
}

/// Item 39.
#[test]
fn the_forms_of_the_stanza() {
    let (bench, _optimizer) = solo("checks: {verbose: true, progressive: false}\n");
    let ended = bench.run(&["run", "-d"]);
    let mut lines = ended.assert_code(0).stdout.lines();
    let header: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(
        header,
        ["CONNECTOR", "CHECK", "ID", "TAGS", "STATUS", "MESSAGE"]
    );
    assert!(lines.next().unwrap().contains("ffd7e219"), "{ended}");

    let (bench, _optimizer) = solo("checks: {quiet: true, progressive: false}\n");
    assert_eq!(bench.run(&["run", "-d"]).assert_code(0).stdout, "");

    // What has passed is told once, however often it is run.
    let (bench, _optimizer, [prom, other]) = with_prometheus("checks: {wait: 2s, delay: 500ms}\n");
    prom.answer_targets(two_targets());
    other.answer_targets(PrometheusAnswer::Http(500, "no".to_owned()));
    let ended = bench.run(&["run", "-d"]);
    assert_eq!(ended.assert_code(1).stdout, "", "{ended}");
    assert_eq!(
        ended.stderr.matches("✅ Check 'Active targets'").count(),
        1,
        "{ended}"
    );
    assert_eq!(
        ended
            .stderr
            .matches(&format!("✅ {ONLY_CONNECTION}"))
            .count(),
        1,
        "{ended}"
    );
    assert!(ended.stderr.contains("❌ Check 'Connect to "), "{ended}");
    assert!(
        ended.stderr.matches("before re-running").count() >= 2,
        "{ended}"
    );
}

/// Item 40.
#[test]
fn a_warning_stands_in_nobodys_way() {
    let (bench, _optimizer) = solo(
        "checks: {verbose: true, progressive: false}
connectors: [process]
process:
  components:
    - name: app
      command: [/bin/sh, -c, 'sleep 600']
      settings: [{name: size, type: range, min: 1, max: 8, step: 1, value: 4, env: my.size}]
",
    );
    let ended = bench.run(&["run", "--dry-run"]);
    ended.assert_code(0).assert_stdout(&["! WARNING"]);
    assert!(!ended.stdout.contains("X FAILED"), "{ended}");
}

/// Item 41.
#[test]
fn connectors_that_are_named() {
    for (connectors, code) in [("[prom]", 0), ("[nosuch]", 1), ("[prom, nosuch]", 1)] {
        let (bench, optimizer, [prom, other]) =
            with_prometheus(&format!("checks: {{connectors: {connectors}}}\n"));
        prom.answer_targets(two_targets());
        other.answer_targets(PrometheusAnswer::Http(500, "no".to_owned()));
        let ended = bench.run(&["run", "--dry-run"]);
        ended.assert_code(code);
        assert_eq!(optimizer.events(), Vec::<String>::new(), "{ended}");
        assert!(other.received().is_empty(), "{ended}");
        assert_eq!(prom.received().is_empty(), code != 0, "{ended}");
        if code != 0 {
            ended.assert_stderr(&[
                "A connector named within the checks config was not found in the current Assembly",
            ]);
        }
    }
}

/// Item 42.
#[test]
fn mistakes_of_the_stanza_are_told_before_anything_goes_out() {
    for (stanza, key, value) in [
        ("{id: [\"/[/\"]}", "id", "/[/"),
        ("{name: [a, \"/(/\"]}", "name", "/(/"),
        ("{delay: bogus}", "delay", "bogus"),
        ("{wait: xyz}", "wait", "xyz"),
        ("{halt_on: sometimes}", "halt_on", "sometimes"),
        ("{bogus: 1}", "bogus", "bogus"),
        ("{tag: [\"\"]}", "tag", "empty"),
    ] {
        let (bench, optimizer) = solo(&format!("checks: {stanza}\n"));
        let ended = bench.run(&["run", "--check"]);
        ended.assert_code(1).assert_stderr(&["checks", key, value]);
        assert_eq!(optimizer.events(), Vec::<String>::new(), "{ended}");
        bench.run(&["validate"]).assert_code(1);
    }
}

#[test]
fn what_halts_has_old_and_new_words() {
    for (word, goes_on) in [
        ("never", true),
        ("null", true),
        ("critical", false),
        ("requirement", false),
        ("common", false),
        ("check", false),
        ("warning", false),
    ] {
        let (bench, _optimizer, [prom, other]) = with_prometheus(&format!(
            "checks: {{halt_on: {word}, wait: 0, progressive: false, verbose: true, connectors: [prom]}}\n"
        ));
        prom.answer_targets(PrometheusAnswer::Http(500, "no".to_owned()));
        drop(other);
        let ended = bench.run(&["run", "--dry-run"]);
        ended.assert_code(1);
        let query = ended
            .stdout
            .lines()
            .find(|line| line.contains("check_queries_item_0"))
            .unwrap_or_else(|| panic!("{word}: {ended}"));
        assert_eq!(!query.contains("SKIPPED"), goes_on, "{word}: {ended}");
    }
    // Failures that are not critical stop at a word for common ones.
    for (word, goes_on) in [("requirement", true), ("check", false)] {
        let (bench, _optimizer, [prom, other]) = with_prometheus(&format!(
            "checks: {{halt_on: {word}, wait: 0, progressive: false, verbose: true, connectors: [prom]}}\n"
        ));
        prom.answer_targets(PrometheusAnswer::Data(
            json!({"activeTargets": [], "droppedTargets": []}),
        ));
        drop(other);
        let ended = bench.run(&["run", "--dry-run"]);
        ended.assert_code(1);
        let query = ended
            .stdout
            .lines()
            .find(|line| line.contains("check_queries_item_0"))
            .unwrap_or_else(|| panic!("{word}: {ended}"));
        assert_eq!(!query.contains("SKIPPED"), goes_on, "{word}: {ended}");
    }
}

/// Item 43.
#[test]
fn filters_of_the_stanza() {
    for (filter, code, expected) in [
        (
            "id: [\"check_targets, check_base_url\"]",
            0,
            &["Connect to", "Active targets"] as &[&str],
        ),
        ("name: [\"Active targets,Run\"]", 1, &[]),
        (
            "name: [\"/^Active/\"]",
            0,
            &["Connect to", "Active targets"],
        ),
        ("tag: [nothing]", 1, &[]),
    ] {
        let (bench, _optimizer, [prom, other]) =
            with_prometheus(&format!("checks: {{{filter}, connectors: [prom]}}\n"));
        prom.answer_targets(two_targets());
        drop(other);
        let ended = bench.run(&["run", "--dry-run"]);
        ended.assert_code(code);
        let names = told(&ended);
        assert_eq!(names.len(), expected.len(), "{ended}");
        for (name, begin) in names.iter().zip(expected) {
            assert!(name.starts_with(begin), "{ended}");
        }
        if code != 0 {
            ended.assert_stderr(&["no checks matched the filter"]);
        }
    }
}

/// Item 44.
#[test]
fn pauses_grow_and_end_in_time() {
    let (bench, optimizer) = solo("checks: {delay: expo, wait: 3s}\n");
    optimizer.inject(On::any().always(), Fault::status(503));
    let ended = bench.run(&["run", "--dry-run"]);
    ended.assert_code(1).assert_stderr(&[
        "for up to 3s with a delay of expo between iterations",
        "timed out waiting for checks to pass 3s",
    ]);
    assert!(ended.took < Duration::from_secs(4), "{ended}");
    assert_eq!(
        optimizer.events().len(),
        2,
        "at once and at the end: {ended}"
    );

    let (bench, optimizer) = solo("checks: {delay: expo}\n");
    optimizer.inject(On::any().always(), Fault::status(503));
    let mut servo = bench.start(&["run", "--dry-run"]);
    servo.until("two pauses", SOON, |_, err| {
        let first = err.find("waiting for 8 seconds before re-running checks")?;
        err[first..]
            .contains("waiting for 16 seconds")
            .then_some(())
    });
    servo.signal(Signal::TERM);
    servo.ended(Duration::from_secs(5)).assert_code(143);
}

/// Item 46.
#[test]
fn variables_fill_what_the_file_leaves_open() {
    let (bench, optimizer) = solo("");
    let table = [("CHECKS_PROGRESSIVE", "false")];
    run_with(&bench, &table, &["run", "-d"])
        .assert_code(0)
        .assert_stdout(&["CONNECTOR    STATUS    ERRORS"]);
    for value in ["[\"x\"]", "x"] {
        run_with(&bench, &[("CHECKS_NAME", value)], &["run", "-d"])
            .assert_code(1)
            .assert_stderr(&["no checks matched the filter"]);
    }
    let before = optimizer.events().len();
    assert_eq!(before, 1);
    let (bench, _optimizer) =
        solo("checks: {progressive: true, name: [Opsani API connectivity]}\n");
    let ended = run_with(
        &bench,
        &[("CHECKS_PROGRESSIVE", "false"), ("CHECKS_NAME", "x")],
        &["run", "-d"],
    );
    assert_eq!(ended.assert_code(0).stdout, "", "the file wins: {ended}");
}

/// Item 47.
#[test]
fn a_dry_run_of_several() {
    let (bench, left, right) = (Bench::new(), optimizer(), optimizer());
    let checks = "checks: {wait: 0, progressive: false}\n";
    let text = format!(
        "{}---\n{}",
        document("left", &left, checks),
        document("right", &right, checks)
    );
    bench.write("servo.yaml", &text);
    left.inject(On::any().always(), Fault::status(503));
    let ended = bench.run(&["run", "--dry-run"]);
    ended
        .assert_code(1)
        .assert_stdout(&["left         X FAILED", "right        √ PASSED"]);
    let asked = left.events().len();
    let ended = bench.run(&["-n", "right", "run", "--dry-run"]);
    ended
        .assert_code(0)
        .assert_stdout(&["right        √ PASSED"]);
    assert_eq!(left.events().len(), asked, "{ended}");
    left.heal();
    bench.run(&["run", "--dry-run"]).assert_code(0);
}

/// Item 48.
#[test]
fn a_servo_that_was_replaced_waits_for_its_end() {
    let bench = Bench::new();
    let optimizer = ScriptedOptimizer::start(Script::new().expects_servo_uid("new"));
    let text = document("solo", &optimizer, "servo_uid: old\n");
    bench.write("servo.yaml", &text);
    let ended = bench.run(&["run", "--dry-run"]);
    ended.assert_code(1).assert_stderr(&[
        "servo UID old is no longer valid",
        "Response status code: 410",
    ]);
    assert!(ended.took < Duration::from_secs(10), "{ended}");
    assert_eq!(optimizer.events(), ["HELLO"]);

    let mut servo = bench.start(&["run", "--check"]);
    servo.until("the wait", SOON, |_, err| {
        err.contains(
            "servo UID old is no longer valid. Waiting for deprovisioning (will sleep for 1 hour)",
        )
        .then_some(())
    });
    servo.signal(Signal::TERM);
    servo.ended(Duration::from_secs(5)).assert_code(143);
    assert_eq!(optimizer.events(), ["HELLO", "HELLO"]);
}

/// §6.12: the limits of checks and remedies are keys of the stanza.
#[test]
fn a_check_has_as_long_as_the_stanza_says() {
    let (bench, _optimizer, [prom, other]) = with_prometheus(
        "checks: {timeout: 1s, wait: 0, progressive: false, verbose: true, connectors: [prom], id: [check_targets]}\n",
    );
    prom.answer_targets(PrometheusAnswer::Stall);
    drop(other);
    let ended = bench.run(&["run", "--dry-run"]);
    ended.assert_code(1);
    let row = ended.stdout.lines().find(|l| l.contains("check_base_url"));
    let row = row.unwrap_or_else(|| panic!("{ended}"));
    assert!(
        row.contains("X FAILED") && row.contains("timed out after 1s"),
        "{ended}"
    );
    assert!(ended.took < Duration::from_secs(10), "{ended}");

    for (stanza, key) in [
        ("{timeout: 0}", "timeout"),
        ("{remedy_timeout: 0}", "remedy_timeout"),
        ("{timeout: soon}", "timeout"),
    ] {
        let (bench, optimizer) = solo(&format!("checks: {stanza}\n"));
        let ended = bench.run(&["run", "--check"]);
        ended.assert_code(1).assert_stderr(&["checks", key]);
        assert_eq!(optimizer.events(), Vec::<String>::new(), "{ended}");
    }
    // ServoX knows none of these keys.
    let generated = Bench::new()
        .run(&["generate", "--defaults", "--file", "-"])
        .stdout;
    assert!(!generated.contains("remedy_timeout"), "{generated}");
    let (bench, _optimizer) = solo("");
    run_with(&bench, &[("CHECKS_TIMEOUT", "20s")], &["run", "-d"]).assert_code(0);
    run_with(&bench, &[("CHECKS_TIMEOUT", "0")], &["run", "-d"]).assert_code(1);
}
