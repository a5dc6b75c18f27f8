//! Where connectors live that join a servo while it runs (`spec/events-and-checks.md` §3.4).
//!
//! A servo's supervisor starts what its configuration names. What comes later has a supervisor of its own beside it, on
//! the same arbiter, started with the first newcomer and stopped ahead of the servo's dispatcher. A servo without
//! newcomers has none.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix::{Handler, Message, MessageResult};
use servo_supervision::{ChildRef, Root, Snapshot, Supervisor};

use crate::dispatcher::{Dispatcher, DispatcherRef};

#[derive(Default)]
pub(crate) struct Annexe {
    root: Mutex<Option<Arc<Root>>>,
    newcomers: Mutex<Vec<Newcomer>>,
}

struct Newcomer {
    name: Arc<str>,
    /// The connector that added it.
    parent: Option<Arc<str>>,
}

/// Asks a dispatcher for the supervisor of its servo's newcomers.
pub(crate) struct Open;

impl Message for Open {
    type Result = ChildRef<Supervisor>;
}

impl Annexe {
    /// How long newcomers may take to end.
    pub(crate) const CLOSING: Duration = Duration::from_secs(10);

    fn root(&self) -> MutexGuard<'_, Option<Arc<Root>>> {
        self.root.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn newcomers(&self) -> MutexGuard<'_, Vec<Newcomer>> {
        self.newcomers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The supervisor, if a connector has joined.
    pub(crate) fn supervisor(&self) -> Option<ChildRef<Supervisor>> {
        self.root().as_ref().map(|root| root.reference())
    }

    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        self.root().as_ref().map(|root| root.snapshot())
    }

    pub(crate) fn add(&self, name: Arc<str>, parent: Option<Arc<str>>) {
        self.newcomers().push(Newcomer { name, parent });
    }

    pub(crate) fn forget(&self, name: &str) {
        self.newcomers().retain(|newcomer| &*newcomer.name != name);
    }

    /// Whether that connector joined while the servo ran.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.newcomers()
            .iter()
            .any(|newcomer| &*newcomer.name == name)
    }

    pub(crate) fn is_child(&self, name: &str, parent: &str) -> bool {
        self.children(parent).iter().any(|child| &**child == name)
    }

    /// The connectors that `parent` added, the latest first.
    pub(crate) fn children(&self, parent: &str) -> Vec<Arc<str>> {
        let newcomers = self.newcomers();
        let children = newcomers.iter().rev();
        children
            .filter(|newcomer| newcomer.parent.as_deref() == Some(parent))
            .map(|newcomer| newcomer.name.clone())
            .collect()
    }

    /// Ends whatever lives in it.
    pub(crate) async fn close(&self) {
        let root = self.root().take();
        let Some(root) = root else { return };
        if let Err(overrun) = root.shutdown(Self::CLOSING).await {
            tracing::warn!("connectors that had joined the servo did not end in time: {overrun}");
        }
    }
}

impl Handler<Open> for Dispatcher {
    type Result = MessageResult<Open>;

    fn handle(&mut self, _: Open, _: &mut Self::Context) -> Self::Result {
        let annexe = self.reference.annexe();
        let mut root = annexe.root();
        let root =
            root.get_or_insert_with(|| Arc::new(Root::start(self.servo.clone(), |_| Ok(()))));
        MessageResult(root.reference())
    }
}

/// A dispatcher that fails is made anew, and its newcomers live on. One that is gone for good, with its servo, has not
/// stopped in order, or there would be no annexe left.
pub(crate) fn outlive(dispatcher: &DispatcherRef) {
    const RESTART: Duration = Duration::from_secs(60);
    if dispatcher.newcomers().is_none() || tokio::runtime::Handle::try_current().is_err() {
        return;
    }
    let dispatcher = dispatcher.clone();
    actix_rt::spawn(async move {
        if dispatcher.actor().wait_until_up(RESTART).await.is_err()
            && let Some(annexe) = dispatcher.newcomers()
        {
            annexe.close().await;
        }
    });
}
