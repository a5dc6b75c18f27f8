//! `describe`, `measure` and `adjust`: on live connectors, once, with nothing left behind.

use std::time::Duration;

use rustix::process::Signal;
use servo_doubles::{PrometheusAnswer, PrometheusDouble};

use crate::{
    bench::{Bench, SOON},
    toy::Toy,
};

/// A bench with the toy and no optimizer at all: none of these commands needs one.
fn bench() -> (Bench, Toy) {
    let (bench, toy) = (Bench::new(), Toy::new());
    bench.write("servo.yaml", &toy.connectors());
    (bench, toy)
}

#[test]
fn describe() {
    let (bench, _) = bench();
    let ended = bench.run(&["describe"]);
    ended.assert_code(0).assert_stdout(&[
        "CONNECTOR",
        "COMPONENTS",
        "METRICS",
        "process",
        "toy.rounds=4",
        "toy.codec=dense",
        "cpu_cores",
        "vegeta",
        "throughput",
        "latency_99th",
    ]);
    bench.assert_nothing_left(Duration::from_secs(1));
    let json = bench.run(&["describe", "-o", "json", "process"]);
    let settings = &json.assert_code(0).json()["application"]["components"]["toy"]["settings"];
    assert_eq!(settings["rounds"]["value"], 4, "{json}");
    assert_eq!(settings["rounds"]["max"], 8, "{json}");
    assert_eq!(
        settings["codec"]["values"],
        serde_json::json!(["plain", "dense"]),
        "{json}"
    );
    bench
        .run(&["describe", "nope"])
        .assert_code(2)
        .assert_stderr(&["no connector found named 'nope'", "process", "vegeta"]);
    bench.assert_nothing_left(Duration::from_secs(1));
}

#[test]
fn measure() {
    let (bench, _) = bench();
    let ended = bench.run(&["measure", "-d", "500ms"]);
    ended.assert_code(0).assert_stdout(&[
        "METRIC",
        "UNIT",
        "READINGS",
        "latency_99th",
        "throughput",
        "rss",
    ]);
    bench.assert_nothing_left(Duration::from_secs(1));
    let one = bench.run(&["measure", "-d", "300ms", "throughput"]);
    one.assert_code(0).assert_stdout(&["throughput"]);
    assert!(!one.stdout.contains("latency_99th"), "{one}");
    let json = bench.run(&["measure", "-d", "300ms", "-c", "vegeta", "-o", "json"]);
    let metrics = &json.assert_code(0).json()["metrics"];
    assert!(metrics["latency_99th"].is_object(), "{json}");
    assert!(metrics["rss"].is_null(), "{json}");
    // `-c` before the command is the file, after it the connector.
    std::fs::rename(bench.path("servo.yaml"), bench.path("toy.yaml")).unwrap();
    let more = ["-d", "300ms", "-c", "vegeta"];
    for file in [
        ["-c", "toy.yaml", "measure"],
        ["measure", "--config-file", "toy.yaml"],
    ] {
        let ended = bench.run(&[&file[..], &more[..]].concat());
        ended.assert_code(0).assert_stdout(&["latency_99th"]);
        assert!(!ended.stdout.contains("rss"), "{ended}");
    }
    std::fs::rename(bench.path("toy.yaml"), bench.path("servo.yaml")).unwrap();
    bench
        .run(&["measure", "nope"])
        .assert_code(2)
        .assert_stderr(&["no metric found named 'nope'", "latency_99th"]);
    bench.assert_nothing_left(Duration::from_secs(1));
}

#[test]
fn adjust() {
    let (bench, _) = bench();
    let ended = bench.run(&["adjust", "toy.rounds=2", "toy.codec=plain"]);
    ended.assert_code(0).assert_stdout(&[
        "CONNECTOR",
        "SETTINGS",
        "toy.rounds=2",
        "toy.codec=plain",
    ]);
    bench.assert_nothing_left(Duration::from_secs(1));
}

