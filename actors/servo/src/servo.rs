//! A servo: the subtree of one optimizer's connectors, and its optimizer loop.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use servo_dispatch::{
    Adjust, Bus, Components, ConfiguredConnector, Describe, Dispatcher, DispatcherRef, Measure,
    Metrics, Mount,
};
use servo_protocol::{Backoff, OptimizerClient, Outage};
use servo_supervision::{
    BoxError, ChildContext, ChildSpec, Exhausted, Restart, Supervised, Supervisor,
};
use tokio::sync::watch;

use crate::{policy::ServoPolicy, session::Session, status::ServoStatus};

/// Everything that makes a servo: pure data and shared clients, so that it can be made again.
#[derive(Clone)]
pub struct ServoSpec {
    /// Its name in logs, in the tree and on the command line.
    pub name: Arc<str>,
    /// Identifies this deployment to the optimizer.
    pub servo_uid: Option<String>,
    /// Its optimizer; without one it takes no commands, but events can be dispatched to it.
    pub optimizer: Option<Arc<dyn OptimizerClient>>,
    /// Its connectors in order, with their names.
    pub connectors: Vec<(Arc<str>, Arc<dyn ConfiguredConnector>)>,
    /// The times and limits that it works by.
    pub policy: ServoPolicy,
    /// What it calls itself to the optimizer: product and version.
    pub agent: String,
    /// What HELLO tells beside the agent.
    pub telemetry: BTreeMap<String, String>,
}

/// Reaches a servo from outside, across its restarts.
#[derive(Clone)]
pub struct ServoHandle {
    name: Arc<str>,
    status: watch::Receiver<ServoStatus>,
    shared: Arc<Shared>,
}

struct Shared {
    /// Of the present incarnation; none before the first start.
    dispatcher: Mutex<Option<DispatcherRef>>,
    goodbye_reason: Mutex<Option<String>>,
}

/// The optimizer loop: an actor whose one piece of work is the [`Session`].
struct OptimizerLoop {
    session: Option<Session>,
    child: ChildContext,
}

// === impl ServoSpec ===

impl ServoSpec {
    /// How to run the servo, and how to reach it.
    ///
    /// Its children start in the order dispatcher, connectors, optimizer loop, and stop in reverse:
    /// the loop first, which has the connectors undo what they must and says GOODBYE.
    pub fn into_child(self) -> (ChildSpec<Supervisor>, ServoHandle) {
        let (status, watcher) = watch::channel(ServoStatus::default());
        let shared = Arc::new(Shared {
            dispatcher: Mutex::new(None),
            goodbye_reason: Mutex::new(None),
        });
        let handle = ServoHandle {
            name: self.name.clone(),
            status: watcher,
            shared: shared.clone(),
        };
        let name = self.name.clone();
        let policy = self.policy.clone();
        let spec = Supervisor::spec(name, move |children| {
            self.populate(children, &status, &shared)
        })
        .restart(Restart::Permanent)
        .backoff(policy.connectors.backoff.clone())
        .intensity(policy.connectors.intensity.clone())
        .exhausted(Exhausted::Park {
            retry_every: policy.connectors.retry_every,
        });
        (spec, handle)
    }

    fn populate(
        &self,
        children: &mut servo_supervision::Children,
        status: &watch::Sender<ServoStatus>,
        shared: &Arc<Shared>,
    ) -> Result<(), BoxError> {
        let bus = Bus::default();
        bus.bridge::<Describe>();
        bus.bridge::<Measure>();
        bus.bridge::<Adjust>();
        bus.bridge::<Metrics>();
        bus.bridge::<Components>();
        let (dispatcher_spec, dispatcher) = Dispatcher::spec(self.name.clone(), bus);
        children.start(dispatcher_spec);
        for (name, connector) in &self.connectors {
            connector.mount(Mount {
                servo: self.name.clone(),
                name: name.clone(),
                dispatcher: dispatcher.clone(),
                policy: self.policy.connectors.clone(),
                children,
            })?;
        }
        *shared
            .dispatcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(dispatcher.clone());
        if let Some(client) = &self.optimizer {
            children.start(self.optimizer_loop(client.clone(), dispatcher, status, shared));
        }
        Ok(())
    }

    fn optimizer_loop(
        &self,
        client: Arc<dyn OptimizerClient>,
        dispatcher: DispatcherRef,
        status: &watch::Sender<ServoStatus>,
        shared: &Arc<Shared>,
    ) -> ChildSpec<OptimizerLoop> {
        let spec = self.clone();
        let status = status.clone();
        let shared = shared.clone();
        let policy = &self.policy;
        let budget = policy.stop_command
            + policy.finish_report
            + policy.stop_connectors
            + policy.goodbye.max_time.unwrap_or_default()
            + std::time::Duration::from_secs(1);
        ChildSpec::new("optimizer", move |child| {
            let shared = shared.clone();
            Ok(OptimizerLoop {
                session: Some(Session {
                    servo: spec.name.clone(),
                    servo_uid: spec.servo_uid.clone(),
                    agent: spec.agent.clone(),
                    telemetry: spec.telemetry.clone(),
                    client: client.clone(),
                    dispatcher: dispatcher.clone(),
                    policy: spec.policy.clone(),
                    status: status.clone(),
                    child: child.clone(),
                    outage: Outage::default(),
                    pause: Backoff::standard(),
                    known_metrics: None,
                    goodbye_reason: Arc::new(move || {
                        shared
                            .goodbye_reason
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .clone()
                            .unwrap_or_else(|| "shutdown".to_owned())
                    }),
                }),
                child,
            })
        })
        .restart(Restart::Transient)
        .backoff(policy.connectors.backoff.clone())
        .intensity(policy.connectors.intensity.clone())
        .exhausted(Exhausted::Escalate)
        .shutdown(budget)
    }
}

impl fmt::Debug for ServoSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServoSpec")
            .field("name", &self.name)
            .field(
                "connectors",
                &self.connectors.iter().map(|(n, _)| n).collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}

// === impl ServoHandle ===

impl ServoHandle {
    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it is doing now, and whenever that changes.
    pub fn status(&self) -> &watch::Receiver<ServoStatus> {
        &self.status
    }

    /// Its dispatcher; none before its first start.
    pub fn dispatcher(&self) -> Option<DispatcherRef> {
        self.shared
            .dispatcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What GOODBYE will tell as its reason; `shutdown` when nobody says.
    pub fn set_goodbye_reason(&self, reason: impl Into<String>) {
        *self
            .shared
            .goodbye_reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(reason.into());
    }
}

impl fmt::Debug for ServoHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServoHandle")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

// === impl OptimizerLoop ===

impl Actor for OptimizerLoop {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(session) = self.session.take() else {
            return;
        };
        ctx.spawn(
            session
                .run()
                .into_actor(self)
                .map(|ended, this, ctx: &mut Self::Context| {
                    if let Err(error) = ended {
                        this.child.fail(error);
                    }
                    ctx.stop();
                }),
        );
    }
}

impl Supervised for OptimizerLoop {
    /// The session watches the same token and ends by itself, after GOODBYE.
    fn stop(&mut self, _: &mut Self::Context) {}
}
