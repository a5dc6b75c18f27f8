//! The warden: a small process between Servo and a component, so that no component outlives Servo.
//!
//! ```text
//! servo ──▶ guard ──▶ warden ──fork──▶ stage 2 ──exec──▶ the component (own process group)
//!   └─────socket────────┘
//! ```
//!
//! * **Servo ends**, by whatever means: its end of the socket closes, the warden reads the end of
//!   file, sends the stop signal to the component's group, waits the grace, kills what is left.
//! * **The warden is killed**: stage 2 has asked the kernel to be killed with its parent
//!   (`PR_SET_PDEATHSIG`, which survives `exec`), and the guard kills what is left, Servo's death or not: as the next
//!   subreaper it has inherited everything that was below the warden.
//! * **Servo is killed by name** (`killall servo`, `pkill servo`, `pkill -f servo`): the warden goes by another one.
//! * **A grandchild leaves the group** (`setsid`, double fork): the warden is the subreaper of
//!   everything below it, finds it and kills it too.
//!
//! What is left open: when the guard *and* the warden are killed in the same instant, the component dies,
//! but a grandchild of it may live on. A set-user-ID component loses the parent-death signal.
//!
//! The binary that hosts the connector calls [`entry`] before anything else.

mod exec;
mod guard;
mod keep;

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use crate::proc_tree;

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

/// Runs as warden. `args` are the words after the sub-command: none for its guard, `keep` for the warden
/// proper, `exec PID` for its second stage. Nobody calls it by hand; by hand it says so and ends with 2.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    match args.as_slice() {
        [] => guard::main(),
        [stage] if stage == "keep" => keep::main(),
        [stage, parent] if stage == "exec" => exec::main(parent),
        _ => {
            eprintln!("the warden is started by Servo, not by hand");
            ExitCode::from(2)
        }
    }
}

/// How long SIGKILL may take; a process in an uninterruptible wait can outlive it.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// How often the remaining processes are counted (and killed again) while the tree is being ended.
const SWEEP: Duration = Duration::from_millis(50);

/// Runs a stage as the one that orphans below it fall to.
fn alone(stage: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        // Without it, processes that leave the group are still found as long as their parents live.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        let _ = std::fs::write("/proc/self/comm", LISTED);
    }
    // One thread only: the parent-death signal of stage 2 follows the thread that started it.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(stage)
}

/// This program again, in another stage.
fn again(stage: &str) -> io::Result<Command> {
    let mut command = Command::new(if cfg!(target_os = "linux") {
        PathBuf::from("/proc/self/exe")
    } else {
        std::env::current_exe()?
    });
    command.arg0(LISTED);
    let mut args = std::env::args_os();
    if let Some(listed) = args.next().filter(|_| stage == "keep") {
        command.arg0(listed);
    }
    // The host's binary needs the hidden word; the stand-alone warden was started without it.
    if args.next().is_some_and(|word| word == SUBCOMMAND) {
        command.arg(SUBCOMMAND);
    }
    command.arg(stage);
    Ok(command)
}

/// The signals that ask politely: sent to a whole control group (systemd) or terminal, they must not end a
/// warden before its component.
struct Signals([SignalStream; 4]);

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::quit())?,
        ]))
    }

    /// Waits for one of them.
    async fn any(&mut self) {
        let [a, b, c, d] = &mut self.0;
        tokio::select! {
            _ = a.recv() => {}
            _ = b.recv() => {}
            _ = c.recv() => {}
            _ = d.recv() => {}
        }
    }
}

/// Gives up this process's ends of the pipes that the component writes to.
fn release_output() {
    if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// The living processes below `root`, with their groups.
fn living_below(root: Pid) -> Vec<(Pid, i32)> {
    proc_tree::descendants(root.as_raw_nonzero().get())
        .into_iter()
        .filter(|stat| !stat.zombie)
        .filter_map(|stat| Some((Pid::from_raw(stat.pid)?, stat.group)))
        .collect()
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
    /// The first line: whoever is at the other end is a warden, with this process id.
    Hello { pid: i32 },
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
