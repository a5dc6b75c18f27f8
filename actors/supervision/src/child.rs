//! What a supervisor must know to start a child, and to start it again.

use std::marker::PhantomData;
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::Duration;

use actix::{Actor, ActorContext, Context};

use crate::BoxError;
use crate::arbiters::Arbiters;
use crate::backoff::Backoff;
use crate::life::ChildContext;
use crate::lock::lock;
use crate::node::{Budget, Node};
use crate::reference::{ChildRef, Slot};
use crate::restart::{Exhausted, Intensity, Restart, Rules};

/// An actor that can live under a supervisor.
///
/// Work that awaits must run as an actor future (`ctx.spawn`, `ctx.wait`, `ResponseActFuture`, `AtomicResponse`),
/// so that its panic ends the actor. A panic in a detached `ResponseFuture` only fails that one request and leaves
/// the actor with whatever state it had.
pub trait Supervised: Actor<Context = Context<Self>> {
    /// It is asked to end in order: finish or undo what must be, then call `ctx.stop()`. Past its shutdown budget
    /// it is killed. The default ends at once.
    ///
    /// Called between messages, so not before a `ctx.wait` future has completed; work inside one listens to
    /// [`ChildContext::stopping`].
    fn stop(&mut self, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// Where a child runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Placement {
    /// On its supervisor's arbiter: messages between them never cross a thread.
    #[default]
    Parent,
    /// On the arbiter of this pool that carries the fewest children at each start. Its own children follow it.
    LeastLoaded(Arbiters),
}

pub(crate) type Factory<A> = dyn Fn(ChildContext) -> Result<A, BoxError> + Send + Sync;

/// How to make a child, and the rules of its life.
///
/// Defaults: permanent; backoff 200 ms doubling to 30 s; at most 5 restarts a minute, then escalate; 60 s for a turn;
/// 1024 asks at a time; 5 s to stop (a supervisor: as long as its children may take); on the supervisor's arbiter.
///
/// Clones are the same child, seen through the same references. Only one of them can be in a tree at a time; a
/// supervisor whose `init` starts clones of specs made outside keeps the references valid across its own restarts too.
pub struct ChildSpec<A: Supervised> {
    pub(crate) factory: Arc<Factory<A>>,
    pub(crate) slot: Arc<Slot<A>>,
    pub(crate) policy: Arc<Policy>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Policy {
    pub(crate) rules: Rules,
    pub(crate) turn_deadline: Duration,
    pub(crate) max_asks: u32,
    pub(crate) shutdown: Budget,
    pub(crate) placement: Placement,
}

static DEFAULT: LazyLock<Arc<Policy>> = LazyLock::new(|| {
    Arc::new(Policy {
        rules: Rules::default(),
        turn_deadline: Duration::from_secs(60),
        max_asks: 1024,
        shutdown: Budget::Own(Duration::from_secs(5)),
        placement: Placement::default(),
    })
});

/// The policies of children in trees: tens of thousands of children have a handful of them.
static SHARED: Mutex<Vec<Weak<Policy>>> = Mutex::new(Vec::new());
/// Programs with more different policies than these have them each for itself.
const MOST_SHARED: usize = 64;

// === impl Policy ===

impl Policy {
    fn shared(own: Arc<Self>) -> Arc<Self> {
        let mut known = lock(&SHARED);
        if let Some(equal) = known.iter().filter_map(Weak::upgrade).find(|it| *it == own) {
            return equal;
        }
        known.retain(|policy| policy.strong_count() > 0);
        if known.len() < MOST_SHARED {
            known.push(Arc::downgrade(&own));
        }
        own
    }
}

// === impl ChildSpec ===

impl<A: Supervised> ChildSpec<A> {
    /// A child called `name`, made anew by `factory` for each run.
    ///
    /// The factory runs on the child's arbiter and must not block. If it returns an error or panics, that is an end
    /// of the child like any other, followed by the same backoff.
    pub fn new(
        name: impl Into<Arc<str>>,
        factory: impl Fn(ChildContext) -> Result<A, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            factory: Arc::new(factory),
            slot: Arc::new(Slot::new(Arc::new(Node::new(name.into())))),
            policy: DEFAULT.clone(),
        }
    }

    /// Which ends are followed by a restart. Default: all.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.policy_mut().rules.restart = restart;
        self
    }

    /// How long to wait before a restart.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.policy_mut().rules.backoff = backoff;
        self
    }

    /// How many restarts are too many.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.policy_mut().rules.intensity = intensity;
        self
    }

    /// What happens when there were too many restarts. Default: escalate.
    #[must_use]
    pub fn exhausted(mut self, exhausted: Exhausted) -> Self {
        self.policy_mut().rules.exhausted = exhausted;
        self
    }

    /// How long a turn of work may take, unless it is protected. Default: 60 s.
    #[must_use]
    pub fn turn_deadline(mut self, deadline: Duration) -> Self {
        self.policy_mut().turn_deadline = deadline;
        self
    }

    /// How many asks may wait for answers of one run at a time; one more is [`Busy`](crate::AskError::Busy).
    /// Default: 1024. What is told, not asked, is limited by the actor's mailbox.
    #[must_use]
    pub fn max_asks(mut self, limit: u32) -> Self {
        self.policy_mut().max_asks = limit;
        self
    }

    /// How long it may take to stop before it is killed. Default: 5 s; for a supervisor, what its children need.
    #[must_use]
    pub fn shutdown(mut self, budget: Duration) -> Self {
        self.policy_mut().shutdown = Budget::Own(budget);
        self
    }

    /// Where it runs. Default: on its supervisor's arbiter.
    #[must_use]
    pub fn placement(mut self, placement: Placement) -> Self {
        self.policy_mut().placement = placement;
        self
    }

    pub(crate) fn policy_mut(&mut self) -> &mut Policy {
        Arc::make_mut(&mut self.policy)
    }

    /// The same, with its policy held together with all others that are equal to it.
    pub(crate) fn settled(mut self) -> Self {
        self.policy = Policy::shared(self.policy);
        self
    }

    /// A reference to the child, valid before it is started and across all its restarts.
    pub fn reference(&self) -> ChildRef<A> {
        ChildRef::new(self.slot.clone())
    }
}

impl<A: Supervised> Clone for ChildSpec<A> {
    fn clone(&self) -> Self {
        Self {
            factory: self.factory.clone(),
            slot: self.slot.clone(),
            policy: self.policy.clone(),
        }
    }
}

impl<A: Supervised> std::fmt::Debug for ChildSpec<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChildSpec")
            .field("actor", &PhantomData::<A>)
            .field("path", &self.reference().path())
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
