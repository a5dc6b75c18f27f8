//! `servo generate`: what it writes, and what it leaves alone.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use crate::{
    bench::{Bench, Ended, Running, SOON},
    initializing::with_input,
};

fn generated(words: &[&str]) -> (Bench, Ended) {
    let bench = Bench::new();
    let ended = bench.run(&[&["generate"], words].concat());
    (bench, ended)
}

fn text(bench: &Bench, file: &str) -> String {
    fs::read_to_string(bench.path(file)).expect("it was written")
}

/// The only document of `servo.yaml`, as the program itself reads it.
fn document(bench: &Bench) -> Value {
    serde_yaml::from_str(&text(bench, "servo.yaml")).expect("YAML")
}

#[test]
fn names_of_ones_own() {
    let (bench, ended) = generated(&["foo:vegeta", "bar:kubernetes"]);
    ended.assert_code(0);
    assert_eq!(ended.stderr, "");
    let written = text(&bench, "servo.yaml");
    assert_eq!(ended.stdout, format!("{written}Generated servo.yaml\n"));
    assert!(
        written.starts_with(
            "optimizer:\n  id: generated-id.test/generated\n  token: generated-token\n  url: https://api.opsani.com/accounts/generated-id.test/applications/generated/\nconnectors:\n  foo: vegeta\n  bar: kubernetes\nfoo:\n"
        ),
        "{written}"
    );
    let document = document(&bench);
    assert_eq!(document["foo"]["rate"], "50/1s");
    assert_eq!(document["bar"]["namespace"], "default");
    bench
        .run(&["validate"])
        .assert_code(0)
        .assert_stdout(&["√ Valid configuration in servo.yaml"]);
    let (other, _) = generated(&["foo:vegeta", "bar:kubernetes"]);
    assert_eq!(text(&other, "servo.yaml"), written);
    let (bench, _) = generated(&["prom:prometheus", "VegetaConnector"]);
    assert_eq!(
        self::document(&bench)["connectors"],
        serde_json::json!({"prom": "prometheus", "vegeta": "VegetaConnector"})
    );
    bench.run(&["validate", "--strict"]).assert_code(0);
}

#[test]
fn without_words_there_is_one_of_each() {
    let (bench, ended) = generated(&[]);
    ended.assert_code(0);
    let document = document(&bench);
    for name in [
        "kubernetes",
        "kube_metrics",
        "opsani_dev",
        "prometheus",
        "vegeta",
        "scripts",
        "wait",
    ] {
        assert!(document.get(name).is_some(), "no {name}: {ended}");
    }
    assert_eq!(document.get("connectors"), None);
    bench.run(&["validate", "--strict"]).assert_code(0);
}

#[test]
fn an_existing_file_is_overwritten_only_on_request() {
    let bench = Bench::new();
    bench.write("servo.yaml", "# mine\n");
    let file = bench.path("servo.yaml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("a mode");
    let question = "File 'servo.yaml' already exists. Overwrite it? [y/N]: ";
    for input in ["n\n", "\n", ""] {
        let ended = with_input(&bench, input, &["generate", "vegeta"]);
        ended.assert_code(1).assert_stderr(&[question, "Aborted!"]);
        assert_eq!(ended.stdout, "");
        assert_eq!(text(&bench, "servo.yaml"), "# mine\n");
    }
    with_input(&bench, "what\ny\n", &["generate", "wait"]).assert_code(0);
    assert!(document(&bench).get("wait").is_some());
    let ended = bench.run(&["generate", "vegeta", "--force", "-q"]);
    ended.assert_code(0);
    assert_eq!((&*ended.stdout, &*ended.stderr), ("", ""));
    assert!(document(&bench).get("vegeta").is_some());
    let mode = fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let left = fs::read_dir(bench.path(".")).expect("a directory").count();
    assert_eq!(left, 1, "nothing else is left behind");
}

#[test]
fn options_change_what_is_written() {
    let (bench, _) = generated(&["vegeta", "-s"]);
    assert_eq!(document(&bench).get("connectors"), None);
    let (bench, _) = generated(&["vegeta", "-n", "foo"]);
    assert!(text(&bench, "servo.yaml").starts_with("name: foo\noptimizer:\n"));
    let (bench, _) = generated(&["vegeta", "-d"]);
    let all = document(&bench);
    assert_eq!(all["checks"]["wait"], "30m");
    assert_eq!(all["settings"]["backoff"]["__default__"]["max_time"], "10m");
    assert_eq!(all["vegeta"]["workers"], 10);
    assert_eq!(all["vegeta"]["rate"], "50/1s");
    assert_eq!(all["no_diagnostics"], true);
    assert_eq!(all["optimizer"]["base_url"], "https://api.opsani.com");
    bench.run(&["validate", "--strict"]).assert_code(0);
    let (bench, _) = generated(&["wait", "--comments", "--schema-comment", "schema.json"]);
    let written = text(&bench, "servo.yaml");
    assert!(written.starts_with("# yaml-language-server: $schema=schema.json\n"));
    let lines: Vec<&str> = written.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.starts_with("  measure_enabled:"));
    let above = lines[at.expect("the key") - 1];
    assert!(above.starts_with("  # "), "{written}");
    bench.run(&["validate", "--strict"]).assert_code(0);
}

