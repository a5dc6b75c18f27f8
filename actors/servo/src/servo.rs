//! A servo: the subtree of one optimizer's connectors, and its optimizer loop.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use servo_dispatch::{Bus, ConfiguredConnector, Dispatcher, DispatcherRef, Mount};
use servo_messages::CommonConfig;
use servo_protocol::{Backoff, OptimizerClient, Outage};
use servo_supervision::{
    BoxError, ChildContext, ChildSpec, Children, Exhausted, Restart, Supervised, Supervisor,
};
use thiserror::Error;
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
    /// How it reaches others over the network.
    pub settings: Arc<CommonConfig>,
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
    shared: Arc<Shared>,
}

struct Shared {
    status: watch::Sender<ServoStatus>,
    /// Of the present incarnation; none before the first start.
    dispatcher: watch::Sender<Option<DispatcherRef>>,
    goodbye_reason: Mutex<Option<String>>,
}

/// A servo did not come up.
#[derive(Clone, Debug, Error)]
#[error("servo {0} did not start in time; the log says why")]
pub struct NotStarted(Arc<str>);

/// The optimizer loop: an actor whose one piece of work is the [`Session`].
struct OptimizerLoop {
    session: Option<Session>,
    child: ChildContext,
}

// === impl ServoSpec ===

impl ServoSpec {
    /// How to run the servo that `handle` reaches.
    ///
    /// Its children start in the order dispatcher, connectors, optimizer loop, and stop in reverse:
    /// the loop first, which has the connectors undo what they must and says GOODBYE.
    pub fn child(self, handle: &ServoHandle) -> ChildSpec<Supervisor> {
        Arc::new(self).shared_child(handle)
    }

    /// As [`ServoSpec::child`], of a spec that others hold too.
    pub(crate) fn shared_child(self: Arc<Self>, handle: &ServoHandle) -> ChildSpec<Supervisor> {
        let shared = handle.shared.clone();
        let policy = self.policy.connectors.clone();
        Supervisor::spec(self.name.clone(), move |children| {
            self.populate(children, &shared)
        })
        .restart(Restart::Permanent)
        .backoff(policy.backoff)
        .intensity(policy.intensity)
        .exhausted(Exhausted::Park {
            retry_every: policy.retry_every,
        })
    }

    fn populate(
        self: &Arc<Self>,
        children: &mut Children,
        shared: &Arc<Shared>,
    ) -> Result<(), BoxError> {
        let bus = Bus::with_standard_events();
        let (dispatcher_spec, dispatcher) = Dispatcher::spec(self.name.clone(), bus);
        children.start(dispatcher_spec);
        for (name, connector) in &self.connectors {
            connector.mount(Mount {
                servo: self.name.clone(),
                name: name.clone(),
                settings: self.settings.clone(),
                dispatcher: dispatcher.clone(),
                policy: self.policy.connectors.clone(),
                children,
            })?;
        }
        if let Some(client) = &self.optimizer {
            children.start(self.optimizer_loop(client.clone(), dispatcher.clone(), shared));
        }
        shared.dispatcher.send_replace(Some(dispatcher));
        Ok(())
    }

    fn optimizer_loop(
        self: &Arc<Self>,
        client: Arc<dyn OptimizerClient>,
        dispatcher: DispatcherRef,
        shared: &Arc<Shared>,
    ) -> ChildSpec<OptimizerLoop> {
        let spec = self.clone();
        let shared = shared.clone();
        let policy = &self.policy;
        let budget = policy.stop_command
            + policy.finish_report
            + policy.stop_connectors
            + policy.goodbye.max_time.unwrap_or_default()
            + Duration::from_secs(1);
        ChildSpec::new("optimizer", move |child| {
            let reason = shared.clone();
            Ok(OptimizerLoop {
                session: Some(Session {
                    spec: spec.clone(),
                    client: client.clone(),
                    dispatcher: dispatcher.clone(),
                    status: shared.status.clone(),
                    child: child.clone(),
                    outage: Outage::default(),
                    pause: Backoff::new(Duration::from_secs(1), Duration::from_secs(300)),
                    known_metrics: None,
                    last_was_invalid: false,
                    goodbye_reason: Arc::new(move || {
                        reason
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
        .backoff(policy.connectors.backoff)
        .intensity(policy.connectors.intensity)
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
    /// How long a servo has for coming up.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A handle for the servo named `name`, to be started with it.
    pub fn new(name: Arc<str>) -> Self {
        Self {
            name,
            shared: Arc::new(Shared {
                status: watch::Sender::default(),
                dispatcher: watch::Sender::default(),
                goodbye_reason: Mutex::default(),
            }),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it is doing now, and whenever that changes.
    pub fn status(&self) -> watch::Receiver<ServoStatus> {
        self.shared.status.subscribe()
    }

    /// Its dispatcher; none before its first start.
    pub fn dispatcher(&self) -> Option<DispatcherRef> {
        self.shared.dispatcher.borrow().clone()
    }

    /// Waits until it has started for the first time.
    ///
    /// # Errors
    /// When that takes too long; the tree knows why.
    pub async fn started(&self) -> Result<DispatcherRef, NotStarted> {
        let mut dispatcher = self.shared.dispatcher.subscribe();
        let up = dispatcher.wait_for(Option::is_some);
        match tokio::time::timeout(Self::PATIENCE, up).await {
            Ok(Ok(found)) => found.clone(),
            _ => None,
        }
        .ok_or_else(|| NotStarted(self.name.clone()))
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
