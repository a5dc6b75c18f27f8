//! What is told of servos: lists, a servo in full, metrics, the support archive.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::json;
use servo_doubles::{Fault, On, Script, ScriptedOptimizer};

use super::{Daemon, TOKEN, client::ask_with, document, one};
use crate::bench::{Bench, SOON, skipped, wait};

#[test]
fn a_command_is_seen_while_it_runs_and_afterwards() {
    let optimizer = ScriptedOptimizer::start(
        Script::new()
            .describe("d1")
            .measure("m1", &[], json!({"duration": "3s"}))
            .adjust("a1", "web", "cpu", json!(2)),
    );
    let daemon = one(&optimizer);
    let servo = daemon.until("/api/v1/servos/solo", |servo| {
        let measuring = servo["command"]["operation"] == "MEASURE";
        (measuring && servo["command"]["percent"].as_f64()? > 0.0).then(|| servo.clone())
    });
    assert_eq!(servo["state"], "executing", "{servo}");
    assert_eq!(servo["command"]["uid"], "m1", "{servo}");
    assert!(servo["command"]["runtime_seconds"].as_f64().unwrap() < 30.0);
    assert_eq!(servo["last"]["operation"], "DESCRIBE", "{servo}");
    assert_eq!(servo["connectors"][0]["name"], "wait", "{servo}");
    assert_eq!(servo["connectors"][0]["type"], "wait", "{servo}");
    assert_eq!(servo["connectors"][0]["state"], "running", "{servo}");
    let url = servo["optimizer"]["url"].as_str().unwrap();
    assert!(url.starts_with(&optimizer.base_url()), "{url}");
    let servo = daemon.until("/api/v1/servos/solo", |servo| {
        (servo["last"]["operation"] == "ADJUST").then(|| servo.clone())
    });
    assert_eq!(servo["last"]["status"], "failed", "{servo}");
    assert_eq!(
        (servo["finished"].as_u64(), servo["not_ok"].as_u64()),
        (Some(3), Some(1))
    );

    // What is counted agrees with what happened.
    let expected = [
        (
            "servo_commands_total{operation=\"describe\",status=\"ok\"}",
            1.0,
        ),
        (
            "servo_commands_total{operation=\"measure\",status=\"ok\"}",
            1.0,
        ),
        (
            "servo_commands_total{operation=\"adjust\",status=\"failed\"}",
            1.0,
        ),
        (
            "servo_command_duration_seconds_count{operation=\"measure\"}",
            1.0,
        ),
        (
            "servo_servo_commands_total{servo=\"solo\",outcome=\"ok\"}",
            2.0,
        ),
        (
            "servo_servo_commands_total{servo=\"solo\",outcome=\"not_ok\"}",
            1.0,
        ),
        ("servo_servo_optimizer_outage_seconds{servo=\"solo\"}", 0.0),
        ("servo_optimizer_outage_servos", 0.0),
        ("servo_connectors{state=\"running\"}", 1.0),
        ("servo_config_last_reload_successful", 1.0),
        ("servo_ready", 1.0),
    ];
    for (series, value) in expected {
        assert_eq!(
            daemon.metric(series),
            Some(value),
            "{series}\n{}",
            daemon.metrics()
        );
    }
    let took = daemon
        .metric("servo_command_duration_seconds_sum{operation=\"measure\"}")
        .unwrap();
    assert!((3.0..20.0).contains(&took), "{took}");
    let host = optimizer.address();
    let hello =
        format!("servo_optimizer_requests_total{{event=\"HELLO\",code=\"200\",host=\"{host}\"}}");
    assert_eq!(daemon.metric(&hello), Some(1.0), "{}", daemon.metrics());
    let asked = format!(
        "servo_optimizer_requests_total{{event=\"WHATS_NEXT\",code=\"200\",host=\"{host}\"}}"
    );
    assert!(daemon.metric(&asked).unwrap() >= 3.0);
    let log = daemon.end();
    assert!(!log.contains(TOKEN));
}

