//! ServoX against `servo optimizer serve`, and its files here and ours there.
//!
//! Runs when `SERVOX_VENV` names a Python environment with ServoX 25.3.0:
//! `python3 -m venv DIR && DIR/bin/pip install servox==25.3.0 'click<8.2' 'setuptools<81'`.

use std::{path::PathBuf, time::Duration};

use rustix::process::Signal;

use crate::{
    bench::{Bench, Running, SOON},
    served::serve,
};

/// Python is slow to start when the machine is busy.
const SESSION: Duration = Duration::from_secs(90);

fn servox() -> PathBuf {
    let environment = std::env::var_os("SERVOX_VENV").expect("SERVOX_VENV is not set");
    let program = PathBuf::from(environment).join("bin/servo");
    assert!(program.exists(), "SERVOX_VENV has no {}", program.display());
    program
}

#[test]
#[ignore = "needs ServoX 25.3.0 in the Python environment SERVOX_VENV; run by tests/with-servers"]
fn files_that_one_generates_are_valid_for_the_other() {
    let bench = Bench::new();
    let by_servox = |arguments: &[&str]| {
        let mut command = bench.command(servox());
        command.args(arguments);
        Running::start(command).ended(SESSION)
    };
    for (file, more) in [("plain.yaml", &[] as &[&str]), ("defaults.yaml", &["-d"])] {
        by_servox(&[&["generate", "-q", "-f", file], more].concat()).assert_code(0);
        bench
            .run(&["validate", "-f", file])
            .assert_code(0)
            .assert_stdout(&[&format!("√ Valid configuration in {file}")]);
    }
    // `process` is our own.
    let shared = [
        "kubernetes",
        "kube_metrics",
        "opsani_dev",
        "prometheus",
        "vegeta",
        "wait",
    ];
    bench
        .run(&[&["generate", "-q", "-f", "ours.yaml"], &shared[..]].concat())
        .assert_code(0);
    by_servox(&["validate", "-f", "ours.yaml"]).assert_code(0);
}

#[test]
#[ignore = "needs ServoX 25.3.0 in the Python environment SERVOX_VENV; run by tests/with-servers"]
fn servox_is_described_measured_and_says_goodbye() {
    let program = servox();
    let bench = Bench::new();
    // It has nothing to tune, so it is measured once whatever is wanted.
    bench.write(
        "study.yaml",
        "id: dev.opsani.com/app\nobjective: {minimize: latency}\nduration: 1s\n",
    );
    let (mut server, address) = serve(&bench, &["--study", "study.yaml"]);
    bench.write(
        "servo.yaml",
        &format!(
            "optimizer: {{id: dev.opsani.com/app, token: x, base_url: \"http://{address}\"}}\n\
             connectors: [wait]\n\
             wait: {{measure_enabled: true}}\n"
        ),
    );
    let mut command = bench.command(program);
    command.args(["-c", "servo.yaml", "run"]);
    let mut servox = Running::start(command);
    let done = servox.until("ServoX sleeps", SESSION, |out, err| {
        let all = format!("{out}{err}");
        (all.contains("=> SLEEP") || all.contains("Sleeping for")).then_some(all)
    });
    for command in ["=> DESCRIBE", "=> MEASURE", "Measured: "] {
        assert!(
            done.contains(command),
            "ServoX did not say {command:?}:\n{done}"
        );
    }
    servox.signal(Signal::TERM);
    server.until("ServoX' farewell", SESSION, |_, err| {
        err.contains("a servo says GOODBYE").then_some(())
    });
    // It ends with code 1 and a trace on each signal; what counts is that it ends.
    drop(servox);
    server.signal(Signal::TERM);
    let ended = server.ended(SOON);
    ended.assert_code(0).assert_stderr(&[
        "a servo says HELLO",
        "servox v25.3.0",
        "a servo says GOODBYE",
    ]);
    let trials = bench.trials("dev.opsani.com/app");
    assert_eq!(trials.len(), 1, "{trials:#?}");
    assert_eq!(trials[0]["purpose"], "baseline", "{trials:#?}");
    assert_ne!(trials[0]["state"], "pending", "{trials:#?}");
}
