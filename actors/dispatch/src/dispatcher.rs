//! The actor that routes events through `before`, `on` and `after`
//! (`spec/events-and-checks.md` §2.5).

use std::{
    any::TypeId,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture};
use futures_util::{StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use serde_json::Value;
use servo_messages::{ErrorKind, EventError};
use servo_supervision::{AskError, ChildContext, ChildRef, ChildSpec, Supervised};
use tokio_util::sync::CancellationToken;

use crate::{
    context::{CallContext, Chain, ProgressUpdate},
    dynamic::DynamicEvent,
    event::{Event, Stage},
    options::{
        DispatchError, DispatchOptions, DispatchOutcome, ErrorPolicy, EventResult, HandlerError,
        Nesting, Scope, Veto,
    },
    routes::{Bus, Failure, Handlers, Key, Route, Table},
};

/// Routes the events of one servo to its connectors.
pub struct Dispatcher {
    servo: Arc<str>,
    bus: Bus,
    reference: ChildRef<Dispatcher>,
    child: ChildContext,
}

/// Reaches the dispatcher of a servo, across its restarts.
#[derive(Clone)]
pub struct DispatcherRef {
    actor: ChildRef<Dispatcher>,
    bus: Bus,
}

struct Dispatch<E: Event> {
    key: Key,
    name: Arc<str>,
    event: E,
    options: DispatchOptions,
    nesting: Nesting,
    first: bool,
}

impl<E: Event> Message for Dispatch<E> {
    type Result = Result<DispatchOutcome<E::Output>, DispatchError>;
}

// === impl Dispatcher ===

impl Dispatcher {
    /// How to run the dispatcher of the servo named `servo` over `bus`, and how to reach it.
    pub fn spec(servo: Arc<str>, bus: Bus) -> (ChildSpec<Self>, DispatcherRef) {
        let slot: Arc<std::sync::OnceLock<ChildRef<Dispatcher>>> = Arc::default();
        let own = slot.clone();
        let own_bus = bus.clone();
        let spec = ChildSpec::new("dispatcher", move |child| {
            let reference = own
                .get()
                .cloned()
                .ok_or("the dispatcher was started before its reference was made")?;
            Ok(Self {
                servo: servo.clone(),
                bus: own_bus.clone(),
                reference,
                child,
            })
        });
        let reference = spec.reference();
        // A fresh cell: nothing else can have filled it.
        let _ = slot.set(reference.clone());
        (
            spec,
            DispatcherRef {
                actor: reference,
                bus,
            },
        )
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;
}

impl Supervised for Dispatcher {}

impl<E: Event> Handler<Dispatch<E>> for Dispatcher {
    type Result = ResponseActFuture<Self, Result<DispatchOutcome<E::Output>, DispatchError>>;

    fn handle(&mut self, dispatch: Dispatch<E>, _: &mut Self::Context) -> Self::Result {
        let run = Run {
            servo: self.servo.clone(),
            name: dispatch.name,
            table: self.bus.snapshot(),
            dispatcher: DispatcherRef {
                actor: self.reference.clone(),
                bus: self.bus.clone(),
            },
            deadline: dispatch
                .nesting
                .deadline(Instant::now(), dispatch.options.timeout),
            chain: dispatch.nesting.chain,
            options: dispatch.options,
        };
        self.child.set_doing(run.name.to_string());
        let (key, event, first) = (dispatch.key, Arc::new(dispatch.event), dispatch.first);
        Box::pin(
            async move { run.all_stages(&key, event, first).await }
                .into_actor(self)
                .map(|outcome, this, _| {
                    this.child.set_doing("");
                    outcome
                }),
        )
    }
}

// === impl DispatcherRef ===

impl DispatcherRef {
    /// Dispatches `event` to the connectors of the servo.
    ///
    /// # Errors
    /// When a handler fails under [`ErrorPolicy::FailFast`], or a `before` or `after` handler
    /// under either policy; when the time is up or the token fires; when the options name an
    /// unknown connector; when the servo ends.
    pub async fn dispatch<E: Event>(
        &self,
        event: E,
        options: DispatchOptions,
    ) -> Result<DispatchOutcome<E::Output>, DispatchError> {
        self.dispatch_nested(event, options, Nesting::default())
            .await
    }

    pub(crate) async fn dispatch_nested<E: Event>(
        &self,
        event: E,
        options: DispatchOptions,
        nesting: Nesting,
    ) -> Result<DispatchOutcome<E::Output>, DispatchError> {
        self.send(Dispatch {
            key: Key::Typed(TypeId::of::<E>()),
            name: E::NAME.into(),
            event,
            options,
            nesting,
            first: false,
        })
        .await
    }

    /// Asks the connectors one by one, in bus order, until one contributes a result.
    ///
    /// # Errors
    /// As [`DispatcherRef::dispatch`].
    pub async fn dispatch_first<E: Event>(
        &self,
        event: E,
        options: DispatchOptions,
    ) -> Result<Option<EventResult<E::Output>>, DispatchError> {
        let outcome = self
            .send(Dispatch {
                key: Key::Typed(TypeId::of::<E>()),
                name: E::NAME.into(),
                event,
                options,
                nesting: Nesting::default(),
                first: true,
            })
            .await?;
        Ok(outcome.results.into_iter().next())
    }

    /// Dispatches the event that bears `name`, typed or not, with JSON arguments.
    ///
    /// # Errors
    /// [`DispatchError::UnknownEvent`] when nothing declares or handles it,
    /// [`DispatchError::Arguments`] when they do not fit; else as [`DispatcherRef::dispatch`].
    pub fn dispatch_named(
        &self,
        name: &str,
        args: Value,
        options: DispatchOptions,
    ) -> LocalBoxFuture<'static, Result<DispatchOutcome<Value>, DispatchError>> {
        let table = self.bus.snapshot();
        if let Some(bridge) = table.bridge(name) {
            return bridge.dispatch(self.clone(), args, options);
        }
        let name: Arc<str> = name.into();
        let key = Key::Named(name.clone());
        if table.handlers::<DynamicEvent>(&key).is_none() {
            let error = DispatchError::UnknownEvent {
                nearest: nearest(&name, &table.event_names()),
                name: name.to_string(),
            };
            return Box::pin(async move { Err(error) });
        }
        let this = self.clone();
        Box::pin(async move {
            let event = DynamicEvent {
                name: name.clone(),
                args,
            };
            this.send(Dispatch {
                key,
                name,
                event,
                options,
                nesting: Nesting::default(),
                first: false,
            })
            .await
        })
    }

    /// The connectors that it dispatches to.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    async fn send<E: Event>(
        &self,
        dispatch: Dispatch<E>,
    ) -> Result<DispatchOutcome<E::Output>, DispatchError> {
        // Each stage may use its grace after the deadline; the dispatcher keeps the time itself.
        let patience =
            dispatch.options.timeout + dispatch.options.grace * 4 + Duration::from_secs(10);
        self.actor
            .ask(dispatch, patience)
            .await
            .unwrap_or_else(|error| Err(DispatchError::Dispatcher(Arc::new(error))))
    }
}

