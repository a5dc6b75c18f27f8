//! What the program says of itself and of its configuration, before anything runs.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use crate::{
    bench::{Bench, Ended, Running, SOON, skipped},
    toy::Toy,
};

fn validate(file: &str) -> Ended {
    let bench = Bench::new();
    bench.write("servo.yaml", file);
    bench.run(&["validate"])
}

#[track_caller]
fn refused(file: &str, parts: &[&str]) {
    let ended = validate(file);
    ended
        .assert_code(1)
        .assert_stderr(&["X Invalid configuration in", "servo.yaml"])
        .assert_stderr(parts);
    assert_eq!(ended.stdout, "");
}

const EMBEDDED: &str = "optimizer: {embedded: {objective: {minimize: latency_50th}}}\n";

#[test]
fn version_and_help() {
    let bench = Bench::new();
    let version = env!("CARGO_PKG_VERSION");
    let ended = bench.run(&["version"]);
    ended.assert_code(0).assert_stdout(&[version, "Apache 2.0"]);
    assert_eq!(ended.stderr, "");
    let ended = bench.run(&["version", "--short"]);
    assert_eq!(ended.stdout, format!("Servo v{version}\n"));
    assert_eq!(
        bench.run(&["version", "-o", "json"]).json()["version"],
        version
    );
    bench
        .run(&[])
        .assert_code(0)
        .assert_stdout(&["Usage: servo"]);
    bench.run(&["--help"]).assert_code(0).assert_stdout(&[
        "run",
        "validate",
        "describe",
        "measure",
        "adjust",
        "optimizer",
    ]);
    for command in [
        "run",
        "validate",
        "describe",
        "measure",
        "adjust",
        "optimizer",
    ] {
        bench
            .run(&[command, "--help"])
            .assert_code(0)
            .assert_stdout(&["Usage: servo", command]);
    }
}

#[test]
fn wrong_usage_is_code_2() {
    let bench = Bench::new();
    bench
        .run(&["tune"])
        .assert_code(2)
        .assert_stderr(&["No such command 'tune'."]);
    bench
        .run(&["--log-level", "loud", "version"])
        .assert_code(2)
        .assert_stderr(&["invalid log level 'loud'", "TRACE, DEBUG, INFO"]);
    bench.write(
        "servo.yaml",
        &format!("{EMBEDDED}wait: {{measure_enabled: true}}"),
    );
    bench
        .run(&["-n", "nobody", "describe"])
        .assert_code(2)
        .assert_stderr(&["No servo was found named \"nobody\""]);
    bench
        .run(&["measure", "-d", "5x"])
        .assert_code(2)
        .assert_stderr(&[
            "invalid duration parameter",
            "Unknown unit 'x' in duration '5x'",
        ]);
    bench.run(&["adjust"]).assert_code(2);
}

#[test]
fn a_valid_file() {
    let bench = Bench::new();
    bench.write("servo.yaml", &Toy::new().study(8, ""));
    let ended = bench.run(&["validate"]);
    ended
        .assert_code(0)
        .assert_stdout(&["√ Valid configuration in", "servo.yaml"]);
    assert_eq!(ended.stderr, "");
    assert_eq!(
        bench.run(&["validate", "--quiet"]).assert_code(0).stdout,
        ""
    );
    assert!(!bench.path("trials.db").exists(), "validate starts nothing");
}

#[test]
fn several_servos_in_one_file() {
    let one = |name: &str| {
        format!(
            "name: {name}\noptimizer: {{id: example.com/{name}, token: t}}\nwait: {{measure_enabled: true}}\n"
        )
    };
    let both = format!("{}---\n{}", one("left"), one("right"));
    validate(&both).assert_code(0);
    refused(
        &format!("{}---\n{}", one("left"), one("left")),
        &["document 2: name", "\"left\""],
    );
    refused(
        &format!(
            "{}---\nname: other\n{}",
            one("left"),
            one("left").replace("name: left\n", "")
        ),
        &["document 2: optimizer", "example.com/left"],
    );
    refused(
        &format!("{}---\nwait: {{measure_enabled: true}}\n", one("left")),
        &["document 2: optimizer", "multi-servo"],
    );
}

