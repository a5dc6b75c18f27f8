//! The admin server of `servo run`, as operators, kubelets, Prometheus and attackers ask it.

mod client;
mod documented;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use servo_doubles::{Fault, On, Script, ScriptedOptimizer};

use self::client::{Answer, ask, ask_with, get, get_tls, send};
use crate::bench::{Bench, Running, SOON, skipped, wait};

pub(crate) const TOKEN: &str = "s3cr3t-0ptimizer-t0ken";

pub(crate) fn document(name: &str, optimizer: &ScriptedOptimizer, more: &str) -> String {
    format!(
        "name: {name}\noptimizer: {{id: example.com/{}, token: {TOKEN}, base_url: \"{}\"}}\nwait: {{measure_enabled: true}}\n{more}",
        name.replace('/', "-"),
        optimizer.base_url()
    )
}

/// A daemon with its admin server on a port that the system chose.
pub(crate) struct Daemon {
    pub(crate) bench: Bench,
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
}

impl Daemon {
    pub(crate) fn start(bench: Bench) -> Self {
        Self::start_on(bench, "127.0.0.1:0")
    }

    pub(crate) fn start_on(bench: Bench, listen: &str) -> Self {
        let mut command = bench.servo(&["run", "--no-banner"]);
        command.env("SERVOD_ADMIN__LISTEN", listen);
        let mut running = Running::start(command);
        let address = running.until("the admin server listens", SOON, |_, log| {
            let (_, rest) = log.split_once("the admin server listens on ")?;
            let (url, _) = rest.split_once('\n')?;
            Some(url.trim().rsplit_once('/')?.1.to_owned())
        });
        let mut address: SocketAddr = address.parse().unwrap();
        if address.ip().is_unspecified() {
            address.set_ip([127, 0, 0, 1].into());
        }
        Self {
            bench,
            running,
            address,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        get(self.address, path)
    }

    fn ask(&self, method: &str, path: &str) -> Answer {
        ask(self.address, method, path)
    }

    /// Waits until the answer to a GET of `path` has what `look` looks for.
    pub(crate) fn until<R>(&self, path: &str, look: impl Fn(&Value) -> Option<R>) -> R {
        wait(path, SOON, || {
            let answer = self.get(path);
            (answer.status == 200).then(|| look(&answer.json()))?
        })
    }

    fn until_ready(&self) {
        wait("ready", SOON, || {
            (self.get("/readyz").status == 200).then_some(())
        });
    }

    fn metrics(&self) -> String {
        self.get("/metrics").text()
    }

    /// The value of a line of the metrics.
    fn metric(&self, series: &str) -> Option<f64> {
        let metrics = self.metrics();
        let line = metrics.lines().find_map(|l| l.strip_prefix(series))?;
        line.trim().parse().ok()
    }

    pub(crate) fn end(self) -> String {
        self.running.signal(Signal::TERM);
        let ended = self.running.ended(SOON);
        ended.assert_code(0);
        ended.stderr.clone()
    }
}

pub(crate) fn one(optimizer: &ScriptedOptimizer) -> Daemon {
    let bench = Bench::new();
    bench.write("servo.yaml", &document("solo", optimizer, ""));
    Daemon::start(bench)
}

#[test]
fn health_for_kubelets_and_prometheus() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let daemon = one(&optimizer);
    daemon.until_ready();
    for path in ["/livez", "/readyz", "/healthz", "/-/healthy", "/-/ready"] {
        let answer = daemon.get(path);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "ok\n"),
            "{path}"
        );
        let head = daemon.ask("HEAD", path);
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(head.header("content-length"), Some("3"), "{path}");
    }
    let verbose = daemon.get("/livez?verbose").text();
    assert!(verbose.contains("[+]arbiter-0 ok\n"), "{verbose}");
    assert!(verbose.contains("[+]supervision ok\n"), "{verbose}");
    assert!(verbose.ends_with("livez check passed\n"), "{verbose}");
    let verbose = daemon.get("/readyz?verbose=true").text();
    assert!(verbose.starts_with("[+]servos ok\n"), "{verbose}");
    // Kubelets name the pod's address, or nothing.
    let answer = ask_with(
        daemon.address,
        "GET",
        "/livez",
        "host: 10.0.0.7:9797\r\n",
        b"",
    );
    assert_eq!(answer.status, 200);
    let answer = send(daemon.address, b"GET /livez HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(answer.status, 200);
    daemon.end();
}