impl fmt::Debug for DispatcherRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DispatcherRef").finish_non_exhaustive()
    }
}

fn nearest(name: &str, known: &[Arc<str>]) -> Option<String> {
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(name, k), k))
        .filter(|(distance, k)| *distance <= 2.max(k.len() / 3))
        .min()
        .map(|(_, k)| k.to_string())
}

// === One dispatch ===

struct Run {
    servo: Arc<str>,
    name: Arc<str>,
    table: Arc<Table>,
    dispatcher: DispatcherRef,
    deadline: Instant,
    chain: Chain,
    options: DispatchOptions,
}

type HandlerCall<'a, T> =
    Box<dyn Fn(CallContext) -> LocalBoxFuture<'static, Result<T, Failure>> + 'a>;

/// The handlers of one connector in one stage, run one after the other.
struct Job<'a, T> {
    position: usize,
    connector: Arc<str>,
    calls: Vec<HandlerCall<'a, T>>,
}

/// What one connector's handlers in one stage came to.
struct Done<T> {
    position: usize,
    connector: Arc<str>,
    values: Vec<Result<T, Failure>>,
    at: Timestamp,
}

/// How a stage ended.
enum StageEnd<T> {
    Complete(Vec<Done<T>>),
    /// The caller's token fired.
    Cancelled,
    /// The time was up.
    Overdue {
        waiting_for: Vec<String>,
    },
}

