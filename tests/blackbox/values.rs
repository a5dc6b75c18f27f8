//! How single values are read and shown: durations, ranges, lists, keys (`spec/config-and-cli.md`
//! §2.1, §6.1, §6.4, §11.49-52, §11.56).

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use servo_doubles::{Script, ScriptedOptimizer};

use crate::bench::{Bench, Ended, SOON};

const OPTIMIZER: &str = "optimizer: {id: example.com/app, token: t}\n";

fn run(stanzas: &str, arguments: &[&str]) -> Ended {
    let bench = Bench::new();
    bench.write("servo.yaml", &format!("{OPTIMIZER}{stanzas}"));
    bench.run(arguments)
}

#[test]
fn durations_are_shown_in_their_usual_form() {
    for (written, shown) in [
        ("60s", "1m"),
        ("3h30m", "3h30m"),
        ("10.5s4m", "4m10.5s"),
        ("100.00100s", "1m40.001s"),
        (".5s", "500ms"),
        ("365d", "1y"),
        ("10w", "2mm10d"),
        ("1y4w1h", "1y28d1h"),
        ("2y4mm3d8h24m", "2y4mm3d8h24m"),
        ("52763797000ms", "1y8mm5d16h36m37s"),
        ("1500us", "1ms500us"),
        ("1500µs", "1ms500us"),
        ("1500μs", "1ms500us"),
        ("5.5", "5.5s"),
        ("5s 10m", "10m5s"),
        ("3", "3s"),
        ("73729440", "2y4mm3d8h24m"),
        ("1h0.000001s", "1h0.000001s"),
    ] {
        let vegeta = format!("vegeta: {{rate: 1, target: GET http://a/, duration: {written}}}\n");
        let ended = run(&vegeta, &["config", "-f", "json"]);
        ended.assert_code(0);
        let read = ended.json()["vegeta"]["duration"].clone();
        assert_eq!(read, shown, "{written}");
        // What is shown can be written.
        let vegeta = format!("vegeta: {{rate: 1, target: GET http://a/, duration: {shown}}}\n");
        let again = run(&vegeta, &["config", "-f", "json"]);
        assert_eq!(again.json()["vegeta"]["duration"], shown);
    }
}

#[test]
fn what_is_no_duration_is_refused_with_its_key() {
    for wrong in [
        "1h30",
        "hello5s",
        "5m-3s",
        "''",
        "'3'",
        "5S",
        "'-'",
        "s",
        ".",
        "5 s",
        "invalid",
        "5sx",
        "1.2.3s",
        "-5s",
        "true",
        "99999999999999999999y",
        "1e999",
        ".nan",
        ".inf",
        "[5s]",
    ] {
        for (stanza, key) in [
            (
                format!("vegeta: {{rate: 1, target: GET http://a/, timeout: {wrong}}}\n"),
                "vegeta -> timeout",
            ),
            (format!("checks: {{wait: {wrong}}}\n"), "checks -> wait"),
            (
                format!("settings: {{timeouts: {{read: {wrong}}}}}\n"),
                "settings -> timeouts -> read",
            ),
        ] {
            run(&stanza, &["validate"])
                .assert_code(1)
                .assert_stderr(&["1 problem\n", key]);
        }
    }
}

/// The component `app` of the connector `process`, with one setting.
fn process(setting: &str) -> String {
    format!(
        "process:\n  components:\n    app:\n      command: [sleep, '60']\n      settle: 100ms\n      \
         settings: [{setting}]\n"
    )
}

