//! Whether, and when, an ended child starts again.

use std::collections::VecDeque;
use std::time::Duration;

use rand::{Rng, RngExt};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::exit::Exit;

/// Which ends of a child are followed by a restart. A child that was asked to stop is never restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Always: the child is part of what the program is.
    #[default]
    Permanent,
    /// Only after an abnormal end: failed, panicked or stuck.
    Transient,
    /// Never: the child is one piece of work.
    Temporary,
}

/// How many restarts within how long a child may need before its supervisor stops trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    max_restarts: u32,
    within: Duration,
}

/// The window of a restart intensity was zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a restart intensity needs a window above zero")]
pub struct InvalidIntensity;

/// What happens to a child that needed more restarts than its [`Intensity`] allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exhausted {
    /// The supervisor stops its other children, last started first, and itself ends as failed; its own supervisor decides on.
    #[default]
    Escalate,
    /// The child is set aside ([`State::Parked`](crate::State::Parked)) and tried again on a slow timer, for ever.
    ///
    /// A retry that fails within the intensity's window parks it again at once; one that outlives the window is
    /// healthy again, with a clean record.
    Park {
        /// The time between retries, give or take a quarter.
        retry_every: Duration,
    },
}

/// What a supervisor does about an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Over,
    Restart { after: Duration },
    Park { retry_in: Duration },
    Escalate,
}

/// The rules of one child.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rules {
    pub(crate) restart: Restart,
    pub(crate) backoff: Backoff,
    pub(crate) intensity: Intensity,
    pub(crate) exhausted: Exhausted,
}

/// The past of one child, as far as it matters for [`Rules`].
#[derive(Debug, Default)]
pub(crate) struct History {
    ends: VecDeque<Instant>,
    /// Restarts since a run last outlived the backoff's reset.
    streak: u32,
    /// The current run is the retry of a parked child.
    on_probation: bool,
}

// === impl Intensity ===

impl Intensity {
    /// At most `max_restarts` restarts `within` this time; one more is too many.
    ///
    /// # Errors
    ///
    /// If `within` is zero.
    pub fn try_new(max_restarts: u32, within: Duration) -> Result<Self, InvalidIntensity> {
        if within.is_zero() {
            return Err(InvalidIntensity);
        }
        Ok(Self {
            max_restarts,
            within,
        })
    }
}

impl Default for Intensity {
    /// Five restarts within a minute.
    fn default() -> Self {
        Self {
            max_restarts: 5,
            within: Duration::from_secs(60),
        }
    }
}

// === impl History ===

