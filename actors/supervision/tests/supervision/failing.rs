//! An actor that can fail in every way, and what the tests need around it.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture,
};
use servo_supervision::{
    Backoff, ChildContext, ChildRef, ChildSpec, Children, Exhausted, Intensity, Root, Supervised,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const TURN_DEADLINE: Duration = Duration::from_secs(30);

/// Every way to fail, and some ways to succeed. The answer is the number of restarts before this run.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "u64")]
pub(crate) enum Do {
    Answer,
    /// End with an error.
    Error,
    /// Panic in the handler.
    Panic,
    /// Panic in a future that the actor awaits.
    PanicAwaited,
    /// Await for ever inside a turn.
    Freeze,
    /// Answer after a while, inside a turn.
    Slow(Duration),
    /// The same, declared as legal.
    Protected(Duration),
    StopByItself,
    BlockThread(Duration),
}

pub(crate) type Journal = Arc<Mutex<Vec<String>>>;

/// How it takes being asked to stop.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Manners {
    #[default]
    Obeys,
    Takes(Duration),
    Refuses,
}

pub(crate) struct FailingActor {
    context: ChildContext,
    manners: Manners,
    journal: Journal,
}

impl Actor for FailingActor {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.context.set_doing("waiting for orders");
        self.journal
            .lock()
            .unwrap()
            .push(format!("{} up", self.context.name()));
    }
}

impl Supervised for FailingActor {
    fn stop(&mut self, ctx: &mut Context<Self>) {
        self.journal
            .lock()
            .unwrap()
            .push(format!("{} asked", self.context.name()));
        match self.manners {
            Manners::Obeys => ctx.stop(),
            Manners::Takes(time) => {
                let done = tokio::time::sleep(time).into_actor(self);
                actix::AsyncContext::spawn(ctx, done.map(|(), _, ctx| ctx.stop()));
            }
            Manners::Refuses => {}
        }
    }
}

impl Drop for FailingActor {
    fn drop(&mut self) {
        self.journal
            .lock()
            .unwrap()
            .push(format!("{} down", self.context.name()));
    }
}

impl Handler<Do> for FailingActor {
    type Result = ResponseActFuture<Self, u64>;

    fn handle(&mut self, order: Do, ctx: &mut Context<Self>) -> Self::Result {
        let restarts = self.context.restarts();
        let turn = self.context.turn("carry out an order");
        match order {
            Do::Panic => panic!("lost in the handler"),
            Do::Error => {
                self.context.fail("out of paper");
                ctx.stop();
            }
            Do::StopByItself => ctx.stop(),
            Do::BlockThread(time) => std::thread::sleep(time),
            _ => {}
        }
        let work = async move {
            match order {
                Do::PanicAwaited => {
                    tokio::task::yield_now().await;
                    panic!("lost in the future")
                }
                Do::Freeze => pending().await,
                Do::Slow(time) => tokio::time::sleep(time).await,
                Do::Protected(time) => {
                    turn.protect(time + SECOND);
                    tokio::time::sleep(time).await;
                }
                _ => {}
            }
            drop(turn);
            restarts
        };
        Box::pin(work.into_actor(self))
    }
}

/// A child that restarts at once (1 ms at most) and as often as it takes.
pub(crate) fn failing(name: &str) -> ChildSpec<FailingActor> {
    failing_with(name, Manners::default(), &Journal::default())
}

pub(crate) fn failing_with(
    name: &str,
    manners: Manners,
    journal: &Journal,
) -> ChildSpec<FailingActor> {
    let journal = journal.clone();
    rules(ChildSpec::new(name, move |context| {
        Ok(FailingActor {
            context,
            manners,
            journal: journal.clone(),
        })
    }))
}

pub(crate) fn rules<A: Supervised>(spec: ChildSpec<A>) -> ChildSpec<A> {
    spec.turn_deadline(TURN_DEADLINE)
        .backoff(fast())
        .intensity(Intensity::try_new(1000, SECOND).unwrap())
}

pub(crate) fn fast() -> Backoff {
    Backoff::try_new(Duration::from_millis(1), Duration::from_millis(1), SECOND).unwrap()
}

pub(crate) fn slow() -> Backoff {
    Backoff::try_new(SECOND * 3600, SECOND * 3600, SECOND * 3600).unwrap()
}

pub(crate) fn intensity(max: u32) -> Intensity {
    Intensity::try_new(max, SECOND * 60).unwrap()
}

pub(crate) fn park() -> Exhausted {
    Exhausted::Park {
        retry_every: SECOND * 600,
    }
}

/// A root `app` with one child.
pub(crate) async fn root_of<A: Supervised>(spec: ChildSpec<A>) -> (Root, ChildRef<A>) {
    let reference = spec.reference();
    let root = root_with(move |children| {
        children.start(spec.clone());
    });
    let _ = reference.wait_until_up(SECOND).await;
    (root, reference)
}

pub(crate) fn root_with(init: impl Fn(&mut Children) + Send + Sync + 'static) -> Root {
    servo_supervision::install_panic_hook();
    Root::start("app", move |children| {
        init(children);
        Ok(())
    })
}

/// Waits for something the tests can only look at.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(SECOND * 7200, wait).await;
    assert!(waited.is_ok(), "never: {what}");
}
