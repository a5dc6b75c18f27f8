//! A run and the handle to it (spec/metrics-and-load.md §3.5).
//!
//! Each run has a thread of its own with a runtime of its own, so that the load cannot disturb the actors and the actors cannot
//! disturb the load.

use std::{io, path::PathBuf, thread};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{plan::Plan, report::Report, run, tls::TlsError};

/// Updates kept for a receiver that does not keep up; further ones are dropped, so that it never holds up the load.
const UPDATE_BACKLOG: usize = 256;

/// Why a run did not start, or did not end properly.
#[derive(Debug, thiserror::Error)]
pub enum AttackError {
    /// There is nothing to send.
    #[error("no targets found")]
    NoTargets,
    /// A body file cannot be read.
    #[error("bad body: {path}: {cause}", path = path.display())]
    BadBody {
        /// The file as the target names it.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A target cannot be turned into a request.
    #[error("bad target: {0}: the URL has no host")]
    BadTarget(String),
    /// TLS is needed and cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The system gave no thread or no event queue.
    #[error("the load generator cannot be started: {0}")]
    Start(#[from] io::Error),
    /// The engine's thread ended without a result.
    #[error("the load generator ended unexpectedly; its panic is in the log")]
    Died,
}

/// Sent while a run goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// A periodic report, or the final one.
    Report(Box<Report>),
    /// A sign of life when reports are more than a minute apart: the figures so far, none during warm-up.
    Interim(Option<Box<Report>>),
}

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Figures over the whole measured window; `None` when no request of it ended.
    pub report: Option<Report>,
    /// Requests that the plan foresaw for the measured window. At an unlimited rate, those that were sent.
    pub planned: u64,
    /// Requests of the measured window that were due and never sent.
    pub missed: u64,
    /// The most requests that could be under way at once.
    pub limit: u64,
    /// Updates that nobody took in time.
    pub dropped_updates: u64,
    /// Whether the run was cancelled before its end.
    pub cancelled: bool,
}

/// A run under way. Dropping it cancels it.
#[derive(Debug)]
pub struct Attack {
    updates: mpsc::Receiver<Update>,
    summary: oneshot::Receiver<Summary>,
    stop: DropGuard,
}

impl Attack {
    /// Starts the run. Returns once body files and certificates are read and the first request is about to go out.
    ///
    /// Firing `cancel` stops new requests at once; those under way have one second to end, then their connections are closed.
    ///
    /// # Errors
    /// Whatever keeps the run from starting; then no request has been sent.
    pub async fn start(plan: Plan, cancel: &CancellationToken) -> Result<Self, AttackError> {
        let cancel = cancel.child_token();
        let stop = cancel.clone().drop_guard();
        let (update_sender, updates) = mpsc::channel(UPDATE_BACKLOG);
        let (ready_sender, ready) = oneshot::channel();
        let (summary_sender, summary) = oneshot::channel();
        thread::Builder::new()
            .name("servo-load".to_owned())
            .spawn(move || {
                let (runtime, prepared_run) = match run::prepare(plan, update_sender) {
                    Ok(prepared) => prepared,
                    Err(error) => {
                        let _ = ready_sender.send(Err(error));
                        return;
                    }
                };
                if ready_sender.send(Ok(())).is_err() {
                    return;
                }
                let summary = run::execute(runtime, prepared_run, &cancel);
                // The receiver may have lost interest.
                let _ = summary_sender.send(summary);
            })?;
        ready.await.map_err(|_| AttackError::Died)??;
        Ok(Self {
            updates,
            summary,
            stop,
        })
    }

    /// The next update; `None` once the run has ended.
    pub async fn update(&mut self) -> Option<Update> {
        self.updates.recv().await
    }

    /// Stops the run as its cancellation token would.
    pub fn cancel(self) -> impl Future<Output = Result<Summary, AttackError>> {
        drop(self.stop);
        let summary = self.summary;
        async { summary.await.map_err(|_| AttackError::Died) }
    }

    /// Waits for the end of the run. Nothing of it is left when this returns.
    ///
    /// # Errors
    /// [`AttackError::Died`] when the engine panicked.
    pub async fn finish(mut self) -> Result<Summary, AttackError> {
        while self.update().await.is_some() {}
        self.summary.await.map_err(|_| AttackError::Died)
    }
}
