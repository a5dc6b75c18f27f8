//! The warden as a program of its own, for tests and for hosts that are not the `servo` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    servo_connector_process::warden::main(std::env::args_os().skip(1))
}
