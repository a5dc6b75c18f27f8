//! When a request is tried again, and when no more (`spec/optimizer-protocol.md` §11).

use std::{fmt, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Event, OptimizerClient, Outage, PostError, Request, Response};

/// Exponential delays with full jitter: the k-th is uniform in `[0, base * 2^k]`, the bound never above
/// the cap.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
}

/// How long and how often one request is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// No attempt begins later than this after the first one; none = no limit.
    pub max_time: Option<Duration>,
    /// Attempts in all, the first included; none = no limit. Zero counts as one.
    pub max_tries: Option<u32>,
    /// Longest single attempt.
    pub attempt: Duration,
}

/// The state of one request's retries.
#[derive(Debug, Clone)]
pub struct Retry {
    budget: Budget,
    backoff: Backoff,
    began: Instant,
    tries: u32,
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Try again after this time.
    RetryIn(Duration),
    /// Do not try again.
    GiveUp(GiveUp),
}

/// Why a request is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveUp {
    /// Another attempt would fail the same way.
    Fatal,
    /// [`Budget::max_time`] is over.
    OutOfTime,
    /// [`Budget::max_tries`] are used up.
    OutOfTries,
}

/// A request that brought no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PostFailure {
    /// The last attempt failed, and there will be no other.
    #[error("{error} ({why}, {tries} tries in {:.1}s)", elapsed.as_secs_f64())]
    GaveUp {
        /// How the last attempt failed. Its [`PostError::retry_after`] still holds for the next request.
        error: PostError,
        /// Why there is no other.
        why: GiveUp,
        /// Attempts made.
        tries: u32,
        /// Time since the first attempt began.
        elapsed: Duration,
    },
    /// Cancelled by the caller, before or during an attempt.
    #[error("cancelled")]
    Cancelled,
}

// === impl Backoff ===

impl Backoff {
    /// The protocol's delays: base 1 s, cap 60 s.
    pub fn standard() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(60))
    }

    /// Delays up to `base`, `2 * base`, `4 * base`, ..., `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self {
            base,
            cap,
            attempt: 0,
        }
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let bound = self.bound();
        self.attempt = self.attempt.saturating_add(1);
        bound.mul_f64(rand::random_range(0.0..=1.0))
    }

    /// The longest that the next delay can be.
    pub fn bound(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// Begins again with the shortest delays.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

// === impl Budget ===

impl Budget {
    /// For every event but HELLO and progress: 10 minutes.
    pub fn standard() -> Self {
        Self {
            max_time: Some(Duration::from_secs(600)),
            max_tries: None,
            attempt: Duration::from_secs(75),
        }
    }

    /// For HELLO: one hour.
    pub fn connect() -> Self {
        Self {
            max_time: Some(Duration::from_secs(3600)),
            ..Self::standard()
        }
    }

    /// For progress, which is worthless when old: two retries within 10 s (§9).
    pub fn progress() -> Self {
        Self {
            max_time: Some(Duration::from_secs(10)),
            max_tries: Some(3),
            attempt: Duration::from_secs(10),
        }
    }

    /// For GOODBYE, which must not delay the exit: three tries in 5 s (§16).
    pub fn goodbye() -> Self {
        Self {
            max_time: Some(Duration::from_secs(5)),
            max_tries: Some(3),
            attempt: Duration::from_secs(5),
        }
    }
}

// === impl Retry ===

impl Retry {
    /// Nothing is waited longer than this for a last attempt, however small the rest of the budget.
    const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);

    /// Begins with the first attempt at `now`.
    pub fn new(budget: Budget, now: Instant) -> Self {
        Self {
            budget,
            backoff: Backoff::standard(),
            began: now,
            tries: 0,
        }
    }

    /// Decides after an attempt that failed with `error` at `now`.
    ///
    /// The delay is the longer of the back-off and the server's `Retry-After`, clipped to what is left of
    /// the time; a `Retry-After` beyond it gives up, for the server would refuse the last attempt anyway.
    pub fn next_delay(&mut self, error: &PostError, now: Instant) -> Decision {
        self.tries = self.tries.saturating_add(1);
        if !error.retryable() {
            return Decision::GiveUp(GiveUp::Fatal);
        }
        if self.budget.max_tries.is_some_and(|max| self.tries >= max) {
            return Decision::GiveUp(GiveUp::OutOfTries);
        }
        let left = self.left(now);
        let asked = error.retry_after().unwrap_or_default();
        if left.is_some_and(|left| left.is_zero() || asked > left) {
            return Decision::GiveUp(GiveUp::OutOfTime);
        }
        let delay = self.backoff.next_delay().max(asked);
        Decision::RetryIn(left.map_or(delay, |left| delay.min(left)))
    }

    /// How long an attempt that begins at `now` may take.
    pub fn attempt_deadline(&self, now: Instant) -> Duration {
        self.left(now).map_or(self.budget.attempt, |left| {
            left.max(Self::SHORTEST_ATTEMPT).min(self.budget.attempt)
        })
    }

    fn left(&self, now: Instant) -> Option<Duration> {
        let max_time = self.budget.max_time?;
        Some(max_time.saturating_sub(now.saturating_duration_since(self.began)))
    }
}

/// Posts `request` until there is an answer, the budget is spent, an error is fatal, or `cancel` is
/// triggered.
///
/// An unusable 2xx body ends a report at once, since the optimizer has taken it; everything else asks again
/// (§10, §12). What is logged is `outage`'s affair: one line for each change of state and one a minute.
///
/// # Errors
///
/// [`PostFailure`]; for a report, see [`PostError::delivered`] before taking it for lost.
pub async fn post_with_retry(
    client: &dyn OptimizerClient,
    request: &Request,
    budget: &Budget,
    outage: &Outage,
    cancel: &CancellationToken,
) -> Result<Response, PostFailure> {
    let began = Instant::now();
    let mut retry = Retry::new(budget.clone(), began);
    loop {
        let attempt = client.post(request, retry.attempt_deadline(Instant::now()));
        // The token is looked at first: a cancelled request must not even begin.
        let answer = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(PostFailure::Cancelled),
            answer = attempt => answer,
        };
        let error = match answer {
            Ok(response) => {
                outage.answered();
                return Ok(response);
            }
            Err(error) => error,
        };
        let mut decision = retry.next_delay(&error, Instant::now());
        if error.delivered() && matches!(request.event, Event::Report(_, _)) {
            decision = Decision::GiveUp(GiveUp::Fatal);
        }
        match decision {
            Decision::RetryIn(delay) => {
                outage.failed(&error, Some(delay));
                let cancelled = cancel.run_until_cancelled(tokio::time::sleep(delay)).await;
                if cancelled.is_none() {
                    return Err(PostFailure::Cancelled);
                }
            }
            Decision::GiveUp(why) => {
                outage.failed(&error, None);
                return Err(PostFailure::GaveUp {
                    error,
                    why,
                    tries: retry.tries,
                    elapsed: began.elapsed(),
                });
            }
        }
    }
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fatal => "not retryable",
            Self::OutOfTime => "no time left",
            Self::OutOfTries => "no tries left",
        })
    }
}
