//! What connectors go through with their servo, so that one that starts late can catch up
//! (`spec/events-and-checks.md` §3.7).

use std::{
    any::Any,
    future::Future,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use servo_messages::EventError;

use crate::{
    connector::Connector,
    context::HandlerContext,
    event::Event,
    handler::{CallFuture, Failure},
    standard::{Attach, Detach, Shutdown, Startup},
};

/// An event in the life of a servo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Milestone {
    Attach,
    Startup,
    Shutdown,
    Detach,
}

/// How far the servo has come up.
#[derive(Debug, Default)]
pub(crate) struct Reached(AtomicU8);

const NOTHING: u8 = 0;
const ATTACHED: u8 = 1;
const STARTED: u8 = 2;

/// A handler that a connector which starts late runs before anything else; `attach` ahead of
/// `startup`, whatever the order of registration.
pub(crate) struct CatchUp<C> {
    /// The event's name.
    pub(crate) event: &'static str,
    /// Needed once that much has been reached.
    needed_from: u8,
    pub(crate) run: Arc<dyn Fn(Rc<C>, HandlerContext) -> CallFuture<()> + Send + Sync>,
}

// === impl Milestone ===

impl Milestone {
    pub(crate) fn of<E: Event>() -> Option<Self> {
        let event = std::any::TypeId::of::<E>();
        [
            (std::any::TypeId::of::<Attach>(), Self::Attach),
            (std::any::TypeId::of::<Startup>(), Self::Startup),
            (std::any::TypeId::of::<Shutdown>(), Self::Shutdown),
            (std::any::TypeId::of::<Detach>(), Self::Detach),
        ]
        .into_iter()
        .find_map(|(id, milestone)| (id == event).then_some(milestone))
    }
}

// === impl Reached ===

impl Reached {
    /// The event is about to be dispatched. On the way down nothing starts any more.
    pub(crate) fn begin(&self, milestone: Milestone) {
        match milestone {
            Milestone::Attach | Milestone::Startup => {}
            Milestone::Shutdown | Milestone::Detach => self.0.store(NOTHING, Ordering::Release),
        }
    }

    /// The event was dispatched, and nobody objected.
    pub(crate) fn complete(&self, milestone: Milestone) {
        match milestone {
            Milestone::Attach => self.0.store(ATTACHED, Ordering::Release),
            Milestone::Startup => self.0.store(STARTED, Ordering::Release),
            Milestone::Shutdown | Milestone::Detach => {}
        }
    }

    /// Whether a connector that starts now has missed it.
    pub(crate) fn has_passed<C>(&self, catch_up: &CatchUp<C>) -> bool {
        self.0.load(Ordering::Acquire) >= catch_up.needed_from
    }
}

// === impl CatchUp ===

impl<C: Connector> CatchUp<C> {
    pub(crate) fn in_order(mut all: Vec<Self>) -> Box<[Self]> {
        all.sort_by_key(|catch_up| catch_up.needed_from);
        all.into()
    }

    /// For a handler of `attach` or `startup`; none for any other.
    pub(crate) fn of<E, F, Fut>(handler: &F) -> Option<Self>
    where
        E: Event,
        F: Fn(Rc<C>, Arc<E>, HandlerContext) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<E::Output>, EventError>> + 'static,
    {
        let attach = (ATTACHED, Arc::new(Attach) as Arc<dyn Any + Send + Sync>);
        let startup = (STARTED, Arc::new(Startup) as Arc<dyn Any + Send + Sync>);
        let (needed_from, event) = [attach, startup]
            .into_iter()
            .find_map(|(from, event)| Some((from, event.downcast::<E>().ok()?)))?;
        let handler = handler.clone();
        Some(Self {
            event: E::NAME,
            needed_from,
            run: Arc::new(move |connector, cx| {
                let (handler, event) = (handler.clone(), event.clone());
                Box::pin(async move {
                    let done = handler(connector, event, cx).await;
                    done.map(drop).map_err(Failure::Error)
                })
            }),
        })
    }
}