/// Both formats; what Debian's Prometheus checks is checked by it.
#[test]
fn metrics_that_prometheus_accepts() {
    let optimizer = ScriptedOptimizer::start(Script::new().describe("d1"));
    let daemon = one(&optimizer);
    daemon.until("/api/v1/servos/solo", |s| {
        (s["finished"] == 1).then_some(())
    });
    let plain = daemon.get("/metrics");
    assert!(
        plain
            .header("content-type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    let build = format!(
        "servo_build_info{{version=\"{}\",revision=\"",
        env!("CARGO_PKG_VERSION")
    );
    let plain = plain.text();
    assert!(plain.contains(&build), "{plain}");
    assert!(!plain.contains("# EOF") && !plain.contains("# UNIT"));
    for family in [
        "servo_config_last_reload_successful gauge",
        "servo_config_last_reload_success_timestamp_seconds gauge",
        "servo_config_hash gauge",
        "servo_reloads_total counter",
        "servo_servos gauge",
        "servo_commands_total counter",
        "servo_command_duration_seconds histogram",
        "servo_optimizer_requests_total counter",
        "servo_optimizer_request_duration_seconds histogram",
        "servo_optimizer_outage_servos gauge",
        "servo_restarts_total counter",
        "servo_connectors gauge",
        "servo_optimizer_requests_in_flight gauge",
        "servo_optimizer_requests_waiting gauge",
        "servo_connector_restarts_total counter",
        "servo_arbiter_servos gauge",
        "servo_admin_requests_total counter",
        "process_cpu_seconds_total counter",
        "process_resident_memory_bytes gauge",
        "process_open_fds gauge",
        "process_start_time_seconds gauge",
    ] {
        assert!(
            plain.contains(&format!("# TYPE {family}\n")),
            "{family}\n{plain}"
        );
    }
    let accept = "accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3\r\n";
    let open = ask_with(daemon.address, "GET", "/metrics", accept, b"");
    assert!(
        open.header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    assert!(open.text().ends_with("# EOF\n"));
    assert!(open.text().contains("# TYPE servo_commands counter\n"));
    assert!(
        open.text()
            .contains("# UNIT servo_command_duration_seconds seconds\n")
    );
    promtool(&plain);
    daemon.end();
}

fn promtool(metrics: &str) {
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = started else {
        return skipped("there is no promtool: install Debian's package prometheus");
    };
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(metrics.as_bytes())
        .unwrap();
    let said = promtool.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
    assert!(
        said.status.success() && text.trim().is_empty(),
        "{text}\n{metrics}"
    );
}

#[test]
fn series_of_each_servo_end_with_too_many() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let bench = Bench::new();
    bench.write("servo.toml", "[admin]\nmetrics_per_servo = 2\n");
    let documents: Vec<_> = (0..3)
        .map(|n| document(&format!("s{n}"), &optimizer, ""))
        .collect();
    bench.write("servo.yaml", &documents.join("---\n"));
    let daemon = Daemon::start(bench);
    daemon.until_ready();
    assert!(!daemon.metrics().contains("servo_servo_state"));
    assert_eq!(daemon.ask("DELETE", "/api/v1/servos/s1").status, 200);
    let metrics = daemon.metrics();
    assert!(
        metrics.contains("servo_servo_state{servo=\"s0\",state=\"parked\"} 0"),
        "{metrics}"
    );
    daemon.end();
}

#[test]
fn servos_are_paged_and_found() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let bench = Bench::new();
    let documents: Vec<_> = (0..12)
        .map(|n| document(&format!("Team-{}/app-{n:02}", n % 2), &optimizer, ""))
        .collect();
    bench.write("servo.yaml", &documents.join("---\n"));
    let daemon = Daemon::start(bench);
    daemon.until("/api/v1/servos", |all| {
        (all["states"]["sleeping"] == 12).then_some(())
    });
    let page = daemon
        .get("/api/v1/servos?q=tEAM-1&offset=1&limit=2&state=sleeping")
        .json();
    assert_eq!(page["total"], 12);
    assert_eq!(page["matched"], 6);
    assert_eq!(
        (page["offset"].as_u64(), page["limit"].as_u64()),
        (Some(1), Some(2))
    );
    let names: Vec<_> = page["servos"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["name"].clone())
        .collect();
    assert_eq!(names, [json!("Team-1/app-03"), json!("Team-1/app-05")]);
    let last = daemon.get("/api/v1/servos?sort=name&reverse=true&limit=1&offset=1");
    assert_eq!(last.json()["servos"][0]["name"], "Team-1/app-09");
    for sort in [
        "state", "command", "finished", "not_ok", "restarts", "last", "error",
    ] {
        let sorted = daemon.get(&format!("/api/v1/servos?sort={sort}&limit=1"));
        assert_eq!(sorted.json()["matched"], 12, "{sort}: {}", sorted.text());
    }
    let none = daemon.get("/api/v1/servos?state=parked").json();
    assert_eq!(
        (none["matched"].as_u64(), none["total"].as_u64()),
        (Some(0), Some(12))
    );
    assert_eq!(
        daemon.get("/api/v1/servos?limit=0").json()["servos"],
        json!([])
    );
    for (query, told) in [
        ("limit=1001", "1000"),
        ("limit=-1", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("offset=x", "offset"),
        ("offset=-1", "offset=-1: expected a whole number, 0 or more"),
        ("state=happy", "sleeping"),
        ("limit=1&limit=2", "limit"),
        ("stat=parked", "unknown field `stat`"),
        ("sort=size", "not_ok"),
        ("reverse=yes", "true or false"),
    ] {
        let answer = daemon.get(&format!("/api/v1/servos?{query}"));
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.error().contains(told), "{query}: {}", answer.text());
    }
    let status = daemon.get("/api/v1/status").json();
    assert_eq!(
        status["servos"],
        json!({"total": 12, "states": {"sleeping": 12}, "outages": 0})
    );
    let on_arbiters: u64 = status["arbiters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arbiter| arbiter["servos"].as_u64().unwrap())
        .sum();
    assert_eq!(on_arbiters, 12, "{status}");
    let tree = daemon.get("/api/v1/tree").json();
    assert_eq!(tree["name"], "servo");
    let names: Vec<_> = tree["children"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].clone())
        .collect();
    assert_eq!(names, ["admin", "assembly"]);
    assert_eq!(
        tree["children"][1]["children"].as_array().unwrap().len(),
        12
    );
    let part = daemon
        .get("/api/v1/tree?path=servo/assembly/Team-0/app-00&depth=0")
        .json();
    assert_eq!(
        (part["name"].as_str(), &part["children"]),
        (Some("Team-0/app-00"), &json!([]))
    );
    assert_eq!(daemon.get("/api/v1/tree?path=servo/nobody").status, 404);
    daemon.end();
}

