//! What a connector does for one dispatch, from its first handler to its last: one trip to its actor, unless that dies
//! on the way.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use futures_util::future::LocalBoxFuture;
use jiff::Timestamp;

use crate::{
    bus::{Part, PartOf},
    context::{CallContext, CallShared, ProgressUpdate, now},
    event::{Event, Stage},
    handler::{Failure, Handler, Results},
    host::{Errand, Host},
    options::{EventResult, HandlerError, Stages},
};

/// The handlers of one connector, in the stages that it runs without waiting for other connectors.
///
/// It keeps its own record, outside of the actor: what was done before the actor died is known, and what is left to do
/// can be done by the next one.
pub(crate) struct Visit<E: Event> {
    pub(crate) shared: Arc<CallShared>,
    pub(crate) part: PartOf<E>,
    pub(crate) event: Arc<E>,
    pub(crate) stages: Stages,
    pub(crate) answers: Answers,
    record: Mutex<Record<E>>,
}

/// What becomes of what `on` handlers give.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answers {
    /// An error is a result, and no reason to stop.
    pub(crate) errors_count: bool,
    /// Only a connector's first result counts.
    pub(crate) first_only: bool,
}

struct Record<E: Event> {
    /// The stage that it is in; none once all is over.
    stage: Option<Stage>,
    /// Its next handler, or the one that is running.
    next: usize,
    /// Counts the actors that had a part in it, so that one that was given up goes no further.
    trip: u32,
    /// For progress; only if somebody wants to know.
    on_began: Option<Instant>,
    contributions: Vec<EventResult<E::Output>>,
    /// What `after` handlers see; none if nobody contributed, or nobody looks.
    results: Option<Results<E>>,
    ending: Ending,
}

/// How the visit of a connector ended.
pub(crate) struct Done<E: Event> {
    pub(crate) connector: Arc<str>,
    pub(crate) results: Vec<EventResult<E::Output>>,
    pub(crate) ending: Ending,
}

pub(crate) enum Ending {
    /// All handlers ran.
    Complete,
    /// Handlers were left out because the dispatch was told to stop.
    Skipped,
    Vetoed(String),
    Failed {
        error: HandlerError,
        /// It failed after it was told to stop.
        told: bool,
    },
}

/// What a handler gave.
type Outcome<E> = Result<Option<<E as Event>::Output>, Failure>;

/// A handler whose turn it is.
struct Next<'v, E: Event> {
    handler: &'v Handler<E>,
    stage: Stage,
    results: Option<Results<E>>,
}

// === impl Visit ===

impl<E: Event> Visit<E> {
    pub(crate) fn new(
        shared: Arc<CallShared>,
        part: PartOf<E>,
        event: Arc<E>,
        stages: Stages,
        answers: Answers,
        results: Option<Results<E>>,
    ) -> Arc<Self> {
        let mut this = Self {
            shared,
            part,
            event,
            stages,
            answers,
            record: Mutex::new(Record {
                stage: Some(Stage::Before),
                next: 0,
                trip: 0,
                on_began: None,
                contributions: Vec::new(),
                results,
                ending: Ending::Complete,
            }),
        };
        let record = this
            .record
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        while !record.is_at_a_handler(&this.part, this.stages) {
            record.turn_to(record.stage.and_then(Stage::following));
        }
        Arc::new(this)
    }

    /// Goes to the connector, as often as it takes. Whether a handler failed, so that nobody needs to go on.
    pub(crate) async fn make(self: Arc<Self>) -> bool {
        while let Err(failure) = self.part.seat.door.enter(self.clone()).await {
            let mut record = self.record();
            record.trip += 1;
            self.note(record, Err(failure));
            if self.is_over() {
                break;
            }
        }
        matches!(
            self.record().ending,
            Ending::Vetoed(_) | Ending::Failed { .. }
        )
    }

    /// What came of it. For once, when it was made or given up.
    pub(crate) fn done(&self) -> Done<E> {
        let mut record = self.record();
        let results = match record.results.take() {
            Some(seen) if self.stages.on => Arc::try_unwrap(seen).unwrap_or_else(|s| s.to_vec()),
            _ => std::mem::take(&mut record.contributions),
        };
        Done {
            connector: self.part.seat.connector.clone(),
            results,
            ending: std::mem::replace(&mut record.ending, Ending::Complete),
        }
    }

    /// The stage that it is in; none once it is over.
    pub(crate) fn stage(&self) -> Option<Stage> {
        self.record().stage
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stage().is_none()
    }

    /// Whether handlers were left out.
    pub(crate) fn was_cut_short(&self) -> bool {
        matches!(self.record().ending, Ending::Skipped)
    }

