//! One running command: started through the warden, read, watched and ended.

use std::io::Write;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::watch;

use crate::config::{LineMatcher, OutputPolicy, StopPolicy};
pub use crate::exit::Exit;
use crate::output::{Sink, Tail};
use crate::proc_tree::{self, Usage};
use crate::warden::{LISTED, MARKER, Order, Refusal, Report, Run, Step, WardenProgram, line};

/// How long a warden may take to say hello and to start the command.
const START_LIMIT: Duration = Duration::from_secs(10);
/// What a stop may take beyond its grace: the warden's own limit for SIGKILL, and some air.
const STOP_MARGIN: Duration = Duration::from_secs(8);
/// How long the last output of an ended command is waited for.
const OUTPUT_LIMIT: Duration = Duration::from_millis(500);

/// What to start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Launch {
    /// For the log.
    pub(crate) component: String,
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) stop: StopPolicy,
    pub(crate) output: OutputPolicy,
    /// The output line that means "ready".
    pub(crate) awaited: Option<LineMatcher>,
}

/// Why a command could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnError {
    /// The program is not there.
    #[error("command `{program}` not found: {cause}")]
    NotFound {
        /// As configured.
        program: String,
        /// Where it was looked for, and what to check.
        cause: String,
    },
    /// The working directory cannot be entered.
    #[error("cannot enter the working directory {}: {cause}; check `cwd`", directory.display())]
    Directory {
        /// As configured.
        directory: PathBuf,
        /// The system's words.
        cause: String,
    },
    /// The system refused.
    #[error("cannot start `{program}`: {cause}")]
    Refused {
        /// As configured.
        program: String,
        /// The system's words.
        cause: String,
    },
    /// The process that guards the component did not start.
    #[error(
        "cannot start the warden {}: {cause}; the hosting binary must call `warden::entry` first in `main`",
        program.display()
    )]
    Warden {
        /// The program that was tried.
        program: PathBuf,
        /// What happened.
        cause: String,
    },
}

/// The command has not ended although it was killed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "process {pid} of component `{component}` has not ended {limit:?} after it was told to: end it by hand"
)]
pub struct StopError {
    /// The component's name.
    pub component: String,
    /// The process id of the command.
    pub pid: i32,
    /// How long was waited.
    pub limit: Duration,
}

/// A running command. Dropping it kills the command and everything it started.
#[derive(Debug)]
pub(crate) struct Child {
    component: String,
    pid: Pid,
    warden: i32,
    control: StdStream,
    exit: watch::Receiver<Option<Exit>>,
    /// True when the command, everything it started and the warden are gone.
    gone: watch::Receiver<bool>,
    tail: Tail,
    awaited: watch::Receiver<bool>,
    readers: watch::Receiver<()>,
    stop: StopPolicy,
}

