//! What a supervisor can be told at run time.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use tokio::time::{Instant, timeout};

use crate::child::{ChildSpec, Supervised};
use crate::deadline;
use crate::exit::Exit;
use crate::node::{Node, State};
use crate::reference::ChildRef;
use crate::runner::Launch;
use crate::supervisor::Supervisor;

/// Why a supervisor did not do what it was told.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The name is taken by a living child, or this very spec is part of a tree already.
    #[error(
        "`{supervisor}` cannot start `{name}`: a child of that name is there; stop it first, or choose another name"
    )]
    Duplicate {
        /// The supervisor's path.
        supervisor: String,
        /// The child's name.
        name: String,
    },
    /// There is no child of this name, or it has ended for good.
    #[error("`{supervisor}` has no child `{name}`")]
    Unknown {
        /// The supervisor's path.
        supervisor: String,
        /// The name that was given.
        name: String,
    },
    /// The supervisor is stopping.
    #[error("`{supervisor}` is stopping and starts nothing any more")]
    Stopping {
        /// The supervisor's path.
        supervisor: String,
    },
    /// It was told, and goes on with it, but was not done in time.
    #[error("`{child}` was not there yet after {after:?}")]
    Deadline {
        /// The child's path.
        child: String,
        /// The deadline that passed.
        after: Duration,
    },
    /// The supervisor itself did not answer.
    #[error(transparent)]
    Ask(#[from] crate::AskError),
}

#[derive(Message)]
#[rtype(result = "Result<(), SuperviseError>")]
pub(crate) struct StartChild(pub(crate) Arc<dyn Launch>);

/// Answers with the child's node, to watch it end.
#[derive(Debug, Message)]
#[rtype(result = "Result<Arc<Node>, SuperviseError>")]
pub(crate) struct StopChild(pub(crate) Arc<str>);

/// Answers with the child's node, and the number of the run that is to be over.
#[derive(Debug, Message)]
#[rtype(result = "Result<(Arc<Node>, u64), SuperviseError>")]
pub(crate) struct RestartChild(pub(crate) Arc<str>);

impl ChildRef<Supervisor> {
    /// Adds a child and starts it. It is up a little later: [`ChildRef::wait_until_up`].
    ///
    /// # Errors
    ///
    /// If the name is taken, the supervisor is stopping, or it does not answer within `deadline`.
    pub async fn start_child<A: Supervised>(
        &self,
        spec: ChildSpec<A>,
        deadline: Duration,
    ) -> Result<ChildRef<A>, SuperviseError> {
        let reference = spec.reference();
        self.ask(StartChild(Arc::new(spec.settled())), deadline)
            .await??;
        Ok(reference)
    }

    /// Stops a child in order, removes it, and tells how it ended: as [`Stopped`](Exit::Stopped) if it did as asked.
    /// Past its shutdown budget it is killed, and that is [`Stuck`](Exit::Stuck).
    ///
    /// # Errors
    ///
    /// If there is no such child, or it has not ended within `deadline`. It goes on stopping then.
    pub async fn stop_child(&self, name: &str, deadline: Duration) -> Result<Exit, SuperviseError> {
        let end = deadline::after(deadline);
        let node = self.ask(StopChild(name.into()), deadline).await??;
        in_time(&node, end, deadline, |node| node.state() == State::Ended).await?;
        Ok(node.last_exit().unwrap_or(Exit::Stopped))
    }

    /// Stops a child in order and starts it anew at once; one that is backing off or parked is started at once. This
    /// counts as a restart, but not against its intensity. Returns when the new run is up.
    ///
    /// # Errors
    ///
    /// If there is no such child, or it is not up within `deadline`. It goes on restarting then.
    pub async fn restart_child(
        &self,
        name: &str,
        deadline: Duration,
    ) -> Result<(), SuperviseError> {
        let end = deadline::after(deadline);
        let (node, before) = self.ask(RestartChild(name.into()), deadline).await??;
        in_time(&node, end, deadline, |node| {
            node.latest_run() > before && node.state() == State::Running
        })
        .await
    }
}

async fn in_time(
    node: &Node,
    end: Instant,
    deadline: Duration,
    ready: impl Fn(&Node) -> bool,
) -> Result<(), SuperviseError> {
    let left = end.saturating_duration_since(Instant::now());
    timeout(left, node.until(ready))
        .await
        .map_err(|_| SuperviseError::Deadline {
            child: node.path(),
            after: deadline,
        })
}
