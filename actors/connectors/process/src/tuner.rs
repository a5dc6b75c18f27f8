//! The life of one component: stopped, starting, ready, failed; and how an adjustment moves it.
//!
//! Knows neither actors nor events: [`crate::keeper`] drives it.

use std::fmt;
use std::time::Duration;

use reqwest::Client;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::child::{Child, Exit, Pulse, SpawnError, StopError, milliseconds};
use crate::component::{Component, ValueError, Values};
use crate::readiness::{self, AddressTaken, NotReady};
use crate::warden::WardenProgram;

/// How long an occupied address is waited for where `ready` names no time.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(30);
/// How long until a start that found its address in use is tried again.
const ADDRESS_RETRY: Duration = Duration::from_millis(500);
/// What the previous process may need to leave its address, beyond its grace.
const ADDRESS_MARGIN: Duration = Duration::from_secs(1);

/// Why a component did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum StartError {
    /// There is no process at all.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// Somebody else answers where the component should.
    #[error(transparent)]
    AddressTaken(#[from] AddressTaken),
    /// The process ended before it was ready, or before it had settled.
    #[error("`{component}` ended with {exit} before it was ready{tail}{}", foreground_hint(.exit))]
    Died {
        component: String,
        exit: Exit,
        tail: LastLines,
    },
    /// The process could not listen, time and again; its last lines say so.
    #[error(
        "`{component}` found its address in use for {waited:?} and ended with {exit}: another process holds \
         it, or connections of its predecessor linger (let it set SO_REUSEADDR){tail}"
    )]
    AddressInUse {
        component: String,
        waited: Duration,
        exit: Exit,
        tail: LastLines,
    },
    /// The process lives but does not become ready.
    #[error("`{component}` was not ready within {after:?}{}{tail}", because(.last))]
    NotReady {
        component: String,
        after: Duration,
        last: String,
        tail: LastLines,
    },
    /// The token fired.
    #[error("the start of `{component}` was cancelled")]
    Cancelled { component: String },
    /// The process before it has not ended.
    #[error(transparent)]
    Stop(#[from] StopError),
}

impl StartError {
    /// Whether other values might have started: it is the configuration that failed, not the machine.
    #[must_use]
    pub fn blames_values(&self) -> bool {
        matches!(self, Self::Died { .. } | Self::NotReady { .. })
    }
}

fn because(last: &str) -> String {
    if last.is_empty() {
        String::new()
    } else {
        format!(" ({last})")
    }
}

fn foreground_hint(exit: &Exit) -> &'static str {
    match exit {
        Exit::Code(0) => "; a component must stay in the foreground",
        _ => "",
    }
}

/// The end of a process's output, in an error message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastLines(pub Vec<String>);

impl fmt::Display for LastLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("; it printed nothing");
        }
        f.write_str("; its last lines:")?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl LastLines {
    /// Whether they say that the process could not listen: every language's runtime says it in these words.
    fn say_address_in_use(&self) -> bool {
        self.0.iter().any(|line| {
            let line = line.to_ascii_lowercase();
            line.contains("address already in use") || line.contains("eaddrinuse")
        })
    }
}

/// Why an adjustment did not happen.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AdjustError {
    /// The values cannot be had; nothing was touched.
    #[error("{}", join(.0))]
    Values(Vec<ValueError>),
    /// The component did not start with the values.
    #[error("{component} did not start with {values}: {cause}; {restored}")]
    Start {
        /// The component's name.
        component: String,
        /// The values in words.
        values: String,
        /// What happened.
        cause: Box<StartError>,
        /// How the component was left.
        restored: Restored,
    },
}

