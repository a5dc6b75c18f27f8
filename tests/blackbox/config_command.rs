//! `servo config`: what counts of file, variables and options (`spec/config-and-cli.md` §7.5).

use std::{fs, os::unix::fs::PermissionsExt};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::bench::{Bench, Ended, Running, SOON};

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

const LOAD: &str = "vegeta: {rate: 7, target: GET https://opsani.com/, workers: 10}\n";

#[test]
fn what_was_said_and_is_no_default() {
    let bench = file(LOAD);
    let ended = with(&bench, &ENV, &["config", "--show-secrets"]);
    assert_eq!(
        ended.assert_code(0).stdout,
        "optimizer:
  id: dev.opsani.com/servox
  token: '123456789'
  url: https://api.opsani.com/accounts/dev.opsani.com/applications/servox/
vegeta:
  rate: '7'
  target: GET https://opsani.com/
"
    );
    let ended = with(&bench, &ENV, &["config"]);
    ended.assert_code(0).assert_stdout(&["token: '**********'"]);
    assert!(!ended.stdout.contains("123456789"));
    // Its name before ServoX 0.2.
    assert_eq!(with(&bench, &ENV, &["settings"]).stdout, ended.stdout);
    assert_eq!(
        with(&bench, &ENV, &["config", "-f", "json", "vegeta"]).json(),
        json!({ "vegeta": { "rate": "7", "target": "GET https://opsani.com/" } })
    );
    assert_eq!(
        with(&bench, &ENV, &["config", "-f", "text", "vegeta"]).stdout,
        "vegeta.rate = 7\nvegeta.target = GET https://opsani.com/\n"
    );
    with(&bench, &ENV, &["config", "vegeta", "vegetta"])
        .assert_code(2)
        .assert_stderr(&["'vegetta'", "did you mean \"vegeta\"?"]);
    with(&bench, &ENV, &["config", "nope"]).assert_code(2);
    assert_eq!(with(&bench, &ENV, &["config", "checks"]).stdout, "{}\n");
}

#[test]
fn the_file_comes_before_variables() {
    let rate = |text: &str, variables: &[(&str, &str)]| {
        let ended = with(&file(text), variables, &["config", "-f", "json"]);
        ended.assert_code(0).json()["vegeta"]["rate"].clone()
    };
    let variable = [("SERVO_VEGETA_RATE", "5")];
    assert_eq!(rate(LOAD, &variable), "7");
    let open = "vegeta: {target: GET https://opsani.com/}\n";
    assert_eq!(rate(open, &variable), "5");
    for other in ["VEGETA_RATE", "servo_vegeta_rate"] {
        with(&file(open), &[(other, "5")], &["config"])
            .assert_code(1)
            .assert_stderr(&["vegeta -> rate", "field required"]);
    }
}

#[test]
fn variables_of_others_change_nothing() {
    let bench = Bench::new();
    bench.run(&["generate", "-q"]).assert_code(0);
    let before = bench.run(&["config", "-d"]);
    let after = with(
        &bench,
        &[
            ("PERIOD", "7s"),
            ("SKIP", "3s"),
            ("DISABLED", "1"),
            ("DEPLOYMENT_NAME", "x"),
            ("CONTAINER_NAME", "y"),
            ("CHECKS", "x"),
            ("COMMON", "y"),
        ],
        &["config", "-d"],
    );
    assert_eq!(before.assert_code(0).stdout, after.assert_code(0).stdout);
    // What it shows is a file that says the same.
    let again = Bench::new();
    again.write(
        "servo.yaml",
        &bench.run(&["config", "-d", "--show-secrets"]).stdout,
    );
    again.run(&["validate"]).assert_code(0);
    assert_eq!(again.run(&["config", "-d"]).stdout, before.stdout);
    let plain = Bench::new();
    plain.write(
        "servo.yaml",
        &bench.run(&["config", "--show-secrets"]).stdout,
    );
    assert_eq!(plain.run(&["config", "-d"]).stdout, before.stdout);
}

