//! The actor that a connector lives in.

use std::rc::Rc;

use actix::{Actor, Context, Handler, Message, ResponseActFuture, WrapFuture};
use futures_util::future::LocalBoxFuture;
use servo_supervision::{ChildContext, Supervised};
use tracing::Instrument;

use crate::{
    connector::Connector,
    context::{CallContext, HandlerContext},
};

/// Runs the handlers of one connector.
///
/// Handlers run concurrently inside the actor's own context, so that a panic in one is the end of
/// the actor: its supervisor learns the cause and builds a new connector, and whoever waits for an
/// answer gets an error at once.
pub struct ConnectorActor<C: Connector> {
    connector: Rc<C>,
    child: ChildContext,
}

type HandlerFuture<T> = LocalBoxFuture<'static, T>;

/// One call of one handler.
pub(crate) struct Work<C, T> {
    pub(crate) cx: CallContext,
    pub(crate) run: Box<dyn FnOnce(Rc<C>, HandlerContext) -> HandlerFuture<T> + Send>,
}

impl<C, T: 'static> Message for Work<C, T> {
    type Result = T;
}

impl<C: Connector> ConnectorActor<C> {
    pub(crate) fn new(connector: C, child: ChildContext) -> Self {
        Self {
            connector: Rc::new(connector),
            child,
        }
    }
}

impl<C: Connector> Actor for ConnectorActor<C> {
    type Context = Context<Self>;
}

impl<C: Connector> Supervised for ConnectorActor<C> {}

impl<C: Connector, T: 'static> Handler<Work<C, T>> for ConnectorActor<C> {
    type Result = ResponseActFuture<Self, T>;

    fn handle(&mut self, work: Work<C, T>, _: &mut Self::Context) -> Self::Result {
        let Work { cx, run } = work;
        let turn = Rc::new(self.child.turn(format!("{}:{}", cx.stage, cx.event)));
        let span = cx.span();
        let cancel = cx.cancel.clone();
        let grace = cx.grace;
        let handler = run(
            self.connector.clone(),
            HandlerContext::new(cx, turn.clone()),
        );
        let guarded = async move {
            tokio::pin!(handler);
            tokio::select! {
                biased;
                output = &mut handler => output,
                () = cancel.cancelled() => {
                    // Told to stop: from now on it has the grace, however long the event was
                    // meant to take. Past that its supervisor replaces it.
                    turn.protect(grace);
                    handler.await
                }
            }
        };
        Box::pin(guarded.instrument(span).into_actor(self))
    }
}
