//! A run of checks as a child of a supervisor: part of the tree, and alone in its end.

use std::sync::{Mutex, PoisonError};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use servo_supervision::{ChildContext, ChildSpec, Restart, Supervised};
use thiserror::Error;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::run::{CheckRun, CheckRunOutcome};

/// The actor of one [`CheckRun`]. It ends with it.
#[derive(Debug)]
pub struct CheckRunActor {
    work: Option<(CheckRun, oneshot::Sender<CheckRunOutcome>)>,
    cancel: CancellationToken,
    child: ChildContext,
}

/// Where the outcome of a [`CheckRun`] arrives that is a child of a supervisor.
#[derive(Debug)]
pub struct PendingCheckRun(oneshot::Receiver<CheckRunOutcome>);

/// The actor of a run ended before the run did; its supervisor has logged why.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the checks ended before they had an outcome; the log says why")]
pub struct CheckRunLost;

// === impl CheckRun ===

impl CheckRun {
    /// The run as a child called `name`, and where its outcome arrives. When the child is told to stop, the run is
    /// cancelled.
    pub fn child(
        self,
        name: impl Into<std::sync::Arc<str>>,
    ) -> (ChildSpec<CheckRunActor>, PendingCheckRun) {
        let (outcome, pending) = oneshot::channel();
        let work = Mutex::new(Some((self, outcome)));
        let spec = ChildSpec::new(name, move |child| {
            let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some((run, outcome)) = work else {
                return Err("a run of checks happens once".into());
            };
            Ok(CheckRunActor {
                cancel: run.token().clone(),
                work: Some((run, outcome)),
                child,
            })
        })
        .restart(Restart::Temporary);
        (spec, PendingCheckRun(pending))
    }
}

// === impl PendingCheckRun ===

impl PendingCheckRun {
    /// Waits for the outcome, as long as the policy of the run makes it take.
    ///
    /// # Errors
    /// When its actor ended early.
    pub async fn outcome(self) -> Result<CheckRunOutcome, CheckRunLost> {
        self.0.await.map_err(|_| CheckRunLost)
    }
}

// === impl CheckRunActor ===

impl Actor for CheckRunActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some((run, outcome)) = self.work.take() else {
            ctx.stop();
            return;
        };
        self.child.set_doing("checks");
        let run = run.run().into_actor(self);
        ctx.spawn(run.map(|done, _, ctx: &mut Self::Context| {
            // Whoever asked may be gone.
            let _ = outcome.send(done);
            ctx.stop();
        }));
    }
}

impl Supervised for CheckRunActor {
    /// The run ends soon after, and the actor with it.
    fn stop(&mut self, _: &mut Self::Context) {
        self.cancel.cancel();
    }
}