impl History {
    /// Records that a run of `ran_for` ended with `exit` at `now`, and decides what follows.
    pub(crate) fn judge(
        &mut self,
        rules: &Rules,
        exit: &Exit,
        ran_for: Duration,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Verdict {
        let again = match (rules.restart, exit) {
            (_, Exit::Stopped) | (Restart::Temporary, _) => false,
            (Restart::Permanent, _) => true,
            (Restart::Transient, exit) => exit.is_abnormal(),
        };
        if !again {
            return Verdict::Over;
        }
        if ran_for >= rules.backoff.reset_after() {
            self.streak = 0;
        }
        let Intensity {
            max_restarts,
            within,
        } = rules.intensity;
        while self
            .ends
            .front()
            .is_some_and(|end| now.duration_since(*end) >= within)
        {
            self.ends.pop_front();
        }
        self.ends.push_back(now);
        let failed_retry = std::mem::take(&mut self.on_probation) && ran_for < within;
        if !failed_retry && self.ends.len() as u64 <= u64::from(max_restarts) {
            let after = rules.backoff.delay(self.streak, rng);
            self.streak = self.streak.saturating_add(1);
            return Verdict::Restart { after };
        }
        match rules.exhausted {
            Exhausted::Escalate => Verdict::Escalate,
            Exhausted::Park { retry_every } => {
                *self = Self {
                    on_probation: true,
                    ..Self::default()
                };
                let quarter = retry_every / 4;
                Verdict::Park {
                    retry_in: rng
                        .random_range(retry_every - quarter..=retry_every.saturating_add(quarter)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn rules(restart: Restart, max: u32, exhausted: Exhausted) -> Rules {
        Rules {
            restart,
            backoff: Backoff::try_new(
                Duration::from_millis(1),
                Duration::from_secs(4),
                MINUTE * 10,
            )
            .unwrap(),
            intensity: Intensity::try_new(max, MINUTE).unwrap(),
            exhausted,
        }
    }

    fn failure() -> Exit {
        Exit::failed("broken")
    }

    fn panic() -> Exit {
        Exit::Panicked {
            message: String::new(),
            location: None,
        }
    }

    fn stuck() -> Exit {
        Exit::Stuck {
            doing: String::new(),
            after: MINUTE,
        }
    }

    #[test]
    fn policies_follow_the_table() {
        let exits = [Exit::Normal, failure(), panic(), stuck(), Exit::Stopped];
        for (restart, expected) in [
            (Restart::Permanent, [true, true, true, true, false]),
            (Restart::Transient, [false, true, true, true, false]),
            (Restart::Temporary, [false, false, false, false, false]),
        ] {
            for (exit, restarts) in exits.iter().zip(expected) {
                let verdict = History::default().judge(
                    &rules(restart, 9, Exhausted::Escalate),
                    exit,
                    Duration::ZERO,
                    Instant::now(),
                    &mut rand::rng(),
                );
                assert_eq!(
                    matches!(verdict, Verdict::Restart { .. }),
                    restarts,
                    "{restart:?} after {exit}: {verdict:?}"
                );
            }
        }
    }

    #[test]
    fn the_restart_after_the_allowed_ones_escalates() {
        let rules = rules(Restart::Permanent, 2, Exhausted::Escalate);
        let mut history = History::default();
        let now = Instant::now();
        let mut next = |at| history.judge(&rules, &failure(), Duration::ZERO, at, &mut rand::rng());
        assert!(matches!(next(now), Verdict::Restart { .. }));
        assert!(matches!(next(now), Verdict::Restart { .. }));
        assert_eq!(next(now), Verdict::Escalate);
    }

    #[test]
    fn ends_outside_the_window_do_not_count() {
        let rules = rules(Restart::Permanent, 1, Exhausted::Escalate);
        let mut history = History::default();
        let start = Instant::now();
        for n in 0..10 {
            let verdict = history.judge(
                &rules,
                &failure(),
                MINUTE,
                start + MINUTE * n,
                &mut rand::rng(),
            );
            assert!(
                matches!(verdict, Verdict::Restart { .. }),
                "{n}: {verdict:?}"
            );
        }
    }

    #[test]
    fn a_parked_child_is_healthy_after_one_retry_that_lasts() {
        let retry_every = MINUTE * 4;
        let rules = rules(Restart::Permanent, 1, Exhausted::Park { retry_every });
        let mut history = History::default();
        let now = Instant::now();
        let mut next = |ran_for| history.judge(&rules, &failure(), ran_for, now, &mut rand::rng());
        let parked = |verdict| matches!(verdict, Verdict::Park { retry_in } if (MINUTE * 3..=MINUTE * 5).contains(&retry_in));
        assert!(matches!(next(Duration::ZERO), Verdict::Restart { .. }));
        assert!(parked(next(Duration::ZERO)));
        assert!(parked(next(Duration::ZERO)), "a failed retry parks at once");
        assert!(
            matches!(next(MINUTE), Verdict::Restart { .. }),
            "a retry that lasted has a clean record"
        );
    }

    #[test]
    fn a_long_run_starts_the_backoff_over() {
        let rules = rules(Restart::Permanent, 99, Exhausted::Escalate);
        let mut history = History::default();
        let now = Instant::now();
        for _ in 0..20 {
            history.judge(&rules, &failure(), Duration::ZERO, now, &mut rand::rng());
        }
        let verdict = history.judge(&rules, &failure(), MINUTE * 10, now, &mut rand::rng());
        assert!(
            matches!(verdict, Verdict::Restart { after } if after <= Duration::from_millis(1)),
            "{verdict:?}"
        );
    }
}
