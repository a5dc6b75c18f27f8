//! When a request is tried again, and when no more (`spec/optimizer-protocol.md` §11).

use std::{fmt, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use servo_messages::{BackoffConfig, CommonConfig, Timeouts};

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
    /// The protocol's delays: base 1 s, cap 55 s. The cap of `spec/optimizer-protocol.md` §11 is 60 s; staying below it
    /// leaves thousands of servos the time to be heard, so that all are back a minute after the optimizer is.
    pub fn standard() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(55))
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
    /// The limits that `settings.backoff` sets for `context` ([`BackoffConfig::CONNECT`] for HELLO,
    /// [`BackoffConfig::DEFAULT`] for every other event but progress and GOODBYE), and attempts as long as
    /// `settings.timeouts` allow.
    pub fn of(settings: &CommonConfig, context: &str) -> Self {
        let limits = settings.backoff.limits(context);
        Self {
            max_time: limits.max_time.map(Duration::from),
            max_tries: limits.max_tries,
            attempt: longest_attempt(&settings.timeouts),
        }
    }

    /// [`Budget::of`] for HELLO.
    pub fn connect_of(settings: &CommonConfig) -> Self {
        Self::of(settings, BackoffConfig::CONNECT)
    }

    /// [`Budget::of`] for every event but HELLO, progress and GOODBYE.
    pub fn standard_of(settings: &CommonConfig) -> Self {
        Self::of(settings, BackoffConfig::DEFAULT)
    }

    /// The same, no attempt longer than `settings.timeouts` allow: for progress and GOODBYE, whose limits are their
    /// own.
    #[must_use]
    pub fn within(self, settings: &CommonConfig) -> Self {
        Self {
            attempt: self.attempt.min(longest_attempt(&settings.timeouts)),
            ..self
        }
    }

    /// For every event but HELLO and progress, where nothing is configured: 10 minutes.
    pub fn standard() -> Self {
        Self::standard_of(&CommonConfig::default())
    }

    /// For HELLO, where nothing is configured: one hour.
    pub fn connect() -> Self {
        Self::connect_of(&CommonConfig::default())
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

    /// For diagnostics: 10 minutes or 20 tries (§18).
    pub(crate) fn diagnostics() -> Self {
        Self {
            max_time: Some(Duration::from_secs(600)),
            max_tries: Some(20),
            ..Self::standard()
        }
    }
}