#[test]
fn odd_ranges_are_warnings_that_name_their_key() {
    let odd = process("{name: invalid, min: 3.0, max: 11.0, step: 3.0, value: 3.0}");
    let sentence = "RangeSetting('invalid' 3.0-11.0, 3.0) min/max difference is not step aligned: 8.0 is not a multiple of 3.0 (consider min 5.0 or 2.0, max 9.0 or 12.0).";
    let key = "process -> components -> app -> settings";
    run(&odd, &["validate"])
        .assert_code(0)
        .assert_stderr(&[sentence, key]);
    run(&odd, &["validate", "--strict"])
        .assert_code(1)
        .assert_stderr(&[sentence, key]);
    let kubernetes = |cpu: &str, variable: &str| {
        format!(
            "kubernetes:\n  namespace: n\n  deployments:\n    - name: app\n      strategy: canary\n      \
             replicas: {{min: 1, max: 2}}\n      containers:\n        - name: main\n          \
             cpu: {{{cpu}}}\n          memory: {{min: 256Mi, max: 4Gi, step: 128Mi}}\n          \
             env: [{{name: V, type: range, {variable}, value: 2}}]\n"
        )
    };
    let fine = ("min: 1, max: 4, step: 1", "min: 1, max: 9, step: 1");
    run(&kubernetes(fine.0, fine.1), &["validate", "--strict"]).assert_code(0);
    for (cpu, variable, said) in [
        (
            "min: 4, max: 1, step: 1",
            fine.1,
            &["-> cpu", "min cannot be greater than max (4 > 1)"],
        ),
        (
            "min: 1, max: 4, step: 0",
            fine.1,
            &["-> cpu", "step cannot be zero"],
        ),
        (
            fine.0,
            "min: 9, max: 1, step: 1",
            &["-> env -> 0", "min cannot be greater than max (9 > 1)"],
        ),
        (
            fine.0,
            "min: 1, max: 9, step: 0",
            &["-> env -> 0", "step cannot be zero"],
        ),
        (fine.0, "min: 1, max: 9, step: -1", &["-> env -> 0", "step"]),
    ] {
        let file = kubernetes(cpu, variable);
        run(&file, &["validate"])
            .assert_code(0)
            .assert_stderr(&["warning: "])
            .assert_stderr(said);
        run(&file, &["validate", "--strict"])
            .assert_code(1)
            .assert_stderr(said);
    }
    let aligned = process("{name: a, min: 1.0, max: 2.0, step: 0.1, value: 1.0}");
    let ended = run(&aligned, &["validate", "--strict"]);
    ended.assert_code(0);
    assert_eq!(ended.stderr, "");
}

#[test]
fn a_pinned_setting_stays() {
    let pinned = process("{name: n, min: 1, max: 8, step: 1, value: 2, pinned: true}");
    run(&pinned, &["adjust", "app.n=3"]).assert_code(1).assert_stderr(&[
        "value of pinned settings cannot be changed: assigned value 3 is not equal to existing value 2",
    ]);
    run(&pinned, &["adjust", "app.n=2.0"])
        .assert_code(0)
        .assert_stdout(&["app.n=2"]);
}

#[test]
fn a_list_of_numbers_has_numbers_for_the_optimizer() {
    let optimizer = ScriptedOptimizer::start(
        Script::new()
            .describe("d1")
            .adjust("a1", "app", "n", json!(2))
            .adjust("a2", "app", "n", json!(2.0))
            .adjust("a3", "app", "n", json!("2"))
            .describe("d2"),
    );
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &format!(
            "optimizer: {{id: example.com/app, token: t, base_url: '{}'}}\n{}",
            optimizer.base_url(),
            process("{name: n, values: [1, 2], value: 1}")
        ),
    );
    let servo = bench.start(&["run"]);
    let completion = |uid: &str| {
        optimizer
            .find(SOON, |received| {
                let done = |r: &&servo_doubles::ReceivedEvent| {
                    r.param["cmd_uid"] == uid && r.param.get("status").is_some()
                };
                received.iter().find(done).map(|r| r.param.clone())
            })
            .unwrap()
    };
    let setting =
        |of: &serde_json::Value| of["application"]["components"]["app"]["settings"]["n"].clone();
    let before = setting(&completion("d1")["descriptor"]);
    assert_eq!(before["values"], json!([1, 2]));
    assert_eq!(before["value"], json!(1));
    for uid in ["a1", "a2", "a3"] {
        let adjusted = completion(uid);
        assert_eq!(adjusted["status"], "ok", "{adjusted}");
        assert_eq!(
            setting(&adjusted["state"])["value"].as_f64(),
            Some(2.0),
            "{adjusted}"
        );
    }
    assert_eq!(
        setting(&completion("d2")["descriptor"])["value"].as_f64(),
        Some(2.0)
    );
    servo.signal(Signal::TERM);
    servo.ended(Duration::from_secs(20)).assert_code(0);
    bench.assert_nothing_left(SOON);
}

#[test]
fn keys_of_files() {
    run(
        "wait: {measure_enabled: true}\nwait: {measure_enabled: true}\n",
        &["validate"],
    )
    .assert_code(1)
    .assert_stderr(&[
        "duplicate key \"wait\"",
        "line 2, column 1",
        "line 3, column 1",
    ]);
    for fine in [
        "x-base: &b {measure_enabled: true}\nwait: {<<: *b}\n",
        "x-base: &b {measure_enabled: true}\nwait: *b\n",
        "scripts: {on: {measure: [\"true\"]}}\n",
        "wait: {measure_enabled: on}\n",
    ] {
        run(fine, &["validate"]).assert_code(0);
    }
}
