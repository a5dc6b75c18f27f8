//! The program that is measured, as a process with a fleet of servos.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Servo,
    Servox,
}

/// A running program. Killed when dropped.
pub(crate) struct Subject {
    child: Child,
    folder: TempDir,
}

/// Where ServoX is, if anywhere.
pub(crate) fn servox() -> Option<PathBuf> {
    let environment = std::env::var_os("SERVOX_VENV")?;
    let program = PathBuf::from(environment).join("bin/servo");
    assert!(program.exists(), "SERVOX_VENV has no {}", program.display());
    Some(program)
}

/// A file of `servos` servos that do nothing but wait.
pub(crate) fn documents(servos: usize, base_url: &str) -> String {
    let mut text = String::new();
    for n in 0..servos {
        document(&mut text, n, base_url, false);
    }
    text
}

pub(crate) fn document(text: &mut String, n: usize, base_url: &str, measure_enabled: bool) {
    writeln!(
        text,
        "---\nname: servo-{n}\noptimizer:\n  id: dev.opsani.com/app-{n}\n  token: token-{n}\n  base_url: {base_url}\n\
         connectors: [wait]\nwait:\n  measure_enabled: {measure_enabled}"
    )
    .unwrap();
}

impl Subject {
    pub(crate) fn start(kind: Kind, documents: &str, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("servo.yaml"), documents).unwrap();
        let (program, arguments): (_, &[&str]) = match kind {
            Kind::Servo => (servo_benches::program(), &["run"]),
            Kind::Servox => (servox().unwrap(), &["-c", "servo.yaml", "run"]),
        };
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let keep = ["PATH", "LD_LIBRARY_PATH", "LANG", "TZ"];
        let kept: Vec<(&str, OsString)> = keep
            .iter()
            .filter_map(|name| Some((*name, std::env::var_os(name)?)))
            .collect();
        let child = Command::new(program)
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .envs(kept)
            .env("HOME", folder.path())
            .env("SERVOD_ADMIN__LISTEN", "off")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    /// Whether its log has a line with this in it.
    pub(crate) fn has_logged(&self, text: &str) -> Option<String> {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines()
            .rev()
            .find(|line| line.contains(text))
            .map(str::to_owned)
    }

    /// Bytes in memory.
    pub(crate) fn resident(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
        kib.unwrap_or(0) * 1024
    }

    /// Processor time of all threads, in steps of 10 ms.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it by SIGTERM; tells how long that took, and how it ended if it did in time.
    pub(crate) fn end(&mut self, within: Duration) -> (Duration, Option<ExitStatus>) {
        let began = Instant::now();
        self.signal(Signal::TERM);
        while began.elapsed() < within {
            if let Some(status) = self.has_ended() {
                return (began.elapsed(), Some(status));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        (began.elapsed(), None)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
