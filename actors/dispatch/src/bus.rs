//! The connectors of a servo in order, and the table of all their handlers.

use std::{
    any::Any,
    collections::HashMap,
    ops::Deref,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use thiserror::Error;

use crate::{
    connector::Connector,
    declared::{Declared, EventDeclaration, EventRefused},
    dynamic::{Bridge, JsonEvent},
    event::{Event, Stage, interned},
    handler::{Handler, Key},
    host::Door,
    lifecycle::{Milestone, Reached, Standing},
    options::Stages,
    routes::Routes,
};

/// All that one connector does about an event.
pub(crate) struct Part<E: Event> {
    pub(crate) seat: Arc<Seat>,
    /// Those in which it has a handler.
    pub(crate) stages: Stages,
    handlers: Own<E>,
}

/// The handlers of one connector for one event, of all stages, in the order of registration. Most have a single one,
/// and there are as many servos.
enum Own<E: Event> {
    One(Handler<E>),
    Several(Box<[Handler<E>]>),
}

/// The handlers of one event, by connector in bus order.
pub(crate) struct Handlers<E: Event> {
    /// The event's name.
    pub(crate) event: Arc<str>,
    parts: Box<[Part<E>]>,
}

/// One of the parts of an event.
pub(crate) struct PartOf<E: Event> {
    handlers: Arc<Handlers<E>>,
    index: usize,
}

/// A connector's place on the bus.
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
    handlers: Vec<(Key, Arc<dyn OfEvent>)>,
    /// Shared among servos that know the same events.
    bridges: Arc<Bridges>,
    declared: Vec<Declared>,
}

/// The handlers of one event whose type the table does not know.
trait OfEvent: Send + Sync {
    fn typed(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    fn event(&self) -> &Arc<str>;
    /// Those that are left without a connector; none if it had them all.
    fn without(&self, connector: &str) -> Option<Arc<dyn OfEvent>>;
    fn list(&self, into: &mut Vec<RouteInfo>);
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

/// The name of a connector is taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid name: a connector named '{0}' already exists in the servo")]
pub struct DuplicateConnector(pub Arc<str>);

/// Why a connector cannot join the bus.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JoinError {
    /// Its name is taken.
    #[error(transparent)]
    Connector(#[from] DuplicateConnector),
    /// It declares an event, or handles one, that does not go with the others.
    #[error(transparent)]
    Event(#[from] EventRefused),
}

pub(crate) type Bridges = HashMap<Arc<str>, Arc<dyn Bridge>>;

// === impl Own ===

impl<E: Event> Own<E> {
    fn of(mut handlers: Vec<Handler<E>>) -> Self {
        match handlers.pop() {
            Some(only) if handlers.is_empty() => Self::One(only),
            last => {
                handlers.extend(last);
                Self::Several(handlers.into())
            }
        }
    }

    fn all(&self) -> &[Handler<E>] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Several(several) => several,
        }
    }
}

// === impl Part ===

impl<E: Event> Part<E> {
    fn of(seat: &Arc<Seat>, handlers: Vec<Handler<E>>) -> Self {
        let stages = handlers.iter().fold(Stages::NONE, |mut stages, handler| {
            stages.add(handler.stage());
            stages
        });
        Self {
            seat: seat.clone(),
            stages,
            handlers: Own::of(handlers),
        }
    }

    /// Of all stages, in the order of registration.
    pub(crate) fn handlers(&self) -> &[Handler<E>] {
        self.handlers.all()
    }
}

impl<E: Event> Clone for Part<E> {
    fn clone(&self) -> Self {
        Self::of(&self.seat, self.handlers().to_vec())
    }
}

// === impl PartOf ===

impl<E: Event> Deref for PartOf<E> {
    type Target = Part<E>;

    #[expect(
        clippy::indexing_slicing,
        reason = "made from an index of these very parts, which never change"
    )]
    fn deref(&self) -> &Part<E> {
        &self.handlers.parts[self.index]
    }
}

impl<E: Event> Clone for PartOf<E> {
    fn clone(&self) -> Self {
        Self {
            handlers: self.handlers.clone(),
            index: self.index,
        }
    }
}

// === impl Handlers ===

impl<E: Event> Handlers<E> {
    /// What each connector does about the event.
    pub(crate) fn parts(self: &Arc<Self>) -> impl Iterator<Item = PartOf<E>> {
        (0..self.parts.len()).map(|index| PartOf {
            handlers: self.clone(),
            index,
        })
    }

    /// These, and another one.
    fn with(&self, seat: &Arc<Seat>, handler: Handler<E>) -> Self {
        let mut parts = self.parts.to_vec();
        // A connector registers all its handlers at once, as the last on the bus.
        let own = parts.pop_if(|last| last.seat.connector == seat.connector);
        let mut handlers = own.map_or_else(Vec::new, |part| part.handlers().to_vec());
        handlers.push(handler);
        parts.push(Part::of(seat, handlers));
        Self {
            event: self.event.clone(),
            parts: parts.into(),
        }
    }
}

