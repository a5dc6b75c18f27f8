//! Stage 1: starts the command, reports its end, and ends everything below itself when told to, when
//! the command has ended, or when Servo is gone.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, wait};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::{
    KILL_LIMIT, MARKER, Order, Refusal, Report, Run, SWEEP, Signals, Step, again, line,
    living_below, release_output,
};

/// How long Servo may take to send its order, and to accept a report.
const TALK_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn main() -> ExitCode {
    match super::alone(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("warden: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> io::Result<()> {
    // Before the first child, so that no end of it is missed.
    let mut ended = signal(SignalKind::child())?;
    let mut asked = Signals::new()?;
    let socket = StdStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    let (reader, writer) = UnixStream::from_std(socket)?.into_split();
    let mut servo = Servo {
        reader: BufReader::new(reader),
        text: Vec::new(),
        writer,
    };
    let pid = getpid().as_raw_nonzero().get();
    servo.tell(&Report::Hello { pid }).await;
    let first = tokio::time::timeout(TALK_LIMIT, servo.order()).await;
    let Ok(Some(Order::Run(run))) = first else {
        return Err(io::Error::other("no order came: Servo is gone"));
    };
    let mut tree = Tree {
        main: None,
        phase: Phase::Running,
        stop_signal: Signal::from_named_raw(run.stop_signal).unwrap_or(Signal::TERM),
        grace: Duration::from_millis(run.grace_ms),
    };
    match start(&run, &mut tree).await {
        Ok(pid) => {
            servo
                .tell(&Report::Started {
                    pid: pid.as_raw_nonzero().get(),
                })
                .await;
        }
        Err(refusal) => {
            servo.tell(&Report::NotStarted(refusal)).await;
            tree.begin_kill();
        }
    }
    // The pipes belong to the component now: their end of file shall mean that it has ended.
    release_output();

    let mut connected = true;
    while !tree.reap(&mut servo).await {
        let wake = tree.next_wake();
        tokio::select! {
            order = servo.order(), if connected => match order {
                Some(Order::Stop { grace_ms }) => tree.begin_stop(Duration::from_millis(grace_ms)),
                Some(Order::Kill) => tree.begin_kill(),
                Some(Order::Run(_)) => {}
                None => {
                    connected = false;
                    tree.begin_stop(tree.grace);
                }
            },
            _ = ended.recv() => {}
            () = asked.any() => tree.begin_stop(tree.grace),
            () = sleep_until(wake) => {
                if tree.sweep() {
                    let pids = living_below(getpid()).into_iter().map(|(pid, _)| pid.as_raw_nonzero().get()).collect();
                    servo.tell(&Report::Left { pids }).await;
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Starts stage 2 and waits until it has become the command or said why not.
async fn start(run: &Run, tree: &mut Tree) -> Result<Pid, Refusal> {
    let spawn = |error: io::Error| Refusal::new(Step::Spawn, &error);
    let (ours, theirs) = StdStream::pair().map_err(spawn)?;
    let mut command = again("exec").map_err(spawn)?;
    let child = command
        .arg(std::process::id().to_string())
        .env_remove(MARKER)
        .stdin(std::os::fd::OwnedFd::from(theirs))
        .process_group(0)
        .spawn()
        .map_err(spawn)?;
    // `command` still holds the other end of the socket; the end of file must not wait for it.
    drop(command);
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| spawn(io::Error::other("the system gave no process id")))?;
    tree.main = Some(pid);
    ours.set_nonblocking(true).map_err(spawn)?;
    let mut socket = UnixStream::from_std(ours).map_err(spawn)?;
    socket.write_all(&line(run)).await.map_err(spawn)?;
    let mut answer = Vec::new();
    let mut limited = (&mut socket).take(64 << 10);
    limited.read_to_end(&mut answer).await.map_err(spawn)?;
    if answer.is_empty() {
        return Ok(pid);
    }
    Err(serde_json::from_slice(&answer).unwrap_or_else(|error| spawn(error.into())))
}

/// The other end of the socket.
struct Servo {
    reader: BufReader<OwnedReadHalf>,
    /// Holds a part of a line when the wait for the rest of it is dropped.
    text: Vec<u8>,
    writer: OwnedWriteHalf,
}

impl Servo {
    /// The next order; `None` when Servo is gone.
    async fn order(&mut self) -> Option<Order> {
        loop {
            match self.reader.read_until(b'\n', &mut self.text).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {
                    let order = serde_json::from_slice(&self.text);
                    self.text.clear();
                    if let Ok(order) = order {
                        return Some(order);
                    }
                }
            }
        }
    }

    /// Best effort: when Servo is gone, the end of file says so elsewhere.
    async fn tell(&mut self, report: &Report) {
        let _ = tokio::time::timeout(TALK_LIMIT, self.writer.write_all(&line(report))).await;
    }
}

enum Phase {
    Running,
    Stopping { kill_at: Instant },
    Killing { give_up_at: Instant },
}

/// Everything below the warden.
struct Tree {
    /// The command, until it has been collected. Its process id is its group's.
    main: Option<Pid>,
    phase: Phase,
    stop_signal: Signal,
    grace: Duration,
}

impl Tree {
    /// Collects what has ended; true when nothing is left.
    async fn reap(&mut self, servo: &mut Servo) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if self.main == Some(pid) {
                        self.main = None;
                        servo
                            .tell(&Report::Exited {
                                code: status.exit_status(),
                                signal: status.terminating_signal(),
                                // Bit 7 of the wait status, `WCOREDUMP`.
                                core_dumped: status.signaled() && status.as_raw() & 0x80 != 0,
                            })
                            .await;
                        // What a dead command leaves behind holds its ports and files.
                        self.begin_stop(self.grace);
                    }
                }
                Ok(None) => return false,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return true,
            }
        }
    }

    fn begin_stop(&mut self, grace: Duration) {
        if matches!(self.phase, Phase::Running) {
            self.signal_all(self.stop_signal);
            self.phase = Phase::Stopping {
                kill_at: Instant::now() + grace,
            };
        }
    }

    fn begin_kill(&mut self) {
        self.signal_all(Signal::KILL);
        if !matches!(self.phase, Phase::Killing { .. }) {
            self.phase = Phase::Killing {
                give_up_at: Instant::now() + KILL_LIMIT,
            };
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running => None,
            Phase::Stopping { kill_at } => Some(kill_at),
            Phase::Killing { .. } => Some(Instant::now() + SWEEP),
        }
    }

    /// The wake-up has come; true when the warden gives up on what is left.
    fn sweep(&mut self) -> bool {
        match self.phase {
            Phase::Killing { give_up_at } if Instant::now() >= give_up_at => true,
            // Again: a process may have forked between the last look and the last kill.
            Phase::Killing { .. } | Phase::Stopping { .. } => {
                self.begin_kill();
                false
            }
            Phase::Running => false,
        }
    }

    fn signal_all(&self, signal: Signal) {
        // A process may end before its signal comes: nothing to do then.
        if let Some(main) = self.main {
            let _ = kill_process_group(main, signal);
        }
        let group = self.main.map(|main| main.as_raw_nonzero().get());
        for (pid, other) in living_below(getpid()) {
            if Some(other) != group {
                let _ = kill_process(pid, signal);
            }
        }
    }
}
