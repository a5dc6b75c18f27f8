//! The top of a supervision tree.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::BoxError;
use crate::exit::Exit;
use crate::life::Life;
use crate::node::{Budget, Node, State};
use crate::reference::ChildRef;
use crate::runner::{Launch, Report, Ticket};
use crate::supervisor::{Children, Supervisor};
use crate::tree::Snapshot;

/// The supervisor nobody supervises. It is never restarted: when a child escalates to it, or its `init` fails, the
/// program decides, by [`ended`](Self::ended).
///
/// Dropping it lets the tree run on.
#[derive(Debug)]
pub struct Root {
    reference: ChildRef<Supervisor>,
    life: Arc<Life>,
}

/// The tree had not stopped in time, and the rest of it was killed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("shutdown was not done after {after:?}; killed: {}", unfinished.join(", "))]
pub struct ShutdownOverrun {
    /// The budget that was given.
    pub after: Duration,
    /// The paths of those that had not ended.
    pub unfinished: Vec<String>,
}

// === impl Root ===

impl Root {
    /// Starts a tree on the current arbiter; `init` adds the first children, in start order.
    ///
    /// # Panics
    ///
    /// Outside of an actix system, as any start of an actor there.
    pub fn start(
        name: impl Into<Arc<str>>,
        init: impl Fn(&mut Children) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Self {
        let spec = Supervisor::spec(name, init);
        let reference = spec.reference();
        let node = reference.node().clone();
        // A node that was made a line above is part of no tree.
        let _ = node.attach(None, Budget::OfChildren);
        let life = Life::new(node, spec.policy.clone(), false);
        let ticket = Ticket::new(life.clone(), Report::Root);
        Arc::new(spec).launch(ticket, None);
        Self { reference, life }
    }

    /// The root supervisor.
    pub fn reference(&self) -> ChildRef<Supervisor> {
        self.reference.clone()
    }

    /// The tree as it stands now. Asks no actor, so it works while they are stuck, and from any thread.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(self.reference.node())
    }

    /// Completes when the root has ended by itself or was shut down, and tells how.
    pub async fn ended(&self) -> Exit {
        let node = self.reference.node();
        node.until(has_ended).await;
        node.last_exit().unwrap_or(Exit::Stopped)
    }

    /// Stops all children in order, then the root. Whatever has not ended within `budget` is killed.
    ///
    /// # Errors
    ///
    /// If something had to be killed because of `budget`. Children killed for their own budgets are no error here.
    pub async fn shutdown(&self, budget: Duration) -> Result<(), ShutdownOverrun> {
        let node = self.reference.node();
        if has_ended(node) {
            return Ok(());
        }
        node.set_state(State::Stopping);
        self.life.ask_stop();
        if timeout(budget, node.until(has_ended)).await.is_ok() {
            return Ok(());
        }
        let mut unfinished = Vec::new();
        collect_paths(&self.snapshot(), &mut unfinished);
        node.kill(&Exit::Stuck {
            doing: "stopping".to_owned(),
            after: budget,
        });
        Err(ShutdownOverrun {
            after: budget,
            unfinished,
        })
    }
}

fn has_ended(node: &Node) -> bool {
    node.state() == State::Ended
}

fn collect_paths(snapshot: &Snapshot, paths: &mut Vec<String>) {
    for child in &snapshot.children {
        collect_paths(child, paths);
    }
    paths.push(snapshot.path.clone());
}
