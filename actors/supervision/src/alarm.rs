//! The timers of a supervisor's children, on one clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, Waker};

use actix::Context;
use actix::fut::ActorFuture;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::node::Key;
use crate::supervisor::Supervisor;

/// When something is to be done about which child. Set for one epoch of the child; void in a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alarm {
    pub(crate) at: Instant,
    pub(crate) key: Key,
    pub(crate) epoch: u64,
}

/// All alarms that are set.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    heap: BinaryHeap<Reverse<Alarm>>,
    /// Of the supervisor's task.
    waker: Option<Waker>,
}

/// Rings the supervisor's alarms. One for all children: an idle child has no timer.
#[derive(Default)]
pub(crate) struct AlarmClock(Option<Pin<Box<Sleep>>>);

// === impl Alarms ===

impl Alarms {
    pub(crate) fn set(&mut self, alarm: Alarm) {
        // The clock may have been looked at already in this poll of the supervisor.
        if self.next().is_none_or(|first| alarm < *first)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
        self.heap.push(Reverse(alarm));
    }

    /// Takes the earliest alarm if it is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Alarm> {
        if self.next()?.at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(alarm)| alarm)
    }

    fn next(&self) -> Option<&Alarm> {
        self.heap.peek().map(|Reverse(alarm)| alarm)
    }

    fn register(&mut self, waker: &Waker) {
        if self
            .waker
            .as_ref()
            .is_none_or(|known| !known.will_wake(waker))
        {
            self.waker = Some(waker.clone());
        }
    }
}

// === impl AlarmClock ===

impl ActorFuture<Supervisor> for AlarmClock {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        act: &mut Supervisor,
        ctx: &mut Context<Supervisor>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        act.alarms.register(cx.waker());
        loop {
            let Some(Alarm { at, .. }) = act.alarms.next() else {
                self.0 = None;
                return Poll::Pending;
            };
            let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(*at)));
            if sleep.deadline() != *at {
                sleep.as_mut().reset(*at);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.0 = None;
            act.ring(ctx);
        }
    }
}