    fn record(&self) -> MutexGuard<'_, Record<E>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handler whose turn it is on this trip.
    fn next(&self, trip: u32) -> Option<Next<'_, E>> {
        let mut record = self.record();
        if record.trip != trip {
            return None;
        }
        let stage = record.stage?;
        let handler = self.part.handlers().get(record.next)?;
        if self.shared.stop.is_told() {
            record.ending = Ending::Skipped;
            drop(self.turn_to(record, None));
            return None;
        }
        if stage == Stage::On && self.shared.progress.is_some() {
            record.on_began.get_or_insert_with(now);
        }
        let results = (stage == Stage::After).then(|| record.results.clone().unwrap_or_default());
        Some(Next {
            handler,
            stage,
            results,
        })
    }

    /// Writes down what the handler gave whose turn it was, and goes on to the next.
    fn note<'v>(&'v self, mut record: MutexGuard<'v, Record<E>>, outcome: Outcome<E>) {
        let Some(stage) = record.stage else { return };
        let connector = &self.part.seat.connector;
        let contribution = match outcome {
            Ok(None) => None,
            Ok(Some(value)) => Some(Ok(value)),
            Err(failure) => {
                let told = self.shared.stop.is_told();
                let ending = match failure {
                    cancellation if told && cancellation.is_cancellation() => Ending::Skipped,
                    Failure::Veto(reason) if stage == Stage::Before => Ending::Vetoed(reason),
                    failure => Ending::Failed {
                        error: failure.of_handler(connector, stage, &self.shared),
                        told,
                    },
                };
                match ending {
                    Ending::Failed { error, .. }
                        if stage == Stage::On && self.answers.errors_count =>
                    {
                        Some(Err(error))
                    }
                    ending => {
                        record.ending = ending;
                        drop(self.turn_to(record, None));
                        return;
                    }
                }
            }
        };
        if let Some(value) = contribution {
            record.contributions.push(EventResult {
                connector: connector.clone(),
                created_at: Timestamp::now(),
                value,
            });
        }
        record.next += 1;
        while !record.is_at_a_handler(&self.part, self.stages) {
            let following = record.stage.and_then(Stage::following);
            record = self.turn_to(record, following);
        }
    }

    /// Leaves a stage for another one, or for good.
    fn turn_to<'v>(
        &'v self,
        mut record: MutexGuard<'v, Record<E>>,
        stage: Option<Stage>,
    ) -> MutexGuard<'v, Record<E>> {
        let left = record.stage;
        record.turn_to(stage);
        if left != Some(Stage::On) {
            return record;
        }
        if self.answers.first_only {
            record.contributions.truncate(1);
        }
        if stage == Some(Stage::After) && self.stages.after {
            record.results = Some(Arc::new(std::mem::take(&mut record.contributions)));
        }
        // A connector that is done must not hold back the progress of the others.
        if let Some(sink) = &self.shared.progress
            && let Some(began) = record.on_began.take()
        {
            drop(record);
            sink(ProgressUpdate {
                connector: self.part.seat.connector.clone(),
                percent: 100.0,
                message: None,
                runtime: now().saturating_duration_since(began),
            });
            record = self.record();
        }
        record
    }
}

// === impl Record ===

impl<E: Event> Record<E> {
    fn turn_to(&mut self, stage: Option<Stage>) {
        self.stage = stage;
        self.next = 0;
    }

    /// Finds the next handler of its stage. Whether there is one, or all is over.
    fn is_at_a_handler(&mut self, part: &Part<E>, stages: Stages) -> bool {
        let Some(stage) = self.stage else { return true };
        if !stages.has(stage) || !part.stages.has(stage) {
            return false;
        }
        let mut left = part.handlers().iter().skip(self.next);
        match left.position(|handler| handler.stage() == stage) {
            Some(passed) => {
                self.next += passed;
                true
            }
            None => false,
        }
    }
}

impl<E: Event> Errand for Visit<E> {
    fn shared(&self) -> &CallShared {
        &self.shared
    }

    fn run(self: Arc<Self>, host: Host) -> LocalBoxFuture<'static, ()> {
        Box::pin(async move {
            let trip = self.record().trip;
            while let Some(Next {
                handler,
                stage,
                results,
            }) = self.next(trip)
            {
                let cx = CallContext {
                    shared: self.shared.clone(),
                    connector: self.part.seat.connector.clone(),
                    stage,
                };
                let outcome = match handler {
                    Handler::Before(call) => host
                        .run(cx, |host, cx| call.run(host, self.event.clone(), cx))
                        .await
                        .map(|()| None),
                    Handler::On(call) => {
                        host.run(cx, |host, cx| match E::AROUND {
                            None => call.run(host, self.event.clone(), cx),
                            Some(around) => around.run(call.clone(), host, self.event.clone(), cx),
                        })
                        .await
                    }
                    Handler::After(call) => host
                        .run(cx, |host, cx| {
                            call.run(host, results.unwrap_or_default(), cx)
                        })
                        .await
                        .map(|()| None),
                };
                let record = self.record();
                if record.trip != trip {
                    return;
                }
                self.note(record, outcome);
            }
        })
    }
}