#[test]
fn the_file_is_where_it_was_said_to_be() {
    let bench = Bench::new();
    bench
        .run(&["-c", "other.yaml", "generate", "wait"])
        .assert_code(0)
        .assert_stdout(&["Generated other.yaml"]);
    bench
        .run(&["-c", "other.yaml", "validate"])
        .assert_code(0)
        .assert_stdout(&["in other.yaml"]);
    let ended = bench.run(&["generate", "wait", "-f", "-"]);
    ended.assert_code(0);
    assert_eq!(ended.stdout, text(&bench, "other.yaml"));
    assert!(!bench.path("servo.yaml").exists() && !bench.path("-").exists());
    bench
        .run(&["generate", "wait", "-f", "no/such.yaml"])
        .assert_code(1)
        .assert_stderr(&[
            "Could not open file",
            "no/such.yaml",
            "No such file or directory",
        ]);
    bench
        .run(&["generate", "wait", "-f", "."])
        .assert_code(2)
        .assert_stderr(&["File '.' is a directory."]);
}

#[test]
fn a_servo_is_added_behind_what_is_there() {
    let bench = Bench::new();
    // Without a line break at the end.
    let before =
        "# mine: stays\noptimizer: {id: example.com/one, token: t}\nwait: {measure_enabled: true}";
    bench.write("servo.yaml", before);
    let append = ["generate", "--append", "wait", "-n", "two"];
    bench.run(&append).assert_code(0);
    let after = text(&bench, "servo.yaml");
    assert!(
        after.starts_with(&format!("{before}\n---\nname: two\n")),
        "{after}"
    );
    assert_eq!(after.matches("\n---\n").count(), 1);
    bench.run(&["validate"]).assert_code(0);
    // The name is taken now.
    let ended = bench.run(&append);
    ended
        .assert_code(1)
        .assert_stderr(&["document 3: name", "two"]);
    assert_eq!(text(&bench, "servo.yaml"), after);
    bench
        .run(&["generate", "--append", "vegeta"])
        .assert_code(0);
    bench.run(&["validate"]).assert_code(0);
    bench
        .run(&["generate", "--append", "wait", "--force"])
        .assert_code(2);
}

#[test]
fn words_that_name_no_connector() {
    for (word, parts) in [
        ("a:wait", ["\"a\"", "3 to 128"]),
        ("control:wait", ["\"control\"", "reserved"]),
        ("wait:vegeta", ["\"wait\"", "reserved by `WaitConnector`"]),
        ("abc:def:wait", ["abc:def:wait", "alias:type"]),
        ("nope", ["no connector found for identifier", "'nope'"]),
        ("vegata", ["'vegata'", "did you mean \"vegeta\"?"]),
    ] {
        let (bench, ended) = generated(&[word]);
        ended.assert_code(2).assert_stderr(&parts);
        assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
        assert_eq!(ended.stdout, "");
        assert!(!bench.path("servo.yaml").exists(), "{ended}");
    }
}

#[test]
fn the_placeholder_is_good_for_nothing_but_being_replaced() {
    let (bench, _) = generated(&["wait"]);
    let ended = bench.run(&["run"]);
    ended.assert_code(1).assert_stderr(&["OPSANI_OPTIMIZER"]);
    assert!(ended.took < SOON, "{ended}");
    let mut command = bench.servo(&["run"]);
    command
        .env("OPSANI_OPTIMIZER", "dev.opsani.com/servox")
        .env("OPSANI_TOKEN", "t")
        .env("OPSANI_BASE_URL", "http://127.0.0.1:9");
    let mut real = Running::start(command);
    real.until("the real optimizer", SOON, |_, err| {
        err.contains("accounts/dev.opsani.com/applications/servox")
            .then_some(())
    });
    assert!(!real.stderr().contains("generated"), "{}", real.stderr());
}
