//! What is left of `spec/config-and-cli.md` §11 beside the tests of single commands, and what
//! people do by accident: odd bytes, full disks, files that are directories.

use std::{
    fs::{self, OpenOptions},
    os::unix::ffi::OsStringExt,
    process::Stdio,
};

use rustix::process::Signal;
use servo_doubles::{PrometheusDouble, Script, ScriptedOptimizer};

use crate::bench::{Bench, Ended, Running, SOON};

const WAIT: &str = "wait: {measure_enabled: true}\n";
const OPTIMIZER: &str = "optimizer: {id: example.com/app, token: t}\n";

fn with(bench: &Bench, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = bench.servo(arguments);
    command.envs(variables.iter().copied());
    Running::start(command).ended(SOON)
}

/// §11.26, §11.60: compose mounts `/dev/null` where there is no token.
#[test]
fn an_empty_token_file_is_none() {
    let bench = Bench::new();
    bench.write("servo.yaml", WAIT);
    bench.write("empty", " \n");
    bench.write("token", "\tfiletok\r\n");
    let id = ("OPSANI_OPTIMIZER", "example.com/app");
    for file in ["/dev/null", "empty"] {
        let file = ("OPSANI_TOKEN_FILE", file);
        with(&bench, &[id, file], &["list"])
            .assert_code(1)
            .assert_stderr(&["optimizer -> token", "field required", "OPSANI_TOKEN"]);
        with(&bench, &[id, file, ("OPSANI_TOKEN", "t")], &["list"])
            .assert_code(0)
            .assert_stdout(&["example.com/app"]);
    }
    let shown = with(
        &bench,
        &[id, ("OPSANI_TOKEN_FILE", "token")],
        &["config", "--show-secrets"],
    );
    shown.assert_code(0).assert_stdout(&["token: filetok\n"]);
    bench.write("servo.yaml", "optimizer: {id: abcde/x, token: '  '}\n");
    bench
        .run(&["list"])
        .assert_code(1)
        .assert_stderr(&["optimizer -> token", "token cannot be blank"]);
}

