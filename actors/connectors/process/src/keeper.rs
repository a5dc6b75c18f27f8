//! The task that owns a component's process: it takes commands one after the other, and starts the
//! process again when it ends by itself.
//!
//! Because the task and not the caller owns the process, a caller that gives up waiting leaves a
//! defined state behind: the task finishes the adjustment or restores the last good values.

use std::time::Duration;

use reqwest::Client;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::child::{Pulse, StopError};
use crate::component::{Component, Values};
use crate::config::RestartPolicy;
use crate::tuner::{AdjustError, LastLines, StartError, Tuner};
use crate::warden::WardenProgram;

/// Commands that may wait; a servo sends one at a time.
const WAITING: usize = 8;
/// A process that has lived this long was no failed restart.
const LONG_LIFE: Duration = Duration::from_secs(60);

enum Command {
    EnsureRunning {
        cancel: CancellationToken,
        reply: oneshot::Sender<Result<Pulse, StartError>>,
    },
    Adjust {
        wanted: Values,
        cancel: CancellationToken,
        reply: oneshot::Sender<Result<(), AdjustError>>,
    },
    Stop {
        limit: Duration,
        reply: oneshot::Sender<Result<(), StopError>>,
    },
}

/// What a component is doing.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The values of the process that runs, or of the next one.
    pub values: Values,
    /// The process, if it lives.
    pub pulse: Option<Pulse>,
    /// Otherwise the process that has ended by itself, until another one is started.
    pub ended: Option<Pulse>,
}

/// The handle of a component's task. Dropping it kills the process.
#[derive(Debug)]
pub struct Keeper {
    component: Component,
    commands: mpsc::Sender<Command>,
    standing: watch::Receiver<Standing>,
    /// Fires when the process shall be stopped, whatever is under way.
    closing: watch::Sender<CancellationToken>,
    _task: AbortOnDropHandle<()>,
}

/// The task has ended: it panicked, or its runtime is shutting down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the keeper of component `{component}` has ended unexpectedly")]
pub struct KeeperGone {
    component: String,
}

impl Keeper {
    /// Starts the task, on the current runtime; the process is not started yet.
    pub fn new(component: Component, warden: WardenProgram, client: Client) -> Self {
        let (commands, receiver) = mpsc::channel(WAITING);
        let tuner = Tuner::new(component.clone(), warden, client);
        let (publish, standing) = watch::channel(standing(&tuner));
        let (closing, closed) = watch::channel(CancellationToken::new());
        let task = Task {
            restarts: Restarts::new(component.restart),
            tuner,
            commands: receiver,
            publish,
            closing: closed,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(task.run()));
        Self {
            component,
            commands,
            standing,
            closing,
            _task: task,
        }
    }

    /// The component it keeps.
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// What the component is doing now.
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Starts the process unless it runs.
    ///
    /// # Errors
    /// [`KeeperGone`]; inside, see [`StartError`].
    pub async fn ensure_running(
        &self,
        cancel: &CancellationToken,
    ) -> Result<Result<Pulse, StartError>, KeeperGone> {
        let (reply, answer) = oneshot::channel();
        self.ask(
            Command::EnsureRunning {
                cancel: cancel.clone(),
                reply,
            },
            answer,
        )
        .await
    }

    /// Gives the process these values; see [`Tuner::adjust`]. A caller that stops waiting does not stop
    /// the adjustment; `cancel` does.
    ///
    /// # Errors
    /// [`KeeperGone`]; inside, see [`AdjustError`].
    pub async fn adjust(
        &self,
        wanted: Values,
        cancel: &CancellationToken,
    ) -> Result<Result<(), AdjustError>, KeeperGone> {
        let (reply, answer) = oneshot::channel();
        self.ask(
            Command::Adjust {
                wanted,
                cancel: cancel.clone(),
                reply,
            },
            answer,
        )
        .await
    }

    /// Asks for these values without waiting for the outcome, which goes to the log.
    pub fn adjust_later(&self, wanted: Values) {
        let (reply, _) = oneshot::channel();
        let command = Command::Adjust {
            wanted,
            cancel: CancellationToken::new(),
            reply,
        };
        if self.commands.try_send(command).is_err() {
            tracing::error!(
                component = self.component.name(),
                "too busy to take another adjustment"
            );
        }
    }

    /// Ends the process with a grace of at most `limit`; a start or a restoration under way is given up.
    ///
    /// # Errors
    /// [`KeeperGone`]; inside, see [`StopError`].
    pub async fn stop(&self, limit: Duration) -> Result<Result<(), StopError>, KeeperGone> {
        self.closing.borrow().cancel();
        // A caller that gives up waiting must not leave a component behind that can never start again.
        let _reopen = Reopen(&self.closing);
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Stop { limit, reply }, answer).await
    }

    async fn ask<T>(
        &self,
        command: Command,
        answer: oneshot::Receiver<T>,
    ) -> Result<T, KeeperGone> {
        let gone = || KeeperGone {
            component: self.component.name().to_owned(),
        };
        self.commands.send(command).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

/// Lets a component start again, when dropped.
struct Reopen<'a>(&'a watch::Sender<CancellationToken>);