#[test]
fn texts_of_values() {
    let bench = file(
        "settings: {timeouts: 5s, backoff: {__default__: {max_time: 600}}}
checks: {wait: null, delay: 90, progressive: true, halt_on: null}
prometheus:
  base_url: http://p:9090/
  bearer_token: top secret
  metrics: [{name: t, query: up, step: 60, unit: requests_per_second}]
  fast_fail: {period: 60, skip: 5}
",
    );
    assert_eq!(
        bench.run(&["config", "-f", "json"]).assert_code(0).json(),
        json!({
            "checks": { "delay": "1m30s", "halt_on": "never", "wait": "0" },
            "prometheus": {
                "base_url": "http://p:9090",
                "bearer_token": "**********",
                "fast_fail": { "skip": "5s" },
                "metrics": [{ "name": "t", "query": "up", "unit": "rps" }],
            },
            "settings": {
                "timeouts": { "connect": "5s", "pool": "5s", "read": "5s", "write": "5s" },
            },
        })
    );
    let shown = bench
        .run(&["config", "--show-secrets", "-f", "json"])
        .json();
    assert_eq!(shown["prometheus"]["bearer_token"], "top secret");
    let all = bench.run(&["config", "--defaults", "-f", "json"]).json();
    assert_eq!(all["prometheus"]["timeout"], "30s");
    assert_eq!(all["prometheus"]["metrics"][0]["absent"], "ignore");
    assert_eq!(all["checks"]["remedy"], true);
    assert_eq!(all["no_diagnostics"], true);
    assert_eq!(all["settings"]["backoff"]["connect"]["max_time"], "1h");
}

#[test]
fn origins() {
    let bench = file("vegeta:\n  rate: 7\nwait: {measure_enabled: true}\n");
    let mut variables = ENV.to_vec();
    variables.push(("SERVO_VEGETA_TARGET", "GET http://a"));
    variables.push(("CHECKS_PROGRESSIVE", "False"));
    let ended = with(&bench, &variables, &["config", "--origin", "-f", "json"]);
    let rows = ended.assert_code(0).json();
    let origin = |key: &str| {
        let row = rows
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["key"] == key);
        row.unwrap_or_else(|| panic!("{key}: {ended}"))["origin"].clone()
    };
    assert_eq!(origin("optimizer.id"), "variable OPSANI_OPTIMIZER");
    assert_eq!(origin("optimizer.url"), "computed");
    assert_eq!(origin("vegeta.rate"), "servo.yaml:2:3");
    assert_eq!(origin("vegeta.target"), "variable SERVO_VEGETA_TARGET");
    assert_eq!(origin("checks.progressive"), "variable CHECKS_PROGRESSIVE");
    assert_eq!(origin("wait.measure_enabled"), "servo.yaml:3:8");
    let ended = with(
        &bench,
        &variables,
        &["--base-url", "http://b", "config", "--origin", "-d"],
    );
    ended
        .assert_code(0)
        .assert_stdout(&["KEY", "VALUE", "ORIGIN"]);
    let line = |key: &str| {
        let found = ended.stdout.lines().find(|line| line.starts_with(key));
        found.unwrap_or_else(|| panic!("{key}: {ended}")).to_owned()
    };
    assert!(line("optimizer.base_url").ends_with(" option --base-url"));
    assert!(line("checks.remedy").ends_with(" default"));
    assert!(line("vegeta.workers").ends_with(" default"));
    assert!(line("optimizer.token").contains("**********"));
}

