//! How far an operation is. Pure calculators: the caller says what time it is, as the time since any fixed moment of
//! its own choice.

use std::fmt;

use crate::duration::Duration;

/// How often progress is reported where nothing else is said.
const EVENT_WATCH_INTERVAL: Duration = Duration::from_secs(60);
const DURATION_WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// A progress object was started a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot start a progress object that has already been started")]
pub struct AlreadyStarted;

/// A step of progress of one operation.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgressReport {
    /// 0 to 100.
    pub percent: f64,
    /// What is going on.
    pub message: Option<String>,
}

impl ProgressReport {
    /// A report of this many percent, brought between 0 and 100 (NaN is 0).
    pub fn new(percent: f64, message: Option<String>) -> ProgressReport {
        let percent = if percent.is_nan() {
            0.0
        } else {
            percent.clamp(0.0, 100.0)
        };
        ProgressReport { percent, message }
    }
}

/// The text of a progress report; prints as `33.38% complete, 1s elapsed`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProgressText {
    /// 0 to 100.
    pub percent: f64,
    /// Since the operation began.
    pub elapsed: Duration,
}

impl ProgressText {
    /// `33.38% complete, 1s elapsed - measuring`
    pub fn before(self, text: &str) -> String {
        format!("{self} - {text}")
    }

    /// `measuring (33.38% complete, 1s elapsed)`
    pub fn after(self, text: &str) -> String {
        format!("{text} ({self})")
    }
}

impl fmt::Display for ProgressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}% complete, {} elapsed", self.percent, self.elapsed)
    }
}

fn share(elapsed: Duration, whole: Duration) -> f64 {
    if elapsed >= whole {
        100.0
    } else {
        (100.0 * elapsed.as_secs_f64() / whole.as_secs_f64()).min(100.0)
    }
}

/// Progress through a fixed length of time.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationProgress {
    duration: Duration,
    started_at: Option<Duration>,
}

impl DurationProgress {
    /// Not yet started.
    pub const fn new(duration: Duration) -> DurationProgress {
        DurationProgress {
            duration,
            started_at: None,
        }
    }

    /// How long it takes in all.
    pub const fn duration(&self) -> Duration {
        self.duration
    }

    /// Starts the clock.
    ///
    /// # Errors
    /// It was started before.
    pub fn start(&mut self, now: impl Into<Duration>) -> Result<(), AlreadyStarted> {
        if self.started_at.is_some() {
            return Err(AlreadyStarted);
        }
        self.started_at = Some(now.into());
        Ok(())
    }

    /// Whether it was started.
    pub const fn is_started(&self) -> bool {
        self.started_at.is_some()
    }

    /// Since the start; zero before it.
    pub fn elapsed(&self, now: impl Into<Duration>) -> Duration {
        self.started_at
            .map_or(Duration::ZERO, |start| now.into().saturating_sub(start))
    }

    /// Until the end.
    pub fn remaining(&self, now: impl Into<Duration>) -> Duration {
        self.duration.saturating_sub(self.elapsed(now))
    }

    /// 0 before the start, then the elapsed share, at most 100; a length of zero is at 100 once started.
    pub fn percent(&self, now: impl Into<Duration>) -> f64 {
        if self.is_started() {
            share(self.elapsed(now), self.duration)
        } else {
            0.0
        }
    }

    /// Whether it is at 100.
    pub fn is_finished(&self, now: impl Into<Duration>) -> bool {
        self.percent(now) >= 100.0
    }

    /// How often to report: every 5 s.
    pub const fn watch_interval(&self) -> Duration {
        DURATION_WATCH_INTERVAL
    }

    /// The text for a report made now.
    pub fn text(&self, now: impl Into<Duration>) -> ProgressText {
        let now = now.into();
        ProgressText {
            percent: self.percent(now),
            elapsed: self.elapsed(now),
        }
    }
}

/// Progress towards something that happens at an unknown time, and must then hold for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct EventProgress {
    timeout: Option<Duration>,
    settlement: Option<Duration>,
    started_at: Option<Duration>,
    state: EventState,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum EventState {
    /// It has not happened, or no longer holds.
    Waiting,
    /// It has happened, and is watched for the length of the settlement.
    Settling { since: Duration },
    /// Declared complete.
    Complete,
}

impl EventProgress {
    /// Not yet started. Without `timeout` it waits for ever; without `settlement` it is complete once triggered.
    pub const fn new(timeout: Option<Duration>, settlement: Option<Duration>) -> EventProgress {
        EventProgress {
            timeout,
            settlement,
            started_at: None,
            state: EventState::Waiting,
        }
    }