/// The program is not ready while it ends, and lives until then.
#[test]
fn not_ready_while_shutting_down_but_alive() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    optimizer.inject(On::event("GOODBYE").always(), Fault::Stall);
    let daemon = one(&optimizer);
    daemon.until_ready();
    daemon.until("/api/v1/servos/solo", |s| {
        (s["state"] == "sleeping").then_some(())
    });
    daemon.running.signal(Signal::TERM);
    wait("not ready", SOON, || {
        let answer = daemon.get("/readyz");
        (answer.status == 503).then(|| assert!(answer.text().contains("shutting down")))
    });
    assert_eq!(daemon.get("/livez").status, 200);
    let servo = daemon.get("/api/v1/servos/solo").json();
    assert_eq!(servo["state"], "shutting_down", "{servo}");
    assert_eq!(daemon.ask("DELETE", "/api/v1/servos/solo").status, 503);
    daemon.running.signal(Signal::TERM);
    daemon.running.ended(SOON);
}

/// What fails outside, or in one servo, is no reason to restart the program.
#[test]
fn a_servo_that_fails_again_and_again_fails_neither_liveness_nor_readiness() {
    let sound = ScriptedOptimizer::start(Script::new());
    let broken = ScriptedOptimizer::start(Script::new());
    broken.inject(On::event("HELLO").always(), Fault::status(401));
    let bench = Bench::new();
    let impatient = "settings: {backoff: {connect: {max_time: 100ms}}}\n";
    bench.write(
        "servo.yaml",
        &[
            document("sound", &sound, ""),
            document("broken/one", &broken, impatient),
        ]
        .join("---\n"),
    );
    let daemon = Daemon::start(bench);
    let servo = daemon.until("/api/v1/servos/broken%2Fone", |servo| {
        let held = servo["state"] == "backing_off" || servo["state"] == "parked";
        (held && servo["restarts"].as_u64()? > 0).then(|| servo.clone())
    });
    assert!(servo["error"].as_str().unwrap().contains("401"), "{servo}");
    let errors = servo["recent_errors"].as_array().unwrap();
    assert!(
        !errors.is_empty() && errors[0]["text"].as_str().is_some(),
        "{servo}"
    );
    daemon.until_ready();
    assert_eq!(daemon.get("/livez").status, 200);
    // A name may stand there as it is.
    let raw = daemon.get("/api/v1/servos/broken/one").json();
    assert_eq!(raw["name"], "broken/one");
    let failed = daemon
        .metric("servo_restarts_total{cause=\"failed\"}")
        .unwrap();
    assert!(failed >= 1.0, "{failed}");
    assert!(
        daemon
            .metric("servo_servo_restarts_total{servo=\"broken/one\"}")
            .unwrap()
            >= 1.0
    );
    assert_eq!(daemon.metric("servo_servos{state=\"sleeping\"}"), Some(1.0));
    daemon.end();
}

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
        "servo_connector_restarts gauge",
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
    assert_eq!(daemon.ask("DELETE", "/api/v1/servos/s1").status, 204);
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
        ("state=happy", "sleeping"),
        ("limit=1&limit=2", "limit"),
    ] {
        let answer = daemon.get(&format!("/api/v1/servos?{query}"));
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.error().contains(told), "{query}: {}", answer.text());
    }
    let status = daemon.get("/api/v1/status").json();
    assert_eq!(
        status["servos"],
        json!({"total": 12, "states": {"sleeping": 12}})
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
    assert_eq!((removed.status, removed.body.len()), (204, 0));
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
    daemon.running.ended(SOON).assert_code(0);
    let goodbye = optimizer.received().pop().unwrap();
    assert_eq!(
        (goodbye.event.as_str(), &goodbye.param["reason"]),
        ("GOODBYE", &json!("shutdown"))
    );
}

