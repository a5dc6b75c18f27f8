//! What is said in the log while an optimizer cannot be reached.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::PostError;

/// The memory of one optimizer's outage, so that an unreachable optimizer is a few lines in the log and not
/// one for each attempt: one WARN when the condition appears or changes, one a minute while it lasts, one
/// INFO when it is over (`spec/optimizer-protocol.md` §11). An optimizer that goes and comes back all the time, one of
/// its replicas being ill, is a WARN and an INFO a minute.
///
/// One value for each servo, shared by all its requests.
#[derive(Debug, Default)]
pub struct Outage {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// On the heap: most of the time, and for most of thousands, there is none.
    current: Option<Box<Current>>,
    /// When this or an earlier one was told of last.
    said: Option<Instant>,
}

#[derive(Debug)]
struct Current {
    condition: PostError,
    began: Instant,
    /// Whether anybody was told.
    told: bool,
    failures: u64,
}

/// What there is to say.
#[derive(Debug, PartialEq)]
enum News {
    /// The condition is new, or another than before.
    Began,
    /// Still the same, and not told for a minute.
    Lasts { since: Duration, failures: u64 },
    /// Told already.
    Nothing,
}

impl Outage {
    const REPEAT: Duration = Duration::from_secs(60);

    /// Takes note of a failed attempt.
    pub(crate) fn failed(&self, error: &PostError, next: Option<Duration>) {
        let retry = next.map(|delay| format!("{:.1}s", delay.as_secs_f64()));
        let retry = retry.as_deref().unwrap_or("none");
        match self.note(error, Instant::now()) {
            News::Began => {
                tracing::warn!(%error, retry_in = retry, "no usable answer from the optimizer");
            }
            News::Lasts { since, failures } => tracing::warn!(
                %error,
                retry_in = retry,
                failures,
                "still no usable answer from the optimizer after {}s", since.as_secs()
            ),
            News::Nothing => tracing::debug!(%error, retry_in = retry, "attempt failed"),
        }
    }

    /// Takes note of an answer. Says so if there was an outage that was told of.
    pub(crate) fn answered(&self) {
        let over = self.lock().current.take();
        if let Some(over) = over.filter(|over| over.told) {
            tracing::info!(
                failures = over.failures,
                "the optimizer answers again after {}s",
                over.began.elapsed().as_secs()
            );
        }
    }

    /// How long the optimizer has not given a usable answer; none if it answers.
    pub fn lasts(&self) -> Option<Duration> {
        let known = self.lock();
        known.current.as_ref().map(|now| now.began.elapsed())
    }

    /// How the last attempt failed, as the log tells it; none if the optimizer answers. Holds no secret.
    pub fn condition(&self) -> Option<String> {
        let known = self.lock();
        known.current.as_ref().map(|now| now.condition.to_string())
    }

    fn note(&self, error: &PostError, now: Instant) -> News {
        let mut known = self.lock();
        let said_lately = known
            .said
            .is_some_and(|said| now.duration_since(said) < Self::REPEAT);
        let known = &mut *known;
        let news = match &mut known.current {
            Some(current) => {
                current.failures += 1;
                if !current.condition.same_condition(error) {
                    current.condition = error.clone();
                    News::Began
                } else if said_lately {
                    return News::Nothing;
                } else {
                    News::Lasts {
                        since: now.duration_since(current.began),
                        failures: current.failures,
                    }
                }
            }
            None => {
                known.current = Some(Box::new(Current {
                    condition: error.clone(),
                    began: now,
                    told: false,
                    failures: 1,
                }));
                if said_lately {
                    return News::Nothing;
                }
                News::Began
            }
        };
        known.said = Some(now);
        if let Some(current) = &mut known.current {
            current.told = true;
        }
        news
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::TransportKind;

    fn refused() -> PostError {
        PostError::Transport {
            url: "http://x/".into(),
            kind: TransportKind::Connect,
            detail: "refused".into(),
        }
    }

    #[test]
    fn an_outage_is_told_once_then_each_minute_and_when_it_changes() {
        let outage = Outage::default();
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(outage.note(&refused(), at(0)), News::Began);
        assert_eq!(outage.note(&refused(), at(1)), News::Nothing);
        assert_eq!(outage.note(&refused(), at(59)), News::Nothing);
        assert_eq!(
            outage.note(&refused(), at(61)),
            News::Lasts {
                since: Duration::from_secs(61),
                failures: 4
            }
        );
        let too_large = PostError::TooLarge {
            url: "http://x/".into(),
            limit: 1,
        };
        assert_eq!(outage.note(&too_large, at(62)), News::Began);
        assert_eq!(outage.note(&too_large, at(63)), News::Nothing);
        assert!(outage.lasts().is_some());
        assert_eq!(outage.condition(), Some(too_large.to_string()));
        outage.answered();
        assert_eq!(outage.lasts(), None);
        assert_eq!(outage.condition(), None);
        assert_eq!(outage.note(&too_large, at(123)), News::Began);
    }

    /// Whoever goes and comes back every second would be two lines a second.
    #[test]
    fn an_optimizer_that_comes_and_goes_is_told_once_a_minute() {
        let outage = Outage::default();
        let start = Instant::now();
        let told = (0..600).filter(|second| {
            let news = outage.note(&refused(), start + Duration::from_secs(*second));
            outage.answered();
            news != News::Nothing
        });
        assert_eq!(
            told.collect::<Vec<_>>(),
            [0, 60, 120, 180, 240, 300, 360, 420, 480, 540]
        );
        // One that lasts is told of within a minute, though it began soon after another.
        let at = |s| start + Duration::from_secs(s);
        assert_eq!(outage.note(&refused(), at(599)), News::Nothing);
        assert!(outage.lasts().is_some() && outage.condition().is_some());
        assert_eq!(
            outage.note(&refused(), at(605)),
            News::Lasts {
                since: Duration::from_secs(6),
                failures: 2
            }
        );
    }
}