fn join(errors: &[ValueError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// How a component was left by an adjustment that failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Restored {
    /// Nothing had been touched yet.
    #[error("nothing was changed")]
    Untouched,
    /// These were the last good values; there are no others to go back to.
    #[error("these were the last values that worked, so it is left stopped")]
    Stopped,
    /// It runs with the last values that worked.
    #[error("it runs again with {0}")]
    Running(String),
    /// It does not run, neither with the new nor with the old values.
    #[error("and with the last good values ({values}) it did not start either: {cause}")]
    Failed {
        /// The old values in words.
        values: String,
        /// What happened.
        cause: Box<StartError>,
    },
}

/// The state of a component.
#[derive(Debug)]
enum State {
    /// Never started, or stopped on purpose.
    Stopped,
    /// Between two processes; seen only when a start was given up half way.
    Starting,
    /// A process runs and is ready.
    Ready(Child),
    /// The last start failed, or the process has ended.
    Failed,
}

/// One component and its process.
#[derive(Debug)]
pub struct Tuner {
    component: Component,
    warden: WardenProgram,
    client: Client,
    /// The values of the process that runs, or of the next one.
    values: Values,
    state: State,
}

impl Tuner {
    /// A component that has not been started; its values are the baseline.
    pub fn new(component: Component, warden: WardenProgram, client: Client) -> Self {
        let values = component.baseline();
        Self {
            component,
            warden,
            client,
            values,
            state: State::Stopped,
        }
    }

    /// The component.
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// The last values that worked, and the process that has them, if one lives.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The running process.
    pub fn pulse(&self) -> Option<Pulse> {
        match &self.state {
            State::Ready(child) => Some(child.pulse()).filter(|pulse| pulse.exit().is_none()),
            State::Stopped | State::Starting | State::Failed => None,
        }
    }

    /// The process that has ended by itself, until another one is started.
    pub(crate) fn ended(&self) -> Option<Pulse> {
        match &self.state {
            State::Ready(child) => Some(child.pulse()).filter(|pulse| pulse.exit().is_some()),
            State::Stopped | State::Starting | State::Failed => None,
        }
    }

    /// Starts the process with the last good values unless it runs.
    ///
    /// # Errors
    /// See [`StartError`]. No process is left running.
    pub async fn ensure_running(&mut self, cancel: &CancellationToken) -> Result<(), StartError> {
        if self.pulse().is_some() {
            return Ok(());
        }
        let values = self.values.clone();
        self.replace(&values, cancel).await
    }

    /// Gives the process these values. When it does not start with them, or when `cancel` fires, it is
    /// started with the last good ones again; only `closing` stops that.
    ///
    /// # Errors
    /// See [`AdjustError`].
    pub async fn adjust(
        &mut self,
        wanted: &Values,
        cancel: &CancellationToken,
        closing: &CancellationToken,
    ) -> Result<(), AdjustError> {
        if *wanted == self.values && self.pulse().is_some() {
            return Ok(());
        }
        let failed = |tuner: &Self, cause, restored| AdjustError::Start {
            component: tuner.component.name().to_owned(),
            values: tuner.component.summary(wanted),
            cause: Box::new(cause),
            restored,
        };
        if cancel.is_cancelled() {
            let component = self.component.name().to_owned();
            return Err(failed(
                self,
                StartError::Cancelled { component },
                Restored::Untouched,
            ));
        }
        let Err(cause) = self.replace(wanted, cancel).await else {
            self.values = wanted.clone();
            return Ok(());
        };
        let good = self.values.clone();
        if *wanted == good && cause.blames_values() {
            return Err(failed(self, cause, Restored::Stopped));
        }
        let values = self.component.summary(&good);
        tracing::warn!(
            component = self.component.name(),
            values,
            "restoring the last good values: {cause}"
        );
        let restored = match self.replace(&good, closing).await {
            Ok(()) => Restored::Running(values),
            Err(cause) => Restored::Failed {
                values,
                cause: Box::new(cause),
            },
        };
        Err(failed(self, cause, restored))
    }

    /// Ends the process, with a grace of at most `limit`.
    ///
    /// # Errors
    /// It has not ended although it was killed.
    pub async fn stop(&mut self, limit: Duration) -> Result<(), StopError> {
        match std::mem::replace(&mut self.state, State::Stopped) {
            State::Ready(mut child) => child.stop(limit).await,
            State::Stopped | State::Starting | State::Failed => Ok(()),
        }
    }

    /// The old process out, one with `values` in.
    async fn replace(
        &mut self,
        values: &Values,
        cancel: &CancellationToken,
    ) -> Result<(), StartError> {
        self.stop(Duration::MAX).await?;
        self.state = State::Starting;
        match self.start(values, cancel).await {
            Ok(child) => {
                tracing::info!(
                    component = self.component.name(),
                    pid = child.pid(),
                    values = self.component.summary(values),
                    "ready"
                );
                self.state = State::Ready(child);
                Ok(())
            }
            Err(error) => {
                self.state = State::Failed;
                Err(error)
            }
        }
    }

    /// Starts, again and again while the address is in use: that passes, and says nothing of the values.
    async fn start(
        &self,
        values: &Values,
        cancel: &CancellationToken,
    ) -> Result<Child, StartError> {
        let began = Instant::now();
        let patience = match &self.component.ready {
            Some(ready) => ready.timeout,
            None => ADDRESS_PATIENCE,
        };
        let mut told = false;
        loop {
            let error = match self.start_once(values, cancel).await {
                Err(StartError::Died {
                    component,
                    exit,
                    tail,
                }) if tail.say_address_in_use() => StartError::AddressInUse {
                    component,
                    waited: Duration::from_millis(milliseconds(began.elapsed())),
                    exit,
                    tail,
                },
                outcome => return outcome,
            };
            if began.elapsed() >= patience {
                return Err(error);
            }
            if !told {
                told = true;
                tracing::warn!(
                    component = self.component.name(),
                    "its address is in use: trying again for {patience:?}"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(ADDRESS_RETRY) => {}
                // The next attempt looks at the token.
                () = cancel.cancelled() => {}
            }
        }
    }

    async fn start_once(
        &self,
        values: &Values,
        cancel: &CancellationToken,
    ) -> Result<Child, StartError> {
        let name = || self.component.name().to_owned();
        if let Some(ready) = &self.component.ready {
            let patience = self.component.stop.grace() + ADDRESS_MARGIN;
            readiness::address_is_free(self.component.name(), ready, patience, cancel).await?;
        }
        if cancel.is_cancelled() {
            return Err(StartError::Cancelled { component: name() });
        }
        let mut child = Child::spawn(&self.component.launch(values), &self.warden).await?;
        let ready = match &self.component.ready {
            Some(ready) => readiness::wait(&child, ready, &self.client, cancel).await,
            None => Ok(()),
        };
        let ready = match ready {
            Ok(()) => self.settle(&child, cancel).await,
            Err(error) => Err(error),
        };
        let Err(error) = ready else {
            return Ok(child);
        };
        // A process that has just failed deserves no grace, but its leftovers must be gone.
        let tail = LastLines(child.pulse().last_lines());
        child.kill().await?;
        Err(match error {
            NotReady::Died(exit) => StartError::Died {
                component: name(),
                exit,
                tail,
            },
            NotReady::TimedOut { after, last } => StartError::NotReady {
                component: name(),
                after,
                last,
                tail,
            },
            NotReady::Cancelled => StartError::Cancelled { component: name() },
        })
    }

    async fn settle(&self, child: &Child, cancel: &CancellationToken) -> Result<(), NotReady> {
        let pulse = child.pulse();
        tokio::select! {
            biased;
            exit = pulse.ended() => Err(NotReady::Died(exit)),
            () = cancel.cancelled() => Err(NotReady::Cancelled),
            () = tokio::time::sleep(self.component.settle) => Ok(()),
        }
    }
}