/// Each names what is wrong and what would be right; nothing is started for long, nothing is changed.
#[test]
fn adjustments_that_nobody_takes() {
    let (bench, _) = bench();
    for (code, adjustment, parts) in [
        (2, "toy=3", &["component.setting=value"] as &[&str]),
        (
            1,
            "toy.speed=3",
            &["toy", "no setting 'speed'", "rounds, codec"],
        ),
        (
            1,
            "tory.rounds=3",
            &["no component found named 'tory'", "did you mean 'toy'?"],
        ),
        (1, "toy.rounds=9", &["rounds", "9", "8"]),
        (1, "toy.rounds=0", &["rounds", "0", "1"]),
        (1, "toy.rounds=NaN", &["rounds", "NaN"]),
        (1, "toy.rounds=many", &["rounds", "many"]),
        (
            1,
            "toy.codec=missing",
            &["codec", "missing", "plain", "dense"],
        ),
    ] {
        let ended = bench.run(&["adjust", adjustment]);
        ended.assert_code(code).assert_stderr(parts);
        assert_eq!(ended.stdout, "", "{ended}");
        bench.assert_nothing_left(Duration::from_secs(1));
    }
    bench.write("servo.yaml", "wait: {measure_enabled: true}");
    bench
        .run(&["adjust", "toy.rounds=3"])
        .assert_code(1)
        .assert_stderr(&["adjustment failed: no connector handled the request"]);
    bench
        .run(&["adjust", "setting=value"])
        .assert_code(2)
        .assert_stderr(&[
            "unable to parse setting descriptor 'setting=value': expected format is `component.setting=value`",
        ]);
    bench.run(&["adjust"]).assert_code(2);
    bench
        .run(&["promote"])
        .assert_code(1)
        .assert_stderr(&["no connector handled the request"]);
}

#[test]
fn ctrl_c_during_a_measurement() {
    for signal in [Signal::INT, Signal::TERM] {
        let (bench, toy) = bench();
        let servo = bench.start(&["measure", "-d", "10m"]);
        toy.wait_for_load(3);
        servo.signal(signal);
        let ended = servo.ended(Duration::from_secs(10));
        ended.assert_code(128 + signal.as_raw());
        assert_eq!(ended.stdout, "", "{ended}");
        bench.assert_nothing_left(Duration::from_secs(1));
    }
}

#[test]
fn killed_during_a_measurement() {
    let (bench, toy) = bench();
    let servo = bench.start(&["measure", "-d", "10m"]);
    toy.wait_for_load(3);
    servo.signal(Signal::KILL);
    assert_eq!(servo.ended(SOON).code, None);
    bench.assert_nothing_left(Duration::from_secs(10));
}

/// `servo describe | head -1`
#[test]
fn a_reader_that_goes_away() {
    let (bench, _) = bench();
    let servo = env!("CARGO_BIN_EXE_servo");
    let mut command = bench.command("/bin/sh");
    command.args(["-c", &format!("'{servo}' describe | true")]);
    let ended = crate::bench::Running::start(command).ended(SOON);
    ended.assert_code(0);
    assert_eq!(ended.stderr, "", "{ended}");
    bench.assert_nothing_left(SOON);
}

#[test]
fn several_servos_one_after_the_other() {
    let bench = Bench::new();
    let document = |name: &str| {
        format!(
            "name: {name}\noptimizer: {{id: example.com/{name}, token: t}}\n{}",
            Toy::new().connectors()
        )
    };
    bench.write(
        "servo.yaml",
        &format!("{}---\n{}", document("left"), document("right")),
    );
    let ended = bench.run(&["measure", "-d", "300ms", "throughput"]);
    ended
        .assert_code(0)
        .assert_stdout(&["left\nMETRIC", "right\nMETRIC"]);
    let ended = bench.run(&["-n", "right", "measure", "-d", "300ms", "throughput"]);
    // The heading stays, for the file has several.
    assert!(
        ended.assert_code(0).stdout.starts_with("right\nMETRIC"),
        "{ended}"
    );
    assert!(!ended.stdout.contains("left"), "{ended}");
    let ended = bench.run(&["measure", "-d", "300ms", "throughput", "-o", "json"]);
    let all = ended.assert_code(0).json();
    assert_eq!(all[0]["servo"], "left", "{ended}");
    assert_eq!(all[1]["servo"], "right", "{ended}");
    assert!(all[1]["metrics"]["throughput"].is_object(), "{ended}");
    bench.assert_nothing_left(Duration::from_secs(1));
}