/// Everything that somebody who helps asks for first, and nothing secret.
#[test]
fn the_support_archive() {
    let optimizer = ScriptedOptimizer::start(Script::new().adjust("a1", "web", "cpu", json!(2)));
    let bench = Bench::new();
    bench.write("token", "admin-t0ken-of-somebody\n");
    bench.write("servo.toml", "[admin]\ntoken_file = \"token\"\n");
    bench.write("servo.yaml", &document("solo", &optimizer, ""));
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
        for secret in [TOKEN, "admin-t0ken-of-somebody"] {
            assert!(!text.contains(secret), "{name} has {secret}");
        }
    }
    daemon.end();
}

#[test]
fn a_token_is_wanted_and_can_be_rotated() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let bench = Bench::new();
    bench.write("token", "f1rst-token-for-admins\n");
    bench.write("servo.toml", "[admin]\ntoken_file = \"token\"\n");
    bench.write("servo.yaml", &document("solo", &optimizer, ""));
    // Anybody may reach it.
    let daemon = Daemon::start_on(bench, "0.0.0.0:0");
    let status = |path: &str, token: &str| {
        let more = match token {
            "" => String::new(),
            token => format!("authorization: Bearer {token}\r\n"),
        };
        ask_with(
            daemon.address,
            "GET",
            path,
            &format!("host: servo.example\r\n{more}"),
            b"",
        )
        .status
    };
    for path in [
        "/livez",
        "/readyz",
        "/healthz",
        "/-/healthy",
        "/-/ready",
        "/",
    ] {
        assert!([200, 503].contains(&status(path, "")), "{path}");
    }
    for path in [
        "/metrics",
        "/-/support",
        "/-/reload",
        "/-/quit",
        "/api/v1/servos",
        "/api/v1/servos/solo",
        "/api/v1/tree",
        "/api/v1/status",
        "/api/v1/openapi.json",
        "/nothing",
        "/livez/",
        "//livez",
        "/./livez",
        "/LIVEZ",
    ] {
        for wrong in [
            "",
            "wrong",
            "f1rst-token-for-admin",
            "f1rst-token-for-adminss",
        ] {
            assert_eq!(status(path, wrong), 401, "{path} with '{wrong}'");
        }
        assert_ne!(status(path, "f1rst-token-for-admins"), 401, "{path}");
    }
    let refused = ask_with(daemon.address, "GET", "/metrics", "", b"");
    assert_eq!(
        refused.header("www-authenticate"),
        Some("Bearer realm=\"servo\"")
    );
    assert!(refused.error().contains("token"));
    daemon.bench.write("token", "sec0nd-token-for-admins\n");
    wait("the new token", SOON, || {
        (status("/metrics", "sec0nd-token-for-admins") == 200).then_some(())
    });
    assert_eq!(status("/metrics", "f1rst-token-for-admins"), 401);
    let log = daemon.end();
    for secret in ["f1rst-token", "sec0nd-token"] {
        assert!(!log.contains(secret));
    }
}

const CERTIFICATE: &str = include_str!("../../actors/optimizer/protocol/tests/tls/server.pem");
const KEY: &str = include_str!("../../actors/optimizer/protocol/tests/tls/server.key");
const AUTHORITY: &str = include_str!("../../actors/optimizer/protocol/tests/tls/authority.pem");

