//! The actor that keeps other actors alive.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use tokio::time::Instant;

use crate::BoxError;
use crate::alarm::{Alarm, AlarmClock, Alarms};
use crate::child::{ChildSpec, Supervised};
use crate::commands::{RestartChild, StartChild, StopChild, SuperviseError};
use crate::counts;
use crate::deadline;
use crate::exit::Exit;
use crate::life::ChildContext;
use crate::node::{Budget, GRACE, Key, Node, State, StopOrder};
use crate::ordered::Ordered;
use crate::reference::ChildRef;
use crate::restart::Verdict;
use crate::runner::Launch;
use crate::ward::{Phase, Sequel, Ward, launch};

/// An actor that owns the specs of its children, starts them, and restarts them by their rules.
///
/// It is a child itself, of another supervisor or of the [`Root`](crate::Root). Children are added when it starts, by
/// its `init`, and at run time through its [`ChildRef`]. A child that ends for good leaves the tree and frees its name.
///
/// Every end of a child is reported once, here, as one `tracing` event with the fields `path`, `exit`, `restarts` and
/// `backoff`: `WARN` for a restart, `ERROR` for a child that is parked or escalates, `DEBUG` for an end in order.
pub struct Supervisor {
    context: ChildContext,
    /// What `init` asked for, until the actor has started.
    first: Vec<Arc<dyn Launch>>,
    /// Its own, for its children to report to; none before it has started.
    address: Option<Arc<Addr<Self>>>,
    children: Ordered<Ward>,
    /// None while a look through a handful of children does as well.
    #[expect(clippy::box_collection, reason = "thousands of supervisors have none")]
    names: Option<Box<HashMap<Arc<str>, Key>>>,
    order: StopOrder,
    closing: bool,
    pub(crate) alarms: Alarms,
}

/// The children a supervisor starts with; filled by its `init`.
pub struct Children {
    context: ChildContext,
    specs: Vec<Arc<dyn Launch>>,
    order: StopOrder,
}

/// Why a supervisor gave up.
#[derive(Clone, Debug, thiserror::Error)]
#[error("child `{child}` needed more restarts than allowed ({restarts} so far); it last {exit}")]
pub struct Escalated {
    /// The child's path.
    pub child: String,
    /// How often it was restarted.
    pub restarts: u64,
    /// How its last run ended.
    pub exit: Exit,
}

/// A run of a child has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ChildEnded {
    pub(crate) key: Key,
    pub(crate) run: u64,
    pub(crate) exit: Exit,
}

/// Of so many children one is found by looking through them.
const HANDFUL: usize = 16;

// === impl Children ===

impl Children {
    /// Has the supervisor start this child, after those added before it.
    ///
    /// A name that is taken already makes the supervisor's start fail.
    pub fn start<A: Supervised>(&mut self, spec: ChildSpec<A>) -> ChildRef<A> {
        let reference = spec.reference();
        self.specs.push(Arc::new(spec.settled()));
        reference
    }

    /// In which order the children are stopped. Default: one after the other, last started first.
    pub fn stop_order(&mut self, order: StopOrder) {
        self.order = order;
    }

    /// The supervisor's own context: its path, its token.
    pub fn context(&self) -> &ChildContext {
        &self.context
    }
}

// === impl Supervisor ===