#[test]
fn ctrl_c_while_an_adjustment_waits_for_the_application() {
    let bench = Bench::new();
    // Never ready, and deaf to SIGTERM.
    let command = r#"[sh, -c, "trap '' TERM; echo here; sleep 1000; sleep 1000"]"#;
    let stanzas = Toy::new().stanzas("connectors: [process]", command);
    let (process, _) = stanzas.split_once("vegeta:").unwrap();
    bench.write("servo.yaml", process);
    let mut servo = bench.start(&["-l", "info", "adjust", "toy.rounds=2"]);
    servo.until("the start of the child", SOON, |_, err| {
        err.contains("here").then_some(())
    });
    servo.signal(Signal::INT);
    servo.ended(Duration::from_secs(10)).assert_code(130);
    bench.assert_nothing_left(Duration::from_secs(1));
}

#[test]
fn readings_with_ages_times_and_sources() {
    let prometheus = PrometheusDouble::start();
    prometheus.answer("scalar", PrometheusAnswer::Constant(31337.0));
    let bench = Bench::new();
    let stanza = |name: &str, metric: &str| {
        format!(
            "{name}:\n  base_url: {}\n  metrics: [{{name: {metric}, query: scalar, unit: rpm}}]\n",
            prometheus.base_url()
        )
    };
    bench.write(
        "servo.yaml",
        &format!(
            "connectors: {{one: prometheus, two: prometheus, pause: wait}}\n{}{}pause: {{measure_enabled: true}}\n",
            stanza("one", "load"),
            stanza("two", "heat"),
        ),
    );
    let ended = bench.run(&["measure"]);
    ended
        .assert_code(0)
        .assert_stdout(&["31337.00 (just now)", "rpm", "heat", "load"]);
    let ended = bench.run(&["measure", "--no-humanize", "load"]);
    ended.assert_code(0).assert_stdout(&["31337.00 (20"]);
    assert!(!ended.stdout.contains("heat"), "{ended}");
    for names in [&["-c", "one,two"] as &[&str], &["-c", "one", "-c", "two"]] {
        let ended = bench.run(&[&["measure"], names].concat());
        ended
            .assert_code(0)
            .assert_stdout(&["(just now) [one{", "(just now) [two{"]);
    }
    bench
        .run(&["measure", "-v", "load"])
        .assert_code(0)
        .assert_stdout(&["CONNECTOR", "ANNOTATION", "METADATA", "one"]);
    // Only who has the metric is asked.
    let before = prometheus.received().len();
    bench.run(&["measure", "-c", "two", "heat"]).assert_code(0);
    assert_eq!(prometheus.received().len(), before + 1);
    for (arguments, text) in [
        (
            &["measure", "-d", "5x"] as &[&str],
            "invalid duration parameter: Unknown unit 'x' in duration '5x'",
        ),
        (&["measure", "-d", "-5s"], "invalid duration parameter"),
        (
            &["measure", "lod"],
            "no metric found named 'lod' (did you mean 'load'?)",
        ),
        (
            &["measure", "-c", "nope"],
            "no connector found named 'nope'",
        ),
        (&["describe", "nope"], "no connector found named 'nope'"),
    ] {
        let ended = bench.run(arguments);
        ended.assert_code(2).assert_stderr(&[text]);
        assert_eq!(ended.stdout, "", "{ended}");
    }
    bench
        .run(&["describe", "one"])
        .assert_code(0)
        .assert_stdout(&["one", "load (rpm)"]);
}

#[test]
fn adjustments_that_are_only_looked_at_or_forced() {
    let (bench, toy) = bench();
    let ended = bench.run(&["adjust", "--dry-run", "toy.rounds=2"]);
    ended
        .assert_code(0)
        .assert_stdout(&["SETTING", "PRESENT", "WANTED", "toy.rounds"]);
    let json = bench.run(&["adjust", "--dry-run", "-o", "json", "toy.rounds=2"]);
    let changes = &json.assert_code(0).json()["adjustments"];
    assert_eq!(changes[0]["present"], 4, "{json}");
    assert_eq!(changes[0]["wanted"], 2, "{json}");
    bench
        .run(&["adjust", "--timeout", "soon", "toy.rounds=2"])
        .assert_code(2)
        .assert_stderr(&["invalid timeout parameter"]);
    // Past the checks it is the connector who refuses, and says how it ended.
    bench
        .run(&["adjust", "--force", "toy.rounds=99"])
        .assert_code(1)
        .assert_stderr(&["process rejected", "99"]);
    assert_eq!(toy.get("/count"), None);
    bench.assert_nothing_left(SOON);
}

