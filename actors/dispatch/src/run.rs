//! One dispatch: from the participants to the outcome (`spec/events-and-checks.md` §2.5).

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use servo_messages::{ErrorKind, EventError};
use servo_supervision::AskError;
use tokio_util::sync::WaitForCancellationFuture;

use crate::{
    clock::Clock,
    context::{CallContext, CallShared, Chain, ProgressUpdate, now},
    event::{Category, Event, Stage},
    lifecycle::Milestone,
    options::{
        DispatchError, DispatchOptions, DispatchOutcome, ErrorPolicy, EventResult, HandlerError,
        Scope, Veto,
    },
    routes::{AfterCall, Bus, Call, CallFuture, Failure, Handlers, OnRoute, Results, Route, Table},
};

/// How long the supervisor may take to end a handler that outstayed its grace.
const ENFORCEMENT: Duration = Duration::from_millis(500);

/// Everything that one dispatch works with.
pub(crate) struct Run<E: Event> {
    pub(crate) event: Arc<E>,
    /// None if no connector ever had any.
    pub(crate) handlers: Option<Arc<Handlers<E>>>,
    pub(crate) table: Arc<Table>,
    pub(crate) bus: Bus,
    pub(crate) clock: Clock,
    pub(crate) shared: Arc<CallShared>,
    pub(crate) options: DispatchOptions,
    /// Asks the connectors one by one.
    pub(crate) first: bool,
}

/// What can end a dispatch early.
struct Watch<'a, 't> {
    /// When the handlers are told to stop; after that, when they are given up.
    limit: Instant,
    cancelled: Pin<&'a mut WaitForCancellationFuture<'t>>,
}

/// What one connector's handlers in one stage came to.
struct Done<T> {
    position: usize,
    connector: Arc<str>,
    values: Vec<Result<T, Failure>>,
    /// When, if that is of interest.
    at: Option<Timestamp>,
    /// It ended after it was told to stop.
    told: bool,
    /// Handlers that were left out because of that.
    skipped: bool,
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

/// The jobs of one stage; a single one needs no scheduler.
enum Jobs<F: Future> {
    One(Option<Pin<Box<F>>>),
    Many(FuturesUnordered<F>),
}

impl<E: Event> Run<E> {
    pub(crate) async fn outcome(self) -> Result<DispatchOutcome<E::Output>, DispatchError> {
        let scope = self.participants()?;
        if self.options.cancel.is_cancelled() {
            return Err(self.cancelled());
        }
        let milestone = (E::CATEGORY == Category::Lifecycle)
            .then(Milestone::of::<E>)
            .flatten();
        if let Some(milestone) = milestone {
            self.bus.reached().begin(milestone);
        }
        let results = match &self.handlers {
            Some(handlers) => self.all_stages(handlers, &scope).await?,
            None => DispatchOutcome::empty(),
        };
        if let Some(milestone) = milestone
            && self.options.stages.on
            && results.cancelled_by.is_empty()
        {
            self.bus.reached().complete(milestone);
        }
        Ok(results)
    }

    async fn all_stages(
        &self,
        handlers: &Handlers<E>,
        scope: &Participants<'_>,
    ) -> Result<DispatchOutcome<E::Output>, DispatchError> {
        let cancelled = self.options.cancel.cancelled();
        tokio::pin!(cancelled);
        let mut watch = Watch {
            limit: self.shared.deadline,
            cancelled,
        };
        let stages = self.options.stages;
        if stages.before && !handlers.before.is_empty() {
            let vetoes = self.before(handlers, scope, &mut watch).await?;
            if !vetoes.is_empty() {
                return Ok(DispatchOutcome {
                    cancelled_by: vetoes,
                    results: Vec::new(),
                });
            }
        }
        let results = match (stages.on && !handlers.on.is_empty(), self.first) {
            (false, _) => Vec::new(),
            (true, false) => self.on(&handlers.on, scope, &mut watch).await?,
            (true, true) => self.on_first(handlers, scope, &mut watch).await?,
        };
        if !stages.after || handlers.after.is_empty() {
            return Ok(DispatchOutcome {
                cancelled_by: Vec::new(),
                results,
            });
        }
        let results: Arc<[_]> = results.into();
        self.after(handlers, &results, scope, &mut watch).await?;
        Ok(DispatchOutcome {
            cancelled_by: Vec::new(),
            results: results.to_vec(),
        })
    }

