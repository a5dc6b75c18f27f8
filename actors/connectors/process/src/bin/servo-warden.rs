//! The warden as a program of its own, for tests and for hosts that are not the `servo` binary.

use std::process::ExitCode;

use servo_connector_process::warden;

fn main() -> ExitCode {
    warden::entry().unwrap_or_else(|| warden::main(std::env::args_os().skip(1)))
}
