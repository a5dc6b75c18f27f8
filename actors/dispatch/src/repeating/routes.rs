//! What a connector type declares to do beside handling events.

use std::{any::Any, future::Future, rc::Rc};

use servo_messages::EventError;

use super::{
    looping::{Every, played},
    tasks::StartError,
};
use crate::{
    connector::Connector,
    context::HandlerContext,
    exchange::{ChannelName, Delivery, Message, Selector, SubscribeOptions},
    handler::{CallFuture, Failure},
    routes::Routes,
    standard::Startup,
};

impl<C: Connector> Routes<C> {
    /// From `startup` to `shutdown`, runs `task` at once and then again and again; otherwise as
    /// [`Tasks::every`](crate::Tasks::every).
    ///
    /// ```
    /// # use servo_dispatch::*;
    /// # use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};
    /// # #[derive(Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
    /// # struct ProbeConfig {}
    /// struct Probe {
    ///     seen: Cell<u64>,
    /// }
    ///
    /// impl Connector for Probe {
    /// #     type Config = ProbeConfig;
    /// #     const METADATA: Metadata = Metadata::new("probe", "Probe", "0.1.0");
    /// #     fn build(_: Arc<ProbeConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
    /// #         Ok(Probe { seen: Cell::new(0) })
    /// #     }
    ///     // type Config = …, fn build …
    ///     fn routes(_: &ProbeConfig, routes: &mut Routes<Self>) {
    ///         routes
    ///             .every("count", Duration::from_secs(1), |probe, _| async move {
    ///                 probe.seen.set(probe.seen.get() + 1);
    ///                 Ok(())
    ///             })
    ///             .publish_every(
    ///                 "tell",
    ///                 ["probe.seen".parse().expect("a name")],
    ///                 Every::new(Duration::from_secs(10)).fixed_rate(),
    ///                 |probe, _| async move {
    ///                     Ok(Some(Message::text_of(probe.seen.get().to_string())))
    ///                 },
    ///             );
    ///     }
    /// }
    /// ```
    pub fn every<F, Fut>(
        &mut self,
        name: &'static str,
        every: impl Into<Every>,
        task: F,
    ) -> &mut Self
    where
        F: Fn(Rc<C>, HandlerContext) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), EventError>> + 'static,
    {
        let every = every.into();
        self.at_startup(move |cx| {
            let task = task.clone();
            let run = move |host: Rc<dyn Any>, cx| with(host, |c| played(task(c, cx)));
            cx.tasks().repeat(name, every, Box::new(run)).map(drop)
        })
    }

    /// From `startup` to `shutdown`, publishes what `make` makes to `channels`, at once and then
    /// again and again; otherwise as [`Tasks::publish_every`](crate::Tasks::publish_every).
    pub fn publish_every<F, Fut>(
        &mut self,
        name: &'static str,
        channels: impl IntoIterator<Item = ChannelName>,
        every: impl Into<Every>,
        make: F,
    ) -> &mut Self
    where
        F: Fn(Rc<C>, HandlerContext) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<Message>, EventError>> + 'static,
    {
        let every = every.into();
        let channels: Vec<_> = channels.into_iter().collect();
        self.at_startup(move |cx| {
            let make = make.clone();
            let make = move |host: Rc<dyn Any>, cx| {
                with(host, |c| {
                    let made = make(c, cx);
                    Box::pin(async move { made.await.map_err(Failure::Error) })
                })
            };
            let tasks = cx.tasks();
            let begun = tasks.publish_repeatedly(name, channels.clone(), every, make);
            begun.map(drop)
        })
    }

    /// From `startup` to `detach`, calls `handle` for each message of the selected channels;
    /// otherwise as [`Tasks::subscribe`](crate::Tasks::subscribe). `options` is asked at each start.
    pub fn subscribe<F, Fut>(
        &mut self,
        name: &'static str,
        selector: Selector,
        options: impl Fn() -> SubscribeOptions + Clone + Send + Sync + 'static,
        handle: F,
    ) -> &mut Self
    where
        F: Fn(Rc<C>, Delivery, HandlerContext) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), EventError>> + 'static,
    {
        self.at_startup(move |cx| {
            let handle = handle.clone();
            let call = move |host: Rc<dyn Any>, delivery, cx| {
                with(host, |c| played(handle(c, delivery, cx)))
            };
            let tasks = cx.tasks();
            let begun = tasks.listen(name, selector.clone(), options(), call);
            begun.map(drop)
        })
    }

    fn at_startup(
        &mut self,
        begin: impl Fn(&HandlerContext) -> Result<(), StartError> + Clone + Send + Sync + 'static,
    ) -> &mut Self {
        self.on_with::<Startup, _, _>(move |_, _, cx| {
            let begun = begin(&cx).map_err(|error| EventError::failed(error.to_string()));
            async move { begun.map(|()| None) }
        })
    }
}

/// Has the connector that is behind `host` do something.
fn with<C: Connector, T: 'static>(
    host: Rc<dyn Any>,
    act: impl FnOnce(Rc<C>) -> CallFuture<T>,
) -> CallFuture<T> {
    match host.downcast::<C>() {
        Ok(connector) => act(connector),
        Err(_) => Box::pin(async {
            let message = "the task belongs to a connector of another type";
            Err(Failure::Error(EventError::failed(message)))
        }),
    }
}