    /// Starts the clock of the timeout.
    ///
    /// # Errors
    /// It was started before.
    pub fn start(&mut self, now: impl Into<Duration>) -> Result<(), AlreadyStarted> {
        if self.started_at.is_some() {
            return Err(AlreadyStarted);
        }
        self.started_at = Some(now.into());
        Ok(())
    }

    /// Whether it was started.
    pub const fn is_started(&self) -> bool {
        self.started_at.is_some()
    }

    /// It happened: begins the settlement, or completes where there is none. Changes nothing while settling.
    pub fn trigger(&mut self, now: impl Into<Duration>) {
        if self.state == EventState::Waiting {
            self.state = match self.settlement {
                Some(_) => EventState::Settling { since: now.into() },
                None => EventState::Complete,
            };
        }
    }

    /// It no longer holds: back to waiting. The timeout runs on.
    pub fn reset(&mut self) {
        self.state = EventState::Waiting;
    }

    /// Done, whatever was awaited.
    pub fn complete(&mut self) {
        self.state = EventState::Complete;
    }

    /// Whether it was triggered and is being watched.
    pub fn is_settling(&self, now: impl Into<Duration>) -> bool {
        let now = now.into();
        matches!(self.state, EventState::Settling { .. })
            && !self.is_complete(now)
            && !self.is_timed_out(now)
    }

    /// Whether it happened and held through the settlement, before the timeout.
    pub fn is_complete(&self, now: impl Into<Duration>) -> bool {
        match self.state {
            EventState::Waiting => false,
            EventState::Complete => true,
            EventState::Settling { .. } => self.settled_at().is_some_and(|at| {
                at <= now.into() && self.deadline().is_none_or(|deadline| at <= deadline)
            }),
        }
    }

    /// Whether the timeout ended it. A timeout of zero does so at the start.
    pub fn is_timed_out(&self, now: impl Into<Duration>) -> bool {
        let now = now.into();
        !self.is_complete(now) && self.deadline().is_some_and(|deadline| now >= deadline)
    }

    /// Complete or timed out.
    pub fn is_finished(&self, now: impl Into<Duration>) -> bool {
        let now = now.into();
        self.is_complete(now) || self.is_timed_out(now)
    }

    /// Since the start; zero before it.
    pub fn elapsed(&self, now: impl Into<Duration>) -> Duration {
        self.started_at
            .map_or(Duration::ZERO, |start| now.into().saturating_sub(start))
    }

    /// Until it completes or times out by itself; none where only a trigger can end it.
    pub fn remaining(&self, now: impl Into<Duration>) -> Option<Duration> {
        let now = now.into();
        if self.is_finished(now) {
            return Some(Duration::ZERO);
        }
        let end = match (self.settled_at(), self.deadline()) {
            (Some(settled), Some(deadline)) => settled.min(deadline),
            (settled, deadline) => settled.or(deadline)?,
        };
        Some(end.saturating_sub(now))
    }

    /// 100 if complete; while settling, the share of the settlement; else the elapsed share of the timeout; else 0.
    pub fn percent(&self, now: impl Into<Duration>) -> f64 {
        let now = now.into();
        if self.is_complete(now) {
            return 100.0;
        }
        match (self.state, self.settlement, self.started_at, self.timeout) {
            (EventState::Settling { since }, Some(settlement), _, _) => {
                share(now.saturating_sub(since), settlement)
            }
            (_, _, Some(start), Some(timeout)) => share(now.saturating_sub(start), timeout),
            _ => 0.0,
        }
    }

    /// How often to report: every 60 s, or the timeout if that is shorter.
    pub fn watch_interval(&self) -> Duration {
        self.timeout.map_or(EVENT_WATCH_INTERVAL, |timeout| {
            timeout.min(EVENT_WATCH_INTERVAL)
        })
    }

    /// The text for a report made now.
    pub fn text(&self, now: impl Into<Duration>) -> ProgressText {
        let now = now.into();
        ProgressText {
            percent: self.percent(now),
            elapsed: self.elapsed(now),
        }
    }

    fn deadline(&self) -> Option<Duration> {
        Some(self.started_at?.saturating_add(self.timeout?))
    }

    fn settled_at(&self) -> Option<Duration> {
        match (self.state, self.settlement) {
            (EventState::Settling { since }, Some(settlement)) => {
                Some(since.saturating_add(settlement))
            }
            _ => None,
        }
    }
}
