//! The warden: a small process between Servo and a component, so that no component outlives Servo.
//!
//! ```text
//! servo ──socket──▶ warden ──fork──▶ stage 2 ──exec──▶ the component (own process group)
//! ```
//!
//! * **Servo ends**, by whatever means: its end of the socket closes, the warden reads the end of
//!   file, sends the stop signal to the component's group, waits the grace, kills what is left.
//! * **The warden is killed**: stage 2 has asked the kernel to be killed with its parent
//!   (`PR_SET_PDEATHSIG`, which survives `exec`), and Servo kills the group.
//! * **Servo is killed by name** (`killall servo`, `pkill servo`, `pkill -f servo`): the warden goes by another one.
//! * **A grandchild leaves the group** (`setsid`, double fork): the warden is the subreaper of
//!   everything below it, finds it and kills it too.
//!
//! What is left open: when Servo *and* the warden are killed in the same instant, the component dies,
//! but a grandchild of it may live on. A set-user-ID component loses the parent-death signal.
//!
//! The binary that hosts the connector calls [`entry`] before anything else.

mod exec;
mod keep;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// The hidden sub-command that turns the binary into a warden.
pub const SUBCOMMAND: &str = "__warden";

/// Set for the warden itself, so that a host that forgot to call [`entry`] cannot start wardens forever.
pub(crate) const MARKER: &str = "SERVO_WARDEN_RUNS";

/// Names another program as the warden; see [`WardenProgram::from_environment`].
pub const PROGRAM_VARIABLE: &str = "SERVO_WARDEN";

/// How the warden is listed by `ps`: without "servo" in it, so that `pkill -9 servo` ends Servo and not those who clean up
/// after it.
pub(crate) const LISTED: &str = "warden";

/// Variables with these prefixes are Servo's own (tokens among them) and do not reach a component.
pub(crate) const WITHHELD: [&str; 3] = ["OPSANI_", "SERVO_", "SERVOD_"];

/// How the warden is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WardenProgram {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
}

impl WardenProgram {
    /// The running binary again, with the hidden sub-command [`SUBCOMMAND`].
    #[must_use]
    pub fn current_binary() -> Self {
        // On Linux the link still leads to the running file after an upgrade has replaced it on disk.
        let program = if cfg!(target_os = "linux") {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe().unwrap_or_else(|_| PathBuf::from("servo"))
        };
        Self {
            program,
            arguments: vec![SUBCOMMAND.into()],
        }
    }

    /// A program whose `main` is [`main`], such as this crate's `servo-warden`.
    #[must_use]
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
        }
    }

    /// The program that `SERVO_WARDEN` names, else the running binary.
    #[must_use]
    pub fn from_environment() -> Self {
        match std::env::var_os(PROGRAM_VARIABLE) {
            Some(path) if !path.is_empty() => Self::at(path),
            _ => Self::current_binary(),
        }
    }
}

/// Runs as warden if the command line asks for it; `None` means: this is the ordinary program.
///
/// Call it first in `main`, before threads, logging or configuration.
#[must_use]
pub fn entry() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    (args.next()? == SUBCOMMAND).then(|| main(args))
}

/// Runs as warden. `args` are the words after the sub-command: none for the warden proper, `exec PID`
/// for its second stage. Nobody calls it by hand; by hand it says so and ends with 2.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    match args.as_slice() {
        [] => keep::main(),
        [stage, parent] if stage == "exec" => exec::main(parent),
        _ => {
            eprintln!("the warden is started by Servo, not by hand");
            ExitCode::from(2)
        }
    }
}

/// What Servo orders; one JSON line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// The first line: what to run.
    Run(Run),
    /// Stop signal now, kill after the grace.
    Stop { grace_ms: u64 },
    /// Kill now.
    Kill,
}

/// What to run and how to end it when nobody is left to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) stop_signal: i32,
    pub(crate) grace_ms: u64,
}

/// What the warden reports; one JSON line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The first line: whoever is at the other end is a warden.
    Hello,
    /// The command runs; its process id is also its group's.
    Started { pid: i32 },
    /// The command could not be started.
    NotStarted(Refusal),
    /// The command itself has ended; what it left behind is being ended.
    Exited {
        code: Option<i32>,
        signal: Option<i32>,
        core_dumped: bool,
    },
    /// Processes that even SIGKILL has not ended in time.
    Left { pids: Vec<i32> },
}

/// Why a command could not be started. With [`Step::Find`], the message is for people and says where it was looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) step: Step,
    pub(crate) message: String,
}

/// The step of a start that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// Becoming a process at all.
    Spawn,
    /// Being tied to the warden's life.
    Tie,
    /// Changing to the working directory.
    Directory,
    /// Finding the program.
    Find,
    /// Executing the program.
    Execute,
}

impl Refusal {
    pub(crate) fn new(step: Step, error: &std::io::Error) -> Self {
        Self {
            step,
            message: error.to_string(),
        }
    }
}

/// One order or report as a line.
pub(crate) fn line(message: &impl Serialize) -> Vec<u8> {
    // These types hold strings, numbers and lists only: they always have a JSON form.
    let mut bytes = serde_json::to_vec(message).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_hold_any_text_and_read_back_the_same() {
        let order = Order::Run(Run {
            program: "a\nb \"c\" \u{1F600}".into(),
            arguments: vec![String::new(), "\0".into()],
            environment: vec![("K".into(), "v=\n".into())],
            directory: Some("/tmp/ü".into()),
            stop_signal: 15,
            grace_ms: 10_000,
        });
        let bytes = line(&order);
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(serde_json::from_slice::<Order>(&bytes).unwrap(), order);
    }
}
