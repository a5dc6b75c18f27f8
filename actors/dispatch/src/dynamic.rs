//! Events that are known by name only: declared at run time, or typed ones seen from outside.

use std::{
    any::{Any, TypeId},
    marker::PhantomData,
    rc::Rc,
    sync::Arc,
};

use futures_util::future::LocalBoxFuture;
use serde_json::Value;
use servo_messages::EventError;

use crate::{
    bus::{Seat, Table},
    context::HandlerContext,
    declared::{EventRefused, ValueKind},
    dispatcher::DispatcherRef,
    event::{Category, Event, Stage, interned},
    handler::{Call, CallFuture, Failure, Handler, Key, Results},
    options::{DispatchError, DispatchOptions, DispatchOutcome, EventResult, Nesting},
};

/// An event addressed by its name, with its arguments as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct DynamicEvent {
    /// Name of the event.
    pub name: Arc<str>,
    /// Its arguments; in the stage `after`, the results as a list.
    pub args: Value,
}

impl Event for DynamicEvent {
    type Output = Value;
    const NAME: &'static str = "dynamic";
    const CATEGORY: Category = Category::Custom;
}

/// A typed event that can be addressed by its name, its arguments and results being JSON.
pub trait JsonEvent: Event {
    /// The arguments as an object.
    fn arguments(&self) -> Value;

    /// Reads the arguments.
    ///
    /// # Errors
    /// Which argument does not fit, and why.
    fn from_arguments(arguments: Value) -> Result<Self, String>
    where
        Self: Sized;

    /// A result as JSON.
    fn output_value(output: &Self::Output) -> Value;
}

/// Carries a typed event into the dynamic lane and back.
pub(crate) trait Bridge: Send + Sync {
    /// The typed event.
    fn event(&self) -> TypeId;

    /// Adds a handler that works on JSON to the handlers of the typed event.
    fn bind(
        &self,
        table: &mut Table,
        seat: &Arc<Seat>,
        stage: Stage,
        call: DynamicCall,
    ) -> Result<(), EventRefused>;

    /// Dispatches the typed event from JSON arguments.
    fn dispatch(
        &self,
        dispatcher: DispatcherRef,
        args: Value,
        options: DispatchOptions,
        nesting: Nesting,
    ) -> LocalBoxFuture<'static, Result<DispatchOutcome<Value>, DispatchError>>;
}

/// A handler that works on JSON, in any stage.
pub(crate) type DynamicCall = Call<DynamicEvent, Option<Value>>;

struct TypedBridge<E>(PhantomData<fn() -> E>);

pub(crate) fn typed_bridge<E: JsonEvent>() -> Arc<dyn Bridge> {
    Arc::new(TypedBridge::<E>(PhantomData))
}

/// Runs a JSON handler whose value nobody wants.
fn silently<T: Default + 'static>(
    call: &DynamicCall,
    host: Rc<dyn Any>,
    event: DynamicEvent,
    cx: HandlerContext,
) -> CallFuture<T> {
    let done = call.run(host, Arc::new(event), cx);
    Box::pin(async move { done.await.map(|_| T::default()) })
}

fn results_value<T>(results: &[EventResult<T>], output: impl Fn(&T) -> Value) -> Value {
    results
        .iter()
        .map(|r| match &r.value {
            Ok(value) => serde_json::json!({"connector": r.connector, "value": output(value)}),
            Err(error) => serde_json::json!({"connector": r.connector, "error": error.to_string()}),
        })
        .collect()
}

impl<E: JsonEvent> Bridge for TypedBridge<E> {
    fn event(&self) -> TypeId {
        TypeId::of::<E>()
    }

    fn bind(
        &self,
        table: &mut Table,
        seat: &Arc<Seat>,
        stage: Stage,
        call: DynamicCall,
    ) -> Result<(), EventRefused> {
        let event = |args| DynamicEvent {
            name: interned(E::NAME),
            args,
        };
        let handler: Handler<E> = match stage {
            Stage::Before => Handler::Before(Call::of(move |host, typed: Arc<E>, cx| {
                silently(&call, host, event(typed.arguments()), cx)
            })),
            // What a JSON handler answers has no place among typed results.
            Stage::On => Handler::On(Call::of(move |host, typed: Arc<E>, cx| {
                silently(&call, host, event(typed.arguments()), cx)
            })),
            Stage::After => Handler::After(Call::of(move |host, results: Results<E>, cx| {
                let results = results_value(&results, E::output_value);
                silently(&call, host, event(results), cx)
            })),
        };
        table.push(Key::of::<E>(), &interned(E::NAME), seat, handler)
    }

    fn dispatch(
        &self,
        dispatcher: DispatcherRef,
        args: Value,
        options: DispatchOptions,
        nesting: Nesting,
    ) -> LocalBoxFuture<'static, Result<DispatchOutcome<Value>, DispatchError>> {
        Box::pin(async move {
            let event = E::from_arguments(args).map_err(|message| DispatchError::Arguments {
                event: E::NAME.to_owned(),
                message,
            })?;
            let outcome = dispatcher.dispatch_nested(event, options, nesting).await?;
            let results = outcome
                .results
                .into_iter()
                .map(|r| EventResult {
                    connector: r.connector,
                    created_at: r.created_at,
                    value: r.value.map(|v| E::output_value(&v)),
                })
                .collect();
            Ok(DispatchOutcome {
                cancelled_by: outcome.cancelled_by,
                results,
            })
        })
    }
}

/// Adds a handler of an event that has no type.
pub(crate) fn bind_untyped(
    table: &mut Table,
    seat: &Arc<Seat>,
    name: Arc<str>,
    stage: Stage,
    call: DynamicCall,
) -> Result<(), EventRefused> {
    // What happens is declared by who makes it happen; what happens around it needs that to exist.
    if stage != Stage::On && !table.knows(&name) {
        return Err(EventRefused::Unknown(name));
    }
    let result = table.declared(&name).map_or(ValueKind::Any, |d| d.result());
    let handler: Handler<DynamicEvent> = match stage {
        Stage::Before => Handler::Before(Call::of(move |host, event: Arc<DynamicEvent>, cx| {
            silently(&call, host, (*event).clone(), cx)
        })),
        Stage::On if result == ValueKind::Any => Handler::On(call),
        Stage::On => Handler::On(Call::of(move |host, event, cx| {
            answering(result, &call, host, event, cx)
        })),
        Stage::After => {
            let name = name.clone();
            Handler::After(Call::of(move |host, results: Results<DynamicEvent>, cx| {
                let event = DynamicEvent {
                    name: name.clone(),
                    args: results_value(&results, Value::clone),
                };
                silently(&call, host, event, cx)
            }))
        }
    };
    table.push(Key::Named(name.clone()), &name, seat, handler)
}

/// Runs a JSON handler that has to answer something of a certain kind.
fn answering(
    kind: ValueKind,
    call: &DynamicCall,
    host: Rc<dyn Any>,
    event: Arc<DynamicEvent>,
    cx: HandlerContext,
) -> CallFuture<Option<Value>> {
    let name = event.name.clone();
    let done = call.run(host, event, cx);
    Box::pin(async move {
        match done.await? {
            Some(value) if !kind.admits(&value) => {
                let given = ValueKind::named(&value);
                Err(Failure::Error(EventError::failed(format!(
                    "the handler of '{name}' answered {given}, and not {kind}"
                ))))
            }
            answer => Ok(answer),
        }
    })
}