impl<E: Event> OfEvent for Handlers<E> {
    fn typed(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn event(&self) -> &Arc<str> {
        &self.event
    }

    fn without(&self, connector: &str) -> Option<Arc<dyn OfEvent>> {
        let rest = self.parts.iter();
        let rest: Box<[Part<E>]> = rest
            .filter(|part| &*part.seat.connector != connector)
            .cloned()
            .collect();
        (!rest.is_empty()).then(|| {
            let rest = Self {
                event: self.event.clone(),
                parts: rest,
            };
            Arc::new(rest) as Arc<dyn OfEvent>
        })
    }

    fn list(&self, into: &mut Vec<RouteInfo>) {
        for part in &self.parts {
            into.extend(part.handlers().iter().map(|handler| RouteInfo {
                connector: part.seat.connector.clone(),
                event: self.event.clone(),
                stage: handler.stage(),
            }));
        }
    }
}

// === impl Table ===

impl Table {
    fn place(&self, key: &Key) -> Result<usize, usize> {
        self.handlers.binary_search_by(|(k, _)| k.cmp(key))
    }

    pub(crate) fn handlers<E: Event>(&self, key: &Key) -> Option<Arc<Handlers<E>>> {
        let (_, handlers) = self.handlers.get(self.place(key).ok()?)?;
        handlers.clone().typed().downcast::<Handlers<E>>().ok()
    }

    pub(crate) fn bridge(&self, name: &str) -> Option<Arc<dyn Bridge>> {
        self.bridges.get(name).cloned()
    }

    /// The event of that name that was declared at run time.
    pub(crate) fn declared(&self, name: &str) -> Option<&Arc<EventDeclaration>> {
        let mut all = self.declared.iter().map(|declared| &declared.declaration);
        all.find(|declaration| declaration.name().as_str() == name)
    }

    /// Whether an event of that name can be dispatched by it.
    pub(crate) fn knows(&self, name: &Arc<str>) -> bool {
        self.bridges.contains_key(name)
            || self.declared(name).is_some()
            || self.place(&Key::Named(name.clone())).is_ok()
    }

    /// Names of all events that can be dispatched by name.
    pub(crate) fn addressable(&self) -> Vec<Arc<str>> {
        let handled = self.handlers.iter().filter_map(|(key, _)| match key {
            Key::Named(name) => Some(name.clone()),
            Key::Typed(_) => None,
        });
        let declared = self.declared.iter();
        let declared = declared.map(|d| d.declaration.name().as_str().into());
        let mut all: Vec<Arc<str>> = self.bridges.keys().cloned().collect();
        all.extend(handled.chain(declared));
        all
    }

