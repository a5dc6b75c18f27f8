//! Waiting for the connectors that are at work for a dispatch, until they are done, told to stop, or given up.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt, stream::FuturesUnordered};
use tokio_util::sync::WaitForCancellationFuture;

use crate::{
    clock::Clock,
    context::{CallShared, now},
    event::{Event, Stage},
    visit::Visit,
};

/// How long the supervisor may take to end a handler that outstayed its grace.
const ENFORCEMENT: Duration = Duration::from_millis(500);

/// What can end a dispatch early.
pub(crate) struct Watch<'a, 't> {
    pub(crate) clock: &'a Clock,
    pub(crate) shared: &'a CallShared,
    /// When the handlers are told to stop; after that, when they are given up.
    pub(crate) limit: Instant,
    /// The caller's token fires.
    pub(crate) cancelled: Pin<&'a mut WaitForCancellationFuture<'t>>,
}

/// How the wait for some visits ended.
pub(crate) enum StageEnd {
    Complete,
    /// The caller's token fired.
    Cancelled,
    /// The time was up.
    Overdue {
        /// The connectors that had not answered by then.
        waiting_for: Vec<String>,
    },
}

/// Why handlers were told to stop.
enum Why {
    SiblingFailed,
    Cancelled,
    Overdue { waiting_for: Vec<String> },
}

/// Visits that are under way; a single one needs no scheduler.
enum Jobs<F: Future> {
    One(Option<Pin<Box<F>>>),
    Many(FuturesUnordered<F>),
}

// === impl Watch ===

impl Watch<'_, '_> {
    /// Makes the visits at the same time.
    ///
    /// The first that fails fires the token of the others. Handlers that were told to stop are waited for, within the
    /// grace, so that nothing goes on behind the caller's back.
    pub(crate) async fn over<E: Event>(&mut self, visits: &[Arc<Visit<E>>]) -> StageEnd {
        let stop = &self.shared.stop;
        let mut running = Jobs::of(visits.iter().map(|visit| visit.clone().make()));
        let mut left = visits.len();
        let mut told_to_stop = None;
        loop {
            tokio::select! {
                biased;
                next = running.next() => {
                    let Some(failed) = next else { break };
                    left -= 1;
                    if failed && told_to_stop.is_none() && left > 0 {
                        told_to_stop = Some(Why::SiblingFailed);
                        stop.tell();
                        self.limit = self.patience();
                    }
                }
                () = &mut self.cancelled, if told_to_stop.is_none() => {
                    told_to_stop = Some(Why::Cancelled);
                    self.limit = self.patience();
                }
                () = self.clock.until(self.limit) => {
                    if told_to_stop.is_some() {
                        break;
                    }
                    told_to_stop = Some(Why::Overdue { waiting_for: unfinished(visits) });
                    stop.tell();
                    self.limit = self.patience();
                }
            }
        }
        if left > 0 {
            tracing::error!(
                servo = %self.shared.servo,
                event = %self.shared.event,
                stage = visits.iter().find_map(|v| v.stage()).map(Stage::as_str),
                command_uid = self.shared.command_uid.as_deref(),
                connectors = unfinished(visits).join(", "),
                "handlers did not stop within {} and were given up",
                servo_messages::Duration::from(self.shared.grace),
            );
        }
        match told_to_stop {
            Some(Why::Overdue { waiting_for }) => StageEnd::Overdue { waiting_for },
            Some(Why::Cancelled) => StageEnd::Cancelled,
            Some(Why::SiblingFailed) => StageEnd::Complete,
            // The caller's token fired before a handler began: nobody may take its silence for
            // an answer.
            None if visits.iter().any(|v| v.was_cut_short()) && stop.caller().is_cancelled() => {
                StageEnd::Cancelled
            }
            None => StageEnd::Complete,
        }
    }

    /// Until when handlers that were told to stop are waited for.
    fn patience(&self) -> Instant {
        now() + self.shared.grace + ENFORCEMENT
    }
}

fn unfinished<E: Event>(visits: &[Arc<Visit<E>>]) -> Vec<String> {
    visits
        .iter()
        .filter(|visit| !visit.is_over())
        .map(|visit| visit.part.seat.connector.to_string())
        .collect()
}

// === impl Jobs ===

impl<F: Future> Jobs<F> {
    fn of(mut jobs: impl ExactSizeIterator<Item = F>) -> Self {
        if jobs.len() == 1 {
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
