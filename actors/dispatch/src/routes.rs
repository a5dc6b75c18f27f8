//! Which handlers a connector has, and the table of all handlers of a servo.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    future::Future,
    rc::Rc,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use serde_json::Value;
use servo_messages::EventError;
use servo_supervision::{AskError, ChildRef};
use thiserror::Error;

use crate::{
    connector::{After, Before, BeforeError, Connector, On},
    context::{CallContext, HandlerContext, now},
    dynamic::{Bridge, DynamicEvent, JsonEvent},
    event::{Event, EventName, Stage},
    host::{ConnectorActor, Work},
    lifecycle::{CatchUp, Reached},
    options::EventResult,
};

/// How long a dispatch waits for a connector that is being restarted.
const RESTART_PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks whether the connector was given up meanwhile.
const RESTART_LOOK: Duration = Duration::from_millis(100);

/// Why a handler gave no result.
pub(crate) enum Failure {
    Veto(String),
    Error(EventError),
    Ended(AskError),
}

pub(crate) type CallFuture<T> = LocalBoxFuture<'static, Result<T, Failure>>;
pub(crate) type Call<E, T> = Arc<dyn Fn(Arc<E>, CallContext) -> CallFuture<T> + Send + Sync>;
pub(crate) type Results<E> = Arc<[EventResult<<E as Event>::Output>]>;

/// One handler of one connector.
pub(crate) struct Route<C> {
    pub(crate) position: usize,
    pub(crate) connector: Arc<str>,
    pub(crate) call: C,
}

type BeforeRoute<E> = Route<Call<E, ()>>;
/// `None` is a handler that contributes no result.
pub(crate) type OnRoute<E> = Route<Call<E, Option<<E as Event>::Output>>>;
pub(crate) type AfterCall<E> = Arc<dyn Fn(Results<E>, CallContext) -> CallFuture<()> + Send + Sync>;
type AfterRoute<E> = Route<AfterCall<E>>;

/// The handlers of one event, in bus order; those of one connector stand together.
pub(crate) struct Handlers<E: Event> {
    /// The event's name.
    pub(crate) event: Arc<str>,
    pub(crate) before: Vec<BeforeRoute<E>>,
    pub(crate) on: Vec<OnRoute<E>>,
    pub(crate) after: Vec<AfterRoute<E>>,
}

/// What identifies an event in the table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Typed(TypeId),
    Named(Arc<str>),
}

/// A handler as listings show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteInfo {
    /// Whose handler.
    pub connector: Arc<str>,
    /// Which event.
    pub event: Arc<str>,
    /// Which stage.
    pub stage: Stage,
}

/// All handlers of one servo at one moment.
#[derive(Clone, Default)]
pub(crate) struct Table {
    pub(crate) connectors: Vec<Arc<str>>,
    handlers: HashMap<Key, Slot>,
    next_position: usize,
    listing: Vec<RouteInfo>,
    /// Shared among servos that know the same events.
    bridges: Arc<Bridges>,
}

/// The ordered connectors of one servo and their handlers.
///
/// Shared by the servo, which changes it, and its dispatcher, which takes a snapshot for each
/// dispatch: a change applies to the next one. It survives a restart of the dispatcher.
#[derive(Clone, Default)]
pub struct Bus(Arc<Shared>);

#[derive(Default)]
struct Shared {
    table: RwLock<Arc<Table>>,
    reached: Reached,
}

/// Why a connector cannot join the bus.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid name: a connector named '{0}' already exists in the servo")]
pub struct DuplicateConnector(pub Arc<str>);

pub(crate) type Bridges = HashMap<Arc<str>, Arc<dyn Bridge>>;

type Bind<C> = Box<dyn FnOnce(&mut Table, &Seat<C>) + Send>;

/// A connector's place on the bus.
pub(crate) struct Seat<C: Connector> {
    position: usize,
    name: Arc<str>,
    actor: ChildRef<ConnectorActor<C>>,
}

/// Collects the handlers of a connector: the argument of [`Connector::routes`].
pub struct Routes<C: Connector> {
    binds: Vec<Bind<C>>,
    /// Events and stages of the handlers, in the order of registration.
    pub(crate) declared: Vec<(Arc<str>, Stage)>,
    /// What a connector that starts late catches up on.
    pub(crate) catch_up: Vec<CatchUp<C>>,
}

// === impl Routes ===

impl<C: Connector> Routes<C> {
    /// The handlers that `C` declares for `config`.
    pub fn of(config: &C::Config) -> Self {
        let mut routes = Self {
            binds: Vec::new(),
            declared: Vec::new(),
            catch_up: Vec::new(),
        };
        C::routes(config, &mut routes);
        routes
    }

