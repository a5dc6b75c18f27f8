//! One run of a child: what the actor, its runner and its supervisor share about it.

use std::borrow::Cow;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::BoxError;
use crate::child::Policy;
use crate::deadline;
use crate::exit::Exit;
use crate::lock::lock;
use crate::node::Node;
use crate::panics::RunId;

/// What an actor knows about the run it lives in: its place in the tree, and how to tell what it is doing.
///
/// Every start of a child makes a new one and hands it to the factory.
#[derive(Clone, Debug)]
pub struct ChildContext(pub(crate) Arc<Life>);

/// A guard of one turn of work.
///
/// While it exists, the actor must get done within its turn deadline, or it is
/// [`Stuck`](crate::Exit::Stuck) and replaced. Several turns may be open at once, one for each concurrent
/// handler. Dropping the guard ends the turn.
#[derive(Debug)]
#[must_use = "a turn ends when its guard is dropped"]
pub struct Turn {
    life: Arc<Life>,
    id: u64,
}

#[derive(Debug)]
pub(crate) struct Life {
    node: Arc<Node>,
    run: u64,
    policy: Arc<Policy>,
    asks: AtomicU32,
    /// Runs on another thread than its supervisor.
    away: bool,
    stop_asked: AtomicBool,
    /// Made only for an actor that asks for it.
    stopping: OnceLock<CancellationToken>,
    /// Set once, by whoever finds out first.
    exit: OnceLock<Arc<Exit>>,
    runner: AtomicWaker,
    work: Mutex<Work>,
}

/// One ask that waits for its answer.
pub(crate) struct Asking(Arc<Life>);

#[derive(Debug, Default)]
struct Work {
    doing: Option<Cow<'static, str>>,
    failure: Option<Arc<dyn Error + Send + Sync>>,
    turns: Vec<OpenTurn>,
    next_turn: u64,
}

#[derive(Debug)]
struct OpenTurn {
    id: u64,
    what: Cow<'static, str>,
    opened: Instant,
    deadline: Instant,
}

/// What the open turns of a run ask of its runner.
pub(crate) enum Pace {
    /// No turn is open.
    Idle,
    /// All is well until then.
    Due(Instant),
    Overdue(Exit),
}

// === impl ChildContext ===

impl ChildContext {
    /// The names from the root supervisor down to this child, joined by `/`.
    pub fn path(&self) -> String {
        self.0.node.path()
    }

    /// The child's name, unique among its siblings.
    pub fn name(&self) -> &str {
        self.0.node.name()
    }

    /// Cancelled as soon as this run is asked to stop: for work that should end early then.
    pub fn stopping(&self) -> CancellationToken {
        let token = self.0.stopping.get_or_init(CancellationToken::new);
        if self.0.stop_asked() {
            token.cancel();
        }
        token.clone()
    }

    /// Says what the actor is doing, for those who look at the tree. Costs no message and wakes nobody.
    pub fn set_doing(&self, what: impl Into<Cow<'static, str>>) {
        let what = what.into();
        lock(&self.0.work).doing = (!what.is_empty()).then_some(what);
    }

    /// Opens a turn of work, named `what` in the tree and in [`Exit::Stuck`](crate::Exit::Stuck).
    pub fn turn(&self, what: impl Into<Cow<'static, str>>) -> Turn {
        let opened = Instant::now();
        let id = {
            let mut work = lock(&self.0.work);
            let id = work.next_turn;
            work.next_turn = id.wrapping_add(1);
            work.turns.push(OpenTurn {
                id,
                what: what.into(),
                opened,
                deadline: deadline::after(self.0.policy.turn_deadline),
            });
            id
        };
        self.0.wake_runner();
        Turn {
            life: self.0.clone(),
            id,
        }
    }

    /// Records why this run cannot go on; the actor then calls `ctx.stop()`, and the run ends as
    /// [`Failed`](crate::Exit::Failed). The first error counts.
    pub fn fail(&self, error: impl Into<BoxError>) {
        let error = Arc::from(error.into());
        lock(&self.0.work).failure.get_or_insert(error);
    }

    /// How often this child was restarted before this run.
    pub fn restarts(&self) -> u64 {
        self.0.node.restarts()
    }
}

// === impl Turn ===

