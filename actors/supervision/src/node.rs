//! One place in the supervision tree, shared by everybody who looks at it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::exit::Exit;
use crate::life::Life;
use crate::lock::lock;
use crate::ordered::Ordered;

/// What a child is doing between, before and after its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its actor is being made; requests are refused until that is done.
    Starting,
    /// Its actor handles messages.
    Running,
    /// Its last run ended; it starts again at this time.
    BackingOff {
        /// When the next run starts.
        until: Instant,
    },
    /// It needed more restarts than its intensity allows; it is retried at this time.
    Parked {
        /// When the next retry starts.
        until: Instant,
    },
    /// It was asked to stop and has not ended yet.
    Stopping,
    /// It will not run again, or was never started.
    Ended,
}

/// How a child stands right now.
#[derive(Clone, Debug)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// For how long it has been doing that.
    pub age: Duration,
    /// How often it was restarted.
    pub restarts: u64,
    /// How its last finished run ended; `None` before the first end.
    pub last_exit: Option<Exit>,
}

/// How long a child may take to stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Budget {
    Own(Duration),
    /// As long as its children may take together.
    OfChildren,
}

/// In which order a supervisor stops its children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StopOrder {
    /// One after the other, last started first.
    #[default]
    Reverse,
    /// The child of this name, then the others one after the other, last started first: for one that takes leave on
    /// behalf of all, those included that were started after it.
    After(&'static str),
    /// All at once: for many children that do not depend on each other.
    Together,
}

/// What a kill may take on top of a stop's budget until it is confirmed.
pub(crate) const GRACE: Duration = Duration::from_millis(250);

/// Unique in the process, and growing in start order.
pub(crate) type Key = u64;

#[derive(Debug)]
pub(crate) struct Node {
    name: Arc<str>,
    restarts: AtomicU64,
    runs: AtomicU64,
    /// Something below changed; for those who wait for a state.
    pub(crate) changed: Notify,
    standing: Mutex<Standing>,
}

#[derive(Debug)]
struct Standing {
    parent: Option<(Weak<Node>, Key)>,
    state: State,
    since: Instant,
    last_exit: Option<Arc<Exit>>,
    life: Weak<Life>,
    budget: Budget,
    /// Of a supervisor; most nodes are none.
    family: Option<Box<Family>>,
}

#[derive(Debug, Default)]
struct Family {
    order: StopOrder,
    children: Ordered<Arc<Node>>,
}

/// A reading of a node, without its children's.
pub(crate) struct Reading {
    pub(crate) status: Status,
    pub(crate) life: Option<Arc<Life>>,
    pub(crate) children: Vec<Arc<Node>>,
}

/// The node is part of a tree already.
#[derive(Debug)]
pub(crate) struct Attached;

// === impl Node ===

impl Node {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            restarts: AtomicU64::new(0),
            runs: AtomicU64::new(0),
            changed: Notify::new(),
            standing: Mutex::new(Standing {
                parent: None,
                state: State::Ended,
                since: Instant::now(),
                last_exit: None,
                life: Weak::new(),
                budget: Budget::OfChildren,
                family: None,
            }),
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The names from the root down to here, joined by `/`.
    pub(crate) fn path(&self) -> String {
        let parent = lock(&self.standing)
            .parent
            .as_ref()
            .and_then(|(parent, _)| parent.upgrade());
        match parent {
            Some(parent) => format!("{}/{}", parent.path(), self.name),
            None => self.name.to_string(),
        }
    }

    /// Makes this a part of the tree: a root, or a child.
    pub(crate) fn attach(
        self: &Arc<Self>,
        parent: Option<(&Arc<Self>, Key)>,
        budget: Budget,
    ) -> Result<(), Attached> {
        {
            let mut standing = lock(&self.standing);
            if standing.state != State::Ended {
                return Err(Attached);
            }
            standing.parent = parent.map(|(node, key)| (Arc::downgrade(node), key));
            standing.budget = budget;
            standing.state = State::Starting;
            standing.since = Instant::now();
        }
        if let Some((parent, key)) = parent {
            let mut standing = lock(&parent.standing);
            let family = standing.family.get_or_insert_default();
            family.children.insert(key, self.clone());
        }
        self.changed.notify_waiters();
        Ok(())
    }

    /// What is known when a supervisor starts: how many children it begins with, and the order of their end.
    pub(crate) fn set_order(&self, order: StopOrder, children: usize) {
        let mut standing = lock(&self.standing);
        let family = standing.family.get_or_insert_default();
        family.order = order;
        family.children.reserve_exact(children);
    }

