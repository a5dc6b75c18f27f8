//! The actor that a connector lives in.

use std::{
    any::Any,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message,
    ResponseActFuture, WrapFuture,
};
use futures_util::future::LocalBoxFuture;
use servo_messages::EventError;
use servo_supervision::{AskError, ChildContext, ChildRef, Supervised, Turn};
use thiserror::Error;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tracing::{Instrument, instrument::Instrumented};

use crate::{
    connector::Connector,
    context::{CallContext, CallShared, Chain, HandlerContext, now},
    dispatcher::DispatcherRef,
    event::Stage,
    handler::{CallFuture, Failure},
    lifecycle::CatchUp,
    options::DispatchOptions,
    repeating::Tenure,
    stop::Stop,
};

/// Runs the handlers of one connector.
///
/// Handlers run concurrently inside the actor's own context, so that a panic in one is the end of
/// the actor: its supervisor learns the cause and builds a new connector, and whoever waits for an
/// answer gets an error at once.
pub struct ConnectorActor<C: Connector> {
    /// None of one that only starts to end: it was removed while it was down.
    connector: Option<Rc<C>>,
    child: ChildContext,
    seat: Arc<Residence<C>>,
}

/// What all runs of one connector have in common.
pub(crate) struct Residence<C> {
    pub(crate) servo: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) dispatcher: DispatcherRef,
    pub(crate) catch_up: Box<[CatchUp<C>]>,
}

/// A way to a connector, whatever its type.
pub(crate) trait Door: Send + Sync {
    /// Has the connector run `errand`; waits for one that is being restarted.
    fn enter(&self, errand: Arc<dyn Errand>) -> LocalBoxFuture<'static, Result<(), Failure>>;
    /// Ends the connector for good, at once or, when it is down, as soon as it would start again.
    fn dismiss(&self) -> LocalBoxFuture<'static, ()>;
}

/// What a connector is asked to run. Asked for again, it goes on where it was when the connector ended.
pub(crate) trait Errand: Send + Sync {
    fn shared(&self) -> &CallShared;
    fn run(self: Arc<Self>, host: Host) -> LocalBoxFuture<'static, ()>;
}

/// One run of a connector, as handlers are run on it.
pub(crate) struct Host {
    connector: Rc<dyn Any>,
    child: ChildContext,
}

struct Enter(Arc<dyn Errand>);

impl Message for Enter {
    type Result = ();
}

/// Tells a connector that it was removed from its servo.
struct Leave;

impl Message for Leave {
    type Result = ();
}

/// How long a connector that was removed is waited for.
const DISMISSAL: Duration = Duration::from_secs(10);
/// How often it looks whether it is gone.
const DISMISSAL_LOOK: Duration = Duration::from_millis(5);
/// How long a dispatch waits for a connector that is being restarted.
const RESTART_PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks whether the connector was given up meanwhile.
const RESTART_LOOK: Duration = Duration::from_millis(100);

/// A connector that started late could not catch up with its servo.
#[derive(Debug, Error)]
#[error("{event} failed after a restart: {error}")]
struct CannotCatchUp {
    event: &'static str,
    error: EventError,
}

impl<C: Connector> ConnectorActor<C> {
    pub(crate) fn new(connector: Option<C>, child: ChildContext, seat: Arc<Residence<C>>) -> Self {
        Self {
            connector: connector.map(Rc::new),
            child,
            seat,
        }
    }
}

impl Host {
    /// Runs one handler, as a turn of its connector's actor.
    pub(crate) fn run<T>(
        &self,
        cx: CallContext,
        start: impl FnOnce(Rc<dyn Any>, HandlerContext) -> CallFuture<T>,
    ) -> Instrumented<Guarded<T>> {
        let turn = Rc::new(self.child.turn(turn_name(&cx)));
        let span = cx.span();
        let shared = cx.shared.clone();
        let handler = {
            let _within = span.enter();
            start(
                self.connector.clone(),
                HandlerContext::new(cx, turn.clone()),
            )
        };
        Guarded {
            handler,
            turn,
            shared,
            warning: Warning::Unknown,
        }
        .instrument(span)
    }
}

/// A handler at work.
pub(crate) struct Guarded<T> {
    handler: CallFuture<T>,
    turn: Rc<Turn>,
    shared: Arc<CallShared>,
    warning: Warning,
}

/// Whether a handler was told to stop.
enum Warning {
    /// It has not been waited for yet: most handlers never are.
    Unknown,
    Awaited(Pin<Box<WaitForCancellationFutureOwned>>),
    Given,
}

impl<T> Future for Guarded<T> {
    type Output = Result<T, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(output) = this.handler.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        if let Warning::Unknown = this.warning {
            let fires = this.shared.stop.token().clone().cancelled_owned();
            this.warning = Warning::Awaited(Box::pin(fires));
        }
        if let Warning::Awaited(fires) = &mut this.warning
            && fires.as_mut().poll(cx).is_ready()
        {
            // Told to stop: from now on it has the grace, however long the event was meant to
            // take. Past that its supervisor replaces it.
            this.turn.protect(this.shared.grace);
            this.warning = Warning::Given;
            // The handler may have had its last chance to hear of it.
            return this.handler.as_mut().poll(cx);
        }
        Poll::Pending
    }
}

fn turn_name(cx: &CallContext) -> String {
    let (stage, event) = (cx.stage.as_str(), &cx.shared.event);
    let mut name = String::with_capacity(stage.len() + 1 + event.len());
    name.push_str(stage);
    name.push(':');
    name.push_str(event);
    name
}

impl<C: Connector> Actor for ConnectorActor<C> {
    type Context = Context<Self>;

