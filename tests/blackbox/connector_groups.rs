//! The commands of connector types and of connectors: `servo vegeta attack`, `servo prom1 targets`.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use crate::bench::{Bench, SOON, free_port};

/// A server that answers every request with `body`. It ends with the tests.
fn answering(body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(1..) = stream.read(&mut buffer) {
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn load(address: SocketAddr) -> String {
    format!(
        "{{rate: 20/1s, target: \"GET http://{address}/\", duration: 300ms, reporting_interval: 100ms}}"
    )
}

/// A bench with two connectors that generate load.
fn two() -> Bench {
    let bench = Bench::new();
    let load = load(answering("fine"));
    bench.write(
        "servo.yaml",
        &format!(
            "connectors: {{first: vegeta, second: VegetaConnector}}\nfirst: {load}\nsecond: {load}\n"
        ),
    );
    bench
}

const REPORT: [&str; 7] = [
    "Requests      [total, rate, throughput]",
    "Duration      [total, attack, wait]",
    "Latencies     [min, mean, 50, 90, 95, 99, max]",
    "Bytes In      [total, mean]",
    "Success       [ratio]                    100.00%",
    "Status Codes  [code:count]",
    "Error Set:",
];

#[test]
fn attack() {
    let bench = Bench::new();
    let address = answering("fine");
    // Another connector, which could not even start, is none of its business.
    bench.write(
        "servo.yaml",
        &format!(
            "vegeta: {}\nprometheus: {{base_url: \"http://127.0.0.1:1\", metrics: []}}\n",
            load(address)
        ),
    );
    let ended = bench.run(&["vegeta", "attack"]);
    ended
        .assert_code(0)
        .assert_stdout(&REPORT)
        .assert_stderr(&["vegeta: ", "attacking"]);
    assert!(ended.stdout.starts_with("Requests"), "{ended}");
    let ended = bench.run(&["vegeta", "attack", "-d", "200ms", "-r", "50", "-o", "json"]);
    assert_eq!(ended.assert_code(0).json()["status_codes"]["200"], 10);
    let yaml = bench.run(&["vegeta", "attack", "-d", "100ms", "--output", "yaml"]);
    yaml.assert_code(0).assert_stdout(&["latencies:\n"]);
    for (words, text) in [
        (["-d", "3x"], "Unknown unit 'x' in duration '3x'"),
        (["--duration", "0"], "expected more than 0"),
        (["--rate", "fast"], "invalid rate parameter"),
    ] {
        let ended = bench.run(&[&["vegeta", "attack"][..], &words].concat());
        ended.assert_code(2).assert_stderr(&["Error: ", text]);
        assert_eq!(ended.stdout, "");
    }
    bench
        .run(&["vegeta", "attack", "--targets", "nowhere.http"])
        .assert_code(1)
        .assert_stderr(&["nowhere.http"]);
    bench.assert_nothing_left(Duration::from_secs(1));
}

#[test]
fn an_attack_is_interrupted() {
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &format!("vegeta: {}", load(answering("fine"))),
    );
    let mut running = bench.start(&["-l", "info", "vegeta", "attack", "-d", "1h"]);
    running.until("a report", SOON, |_, err| {
        err.contains("attacking").then_some(())
    });
    running.signal(Signal::INT);
    // It stops, and tells what came of it.
    running
        .ended(SOON)
        .assert_code(130)
        .assert_stderr(&["stopped", REPORT[0], REPORT[4]]);
}

#[test]
fn which_connector_is_meant() {
    let bench = two();
    for words in [
        &["vegeta", "attack"][..],
        &["vegeta", "describe"],
        &["vegeta", "config"],
        &["vegeta", "events"],
    ] {
        let ended = bench.run(words);
        ended.assert_code(2).assert_stderr(&[
            "Error: multiple instances of \"VegetaConnector\" found in servo \"servo\": select one of ['first', 'second']\n",
        ]);
        assert_eq!(ended.stdout, "");
    }
    bench
        .run(&["vegeta", "-c", "INVALID", "attack"])
        .assert_code(2)
        .assert_stderr(&[
            "Error: no connector named \"INVALID\" of type \"VegetaConnector\" found in servo \"servo\": select one of ['first', 'second']\n",
        ]);
    bench
        .run(&["prometheus", "targets"])
        .assert_code(2)
        .assert_stderr(&[
            "Error: no instances of \"PrometheusConnector\" are active the in servo \"servo\"\n",
        ]);
    for words in [
        &["vegeta", "-c", "first", "attack"][..],
        &["vegeta", "attack", "--connector", "first"],
        &["first", "attack"],
    ] {
        let ended = bench.run(words);
        ended
            .assert_code(0)
            .assert_stdout(&REPORT)
            .assert_stderr(&["first: "]);
        assert!(!ended.stderr.contains("second"), "{ended}");
    }
    bench
        .run(&["second", "describe"])
        .assert_code(0)
        .assert_stdout(&["second", "throughput"]);
    bench
        .run(&["first"])
        .assert_code(0)
        .assert_stdout(&["Usage: servo first COMMAND", "attack"]);
    bench
        .run(&["third", "attack"])
        .assert_code(2)
        .assert_stderr(&["No such command 'third'."]);
    bench
        .run(&["first", "atack"])
        .assert_code(2)
        .assert_stderr(&[
            "Try 'servo first --help'",
            "No such command 'atack'. Did you mean 'attack'?",
        ]);
}

/// The name is looked up in the file that the command would read.
#[test]
fn names_of_connectors_in_another_file() {
    let bench = two();
    std::fs::rename(bench.path("servo.yaml"), bench.path("other.yaml")).unwrap();
    for words in [
        &["-c", "other.yaml", "first", "version"][..],
        &["first", "version", "--config-file", "other.yaml"],
        &["first", "version", "--config-file=other.yaml"],
    ] {
        bench
            .run(words)
            .assert_code(0)
            .assert_stdout(&["Vegeta Connector v"]);
    }
    bench
        .run(&["first", "version"])
        .assert_code(2)
        .assert_stderr(&["No such command 'first'."]);
    bench.write(".env", "SERVO_CONFIG_FILE=other.yaml");
    bench.run(&["first", "version"]).assert_code(0);
    // Standard input cannot be read for the name and then again by the command.
    bench
        .run(&["-c", "-", "vegeta", "describe"])
        .assert_code(2)
        .assert_stderr(&["standard input does not tell which connector is meant"]);
}

#[test]
fn one_of_several_servos() {
    let bench = Bench::new();
    let load = load(answering("fine"));
    let one = |name: &str| {
        format!("name: {name}\noptimizer: {{id: example.com/{name}, token: t}}\nvegeta: {load}\n")
    };
    bench.write(
        "servo.yaml",
        &format!("{}---\n{}", one("left"), one("right")),
    );
    for words in [["vegeta", "attack"], ["vegeta", "events"]] {
        bench
            .run(&words)
            .assert_code(2)
            .assert_stderr(&["Error: A servo must be selected\n"]);
    }
    let ended = bench.run(&["-n", "left", "vegeta", "attack"]);
    ended.assert_code(0).assert_stdout(&REPORT);
    assert!(ended.stdout.starts_with("left\n"), "{ended}");
    bench
        .run(&["-n", "nope", "vegeta", "attack"])
        .assert_code(2)
        .assert_stderr(&["No servo was found named \"nope\""]);
}

const TARGETS: &str = r#"{"status": "success", "data": {"activeTargets": [
  {"scrapePool": "opsani-envoy-sidecars", "health": "up", "scrapeUrl": "http://192.168.95.123:9901/stats/prometheus",
   "globalUrl": "http://192.168.95.123:9901/stats/prometheus", "labels": {"job": "envoy", "app": "web"},
   "lastScrape": "2020-09-09T10:04:02.662498189Z", "lastScrapeDuration": 0.013974479, "lastError": ""}
], "droppedTargets": []}}"#;

