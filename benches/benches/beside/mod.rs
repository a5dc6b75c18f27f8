//! ServoX at the same work, in the same run, when `SERVOX_VENV` names a Python environment with it.

use std::{path::PathBuf, process::Command};

const SCRIPT: &str = include_str!("servox.py");

/// Has ServoX do `what`, and prints the figures.
pub(crate) fn servox(what: &str) {
    let Some(environment) = std::env::var_os("SERVOX_VENV").filter(|v| !v.is_empty()) else {
        println!("SKIPPED: ServoX, as SERVOX_VENV names no environment with it");
        return;
    };
    let python = PathBuf::from(environment).join("bin/python");
    let output = Command::new(&python)
        .args(["-W", "ignore", "-c", SCRIPT, what])
        .output()
        .unwrap_or_else(|e| panic!("{} cannot be run: {e}", python.display()));
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<&str> = text.trim().split('\t').collect();
    let [what, wall, cpu] = figures[..] else {
        panic!(
            "ServoX gave no figures: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let per_cpu_second: f64 = cpu.parse().unwrap();
    println!(
        "ServoX: {what:<50} {:>10.0} /s {per_cpu_second:>10.0} /CPU s {:>8.2} CPU µs each",
        wall.parse::<f64>().unwrap(),
        1e6 / per_cpu_second,
    );
}
