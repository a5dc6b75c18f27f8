//! What the tests see of the machine, and how they make components.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use servo_connector_process::component::{Component, components};
use servo_connector_process::config::ProcessConfig;
use servo_connector_process::keeper::Keeper;
use servo_connector_process::readiness;
use servo_connector_process::tuner::Tuner;
use servo_connector_process::warden::WardenProgram;

/// No condition of these tests takes longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn warden() -> WardenProgram {
    WardenProgram::at(env!("CARGO_BIN_EXE_servo-warden"))
}

/// The first component of a stanza; `MARK` in it is replaced by the mark of the test.
pub fn component(yaml: &str) -> Component {
    let config: ProcessConfig = serde_yaml::from_str(yaml).unwrap();
    let (mut components, problems) = components(&config);
    assert!(
        problems.iter().all(|problem| problem.warning),
        "{problems:?}"
    );
    components.remove(0)
}

pub fn tuner(yaml: &str) -> Tuner {
    Tuner::new(component(yaml), warden(), readiness::client().unwrap())
}

pub fn keeper(yaml: &str) -> Keeper {
    Keeper::new(component(yaml), warden(), readiness::client().unwrap())
}

/// An environment variable that tells the processes of one test from all others.
pub struct Mark(String);

impl Mark {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("mark-{}-{next}-end", std::process::id()))
    }

    pub fn from(text: String) -> Self {
        Self(text)
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// The processes that carry the mark.
    pub fn living(&self) -> Vec<i32> {
        let wanted = format!("MARK={}", self.0);
        let pids = std::fs::read_dir("/proc").unwrap().flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid: &i32| {
                let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment
                    .split(|byte| *byte == 0)
                    .any(|variable| variable == wanted.as_bytes())
            })
            .collect()
    }

    /// Waits until this many processes carry the mark.
    pub async fn count(&self, wanted: usize) {
        eventually(&format!("{wanted} processes"), || {
            self.living().len() == wanted
        })
        .await;
    }
}

/// Nothing of a test survives it.
impl Drop for Mark {
    fn drop(&mut self) {
        for pid in self.living() {
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_raw(pid).unwrap(),
                rustix::process::Signal::KILL,
            );
        }
    }
}

/// Waits for a condition.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "did not come: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for a future.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("in time")
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// The warden that holds `pid`.
pub fn parent_of(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let tail = stat.rsplit_once(')').unwrap().1;
    tail.split_whitespace().nth(1).unwrap().parse().unwrap()
}

pub fn kill(pid: i32) {
    signal(pid, rustix::process::Signal::KILL);
}

pub fn terminate(pid: i32) {
    signal(pid, rustix::process::Signal::TERM);
}

fn signal(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

pub fn exists(path: impl AsRef<Path>) -> bool {
    path.as_ref().exists()
}

pub fn this_binary() -> PathBuf {
    std::env::current_exe().unwrap()
}
