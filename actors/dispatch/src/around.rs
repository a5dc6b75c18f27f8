//! Code of an event's own around each of its `on` handlers (`spec/events-and-checks.md` §2.2).

use std::{any::Any, future::Future, rc::Rc, sync::Arc};

use servo_messages::EventError;

use crate::{
    context::HandlerContext,
    event::Event,
    handler::{CallFuture, Failure, OnCall},
};

/// An event that sets something up ahead of each of its `on` handlers, and tears it down behind it.
/// Its [`Event::AROUND`] is [`Around::EACH_HANDLER`]. `before` and `after` handlers are not
/// surrounded.
///
/// ```
/// # use servo_dispatch::*;
/// # use servo_messages::EventError;
/// /// Asks the connectors what they see while `url` is traced.
/// #[derive(Debug)]
/// struct Trace {
///     url: String,
/// }
///
/// impl Event for Trace {
///     type Output = String;
///     const NAME: &'static str = "trace";
///     const CATEGORY: Category = Category::Custom;
///     const AROUND: Option<Around<Self>> = Some(Around::EACH_HANDLER);
/// }
///
/// impl Surrounded for Trace {
///     type Setting = std::time::Instant;
///
///     async fn set_up(&self, cx: &HandlerContext) -> Result<Self::Setting, EventError> {
///         tracing::info!("{} begins to trace {}", cx.connector(), self.url);
///         Ok(std::time::Instant::now())
///     }
///
///     async fn tear_down(&self, began: Self::Setting, cx: &HandlerContext) -> Result<(), EventError> {
///         tracing::info!("{} has traced for {:?}", cx.connector(), began.elapsed());
///         Ok(())
///     }
/// }
/// ```
pub trait Surrounded: Event {
    /// What was set up. It is dropped, and not torn down, when the handler panics or is given up
    /// for not stopping when it was told to: what must be undone even then belongs into its `Drop`.
    type Setting: 'static;

    /// Runs ahead of a handler.
    ///
    /// # Errors
    /// Count as the handler's own; it is not run, and nothing is torn down.
    fn set_up(
        &self,
        cx: &HandlerContext,
    ) -> impl Future<Output = Result<Self::Setting, EventError>>;

    /// Runs behind a handler, also when that failed or stopped because it was told to.
    ///
    /// # Errors
    /// Count as the handler's own if that had none; otherwise they are logged.
    fn tear_down(
        &self,
        setting: Self::Setting,
        cx: &HandlerContext,
    ) -> impl Future<Output = Result<(), EventError>>;
}

/// How the handlers of a [`Surrounded`] event are run.
pub struct Around<E: Event>(Surround<E>);

type Surround<E> =
    fn(OnCall<E>, Rc<dyn Any>, Arc<E>, HandlerContext) -> CallFuture<Option<<E as Event>::Output>>;

impl<E: Surrounded> Around<E> {
    /// Set-up and tear-down around each handler.
    pub const EACH_HANDLER: Self = Self(surround::<E>);
}

impl<E: Event> Around<E> {
    pub(crate) fn run(
        self,
        handler: OnCall<E>,
        host: Rc<dyn Any>,
        event: Arc<E>,
        cx: HandlerContext,
    ) -> CallFuture<Option<E::Output>> {
        (self.0)(handler, host, event, cx)
    }
}

fn surround<E: Surrounded>(
    handler: OnCall<E>,
    host: Rc<dyn Any>,
    event: Arc<E>,
    cx: HandlerContext,
) -> CallFuture<Option<E::Output>> {
    Box::pin(async move {
        let setting = event.set_up(&cx).await.map_err(Failure::Error)?;
        let outcome = if cx.is_cancelled() {
            Err(Failure::Error(cx.cancelled()))
        } else {
            handler.run(host, event.clone(), cx.same_handler()).await
        };
        match (outcome, event.tear_down(setting, &cx).await) {
            (outcome, Ok(())) => outcome,
            (Ok(_), Err(error)) => Err(Failure::Error(error)),
            (Err(failure), Err(error)) => {
                tracing::error!("after the handler had failed, its tear-down failed, too: {error}");
                Err(failure)
            }
        }
    })
}
