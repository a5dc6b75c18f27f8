//! Which handlers a connector has.

use std::{any::Any, future::Future, marker::PhantomData, rc::Rc, sync::Arc};

use serde_json::Value;
use servo_messages::EventError;

use crate::{
    bus::{Seat, Table},
    connector::{After, Before, BeforeError, Connector, On},
    context::HandlerContext,
    declared::{EventDeclaration, EventRefused},
    dynamic::{self, DynamicCall, DynamicEvent},
    event::{Event, EventName, Stage, interned},
    handler::{Call, CallFuture, Failure, Handler, Key},
    lifecycle::CatchUp,
    options::EventResult,
};

type Bind = Box<dyn FnOnce(&mut Table, &Arc<Seat>) -> Result<(), EventRefused> + Send>;

/// Collects the handlers of a connector: the argument of [`Connector::routes`].
pub struct Routes<C: Connector> {
    pub(crate) binds: Vec<Bind>,
    /// Events and stages of the handlers, in the order of registration.
    pub(crate) declared: Vec<(Arc<str>, Stage)>,
    /// What a connector that starts late catches up on.
    pub(crate) catch_up: Vec<CatchUp<C>>,
    connector: PhantomData<fn(C)>,
}

// === impl Routes ===

impl<C: Connector> Routes<C> {
    /// The handlers that `C` declares for `config`.
    pub fn of(config: &C::Config) -> Self {
        let mut routes = Self {
            binds: Vec::new(),
            declared: Vec::new(),
            catch_up: Vec::new(),
            connector: PhantomData,
        };
        C::routes(config, &mut routes);
        routes
    }

    /// `C` handles `E` by its [`On`] implementation.
    pub fn on<E: Event>(&mut self) -> &mut Self
    where
        C: On<E>,
    {
        let handler = |connector: Rc<C>, event: Arc<E>, cx: HandlerContext| async move {
            connector.on(&event, &cx).await.map(Some)
        };
        self.catch_up.extend(CatchUp::of::<E, _, _>(&handler));
        self.bind::<E>(Handler::On(Call::Plain(|host, event, cx| {
            played(host, |connector: Rc<C>| async move {
                connector.on(&event, &cx).await.map(Some)
            })
        })))
    }

    /// `C` takes part before `E` by its [`Before`] implementation.
    pub fn before<E: Event>(&mut self) -> &mut Self
    where
        C: Before<E>,
    {
        self.bind::<E>(Handler::Before(Call::Plain(|host, event, cx| {
            played(host, |connector: Rc<C>| async move {
                connector.before(&event, &cx).await
            })
        })))
    }

    /// `C` takes part after `E` by its [`After`] implementation.
    pub fn after<E: Event>(&mut self) -> &mut Self
    where
        C: After<E>,
    {
        self.bind::<E>(Handler::After(Call::Plain(|host, results, cx| {
            played(host, |connector: Rc<C>| async move {
                connector.after(&results, &cx).await
            })
        })))
    }

    /// A further handler of `E`, given as a function; `None` contributes no result. Handlers of
    /// one connector run one after the other in the order of registration.
    pub fn on_with<E, F, Fut>(&mut self, handler: F) -> &mut Self
    where
        E: Event,
        F: Fn(Rc<C>, Arc<E>, HandlerContext) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<E::Output>, EventError>> + 'static,
    {
        self.catch_up.extend(CatchUp::of::<E, F, Fut>(&handler));
        self.bind::<E>(Handler::On(Call::of(move |host, event, cx| {
            played(host, |connector| handler(connector, event, cx))
        })))
    }

    /// A further `before` handler of `E`, given as a function.
    pub fn before_with<E, F, Fut>(&mut self, handler: F) -> &mut Self
    where
        E: Event,
        F: Fn(Rc<C>, Arc<E>, HandlerContext) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BeforeError>> + 'static,
    {
        self.bind::<E>(Handler::Before(Call::of(move |host, event, cx| {
            played(host, |connector| handler(connector, event, cx))
        })))
    }

    /// A further `after` handler of `E`, given as a function.
    pub fn after_with<E, F, Fut>(&mut self, handler: F) -> &mut Self
    where
        E: Event,
        F: Fn(Rc<C>, Arc<Vec<EventResult<E::Output>>>, HandlerContext) -> Fut
            + Clone
            + Send
            + Sync
            + 'static,
        Fut: Future<Output = Result<(), EventError>> + 'static,
    {
        self.bind::<E>(Handler::After(Call::of(move |host, results, cx| {
            played(host, |connector| handler(connector, results, cx))
        })))
    }

    /// A handler of the event that bears `name`, whatever its type: one known only at run time,
    /// or a typed one that is bridged ([`Bus::bridge`](crate::Bus::bridge)). It is given the event's arguments as
    /// JSON; in the stage `on`, `None` contributes no result. A veto counts in `before` only.
    pub fn dynamic<F, Fut>(&mut self, name: EventName, stage: Stage, handler: F) -> &mut Self
    where
        F: Fn(Rc<C>, Arc<DynamicEvent>, HandlerContext) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<Value>, BeforeError>> + 'static,
    {
        self.declared.push((name.as_str().into(), stage));
        let call: DynamicCall = Call::of(move |host, event, cx| {
            played(host, |connector| handler(connector, event, cx))
        });
        self.binds.push(Box::new(move |table, seat| {
            let name: Arc<str> = name.as_str().into();
            match table.bridge(&name) {
                Some(bridge) => bridge.bind(table, seat, stage, call),
                None => dynamic::bind_untyped(table, seat, name, stage, call),
            }
        }));
        self
    }

    /// Declares an event that is known by its name, with what it takes and gives. Connectors of one
    /// type declare the same events; a name that belongs to another event keeps the connector from
    /// starting.
    ///
    /// An event that a connector merely handles ([`Routes::dynamic`], in the stage `on`) needs no
    /// declaration, and takes whatever it is given.
    pub fn declare(&mut self, declaration: EventDeclaration) -> &mut Self {
        let declaration = Arc::new(declaration);
        self.binds.push(Box::new(move |table, seat| {
            table.declare(declaration, Some((C::METADATA.type_name, &seat.connector)))
        }));
        self
    }

    fn bind<E: Event>(&mut self, handler: Handler<E>) -> &mut Self {
        let name = interned(E::NAME);
        self.declared.push((name.clone(), handler.stage()));
        self.binds.push(Box::new(move |table, seat| {
            table.push(Key::of::<E>(), &name, seat, handler)
        }));
        self
    }
}

/// Has the connector that is behind `host` play a handler.
fn played<C, T, Fut, Error>(host: Rc<dyn Any>, handler: impl FnOnce(Rc<C>) -> Fut) -> CallFuture<T>
where
    C: Connector,
    Fut: Future<Output = Result<T, Error>> + 'static,
    Failure: From<Error>,
{
    match host.downcast::<C>() {
        Ok(connector) => {
            let handler = handler(connector);
            Box::pin(async move { handler.await.map_err(Failure::from) })
        }
        // Handlers and actor join the bus together, so this is none of a connector's doing.
        Err(_) => Box::pin(async {
            let message = "the handler belongs to a connector of another type";
            Err(Failure::Error(EventError::failed(message)))
        }),
    }
}