impl Drop for Reopen<'_> {
    fn drop(&mut self) {
        self.0.send_replace(CancellationToken::new());
    }
}

fn standing(tuner: &Tuner) -> Standing {
    Standing {
        values: tuner.values().clone(),
        pulse: tuner.pulse(),
        ended: tuner.ended(),
    }
}

struct Task {
    tuner: Tuner,
    commands: mpsc::Receiver<Command>,
    publish: watch::Sender<Standing>,
    closing: watch::Receiver<CancellationToken>,
    restarts: Restarts,
}

impl Task {
    async fn run(mut self) {
        let name = self.tuner.component().name().to_owned();
        let mut restart_at: Option<Instant> = None;
        let mut running_since = Instant::now();
        loop {
            let watched = self.tuner.pulse();
            self.publish.send_replace(standing(&self.tuner));
            let was = watched.as_ref().map(|pulse| pulse.pid);
            tokio::select! {
                command = self.commands.recv() => {
                    let Some(command) = command else { return };
                    restart_at = None;
                    self.restarts.forget();
                    self.obey(command).await;
                }
                () = died(&name, watched.as_ref()) => {
                    if running_since.elapsed() >= LONG_LIFE {
                        self.restarts.forget();
                    }
                    restart_at = self.restarts.next(&name);
                }
                () = at(restart_at) => {
                    let closing = self.closing.borrow().clone();
                    restart_at = match self.tuner.ensure_running(&closing).await {
                        Ok(()) => None,
                        Err(error) => {
                            tracing::warn!(component = %name, "restart failed: {error}");
                            self.restarts.next(&name)
                        }
                    };
                }
            }
            if self.tuner.pulse().map(|pulse| pulse.pid) != was {
                running_since = Instant::now();
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        let closing = self.closing.borrow().clone();
        match command {
            Command::EnsureRunning { cancel, reply } => {
                let both = either(&cancel, &closing);
                let started = self.tuner.ensure_running(&both.token).await;
                let pulse = started.and_then(|()| {
                    self.tuner.pulse().ok_or_else(|| StartError::Cancelled {
                        component: self.tuner.component().name().to_owned(),
                    })
                });
                self.answer(reply, pulse);
            }
            Command::Adjust {
                wanted,
                cancel,
                reply,
            } => {
                let both = either(&cancel, &closing);
                let adjusted = self.tuner.adjust(&wanted, &both.token, &closing).await;
                self.answer(reply, adjusted);
            }
            Command::Stop { limit, reply } => {
                let stopped = self.tuner.stop(limit).await;
                self.answer(reply, stopped);
            }
        }
    }

    /// Whoever has the answer also sees the state that led to it.
    fn answer<T>(&self, reply: oneshot::Sender<T>, answer: T) {
        self.publish.send_replace(standing(&self.tuner));
        // A caller that has given up reads the state later.
        let _ = reply.send(answer);
    }
}

/// A token that fires with either of two.
struct Either {
    token: CancellationToken,
    _link: AbortOnDropHandle<()>,
}

fn either(one: &CancellationToken, other: &CancellationToken) -> Either {
    let token = one.child_token();
    let (linked, other) = (token.clone(), other.clone());
    let link = tokio::spawn(async move {
        other.cancelled().await;
        linked.cancel();
    });
    Either {
        token,
        _link: AbortOnDropHandle::new(link),
    }
}

/// Waits for the end of the process, and tells it.
async fn died(component: &str, pulse: Option<&Pulse>) {
    let Some(pulse) = pulse else {
        return std::future::pending().await;
    };
    let exit = pulse.ended().await;
    tracing::error!(
        component,
        pid = pulse.pid,
        "the process has ended by itself with {exit}{}",
        LastLines(pulse.last_lines())
    );
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Counts restarts in a row.
struct Restarts {
    policy: RestartPolicy,
    done: u32,
}

impl Restarts {
    fn new(policy: RestartPolicy) -> Self {
        Self { policy, done: 0 }
    }

    fn forget(&mut self) {
        self.done = 0;
    }

    /// When to try again; `None` when it has been tried often enough.
    fn next(&mut self, component: &str) -> Option<Instant> {
        let RestartPolicy {
            backoff,
            max_backoff,
            attempts,
        } = self.policy;
        if self.done >= attempts {
            tracing::error!(
                component,
                "given up after {attempts} restarts in a row; the next command tries again"
            );
            return None;
        }
        let factor = 2_u32.saturating_pow(self.done);
        self.done += 1;
        let wait = backoff
            .as_std()
            .saturating_mul(factor)
            .min(max_backoff.as_std());
        tracing::info!(component, "restart in {wait:?}");
        Some(Instant::now() + wait)
    }
}
