//! One timer for all dispatches of a dispatcher.
//!
//! A runtime that has no timer set, or only later ones, is woken by a system call for each new one; measured, those
//! were a third of the cost of an event. Here a timer that is set too early is left to fire, and whoever is not meant
//! sets it again: an idle dispatcher has none, and a busy one sets one for each deadline that comes to pass.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use tokio::{
    sync::Notify,
    time::{Sleep, sleep_until},
};

use crate::context::now;

/// Where dispatches wait for their deadlines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    set_for: Cell<Option<Instant>>,
    rang: Notify,
    /// Of the task that runs the [`ClockWork`].
    waker: RefCell<Option<Waker>>,
}

/// Makes its [`Clock`] ring. Never ends.
#[derive(Debug)]
pub(crate) struct ClockWork {
    clock: Clock,
    sleep: Option<Pin<Box<Sleep>>>,
}

// === impl Clock ===

impl Clock {
    /// To be run by the dispatcher.
    pub(crate) fn work(&self) -> ClockWork {
        ClockWork {
            clock: self.clone(),
            sleep: None,
        }
    }

    /// Waits until `at`.
    pub(crate) async fn until(&self, at: Instant) {
        loop {
            let rang = self.0.rang.notified();
            // One that is set for an earlier time rings then, and time enough to look again.
            if !self.is_set_by(at) {
                if now() >= at {
                    return;
                }
                self.set(at);
            }
            rang.await;
        }
    }

    fn is_set_by(&self, at: Instant) -> bool {
        self.0.set_for.get().is_some_and(|set_for| set_for <= at)
    }

    fn set(&self, at: Instant) {
        self.0.set_for.set(Some(at));
        if let Some(waker) = &*self.0.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

// === impl ClockWork ===

impl Future for ClockWork {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { clock, sleep } = self.get_mut();
        let Inner {
            set_for,
            rang,
            waker,
        } = &*clock.0;
        let mut waker = waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        while let Some(at) = set_for.get() {
            let at = at.into();
            let timer = sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            set_for.set(None);
            rang.notify_waiters();
        }
        *sleep = None;
        Poll::Pending
    }
}