#[test]
fn tls_and_a_certificate_that_is_replaced() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let bench = Bench::new();
    bench.write("cert.pem", CERTIFICATE);
    bench.write("key.pem", KEY);
    bench.write(
        "servo.toml",
        "[admin]\ntls_certificate = \"cert.pem\"\ntls_key = \"key.pem\"\n",
    );
    bench.write("servo.yaml", &document("solo", &optimizer, ""));
    let daemon = Daemon::start(bench);
    let answer = get_tls(daemon.address, AUTHORITY, "/livez", "").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok\n"));
    assert!(
        send(
            daemon.address,
            b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"
        )
        .is_none()
    );
    // A certificate of its own making takes the place of the other.
    let made = daemon
        .bench
        .command("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args([
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key2.pem", "-out", "cert2.pem"])
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        skipped("there is no openssl to make another certificate with");
        daemon.end();
        return;
    }
    let path = |name: &str| daemon.bench.path(name);
    let other = std::fs::read_to_string(path("cert2.pem")).unwrap();
    std::fs::rename(path("cert2.pem"), path("cert.pem")).unwrap();
    std::fs::rename(path("key2.pem"), path("key.pem")).unwrap();
    wait("the new certificate", SOON, || {
        get_tls(daemon.address, &other, "/livez", "")
            .ok()
            .map(|a| assert_eq!(a.status, 200))
    });
    assert!(get_tls(daemon.address, AUTHORITY, "/livez", "").is_err());
    daemon.end();
}

#[test]
fn pages_of_other_sites_are_kept_out() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let daemon = one(&optimizer);
    daemon.until_ready();
    let port = daemon.address.port();
    let status = |method: &str, path: &str, more: &str| {
        ask_with(daemon.address, method, path, more, b"").status
    };
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        assert_eq!(
            status("GET", "/api/v1/servos", &format!("host: {host}:{port}\r\n")),
            200,
            "{host}"
        );
    }
    for host in ["rebound.example", "127.0.0.1.nip.example", "2130706433", ""] {
        for path in ["/", "/metrics", "/api/v1/servos", "/-/reload"] {
            let answer = status("GET", path, &format!("host: {host}\r\n"));
            assert!([400, 421].contains(&answer), "{host} {path}: {answer}");
        }
    }
    let host = format!("host: localhost:{port}\r\n");
    let mutations = [
        ("POST", "/-/reload"),
        ("PUT", "/-/quit"),
        ("POST", "/api/v1/servos"),
        ("DELETE", "/api/v1/servos/solo"),
    ];
    for (method, path) in mutations {
        for more in [
            "origin: http://evil.example\r\n",
            "origin: null\r\n",
            "sec-fetch-site: cross-site\r\n",
            "sec-fetch-site: same-site\r\n",
        ] {
            assert_eq!(
                status(method, path, &format!("{host}{more}")),
                403,
                "{method} {path} {more}"
            );
        }
        for form in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
        ] {
            let more = format!("{host}content-type: {form}\r\n");
            assert_eq!(status(method, path, &more), 415, "{method} {path} {form}");
        }
    }
    let own = format!("{host}origin: http://localhost:{port}\r\nsec-fetch-site: same-origin\r\n");
    assert_eq!(status("POST", "/-/reload", &own), 200);
    assert_eq!(daemon.get("/api/v1/servos").json()["total"], 1);

    for path in ["/", "/api/v1/servos", "/metrics", "/nothing", "/livez"] {
        let answer = daemon.get(path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
    }
    assert_eq!(
        daemon.get("/api/v1/servos").header("cache-control"),
        Some("no-store")
    );
    daemon.end();
}

