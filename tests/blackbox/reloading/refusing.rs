//! What is refused, and changes nothing.

use std::fs;

use super::{document, end, file, idle, measuring, reload, told, until_event, until_measuring};
use crate::bench::{Bench, Running, SOON};

#[test]
fn a_bad_file_changes_nothing() {
    let (a, b) = (measuring("4s"), idle());
    let bench = Bench::new();
    let good = [document("a", &a, ""), document("b", &b, "")];
    bench.write("servo.yaml", &file(&good));
    let mut servo = bench.start(&["run"]);
    until_measuring(&a);
    until_event(&b, "WHATS_NEXT");
    let bad = [document("a", &a, ""), document("c", &b, "wiat: 1\n")];
    for (text, told) in [
        (
            file(&bad),
            "servo.yaml: document 2: wiat (line 8, column 1): extra fields not permitted (did you mean \"wait\"?)",
        ),
        ("name: [a".to_owned(), "servo.yaml: "),
        (
            file(&[document("a", &a, ""), "name: a\n".to_owned()]),
            "servo.yaml: document 2: optimizer (line 5, column 1): cannot configure",
        ),
        ("name: solo\n".to_owned(), "servo.yaml: optimizer -> id"),
    ] {
        bench.write("servo.yaml", &text);
        let outcome = reload(&mut servo);
        let told = format!("reload refused: {told}");
        assert!(outcome.starts_with(&told), "{outcome}");
    }
    fs::remove_file(bench.path("servo.yaml")).unwrap();
    let outcome = reload(&mut servo);
    assert_eq!(outcome, "reload refused: File 'servo.yaml' does not exist.");
    // The same mistake is told again to whoever makes it again.
    assert_eq!(reload(&mut servo), outcome);
    bench.write("servo.yaml", &file(&good));
    bench.write("servo.toml", "[log]\nlevel = 3 4\n");
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload refused: servo.toml: line 2, column 9: not valid TOML: "),
        "{outcome}"
    );
    bench.write("servo.toml", "[log]\nlevel = \"loud\"\n");
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with(
            "reload refused: servo.toml: log -> level (line 2, column 1): invalid log level 'loud'"
        ),
        "{outcome}"
    );
    bench.write(
        "servo.toml",
        "[log]\nlevl = \"info\"\n[reload]\ncommand = \"finsh\"\n",
    );
    let outcome = reload(&mut servo);
    for told in [
        "log -> levl (line 2, column 1): extra fields not permitted (did you mean \"level\"?)",
        "; reload -> command (line 4, column 1): ",
    ] {
        assert!(outcome.contains(told), "{outcome}");
    }
    let errors = servo.stderr().matches("| ERROR").count();
    assert_eq!(errors, 9, "one line each: {}", servo.stderr());
    fs::remove_file(bench.path("servo.toml")).unwrap();
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -0 =2 in "),
        "{outcome}"
    );
    let completion = a.completion("MEASUREMENT", SOON).unwrap();
    assert_eq!(completion["status"], "ok");
    assert_eq!(told(&b), ["HELLO", "WHATS_NEXT"]);
    assert_eq!(told(&a).iter().filter(|e| *e == "HELLO").count(), 1);
    end(servo);
}

/// What could not run from the start does not keep the others from their changes, but nothing new may be
/// like that.
#[test]
fn servos_that_cannot_run() {
    let (a, b) = (idle(), idle());
    let placeholder = |name: &str| {
        format!(
            "name: {name}\nwait: {{measure_enabled: true}}\n\
             optimizer: {{id: generated-id.test/generated, token: generated-token}}\n"
        )
    };
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &file(&[document("a", &a, ""), placeholder("never")]),
    );
    let mut servo = bench.start(&["run"]);
    until_event(&a, "WHATS_NEXT");
    bench.write(
        "servo.yaml",
        &file(&[
            document("a", &a, ""),
            placeholder("never"),
            document("b", &b, ""),
        ]),
    );
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +1 ~0 -0 =1 in "),
        "{outcome}"
    );
    until_event(&b, "WHATS_NEXT");
    bench.write(
        "servo.yaml",
        &file(&[document("a", &a, ""), placeholder("b")]),
    );
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload refused: servo \"b\" has the placeholder optimizer"),
        "{outcome}"
    );
    end(servo);
    assert_eq!(told(&b), ["HELLO", "WHATS_NEXT", "GOODBYE SIGTERM"]);
}

#[test]
fn standard_input_cannot_be_read_again() {
    let a = idle();
    let bench = Bench::new();
    bench.write("given.yaml", &document("a", &a, ""));
    let mut command = bench.servo(&["-c", "-", "run"]);
    command.stdin(fs::File::open(bench.path("given.yaml")).unwrap());
    let mut servo = Running::start(command);
    until_event(&a, "WHATS_NEXT");
    assert_eq!(
        reload(&mut servo),
        "reload refused: this program was not started from a configuration that can be read again"
    );
    end(servo);
}

/// What a shell gives as `<(...)` is read once; one that nobody writes to is not waited for.
#[test]
fn configuration_and_token_may_come_through_pipes() {
    let optimizer = idle();
    let bench = Bench::new();
    bench.write("token", "t\n");
    let yaml = document("a", &optimizer, "").replace("token: t", "token_file: pipe");
    bench.write("given.yaml", &yaml);
    let mut shell = bench.command("bash");
    shell.args([
        "-c",
        "mkfifo pipe && (cat token > pipe &) && exec \"$0\" -c <(cat given.yaml) validate",
        env!("CARGO_BIN_EXE_servo"),
    ]);
    let ended = Running::start(shell).ended(SOON);
    ended
        .assert_code(0)
        .assert_stdout(&["Valid configuration in /dev/fd/"]);
    // Nobody writes to it any more.
    let ended = bench.start(&["-c", "pipe", "validate"]).ended(SOON);
    ended
        .assert_code(1)
        .assert_stderr(&["cannot read 'pipe'", "no regular file"]);
}