#[test]
fn targets() {
    let bench = Bench::new();
    let address = answering(TARGETS);
    bench.write(
        "servo.yaml",
        &format!("prometheus: {{base_url: \"http://{address}\", metrics: []}}\n"),
    );
    let ended = bench.run(&["prometheus", "targets"]);
    ended.assert_code(0).assert_stdout(&[
        "POOL                   HEALTH    URL",
        "LABELS",
        "LAST SCRAPED",
        "ERROR",
        "opsani-envoy-sidecars  up        http://192.168.95.123:9901/stats/prometheus",
        "app=web",
        "job=envoy",
        "2020-09-09 10:04:02",
    ]);
    assert!(ended.stdout.ends_with("\n\n"), "{ended}");
    let json = bench.run(&["prometheus", "targets", "-o", "json"]);
    assert_eq!(json.assert_code(0).json()[0]["health"], "up", "{json}");
    bench.write(
        "servo.yaml",
        &format!(
            "prometheus: {{base_url: \"http://127.0.0.1:{}\", metrics: []}}\n",
            free_port()
        ),
    );
    bench
        .run(&["prometheus", "targets"])
        .assert_code(1)
        .assert_stderr(&["cannot reach Prometheus at http://127.0.0.1:"]);
}

/// Commands of the root, for one type or connector.
#[test]
fn common_commands() {
    let bench = two();
    for (group, root) in [
        (&["prometheus", "schema"][..], &["schema", "prometheus"][..]),
        (&["first", "schema"], &["schema", "first"]),
        (
            &["vegeta", "-c", "first", "schema", "-f", "text"],
            &["schema", "first", "-f", "text"],
        ),
        (
            &["kube-metrics", "version"][..],
            &["version", "kube_metrics"][..],
        ),
        (
            &["vegeta", "version", "-f", "json"],
            &["version", "vegeta", "-f", "json"],
        ),
        (&["first", "config"], &["config", "first"]),
        (
            &["vegeta", "-c", "second", "describe"],
            &["describe", "second"],
        ),
        (
            &["prometheus", "generate", "-f", "-"],
            &["generate", "prometheus", "-f", "-"],
        ),
        (
            &["first", "generate", "-f", "-"],
            &["generate", "first:vegeta", "-f", "-"],
        ),
        (
            &["vegeta", "validate", "--without-optimizer"],
            &["validate", "--without-optimizer"],
        ),
    ] {
        let (ours, theirs) = (bench.run(group), bench.run(root));
        assert_eq!(ours.assert_code(0).stdout, theirs.assert_code(0).stdout);
        assert_eq!(ours.stderr, theirs.stderr);
        assert_ne!(ours.stdout, "");
    }
    let ended = bench.run(&["first", "events"]);
    ended
        .assert_code(0)
        .assert_stdout(&["EVENT", "measure", "first (Vegeta)"]);
    assert!(!ended.stdout.contains("second"), "{ended}");
    bench
        .run(&["vegeta", "version", "prometheus"])
        .assert_code(2)
        .assert_stderr(&["says which connector it is for"]);
}