    /// Declares an event, for a connector or for all.
    ///
    /// Connectors of one type declare the same events; that is one event.
    pub(crate) fn declare(
        &mut self,
        declaration: Arc<EventDeclaration>,
        by: Option<(&'static str, &Arc<str>)>,
    ) -> Result<(), EventRefused> {
        let name: Arc<str> = declaration.name().as_str().into();
        let same = self.declared.iter_mut().find(|declared| {
            let (known, module) = (&declared.declaration, declared.module);
            *known == declaration && module.is_some() && module == by.map(|(module, _)| module)
        });
        if let (Some(known), Some((_, connector))) = (same, by)
            && !known.connectors.contains(connector)
        {
            known.connectors.push(connector.clone());
            return Ok(());
        }
        if self.knows(&name) || self.handlers.iter().any(|(_, h)| **h.event() == *name) {
            return Err(EventRefused::Duplicate(name));
        }
        self.declared.push(Declared {
            declaration,
            module: by.map(|(module, _)| module),
            connectors: by
                .map(|(_, connector)| connector.clone())
                .into_iter()
                .collect(),
        });
        Ok(())
    }

    /// Adds a handler of the event `name` that is found under `key`.
    pub(crate) fn push<E: Event>(
        &mut self,
        key: Key,
        name: &Arc<str>,
        seat: &Arc<Seat>,
        handler: Handler<E>,
    ) -> Result<(), EventRefused> {
        let place = self.place(&key);
        if place.is_err() {
            let is_another = match &key {
                Key::Typed(id) => {
                    self.declared(name).is_some()
                        || self.bridge(name).is_some_and(|b| b.event() != *id)
                }
                Key::Named(_) => self.bridges.contains_key(name),
            };
            if is_another || self.handlers.iter().any(|(_, h)| h.event() == name) {
                return Err(EventRefused::Duplicate(name.clone()));
            }
        }
        let present = self.handlers::<E>(&key);
        let none = Handlers {
            event: name.clone(),
            parts: Box::default(),
        };
        let handlers = present.as_deref().unwrap_or(&none).with(seat, handler);
        match place {
            Ok(at) => {
                if let Some((_, present)) = self.handlers.get_mut(at) {
                    *present = Arc::new(handlers);
                }
            }
            Err(at) => self.handlers.insert(at, (key, Arc::new(handlers))),
        }
        Ok(())
    }

    fn remove(&mut self, connector: &str) {
        self.connectors.retain(|c| &**c != connector);
        self.handlers.retain_mut(|(_, handlers)| {
            let rest = handlers.without(connector);
            rest.map(|rest| *handlers = rest).is_some()
        });
        self.declared.retain_mut(|declared| {
            declared.connectors.retain(|c| &**c != connector);
            declared.module.is_none() || !declared.connectors.is_empty()
        });
    }

    /// By connector in bus order, then by event and stage.
    fn listing(&self) -> Vec<RouteInfo> {
        let mut all = Vec::new();
        for (_, handlers) in &self.handlers {
            handlers.list(&mut all);
        }
        all.sort_by_cached_key(|route| {
            let connector = self.connectors.iter().position(|c| *c == route.connector);
            (connector, route.event.clone(), route.stage)
        });
        all
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

    /// A snapshot for the dispatch of a milestone. A connector that joins later finds that it has begun.
    pub(crate) fn begin(&self, milestone: Milestone) -> Arc<Table> {
        let table = self.0.table.read().unwrap_or_else(PoisonError::into_inner);
        self.0.reached.begin(milestone);
        table.clone()
    }

    /// Changes the table, unless the change fails half-way.
    fn update<T, E>(&self, change: impl FnOnce(&mut Table) -> Result<T, E>) -> Result<T, E> {
        let mut guard = self.0.table.write().unwrap_or_else(PoisonError::into_inner);
        let mut table = (**guard).clone();
        let changed = change(&mut table)?;
        table.connectors.shrink_to_fit();
        table.handlers.shrink_to_fit();
        *guard = Arc::new(table);
        Ok(changed)
    }

    /// What the servo's connectors have been through, and one that starts late has to catch up on.
    pub(crate) fn reached(&self) -> &Reached {
        &self.0.reached
    }

    /// A bus that knows every standard event by its name.
    pub fn with_standard_events() -> Self {
        static STANDARD: OnceLock<Arc<Bridges>> = OnceLock::new();
        let bridges = STANDARD.get_or_init(|| Arc::new(crate::standard::bridges()));
        let table = Table {
            bridges: bridges.clone(),
            ..Table::default()
        };
        Self(Arc::new(Shared {
            table: RwLock::new(Arc::new(table)),
            reached: Reached::default(),
        }))
    }

    /// Makes a typed event addressable by its name: its arguments and results become JSON.
    /// Bridge an event before connectors join, so that their dynamic handlers find it.
    ///
    /// # Errors
    /// When another event bears its name.
    pub fn bridge<E: JsonEvent>(&self) -> Result<(), EventRefused> {
        let bridge = crate::dynamic::typed_bridge::<E>();
        self.update(|table| {
            let name = interned(E::NAME);
            if let Some(known) = table.bridges.get(&name) {
                return if known.event() == bridge.event() {
                    Ok(())
                } else {
                    Err(EventRefused::Duplicate(name))
                };
            }
            let own = Key::of::<E>();
            let mut handled = table.handlers.iter();
            if table.declared(&name).is_some()
                || handled.any(|(key, h)| *key != own && *h.event() == name)
            {
                return Err(EventRefused::Duplicate(name));
            }
            Arc::make_mut(&mut table.bridges).insert(name, bridge);
            Ok(())
        })
    }

    /// Declares an event that has no type. Connectors declare theirs by their routes
    /// ([`Routes::declare`]).
    ///
    /// # Errors
    /// When an event bears its name already.
    pub fn declare(&self, declaration: EventDeclaration) -> Result<(), EventRefused> {
        self.update(|table| table.declare(Arc::new(declaration), None))
    }

    /// Adds a connector, last in order, with the handlers that its type declares. Says what its servo had been through
    /// by then.
    pub(crate) fn join<C: Connector>(
        &self,
        name: Arc<str>,
        routes: Routes<C>,
        door: Arc<dyn Door>,
    ) -> Result<Standing, JoinError> {
        self.update(|table| {
            if table.connectors.contains(&name) {
                return Err(DuplicateConnector(name).into());
            }
            table.connectors.push(name.clone());
            let seat = Arc::new(Seat {
                connector: name,
                door,
            });
            for bind in routes.binds {
                bind(table, &seat)?;
            }
            Ok(self.0.reached.standing())
        })
    }

    /// Removes a connector and its handlers; dispatches that are under way keep theirs.
    /// Says whether it was there.
    pub fn leave(&self, name: &str) -> bool {
        let left = self.update(|table| {
            if !table.connectors.iter().any(|c| &**c == name) {
                return Err(());
            }
            table.remove(name);
            Ok(())
        });
        left.is_ok()
    }

    /// The connectors in order.
    pub fn connectors(&self) -> Vec<Arc<str>> {
        self.snapshot().connectors.clone()
    }

    /// All handlers, by connector in order, then by event and stage.
    pub fn routes(&self) -> Vec<RouteInfo> {
        self.snapshot().listing()
    }
}
