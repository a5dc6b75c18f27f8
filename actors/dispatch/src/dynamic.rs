//! Events that are known by name only: declared at run time, or typed ones seen from outside.

use std::{any::TypeId, marker::PhantomData, sync::Arc};

use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use crate::{
    dispatcher::DispatcherRef,
    event::{Category, Event, Stage},
    options::{DispatchError, DispatchOptions, DispatchOutcome, EventResult},
    routes::{Call, CallFuture, Key, Results, Route, Table},
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
    /// Adds a handler that works on JSON to the handlers of the typed event.
    fn bind(
        &self,
        table: &mut Table,
        stage: Stage,
        route: Route<Call<DynamicEvent, Option<Value>>>,
    );

    /// Dispatches the typed event from JSON arguments.
    fn dispatch(
        &self,
        dispatcher: DispatcherRef,
        args: Value,
        options: DispatchOptions,
    ) -> LocalBoxFuture<'static, Result<DispatchOutcome<Value>, DispatchError>>;
}

struct TypedBridge<E>(PhantomData<fn() -> E>);

pub(crate) fn typed_bridge<E: JsonEvent>() -> Arc<dyn Bridge> {
    Arc::new(TypedBridge::<E>(PhantomData))
}

type DynamicCall = Call<DynamicEvent, Option<Value>>;

/// Runs a JSON handler whose value nobody wants.
fn silently(
    call: &DynamicCall,
    event: DynamicEvent,
    cx: crate::context::CallContext,
) -> CallFuture<()> {
    let future = call(Arc::new(event), cx);
    Box::pin(async move { future.await.map(drop) })
}

fn results_value<E: Event>(results: &Results<E>, output: impl Fn(&E::Output) -> Value) -> Value {
    results
        .iter()
        .map(|r| match &r.value {
            Ok(value) => serde_json::json!({"connector": r.connector, "value": output(value)}),
            Err(error) => serde_json::json!({"connector": r.connector, "error": error.to_string()}),
        })
        .collect()
}

impl<E: JsonEvent> Bridge for TypedBridge<E> {
    fn bind(&self, table: &mut Table, stage: Stage, route: Route<DynamicCall>) {
        let key = Key::Typed(TypeId::of::<E>());
        let Route {
            position,
            connector,
            call,
        } = route;
        let name: Arc<str> = E::NAME.into();
        let event = move |args| DynamicEvent {
            name: name.clone(),
            args,
        };
        match stage {
            Stage::Before => {
                let typed: Call<E, ()> =
                    Arc::new(move |typed, cx| silently(&call, event(typed.arguments()), cx));
                table.push_before::<E>(
                    key,
                    E::NAME,
                    Route {
                        position,
                        connector,
                        call: typed,
                    },
                );
            }
            Stage::On => {
                // What a JSON handler answers has no place among typed results.
                let typed: Call<E, Option<E::Output>> = Arc::new(move |typed, cx| {
                    let done = silently(&call, event(typed.arguments()), cx);
                    Box::pin(async move { done.await.map(|()| None) })
                });
                table.push_on::<E>(
                    key,
                    E::NAME,
                    Route {
                        position,
                        connector,
                        call: typed,
                    },
                );
            }
            Stage::After => {
                let typed = Arc::new(move |results: Results<E>, cx| {
                    silently(
                        &call,
                        event(results_value::<E>(&results, E::output_value)),
                        cx,
                    )
                });
                table.push_after::<E>(
                    key,
                    E::NAME,
                    Route {
                        position,
                        connector,
                        call: typed,
                    },
                );
            }
        }
    }

    fn dispatch(
        &self,
        dispatcher: DispatcherRef,
        args: Value,
        options: DispatchOptions,
    ) -> LocalBoxFuture<'static, Result<DispatchOutcome<Value>, DispatchError>> {
        Box::pin(async move {
            let event = E::from_arguments(args).map_err(|message| DispatchError::Arguments {
                event: E::NAME.to_owned(),
                message,
            })?;
            let outcome = dispatcher.dispatch(event, options).await?;
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
    name: Arc<str>,
    stage: Stage,
    route: Route<DynamicCall>,
) {
    let key = Key::Named(name.clone());
    let Route {
        position,
        connector,
        call,
    } = route;
    match stage {
        Stage::Before => {
            let call: Call<DynamicEvent, ()> =
                Arc::new(move |event, cx| silently(&call, (*event).clone(), cx));
            table.push_before::<DynamicEvent>(
                key,
                &name,
                Route {
                    position,
                    connector,
                    call,
                },
            );
        }
        Stage::On => {
            table.push_on::<DynamicEvent>(
                key,
                &name,
                Route {
                    position,
                    connector,
                    call,
                },
            );
        }
        Stage::After => {
            let event_name = name.clone();
            let call = Arc::new(move |results: Results<DynamicEvent>, cx| {
                let event = DynamicEvent {
                    name: event_name.clone(),
                    args: results_value::<DynamicEvent>(&results, Value::clone),
                };
                silently(&call, event, cx)
            });
            table.push_after::<DynamicEvent>(
                key,
                &name,
                Route {
                    position,
                    connector,
                    call,
                },
            );
        }
    }
}
