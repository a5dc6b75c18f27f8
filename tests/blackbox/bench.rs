//! A directory, an id and the program: what each test works with.

use std::{
    fs,
    io::Read,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Inherited by every process that a test leads to.
const MARK: &str = "BLACKBOX_ID";

/// The longest that anything takes which takes no time of its own, on a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A test's directory and id. What still runs when it is dropped is killed.
pub(crate) struct Bench {
    directory: tempfile::TempDir,
    id: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        Self {
            directory: tempfile::tempdir().expect("a directory"),
            id: format!(
                "{}-{}",
                std::process::id(),
                COUNT.fetch_add(1, Ordering::Relaxed)
            ),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("write");
    }

    /// Any program, with the test's directory and id and nothing of the tester's own configuration.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        for (name, _) in std::env::vars() {
            if ["SERVO", "OPSANI_", "POD_", "RUST_LOG"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
            {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.directory.path())
            .env(MARK, &self.id)
            // Tests run side by side, and there is one default port.
            .env("SERVOD_ADMIN__LISTEN", "off")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn servo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_servo"));
        command.args(arguments);
        command
    }

    /// Starts the program with these arguments.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.servo(arguments))
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.run_within(Duration::from_secs(60), arguments)
    }

    pub(crate) fn run_within(&self, deadline: Duration, arguments: &[&str]) -> Ended {
        self.start(arguments).ended(deadline)
    }

    /// Processes with the test's id, each with its command line.
    pub(crate) fn processes(&self) -> Vec<(Pid, String)> {
        let mark = format!("{MARK}={}", self.id);
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
                continue;
            };
            // The environment of a process that has ended reads as empty.
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment
                .split(|b| *b == 0)
                .any(|variable| variable == mark.as_bytes())
                && let Some(pid) = Pid::from_raw(pid)
            {
                let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                found.push((pid, line));
            }
        }
        found
    }

    /// Nothing that the test led to runs any more, `within` this time.
    pub(crate) fn assert_nothing_left(&self, within: Duration) {
        let until = Instant::now() + within;
        while !self.processes().is_empty() {
            assert!(
                Instant::now() < until,
                "left behind: {:?}",
                self.processes()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// As [`Self::assert_nothing_left`], with one program still at work.
    pub(crate) fn assert_nothing_left_but(&self, program: &Running, within: Duration) {
        wait("only one process left", within, || {
            let left = self.processes();
            left.iter()
                .all(|(pid, _)| *pid == program.pid())
                .then_some(())
        });
    }

    /// The trials of the latest study of `optimizer`, as the program itself tells them.
    pub(crate) fn trials(&self, optimizer: &str) -> Vec<Value> {
        let ended = self.run(&[
            "optimizer",
            "trials",
            "--db",
            "trials.db",
            optimizer,
            "--output",
            "json",
        ]);
        ended.assert_code(0);
        ended.json()["trials"].as_array().expect("a list").clone()
    }

    /// The studies of the trial file, as the program itself tells them.
    pub(crate) fn studies(&self) -> Vec<Value> {
        let ended = self.run(&["optimizer", "trials", "--db", "trials.db", "-o", "json"]);
        ended.assert_code(0);
        ended.json().as_array().expect("a list").clone()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for (pid, _) in self.processes() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Says past the capture of the test's output that something was not tested.
pub(crate) fn skipped(what: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}");
}

/// A port nobody listens on. Below those which the system hands out for outgoing connections, and
/// never the same twice.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two runs of the tests at a time rarely begin at the same place.
    let begin = u16::try_from(std::process::id() % 1000).expect("below 1000") * 10;
    loop {
        let port = 20_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until `condition` returns something.
#[track_caller]
pub(crate) fn wait<R>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Option<R>,
) -> R {
    let until = Instant::now() + deadline;
    loop {
        if let Some(result) = condition() {
            return result;
        }
        assert!(Instant::now() < until, "{what}: not within {deadline:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A program under way, and what it has written so far.
pub(crate) struct Running {
    child: Child,
    line: String,
    stdout: Stream,
    stderr: Stream,
}

struct Stream {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Stream {
    fn new(mut from: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let into = text.clone();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                into.lock().expect("lock").extend_from_slice(&buffer[..n]);
            }
        });
        Self {
            text,
            reader: Some(reader),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().expect("lock")).into_owned()
    }

    /// Everything, to the end: nobody holds the other side of the pipe any more.
    fn rest(&mut self, deadline: Duration) -> String {
        if let Some(reader) = &self.reader {
            wait("the end of the output", deadline, || {
                reader.is_finished().then_some(())
            });
        }
        self.text()
    }
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let line = format!("{command:?}");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        Self {
            stdout: Stream::new(child.stdout.take().expect("piped")),
            stderr: Stream::new(child.stderr.take().expect("piped")),
            child,
            line,
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it is ours");
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_some()
    }

    /// Waits until `condition` holds of stdout and stderr, and returns what it found.
    #[track_caller]
    pub(crate) fn until<R>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut condition: impl FnMut(&str, &str) -> Option<R>,
    ) -> R {
        let until = Instant::now() + deadline;
        loop {
            let ended = self.has_ended();
            let (out, err) = (self.stdout(), self.stderr());
            if let Some(result) = condition(&out, &err) {
                return result;
            }
            assert!(
                !ended,
                "{}: ended before {what}\nstdout:\n{out}\nstderr:\n{err}",
                self.line
            );
            assert!(
                Instant::now() < until,
                "{}: {what}: not within {deadline:?}\nstdout:\n{out}\nstderr:\n{err}",
                self.line
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn ended(mut self, deadline: Duration) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            assert!(
                began.elapsed() < deadline,
                "{}: still runs after {deadline:?}\nstdout:\n{}\nstderr:\n{}",
                self.line,
                self.stdout(),
                self.stderr()
            );
            thread::sleep(Duration::from_millis(5));
        };
        let took = began.elapsed();
        let ended = Ended {
            line: self.line.clone(),
            code: status.code(),
            stdout: self.stdout.rest(SOON),
            stderr: self.stderr.rest(SOON),
            took,
        };
        assert!(!ended.stderr.contains("panicked at"), "{ended}");
        ended
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that has ended.
pub(crate) struct Ended {
    line: String,
    /// None when a signal killed it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// How long it was waited for.
    pub(crate) took: Duration,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}\nexit code: {:?}\nstdout:\n{}\nstderr:\n{}",
            self.line, self.code, self.stdout, self.stderr
        )
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    #[track_caller]
    pub(crate) fn assert_stderr(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.stderr.contains(part), "stderr lacks {part:?}: {self}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn assert_stdout(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.stdout.contains(part), "stdout lacks {part:?}: {self}");
        }
        self
    }

    /// stdout, which holds one JSON value and nothing else.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}
