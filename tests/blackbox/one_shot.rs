//! `describe`, `measure` and `adjust`: on live connectors, once, with nothing left behind.

use std::time::Duration;

use rustix::process::Signal;

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
            2,
            "toy.speed=3",
            &["toy", "no setting 'speed'", "rounds, codec"],
        ),
        (
            2,
            "tory.rounds=3",
            &["no component found named 'tory'", "toy"],
        ),
        (2, "toy.rounds=9", &["rounds", "9", "8"]),
        (2, "toy.rounds=0", &["rounds", "0", "1"]),
        (2, "toy.rounds=NaN", &["rounds", "NaN"]),
        (2, "toy.rounds=many", &["rounds", "many"]),
        (
            2,
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
    let ended = bench.run(&["adjust", "toy.rounds=3"]);
    assert_ne!(ended.code, Some(0), "{ended}");
    assert!(!ended.stderr.is_empty(), "{ended}");
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
    assert!(ended.assert_code(0).stdout.starts_with("METRIC"), "{ended}");
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
