//! `servo init`: questions, and the files that come of the answers.

use std::{
    fs,
    io::{Write, pipe},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

use rustix::process::Signal;

use crate::bench::{Bench, Ended, Running, SOON};

/// Runs the program with this on its standard input, which ends then.
pub(crate) fn with_input(bench: &Bench, input: &str, arguments: &[&str]) -> Ended {
    let (reader, mut writer) = pipe().expect("a pipe");
    // Shorter than what a pipe holds.
    writer.write_all(input.as_bytes()).expect("room");
    drop(writer);
    let mut command = bench.servo(arguments);
    command.stdin(Stdio::from(reader));
    Running::start(command).ended(SOON)
}

fn text(bench: &Bench, file: &str) -> String {
    fs::read_to_string(bench.path(file)).expect("it was written")
}

fn files(bench: &Bench) -> usize {
    fs::read_dir(bench.path(".")).expect("a directory").count()
}

const ANSWERS: &str = "dev.opsani.com/servox\n123456789\nn\n";

#[test]
fn optimizer_and_token_go_to_dotenv() {
    let bench = Bench::new();
    let ended = with_input(&bench, ANSWERS, &["init"]);
    ended.assert_code(0).assert_stdout(&[
        ".env file initialized\n",
        "optimizer:\n  id: dev.opsani.com/servox\n",
        "Generated servo.yaml\n",
    ]);
    ended.assert_stderr(&[
        "Opsani optimizer? (format: dev.opsani.com/app-name)",
        "API token?",
        "Generating servo.yaml. Do you want to select the connectors? [y/N]: ",
    ]);
    assert_eq!(
        text(&bench, ".env"),
        "OPSANI_OPTIMIZER=dev.opsani.com/servox\nOPSANI_TOKEN=123456789\nSERVO_LOG_LEVEL=DEBUG\n"
    );
    let mode = |file: &str| {
        fs::metadata(bench.path(file))
            .expect("a file")
            .permissions()
            .mode()
    };
    assert_eq!(mode(".env") & 0o777, 0o600);
    let document = text(&bench, "servo.yaml");
    assert!(!document.contains("123456789") && !document.contains("generated"));
    bench.run(&["validate"]).assert_code(0);
    // The token is in .env alone.
    bench
        .run(&["--no-env-file", "validate"])
        .assert_code(1)
        .assert_stderr(&["optimizer -> token"]);
}

#[test]
fn wrong_answers_are_asked_again() {
    let bench = Bench::new();
    let input = "notvalid\nabcde/..\ndev.opsani.com/app\n \nBearer x\ny\nwait, nope\nVegeta,wait\n";
    let ended = with_input(&bench, input, &["initialize"]);
    ended
        .assert_code(0)
        .assert_stderr(&["notvalid", "token cannot be blank", "'nope'"]);
    assert!(text(&bench, ".env").contains("OPSANI_TOKEN=Bearer x\n"));
    assert!(text(&bench, "servo.yaml").contains("connectors:\n- vegeta\n- wait\n"));
}

#[test]
fn what_is_there_is_kept_unless_the_user_says_otherwise() {
    let bench = Bench::new();
    bench.write(
        ".env",
        "OPSANI_OPTIMIZER=kept.com/one\nOPSANI_TOKEN=hunter2\n",
    );
    fs::set_permissions(bench.path(".env"), fs::Permissions::from_mode(0o644)).expect("a mode");
    let ended = with_input(&bench, "n\nn\n", &["init"]);
    ended
        .assert_code(0)
        .assert_stderr(&["File '.env' already exists. Overwrite it? [y/N]: "]);
    assert!(text(&bench, ".env").contains("hunter2"));
    assert!(text(&bench, "servo.yaml").starts_with("optimizer:\n  id: kept.com/one\n"));
    let document = text(&bench, "servo.yaml");
    // .env anew, with what it said by default; servo.yaml stays.
    let ended = with_input(&bench, "y\n\nnew\ny\nwait\nn\n", &["init"]);
    ended
        .assert_code(1)
        .assert_stderr(&["[kept.com/one]", "[that of OPSANI_TOKEN]", "Aborted!"]);
    assert!(!ended.stderr.contains("hunter2"), "{ended}");
    assert_eq!(
        text(&bench, ".env"),
        "OPSANI_OPTIMIZER=kept.com/one\nOPSANI_TOKEN=new\nSERVO_LOG_LEVEL=DEBUG\n"
    );
    let mode = fs::metadata(bench.path(".env"))
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(text(&bench, "servo.yaml"), document);
}

#[test]
fn without_questions() {
    let bench = Bench::new();
    bench.write("token", "X-SF-Token abc # 1\n");
    let ended = bench.run(&[
        "init",
        "--yes",
        "--optimizer",
        "dev.opsani.com/app",
        "--token-file",
        "token",
        "--connectors",
        "wait,load:vegeta",
    ]);
    ended.assert_code(0);
    assert_eq!(ended.stderr, "");
    assert!(text(&bench, ".env").contains("OPSANI_TOKEN='X-SF-Token abc # 1'\n"));
    assert!(text(&bench, "servo.yaml").contains("connectors:\n  wait: wait\n  load: vegeta\n"));
    bench.run(&["validate"]).assert_code(0);
    let bench = Bench::new();
    for (arguments, part) in [
        (&["--yes"][..], "'--optimizer'"),
        (&["--yes", "--optimizer", "abcde/x"], "'--token-file'"),
        (&["--optimizer", "x"], "'--optimizer'"),
        (
            &["--optimizer", "abcde/x", "--token-file", "none"],
            "File 'none' does not exist.",
        ),
        (&["--no-dotenv", "--connectors", "nope", "--yes"], "'nope'"),
    ] {
        let ended = bench.run(&[&["init"], arguments].concat());
        ended.assert_code(2).assert_stderr(&[part]);
        assert_eq!(files(&bench), 0, "{ended}");
    }
    bench.run(&["init", "--no-dotenv", "--yes"]).assert_code(0);
    assert_eq!(files(&bench), 1);
}

#[test]
fn the_end_of_the_input_aborts_and_nothing_is_written() {
    let lines: Vec<&str> = ANSWERS.split_inclusive('\n').collect();
    for answered in 0..lines.len() {
        let bench = Bench::new();
        let ended = with_input(&bench, &lines[..answered].concat(), &["init"]);
        ended.assert_code(1).assert_stderr(&["Aborted!"]);
        assert_eq!(files(&bench), 0, "{ended}");
    }
}

#[test]
fn ctrl_c_aborts_and_nothing_is_written() {
    for (input, question, arguments) in [
        ("", "Opsani optimizer?", &["init"][..]),
        ("dev.opsani.com/servox\n", "API token?", &["init"]),
        (
            "dev.opsani.com/servox\nt\n",
            "select the connectors?",
            &["init"],
        ),
        (
            "",
            "Overwrite it?",
            &["generate", "wait", "-f", "there.yaml"],
        ),
    ] {
        let bench = Bench::new();
        bench.write("there.yaml", "# mine\n");
        let (reader, mut writer) = pipe().expect("a pipe");
        writer.write_all(input.as_bytes()).expect("room");
        let mut command = bench.servo(arguments);
        command.stdin(Stdio::from(reader));
        let mut running = Running::start(command);
        running.until(question, SOON, |_, err| {
            err.contains(question).then_some(())
        });
        running.signal(Signal::INT);
        let ended = running.ended(SOON);
        ended.assert_code(1).assert_stderr(&["Aborted!"]);
        assert_eq!(ended.stdout, "");
        assert_eq!(files(&bench), 1, "{ended}");
        assert_eq!(text(&bench, "there.yaml"), "# mine\n");
        drop(writer);
    }
}