    /// `C` handles `E` by its [`On`] implementation.
    pub fn on<E: Event>(&mut self) -> &mut Self
    where
        C: On<E>,
    {
        self.on_with::<E, _, _>(|connector, event, cx| async move {
            connector.on(&event, &cx).await.map(Some)
        })
    }

    /// `C` takes part before `E` by its [`Before`] implementation.
    pub fn before<E: Event>(&mut self) -> &mut Self
    where
        C: Before<E>,
    {
        self.before_with::<E, _, _>(|connector, event, cx| async move {
            connector.before(&event, &cx).await
        })
    }

    /// `C` takes part after `E` by its [`After`] implementation.
    pub fn after<E: Event>(&mut self) -> &mut Self
    where
        C: After<E>,
    {
        self.after_with::<E, _, _>(|connector, results, cx| async move {
            connector.after(&results, &cx).await
        })
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
        self.declared.push((E::NAME.into(), Stage::On));
        self.binds.push(Box::new(move |table, seat| {
            let actor = seat.actor.clone();
            let call: Call<E, Option<E::Output>> = Arc::new(move |event, cx| {
                let handler = handler.clone();
                call(&actor, cx, move |connector, cx| {
                    Box::pin(
                        async move { handler(connector, event, cx).await.map_err(Failure::Error) },
                    )
                })
            });
            table.push_on::<E>(Key::Typed(TypeId::of::<E>()), E::NAME, seat.route(call));
        }));
        self
    }

    /// A further `before` handler of `E`, given as a function.
    pub fn before_with<E, F, Fut>(&mut self, handler: F) -> &mut Self
    where
        E: Event,
        F: Fn(Rc<C>, Arc<E>, HandlerContext) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), BeforeError>> + 'static,
    {
        self.declared.push((E::NAME.into(), Stage::Before));
        self.binds.push(Box::new(move |table, seat| {
            let actor = seat.actor.clone();
            let call: Call<E, ()> = Arc::new(move |event, cx| {
                let handler = handler.clone();
                call(&actor, cx, move |connector, cx| {
                    Box::pin(
                        async move { handler(connector, event, cx).await.map_err(Failure::from) },
                    )
                })
            });
            table.push_before::<E>(Key::Typed(TypeId::of::<E>()), E::NAME, seat.route(call));
        }));
        self
    }

    /// A further `after` handler of `E`, given as a function.
    pub fn after_with<E, F, Fut>(&mut self, handler: F) -> &mut Self
    where
        E: Event,
        F: Fn(Rc<C>, Results<E>, HandlerContext) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), EventError>> + 'static,
    {
        self.declared.push((E::NAME.into(), Stage::After));
        self.binds.push(Box::new(move |table, seat| {
            let actor = seat.actor.clone();
            let route = Route {
                position: seat.position,
                connector: seat.name.clone(),
                call: Arc::new(move |results: Results<E>, cx: CallContext| {
                    let handler = handler.clone();
                    call(&actor, cx, move |connector: Rc<C>, cx| {
                        Box::pin(async move {
                            handler(connector, results, cx)
                                .await
                                .map_err(Failure::Error)
                        }) as CallFuture<()>
                    })
                })
                    as Arc<dyn Fn(Results<E>, CallContext) -> CallFuture<()> + Send + Sync>,
            };
            table.push_after::<E>(Key::Typed(TypeId::of::<E>()), E::NAME, route);
        }));
        self
    }

    /// A handler of the event that bears `name`, whatever its type: one known only at run time,
    /// or a typed one that is bridged ([`Bus::bridge`]). It is given the event's arguments as
    /// JSON; in the stage `on`, `None` contributes no result. A veto counts in `before` only.
    pub fn dynamic<F, Fut>(&mut self, name: EventName, stage: Stage, handler: F) -> &mut Self
    where
        F: Fn(Rc<C>, Arc<DynamicEvent>, HandlerContext) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<Value>, BeforeError>> + 'static,
    {
        self.declared.push((name.as_str().into(), stage));
        self.binds.push(Box::new(move |table, seat| {
            let actor = seat.actor.clone();
            let call: Call<DynamicEvent, Option<Value>> = Arc::new(move |event, cx| {
                let handler = handler.clone();
                call(&actor, cx, move |connector, cx| {
                    Box::pin(
                        async move { handler(connector, event, cx).await.map_err(Failure::from) },
                    )
                })
            });
            table.push_dynamic(name.as_str().into(), stage, seat.route(call));
        }));
        self
    }
}