    /// Who takes part; an error for names that nobody bears and for dispatches in a circle.
    fn participants(&self) -> Result<Participants<'_>, DispatchError> {
        let CallShared { event, chain, .. } = &*self.shared;
        if chain.depth() >= Chain::MAX_DEPTH {
            return Err(self.cycle());
        }
        let connectors = &self.table.connectors;
        let (Scope::Only(named) | Scope::Except(named)) = &self.options.scope else {
            return Ok(Participants {
                scope: &Scope::All,
                chain,
                event,
            });
        };
        if let Some(unknown) = named.iter().find(|name| !connectors.contains(name)) {
            return Err(DispatchError::UnknownConnector {
                name: unknown.to_string(),
                valid: connectors.iter().map(ToString::to_string).collect(),
            });
        }
        if let Scope::Only(names) = &self.options.scope
            && names.iter().any(|name| chain.contains(event, name))
        {
            return Err(self.cycle());
        }
        Ok(Participants {
            scope: &self.options.scope,
            chain,
            event,
        })
    }

    fn cycle(&self) -> DispatchError {
        DispatchError::Cycle {
            event: self.shared.event.clone(),
            chain: self.shared.chain.to_string(),
        }
    }

    fn cancelled(&self) -> DispatchError {
        DispatchError::Cancelled {
            event: self.shared.event.clone(),
        }
    }

    // === stages ===

    async fn before(
        &self,
        handlers: &Handlers<E>,
        scope: &Participants<'_>,
        watch: &mut Watch<'_, '_>,
    ) -> Result<Vec<Veto>, DispatchError> {
        let invoke = |call: &Call<E, ()>, cx| call(self.event.clone(), cx);
        let end = self
            .stage(Stage::Before, &handlers.before, invoke, scope, true, watch)
            .await;
        let mut vetoes = Vec::new();
        let mut errors = Errors::default();
        for done in self.finish(end)? {
            for failure in done.values.into_iter().filter_map(Result::err) {
                match failure {
                    Failure::Veto(reason) => vetoes.push(Veto {
                        connector: done.connector.clone(),
                        reason,
                    }),
                    other => {
                        errors.push(done.told, self.error(&done.connector, Stage::Before, other))
                    }
                }
            }
        }
        if vetoes.is_empty() {
            return errors.or(vetoes);
        }
        let CallShared {
            servo,
            event,
            command_uid,
            ..
        } = &*self.shared;
        // A veto wins over an error beside it, which must not get lost.
        for error in errors.in_order() {
            tracing::error!(%servo, connector = %error.connector, %event, command_uid = command_uid.as_deref(), "{}", error.error);
        }
        let (names, reasons): (Vec<&str>, Vec<&str>) = vetoes
            .iter()
            .map(|v| (&*v.connector, v.reason.as_str()))
            .unzip();
        tracing::warn!(
            %servo,
            %event,
            command_uid = command_uid.as_deref(),
            "event cancelled by before event handler on connector \"{}\": {}",
            names.join(", "),
            reasons.join("; "),
        );
        Ok(vetoes)
    }

    async fn on(
        &self,
        routes: &[OnRoute<E>],
        scope: &Participants<'_>,
        watch: &mut Watch<'_, '_>,
    ) -> Result<Vec<EventResult<E::Output>>, DispatchError> {
        let fail_fast = self.options.on_error == ErrorPolicy::FailFast;
        let invoke = |call: &Call<E, Option<E::Output>>, cx| call(self.event.clone(), cx);
        let end = self
            .stage(Stage::On, routes, invoke, scope, fail_fast, watch)
            .await;
        let done = self.finish(end)?;
        let mut results = Vec::with_capacity(done.len());
        let mut errors = Errors::default();
        for done in done {
            let created_at = done.at.unwrap_or_else(Timestamp::now);
            for value in done.values {
                let value = match value {
                    Ok(None) => continue,
                    Ok(Some(value)) => Ok(value),
                    Err(failure) => {
                        let error = self.error(&done.connector, Stage::On, failure);
                        if fail_fast {
                            errors.push(done.told, error);
                            continue;
                        }
                        Err(error)
                    }
                };
                results.push(EventResult {
                    connector: done.connector.clone(),
                    created_at,
                    value,
                });
            }
        }
        errors.or(results)
    }

    async fn on_first(
        &self,
        handlers: &Handlers<E>,
        scope: &Participants<'_>,
        watch: &mut Watch<'_, '_>,
    ) -> Result<Vec<EventResult<E::Output>>, DispatchError> {
        for route in &handlers.on {
            let mut results = self.on(std::slice::from_ref(route), scope, watch).await?;
            if !results.is_empty() {
                results.truncate(1);
                return Ok(results);
            }
        }
        Ok(Vec::new())
    }