#[test]
fn what_makes_no_sense_is_refused_and_harms_nobody() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let daemon = one(&optimizer);
    daemon.until_ready();
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/servos/", 404),
        ("GET", "/api/v1/servos/nobody", 404),
        ("GET", "/api/v1/servos/%00", 404),
        ("GET", "/api/v1/servos/%ff", 400),
        ("GET", "/api/v1/servos/..%2f..%2fetc", 404),
        ("GET", "/api/v1/tree?depth=x", 400),
        ("DELETE", "/api/v1/servos/nobody", 404),
    ] {
        let answer = daemon.ask(method, path);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert!(!answer.error().is_empty());
    }
    for (method, path, allowed) in [
        ("POST", "/livez", "GET,HEAD"),
        ("POST", "/metrics", "GET,HEAD"),
        ("GET", "/-/reload", "POST,PUT"),
        ("GET", "/-/quit", "POST,PUT"),
        ("PATCH", "/api/v1/servos", "GET,HEAD,POST"),
        ("POST", "/api/v1/servos/solo", "GET,HEAD,DELETE"),
        ("OPTIONS", "/api/v1/status", "GET,HEAD"),
        ("TRACE", "/", "GET,HEAD"),
    ] {
        let answer = daemon.ask(method, path);
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
        assert!(answer.error().contains("method"));
    }
    // Bytes that are no request, or one without an end.
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00".as_slice(),
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET /livez HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /api/v1/servos HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n",
    ] {
        let answer = send(daemon.address, bytes);
        assert!(answer.is_none_or(|a| a.status >= 400), "{bytes:?}");
    }
    let mut long = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n".to_vec();
    for n in 0..5000 {
        long.extend(format!("x-{n}: {}\r\n", "y".repeat(100)).bytes());
    }
    long.extend(b"\r\n");
    assert!(send(daemon.address, &long).is_none_or(|a| a.status == 431));
    // A body that says how long it is, and is too long.
    let mut stream = TcpStream::connect(daemon.address).unwrap();
    let huge = 10_u64 * 1024 * 1024 * 1024;
    write!(
        stream,
        "POST /api/v1/servos HTTP/1.1\r\nhost: localhost\r\ncontent-length: {huge}\r\n\r\n"
    )
    .unwrap();
    let chunk = vec![b'#'; 1024 * 1024];
    let sent = (0..100)
        .take_while(|_| stream.write_all(&chunk).is_ok())
        .count();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
        "{sent} MiB: {answer}"
    );
    assert_eq!(daemon.get("/livez").status, 200);
    assert_eq!(daemon.get("/api/v1/servos/solo").json()["name"], "solo");
    let log = daemon.end();
    assert!(!log.contains("panic"), "{log}");
}

/// Clients that send nothing, or slowly, hold nobody up and are sent away.
#[test]
fn slow_clients_are_sent_away() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let daemon = one(&optimizer);
    daemon.until_ready();
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|n| {
            let mut stream = TcpStream::connect(daemon.address).unwrap();
            if n % 2 == 0 {
                stream
                    .write_all(b"GET /livez HTTP/1.1\r\nhost: loc")
                    .unwrap();
            }
            stream
        })
        .collect();
    let began = Instant::now();
    assert_eq!(daemon.get("/livez").status, 200);
    assert!(began.elapsed() < Duration::from_secs(5));
    // One of each kind: the others began at the same time.
    for stream in slow.drain(..2) {
        let mut stream = stream;
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut answer = Vec::new();
        stream
            .read_to_end(&mut answer)
            .expect("the server closes the connection");
    }
    wait("nobody is left", SOON, || {
        (daemon.metric("servo_admin_connections")? < 10.0).then_some(())
    });
    daemon.end();
}

/// A port that somebody else has: fatal where it was asked for, and only there.
#[test]
fn a_port_that_is_taken() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let bench = Bench::new();
    bench.write("servo.yaml", &document("solo", &optimizer, ""));
    let mut command = bench.servo(&["run"]);
    command.env("SERVOD_ADMIN__LISTEN", &address);
    let ended = Running::start(command).ended(SOON);
    ended
        .assert_code(1)
        .assert_stderr(&[&address, "admin.listen"]);
    assert_eq!(optimizer.events(), Vec::<String>::new());
    for (file, told) in [
        ("token_file = \"nowhere\"", "nowhere"),
        (
            "tls_certificate = \"c\"\ntls_key = \"k\"",
            "admin.tls_certificate",
        ),
    ] {
        bench.write("servo.toml", &format!("[admin]\n{file}\n"));
        let mut command = bench.servo(&["run"]);
        command.env("SERVOD_ADMIN__LISTEN", "127.0.0.1:0");
        Running::start(command)
            .ended(SOON)
            .assert_code(1)
            .assert_stderr(&[told]);
    }
    bench.write("servo.toml", "");
    let mut command = bench.servo(&["run"]);
    command.env("SERVOD_ADMIN__LISTEN", "0.0.0.0:0");
    let ended = Running::start(command).ended(SOON);
    assert_ne!(ended.code, Some(0), "{ended}");
    ended.assert_stderr(&["token_file", "0.0.0.0"]);
}