/// Asks the connector's actor to run `run`.
fn call<C: Connector, T: Send + 'static>(
    actor: &ChildRef<ConnectorActor<C>>,
    cx: CallContext,
    run: impl FnOnce(Rc<C>, HandlerContext) -> CallFuture<T> + Send + 'static,
) -> CallFuture<T> {
    let actor = actor.clone();
    Box::pin(async move {
        if !actor.is_up() {
            until_up(&actor, &cx).await?;
        }
        // The dispatcher's own deadline and the supervisor's (a stuck connector is replaced when
        // the grace is over) come first; this one only keeps a broken runtime from waiting for
        // ever.
        let patience = cx.shared.patience;
        let work = Work {
            cx,
            run: Box::new(run),
        };
        match actor.ask(work, patience).await {
            Ok(answer) => answer,
            Err(error) => Err(Failure::Ended(error)),
        }
    })
}

/// Waits for a connector that is between two runs: a moment later it can do what it is asked.
async fn until_up<C: Connector>(
    actor: &ChildRef<ConnectorActor<C>>,
    cx: &CallContext,
) -> Result<(), Failure> {
    let give_up = cx.shared.deadline.min(now() + RESTART_PATIENCE);
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
    match cx.shared.cancel.run_until_cancelled(up).await {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(Failure::Ended(error)),
        None => Err(Failure::Error(EventError::cancelled(
            "cancelled before the connector was up",
        ))),
    }
}

// === impl Failure ===

impl From<BeforeError> for Failure {
    fn from(error: BeforeError) -> Self {
        match error {
            BeforeError::Veto(reason) => Failure::Veto(reason),
            BeforeError::Failed(error) => Failure::Error(error),
        }
    }
}

// === impl Seat ===

impl<C: Connector> Seat<C> {
    fn route<F>(&self, call: F) -> Route<F> {
        Route {
            position: self.position,
            connector: self.name.clone(),
            call,
        }
    }
}

// === impl Route ===

impl<C: Clone> Clone for Route<C> {
    fn clone(&self) -> Self {
        Self {
            position: self.position,
            connector: self.connector.clone(),
            call: self.call.clone(),
        }
    }
}

// === impl Handlers ===

impl<E: Event> Clone for Handlers<E> {
    fn clone(&self) -> Self {
        Self {
            event: self.event.clone(),
            before: self.before.clone(),
            on: self.on.clone(),
            after: self.after.clone(),
        }
    }
}

impl<E: Event> Handlers<E> {
    fn new(event: Arc<str>) -> Self {
        Self {
            event,
            before: Vec::new(),
            on: Vec::new(),
            after: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.before.is_empty() && self.on.is_empty() && self.after.is_empty()
    }

    fn without(&self, connector: &str) -> Self {
        fn keep<C: Clone>(routes: &[Route<C>], connector: &str) -> Vec<Route<C>> {
            routes
                .iter()
                .filter(|r| &*r.connector != connector)
                .cloned()
                .collect()
        }
        Self {
            event: self.event.clone(),
            before: keep(&self.before, connector),
            on: keep(&self.on, connector),
            after: keep(&self.after, connector),
        }
    }
}

// === impl Table ===

/// The handlers of one event whose type the table does not know.
#[derive(Clone)]
struct Slot {
    handlers: Arc<dyn Any + Send + Sync>,
    /// Those that are left without a connector; none if it had them all.
    without: fn(&(dyn Any + Send + Sync), &str) -> Option<Arc<dyn Any + Send + Sync>>,
}

impl Slot {
    fn new<E: Event>(handlers: Handlers<E>) -> Self {
        Self {
            handlers: Arc::new(handlers),
            without: |handlers, connector| {
                let handlers = handlers.downcast_ref::<Handlers<E>>()?;
                let rest = handlers.without(connector);
                (!rest.is_empty()).then(|| Arc::new(rest) as _)
            },
        }
    }
}

impl Table {
    pub(crate) fn handlers<E: Event>(&self, key: &Key) -> Option<Arc<Handlers<E>>> {
        let slot = self.handlers.get(key)?;
        slot.handlers.clone().downcast::<Handlers<E>>().ok()
    }

    pub(crate) fn bridge(&self, name: &str) -> Option<Arc<dyn Bridge>> {
        self.bridges.get(name).cloned()
    }

    /// Names of all events that can be dispatched by name.
    pub(crate) fn addressable(&self) -> Vec<Arc<str>> {
        let handled = self.handlers.keys().filter_map(|key| match key {
            Key::Named(name) => Some(name),
            Key::Typed(_) => None,
        });
        self.bridges.keys().chain(handled).cloned().collect()
    }

