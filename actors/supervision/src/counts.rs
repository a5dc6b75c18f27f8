//! How often children of this process ended and were started again.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::exit::Exit;

/// What supervisors of this process did since it started, by the cause that they did it for.
///
/// A restart counts when it is decided on, before its backoff.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestartCounts {
    /// Restarts after an end that is no failure.
    pub normal: u64,
    /// Restarts after an error that the child, or its factory, told.
    pub failed: u64,
    /// Restarts after a panic.
    pub panicked: u64,
    /// Restarts of children that made no progress.
    pub stuck: u64,
    /// Restarts that somebody asked for.
    pub asked: u64,
    /// How often a child was parked, as it needed too many restarts.
    pub parked: u64,
    /// How often a supervisor gave itself up over a child.
    pub escalated: u64,
}

struct Counters {
    normal: AtomicU64,
    failed: AtomicU64,
    panicked: AtomicU64,
    stuck: AtomicU64,
    asked: AtomicU64,
    parked: AtomicU64,
    escalated: AtomicU64,
}

static COUNTERS: Counters = Counters {
    normal: AtomicU64::new(0),
    failed: AtomicU64::new(0),
    panicked: AtomicU64::new(0),
    stuck: AtomicU64::new(0),
    asked: AtomicU64::new(0),
    parked: AtomicU64::new(0),
    escalated: AtomicU64::new(0),
};

/// The restarts of all children of this process so far. Cheap, and takes no lock.
pub fn restarts() -> RestartCounts {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    RestartCounts {
        normal: read(&COUNTERS.normal),
        failed: read(&COUNTERS.failed),
        panicked: read(&COUNTERS.panicked),
        stuck: read(&COUNTERS.stuck),
        asked: read(&COUNTERS.asked),
        parked: read(&COUNTERS.parked),
        escalated: read(&COUNTERS.escalated),
    }
}

pub(crate) fn count_restart(after: &Exit) {
    count(match after {
        Exit::Normal | Exit::Stopped => &COUNTERS.normal,
        Exit::Failed(_) => &COUNTERS.failed,
        Exit::Panicked { .. } => &COUNTERS.panicked,
        Exit::Stuck { .. } => &COUNTERS.stuck,
    });
}

pub(crate) fn count_asked() {
    count(&COUNTERS.asked);
}

pub(crate) fn count_parked() {
    count(&COUNTERS.parked);
}

pub(crate) fn count_escalated() {
    count(&COUNTERS.escalated);
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
