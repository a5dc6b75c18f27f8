//! The connectors of a servo in order, and the table of all their handlers.

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use servo_supervision::ChildRef;
use thiserror::Error;

use crate::{
    connector::Connector,
    dynamic::{Bridge, JsonEvent},
    event::{Event, Stage},
    handler::{Handler, Key},
    host::{ConnectorActor, Door},
    lifecycle::Reached,
    options::Stages,
    routes::Routes,
};

/// All that one connector does about an event.
pub(crate) struct Part<E: Event> {
    pub(crate) seat: Seat,
    /// Those in which it has a handler.
    pub(crate) stages: Stages,
    /// Of all stages, in the order of registration.
    pub(crate) handlers: Box<[Handler<E>]>,
}

/// The handlers of one event, by connector in bus order.
pub(crate) struct Handlers<E: Event> {
    /// The event's name.
    pub(crate) event: Arc<str>,
    pub(crate) parts: Vec<Arc<Part<E>>>,
}

/// A connector's place on the bus.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) connector: Arc<str>,
    pub(crate) door: Arc<dyn Door>,
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
    /// Ordered by key. There are few events, and many servos: this is smaller than a hash map, and found as fast.
    handlers: Vec<(Key, Slot)>,
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

// === impl Part ===

impl<E: Event> Part<E> {
    fn of(seat: &Seat, handlers: Vec<Handler<E>>) -> Arc<Self> {
        let stages = handlers.iter().fold(Stages::NONE, |mut stages, handler| {
            stages.add(handler.stage());
            stages
        });
        Arc::new(Self {
            seat: seat.clone(),
            stages,
            handlers: handlers.into(),
        })
    }
}

// === impl Handlers ===

impl<E: Event> Handlers<E> {
    fn add(&mut self, seat: &Seat, handler: Handler<E>) {
        // A connector registers all its handlers at once, as the last on the bus.
        let own = self
            .parts
            .pop_if(|last| last.seat.connector == seat.connector);
        let mut handlers = own.map_or_else(Vec::new, |part| part.handlers.to_vec());
        handlers.push(handler);
        self.parts.push(Part::of(seat, handlers));
    }
}

impl<E: Event> Clone for Handlers<E> {
    fn clone(&self) -> Self {
        Self {
            event: self.event.clone(),
            parts: self.parts.clone(),
        }
    }
}

// === impl Slot ===

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
                let mut rest = handlers.downcast_ref::<Handlers<E>>()?.clone();
                rest.parts.retain(|part| &*part.seat.connector != connector);
                (!rest.parts.is_empty()).then(|| Arc::new(rest) as _)
            },
        }
    }
}

// === impl Table ===

impl Table {
    fn place(&self, key: &Key) -> Result<usize, usize> {
        self.handlers.binary_search_by(|(k, _)| k.cmp(key))
    }

    pub(crate) fn handlers<E: Event>(&self, key: &Key) -> Option<Arc<Handlers<E>>> {
        let (_, slot) = self.handlers.get(self.place(key).ok()?)?;
        slot.handlers.clone().downcast::<Handlers<E>>().ok()
    }

    pub(crate) fn bridge(&self, name: &str) -> Option<Arc<dyn Bridge>> {
        self.bridges.get(name).cloned()
    }

    /// Names of all events that can be dispatched by name.
    pub(crate) fn addressable(&self) -> Vec<Arc<str>> {
        let handled = self.handlers.iter().filter_map(|(key, _)| match key {
            Key::Named(name) => Some(name),
            Key::Typed(_) => None,
        });
        self.bridges.keys().chain(handled).cloned().collect()
    }

    /// Adds a handler of the event `name` that is found under `key`.
    pub(crate) fn push<E: Event>(
        &mut self,
        key: Key,
        name: &str,
        seat: &Seat,
        handler: Handler<E>,
    ) {
        let mut handlers = match self.handlers::<E>(&key) {
            Some(present) => (*present).clone(),
            None => Handlers {
                event: name.into(),
                parts: Vec::new(),
            },
        };
        self.listing.push(RouteInfo {
            connector: seat.connector.clone(),
            event: handlers.event.clone(),
            stage: handler.stage(),
        });
        handlers.add(seat, handler);
        let slot = Slot::new(handlers);
        match self.place(&key) {
            Ok(at) => {
                if let Some((_, present)) = self.handlers.get_mut(at) {
                    *present = slot;
                }
            }
            Err(at) => self.handlers.insert(at, (key, slot)),
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
            table.connectors.push(name.clone());
            let seat = Seat {
                connector: name,
                door: Arc::new(actor),
            };
            for bind in routes.binds {
                bind(table, &seat);
            }
            table.handlers.shrink_to_fit();
            table.listing.shrink_to_fit();
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
            table.handlers.retain_mut(|(_, slot)| {
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