    async fn after(
        &self,
        handlers: &Handlers<E>,
        results: &Results<E>,
        scope: &Participants<'_>,
        watch: &mut Watch<'_, '_>,
    ) -> Result<(), DispatchError> {
        let invoke = |call: &AfterCall<E>, cx| call(results.clone(), cx);
        let end = self
            .stage(Stage::After, &handlers.after, invoke, scope, true, watch)
            .await;
        let mut errors = Errors::default();
        for done in self.finish(end)? {
            for failure in done.values.into_iter().filter_map(Result::err) {
                errors.push(
                    done.told,
                    self.error(&done.connector, Stage::After, failure),
                );
            }
        }
        errors.or(())
    }

    fn finish<T>(&self, end: StageEnd<T>) -> Result<Vec<Done<T>>, DispatchError> {
        match end {
            StageEnd::Complete(done) => Ok(done),
            StageEnd::Cancelled => Err(self.cancelled()),
            StageEnd::Overdue { waiting_for } => Err(DispatchError::Deadline {
                event: self.shared.event.clone(),
                after: self.options.timeout,
                waiting_for,
            }),
        }
    }

    /// Runs one stage: connectors concurrently, the handlers of one connector in order.
    ///
    /// With `fail_fast` the first failure fires the token of the others. Handlers that were told
    /// to stop are waited for, within the grace, so that nothing goes on behind the caller's back.
    async fn stage<C, T>(
        &self,
        stage: Stage,
        routes: &[Route<C>],
        invoke: impl Fn(&C, CallContext) -> CallFuture<T>,
        scope: &Participants<'_>,
        fail_fast: bool,
        watch: &mut Watch<'_, '_>,
    ) -> StageEnd<T> {
        // Routes of one connector stand together: it joins once, with all of them.
        let of_each = || {
            routes
                .chunk_by(|a, b| a.position == b.position)
                .filter(|of_one| of_one.first().is_some_and(|r| scope.includes(&r.connector)))
        };
        let count = of_each().count();
        if count == 0 {
            return StageEnd::Complete(Vec::new());
        }
        let stop = &self.shared.cancel;
        let mut running = Jobs::of(
            of_each().map(|routes| self.job(stage, routes, &invoke, fail_fast)),
            count,
        );
        let mut done: Vec<Done<T>> = Vec::with_capacity(count);
        let mut told_to_stop = None;
        let waiting = |done: &[Done<T>]| -> Vec<Arc<str>> {
            of_each()
                .filter_map(|of_one| of_one.first())
                .filter(|r| done.iter().all(|d| d.position != r.position))
                .map(|r| r.connector.clone())
                .collect()
        };
        loop {
            tokio::select! {
                biased;
                next = running.next() => {
                    let Some(finished) = next else { break };
                    let failed = fail_fast && finished.values.iter().any(Result::is_err);
                    done.push(finished);
                    if failed && told_to_stop.is_none() && done.len() < count {
                        told_to_stop = Some(Why::SiblingFailed);
                        stop.cancel();
                        watch.limit = self.patience();
                    }
                }
                () = &mut watch.cancelled, if told_to_stop.is_none() => {
                    told_to_stop = Some(Why::Cancelled);
                    watch.limit = self.patience();
                }
                () = self.clock.until(watch.limit) => {
                    if told_to_stop.is_some() {
                        break;
                    }
                    told_to_stop = Some(Why::Overdue(waiting(&done)));
                    stop.cancel();
                    watch.limit = self.patience();
                }
            }
        }
        if done.len() < count {
            tracing::error!(
                servo = %self.shared.servo,
                event = %self.shared.event,
                %stage,
                command_uid = self.shared.command_uid.as_deref(),
                connectors = waiting(&done).join(", "),
                "handlers did not stop within {} and were given up",
                servo_messages::Duration::from(self.shared.grace),
            );
        }
        done.sort_unstable_by_key(|d| d.position);
        match told_to_stop {
            Some(Why::Overdue(waiting_for)) => StageEnd::Overdue {
                waiting_for: waiting_for.iter().map(ToString::to_string).collect(),
            },
            Some(Why::Cancelled) => StageEnd::Cancelled,
            Some(Why::SiblingFailed) => StageEnd::Complete(done),
            // The caller's token fired before a handler began: nobody may take its silence for
            // an answer.
            None if done.iter().any(|d| d.skipped) && self.options.cancel.is_cancelled() => {
                StageEnd::Cancelled
            }
            None => StageEnd::Complete(done),
        }
    }

    /// Until when handlers that were told to stop are waited for.
    fn patience(&self) -> Instant {
        now() + self.shared.grace + ENFORCEMENT
    }

