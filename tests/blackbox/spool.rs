//! `examples/spool.rs`: a program of somebody else's, with a connector of its own, has all that the
//! bundled ones have.

use std::{path::PathBuf, time::Duration};

use rustix::process::Signal;
use serde_json::json;
use servo_doubles::{Script, ScriptedOptimizer};

use crate::bench::{Bench, Ended, Running, SOON};

/// Cargo builds examples with the tests, beside their own directory.
fn program() -> PathBuf {
    let tests = std::env::current_exe().expect("the path of the tests");
    let target = tests.ancestors().nth(2).expect("the target directory");
    let program = target.join("examples/spool");
    assert!(
        program.exists(),
        "{} is not built: run `cargo build --example spool`, or all tests",
        program.display()
    );
    program
}

fn spool(bench: &Bench, arguments: &[&str]) -> Ended {
    let mut command = bench.command(program());
    command.args(arguments);
    Running::start(command).ended(SOON)
}

const STANZA: &str = "spool: {directory: spool, batch_file: batch}\n";

fn with_files() -> Bench {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("spool")).unwrap();
    bench.write("spool/a", "");
    bench.write("spool/b", "");
    bench.write("servo.yaml", STANZA);
    bench
}

#[test]
fn it_is_generated_documented_and_listed_like_the_bundled_ones() {
    let bench = Bench::new();
    spool(&bench, &["generate", "spool"])
        .assert_code(0)
        .assert_stdout(&["connectors:\n- spool", "batch_file: /etc/worker/batch"]);
    spool(&bench, &["validate"]).assert_code(0);
    spool(&bench, &["connectors"])
        .assert_code(0)
        .assert_stdout(&["spool", "Files that wait in a directory", "vegeta"]);
    let schema = spool(&bench, &["schema", "spool"]).json();
    assert_eq!(
        schema["properties"]["batch_file"]["env_names"],
        json!(["SERVO_SPOOL_BATCH_FILE"])
    );
    bench.write("servo.yaml", "spool: {directory: x, batch_fil: y}\n");
    spool(&bench, &["validate", "--without-optimizer"])
        .assert_code(1)
        .assert_stderr(&["spool -> batch_fil", "did you mean \"batch_file\"?"]);
}

#[test]
fn it_is_described_measured_and_adjusted() {
    let bench = with_files();
    spool(&bench, &["adjust", "worker.batch=7"])
        .assert_code(0)
        .assert_stdout(&["worker.batch=7"]);
    assert_eq!(std::fs::read_to_string(bench.path("batch")).unwrap(), "7\n");
    spool(&bench, &["adjust", "worker.batch=700"])
        .assert_code(1)
        .assert_stderr(&["700"]);
    spool(&bench, &["describe"])
        .assert_code(0)
        .assert_stdout(&["worker.batch=7", "files_waiting"]);
    spool(&bench, &["measure", "-d", "100ms"])
        .assert_code(0)
        .assert_stdout(&["files_waiting", "2.00"]);
}

#[test]
fn it_has_a_group_of_commands_and_checks() {
    let bench = with_files();
    let waiting = spool(&bench, &["spool", "waiting", "--output", "json"]).json();
    assert_eq!(waiting["files"], 2);
    spool(&bench, &["spool", "waiting"])
        .assert_code(0)
        .assert_stdout(&["DIRECTORY", "FILES"]);
    spool(&bench, &["spool", "schema"]).assert_code(0);
    std::fs::remove_dir_all(bench.path("spool")).unwrap();
    spool(&bench, &["spool", "waiting"])
        .assert_code(1)
        .assert_stderr(&["cannot list spool"]);
}

/// `spec/events-and-checks.md` §7, item 16: of `left` the shutdown fails, of `right` it does not end.
#[test]
fn a_shutdown_that_fails_or_hangs_keeps_nobody_from_detaching_and_goodbye() {
    let bench = Bench::new();
    let optimizer = ScriptedOptimizer::start(Script::new());
    for directory in ["left", "right"] {
        std::fs::create_dir(bench.path(directory)).unwrap();
    }
    bench.write("right/never taken", "");
    bench.write(
        "servo.yaml",
        &format!(
            "name: solo
optimizer: {{id: example.com/solo, token: t, base_url: \"{}\"}}
connectors: {{left: spool, right: spool}}
left: {{directory: left, batch_file: batch, drain: true}}
right: {{directory: right, batch_file: batch, drain: true}}
",
            optimizer.base_url()
        ),
    );
    let mut command = bench.command(program());
    command.args(["run", "-l", "DEBUG"]);
    let servo = Running::start(command);
    optimizer
        .wait_for(SOON, |received| {
            received.iter().any(|r| r.event == "WHATS_NEXT")
        })
        .unwrap();
    std::fs::remove_dir(bench.path("left")).unwrap();
    servo.signal(Signal::TERM);
    let ended = servo.ended(Duration::from_secs(30));
    ended.assert_code(0);
    let at = |parts: &[&str]| {
        let line = ended
            .stderr
            .lines()
            .position(|line| parts.iter().all(|part| line.contains(part)));
        line.unwrap_or_else(|| panic!("{parts:?}: {ended}"))
    };
    let shutdowns = [
        at(&["shutdown", "left", "cannot list left"]),
        at(&["shutdown", "right"]),
    ];
    let detaches = [at(&["left", "detach done"]), at(&["right", "detach done"])];
    assert!(shutdowns.iter().max() < detaches.iter().min(), "{ended}");
    assert!(
        detaches.into_iter().max() < Some(at(&["Said GOODBYE."])),
        "{ended}"
    );
    let received = optimizer.received();
    let goodbyes: Vec<_> = received.iter().filter(|r| r.event == "GOODBYE").collect();
    assert_eq!(goodbyes.len(), 1, "{ended}");
    assert_eq!(goodbyes[0].param["reason"], "SIGTERM");
    bench.assert_nothing_left(SOON);
}