/// §11.2, §7.10: where nobody can be told, the exit code is right all the same.
#[test]
fn nobody_can_be_told() {
    let bench = Bench::new();
    bench.write("servo.yaml", &format!("{OPTIMIZER}{WAIT}"));
    bench.write("bad.yaml", "wat: 1\n");
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let code = |arguments: &[&str], stdout: Stdio, stderr: Stdio| {
        let mut command = bench.servo(arguments);
        let status = command.stdout(stdout).stderr(stderr).status().unwrap();
        status.code()
    };
    for (arguments, expected) in [
        (&["bogus"][..], 2),
        (&["-c", "none.yaml", "list"], 2),
        (&["-c", "bad.yaml", "list"], 1),
        (&["-c", "bad.yaml", "validate"], 1),
        (&["generate", "wait"], 1),
        (&["--token", "t", "list"], 0),
    ] {
        let ended = code(arguments, Stdio::null(), full());
        assert_eq!(ended, Some(expected), "{arguments:?}");
        // Nobody is at the other end of the pipe.
        let (_, closed) = std::io::pipe().unwrap();
        let ended = code(arguments, Stdio::null(), closed.into());
        assert_eq!(ended, Some(expected), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["run", "--help"], &["list"], &["schema"]] {
        let ended = code(arguments, full(), Stdio::null());
        assert_eq!(ended, Some(1), "{arguments:?}");
        let (_, closed) = std::io::pipe().unwrap();
        let ended = code(arguments, closed.into(), Stdio::null());
        assert_eq!(ended, Some(0), "{arguments:?}");
    }
}

/// A container runtime makes a directory of a mount whose source is missing.
#[test]
fn a_daemon_file_that_is_no_file() {
    let bench = Bench::new();
    bench.write("servo.yaml", &format!("{OPTIMIZER}{WAIT}"));
    bench
        .run(&["--daemon-file", "none.toml", "list"])
        .assert_code(2)
        .assert_stderr(&["File 'none.toml' does not exist."]);
    fs::create_dir(bench.path("servo.toml")).unwrap();
    bench
        .run(&["list"])
        .assert_code(1)
        .assert_stderr(&["servo.toml", "Is a directory"]);
    fs::remove_dir(bench.path("servo.toml")).unwrap();
    fs::write(bench.path("servo.toml"), [0xff]).unwrap();
    bench
        .run(&["list"])
        .assert_code(1)
        .assert_stderr(&["servo.toml", "UTF-8"]);
}

#[test]
fn a_variable_that_is_no_text_is_told_of() {
    let bench = Bench::new();
    bench.write("servo.yaml", &format!("{OPTIMIZER}{WAIT}"));
    let mut command = bench.servo(&["list"]);
    for name in ["SERVO_DESCRIPTION", "SOMEBODY_ELSES"] {
        command.env(name, std::ffi::OsString::from_vec(vec![0xff]));
    }
    let ended = Running::start(command).ended(SOON);
    ended
        .assert_code(0)
        .assert_stderr(&["SERVO_DESCRIPTION is not valid UTF-8"]);
    assert!(!ended.stderr.contains("SOMEBODY"), "{ended}");
}

/// Its secrets are shown as asterisks: the file would not hold them any more.
#[test]
fn config_does_not_replace_what_it_read() {
    let bench = Bench::new();
    let file = format!("# mine\n{OPTIMIZER}{WAIT}");
    bench.write("servo.yaml", &file);
    for output in ["servo.yaml", "./servo.yaml"] {
        bench
            .run(&["config", "-o", output])
            .assert_code(2)
            .assert_stderr(&["is the configuration that was read", "--show-secrets"]);
        assert_eq!(fs::read_to_string(bench.path("servo.yaml")).unwrap(), file);
    }
    bench.run(&["config", "-o", "other.yaml"]).assert_code(0);
}

/// Files as editors of other systems write them, and YAML that is rarely written.
#[test]
fn odd_but_legal() {
    let bench = Bench::new();
    let long = "x".repeat(1 << 20);
    for file in [
        "\u{feff}wait: {measure_enabled: true}\r\nname: a\r\n",
        "wait: {measure_enabled: true}\r",
        "%YAML 1.2\n---\n? wait\n: !!map {measure_enabled: !!bool \"true\"}\n...\n",
        "{\"wait\": {\"measure_enabled\": true}}",
        "wait:\n  measure_enabled: &a true\n...\n---\n# nothing\n",
        &format!("description: '{long}'\n{WAIT}"),
        &format!("name: 日本語サーボ\n{WAIT}"),
    ] {
        bench.write("servo.yaml", file);
        bench.write(
            ".env",
            "\u{feff}export OPSANI_OPTIMIZER='example.com/app' # mine\r\nOPSANI_TOKEN=\"t\"\r\n",
        );
        with(&bench, &[("LANG", "C")], &["validate"]).assert_code(0);
        with(&bench, &[("LANG", "C")], &["show", "connectors"])
            .assert_code(0)
            .assert_stdout(&["wait", "Wait"]);
    }
    bench
        .run(&["-n", "日本語サーボ", "list"])
        .assert_code(0)
        .assert_stdout(&["NAME          OPTIMIZER", "日本語サーボ  example.com/app"]);
}

/// §11.27, the ends of what an id may be.
#[test]
fn ids_at_their_limits() {
    let bench = Bench::new();
    let organization = "o".repeat(50);
    let name = "n".repeat(64);
    for (id, fine) in [
        (format!("{organization}/{name}"), true),
        (format!("{organization}o/a"), false),
        (format!("abcde/{name}n"), false),
        ("-bcde/x".to_owned(), false),
        ("abcde/.".to_owned(), false),
    ] {
        bench.write(
            "servo.yaml",
            &format!("optimizer: {{id: {id}, token: t}}\n"),
        );
        let ended = bench.run(&["list"]);
        if fine {
            ended.assert_code(0).assert_stdout(&[&id]);
        } else {
            ended.assert_code(1).assert_stderr(&["optimizer -> id"]);
        }
    }
}

/// Nothing of a wrong kind is a panic or taken for something else, whichever key it is for.
#[test]
fn values_of_wrong_kinds() {
    let bench = Bench::new();
    for key in [
        "optimizer",
        "settings",
        "checks",
        "wait",
        "vegeta",
        "kubernetes",
        "prometheus",
        "process",
        "scripts",
        "opsani_dev",
        "kube_metrics",
    ] {
        let documents: Vec<String> = ["1", "[]", "text", "true", ".nan", "{a: {b: 1}}"]
            .iter()
            .map(|value| format!("{key}: {value}\n"))
            .collect();
        for document in documents {
            bench.write("servo.yaml", &document);
            let environment = [
                ("OPSANI_OPTIMIZER", "example.com/app"),
                ("OPSANI_TOKEN", "t"),
            ];
            with(&bench, &environment, &["validate"])
                .assert_code(1)
                .assert_stderr(&[key, "(line 1, column "]);
        }
    }
}

/// §11.53: kinds that have no text of their own stay apart, and are empty on the wire.
#[test]
fn units_on_the_wire() {
    let prometheus = PrometheusDouble::start();
    let optimizer = ScriptedOptimizer::start(Script::new().describe("d1"));
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &format!(
            "optimizer: {{id: example.com/app, token: t, base_url: '{}'}}\nprometheus:\n  base_url: {}\n  metrics:\n\
             \x20 - {{name: n, unit: count, query: up}}\n  - {{name: r, unit: requests_per_second, query: up}}\n\
             \x20 - {{name: q, unit: rps, query: up}}\n",
            optimizer.base_url(),
            prometheus.base_url()
        ),
    );
    let servo = bench.start(&["run"]);
    let answer = optimizer
        .find(SOON, |received| {
            let described = received
                .iter()
                .find(|r| r.param["cmd_uid"] == "d1" && r.param.get("status").is_some());
            described.map(|r| r.param.clone())
        })
        .unwrap();
    let metrics = &answer["descriptor"]["measurement"]["metrics"];
    for (name, unit) in [("n", ""), ("r", "rps"), ("q", "rps")] {
        assert_eq!(metrics[name]["unit"], unit, "{answer}");
    }
    servo.signal(Signal::TERM);
    servo.ended(SOON).assert_code(0);
}
