//! `servo validate`, and the variables of `.env` that fill a file.

use std::fs;

use crate::{
    bench::{Bench, Ended, Running, SOON},
    initializing::with_input,
};

const WAIT: &str = "wait: {measure_enabled: true}\n";

/// With an optimizer from the environment.
fn run(bench: &Bench, arguments: &[&str]) -> Ended {
    let mut command = bench.servo(arguments);
    command
        .env("OPSANI_OPTIMIZER", "dev.opsani.com/servox")
        .env("OPSANI_TOKEN", "123456789");
    Running::start(command).ended(SOON)
}

#[test]
fn valid_and_invalid() {
    let bench = Bench::new();
    bench.write("servo.yaml", WAIT);
    let ended = run(&bench, &["validate"]);
    ended.assert_code(0);
    assert_eq!(ended.stdout, "√ Valid configuration in servo.yaml\n");
    assert_eq!(ended.stderr, "");
    bench.write("servo.yaml", &format!("{WAIT}wat: 1\n"));
    let ended = run(&bench, &["validate"]);
    ended.assert_code(1).assert_stderr(&[
        "X Invalid configuration in servo.yaml\n",
        "wat (line 2, column 1)\n  extra fields not permitted (did you mean \"wait\"?)",
    ]);
    assert_eq!(ended.stdout, "");
    let quiet = run(&bench, &["validate", "-q"]);
    quiet.assert_code(1);
    assert_eq!((&*quiet.stdout, &*quiet.stderr), ("", ""));
}

#[test]
fn mistakes_of_all_stanzas_are_told_with_their_lines() {
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        "wait:\n  measure_enable: true\nvegeta:\n  rate: 50/1s\n  target: GET https://example.com/\n  worker: 3\n",
    );
    run(&bench, &["validate"]).assert_code(1).assert_stderr(&[
        "wait -> measure_enable (line 2",
        "vegeta -> worker (line 6",
        "measure_enabled",
    ]);
}

#[test]
fn files_that_are_none() {
    let bench = Bench::new();
    let ended = run(&bench, &["validate", "-f", "nofile.yaml"]);
    ended
        .assert_code(2)
        .assert_stderr(&["Invalid value for '--file' / '-f': File 'nofile.yaml' does not exist."]);
    let ended = run(&bench, &["validate", "-q", "-f", "nofile.yaml"]);
    ended.assert_code(2);
    assert_eq!((&*ended.stdout, &*ended.stderr), ("", ""));
    run(&bench, &["validate", "-f", "."])
        .assert_code(2)
        .assert_stderr(&["File '.' is a directory."]);
    run(&bench, &["validate"]).assert_code(2);
    bench.write("broken.yaml", "a: [1,\n");
    run(&bench, &["validate", "-f", "broken.yaml"])
        .assert_code(1)
        .assert_stderr(&["X Invalid configuration in broken.yaml", "line "]);
    bench.write("list.yaml", "- 1\n");
    run(&bench, &["validate", "-f", "list.yaml"])
        .assert_code(1)
        .assert_stderr(&["mapping"]);
    bench.write("empty.yaml", "");
    run(&bench, &["validate", "-f", "empty.yaml"]).assert_code(0);
    bench
        .run(&["validate", "-f", "empty.yaml"])
        .assert_code(1)
        .assert_stderr(&["optimizer -> id"]);
}

#[test]
fn several_files_are_all_checked() {
    let bench = Bench::new();
    bench.write("one.yaml", WAIT);
    bench.write("two.yaml", "wat: 1\n");
    bench.write("three.yaml", "wiat: 1\n");
    let files = [
        "validate",
        "-f",
        "one.yaml",
        "-f",
        "two.yaml",
        "-f",
        "three.yaml",
    ];
    let ended = run(&bench, &files);
    ended
        .assert_code(1)
        .assert_stderr(&["in two.yaml", "in three.yaml"]);
    assert_eq!(ended.stdout, "√ Valid configuration in one.yaml\n");
    let ended = run(&bench, &["validate", "-f", "none.yaml", "-f", "two.yaml"]);
    ended.assert_code(2).assert_stderr(&["in two.yaml"]);
    with_input(
        &bench,
        WAIT,
        &["validate", "--without-optimizer", "-f", "-"],
    )
    .assert_code(0);
    with_input(&bench, "wat: 1", &["validate", "-f", "-"])
        .assert_code(1)
        .assert_stderr(&["wat"]);
}