impl Run {
    async fn all_stages<E: Event>(
        &self,
        key: &Key,
        event: Arc<E>,
        first: bool,
    ) -> Result<DispatchOutcome<E::Output>, DispatchError> {
        let scope = self.participants()?;
        let Some(handlers) = self.table.handlers::<E>(key) else {
            return Ok(DispatchOutcome {
                cancelled_by: Vec::new(),
                results: Vec::new(),
            });
        };
        if self.options.stages.before {
            let vetoes = self.before(&handlers, &event, &scope).await?;
            if !vetoes.is_empty() {
                return Ok(DispatchOutcome {
                    cancelled_by: vetoes,
                    results: Vec::new(),
                });
            }
        }
        let results = match (self.options.stages.on, first) {
            (false, _) => Vec::new(),
            (true, false) => self.on(&handlers, &event, &scope).await?,
            (true, true) => self.on_first(&handlers, &event, &scope).await?,
        };
        if !self.options.stages.after {
            return Ok(DispatchOutcome {
                cancelled_by: Vec::new(),
                results,
            });
        }
        let results: Arc<[EventResult<E::Output>]> = results.into();
        self.after(&handlers, &results, &scope).await?;
        Ok(DispatchOutcome {
            cancelled_by: Vec::new(),
            results: results.to_vec(),
        })
    }