#[test]
fn unknown_names_come_with_the_nearest_right_one() {
    refused(
        &format!("{EMBEDDED}wiat: {{measure_enabled: true}}"),
        &[
            "wiat",
            "extra fields not permitted (did you mean \"wait\"?)",
        ],
    );
    refused(
        &format!("{EMBEDDED}connectors: [vegata]"),
        &[
            "connectors",
            "no connector found for the identifier \"vegata\" (did you mean \"vegeta\"?)",
        ],
    );
    refused(
        &format!("{EMBEDDED}connectors: [wait]"),
        &["wait", "field required"],
    );
    refused(
        &format!("{EMBEDDED}wait: {{measure_enable: true}}"),
        &["wait -> measure_enable", "measure_enabled"],
    );
    refused(
        "optimizer: {embeded: {}}",
        &["optimizer -> embeded", "did you mean \"embedded\"?"],
    );
}

#[test]
fn all_problems_at_once() {
    let ended = validate(
        "optimizer: {embedded: {objective: {minimize: x}, duration: 5x}}\n\
         connectors: [wait, nope]\n\
         wiat: {}\n\
         wait: {measure_enable: true}\n",
    );
    ended.assert_code(1).assert_stderr(&[
        "5 problems",
        "optimizer -> embedded -> duration (line 1, column 50)\n  Unknown unit 'x' in duration '5x'",
        "\"nope\"",
        "wiat",
        "wait -> measure_enable",
    ]);
}

#[test]
fn what_is_no_configuration() {
    refused("- 1", &["expected a mapping of keys, but found a list"]);
    refused("a: [1,\nb: {", &["line 2, column 1"]);
    refused(
        "wait: {measure_enabled: true}\nwait: {measure_enabled: true}",
        &["duplicate", "wait"],
    );
    refused(
        "",
        &[
            "optimizer",
            "field required",
            "embedded",
            "OPSANI_OPTIMIZER",
        ],
    );
}

#[test]
fn bad_values_of_connectors_and_studies() {
    let toy = Toy::new().study(8, "");
    for (right, wrong, parts) in [
        (
            "rate: 80/1s",
            "rate: 80/1x",
            &["vegeta -> rate", "80/1x"] as &[&str],
        ),
        (
            "min: 1, max: 8",
            "min: 9, max: 8",
            &[
                "process -> components",
                "rounds",
                "min cannot be greater than max",
            ],
        ),
        ("value: dense", "value: dens", &["codec", "dens"]),
        (
            "duration: 300ms",
            "duration: 1h30",
            &["optimizer -> embedded -> duration", "1h30"],
        ),
        (
            "trials: 8",
            "trials: many",
            &["optimizer -> embedded -> trials"],
        ),
        (
            "latency_50th\"",
            "latency_50th +\"",
            &["optimizer -> embedded -> objective", "ends too early"],
        ),
        ("grace: 3s", "grace: -3s", &["stop -> grace", "-3s"]),
    ] {
        assert!(toy.contains(right), "{right}");
        refused(&toy.replace(right, wrong), parts);
    }
}

