//! A handler with its connector's type forgotten, and how it can fail.

use std::{
    any::{Any, TypeId},
    rc::Rc,
    sync::Arc,
};

use futures_util::future::LocalBoxFuture;
use servo_messages::{ErrorKind, EventError};
use servo_supervision::AskError;

use crate::{
    connector::BeforeError,
    context::{CallShared, HandlerContext},
    event::{Event, Stage},
    options::{EventResult, HandlerError},
};

/// Why a handler gave no result.
pub(crate) enum Failure {
    Veto(String),
    Error(EventError),
    Ended(AskError),
}

pub(crate) type CallFuture<T> = LocalBoxFuture<'static, Result<T, Failure>>;
/// What all `on` handlers of a dispatch contributed.
pub(crate) type Results<E> = Arc<Vec<EventResult<<E as Event>::Output>>>;
/// Runs a handler of the connector that it is given, on an argument of the type `A`.
pub(crate) enum Call<A, T> {
    /// It knows the connector's type and nothing else, as most do: each servo holds some, and this takes no memory
    /// elsewhere.
    Plain(fn(Rc<dyn Any>, Arc<A>, HandlerContext) -> CallFuture<T>),
    Closure(Arc<Closure<A, T>>),
}

type Closure<A, T> = dyn Fn(Rc<dyn Any>, Arc<A>, HandlerContext) -> CallFuture<T> + Send + Sync;

/// Runs an `on` handler; `None` contributes no result.
pub(crate) type OnCall<E> = Call<E, Option<<E as Event>::Output>>;

/// One handler of one connector.
pub(crate) enum Handler<E: Event> {
    Before(Call<E, ()>),
    On(OnCall<E>),
    After(Call<Vec<EventResult<E::Output>>, ()>),
}

/// What identifies an event in the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Typed(TypeId),
    Named(Arc<str>),
}

// === impl Call ===

impl<A, T> Call<A, T> {
    pub(crate) fn of(
        call: impl Fn(Rc<dyn Any>, Arc<A>, HandlerContext) -> CallFuture<T> + Send + Sync + 'static,
    ) -> Self {
        Self::Closure(Arc::new(call))
    }

    pub(crate) fn run(
        &self,
        host: Rc<dyn Any>,
        argument: Arc<A>,
        cx: HandlerContext,
    ) -> CallFuture<T> {
        match self {
            Self::Plain(call) => call(host, argument, cx),
            Self::Closure(call) => call(host, argument, cx),
        }
    }
}

impl<A, T> Clone for Call<A, T> {
    fn clone(&self) -> Self {
        match self {
            Self::Plain(call) => Self::Plain(*call),
            Self::Closure(call) => Self::Closure(call.clone()),
        }
    }
}

// === impl Handler ===

impl<E: Event> Handler<E> {
    pub(crate) fn stage(&self) -> Stage {
        match self {
            Handler::Before(_) => Stage::Before,
            Handler::On(_) => Stage::On,
            Handler::After(_) => Stage::After,
        }
    }
}

impl<E: Event> Clone for Handler<E> {
    fn clone(&self) -> Self {
        match self {
            Handler::Before(call) => Handler::Before(call.clone()),
            Handler::On(call) => Handler::On(call.clone()),
            Handler::After(call) => Handler::After(call.clone()),
        }
    }
}

// === impl Key ===

impl Key {
    pub(crate) fn of<E: Event>() -> Self {
        Self::Typed(TypeId::of::<E>())
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

impl From<EventError> for Failure {
    fn from(error: EventError) -> Self {
        Failure::Error(error)
    }
}

impl Failure {
    /// Whether it is what a handler says that stopped because it was told to.
    pub(crate) fn is_cancellation(&self) -> bool {
        matches!(self, Failure::Error(error) if error.kind == ErrorKind::Cancelled)
    }

    /// The error that it leaves.
    pub(crate) fn of_handler(
        self,
        connector: &Arc<str>,
        stage: Stage,
        shared: &CallShared,
    ) -> HandlerError {
        let event = &shared.event;
        let error = match self {
            Failure::Error(error) if error.kind == ErrorKind::Cancelled => {
                EventError::failed(format!(
                    "Cannot cancel an event from {} handler: {error}",
                    article(stage)
                ))
            }
            Failure::Error(error) => error,
            // Dynamic handlers share one type for all stages, so a veto can come from anywhere.
            Failure::Veto(reason) => EventError::failed(format!(
                "Cannot cancel an event from {} handler: {reason}",
                article(stage)
            )),
            Failure::Ended(AskError::Died { exit, .. }) => unclassified(format!(
                "the connector ended while it handled {stage}:{event}: {exit}"
            )),
            Failure::Ended(error) => unclassified(error.to_string()),
        };
        HandlerError {
            connector: connector.clone(),
            event: event.clone(),
            stage,
            error,
        }
    }
}

fn article(stage: Stage) -> &'static str {
    match stage {
        Stage::Before => "a before",
        Stage::On => "an on",
        Stage::After => "an after",
    }
}

/// A failure that no connector named (`spec/optimizer-protocol.md` §8).
fn unclassified(message: String) -> EventError {
    EventError::new(ErrorKind::Unclassified, message).with_reason("unknown")
}