/// A server that sends a byte now and then stays within each limit; their sum is where that ends.
fn longest_attempt(timeouts: &Timeouts) -> Duration {
    let Timeouts {
        connect,
        read,
        write,
        pool: _,
    } = *timeouts;
    connect.saturating_add(write).saturating_add(read).into()
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
/// (§10, §12). A server may close an idle connection just when it is used again, which says nothing about the server:
/// the first attempt that ends so is followed by another at once and not told of. What else is logged is `outage`'s
/// affair: one line for each change of state and one a minute.
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
        if retry.tries == 1
            && error.may_be_of_an_old_connection()
            && matches!(decision, Decision::RetryIn(_))
        {
            tracing::debug!(%error, "attempt failed; making another at once, over a new connection");
            continue;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::sync::Mutex;

    use super::*;
    use crate::{BoxFuture, StatusReply, TransportKind};

    fn status(status: u16, retry_after: Option<u64>) -> PostError {
        PostError::Http {
            url: "http://x/".into(),
            status,
            excerpt: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
            detail: None,
        }
    }

    /// Fails with the same error until `heals` tries were made; remembers when each was made.
    struct Flaky {
        error: PostError,
        heals: usize,
        hangs: Duration,
        tries: Mutex<Vec<(Instant, Duration)>>,
    }

    impl Flaky {
        fn new(error: PostError, heals: usize) -> Self {
            Self {
                error,
                heals,
                hangs: Duration::ZERO,
                tries: Mutex::default(),
            }
        }

        fn tries(&self) -> Vec<(Instant, Duration)> {
            self.tries.lock().unwrap().clone()
        }
    }

    impl OptimizerClient for Flaky {
        fn post<'a>(
            &'a self,
            _: &'a Request,
            deadline: Duration,
        ) -> BoxFuture<'a, Result<Response, PostError>> {
            let tries = {
                let mut tries = self.tries.lock().unwrap();
                tries.push((Instant::now(), deadline));
                tries.len()
            };
            Box::pin(async move {
                tokio::time::sleep(self.hangs.min(deadline)).await;
                if tries > self.heals {
                    Ok(Response::Status(StatusReply::ok()))
                } else {
                    Err(self.error.clone())
                }
            })
        }

        fn display_url(&self) -> String {
            "http://x/".into()
        }
    }

    async fn post(client: &Flaky, budget: Budget) -> Result<Response, PostFailure> {
        let request = Request {
            event: Event::WhatsNext,
            servo_uid: None,
        };
        let cancel = CancellationToken::new();
        post_with_retry(client, &request, &budget, &Outage::default(), &cancel).await
    }

    #[test]
    fn delays_are_jittered_and_their_bound_doubles_up_to_the_cap() {
        let mut backoff = Backoff::standard();
        let mut bounds = Vec::new();
        for _ in 0..40 {
            let bound = backoff.bound();
            assert!(backoff.next_delay() <= bound);
            bounds.push(bound.as_secs());
        }
        assert_eq!(bounds[..8], [1, 2, 4, 8, 16, 32, 55, 55]);
        assert_eq!(backoff.bound(), Duration::from_secs(55));
        backoff.reset();
        assert_eq!(backoff.bound(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_that_heals_is_retried_until_it_does() {
        let client = Flaky::new(status(503, None), 5);
        assert!(post(&client, Budget::standard()).await.is_ok());
        assert_eq!(client.tries().len(), 6);
    }

    fn broken() -> PostError {
        PostError::Transport {
            url: "http://x/".into(),
            kind: TransportKind::Broken,
            detail: "connection closed before message completed".into(),
        }
    }

    /// Neither a pause nor a word in the log: the outage does not even begin.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_breaks_is_replaced_at_once_and_only_one() {
        let began = Instant::now();
        let client = Flaky::new(broken(), 1);
        assert!(post(&client, Budget::standard()).await.is_ok());
        assert_eq!((client.tries().len(), began.elapsed()), (2, Duration::ZERO));

        let client = Flaky::new(broken(), usize::MAX);
        let once = Budget {
            max_tries: Some(1),
            ..Budget::standard()
        };
        post(&client, once).await.unwrap_err();
        assert_eq!(client.tries().len(), 1);

        // A server that breaks every connection is met with the same patience as any other.
        let client = Flaky::new(broken(), usize::MAX);
        let request = Request {
            event: Event::WhatsNext,
            servo_uid: None,
        };
        let (outage, cancel) = (Outage::default(), CancellationToken::new());
        post_with_retry(&client, &request, &Budget::standard(), &outage, &cancel)
            .await
            .unwrap_err();
        assert!((13..61).contains(&client.tries().len()));
        assert!(outage.lasts().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fatal_status_is_tried_once() {
        for code in [302, 400, 401, 403, 409, 410] {
            let client = Flaky::new(status(code, None), usize::MAX);
            let failure = post(&client, Budget::standard()).await.unwrap_err();
            assert!(
                matches!(
                    failure,
                    PostFailure::GaveUp {
                        why: GiveUp::Fatal,
                        tries: 1,
                        ..
                    }
                ),
                "{failure:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_budget_bounds_the_whole_and_its_last_attempt() {
        let mut client = Flaky::new(status(500, None), usize::MAX);
        client.hangs = Duration::from_secs(60);
        let budget = Budget {
            max_time: Some(Duration::from_secs(3)),
            ..Budget::standard()
        };
        let began = Instant::now();
        let failure = post(&client, budget).await.unwrap_err();
        assert!(matches!(
            failure,
            PostFailure::GaveUp {
                why: GiveUp::OutOfTime,
                ..
            }
        ));
        assert!(
            began.elapsed() <= Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_optimizer_is_tried_for_the_whole_budget_at_a_capped_pace() {
        let refused = PostError::Transport {
            url: "http://x/".into(),
            kind: TransportKind::Connect,
            detail: "refused".into(),
        };
        let client = Flaky::new(refused, usize::MAX);
        let began = Instant::now();
        let failure = post(&client, Budget::standard()).await.unwrap_err();
        assert_eq!(began.elapsed(), Duration::from_secs(600));
        let tries = client.tries();
        assert!((12..60).contains(&tries.len()), "{}", tries.len());
        let longest = tries.windows(2).map(|pair| pair[1].0 - pair[0].0).max();
        assert!(longest.unwrap() <= Duration::from_secs(55));
        assert!(failure.to_string().contains("no time left"), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_limits_means_no_end() {
        let client = Flaky::new(status(404, None), 500);
        let budget = Budget {
            max_time: None,
            ..Budget::standard()
        };
        assert!(post(&client, budget).await.is_ok());
        assert_eq!(client.tries().len(), 501);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_is_given_up_after_two_retries_or_ten_seconds() {
        let client = Flaky::new(status(503, None), usize::MAX);
        let failure = post(&client, Budget::progress()).await.unwrap_err();
        assert!(matches!(
            failure,
            PostFailure::GaveUp {
                why: GiveUp::OutOfTries,
                tries: 3,
                ..
            }
        ));
        let mut client = Flaky::new(status(503, None), usize::MAX);
        client.hangs = Duration::from_secs(60);
        let began = Instant::now();
        post(&client, Budget::progress()).await.unwrap_err();
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_a_lower_bound() {
        let client = Flaky::new(status(503, Some(7)), 3);
        post(&client, Budget::standard()).await.unwrap();
        for pair in client.tries().windows(2) {
            assert!(pair[1].0 - pair[0].0 >= Duration::from_secs(7));
        }
        // Longer than the budget: no further attempt, and the caller can still honour it.
        let client = Flaky::new(status(429, Some(300)), usize::MAX);
        let failure = post(&client, Budget::progress()).await.unwrap_err();
        let PostFailure::GaveUp {
            error, why, tries, ..
        } = failure
        else {
            panic!("{failure:?}");
        };
        assert_eq!((why, tries), (GiveUp::OutOfTime, 1));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(300)));
    }

    #[tokio::test(start_paused = true)]
    async fn cancelling_ends_the_wait_between_attempts() {
        let client = Flaky::new(status(503, Some(200)), usize::MAX);
        let cancel = CancellationToken::new();
        let request = Request {
            event: Event::WhatsNext,
            servo_uid: None,
        };
        let (outage, budget) = (Outage::default(), Budget::standard());
        let began = Instant::now();
        let posting = post_with_retry(&client, &request, &budget, &outage, &cancel);
        let cancelling = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            cancel.cancel();
        };
        let (answer, ()) = tokio::join!(posting, cancelling);
        assert_eq!(answer, Err(PostFailure::Cancelled));
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        assert!(outage.lasts().is_some());
    }
}