#[test]
fn words_limit_which_stanzas_there_may_be() {
    let bench = Bench::new();
    bench.write("servo.yaml", WAIT);
    run(&bench, &["validate", "wait"]).assert_code(0);
    run(&bench, &["validate", "vegeta"])
        .assert_code(1)
        .assert_stderr(&["vegeta", "wait"]);
    run(&bench, &["validate", "nope"])
        .assert_code(2)
        .assert_stderr(&["no connector found for identifier 'nope'"]);
    bench.write("servo.yaml", "pause: {measure_enabled: true}\n");
    run(&bench, &["validate", "pause:wait"]).assert_code(0);
    run(&bench, &["validate"]).assert_code(1);
}

#[test]
fn what_is_odd_is_told_and_a_mistake_when_it_is_strict() {
    let bench = Bench::new();
    bench.write("servo.yaml", &format!("connectors: [wait, wait]\n{WAIT}"));
    run(&bench, &["validate"])
        .assert_code(0)
        .assert_stderr(&["warning: servo.yaml: connectors -> 1", "listed twice"]);
    let ended = run(&bench, &["validate", "--strict"]);
    ended
        .assert_code(1)
        .assert_stderr(&["X Invalid configuration in servo.yaml", "listed twice"]);
    assert_eq!(ended.stdout, "");
    bench.write(
        "servo.yaml",
        &format!("connectors: [wait]\n{WAIT}prometheus: {{metrics: []}}\n"),
    );
    run(&bench, &["validate", "--strict"])
        .assert_code(0)
        .assert_stderr(&["note: servo.yaml: prometheus", "inactive"]);
}

#[test]
fn connectors_that_this_build_cannot_run_are_checked() {
    let bench = Bench::new();
    bench.run(&["generate", "kubernetes", "-q"]).assert_code(0);
    bench.run(&["validate", "--strict"]).assert_code(0);
    let file = bench.path("servo.yaml");
    let text = fs::read_to_string(&file).expect("a file");
    bench.write("servo.yaml", &text.replace("namespace:", "namespce:"));
    bench
        .run(&["validate"])
        .assert_code(1)
        .assert_stderr(&["kubernetes -> namespce", "did you mean \"namespace\"?"]);
}

#[test]
fn dotenv_fills_what_the_environment_lacks() {
    let bench = Bench::new();
    fs::create_dir(bench.path("inner")).expect("a directory");
    bench.write("inner/servo.yaml", WAIT);
    bench.write(
        ".env",
        "# mine\nORG=example.com\nexport OPSANI_OPTIMIZER=\"${ORG}/app\" # id\nOPSANI_TOKEN='t # x'\n",
    );
    let inside = |arguments: &[&str]| {
        let mut command = bench.servo(arguments);
        command.current_dir(bench.path("inner"));
        command
    };
    let ended = |command| Running::start(command).ended(SOON);
    let valid = ended(inside(&["validate"]));
    valid.assert_code(0);
    assert_eq!(valid.stderr, "");
    // What is really set wins, even the empty value.
    let mut command = inside(&["validate"]);
    command.env("OPSANI_TOKEN", "");
    ended(command)
        .assert_code(1)
        .assert_stderr(&["optimizer -> token"]);
    let mut command = inside(&["validate"]);
    command.env("OPSANI_OPTIMIZER", "bad");
    ended(command)
        .assert_code(1)
        .assert_stderr(&["optimizer -> id"]);
    ended(inside(&["--no-env-file", "validate"])).assert_code(1);
    bench.write("first.env", "OPSANI_TOKEN=t\n");
    bench.write(
        "second.env",
        "OPSANI_TOKEN=\nOPSANI_OPTIMIZER=example.com/other\n",
    );
    let files = [
        "--env-file",
        "../first.env",
        "--env-file",
        "../second.env",
        "validate",
    ];
    ended(inside(&files)).assert_code(0);
    ended(inside(
        &files[..2]
            .iter()
            .chain(&["validate"])
            .copied()
            .collect::<Vec<_>>(),
    ))
    .assert_code(1)
    .assert_stderr(&["optimizer -> id"]);
    ended(inside(&["--env-file", "none.env", "validate"]))
        .assert_code(2)
        .assert_stderr(&["File 'none.env' does not exist."]);
    bench.write(
        ".env",
        "OPSANI_TOKEN=\"hunter2\nOPSANI_OPTIMIZER=example.com/app\n",
    );
    let wrong = ended(inside(&["validate"]));
    wrong
        .assert_code(1)
        .assert_stderr(&[".env line 1", "closing quote", "optimizer -> token"]);
    assert!(!wrong.stderr.contains("hunter2"), "{wrong}");
}