/// Everything that somebody who helps asks for first, and nothing secret.
#[test]
fn the_support_archive() {
    let optimizer = ScriptedOptimizer::start(Script::new().adjust("a1", "web", "cpu", json!(2)));
    let bench = Bench::new();
    bench.write("token", "admin-t0ken-of-somebody\n");
    bench.write("servo.toml", "[admin]\ntoken_file = \"token\"\n");
    let vegeta = "vegeta:\n  rate: 1/1s\n  target: |\n    GET http://127.0.0.1:1/\n    Authorization: Bearer hush-of-a-target\n    Accept: text/plain\n";
    bench.write("servo.yaml", &document("solo", &optimizer, vegeta));
    // What is shown to people is what helpers get.
    let shown = bench.run(&["config"]);
    shown
        .assert_code(0)
        .assert_stdout(&["Authorization: ****", "Accept: text/plain"]);
    assert!(!shown.stdout.contains("hush"), "{shown}");
    let shown = bench.run(&["config", "--show-secrets"]);
    shown
        .assert_code(0)
        .assert_stdout(&["Authorization: Bearer hush-of-a-target"]);
    let daemon = Daemon::start(bench);
    let bearer = "authorization: Bearer admin-t0ken-of-somebody\r\n";
    wait("a command", SOON, || {
        let answer = ask_with(daemon.address, "GET", "/api/v1/servos/solo", bearer, b"");
        (answer.json()["finished"] == 1).then_some(())
    });
    let answer = ask_with(daemon.address, "GET", "/-/support", bearer, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/gzip"));
    let name = answer.header("content-disposition").unwrap();
    assert!(
        name.starts_with("attachment; filename=\"servo-support-") && name.ends_with(".tar.gz\""),
        "{name}"
    );
    std::fs::write(daemon.bench.path("support.tar.gz"), &answer.body).unwrap();
    let unpacked = daemon
        .bench
        .command("tar")
        .args([
            "-xzf",
            "support.tar.gz",
            "--strip-components=1",
            "--one-top-level=out",
        ])
        .status();
    assert!(unpacked.unwrap().success());
    let read = |name: &str| std::fs::read_to_string(daemon.bench.path("out").join(name)).unwrap();
    for (name, part) in [
        ("README.txt", "Secrets are left out"),
        ("version.json", env!("CARGO_PKG_VERSION")),
        ("status.json", "\"uptime_seconds\""),
        ("servos.json", "\"solo\""),
        ("tree.txt", "assembly: running"),
        ("log.txt", "the admin server listens on"),
        ("trouble.txt", "adjust"),
        ("metrics.txt", "servo_build_info"),
        ("config.yaml", "measure_enabled: true"),
    ] {
        let text = read(name);
        assert!(
            text.to_lowercase().contains(&part.to_lowercase()),
            "{name} lacks {part}:\n{text}"
        );
        for secret in [TOKEN, "admin-t0ken-of-somebody", "hush-of-a-target"] {
            assert!(!text.contains(secret), "{name} has {secret}");
        }
    }
    daemon.end();
}

/// What waits before a server that is slow, and what is on the way there.
#[test]
fn requests_that_wait_for_a_busy_host_are_told() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    optimizer.inject(On::any().always(), Fault::Stall);
    let bench = Bench::new();
    let documents: Vec<String> = (0..5)
        .map(|i| document(&format!("team-{i}"), &optimizer, ""))
        .collect();
    bench.write("servo.yaml", &documents.join("---\n"));
    bench.write("servo.toml", "[optimizer]\nmax_concurrent_requests = 2\n");
    let daemon = Daemon::start(bench);
    let host = optimizer.address();
    let waiting = format!("servo_optimizer_requests_waiting{{host=\"{host}\"}}");
    let in_flight = format!("servo_optimizer_requests_in_flight{{host=\"{host}\"}}");
    wait("three wait for two", SOON, || {
        let seen = (daemon.metric(&in_flight), daemon.metric(&waiting));
        (seen == (Some(2.0), Some(3.0))).then_some(())
    });
}
