//! What a double has seen, and waiting for it.

use std::{
    fmt,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// State that tests wait on.
#[derive(Debug, Default)]
pub(crate) struct Record<T> {
    state: Mutex<T>,
    changed: Condvar,
}

/// A condition did not come true in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedOut {
    /// How long was waited.
    pub waited: Duration,
    /// What had been seen by then.
    pub seen: String,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the condition did not come true within {:?}; seen:\n{}",
            self.waited, self.seen
        )
    }
}

impl std::error::Error for TimedOut {}

impl<T> Record<T> {
    pub(crate) fn new(state: T) -> Self {
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Looks at the state.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // A condition of a test that panics must not hide what the double has seen.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes those who wait on it.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `condition` returns something. Blocks the thread.
    pub(crate) fn wait<R>(
        &self,
        deadline: Duration,
        mut condition: impl FnMut(&T) -> Option<R>,
        describe: impl FnOnce(&T) -> String,
    ) -> Result<R, TimedOut> {
        let until = Instant::now() + deadline;
        let mut state = self.lock();
        loop {
            if let Some(result) = condition(&state) {
                return Ok(result);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(TimedOut {
                    waited: deadline,
                    seen: describe(&state),
                });
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
