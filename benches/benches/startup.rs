//! How long commands take that only read: from the start of the process to its end.
//!
//! The program is the release build beside this benchmark, or what `SERVO_BINARY` names. When
//! `SERVOX_VENV` names a Python environment with ServoX, the same commands of ServoX run in turn with
//! it, three times each.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use servo_benches::program;

const RUNS: usize = 20;
const RUNS_OF_SERVOX: usize = 3;
const BAR: Duration = Duration::from_millis(30);

const FILE: &str = "\
optimizer: {id: example.com/app, token: t}
connectors: [wait, vegeta]
wait: {measure_enabled: true}
vegeta: {rate: 50/1s, target: GET https://example.com/}
";

const COMMANDS: [&str; 5] = ["version", "--help", "validate", "schema", "config"];

/// Wall time; none when it does not end well.
fn run(program: &Path, folder: &Path, command: &str) -> Option<Duration> {
    let began = Instant::now();
    let status = Command::new(program)
        .arg(command)
        .current_dir(folder)
        .env_remove("SERVO_LOG_LEVEL")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let took = began.elapsed();
    status.success().then_some(took)
}

/// Median and slowest.
fn measure(
    program: &Path,
    folder: &Path,
    command: &str,
    runs: usize,
) -> Option<(Duration, Duration)> {
    // The first one reads the program from the disk.
    run(program, folder, command)?;
    let mut all = (0..runs)
        .map(|_| run(program, folder, command))
        .collect::<Option<Vec<_>>>()?;
    all.sort();
    Some((all[runs / 2], *all.last()?))
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("servo.yaml"), FILE).unwrap();
    let program = program();
    let servox =
        std::env::var_os("SERVOX_VENV").map(|folder| PathBuf::from(folder).join("bin/servo"));
    if servox.is_none() {
        println!("SKIPPED: ServoX, as SERVOX_VENV names no environment with it");
    }
    let mut missed = Vec::new();
    for command in COMMANDS {
        let Some((median, slowest)) = measure(&program, folder.path(), command, RUNS) else {
            println!("SKIPPED: servo {command} fails or is not there");
            missed.push(command);
            continue;
        };
        println!("servo {command:<9} {median:>9.2?} median of {RUNS}, {slowest:>9.2?} at most");
        if median >= BAR {
            missed.push(command);
        }
        // What it calls help is the same; all commands are those of its version 25.3.
        if let Some(servox) = &servox {
            match measure(servox, folder.path(), command, RUNS_OF_SERVOX) {
                Some((median, slowest)) => println!(
                    "      ServoX    {median:>9.2?} median of {RUNS_OF_SERVOX}, {slowest:>9.2?} at most"
                ),
                None => println!("      ServoX    does not do that"),
            }
        }
    }
    assert!(missed.is_empty(), "not under {BAR:?}: {missed:?}");
}
