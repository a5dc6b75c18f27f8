//! A servo: the subtree of one optimizer's connectors, and its optimizer loop.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock, OnceLock},
    time::Duration,
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use servo_dispatch::{Bus, ConfiguredConnector, Dispatcher, DispatcherRef};
use servo_messages::CommonConfig;
use servo_protocol::OptimizerClient;
use servo_supervision::{
    BoxError, ChildContext, ChildRef, ChildSpec, Children, Exhausted, Restart, StopOrder,
    Supervised, Supervisor,
};
use tokio_util::sync::CancellationToken;

use crate::{
    blueprint::Blueprint,
    handle::{ServoHandle, Shared},
    policy::ServoPolicy,
    session::Session,
};

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
    /// What HELLO tells beside the agent, and beside what connectors add: no key of theirs takes the
    /// place of one of these.
    pub telemetry: BTreeMap<String, String>,
}

/// The optimizer loop: an actor whose one piece of work is the [`Session`].
struct OptimizerLoop {
    session: Option<Box<Session>>,
    child: ChildContext,
    /// Tells the session to take no further commands.
    rest: CancellationToken,
}

const OPTIMIZER_LOOP: &str = "optimizer";

// === impl Blueprint ===

impl Blueprint {
    /// How to run the servo that `handle` reaches.
    ///
    /// Its children start in the order dispatcher, connectors, optimizer loop, and stop in reverse:
    /// the loop first, which has the connectors undo what they must and says GOODBYE.
    pub(crate) fn child(self: Arc<Self>, handle: &ServoHandle) -> ChildSpec<Supervisor> {
        let shared = handle.shared().clone();
        let (backoff, policy) = (self.common.policy.restart, &self.common.policy.connectors);
        let (intensity, retry_every) = (policy.intensity, policy.retry_every);
        // Filled in the next statement: `init` runs when the supervisor starts.
        let own: Arc<OnceLock<ChildRef<Supervisor>>> = Arc::default();
        let reference = own.clone();
        let spec = Supervisor::spec(self.name.clone(), move |children| {
            let supervisor = reference.get().ok_or("the servo was started too early")?;
            self.populate(children, supervisor, &shared)
        });
        let _ = own.set(spec.reference());
        spec.restart(Restart::Permanent)
            .backoff(backoff)
            .intensity(intensity)
            .exhausted(Exhausted::Park { retry_every })
    }

    fn populate(
        self: &Arc<Self>,
        children: &mut Children,
        supervisor: &ChildRef<Supervisor>,
        shared: &Arc<Shared>,
    ) -> Result<(), BoxError> {
        // The loop says GOODBYE, once those that joined later have done what they must, too.
        children.stop_order(StopOrder::After(OPTIMIZER_LOOP));
        let bus = Bus::with_standard_events();
        let (dispatcher_spec, dispatcher) = Dispatcher::spec(self.name.clone(), bus);
        children.start(dispatcher_spec);
        dispatcher.room_for_more(supervisor.clone());
        dispatcher.mount_all(
            self.connectors
                .iter()
                .map(|(name, connector)| (name, connector)),
            &self.settings,
            &self.common.policy.connectors,
            shared.dispatcher().as_ref(),
            children,
        )?;
        shared.standing().forget_connectors();
        if let Some(client) = &self.optimizer {
            children.start(self.optimizer_loop(client.clone(), dispatcher.clone(), shared));
        }
        shared.set_dispatcher(dispatcher);
        Ok(())
    }

    fn optimizer_loop(
        self: &Arc<Self>,
        client: Arc<dyn OptimizerClient>,
        dispatcher: DispatcherRef,
        shared: &Arc<Shared>,
    ) -> ChildSpec<OptimizerLoop> {
        static NAME: LazyLock<Arc<str>> = LazyLock::new(|| OPTIMIZER_LOOP.into());
        let spec = self.clone();
        let shared = shared.clone();
        let policy = &self.common.policy;
        // The parts keep their own times; this is for one that does not.
        let budget = policy.shutdown_grace() + Duration::from_secs(1);
        ChildSpec::new(NAME.clone(), move |child| {
            let rest = shared.begin();
            Ok(OptimizerLoop {
                session: Some(Box::new(Session::new(
                    spec.clone(),
                    client.clone(),
                    dispatcher.clone(),
                    shared.clone(),
                    child.clone(),
                    rest.clone(),
                ))),
                child,
                rest,
            })
        })
        .restart(Restart::Transient)
        .backoff(policy.restart)
        .intensity(policy.connectors.intensity)
        .exhausted(Exhausted::Escalate)
        .shutdown(budget)
    }
}

// === impl ServoSpec ===

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
    /// The session ends by itself, after GOODBYE.
    fn stop(&mut self, _: &mut Self::Context) {
        self.rest.cancel();
    }
}
