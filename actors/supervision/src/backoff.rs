//! How long to wait before a restart.

use std::time::Duration;

use rand::{Rng, RngExt};

/// Exponential backoff with full jitter.
///
/// Before restart `n` (counted from 0) the wait is uniform between zero and `min(cap, base * 2^n)`: restarts of
/// many actors that broke together spread out instead of hitting their common cause in step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    reset_after: Duration,
}

/// These bounds make no backoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBackoff {
    /// A base of zero would never grow.
    #[error("a backoff needs a base above zero")]
    ZeroBase,
    /// The cap is below the base.
    #[error(
        "the backoff's cap {cap:?} is below its base {base:?}: raise the cap or lower the base"
    )]
    CapBelowBase {
        /// The given base.
        base: Duration,
        /// The given cap.
        cap: Duration,
    },
}

// === impl Backoff ===

impl Backoff {
    /// A backoff that starts at `base`, never exceeds `cap`, and starts over at `base` once a run has lasted
    /// `reset_after`.
    ///
    /// # Errors
    ///
    /// If `base` is zero or above `cap`.
    pub fn try_new(
        base: Duration,
        cap: Duration,
        reset_after: Duration,
    ) -> Result<Self, InvalidBackoff> {
        if base.is_zero() {
            return Err(InvalidBackoff::ZeroBase);
        }
        if cap < base {
            return Err(InvalidBackoff::CapBelowBase { base, cap });
        }
        Ok(Self {
            base,
            cap,
            reset_after,
        })
    }

    /// The wait before restart `n`, counted from 0.
    pub fn delay(&self, n: u32, rng: &mut impl Rng) -> Duration {
        rng.random_range(Duration::ZERO..=self.ceiling(n))
    }

    /// The longest wait possible before restart `n`.
    pub fn ceiling(&self, n: u32) -> Duration {
        let factor = 2_u32.checked_pow(n).unwrap_or(u32::MAX);
        self.base
            .checked_mul(factor)
            .unwrap_or(self.cap)
            .min(self.cap)
    }

    pub(crate) fn reset_after(&self) -> Duration {
        self.reset_after
    }
}

impl Default for Backoff {
    /// 200 ms doubling to 30 s; a run of one minute starts it over.
    fn default() -> Self {
        Self {
            base: Duration::from_millis(200),
            cap: Duration::from_secs(30),
            reset_after: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    #[test]
    fn refuses_bounds_that_make_no_sense() {
        let second = Duration::from_secs(1);
        assert_eq!(
            Backoff::try_new(Duration::ZERO, second, second),
            Err(InvalidBackoff::ZeroBase)
        );
        assert!(matches!(
            Backoff::try_new(second * 2, second, second),
            Err(InvalidBackoff::CapBelowBase { .. })
        ));
    }

    #[test]
    fn ceiling_doubles_up_to_the_cap() {
        let backoff = Backoff::try_new(
            Duration::from_secs(1),
            Duration::from_secs(60),
            Duration::from_secs(600),
        )
        .unwrap();
        let seconds: Vec<u64> = (0..8).map(|n| backoff.ceiling(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn jitter_uses_the_whole_range() {
        let backoff = Backoff::try_new(
            Duration::from_secs(8),
            Duration::from_secs(8),
            Duration::ZERO,
        )
        .unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let delays: Vec<Duration> = (0..200).map(|_| backoff.delay(0, &mut rng)).collect();
        assert!(delays.iter().any(|d| *d < Duration::from_secs(1)));
        assert!(delays.iter().any(|d| *d > Duration::from_secs(7)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn a_delay_never_exceeds_its_ceiling(
            base in 1_u64..=u64::MAX / 4, more in 0_u64..=u64::MAX / 4, n in any::<u32>(), seed in any::<u64>(),
        ) {
            let base = Duration::from_nanos(base);
            let cap = base + Duration::from_nanos(more);
            let backoff = Backoff::try_new(base, cap, Duration::ZERO).unwrap();
            let delay = backoff.delay(n, &mut ChaCha8Rng::seed_from_u64(seed));
            prop_assert!(delay <= backoff.ceiling(n));
            prop_assert!(backoff.ceiling(n) <= cap);
        }
    }
}