    /// Runs the handlers of one connector, one after the other.
    async fn job<C, T>(
        &self,
        stage: Stage,
        routes: &[Route<C>],
        invoke: &impl Fn(&C, CallContext) -> CallFuture<T>,
        fail_fast: bool,
    ) -> Done<T> {
        let stop = &self.shared.cancel;
        let progress = self
            .shared
            .progress
            .as_ref()
            .filter(|_| stage == Stage::On)
            .map(|sink| (sink, now()));
        let mut values = Vec::with_capacity(routes.len());
        let mut skipped = false;
        for route in routes {
            if stop.is_cancelled() {
                skipped = true;
                break;
            }
            let value = invoke(
                &route.call,
                CallContext {
                    shared: self.shared.clone(),
                    connector: route.connector.clone(),
                    stage,
                },
            )
            .await;
            let failed = value.is_err();
            // One that stopped because it was told to has not failed.
            let obeyed = matches!(&value, Err(Failure::Error(e)) if e.kind == ErrorKind::Cancelled)
                && stop.is_cancelled();
            if obeyed {
                skipped = true;
            } else {
                values.push(value);
            }
            if failed && fail_fast {
                break;
            }
        }
        let (position, connector) = routes.first().map_or_else(
            || (usize::MAX, Arc::from("")),
            |r| (r.position, r.connector.clone()),
        );
        // A connector that is done must not hold back the progress of the others.
        if let Some((sink, began)) = progress {
            sink(ProgressUpdate {
                connector: connector.clone(),
                percent: 100.0,
                message: None,
                runtime: now().saturating_duration_since(began),
            });
        }
        let told = values.iter().any(Result::is_err) && stop.is_cancelled();
        Done {
            position,
            connector,
            values,
            at: (stage == Stage::On).then(Timestamp::now),
            told,
            skipped,
        }
    }

    /// The error that a failed handler leaves.
    fn error(&self, connector: &Arc<str>, stage: Stage, failure: Failure) -> HandlerError {
        let event = &self.shared.event;
        let error = match failure {
            Failure::Error(error) if error.kind == ErrorKind::Cancelled => EventError::failed(
                format!("{error} (only a before handler may cancel an event)"),
            ),
            Failure::Error(error) => error,
            // Dynamic handlers share one type for all stages, so a veto can come from anywhere.
            Failure::Veto(reason) => EventError::failed(format!(
                "Cannot cancel an event from an {stage} handler: {reason}"
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

/// A failure that no connector named (`spec/optimizer-protocol.md` §8).
fn unclassified(message: String) -> EventError {
    EventError::new(ErrorKind::Unclassified, message).with_reason("unknown")
}

// === impl Errors ===

/// The failures of one stage. What failed by itself comes before what failed after it was told to
/// stop: of equally severe errors the first is the one that is reported.
#[derive(Default)]
struct Errors {
    causes: Vec<HandlerError>,
    consequences: Vec<HandlerError>,
}

impl Errors {
    fn push(&mut self, told: bool, error: HandlerError) {
        if told {
            self.consequences.push(error);
        } else {
            self.causes.push(error);
        }
    }

    fn in_order(self) -> Vec<HandlerError> {
        let mut all = self.causes;
        all.extend(self.consequences);
        all
    }

    fn or<T>(self, value: T) -> Result<T, DispatchError> {
        if self.causes.is_empty() && self.consequences.is_empty() {
            Ok(value)
        } else {
            Err(DispatchError::Handlers(self.in_order()))
        }
    }
}

// === impl Participants ===

impl Participants<'_> {
    fn includes(&self, connector: &Arc<str>) -> bool {
        let in_scope = match self.scope {
            Scope::All => true,
            Scope::Only(names) => names.contains(connector),
            Scope::Except(names) => !names.contains(connector),
        };
        in_scope && !self.chain.contains(self.event, connector)
    }
}

// === impl Jobs ===

impl<F: Future> Jobs<F> {
    fn of(mut jobs: impl Iterator<Item = F>, count: usize) -> Self {
        if count == 1 {
            Self::One(jobs.next().map(Box::pin))
        } else {
            Self::Many(jobs.collect())
        }
    }
}

impl<F: Future> Stream for Jobs<F> {
    type Item = F::Output;

    fn poll_next(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<F::Output>> {
        let this = self.get_mut();
        match this {
            Self::One(None) => Poll::Ready(None),
            Self::One(Some(job)) => {
                let output = std::task::ready!(job.as_mut().poll(cx));
                *this = Self::One(None);
                Poll::Ready(Some(output))
            }
            Self::Many(jobs) => jobs.poll_next_unpin(cx),
        }
    }
}