    /// Who takes part; an error for names that nobody bears and for dispatches in a circle.
    fn participants(&self) -> Result<Participants<'_>, DispatchError> {
        let chain = &self.chain;
        if chain.depth() >= Chain::MAX_DEPTH {
            return Err(self.cycle());
        }
        let named = match &self.options.scope {
            Scope::All => [].as_slice(),
            Scope::Only(names) | Scope::Except(names) => names.as_slice(),
        };
        for name in named {
            if !self.table.connectors.contains(name) {
                return Err(DispatchError::UnknownConnector {
                    name: name.to_string(),
                    valid: self
                        .table
                        .connectors
                        .iter()
                        .map(ToString::to_string)
                        .collect(),
                });
            }
        }
        if let Scope::Only(names) = &self.options.scope
            && names.iter().any(|name| chain.contains(&self.name, name))
        {
            return Err(self.cycle());
        }
        Ok(Participants {
            scope: &self.options.scope,
            chain,
            event: &self.name,
        })
    }

    fn cycle(&self) -> DispatchError {
        DispatchError::Cycle {
            event: self.name.clone(),
            chain: self.chain.to_string(),
        }
    }

    async fn before<E: Event>(
        &self,
        handlers: &Handlers<E>,
        event: &Arc<E>,
        scope: &Participants<'_>,
    ) -> Result<Vec<Veto>, DispatchError> {
        let jobs = scope.jobs(&handlers.before, |call| {
            let event = event.clone();
            move |cx| call(event.clone(), cx)
        });
        let done = self.finish(self.stage(Stage::Before, jobs, true).await)?;
        let mut vetoes = Vec::new();
        let mut errors = Vec::new();
        for Done {
            connector, values, ..
        } in done
        {
            for failure in values.into_iter().filter_map(Result::err) {
                match failure {
                    Failure::Veto(reason) => vetoes.push(Veto {
                        connector: connector.clone(),
                        reason,
                    }),
                    other => errors.push(self.error(&connector, Stage::Before, other)),
                }
            }
        }
        if vetoes.is_empty() {
            return if errors.is_empty() {
                Ok(vetoes)
            } else {
                Err(DispatchError::Handlers(errors))
            };
        }
        // A veto wins over an error beside it, which must not get lost.
        for error in &errors {
            tracing::error!(servo = %self.servo, connector = %error.connector, event = %self.name, "{}", error.error);
        }
        let (names, reasons): (Vec<_>, Vec<_>) = vetoes
            .iter()
            .map(|v| (v.connector.to_string(), v.reason.clone()))
            .unzip();
        tracing::warn!(
            servo = %self.servo,
            event = %self.name,
            command_uid = self.options.command_uid.as_deref(),
            "event cancelled by before event handler on connector \"{}\": {}",
            names.join(", "),
            reasons.join("; "),
        );
        Ok(vetoes)
    }

    async fn on<E: Event>(
        &self,
        handlers: &Handlers<E>,
        event: &Arc<E>,
        scope: &Participants<'_>,
    ) -> Result<Vec<EventResult<E::Output>>, DispatchError> {
        let jobs = scope.jobs(&handlers.on, |call| {
            let event = event.clone();
            move |cx| call(event.clone(), cx)
        });
        let fail_fast = self.options.on_error == ErrorPolicy::FailFast;
        let done = self.finish(self.stage(Stage::On, jobs, fail_fast).await)?;
        let mut results = Vec::with_capacity(done.len());
        let mut errors = Vec::new();
        for done in done {
            let (connector, at) = (done.connector, done.at);
            for value in done.values {
                let value = match value {
                    Ok(None) => continue,
                    Ok(Some(value)) => Ok(value),
                    Err(failure) => {
                        let error = self.error(&connector, Stage::On, failure);
                        if fail_fast {
                            errors.push(error);
                            continue;
                        }
                        Err(error)
                    }
                };
                results.push(EventResult {
                    connector: connector.clone(),
                    created_at: at,
                    value,
                });
            }
        }
        if errors.is_empty() {
            Ok(results)
        } else {
            Err(DispatchError::Handlers(errors))
        }
    }

    async fn on_first<E: Event>(
        &self,
        handlers: &Handlers<E>,
        event: &Arc<E>,
        scope: &Participants<'_>,
    ) -> Result<Vec<EventResult<E::Output>>, DispatchError> {
        for route in handlers.on.iter().filter(|r| scope.includes(&r.connector)) {
            let alone = Handlers {
                before: Vec::new(),
                on: vec![route.clone()],
                after: Vec::new(),
            };
            let results = self.on(&alone, event, scope).await?;
            if !results.is_empty() {
                return Ok(results);
            }
        }
        Ok(Vec::new())
    }

    async fn after<E: Event>(
        &self,
        handlers: &Handlers<E>,
        results: &Arc<[EventResult<E::Output>]>,
        scope: &Participants<'_>,
    ) -> Result<(), DispatchError> {
        let jobs = scope.jobs(&handlers.after, |call| {
            let results = results.clone();
            move |cx| call(results.clone(), cx)
        });
        let done = self.finish(self.stage(Stage::After, jobs, true).await)?;
        let errors: Vec<_> = done
            .into_iter()
            .flat_map(|done| {
                done.values
                    .into_iter()
                    .filter_map(Result::err)
                    .map(|failure| self.error(&done.connector, Stage::After, failure))
                    .collect::<Vec<_>>()
            })
            .collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(DispatchError::Handlers(errors))
        }
    }

    fn finish<T>(&self, end: StageEnd<T>) -> Result<Vec<Done<T>>, DispatchError> {
        match end {
            StageEnd::Complete(done) => Ok(done),
            StageEnd::Cancelled => Err(DispatchError::Cancelled {
                event: self.name.clone(),
            }),
            StageEnd::Overdue { waiting_for } => Err(DispatchError::Deadline {
                event: self.name.clone(),
                after: self.options.timeout,
                waiting_for,
            }),
        }
    }

    /// Runs one stage: connectors concurrently, the handlers of one connector in order.
    ///
    /// With `fail_fast` the first failure fires the token of the others. Handlers that were told
    /// to stop are waited for, within the grace, so that nothing goes on behind the caller's back.
    async fn stage<T>(&self, stage: Stage, jobs: Vec<Job<'_, T>>, fail_fast: bool) -> StageEnd<T> {
        if jobs.is_empty() {
            return StageEnd::Complete(Vec::new());
        }
        let token = self.options.cancel.child_token();
        let mut waiting: Vec<Arc<str>> = jobs.iter().map(|j| j.connector.clone()).collect();
        let mut running: FuturesUnordered<_> = jobs
            .into_iter()
            .map(|job| self.job(stage, job, token.clone(), fail_fast))
            .collect();
        let mut done = Vec::with_capacity(waiting.len());
        let mut told_to_stop = None;
        let limit = tokio::time::sleep_until(self.deadline.into());
        tokio::pin!(limit);
        loop {
            tokio::select! {
                biased;
                next = running.next() => {
                    let Some(finished) = next else { break };
                    waiting.retain(|c| *c != finished.connector);
                    let failed = fail_fast && finished.values.iter().any(Result::is_err);
                    done.push(finished);
                    if failed && told_to_stop.is_none() {
                        told_to_stop = Some(Why::SiblingFailed);
                        token.cancel();
                        limit.as_mut().reset(self.patience());
                    }
                }
                () = self.options.cancel.cancelled(), if told_to_stop.is_none() => {
                    told_to_stop = Some(Why::Cancelled);
                    limit.as_mut().reset(self.patience());
                }
                () = &mut limit => {
                    if told_to_stop.is_some() {
                        break;
                    }
                    told_to_stop = Some(Why::Overdue(waiting.clone()));
                    token.cancel();
                    limit.as_mut().reset(self.patience());
                }
            }
        }
        if !waiting.is_empty() {
            tracing::error!(
                servo = %self.servo,
                event = %self.name,
                stage = %stage,
                command_uid = self.options.command_uid.as_deref(),
                connectors = waiting.join(", "),
                "handlers did not stop within {} and were given up",
                servo_messages::Duration::from(self.options.grace),
            );
        }
        done.sort_by_key(|d| d.position);
        match told_to_stop {
            None | Some(Why::SiblingFailed) => StageEnd::Complete(done),
            Some(Why::Cancelled) => StageEnd::Cancelled,
            Some(Why::Overdue(waiting_for)) => StageEnd::Overdue {
                waiting_for: waiting_for.iter().map(ToString::to_string).collect(),
            },
        }
    }

    /// Until when handlers that were told to stop are waited for: the grace, and a moment more in
    /// which the supervisor ends those that overstay it and says so.
    fn patience(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + self.options.grace + Duration::from_millis(500)
    }

    async fn job<T>(
        &self,
        stage: Stage,
        job: Job<'_, T>,
        cancel: CancellationToken,
        fail_fast: bool,
    ) -> Done<T> {
        let began = Instant::now();
        let mut values = Vec::with_capacity(job.calls.len());
        for call in &job.calls {
            if cancel.is_cancelled() {
                break;
            }
            let value = call(CallContext {
                servo: self.servo.clone(),
                connector: job.connector.clone(),
                event: self.name.clone(),
                stage,
                command_uid: self.options.command_uid.clone(),
                deadline: self.deadline,
                grace: self.options.grace,
                cancel: cancel.clone(),
                progress: self.options.progress.clone(),
                chain: self.chain.clone(),
                dispatcher: self.dispatcher.clone(),
            })
            .await;
            let failed = value.is_err();
            // A sibling that stopped because it was told to has not failed.
            let told = cancel.is_cancelled()
                && matches!(&value, Err(Failure::Error(e)) if e.kind == ErrorKind::Cancelled);
            if !told {
                values.push(value);
            }
            if failed && fail_fast {
                break;
            }
        }
        // A connector that is done must not hold back the progress of the others.
        if stage == Stage::On
            && let Some(sink) = &self.options.progress
        {
            sink(ProgressUpdate {
                connector: job.connector.clone(),
                percent: 100.0,
                message: None,
                runtime: began.elapsed(),
            });
        }
        Done {
            position: job.position,
            connector: job.connector,
            values,
            at: Timestamp::now(),
        }
    }

    /// The error that a failed handler leaves.
    fn error(&self, connector: &Arc<str>, stage: Stage, failure: Failure) -> HandlerError {
        let error = match failure {
            Failure::Error(error) if error.kind == ErrorKind::Cancelled => EventError::failed(
                format!("{error} (only a before handler may cancel an event)"),
            ),
            Failure::Error(error) => error,
            // Dynamic handlers share one type for all stages, so a veto can come from anywhere.
            Failure::Veto(reason) => EventError::failed(format!(
                "Cannot cancel an event from an {stage} handler: {reason}"
            )),
            Failure::Ended(AskError::Died { exit, .. }) => EventError::failed(format!(
                "the connector ended while it handled {stage}:{}: {exit}",
                self.name
            )),
            Failure::Ended(error) => EventError::failed(error.to_string()),
        };
        HandlerError {
            connector: connector.clone(),
            event: self.name.clone(),
            stage,
            error,
        }
    }
}

