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

/// Where a servo stands between its beginning and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Standing {
    Nothing,
    /// On the way down nothing starts any more.
    Ending,
    /// `attach` was dispatched.
    Attaching,
    Attached,
    /// `startup` was dispatched.
    Starting,
    Started,
}

/// A handler that a connector which starts late runs before anything else; `attach` ahead of
/// `startup`, whatever the order of registration.
pub(crate) struct CatchUp<C> {
    /// The event's name.
    pub(crate) event: &'static str,
    /// Needed once that much has been reached.
    needed_from: Standing,
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
    /// The event is about to be dispatched.
    pub(crate) fn begin(&self, milestone: Milestone) {
        let standing = match milestone {
            Milestone::Attach => Standing::Attaching,
            Milestone::Startup => Standing::Starting,
            Milestone::Shutdown | Milestone::Detach => Standing::Ending,
        };
        self.0.store(standing as u8, Ordering::Release);
    }

    /// The event was dispatched, and nobody objected.
    pub(crate) fn complete(&self, milestone: Milestone) {
        let (from, to) = match milestone {
            Milestone::Attach => (Standing::Attaching, Standing::Attached),
            Milestone::Startup => (Standing::Starting, Standing::Started),
            Milestone::Shutdown | Milestone::Detach => return,
        };
        // Unless its end has begun meanwhile.
        let _ = self
            .0
            .compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(crate) fn standing(&self) -> Standing {
        let reached = self.0.load(Ordering::Acquire);
        Standing::ALL
            .into_iter()
            .find(|standing| *standing as u8 == reached)
            .unwrap_or(Standing::Nothing)
    }

    /// Whether a connector that starts now has missed it.
    pub(crate) fn has_passed<C>(&self, catch_up: &CatchUp<C>) -> bool {
        self.standing() >= catch_up.needed_from
    }
}

impl Standing {
    const ALL: [Self; 6] = [
        Self::Nothing,
        Self::Ending,
        Self::Attaching,
        Self::Attached,
        Self::Starting,
        Self::Started,
    ];
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
        let attach = (
            Standing::Attached,
            Arc::new(Attach) as Arc<dyn Any + Send + Sync>,
        );
        let startup = (
            Standing::Started,
            Arc::new(Startup) as Arc<dyn Any + Send + Sync>,
        );
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
