//! The actor that a connector lives in.

use std::{rc::Rc, sync::Arc};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message,
    ResponseActFuture, WrapFuture,
};
use futures_util::future::LocalBoxFuture;
use servo_messages::EventError;
use servo_supervision::{ChildContext, Supervised};
use thiserror::Error;
use tracing::Instrument;

use crate::{
    connector::Connector,
    context::{CallContext, CallShared, Chain, HandlerContext, now},
    dispatcher::DispatcherRef,
    event::Stage,
    lifecycle::CatchUp,
    options::DispatchOptions,
    routes::Failure,
};

/// Runs the handlers of one connector.
///
/// Handlers run concurrently inside the actor's own context, so that a panic in one is the end of
/// the actor: its supervisor learns the cause and builds a new connector, and whoever waits for an
/// answer gets an error at once.
pub struct ConnectorActor<C: Connector> {
    connector: Rc<C>,
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

type HandlerFuture<T> = LocalBoxFuture<'static, T>;

/// One call of one handler.
pub(crate) struct Work<C, T> {
    pub(crate) cx: CallContext,
    pub(crate) run: Box<dyn FnOnce(Rc<C>, HandlerContext) -> HandlerFuture<T> + Send>,
}

/// A connector that started late could not catch up with its servo.
#[derive(Debug, Error)]
#[error("{event} failed after a restart: {error}")]
struct CannotCatchUp {
    event: &'static str,
    error: EventError,
}

impl<C, T: 'static> Message for Work<C, T> {
    type Result = T;
}

impl<C: Connector> ConnectorActor<C> {
    pub(crate) fn new(connector: C, child: ChildContext, seat: Arc<Residence<C>>) -> Self {
        Self {
            connector: Rc::new(connector),
            child,
            seat,
        }
    }
}

/// Runs one handler, as a turn of its connector's actor.
fn run<C, T, R>(
    connector: Rc<C>,
    child: &ChildContext,
    cx: CallContext,
    run: R,
) -> impl Future<Output = T> + use<C, T, R>
where
    C: Connector,
    T: 'static,
    R: FnOnce(Rc<C>, HandlerContext) -> HandlerFuture<T>,
{
    let turn = Rc::new(child.turn(turn_name(&cx)));
    let span = cx.span();
    let shared = cx.shared.clone();
    let mut handler = run(connector, HandlerContext::new(cx, turn.clone()));
    let guarded = async move {
        tokio::select! {
            biased;
            output = &mut handler => output,
            () = shared.cancel.cancelled() => {
                // Told to stop: from now on it has the grace, however long the event was meant to
                // take. Past that its supervisor replaces it.
                turn.protect(shared.grace);
                handler.await
            }
        }
    };
    guarded.instrument(span)
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
        if !self.seat.has_missed_something() {
            return;
        }
        let (connector, child, seat) = (
            self.connector.clone(),
            self.child.clone(),
            self.seat.clone(),
        );
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
    fn has_missed_something(&self) -> bool {
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
                cancel: child.stopping(),
                progress: None,
                chain: Chain::default(),
                dispatcher: self.dispatcher.clone(),
            };
            let cx = CallContext {
                shared: Arc::new(shared),
                connector: self.name.clone(),
                stage: Stage::On,
            };
            run(connector.clone(), child, cx, |connector, cx| {
                (missed.run)(connector, cx)
            })
            .await
            .map_err(|failure| CannotCatchUp::new(missed.event, failure))?;
        }
        Ok(())
    }
}

impl<C: Connector> Supervised for ConnectorActor<C> {}

impl<C: Connector, T: 'static> Handler<Work<C, T>> for ConnectorActor<C> {
    type Result = ResponseActFuture<Self, T>;

    fn handle(&mut self, work: Work<C, T>, _: &mut Self::Context) -> Self::Result {
        let Work { cx, run } = work;
        Box::pin(self::run(self.connector.clone(), &self.child, cx, run).into_actor(self))
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