    /// The number of the next run, counted from 1.
    pub(crate) fn next_run(&self) -> u64 {
        self.runs.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The number of the latest run, 0 before the first.
    pub(crate) fn latest_run(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(crate) fn count_restart(&self) -> u64 {
        self.restarts.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn set_life(&self, life: &Arc<Life>) {
        let mut standing = lock(&self.standing);
        standing.life = Arc::downgrade(life);
        standing.move_to(State::Starting);
    }

    pub(crate) fn set_state(&self, state: State) {
        lock(&self.standing).move_to(state);
        self.changed.notify_waiters();
    }

    /// The run numbered `run` handles messages now.
    pub(crate) fn set_running(&self, run: u64) {
        if self.latest_run() == run {
            let mut standing = lock(&self.standing);
            if standing.state == State::Starting {
                standing.move_to(State::Running);
            }
        }
        self.changed.notify_waiters();
    }

    /// Remembers how the run numbered `run` ended, unless a newer one has begun.
    pub(crate) fn note_exit(&self, run: u64, exit: Arc<Exit>) {
        if self.latest_run() == run {
            lock(&self.standing).last_exit = Some(exit);
        }
        self.changed.notify_waiters();
    }

    pub(crate) fn last_exit(&self) -> Option<Exit> {
        lock(&self.standing).last_exit()
    }

    pub(crate) fn state(&self) -> State {
        lock(&self.standing).state
    }

    pub(crate) fn read(&self) -> Reading {
        let standing = lock(&self.standing);
        Reading {
            status: Status {
                state: standing.state,
                age: standing.since.elapsed(),
                restarts: self.restarts(),
                last_exit: standing.last_exit(),
            },
            life: standing.life.upgrade(),
            children: standing.children(),
        }
    }

    /// Ends it for good and takes it out of the tree. Those who still hold it see how it ended, and its path.
    pub(crate) fn end(&self) {
        let parent = {
            let mut standing = lock(&self.standing);
            standing.move_to(State::Ended);
            standing.parent.clone()
        };
        if let Some((parent, key)) = parent
            && let Some(parent) = parent.upgrade()
            && let Some(family) = &mut lock(&parent.standing).family
        {
            family.children.remove(key);
        }
        self.changed.notify_waiters();
    }

    /// Ends it and everything below at once, without asking.
    pub(crate) fn kill(&self, exit: &Exit) {
        let life = lock(&self.standing).life.upgrade();
        if let Some(life) = life {
            life.kill(exit.clone());
        }
        self.kill_children();
        self.end();
    }

    /// Ends everything below at once, without asking.
    pub(crate) fn kill_children(&self) {
        let children = match &mut lock(&self.standing).family {
            Some(family) => std::mem::take(&mut family.children),
            None => return,
        };
        for child in children.values() {
            child.kill(&Exit::Stopped);
        }
    }

    /// How long its stop may take, its children's included.
    pub(crate) fn budget(&self) -> Duration {
        let (order, children) = {
            let standing = lock(&self.standing);
            if let Budget::Own(budget) = standing.budget {
                return budget;
            }
            let family = standing.family.as_ref();
            let order = family.map_or_else(StopOrder::default, |family| family.order);
            (order, standing.children())
        };
        let each = children
            .iter()
            .map(|child| child.budget().saturating_add(GRACE));
        let all = match order {
            StopOrder::Reverse | StopOrder::After(_) => {
                each.fold(Duration::ZERO, Duration::saturating_add)
            }
            StopOrder::Together => each.max().unwrap_or_default(),
        };
        all.saturating_add(GRACE)
    }

    /// Completes once `ready` is true of it.
    pub(crate) async fn until(&self, ready: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change falls between the look and the wait.
            changed.as_mut().enable();
            if ready(self) {
                return;
            }
            changed.await;
        }
    }
}

impl Standing {
    fn last_exit(&self) -> Option<Exit> {
        self.last_exit.as_deref().cloned()
    }

    fn children(&self) -> Vec<Arc<Node>> {
        let children = self
            .family
            .iter()
            .flat_map(|family| family.children.values());
        children.cloned().collect()
    }

    /// From `Ended` only [`Node::attach`] leads back.
    fn move_to(&mut self, state: State) {
        if self.state == State::Ended {
            return;
        }
        self.state = state;
        self.since = Instant::now();
    }
}