#[test]
fn files_that_cannot_be_read() {
    let bench = Bench::new();
    let missing = |ended: Ended| {
        ended.assert_code(2).assert_stderr(&[
            "servo.yaml' does not exist",
            "--config-file",
            "make demo",
        ]);
    };
    bench
        .run(&["validate"])
        .assert_code(2)
        .assert_stderr(&["File 'servo.yaml' does not exist."]);
    missing(bench.run(&["run"]));
    bench
        .run(&["-c", "other.yaml", "run"])
        .assert_code(2)
        .assert_stderr(&["other.yaml' does not exist"]);
    bench
        .run(&["-c", ".", "validate"])
        .assert_code(2)
        .assert_stderr(&["File '.' is a directory."]);
    fs::write(bench.path("bytes.yaml"), [0xff, 0xfe, 0]).unwrap();
    bench
        .run(&["-c", "bytes.yaml", "validate"])
        .assert_code(1)
        .assert_stderr(&["cannot read 'bytes.yaml'", "UTF-8"]);
    for (file, why) in [
        ("/proc/self/mem", "Input/output error"),
        ("/dev/zero", "larger than 10 MiB"),
    ] {
        bench
            .run(&["-c", file, "validate"])
            .assert_code(1)
            .assert_stderr(&["cannot read", file, why]);
    }
    bench.write("locked.yaml", EMBEDDED);
    fs::set_permissions(bench.path("locked.yaml"), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(bench.path("locked.yaml")).is_ok() {
        skipped("unreadable file: this user may read everything");
    } else {
        for command in ["validate", "run"] {
            bench
                .run(&["-c", "locked.yaml", command])
                .assert_code(1)
                .assert_stderr(&["cannot read 'locked.yaml'", "ermission denied"]);
        }
    }
}

#[test]
fn the_daemon_file() {
    let bench = Bench::new();
    bench.write("servo.toml", "[log]\nlevle = \"info\"\n");
    bench
        .run(&["version"])
        .assert_code(1)
        .assert_stderr(&["servo.toml", "levle", "level"]);
    bench.write(
        "servo.toml",
        "assembly_file = \"here.yaml\"\n[log]\nlevel = \"info\"\nformat = \"json\"\n",
    );
    bench.write(
        "here.yaml",
        &format!("{EMBEDDED}wait: {{measure_enabled: true}}"),
    );
    bench
        .run(&["validate"])
        .assert_code(0)
        .assert_stdout(&["here.yaml"]);
}

#[test]
fn log_lines_for_programs() {
    let bench = Bench::new();
    bench.write("servo.yaml", &Toy::new().study(3, ""));
    let ended = bench.run(&["--log-format", "json", "run", "-o", "json"]);
    ended.assert_code(0);
    let lines: Vec<Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        for key in ["ts", "level", "target", "msg"] {
            assert!(line[key].is_string(), "no {key}: {line}");
        }
    }
    let find = |message: &str| {
        lines
            .iter()
            .find(|line| line["msg"].as_str().is_some_and(|m| m.contains(message)))
            .unwrap_or_else(|| panic!("no line {message:?}: {ended}"))
    };
    assert_eq!(find("Saying HELLO")["servo"], "toys/toy");
    assert_eq!(find("toy: listens")["component"], "toy");
    assert!(find("=> MEASURE")["command_uid"].is_string());
}

#[test]
fn tokens_come_from_files_and_the_environment_and_are_never_told() {
    let bench = Bench::new();
    let file = |more: &str| {
        format!("optimizer: {{id: example.com/app{more}}}\nwait: {{measure_enabled: true}}\n")
    };
    let with = |variables: &[(&str, &str)]| {
        let mut command = bench.servo(&["validate"]);
        command.envs(variables.iter().copied());
        Running::start(command).ended(SOON)
    };
    bench.write("servo.yaml", &file(""));
    with(&[]).assert_code(1).assert_stderr(&[
        "optimizer -> token",
        "field required",
        "OPSANI_TOKEN_FILE",
    ]);
    with(&[("OPSANI_TOKEN", "t")]).assert_code(0);
    with(&[("OPSANI_TOKEN_FILE", "no/token")])
        .assert_code(1)
        .assert_stderr(&["token file no/token"]);
    bench.write("token", "from-a-file\n");
    with(&[("OPSANI_TOKEN_FILE", "token")]).assert_code(0);
    bench.write(".env", "OPSANI_TOKEN=from-dot-env\n");
    with(&[]).assert_code(0);
    bench.write("servo.yaml", &file(", token: [s3cr3t]"));
    let ended = with(&[]);
    ended.assert_code(1).assert_stderr(&["optimizer -> token"]);
    assert!(!ended.stderr.contains("s3cr3t"), "{ended}");
    bench.write(
        "servo.yaml",
        &file(", token: x").replace("example.com/app", "app"),
    );
    with(&[])
        .assert_code(1)
        .assert_stderr(&["optimizer", "\"app\"", "no slash"]);
}