impl Turn {
    /// Declares a legal long wait: the turn's deadline moves to `wait` from now, be that later or sooner.
    pub fn protect(&self, wait: Duration) {
        let deadline = deadline::after(wait);
        {
            let mut work = lock(&self.life.work);
            let Some(turn) = work.turns.iter_mut().find(|turn| turn.id == self.id) else {
                return;
            };
            turn.deadline = deadline;
        }
        self.life.wake_runner();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut work = lock(&self.life.work);
        work.turns.retain(|turn| turn.id != self.id);
    }
}

// === impl Life ===

impl Life {
    pub(crate) fn new(node: Arc<Node>, policy: Arc<Policy>, away: bool) -> Arc<Self> {
        let life = Arc::new(Self {
            run: node.next_run(),
            node,
            policy,
            asks: AtomicU32::new(0),
            away,
            stop_asked: AtomicBool::new(false),
            stopping: OnceLock::new(),
            exit: OnceLock::new(),
            runner: AtomicWaker::new(),
            work: Mutex::new(Work::default()),
        });
        life.node.set_life(&life);
        life
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    pub(crate) fn is_away(&self) -> bool {
        self.away
    }

    pub(crate) fn exit(&self) -> Option<&Exit> {
        self.exit.get().map(|exit| &**exit)
    }

    pub(crate) fn stop_asked(&self) -> bool {
        self.stop_asked.load(Ordering::SeqCst)
    }

    pub(crate) fn id(self: &Arc<Self>) -> RunId {
        RunId::of::<Self>(self)
    }

    pub(crate) fn ask_stop(self: &Arc<Self>) {
        self.stop_asked.store(true, Ordering::SeqCst);
        if let Some(token) = self.stopping.get() {
            token.cancel();
        }
        self.runner.wake();
    }

    /// Decides how this run ended, unless that is decided already. Whoever waits for an answer can read it from
    /// then on, so this comes before the actor is dropped.
    pub(crate) fn finish(&self, exit: Exit) {
        let exit = Arc::new(exit);
        if self.exit.set(exit.clone()).is_ok() {
            self.node.note_exit(self.run, exit);
        }
    }

    /// Ends this run from outside: its runner drops the actor at its next chance.
    pub(crate) fn kill(&self, exit: Exit) {
        self.finish(exit);
        if let Some(token) = self.stopping.get() {
            token.cancel();
        }
        self.runner.wake();
    }

    /// How a run ends whose actor stopped by itself.
    pub(crate) fn own_exit(&self) -> Exit {
        match lock(&self.work).failure.take() {
            Some(error) => Exit::Failed(error),
            None if self.stop_asked() => Exit::Stopped,
            None => Exit::Normal,
        }
    }

    /// Admits one more ask; `None` if there are too many.
    pub(crate) fn begin_ask(self: &Arc<Self>) -> Option<Asking> {
        // The guard comes first: refused, it takes back the count.
        let before = self.asks.fetch_add(1, Ordering::Relaxed);
        let asking = Asking(self.clone());
        (before < self.policy.max_asks).then_some(asking)
    }

    pub(crate) fn register_runner(&self, waker: &Waker) {
        self.runner.register(waker);
    }

    /// Not needed from inside the actor's code: its runner looks at the turns after each poll.
    fn wake_runner(self: &Arc<Self>) {
        if !self.id().is_executing() {
            self.runner.wake();
        }
    }

    pub(crate) fn pace(&self, now: Instant) -> Pace {
        let work = lock(&self.work);
        let Some(next) = work.turns.iter().min_by_key(|turn| turn.deadline) else {
            return Pace::Idle;
        };
        if next.deadline > now {
            return Pace::Due(next.deadline);
        }
        let doing = work.turns.iter().filter(|turn| turn.deadline <= now);
        let doing: Vec<&str> = doing.map(|turn| turn.what.as_ref()).collect();
        Pace::Overdue(Exit::Stuck {
            doing: doing.join(", "),
            after: now.duration_since(next.opened),
        })
    }

    /// What it says it is doing, and its open turns with their ages.
    pub(crate) fn doing(&self) -> (Option<String>, Vec<String>) {
        let work = lock(&self.work);
        let doing = work.doing.as_ref().map(ToString::to_string);
        let turns = work.turns.iter();
        let turns = turns.map(|turn| format!("{} ({:.1?})", turn.what, turn.opened.elapsed()));
        (doing, turns.collect())
    }
}

// === impl Asking ===

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.asks.fetch_sub(1, Ordering::Relaxed);
    }
}
