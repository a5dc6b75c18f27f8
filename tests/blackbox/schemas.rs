//! The published schema (`spec/config-and-cli.md` §7.8).

mod agreement;

use std::{fs, io::Read, process::Stdio};

use serde_json::{Value, json};

use crate::bench::{Bench, Running, SOON};

const TWO: &str = "optimizer: {id: example.com/one, token: t}
---
name: two
optimizer: {id: example.com/two, token: t}
";

#[test]
fn the_schema_of_a_document() {
    let bench = Bench::new();
    // Without a file there is one of which everything is up to the environment.
    let schema = bench.run(&["schema"]).assert_code(0).json();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert_eq!(schema["title"], "Servo Configuration Schema");
    let description = schema["description"].as_str().unwrap();
    assert!(
        description.starts_with("Schema for configuration of Servo v"),
        "{description}"
    );
    assert!(
        description.contains(", and Wait Connector v0.0.1"),
        "{description}"
    );
    assert_eq!(schema["type"], "object");
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(schema.get("required"), None);
    let properties = &schema["properties"];
    assert_eq!(properties["wait"]["env_names"], json!(["SERVO_WAIT"]));
    assert_eq!(
        properties["wait"]["title"],
        "Wait Connector Settings (named wait)"
    );
    assert_eq!(
        properties["wait"]["anyOf"][0]["$ref"],
        "#/definitions/WaitConfiguration"
    );
    assert_eq!(properties["no_diagnostics"]["title"], "No Diagnostics");
    assert_eq!(properties["no_diagnostics"]["default"], true);
    assert_eq!(
        properties["no_diagnostics"]["env_names"],
        json!(["SERVO_NO_DIAGNOSTICS"])
    );
    assert_eq!(properties["checks"]["default"]["wait"], "30m");
    let definitions = &schema["definitions"];
    let rate = &definitions["VegetaConfiguration"]["properties"]["rate"];
    assert_eq!(rate["env_names"], json!(["SERVO_VEGETA_RATE"]));
    assert_eq!(rate["type"], json!(["integer", "string"]));
    let wait = &definitions["ChecksConfiguration"]["properties"]["wait"];
    assert_eq!(
        wait["env_names"],
        json!(["SERVO_CHECKS_WAIT", "CHECKS_WAIT"])
    );
    let token = &definitions["OpsaniOptimizer"]["properties"]["token"];
    assert_eq!(token["format"], "password");
    assert_eq!(token["writeOnly"], true);
    assert_eq!(token["env_names"], json!(["OPSANI_TOKEN"]));
    for kind in ["Opsani", "Appdynamics", "Embedded"] {
        assert!(definitions[format!("{kind}Optimizer")].is_object());
    }
    assert!(!schema.to_string().contains("$defs"));
}

#[test]
fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let bench = Bench::new();
    for arguments in [
        &["schema"][..],
        &["schema", "--top-level", "--all"],
        &["schema", "prometheus"],
        &["schema", "process"],
    ] {
        let schema = bench.run(arguments).assert_code(0).json();
        let mut found = Vec::new();
        references(&schema, &mut found);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(schema.pointer(pointer).is_some(), "{reference}");
        }
    }
}

#[test]
fn named_connectors_are_required() {
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        "connectors: {wait: wait, my/other.wait: wait}
wait: {measure_enabled: true}
my/other.wait: {measure_enabled: true}
",
    );
    let schema = bench.run(&["schema"]).assert_code(0).json();
    assert_eq!(schema["required"], json!(["wait", "my/other.wait"]));
    let properties = &schema["properties"];
    assert_eq!(
        properties["my/other.wait"],
        json!({
            "title": "Wait Connector Settings (named my/other.wait)",
            "env_names": ["SERVO_MY_OTHER_WAIT"],
            "allOf": [{ "$ref": "#/definitions/WaitConfiguration__my_other.wait" }],
        })
    );
    assert_eq!(
        schema["definitions"]["WaitConfiguration__my_other.wait"]["properties"]["measure_enabled"]
            ["env_names"],
        json!(["SERVO_MY_OTHER_WAIT_MEASURE_ENABLED"])
    );
    assert!(
        schema["description"]
            .as_str()
            .unwrap()
            .ends_with(" with Wait Connector v0.0.1")
    );
    // A variable that holds the stanza.
    let mut command = bench.servo(&["schema"]);
    command.env("SERVO_WAIT", r#"{"measure_enabled": true}"#);
    let schema = Running::start(command).ended(SOON).json();
    assert_eq!(schema["required"], json!(["my/other.wait"]));
}

