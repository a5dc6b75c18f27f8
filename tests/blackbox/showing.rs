//! What the commands say of the configuration and of what there is, without starting anything:
//! `list`, `connectors`, `show`, `version` (`spec/config-and-cli.md` §7.2, §7.3, §7.9).

use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::{Bench, Ended, Running, SOON};

const W: &str = "wait: {measure_enabled: true}\n";

const ENV: [(&str, &str); 2] = [
    ("OPSANI_OPTIMIZER", "dev.opsani.com/servox"),
    ("OPSANI_TOKEN", "123456789"),
];

fn with(bench: &Bench, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = bench.servo(arguments);
    command.envs(variables.iter().copied());
    Running::start(command).ended(SOON)
}

fn file(text: &str) -> Bench {
    let bench = Bench::new();
    bench.write("servo.yaml", text);
    bench
}

/// The cells of the first column of a table, without its header.
fn first_column(ended: &Ended) -> Vec<&str> {
    ended
        .stdout
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

#[test]
fn list_needs_a_file() {
    let bench = Bench::new();
    let ended = bench.run(&["list"]);
    let path = bench.path("servo.yaml");
    ended
        .assert_code(2)
        .assert_stderr(&["does not exist", &path.display().to_string()]);
    assert_eq!(ended.stdout, "");
}

#[test]
fn list_names_each_servo() {
    let bench = file("");
    bench
        .run(&["list"])
        .assert_code(1)
        .assert_stderr(&["optimizer -> id", "field required"]);
    assert_eq!(
        with(&bench, &ENV, &["list"]).assert_code(0).stdout,
        "NAME                   OPTIMIZER              DESCRIPTION
dev.opsani.com/servox  dev.opsani.com/servox  Continuous Optimization Orchestrator
"
    );
    file("- 1").run(&["list"]).assert_code(1);

    // The example of ServoX's readme.
    let bench = file(
        "---
optimizer: {id: newco.com/awesome-app1, token: 0000}
connectors: [vegeta]
vegeta: {duration: 5m, rate: 50/1s, target: \"GET https://app1.example.com/\"}
---
optimizer: {id: newco.com/awesome-app2, token: 1111}
description: the second
connectors: [vegeta]
vegeta: {duration: 5m, rate: 50/1s, target: \"GET https://app2.example.com/\"}
",
    );
    let ended = bench.run(&["list", "-o", "json"]);
    assert_eq!(
        ended.assert_code(0).json(),
        json!([
            {
                "name": "newco.com/awesome-app1",
                "optimizer": "newco.com/awesome-app1",
                "description": "Continuous Optimization Orchestrator",
            },
            {
                "name": "newco.com/awesome-app2",
                "optimizer": "newco.com/awesome-app2",
                "description": "the second",
            },
        ])
    );
    bench.run(&["validate"]).assert_code(0);
    let ended = bench.run(&["-n", "newco.com/awesome-app2", "show", "connectors"]);
    let lines: Vec<&str> = ended.assert_code(0).stdout.lines().collect();
    assert_eq!(lines[0], "newco.com/awesome-app2");
    assert!(!ended.stdout.contains("awesome-app1"));
    let ended = bench.run(&["-n", "newco.com/awesome-app2", "list"]);
    assert_eq!(first_column(&ended), ["newco.com/awesome-app2"]);
    bench
        .run(&["-n", "nope", "list"])
        .assert_code(2)
        .assert_stderr(&["No servo was found named \"nope\""]);
}

#[test]
fn an_appdynamics_optimizer_is_named_by_tenant_and_id() {
    let bench = file("");
    let mut variables = vec![
        ("APPD_OPTIMIZER_ID", "w=="),
        ("APPD_TENANT_ID", "t"),
        ("APPD_BASE_URL", "https://a.b/"),
        ("APPD_CLIENT_ID", "c"),
        ("APPD_CLIENT_SECRET", "s"),
    ];
    let ended = with(&bench, &variables, &["list"]);
    ended
        .assert_code(0)
        .assert_stdout(&["\nt - w==  t - w==  "]);
    let ended = with(&bench, &variables, &["config", "-f", "json"]);
    assert_eq!(
        ended.assert_code(0).json()["optimizer"],
        json!({
            "base_url": "https://a.b",
            "client_id": "c",
            "client_secret": "**********",
            "optimizer_id": "w==",
            "tenant_id": "t",
            "token_url": "https://a.b/auth/t/default/oauth2/token",
            "url": "https://a.b/rest/optimize/co/v1/optimizers/w==/",
        })
    );
    variables.pop();
    let ended = with(&bench, &variables, &["list"]);
    ended.assert_code(1).assert_stderr(&["client_secret"]);
    assert!(!ended.stderr.contains("optimizer -> client_id"), "{ended}");
}

#[test]
fn all_connector_types() {
    // A broken file does not matter.
    for bench in [Bench::new(), file("a: [1,")] {
        let ended = bench.run(&["connectors"]);
        let names = first_column(ended.assert_code(0));
        assert!(names.is_sorted(), "{ended}");
        for name in [
            "kube_metrics",
            "kubernetes",
            "opsani_dev",
            "prometheus",
            "scripts",
            "servo",
            "vegeta",
            "wait",
        ] {
            assert!(names.contains(&name), "{name}: {ended}");
        }
        ended.assert_stdout(&["NAME          VERSION    DESCRIPTION\n"]);
        assert!(!ended.stdout.contains("None"));
        let ended = bench.run(&["connectors", "-v"]);
        let header = ended.assert_code(0).stdout.lines().next().unwrap();
        let columns: Vec<&str> = header.split_whitespace().collect();
        assert_eq!(
            columns,
            [
                "NAME",
                "VERSION",
                "DESCRIPTION",
                "HOMEPAGE",
                "MATURITY",
                "LICENSE"
            ]
        );
        ended.assert_stdout(&["Robust", "Experimental", "Apache 2.0"]);
        let types = bench.run(&["connectors", "-o", "yaml"]);
        let types: Value = serde_yaml::from_str(&types.assert_code(0).stdout).unwrap();
        assert!(
            types
                .as_array()
                .unwrap()
                .iter()
                .any(|row| row["type"] == "Vegeta")
        );
    }
}

#[test]
fn active_connectors() {
    let bench = file(&format!(
        "connectors: [wait]\n{W}prometheus: {{base_url: \"http://a\"}}\n"
    ));
    let ended = bench.run(&["show", "connectors"]);
    assert_eq!(
        ended.assert_code(0).stdout,
        format!(
            "NAME    TYPE    VERSION    DESCRIPTION
servo   Servo   {:9}  Continuous Optimization Orchestrator
wait    Wait    0.0.1      Wait (no-op) Connector for Opsani

",
            env!("CARGO_PKG_VERSION")
        )
    );
    let ended = file(&format!("connectors: []\n{W}")).run(&["show", "connectors"]);
    assert_eq!(first_column(ended.assert_code(0)), ["servo"]);
    file("connectors: [wait]\n")
        .run(&["show", "connectors"])
        .assert_code(1)
        .assert_stderr(&["wait", "field required"]);

    let bench = file(
        "connectors: {prom1: wait, prom2: wait}
prom1: {measure_enabled: true}
prom2: {}
",
    );
    let variables = [
        ("SERVO_PROM2_MEASURE_ENABLED", "false"),
        ("SERVO_PROM1_MEASURE_ENABLED", "false"),
    ];
    let ended = with(&bench, &variables, &["show", "connectors"]);
    assert_eq!(
        first_column(ended.assert_code(0)),
        ["servo", "prom1", "prom2"]
    );
    assert_eq!(ended.stdout.matches("Wait ").count(), 2, "{ended}");
    let config = with(&bench, &variables, &["config", "-f", "json"]).json();
    assert_eq!(config["prom1"]["measure_enabled"], true);
    assert_eq!(config["prom2"]["measure_enabled"], false);
    let ended = with(&bench, &variables, &["show", "connectors", "-o", "json"]);
    let names: Vec<_> = ended
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].clone())
        .collect();
    assert_eq!(names, ["servo", "prom1", "prom2"]);
}

#[test]
fn names_that_no_connector_may_have() {
    for (connectors, word, rule) in [
        ("{settings: wait}", "settings", "is reserved"),
        ("{dispatcher: wait}", "dispatcher", "is reserved"),
        ("{ab: wait}", "ab", "is not a valid connector name"),
        (
            "{my alias: wait}",
            "my alias",
            "is not a valid connector name",
        ),
        (
            "{vegeta: wait}",
            "vegeta",
            "is reserved by `VegetaConnector`",
        ),
        (
            "{abc: nope}",
            "nope",
            "no connector found for the identifier",
        ),
        (
            "[no.such.Thing]",
            "no.such.Thing",
            "no connector found for the identifier",
        ),
    ] {
        file(&format!("connectors: {connectors}\n"))
            .run(&["show", "connectors"])
            .assert_code(1)
            .assert_stderr(&[&format!("\"{word}\""), rule]);
    }
}

#[test]
fn variables_activate_connectors() {
    let bench = file(&format!("{W}vegeta: {{rate: 5, target: GET http://a}}\n"));
    let active = |bench: &Bench, variables: &[(&str, &str)]| {
        let ended = with(bench, variables, &["show", "connectors"]);
        first_column(ended.assert_code(0))
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(active(&bench, &[]), ["servo", "wait", "vegeta"]);
    for named in ["[\"wait\"]", "wait", "{\"wait\": \"WaitConnector\"}"] {
        assert_eq!(
            active(&bench, &[("SERVO_CONNECTORS", named)]),
            ["servo", "wait"]
        );
    }
    let json = [("SERVO_WAIT", "{\"measure_enabled\": true}")];
    assert_eq!(active(&file(""), &json), ["servo", "wait"]);
    let leaf = [("SERVO_WAIT_MEASURE_ENABLED", "true")];
    assert_eq!(active(&file(""), &leaf), ["servo"]);
}

#[test]
fn events_of_the_connectors() {
    let bench = file("");
    assert_eq!(
        with(&bench, &ENV, &["show", "events"])
            .assert_code(0)
            .stdout
            .trim_end(),
        "EVENT    CONNECTORS\ncheck    Servo"
    );
    let bench = file(
        "connectors: {first: wait, wait: wait}
first: {measure_enabled: true}
wait: {measure_enabled: true}
",
    );
    assert_eq!(
        bench.run(&["show", "events"]).assert_code(0).stdout,
        "EVENT     CONNECTORS
check     Servo
describe  Wait
          first (Wait)
measure   Wait
          first (Wait)

"
    );
    assert_eq!(
        bench.run(&["show", "events", "-c"]).assert_code(0).stdout,
        "CONNECTOR     EVENTS
Servo         check
Wait          describe
              measure
first (Wait)  describe
              measure

"
    );
    let rows = bench.run(&["show", "events", "-o", "json"]).json();
    assert_eq!(
        rows[2],
        json!({ "servo": "servo", "event": "measure", "stage": "on", "connectors": ["Wait", "first (Wait)"] })
    );
    let all = bench.run(&["show", "events", "--all"]);
    all.assert_code(0)
        .assert_stdout(&["Process", "Prometheus", "Wait"]);
}

#[test]
fn stages_of_events() {
    let bench = Bench::new();
    bench.run(&["generate", "process", "-q"]).assert_code(0);
    let rows = |arguments: &[&str]| -> Vec<String> {
        let ended = bench.run(&[&["show", "events"], arguments].concat());
        let lines = ended.assert_code(0).stdout.lines().skip(1);
        lines
            .filter_map(|line| Some(line.strip_suffix("Process")?.trim().to_owned()))
            .filter(|event| event.ends_with("measure"))
            .collect()
    };
    let (before, on) = ("before measure", "measure");
    assert_eq!(rows(&[]), [before, on]);
    assert_eq!(rows(&["--before"]), [before]);
    assert_eq!(rows(&["--before", "--after"]), [before]);
    assert_eq!(rows(&["--after"]), [""; 0]);
    assert_eq!(rows(&["--no-on"]), [before]);
    assert_eq!(rows(&["--no-on", "--before"]), [before]);
    assert_eq!(rows(&["--no-before", "--no-after"]), [on]);
    assert_eq!(rows(&["--no-on", "--on"]), [on]);
}

#[test]
fn the_file_is_named_before_or_after_show() {
    let bench = file("");
    bench.write("other.yaml", W);
    for arguments in [
        &["-c", "other.yaml", "show", "events"][..],
        &["show", "-c", "other.yaml", "events"],
        &["show", "events", "--config-file", "other.yaml"],
    ] {
        bench
            .run(arguments)
            .assert_code(0)
            .assert_stdout(&["measure   Wait"]);
    }
}

#[test]
fn metrics_with_their_units() {
    let bench = file(
        "prometheus:
  base_url: http://127.0.0.1:1
  metrics:
  - {name: zeta, query: up, unit: count}
  - {name: alpha, query: up, unit: rps}
  - {name: beta, query: up, unit: requests_per_second}
",
    );
    assert_eq!(
        bench.run(&["show", "metrics"]).assert_code(0).stdout,
        "METRIC    UNIT                       CONNECTORS
alpha     requests_per_second (rps)  Prometheus
beta      requests_per_second (rps)  Prometheus
zeta      count ()                   Prometheus

"
    );
    assert_eq!(
        bench.run(&["show", "components"]).assert_code(0).stdout,
        "COMPONENT    SETTINGS    CONNECTOR\n\n"
    );
    let metrics = bench.run(&["show", "metrics", "-o", "json"]).json();
    assert_eq!(
        metrics[2],
        json!({ "servo": "servo", "metric": "zeta", "unit": "count", "symbol": "", "connectors": ["Prometheus"] })
    );
}

/// Nothing here needs a cluster, nor the time to look for one.
#[test]
fn configuration_is_shown_without_a_cluster() {
    let bench = Bench::new();
    bench.run(&["generate", "kubernetes", "-q"]).assert_code(0);
    for arguments in [
        &["list"][..],
        &["config"],
        &["schema"],
        &["validate"],
        &["show", "connectors"],
        &["show", "events"],
    ] {
        let ended = with(&bench, &ENV, arguments);
        ended.assert_code(0);
        assert!(ended.took < Duration::from_secs(5), "{ended}");
    }
}

#[test]
fn versions() {
    let bench = Bench::new();
    let version = env!("CARGO_PKG_VERSION");
    let ended = bench.run(&["version"]);
    assert_eq!(
        ended.assert_code(0).stdout,
        format!(
            "Servo v{version} (Robust)
Continuous Optimization Orchestrator
https://opsani.com/
Licensed under the terms of Apache 2.0
"
        )
    );
    let json = bench.run(&["version", "-f", "json"]).json();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "name",
            "version",
            "cryptonym",
            "maturity",
            "description",
            "homepage",
            "license"
        ]
    );
    let ended = bench.run(&["version", "vegeta"]);
    assert!(
        ended
            .assert_code(0)
            .stdout
            .starts_with("Vegeta Connector v0.5.0 (Stable)\n"),
        "{ended}"
    );
    assert_eq!(
        bench.run(&["version", "vegeta", "--short"]).stdout,
        "Vegeta Connector v0.5.0\n"
    );
    assert_eq!(
        bench
            .run(&["version", "VegetaConnector", "-s", "-f", "json"])
            .json(),
        json!({ "name": "Vegeta Connector", "version": "0.5.0", "cryptonym": null })
    );
    let scripts = bench.run(&["version", "scripts", "-f", "json"]).json();
    assert_eq!(scripts["homepage"], Value::Null);
    bench
        .run(&["version", "nope"])
        .assert_code(2)
        .assert_stderr(&["no connector found for key 'nope'"]);
    let verbose = bench.run(&["version", "-v", "-f", "json"]).json();
    for key in ["commit", "built", "target"] {
        assert!(verbose.get(key).is_some(), "{verbose}");
    }
    let ended = bench.run(&["version", "-v"]);
    ended
        .assert_code(0)
        .assert_stdout(&["\nCommit ", "\nBuilt ", "\nTarget "]);
}