impl Child {
    /// Starts the command and returns once it has been executed (not: once it is ready).
    ///
    /// # Errors
    /// See [`SpawnError`]. Nothing is left running.
    pub(crate) async fn spawn(launch: &Launch, warden: &WardenProgram) -> Result<Self, SpawnError> {
        let failed = |cause: String| SpawnError::Warden {
            program: warden.program.clone(),
            cause,
        };
        if std::env::var_os(MARKER).is_some() {
            return Err(failed("this program was itself started as a warden".into()));
        }
        let io = |error: std::io::Error| failed(error.to_string());
        let (ours, theirs) = StdStream::pair().map_err(io)?;
        let mut guard = Command::new(&warden.program)
            .arg0(format!("{LISTED}:{}", launch.component))
            .args(&warden.arguments)
            .env(MARKER, "1")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C reaches Servo only, which then stops its components in order.
            .process_group(0)
            .spawn()
            .map_err(io)?;
        ours.set_nonblocking(true).map_err(io)?;
        let control = ours.try_clone().map_err(io)?;
        let (reader, mut writer) = UnixStream::from_std(ours).map_err(io)?.into_split();

        let tail = Tail::default();
        let (awaited_sender, awaited) = watch::channel(false);
        let awaited_sender = Arc::new(awaited_sender);
        let (reading, readers) = watch::channel(());
        let reading = Arc::new(reading);
        let sink = |stream| Sink {
            component: launch.component.clone(),
            stream,
            policy: launch.output,
            tail: tail.clone(),
            awaited: launch
                .awaited
                .clone()
                .map(|matcher| (matcher, awaited_sender.clone())),
        };
        if let Some(stdout) = guard.stdout.take() {
            let (sink, reading) = (sink("stdout"), reading.clone());
            tokio::spawn(async move {
                sink.drain(stdout).await;
                drop(reading);
            });
        }
        if let Some(stderr) = guard.stderr.take() {
            let sink = sink("stderr");
            tokio::spawn(async move {
                sink.drain(stderr).await;
                drop(reading);
            });
        }

        let run = Run {
            program: launch.program.clone(),
            arguments: launch.arguments.clone(),
            environment: launch.environment.clone(),
            directory: launch.directory.clone(),
            stop_signal: launch.stop.signal.number(),
            grace_ms: milliseconds(launch.stop.grace()),
        };
        let mut reports = Reports(BufReader::new(reader));
        // Returning early from here on drops the socket, and with it ends the warden.
        let started = tokio::time::timeout(START_LIMIT, async {
            let hello = reports.next().await;
            let Some(Report::Hello { pid: warden }) = hello else {
                return Err(failed("it does not answer as a warden".into()));
            };
            writer
                .write_all(&line(&Order::Run(run)))
                .await
                .map_err(io)?;
            match reports.next().await {
                Some(Report::Started { pid }) => match Pid::from_raw(pid) {
                    Some(pid) => Ok((pid, warden)),
                    None => Err(failed("it reported no process id".into())),
                },
                Some(Report::NotStarted(refusal)) => Err(refused(launch, refusal)),
                _ => Err(failed("it ended before the command was started".into())),
            }
        })
        .await;
        let (pid, warden_id) = match started {
            Ok(Ok(pids)) => pids,
            other => {
                let _ = control.shutdown(Shutdown::Both);
                // Collected here, so that no zombie waits for the runtime to look.
                let _ = tokio::time::timeout(OUTPUT_LIMIT, guard.wait()).await;
                return Err(match other {
                    Ok(Err(error)) => error,
                    _ => failed(format!("no answer within {START_LIMIT:?}")),
                });
            }
        };
        // The write half shuts the socket down when it is dropped; `control` does that from now on.
        writer.forget();

        let (exit_sender, exit) = watch::channel(None);
        let (gone_sender, gone) = watch::channel(false);
        let component = launch.component.clone();
        tokio::spawn(async move {
            watch_over(reports, &exit_sender, &component, pid).await;
            // The warden has closed its socket, so it ends at once.
            let _ = guard.wait().await;
            gone_sender.send_replace(true);
        });
        tracing::debug!(component = %launch.component, pid = pid.as_raw_nonzero().get(), "started `{}`", launch.program);
        Ok(Self {
            component: launch.component.clone(),
            pid,
            warden: warden_id,
            control,
            exit,
            gone,
            tail,
            awaited,
            readers,
            stop: launch.stop,
        })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// A view that outlives the child and can be watched from elsewhere.
    pub(crate) fn pulse(&self) -> Pulse {
        Pulse {
            pid: self.pid(),
            warden: self.warden,
            exit: self.exit.clone(),
            readers: self.readers.clone(),
            tail: self.tail.clone(),
        }
    }

    /// Waits until the awaited output line has come; for ever if it never does.
    pub(crate) async fn awaited_line(&self) {
        let mut awaited = self.awaited.clone();
        if awaited.wait_for(|come| *come).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Stop signal, grace (at most `limit`), SIGKILL for everything the command started; returns when all
    /// of it is gone.
    ///
    /// # Errors
    /// When something survives even SIGKILL (a wait in the kernel that cannot be interrupted).
    pub(crate) async fn stop(&mut self, limit: Duration) -> Result<(), StopError> {
        let grace = self.stop.grace().min(limit);
        self.order(&Order::Stop {
            grace_ms: milliseconds(grace),
        });
        self.wait_gone(grace + STOP_MARGIN).await
    }

    /// SIGKILL for everything at once; returns when all of it is gone.
    ///
    /// # Errors
    /// As for [`Self::stop`].
    pub(crate) async fn kill(&mut self) -> Result<(), StopError> {
        self.order(&Order::Kill);
        self.wait_gone(STOP_MARGIN).await
    }

    async fn wait_gone(&mut self, limit: Duration) -> Result<(), StopError> {
        if self.gone_within(limit).await {
            return Ok(());
        }
        // The warden itself is stopped or stuck: past it.
        let _ = kill_process_group(self.pid, Signal::KILL);
        if let Some(warden) = Pid::from_raw(self.warden) {
            let _ = kill_process(warden, Signal::KILL);
        }
        if self.gone_within(OUTPUT_LIMIT).await {
            return Ok(());
        }
        Err(StopError {
            component: self.component.clone(),
            pid: self.pid(),
            limit,
        })
    }

    async fn gone_within(&mut self, limit: Duration) -> bool {
        let gone = tokio::time::timeout(limit, self.gone.wait_for(|gone| *gone)).await;
        gone.is_ok()
    }

    /// A line is far smaller than the socket's buffer: it fits or the warden is gone.
    fn order(&self, order: &Order) {
        let _ = (&self.control).write_all(&line(order));
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.order(&Order::Kill);
        let _ = self.control.shutdown(Shutdown::Write);
    }
}

/// What can be seen of a running command without holding it.
#[derive(Debug, Clone)]
pub struct Pulse {
    /// The command's process id, which is also its group's.
    pub pid: i32,
    warden: i32,
    exit: watch::Receiver<Option<Exit>>,
    readers: watch::Receiver<()>,
    tail: Tail,
}

impl Pulse {
    /// Waits for the end of the command and, briefly, of its output.
    pub async fn ended(&self) -> Exit {
        let mut exit = self.exit.clone();
        let how = match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.unwrap_or(Exit::Unseen),
            Err(_) => Exit::Unseen,
        };
        let mut readers = self.readers.clone();
        // Nothing is ever sent: the change is that both readers have dropped their sender.
        let _ = tokio::time::timeout(OUTPUT_LIMIT, readers.changed()).await;
        how
    }

    /// The end of the command, if it has come.
    pub fn exit(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// The last lines of the output, oldest first.
    pub fn last_lines(&self) -> Vec<String> {
        self.tail.lines()
    }

    /// CPU and memory of the command and everything it started; `None` when it has ended or the system
    /// has no `/proc`.
    pub async fn usage(&self) -> Option<Usage> {
        let warden = self.warden;
        tokio::task::spawn_blocking(move || proc_tree::usage_below(warden))
            .await
            .ok()
            .flatten()
    }
}

struct Reports(BufReader<tokio::net::unix::OwnedReadHalf>);

impl Reports {
    async fn next(&mut self) -> Option<Report> {
        let mut text = Vec::new();
        self.0.read_until(b'\n', &mut text).await.ok()?;
        serde_json::from_slice(&text).ok()
    }
}

async fn watch_over(
    mut reports: Reports,
    exit: &watch::Sender<Option<Exit>>,
    component: &str,
    pid: Pid,
) {
    while let Some(report) = reports.next().await {
        match report {
            Report::Exited {
                code,
                signal,
                core_dumped,
            } => {
                let how = match (code, signal) {
                    (Some(code), _) => Exit::Code(code),
                    (None, Some(number)) => Exit::Signal {
                        number,
                        core_dumped,
                    },
                    (None, None) => Exit::Unseen,
                };
                exit.send_replace(Some(how));
            }
            Report::Left { pids } => {
                tracing::error!(
                    component,
                    ?pids,
                    "processes survive SIGKILL: end them by hand"
                );
            }
            Report::Hello { .. } | Report::Started { .. } | Report::NotStarted(_) => {}
        }
    }
    exit.send_if_modified(|exit| {
        let unseen = exit.is_none();
        if unseen {
            // The warden was killed. The kernel kills the command with it, but not what that started.
            let _ = kill_process_group(pid, Signal::KILL);
            *exit = Some(Exit::Unseen);
        }
        unseen
    });
}

fn refused(launch: &Launch, refusal: Refusal) -> SpawnError {
    let program = launch.program.clone();
    match (refusal.step, &launch.directory) {
        (Step::Directory, Some(directory)) => SpawnError::Directory {
            directory: directory.clone(),
            cause: refusal.message,
        },
        (Step::Find, _) => SpawnError::NotFound {
            program,
            cause: refusal.message,
        },
        _ => SpawnError::Refused {
            program,
            cause: refusal.message,
        },
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
