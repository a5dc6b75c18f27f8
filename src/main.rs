//! The `servo` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    servo::cli::main(servo::connectors::bundled())
}