/// Each takes what is its own.
#[test]
fn adjusting_one_of_several() {
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &format!(
            "name: left\noptimizer: {{id: example.com/left, token: t}}\n{SETTINGS}---\n\
             name: right\noptimizer: {{id: example.com/right, token: t}}\n{}",
            SETTINGS.replace("main", "other")
        ),
    );
    let ended = bench.run(&["adjust", "other.level=2"]);
    ended
        .assert_code(0)
        .assert_stdout(&["right\nCONNECTOR", "other.level=2"]);
    assert!(!ended.stdout.contains("left"), "{ended}");
    for words in [
        &["adjust", "nobody.level=2"] as &[&str],
        &["-n", "left", "adjust", "other.level=2"],
    ] {
        let ended = bench.run(words);
        ended
            .assert_code(1)
            .assert_stderr(&["no component found named", "main"]);
        assert_eq!(ended.stdout, "", "{ended}");
    }
    bench.assert_nothing_left(SOON);
}

/// The one that cannot does not keep the other from it.
#[test]
fn a_servo_that_cannot_run_beside_one_that_can() {
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &format!(
            "name: left\noptimizer: {{id: example.com/left, token: t}}\n{}\n---\n\
             name: right\noptimizer: {{id: example.com/right, token: t}}\nscripts: {{on: {{measure: [\"true\"]}}}}\n",
            Toy::new().connectors()
        ),
    );
    let ended = bench.run(&["measure", "-d", "300ms", "throughput"]);
    ended
        .assert_code(1)
        .assert_stdout(&["left\nMETRIC", "throughput"])
        .assert_stderr(&["servo \"right\": connector \"scripts\" of type scripts cannot run"]);
    let ended = bench.run(&["-n", "right", "describe"]);
    ended
        .assert_code(1)
        .assert_stderr(&["connector \"scripts\""]);
    assert!(ended.took < Duration::from_secs(5), "{ended}");
    assert_eq!(ended.stdout, "", "{ended}");
}

#[test]
fn sidecars() {
    let bench = Bench::new();
    for (code, arguments, text) in [
        (
            2,
            &["inject-sidecar", "web", "-i", "envoy", "-p", "80"] as &[&str],
            "target must prefixed with Kubernetes object kind of \"deployment\", \"rollout\" or \"pod\"",
        ),
        (
            2,
            &["inject-sidecar", "deploy/web", "-i", "envoy"],
            "service or port must be given",
        ),
        (2, &["inject-sidecar", "deploy/web", "-p", "80"], "--image"),
        (
            2,
            &["inject-sidecar", "rollout/web", "-i", "envoy", "-s", "web"],
            "Rollout sidecar injection is not yet implemented",
        ),
        (
            2,
            &["inject-sidecar", "pod/web", "-i", "envoy", "-s", "web"],
            "Pod sidecar injection is not yet implemented",
        ),
        (
            1,
            &[
                "inject-sidecar",
                "deployment/web",
                "-i",
                "envoy",
                "-s",
                "web",
            ],
            "no Kubernetes client",
        ),
        (
            2,
            &["eject-sidecar", "rollout/web"],
            "kind of \"deployment\" or \"pod\"",
        ),
        (
            2,
            &["eject-sidecar", "pod/web"],
            "Pod sidecar ejection is not yet implemented",
        ),
        (
            1,
            &["eject-sidecar", "deploy/web", "-n", "prod"],
            "no Kubernetes client",
        ),
    ] {
        let ended = bench.run(arguments);
        ended.assert_code(code).assert_stderr(&[text]);
        assert_eq!(ended.stdout, "", "{ended}");
    }
}