impl Supervisor {
    /// The spec of a supervisor.
    ///
    /// `init` adds its first children, in start order. It runs at each start of the supervisor and must not block; an
    /// error it returns is a failed start.
    pub fn spec(
        name: impl Into<Arc<str>>,
        init: impl Fn(&mut Children) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> ChildSpec<Self> {
        let mut spec = ChildSpec::new(name, move |context| {
            let mut children = Children {
                context,
                specs: Vec::new(),
                order: StopOrder::default(),
            };
            init(&mut children)?;
            Ok(Self {
                context: children.context,
                first: children.specs,
                address: None,
                children: Ordered::default(),
                names: None,
                order: children.order,
                closing: false,
                alarms: Alarms::default(),
            })
        });
        spec.policy_mut().shutdown = Budget::OfChildren;
        spec
    }

    fn node(&self) -> &Arc<Node> {
        self.context.0.node()
    }

    fn add(
        &mut self,
        spec: Arc<dyn Launch>,
        ctx: &mut Context<Self>,
    ) -> Result<(), SuperviseError> {
        static NEXT_KEY: AtomicU64 = AtomicU64::new(0);
        self.refuse_if_closing()?;
        let name = spec.node().name().clone();
        let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
        let budget = spec.policy().shutdown;
        if self.key_of(&name).is_some()
            || spec
                .node()
                .attach(Some((self.node(), key)), budget)
                .is_err()
        {
            return Err(SuperviseError::Duplicate {
                supervisor: self.context.path(),
                name: name.to_string(),
            });
        }
        let phase = launch(&spec, key, self.address(ctx));
        let run = spec.node().latest_run();
        let child = Ward {
            spec,
            history: None,
            run,
            phase,
            epoch: 0,
        };
        self.children.insert(key, child);
        if let Some(names) = &mut self.names {
            names.insert(name, key);
        } else if self.children.len() > HANDFUL {
            let all = self.children.iter();
            let all = all.map(|(key, child)| (child.spec.node().name().clone(), key));
            self.names = Some(Box::new(all.collect()));
        }
        Ok(())
    }

    fn address(&mut self, ctx: &Context<Self>) -> &Arc<Addr<Self>> {
        self.address.get_or_insert_with(|| Arc::new(ctx.address()))
    }

    fn key_of(&self, name: &str) -> Option<Key> {
        if let Some(names) = &self.names {
            return names.get(name).copied();
        }
        let mut children = self.children.iter();
        let named = children.find(|(_, child)| **child.spec.node().name() == *name);
        named.map(|(key, _)| key)
    }

    fn refuse_if_closing(&self) -> Result<(), SuperviseError> {
        if self.closing {
            return Err(SuperviseError::Stopping {
                supervisor: self.context.path(),
            });
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Result<(Key, Arc<Node>), SuperviseError> {
        let key = self.key_of(name);
        let child = key.and_then(|key| Some((key, self.children.get(key)?.spec.node().clone())));
        child.ok_or_else(|| SuperviseError::Unknown {
            supervisor: self.context.path(),
            name: name.to_owned(),
        })
    }

    fn relaunch(&mut self, key: Key, ctx: &mut Context<Self>) {
        let address = self.address(ctx).clone();
        if let Some(child) = self.children.get_mut(key) {
            child.spec.node().count_restart();
            child.enter(launch(&child.spec, key, &address));
            child.run = child.spec.node().latest_run();
        }
    }

    fn remove(&mut self, key: Key, ctx: &mut Context<Self>) {
        if let Some(child) = self.children.remove(key) {
            if let Some(names) = &mut self.names {
                names.remove(child.spec.node().name());
            }
            child.spec.node().end();
        }
        self.go_on_closing(ctx);
    }

    fn set_alarm(&mut self, key: Key, at: Instant) {
        if let Some(Ward { epoch, .. }) = self.children.get(key) {
            self.alarms.set(Alarm {
                at,
                key,
                epoch: *epoch,
            });
        }
    }

    fn stop_child(&mut self, key: Key, then: Sequel, ctx: &mut Context<Self>) {
        let Some(child) = self.children.get_mut(key) else {
            return;
        };
        match child.take_phase() {
            Phase::Running { run, .. } => {
                let node = child.spec.node();
                let budget = node.budget();
                node.set_state(State::Stopping);
                run.life.ask_stop();
                child.enter(Phase::Stopping { run, budget, then });
                self.set_alarm(key, deadline::after(budget));
            }
            Phase::Waiting => match then {
                Sequel::Remove => {
                    child
                        .spec
                        .node()
                        .note_exit(child.spec.node().latest_run(), Arc::new(Exit::Stopped));
                    self.remove(key, ctx);
                }
                Sequel::Restart => self.relaunch(key, ctx),
            },
            // The later order counts; a removal is not turned into a restart.
            Phase::Stopping {
                run,
                budget,
                then: earlier,
            } => {
                child.phase = Phase::Stopping {
                    run,
                    budget,
                    then: earlier.or(then),
                };
            }
            Phase::Killed { run, then: earlier } => {
                child.phase = Phase::Killed {
                    run,
                    then: earlier.or(then),
                };
            }
        }
    }

    fn close(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        if self.order == StopOrder::Together {
            let keys: Vec<Key> = self.children.iter().map(|(key, _)| key).collect();
            for key in keys {
                self.stop_child(key, Sequel::Remove, ctx);
            }
        }
        self.go_on_closing(ctx);
    }

    fn go_on_closing(&mut self, ctx: &mut Context<Self>) {
        if !self.closing {
            return;
        }
        let last = self.children.last().map(|(key, _)| key);
        let next = match self.order {
            StopOrder::Reverse => last,
            StopOrder::After(first) => self.key_of(first).or(last),
            // They have all been told.
            StopOrder::Together => None,
        };
        if let Some(key) = next
            && self
                .children
                .get(key)
                .is_some_and(|child| !child.is_going())
        {
            self.stop_child(key, Sequel::Remove, ctx);
        }
        if self.children.is_empty() {
            ctx.stop();
        }
    }

    /// What happens after a run that nobody asked to end.
    fn decide(&mut self, key: Key, exit: &Exit, ran_for: Duration, ctx: &mut Context<Self>) {
        let Some(child) = self.children.get_mut(key) else {
            return;
        };
        let node = child.spec.node().clone();
        let rules = &child.spec.policy().rules;
        let verdict = if self.closing {
            Verdict::Over
        } else {
            let history = child.history.get_or_insert_default();
            history.judge(rules, exit, ran_for, Instant::now(), &mut rand::rng())
        };
        let (path, restarts) = (node.path(), node.restarts());
        match verdict {
            Verdict::Over if exit.is_abnormal() => {
                tracing::warn!(%path, %exit, restarts, "child ended; it is not restarted");
                self.remove(key, ctx);
            }
            Verdict::Over => {
                tracing::debug!(%path, %exit, restarts, "child ended");
                self.remove(key, ctx);
            }
            Verdict::Restart { after } => {
                counts::count_restart(exit);
                let until = deadline::after(after);
                tracing::warn!(%path, %exit, restarts, backoff = ?after, "child ended; restarting it");
                child.enter(Phase::Waiting);
                node.set_state(State::BackingOff { until });
                self.set_alarm(key, until);
            }
            Verdict::Park { retry_in } => {
                counts::count_parked();
                let until = deadline::after(retry_in);
                tracing::error!(%path, %exit, restarts, backoff = ?retry_in, "child needs too many restarts; parking it");
                child.enter(Phase::Waiting);
                node.set_state(State::Parked { until });
                self.set_alarm(key, until);
            }
            Verdict::Escalate => {
                counts::count_escalated();
                tracing::error!(%path, %exit, restarts, "child needs too many restarts; giving up its supervisor");
                self.context.fail(Escalated {
                    child: path,
                    restarts,
                    exit: exit.clone(),
                });
                self.remove(key, ctx);
                self.close(ctx);
            }
        }
    }

    fn stopped(&mut self, key: Key, then: Sequel, exit: &Exit, ctx: &mut Context<Self>) {
        let Some(child) = self.children.get(key) else {
            return;
        };
        let node = child.spec.node();
        let (path, restarts) = (node.path(), node.restarts());
        if exit.is_abnormal() {
            tracing::warn!(%path, %exit, restarts, "child did not stop in order");
        } else {
            tracing::debug!(%path, %exit, restarts, "child stopped");
        }
        match then {
            Sequel::Restart if !self.closing => self.relaunch(key, ctx),
            Sequel::Restart | Sequel::Remove => self.remove(key, ctx),
        }
    }

    /// Does what is due.
    pub(crate) fn ring(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        while let Some(Alarm { key, epoch, .. }) = self.alarms.take_due(now) {
            let Some(child) = self.children.get_mut(key) else {
                continue;
            };
            if child.epoch != epoch {
                continue;
            }
            match child.take_phase() {
                // Its turn to be removed comes.
                Phase::Waiting if self.closing => {}
                Phase::Waiting => self.relaunch(key, ctx),
                Phase::Stopping { run, budget, then } => {
                    run.life.kill(Exit::Stuck {
                        doing: "stopping".to_owned(),
                        after: budget,
                    });
                    child.enter(Phase::Killed { run, then });
                    self.set_alarm(key, now + GRACE);
                }
                Phase::Killed { run, then } => {
                    // Its thread is blocked. Whatever it supervised there is lost with it.
                    child.spec.node().kill_children();
                    let exit = run.life.exit().cloned().unwrap_or(Exit::Stopped);
                    self.stopped(key, then, &exit, ctx);
                }
                running @ Phase::Running { .. } => child.phase = running,
            }
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(AlarmClock::default());
        self.node().set_order(self.order, self.first.len());
        self.children.reserve_exact(self.first.len());
        for spec in std::mem::take(&mut self.first) {
            if let Err(error) = self.add(spec, ctx) {
                self.context.fail(error);
                self.close(ctx);
                return;
            }
        }
    }
}

impl Supervised for Supervisor {
    fn stop(&mut self, ctx: &mut Self::Context) {
        self.close(ctx);
    }
}

impl Handler<ChildEnded> for Supervisor {
    type Result = ();

    fn handle(&mut self, ended: ChildEnded, ctx: &mut Self::Context) {
        let ChildEnded { key, run, exit } = ended;
        let Some(child) = self.children.get_mut(key) else {
            return;
        };
        if child.run != run {
            // From a blocked thread that came back after its children were given up.
            return;
        }
        match child.take_phase() {
            Phase::Running { since, .. } => self.decide(key, &exit, since.elapsed(), ctx),
            Phase::Stopping { then, .. } | Phase::Killed { then, .. } => {
                self.stopped(key, then, &exit, ctx)
            }
            Phase::Waiting => {}
        }
    }
}

impl Handler<StartChild> for Supervisor {
    type Result = Result<(), SuperviseError>;

    fn handle(&mut self, StartChild(spec): StartChild, ctx: &mut Self::Context) -> Self::Result {
        self.add(spec, ctx)
    }
}

impl Handler<StopChild> for Supervisor {
    type Result = Result<Arc<Node>, SuperviseError>;

    fn handle(&mut self, StopChild(name): StopChild, ctx: &mut Self::Context) -> Self::Result {
        let (key, node) = self.find(&name)?;
        self.stop_child(key, Sequel::Remove, ctx);
        Ok(node)
    }
}

impl Handler<RestartChild> for Supervisor {
    type Result = Result<(Arc<Node>, u64), SuperviseError>;

    fn handle(
        &mut self,
        RestartChild(name): RestartChild,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        self.refuse_if_closing()?;
        let (key, node) = self.find(&name)?;
        let run = node.latest_run();
        counts::count_asked();
        self.stop_child(key, Sequel::Restart, ctx);
        Ok((node, run))
    }
}

impl Drop for Supervisor {
    /// However it ends: nothing it started outlives it.
    fn drop(&mut self) {
        for child in self.children.values() {
            if let Some(life) = child.life() {
                life.kill(Exit::Stopped);
            }
            // A newer run belongs to a newer supervisor, if this one sat on a blocked thread for a while.
            if child.spec.node().latest_run() == child.run {
                child.spec.node().kill(&Exit::Stopped);
            }
        }
    }
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Supervisor({}, {} children)",
            self.context.path(),
            self.children.len()
        )
    }
}

impl std::fmt::Debug for Children {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self
            .specs
            .iter()
            .map(|spec| spec.node().name().as_ref())
            .collect();
        f.debug_struct("Children")
            .field("names", &names)
            .field("order", &self.order)
            .finish()
    }
}