/// Why handlers were told to stop.
enum Why {
    SiblingFailed,
    Cancelled,
    /// With the connectors that had not answered in time.
    Overdue(Vec<Arc<str>>),
}

/// The connectors that take part in a dispatch.
struct Participants<'a> {
    scope: &'a Scope,
    chain: &'a Chain,
    event: &'a str,
}

impl Participants<'_> {
    fn includes(&self, connector: &Arc<str>) -> bool {
        let in_scope = match self.scope {
            Scope::All => true,
            Scope::Only(names) => names.contains(connector),
            Scope::Except(names) => !names.contains(connector),
        };
        in_scope && !self.chain.contains(self.event, connector)
    }

    /// Groups routes by connector, in bus order.
    fn jobs<'r, C, F, T>(
        &self,
        routes: &'r [Route<C>],
        call: impl Fn(&'r C) -> F,
    ) -> Vec<Job<'r, T>>
    where
        F: Fn(CallContext) -> LocalBoxFuture<'static, Result<T, Failure>> + 'r,
    {
        let mut jobs: Vec<Job<'r, T>> = Vec::new();
        for route in routes.iter().filter(|r| self.includes(&r.connector)) {
            let run = Box::new(call(&route.call));
            match jobs.iter_mut().find(|j| j.position == route.position) {
                Some(job) => job.calls.push(run),
                None => jobs.push(Job {
                    position: route.position,
                    connector: route.connector.clone(),
                    calls: vec![run],
                }),
            }
        }
        jobs
    }
}