    /// One that starts when its servo is up already (it was restarted, or it joined late) goes
    /// through `attach` and `startup` first; what it is asked meanwhile waits.
    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(connector) = self.connector.clone() else {
            ctx.stop();
            return;
        };
        if !self.seat.has_missed_something() {
            self.seat.dispatcher.settle_telemetry(&self.seat.name);
            return;
        }
        let (child, seat) = (self.child.clone(), self.seat.clone());
        let catching_up = async move { seat.catch_up(connector, &child).await };
        ctx.wait(catching_up.into_actor(self).map(|done, this, ctx| {
            if let Err(error) = done {
                this.child.fail(error);
                ctx.stop();
            }
        }));
    }
}

impl<C: Connector> Residence<C> {
    pub(crate) fn tenure(&self) -> Tenure {
        let homes = self.dispatcher.homes();
        homes.tenure(&self.name).unwrap_or(Tenure::Leaving)
    }

    fn has_missed_something(&self) -> bool {
        // Whoever adds a newcomer brings it up.
        if self.tenure() != Tenure::Settled {
            return false;
        }
        let reached = self.dispatcher.bus().reached();
        self.catch_up.iter().any(|c| reached.has_passed(c))
    }

    async fn catch_up(&self, connector: Rc<C>, child: &ChildContext) -> Result<(), CannotCatchUp> {
        let reached = self.dispatcher.bus().reached();
        for missed in self.catch_up.iter().filter(|c| reached.has_passed(c)) {
            let shared = CallShared {
                servo: self.servo.clone(),
                event: missed.event.into(),
                command_uid: None,
                deadline: now() + DispatchOptions::DEFAULT_TIMEOUT,
                grace: DispatchOptions::DEFAULT_GRACE,
                patience: DispatchOptions::DEFAULT_TIMEOUT,
                stop: Stop::new(child.stopping()),
                progress: None,
                progress_interval: None,
                chain: Chain::default(),
                dispatcher: self.dispatcher.clone(),
            };
            let cx = CallContext {
                shared: Arc::new(shared),
                connector: self.name.clone(),
                stage: Stage::On,
            };
            let host = Host {
                connector: connector.clone(),
                child: child.clone(),
            };
            host.run(cx, |_, cx| (missed.run)(connector.clone(), cx))
                .await
                .map_err(|failure| CannotCatchUp::new(missed.event, failure))?;
        }
        self.dispatcher.settle_telemetry(&self.name);
        Ok(())
    }
}

impl<C: Connector> Supervised for ConnectorActor<C> {}

/// Whatever ended it, what it told the optimizer goes with it.
impl<C: Connector> Drop for ConnectorActor<C> {
    fn drop(&mut self) {
        self.seat.dispatcher.void_telemetry(&self.seat.name);
    }
}

impl<C: Connector> Handler<Enter> for ConnectorActor<C> {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Enter(errand): Enter, _: &mut Self::Context) -> Self::Result {
        let Some(connector) = &self.connector else {
            return Box::pin(std::future::ready(()).into_actor(self));
        };
        let host = Host {
            connector: connector.clone(),
            child: self.child.clone(),
        };
        Box::pin(errand.run(host).into_actor(self))
    }
}

impl<C: Connector> Handler<Leave> for ConnectorActor<C> {
    type Result = ();

    fn handle(&mut self, _: Leave, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl<C: Connector> Door for ChildRef<ConnectorActor<C>> {
    fn dismiss(&self) -> LocalBoxFuture<'static, ()> {
        let actor = self.clone();
        Box::pin(async move {
            if actor.try_tell(Leave).is_err() {
                return;
            }
            let gone = async {
                while actor.is_up() {
                    tokio::time::sleep(DISMISSAL_LOOK).await;
                }
            };
            let _ = tokio::time::timeout(DISMISSAL, gone).await;
        })
    }

    fn enter(&self, errand: Arc<dyn Errand>) -> LocalBoxFuture<'static, Result<(), Failure>> {
        let actor = self.clone();
        Box::pin(async move {
            let shared = errand.shared();
            loop {
                // The dispatcher's own deadline and the supervisor's (a stuck connector is replaced
                // when the grace is over) come first; this one only keeps a broken runtime from
                // waiting for ever.
                match actor.ask(Enter(errand.clone()), shared.patience).await {
                    Err(AskError::Restarting { .. }) => until_up(&actor, shared).await?,
                    done => return done.map_err(Failure::Ended),
                }
            }
        })
    }
}

/// Waits for a connector that is between two runs: a moment later it can do what it is asked.
async fn until_up<C: Connector>(
    actor: &ChildRef<ConnectorActor<C>>,
    shared: &CallShared,
) -> Result<(), Failure> {
    let give_up = shared.deadline.min(now() + RESTART_PATIENCE);
    let up = async {
        // The first look tells at once of one that was given up.
        let mut look = Duration::ZERO;
        loop {
            let left = give_up.saturating_duration_since(now());
            match actor.wait_until_up(left.min(look)).await {
                Err(AskError::Restarting { .. }) if left > look => look = RESTART_LOOK,
                done => return done,
            }
        }
    };
    match shared.stop.token().run_until_cancelled(up).await {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(Failure::Ended(error)),
        None => Err(Failure::Error(EventError::cancelled(
            "cancelled before the connector was up",
        ))),
    }
}

impl CannotCatchUp {
    fn new(event: &'static str, failure: Failure) -> Self {
        let error = match failure {
            Failure::Error(error) => error,
            Failure::Veto(reason) => EventError::failed(reason),
            Failure::Ended(error) => EventError::failed(error.to_string()),
        };
        Self { event, error }
    }
}
