//! How often a query is tried (`spec/metrics-and-load.md` §1.7).

use std::{future::Future, time::Duration};

use tokio::time::Instant;

use crate::failure::QueryError;

/// How often and how long one query is tried. The delay before a retry is random, between half and all
/// of `base`, `2 * base`, `4 * base`, ..., never above `cap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Longest delay before the first retry. Default 0.5 s.
    pub base: Duration,
    /// Longest delay of all. Default 15 s.
    pub cap: Duration,
    /// From the beginning of the first try to the end of the last; a first try may take longer. Default
    /// 60 s.
    pub budget: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(15),
            budget: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// Runs `attempt`, given the longest time it may take, until it succeeds, fails for good, or the
    /// budget is used up.
    pub(crate) async fn run<T, F>(
        &self,
        timeout: Duration,
        mut attempt: impl FnMut(Duration) -> F,
    ) -> Result<T, QueryError>
    where
        F: Future<Output = Result<T, QueryError>>,
    {
        let began = Instant::now();
        let mut tries: u32 = 0;
        let mut limit = timeout;
        let mut earlier = None;
        loop {
            let error = match (attempt(limit).await, earlier.take()) {
                (Ok(answer), _) => return Ok(answer),
                // A try that the budget cut short tells nothing of the server.
                (Err(QueryError::TimedOut { .. }), Some(earlier)) if limit < timeout => earlier,
                (Err(error), _) => error,
            };
            tries = tries.saturating_add(1);
            if !error.is_transient() {
                return Err(error);
            }
            let delay = self.delay(tries);
            let left = self
                .budget
                .saturating_sub(began.elapsed())
                .saturating_sub(delay);
            if left.is_zero() && tries == 1 {
                return Err(error);
            }
            if left.is_zero() {
                return Err(QueryError::GivenUp {
                    last: Box::new(error),
                    tries,
                    elapsed: whole_milliseconds(began.elapsed()),
                });
            }
            tracing::info!(retry_in = ?delay, "{error}");
            tokio::time::sleep(delay).await;
            limit = timeout.min(left);
            earlier = Some(error);
        }
    }

    /// Between half and all of the bound: never nothing, never the same for all.
    fn delay(&self, retry: u32) -> Duration {
        let factor = 1_u32
            .checked_shl(retry.saturating_sub(1))
            .unwrap_or(u32::MAX);
        let bound = self.base.saturating_mul(factor).min(self.cap);
        bound.mul_f64(rand::random_range(0.5..=1.0))
    }
}

/// For people.
pub(crate) fn whole_milliseconds(elapsed: Duration) -> servo_messages::Duration {
    servo_messages::Duration::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::cell::RefCell;

    use super::*;

    fn unreachable() -> QueryError {
        QueryError::Unreachable {
            url: "u".into(),
            cause: "c".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_failure_ends_within_the_budget_and_says_how_often_it_was_tried() {
        let began = Instant::now();
        let limits = RefCell::new(Vec::new());
        let answer: Result<(), _> = RetryPolicy::default()
            .run(Duration::from_secs(30), |limit| {
                limits.borrow_mut().push(limit);
                std::future::ready(Err(unreachable()))
            })
            .await;
        let error = answer.unwrap_err();
        let tries = limits.borrow().len();
        assert!(began.elapsed() <= Duration::from_secs(60));
        assert!(
            began.elapsed() >= Duration::from_secs(30),
            "{:?}",
            began.elapsed()
        );
        // Delays up to 0.5, 1, 2, 4, 8, 15, 15, ... seconds.
        assert!((8..=14).contains(&tries), "{tries}");
        assert!(
            error.to_string().contains(&format!("after {tries} tries")),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .starts_with("cannot reach Prometheus at u: c")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn no_try_outlasts_the_budget() {
        let began = Instant::now();
        let answer: Result<(), _> = RetryPolicy::default()
            .run(Duration::from_secs(25), |limit| async move {
                tokio::time::sleep(limit).await;
                Err(unreachable())
            })
            .await;
        assert!(answer.is_err());
        let elapsed = began.elapsed();
        assert!(elapsed <= Duration::from_millis(60_100), "{elapsed:?}");
        assert!(elapsed >= Duration::from_secs(59), "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_the_budget_cuts_short_does_not_hide_the_cause() {
        let timeout = Duration::from_secs(30);
        let answer: Result<(), _> = RetryPolicy::default()
            .run(timeout, |limit| async move {
                if limit == timeout {
                    return Err(unreachable());
                }
                tokio::time::sleep(limit).await;
                Err(QueryError::TimedOut {
                    url: "u".into(),
                    after: limit.into(),
                })
            })
            .await;
        let error = answer.unwrap_err().to_string();
        assert!(error.starts_with("cannot reach Prometheus"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_not_tried_again() {
        let tries = RefCell::new(0);
        let refusal = |status| QueryError::Refused {
            status,
            kind: "k".into(),
            text: "t".into(),
        };
        let answer: Result<(), _> = RetryPolicy::default()
            .run(Duration::from_secs(1), |_| {
                *tries.borrow_mut() += 1;
                std::future::ready(Err(refusal(422)))
            })
            .await;
        assert_eq!(answer.unwrap_err(), refusal(422));
        assert_eq!(*tries.borrow(), 1);
        assert!(refusal(429).is_transient() && refusal(503).is_transient());
        assert!(!refusal(400).is_transient() && !refusal(200).is_transient());
    }
}