    fn change<E: Event>(
        &mut self,
        key: Key,
        info: RouteInfo,
        change: impl FnOnce(&mut Handlers<E>),
    ) {
        let mut handlers = match self.handlers::<E>(&key) {
            Some(present) => (*present).clone(),
            None => Handlers::new(info.event.clone()),
        };
        change(&mut handlers);
        let info = RouteInfo {
            event: handlers.event.clone(),
            ..info
        };
        self.handlers.insert(key, Slot::new(handlers));
        self.listing.push(info);
    }

    pub(crate) fn push_before<E: Event>(&mut self, key: Key, name: &str, route: BeforeRoute<E>) {
        let info = RouteInfo::new(&route, name, Stage::Before);
        self.change::<E>(key, info, |h| h.before.push(route));
    }

    pub(crate) fn push_on<E: Event>(&mut self, key: Key, name: &str, route: OnRoute<E>) {
        let info = RouteInfo::new(&route, name, Stage::On);
        self.change::<E>(key, info, |h| h.on.push(route));
    }

    pub(crate) fn push_after<E: Event>(&mut self, key: Key, name: &str, route: AfterRoute<E>) {
        let info = RouteInfo::new(&route, name, Stage::After);
        self.change::<E>(key, info, |h| h.after.push(route));
    }

    fn push_dynamic(
        &mut self,
        name: Arc<str>,
        stage: Stage,
        route: Route<Call<DynamicEvent, Option<Value>>>,
    ) {
        match self.bridge(&name) {
            Some(bridge) => bridge.bind(self, stage, route),
            None => crate::dynamic::bind_untyped(self, name, stage, route),
        }
    }
}

impl RouteInfo {
    fn new<C>(route: &Route<C>, event: &str, stage: Stage) -> Self {
        Self {
            connector: route.connector.clone(),
            event: event.into(),
            stage,
        }
    }
}

// === impl Bus ===

impl Bus {
    pub(crate) fn snapshot(&self) -> Arc<Table> {
        self.0
            .table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn update<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let mut guard = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut guard))
    }

    /// What the servo's connectors have been through, and one that starts late has to catch up on.
    pub(crate) fn reached(&self) -> &Reached {
        &self.0.reached
    }

    /// A bus that knows every standard event by its name.
    pub fn with_standard_events() -> Self {
        static STANDARD: OnceLock<Arc<Bridges>> = OnceLock::new();
        let bus = Self::default();
        let bridges = STANDARD.get_or_init(|| Arc::new(crate::standard::bridges()));
        bus.update(|table| table.bridges = bridges.clone());
        bus
    }

    /// Makes a typed event addressable by its name: its arguments and results become JSON.
    /// Bridge an event before connectors join, so that their dynamic handlers find it.
    pub fn bridge<E: JsonEvent>(&self) {
        let bridge = crate::dynamic::typed_bridge::<E>();
        self.update(|table| Arc::make_mut(&mut table.bridges).insert(E::NAME.into(), bridge));
    }

    /// Adds a connector, last in order, with the handlers that its type declares.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn join<C: Connector>(
        &self,
        name: Arc<str>,
        routes: Routes<C>,
        actor: ChildRef<ConnectorActor<C>>,
    ) -> Result<(), DuplicateConnector> {
        self.update(|table| {
            if table.connectors.contains(&name) {
                return Err(DuplicateConnector(name));
            }
            let seat = Seat {
                position: table.next_position,
                name: name.clone(),
                actor,
            };
            table.next_position = seat.position + 1;
            table.connectors.push(name);
            for bind in routes.binds {
                bind(table, &seat);
            }
            Ok(())
        })
    }

    /// Removes a connector and its handlers; dispatches that are under way keep theirs.
    /// Says whether it was there.
    pub fn leave(&self, name: &str) -> bool {
        self.update(|table| {
            let before = table.connectors.len();
            table.connectors.retain(|c| &**c != name);
            if table.connectors.len() == before {
                return false;
            }
            table.handlers.retain(|_, slot| {
                let rest = (slot.without)(&*slot.handlers, name);
                rest.map(|handlers| slot.handlers = handlers).is_some()
            });
            table.listing.retain(|r| &*r.connector != name);
            true
        })
    }

    /// The connectors in order.
    pub fn connectors(&self) -> Vec<Arc<str>> {
        self.snapshot().connectors.clone()
    }

    /// All handlers, in the order of registration.
    pub fn routes(&self) -> Vec<RouteInfo> {
        self.snapshot().listing.clone()
    }
}