#[test]
fn the_schema_of_a_connector() {
    let bench = Bench::new();
    for word in [
        "vegeta",
        "VegetaConnector",
        "servo.connectors.vegeta.VegetaConnector",
    ] {
        let schema = bench.run(&["schema", word]).assert_code(0).json();
        assert_eq!(schema["title"], "Vegeta Connector Configuration Schema");
        assert_eq!(schema["required"], json!(["rate"]));
        assert_eq!(
            schema["properties"]["rate"]["env_names"],
            json!(["SERVO_VEGETA_RATE"])
        );
    }
    bench
        .run(&["schema", "nope"])
        .assert_code(2)
        .assert_stderr(&[
            "Invalid value for '[CONNECTOR]': no Connector type found for key 'nope'",
        ]);
    bench.write(
        "servo.yaml",
        "connectors: {load: vegeta}\nload: {rate: 5, target: GET http://a}\n",
    );
    let schema = bench.run(&["schema", "load"]).assert_code(0).json();
    assert_eq!(
        schema["properties"]["rate"]["env_names"],
        json!(["SERVO_LOAD_RATE"])
    );
    bench.run(&["schema", "nope"]).assert_code(2);
}

#[test]
fn several_servos() {
    let bench = Bench::new();
    bench.write("servo.yaml", TWO);
    let ended = bench.run(&["schema"]);
    ended
        .assert_code(1)
        .assert_stderr(&["error: schema can only be outputted for a single servo"]);
    assert_eq!(ended.stdout, "");
    bench.run(&["-n", "two", "schema"]).assert_code(0);
    bench
        .run(&["schema", "--top-level"])
        .assert_code(1)
        .assert_stderr(&[
            "error: schema can only be outputted for all connectors or a single servo",
        ]);
    let all = bench.run(&["schema", "--top-level", "--all"]);
    let schema = all.assert_code(0).json();
    assert_eq!(schema["title"], "Servo Schema");
    assert!(schema["definitions"]["VegetaConfiguration"].is_object());
    assert_eq!(schema.get("properties"), None);
    bench.run(&["schema", "--all"]).assert_code(0);
}

#[test]
fn formats_and_files() {
    let bench = Bench::new();
    let json = bench.run(&["schema", "vegeta"]);
    assert_eq!(
        bench.run(&["schema", "vegeta", "-f", "dict"]).stdout,
        json.stdout
    );
    let ended = bench.run(&["schema", "vegeta", "-o", "schema.json"]);
    assert_eq!(ended.assert_code(0).stdout, "");
    assert_eq!(
        fs::read_to_string(bench.path("schema.json")).unwrap(),
        json.stdout
    );
    bench
        .run(&["schema", "vegeta", "-o", "no/such/directory"])
        .assert_code(1)
        .assert_stderr(&["Could not open file 'no/such/directory': No such file or directory"]);
    bench
        .run(&["schema", "-f", "html"])
        .assert_code(1)
        .assert_stderr(&["error: not yet implemented"]);
    let ended = bench.run(&["schema", "-f", "text"]);
    ended.assert_code(0).assert_stdout(&[
        "KEY",
        "vegeta.rate",
        "SERVO_VEGETA_RATE",
        "optimizer.id",
        "OPSANI_OPTIMIZER",
        "prometheus.metrics[].query",
        "checks.wait",
        "30m",
    ]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let bench = Bench::new();
    for arguments in [&["schema"][..], &["connectors"], &["version"]] {
        let mut command = bench.servo(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut told = String::new();
        let mut stderr = child.stderr.take().unwrap();
        stderr.read_to_string(&mut told).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(told, "");
    }
}