const SETTINGS: &str = r#"
process:
  components:
    - name: main
      command: [sleep, "1000"]
      settings:
        - {name: cpu, type: range, min: 0.125, max: 4.0, step: 0.125, value: 0.25, unit: cores, env: CPU}
        - {name: mem, type: range, min: 0.25, max: 4.0, step: 0.25, value: 0.5, unit: GiB, env: MEM}
        - {name: level, type: enum, values: [1, 2], value: 1, env: LEVEL}
        - {name: fixed, type: range, min: 0, max: 5, step: 1, value: 2, pinned: true, env: FIXED}
"#;

#[test]
fn quantities_as_people_write_them() {
    let bench = Bench::new();
    bench.write("servo.yaml", SETTINGS);
    bench.run(&["describe"]).assert_code(0).assert_stdout(&[
        "main.cpu=250m ",
        "main.mem=512.0Mi ",
        "main.level=1 ",
        "main.fixed=2\n",
    ]);
    let ended = bench.run(&["adjust", "main.cpu=0.5", "main.mem=768Mi", "-o", "json"]);
    let settings = &ended.assert_code(0).json()["application"]["components"]["main"]["settings"];
    assert_eq!(settings["cpu"]["value"], 0.5, "{ended}");
    assert_eq!(settings["mem"]["value"], 0.75, "{ended}");
    assert_eq!(settings["level"]["value"], 1, "{ended}");
    let table = bench.run(&["adjust", "--dry-run", "main.cpu=250m", "main.mem=1Gi"]);
    table
        .assert_code(0)
        .assert_stdout(&["main.cpu   250m ", "main.mem   512.0Mi    1.0Gi"]);
    bench
        .run(&["adjust", "main.mem=512"])
        .assert_code(1)
        .assert_stderr(&[
            "component 'main'",
            "512 is outside of the range 0.25-4",
            "write 512Mi for MiB",
        ]);
    bench.assert_nothing_left(SOON);
}

#[test]
fn settings_that_are_pinned_or_numbers_of_a_list() {
    let bench = Bench::new();
    bench.write("servo.yaml", SETTINGS);
    bench
        .run(&["adjust", "main.fixed=3"])
        .assert_code(1)
        .assert_stderr(&[
            "value of pinned settings cannot be changed: assigned value 3 is not equal to existing value 2",
        ]);
    bench
        .run(&["adjust", "main.fixed=2.0", "main.level=2"])
        .assert_code(0)
        .assert_stdout(&["main.level=2"]);
    let ended = bench.run(&["describe", "-o", "json"]);
    let level =
        &ended.assert_code(0).json()["application"]["components"]["main"]["settings"]["level"];
    assert_eq!(level["values"], serde_json::json!([1, 2]), "{ended}");
    assert_eq!(level["value"], 1, "{ended}");
    bench
        .run(&["adjust", "main.level=3"])
        .assert_code(1)
        .assert_stderr(&["invalid value: 3 is not in the values list [1, 2]"]);
    bench.assert_nothing_left(SOON);
}

#[test]
fn ranges_whose_steps_do_not_fit() {
    let bench = Bench::new();
    let stanza = |range: &str| {
        format!(
            "optimizer: {{id: example.com/app, token: t}}\nprocess:\n  components:\n    - name: main\n      command: [sleep, \"1000\"]\n      settings:\n        - {{name: invalid, type: range, {range}, env: X}}\n"
        )
    };
    bench.write(
        "servo.yaml",
        &stanza("min: 3.0, max: 11.0, step: 3.0, value: 3.0"),
    );
    let sentence = "RangeSetting('invalid' 3.0-11.0, 3.0) min/max difference is not step aligned: 8.0 is not a multiple of 3.0 (consider min 5.0 or 2.0, max 9.0 or 12.0).";
    for arguments in [&["describe"] as &[&str], &["validate"]] {
        bench
            .run(arguments)
            .assert_code(0)
            .assert_stderr(&[sentence]);
    }
    bench
        .run(&["validate", "--strict"])
        .assert_code(1)
        .assert_stderr(&[sentence]);
    bench.write(
        "servo.yaml",
        &stanza("min: 1.0, max: 2.0, step: 0.1, value: 1.0"),
    );
    let ended = bench.run(&["validate", "--strict"]);
    assert_eq!(ended.assert_code(0).stderr, "", "{ended}");
}
