//! Running one life of a child on its arbiter.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use actix::dev::ContextFut;
use actix::fut::ActorFuture;
use actix::{ActorContext, Addr, AsyncContext, Context};
use actix_rt::ArbiterHandle;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::child::{ChildSpec, Policy, Supervised};
use crate::exit::{ArbiterEnded, Exit};
use crate::life::{ChildContext, Life, Pace};
use crate::node::Node;
use crate::panics;
use crate::supervisor::{ChildEnded, Supervisor};

/// A child spec whose actor type is forgotten.
pub(crate) trait Launch: Send + Sync {
    fn node(&self) -> &Arc<Node>;
    fn policy(&self) -> &Arc<Policy>;
    /// Starts one run, on `arbiter` or on the current one. Its end is reported through the ticket, whatever happens.
    fn launch(self: Arc<Self>, ticket: Ticket, arbiter: Option<&ArbiterHandle>);
}

/// Who learns of a run's end.
#[derive(Clone, Debug)]
pub(crate) enum Report {
    /// Nobody: the node's state tells.
    Root,
    Supervisor {
        /// One address for all of them: each clone of an address is an allocation.
        to: Arc<Addr<Supervisor>>,
        key: u64,
    },
}

/// The duty to report the end of a run. Dropped unfulfilled, it reports that the run's arbiter has ended.
#[derive(Debug)]
pub(crate) struct Ticket {
    life: Arc<Life>,
    report: Option<Report>,
}

/// One run of an actor, as a task.
struct Run<A: Supervised> {
    spec: Arc<ChildSpec<A>>,
    ticket: Ticket,
    stage: Stage<A>,
    /// Present only while turns are open, and until the deadline it was set for.
    timer: Option<Pin<Box<Sleep>>>,
}

#[expect(clippy::large_enum_variant, reason = "it is up nearly all the time")]
enum Stage<A: Supervised> {
    /// The factory has not run.
    Unmade,
    Up(ContextFut<A, Context<A>>),
    Over,
}

/// Calls [`Supervised::stop`] when the run is asked to stop. The runner's waker wakes it.
struct StopWatch(Arc<Life>);

// === impl Report ===

impl Report {
    pub(crate) fn send(&self, life: &Life) {
        let exit = life.exit().cloned().unwrap_or(Exit::Stopped);
        match self {
            Self::Root => life.node().end(),
            // The mailbox's limit is passed over: each run sends this once.
            Self::Supervisor { to, key } => to.do_send(ChildEnded {
                key: *key,
                run: life.run(),
                exit,
            }),
        }
    }
}

// === impl Ticket ===

impl Ticket {
    pub(crate) fn new(life: Arc<Life>, report: Report) -> Self {
        Self {
            life,
            report: Some(report),
        }
    }

    pub(crate) fn fulfil(&mut self, exit: Exit) {
        self.life.finish(exit);
        if let Some(report) = self.report.take() {
            report.send(&self.life);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.report.is_some() {
            self.fulfil(Exit::failed(ArbiterEnded));
        }
    }
}

// === impl ChildSpec ===

impl<A: Supervised> Launch for ChildSpec<A> {
    fn node(&self) -> &Arc<Node> {
        self.slot.node()
    }

    fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    fn launch(self: Arc<Self>, ticket: Ticket, arbiter: Option<&ArbiterHandle>) {
        let run = move || {
            actix_rt::spawn(Run {
                spec: self,
                ticket,
                stage: Stage::Unmade,
                timer: None,
            });
        };
        match arbiter {
            None => run(),
            // If the arbiter has ended, the closure is dropped and the ticket reports.
            Some(arbiter) => {
                arbiter.spawn_fn(run);
            }
        }
    }
}

// === impl Run ===

impl<A: Supervised> Run<A> {
    fn make(&mut self) -> Result<ContextFut<A, Context<A>>, Exit> {
        let life = &self.ticket.life;
        let made = panics::catch(life.id(), || {
            (self.spec.factory)(ChildContext(life.clone()))
        });
        let actor = made?.map_err(Exit::failed)?;
        let mut ctx = Context::new();
        ctx.spawn(StopWatch(life.clone()));
        Ok(ctx.into_future(actor))
    }

    fn end(&mut self, exit: Exit) -> Poll<()> {
        // The order matters: who waits for an answer learns of the end by the drop, and then asks for the cause.
        self.ticket.life.finish(exit);
        self.spec.slot.close(&self.ticket.life);
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        if let Stage::Up(mut actor) = stage {
            // An actor future that is alive polls its actor when dropped, be it broken or stuck.
            actor.ctx().terminate();
            // What its `Drop` panics about comes after its end, whose cause is known.
            let _ = panics::catch(self.ticket.life.id(), || drop(actor));
        }
        self.timer = None;
        self.ticket.fulfil(Exit::Stopped);
        Poll::Ready(())
    }

    /// The end of the run if a turn is overdue. Otherwise sees to it that this is looked at again in time.
    fn look_at_turns(&mut self, cx: &mut TaskContext<'_>) -> Option<Exit> {
        // Asked to stop, it has its shutdown budget, and its supervisor's clock for it.
        if self.ticket.life.stop_asked() {
            self.timer = None;
            return None;
        }
        loop {
            let due = match self.ticket.life.pace(Instant::now()) {
                Pace::Overdue(exit) => return Some(exit),
                Pace::Due(due) => Some(due),
                Pace::Idle => None,
            };
            let timer = match (&mut self.timer, due) {
                (None, None) => return None,
                (None, Some(due)) => self.timer.insert(Box::pin(sleep_until(due))),
                (Some(timer), Some(due)) if due < timer.deadline() => {
                    timer.as_mut().reset(due);
                    timer
                }
                // A timer that is set too early is cheaper left to fire than set again for each turn.
                (Some(timer), _) => timer,
            };
            if timer.as_mut().poll(cx).is_pending() {
                return None;
            }
            self.timer = None;
        }
    }
}

impl<A: Supervised> Future for Run<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        let life = this.ticket.life.clone();
        life.register_runner(cx.waker());
        if let Some(exit) = life.exit() {
            return this.end(exit.clone());
        }
        let starts = matches!(this.stage, Stage::Unmade);
        if starts {
            if life.stop_asked() {
                return this.end(Exit::Stopped);
            }
            match this.make() {
                Ok(actor) => this.stage = Stage::Up(actor),
                Err(exit) => return this.end(exit),
            }
        }
        let Stage::Up(actor) = &mut this.stage else {
            return Poll::Ready(());
        };
        match panics::catch(life.id(), || Pin::new(&mut *actor).poll(cx)) {
            Err(exit) => return this.end(exit),
            Ok(Poll::Ready(())) => return this.end(life.own_exit()),
            Ok(Poll::Pending) => {}
        }
        if starts {
            this.spec.slot.open(actor.address(), life.clone());
            life.node().set_running(life.run());
        }
        match this.look_at_turns(cx) {
            Some(exit) => this.end(exit),
            None => Poll::Pending,
        }
    }
}

impl<A: Supervised> Drop for Run<A> {
    fn drop(&mut self) {
        if !matches!(self.stage, Stage::Over) {
            let _ = self.end(Exit::failed(ArbiterEnded));
        }
    }
}

// === impl StopWatch ===

impl<A: Supervised> ActorFuture<A> for StopWatch {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        act: &mut A,
        ctx: &mut A::Context,
        _: &mut TaskContext<'_>,
    ) -> Poll<()> {
        if self.0.stop_asked() {
            act.stop(ctx);
            return Poll::Ready(());
        }
        Poll::Pending
    }
}