#[test]
fn several_servos() {
    let bench = file(
        "optimizer: {id: example.com/one, token: first secret}
---
name: two
optimizer: {id: example.com/two, token: second secret}
",
    );
    let ended = bench.run(&["config"]);
    let documents: Vec<Value> = serde_yaml::Deserializer::from_str(&ended.assert_code(0).stdout)
        .map(|document| Value::deserialize(document).unwrap())
        .collect();
    assert_eq!(documents.len(), 2);
    assert_eq!(documents[0]["optimizer"]["id"], "example.com/one");
    assert_eq!(documents[1]["name"], "two");
    let json = bench.run(&["config", "-f", "json"]).json();
    assert_eq!(json, Value::from(documents));
    let one = bench.run(&["-n", "two", "config", "-f", "json"]).json();
    assert_eq!(one, json[1]);
    let maps = bench.run(&["config", "-f", "configmap"]);
    let names: Vec<String> = serde_yaml::Deserializer::from_str(&maps.assert_code(0).stdout)
        .map(|document| Value::deserialize(document).unwrap())
        .map(|map| map["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["opsani-servo-config-1", "opsani-servo-config-2"]);
}

#[test]
fn a_configmap() {
    let bench = file(LOAD);
    let ended = with(
        &bench,
        &ENV,
        &["config", "-f", "configmap", "--show-secrets"],
    );
    assert!(ended.assert_code(0).stdout.starts_with("---\n"), "{ended}");
    assert!(ended.stdout.contains("servo.yaml: |\n"), "{ended}");
    assert!(!ended.stdout.contains("123456789"));
    assert_eq!(ended.stderr, "");
    let map: Value = serde_yaml::from_str(&ended.stdout).unwrap();
    assert_eq!(map["apiVersion"], "v1");
    assert_eq!(map["kind"], "ConfigMap");
    let metadata = &map["metadata"];
    assert_eq!(metadata["name"], "opsani-servo-config");
    assert_eq!(
        metadata["labels"],
        json!({
            "app.kubernetes.io/name": "servo",
            "app.kubernetes.io/version": env!("CARGO_PKG_VERSION"),
        })
    );
    let annotations = &metadata["annotations"];
    let at = annotations["servo.opsani.com/configured_at"]
        .as_str()
        .unwrap();
    assert!(at.ends_with("+00:00"), "{at}");
    let connectors = annotations["servo.opsani.com/connectors"].as_str().unwrap();
    let connectors: Value = serde_json::from_str(connectors).unwrap();
    assert_eq!(
        connectors,
        json!([{
            "name": "vegeta",
            "type": "Vegeta Connector",
            "description": "Vegeta load testing connector",
            "version": "0.5.0",
            "url": connectors[0]["url"],
        }])
    );
    let data = map["data"]["servo.yaml"].as_str().unwrap();
    let data: Value = serde_yaml::from_str(data).unwrap();
    assert_eq!(
        data,
        json!({ "vegeta": { "rate": "7", "target": "GET https://opsani.com/" } })
    );
}

#[test]
fn files_with_and_without_secrets() {
    let bench = file(LOAD);
    let mode = |name: &str| fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o777;
    let ended = with(&bench, &ENV, &["config", "-o", "out.yaml"]);
    assert_eq!(ended.assert_code(0).stdout, "");
    let written = fs::read_to_string(bench.path("out.yaml")).unwrap();
    assert_eq!(written, with(&bench, &ENV, &["config"]).stdout);
    assert_ne!(mode("out.yaml") & 0o044, 0);

    // A file that others can read is not where secrets go.
    with(
        &bench,
        &ENV,
        &["config", "--show-secrets", "-o", "out.yaml"],
    )
    .assert_code(1)
    .assert_stderr(&["out.yaml", "others can read it"]);
    assert_eq!(fs::read_to_string(bench.path("out.yaml")).unwrap(), written);
    with(
        &bench,
        &ENV,
        &["config", "--show-secrets", "-o", "secret.yaml"],
    )
    .assert_code(0);
    assert_eq!(mode("secret.yaml"), 0o600);
    with(
        &bench,
        &ENV,
        &["config", "--show-secrets", "-o", "secret.yaml"],
    )
    .assert_code(0);
    // Without secrets it is a file like others.
    with(
        &bench,
        &ENV,
        &["config", "--show-secrets", "vegeta", "-o", "out.yaml"],
    )
    .assert_code(0);

    with(&bench, &ENV, &["config", "-o", "no/such/file"])
        .assert_code(1)
        .assert_stderr(&["Could not open file 'no/such/file': No such file or directory"]);
}

#[test]
fn optimizer_ids_and_addresses() {
    for id in [
        "dev.opsani.com/app",
        "abcde/x",
        "abcde/1234",
        "abcde.com/this.that.the.other",
    ] {
        let bench = file(&format!("optimizer: {{id: {id}, token: t}}\n"));
        let shown = bench.run(&["config", "-f", "json"]).assert_code(0).json();
        assert_eq!(shown["optimizer"]["id"], id);
    }
    let long = format!("{}/x", "a".repeat(51));
    let name = format!("abcde/{}", "x".repeat(65));
    for id in [
        "abcd/x",
        &long,
        "-bcde/x",
        "abcde/x/y",
        "abcde",
        "abcde/",
        "abcde/x=",
        &name,
        "abcde/..",
    ] {
        file(&format!("optimizer: {{id: {id}, token: t}}\n"))
            .run(&["config"])
            .assert_code(1)
            .assert_stderr(&["optimizer -> id"]);
    }
    for key in ["base_url", "base-url"] {
        let bench = file(&format!(
            "optimizer: {{id: foo.com/bar, token: t, {key}: \"https://foo.opsani.com/\"}}\n"
        ));
        let shown = bench.run(&["config", "-f", "json"]).assert_code(0).json();
        assert_eq!(
            shown["optimizer"]["url"],
            "https://foo.opsani.com/accounts/foo.com/applications/bar/"
        );
    }
}
