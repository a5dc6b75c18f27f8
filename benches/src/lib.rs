//! Benchmarks, run by make bench.
#![allow(clippy::expect_used)]

use std::path::PathBuf;

/// The program to measure: what `SERVO_BINARY` names, else the one that `make build` puts beside the
/// benchmarks.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn program() -> PathBuf {
    let program = std::env::var_os("SERVO_BINARY").map_or_else(
        || {
            let own = std::env::current_exe().expect("the benchmark has a path");
            let folder = own.parent().and_then(|deps| deps.parent());
            folder.expect("it is in target/release/deps").join("servo")
        },
        PathBuf::from,
    );
    assert!(
        program.is_file(),
        "there is no {}: make build, or name the program by SERVO_BINARY",
        program.display()
    );
    program
}
