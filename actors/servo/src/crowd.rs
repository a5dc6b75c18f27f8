//! Keeps servos that start together from saying HELLO in one instant (`spec/optimizer-protocol.md` §17).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// How many servos there are that may start at the same time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd(Arc<AtomicUsize>);

impl Crowd {
    /// What each servo adds to the time over which all of them are spread: 10,000 HELLOs a second.
    const EACH: Duration = Duration::from_micros(100);
    /// The longest time over which they are spread.
    const LONGEST: Duration = Duration::from_secs(2);

    /// There are so many now.
    pub(crate) fn set(&self, servos: usize) {
        self.0.store(servos, Ordering::Relaxed);
    }

    /// How long one of them waits before it says HELLO: nothing when it is alone.
    pub(crate) fn delay(&self) -> Duration {
        let others = self.0.load(Ordering::Relaxed).saturating_sub(1);
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        let spread = Self::EACH.saturating_mul(others).min(Self::LONGEST);
        spread.mul_f64(rand::random_range(0.0..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_there_are_the_further_they_are_spread_within_bounds() {
        let crowd = Crowd::default();
        for (servos, longest) in [
            (0, Duration::ZERO),
            (1, Duration::ZERO),
            (1_001, Duration::from_millis(100)),
            (10_001, Duration::from_secs(1)),
            (usize::MAX, Crowd::LONGEST),
        ] {
            crowd.set(servos);
            let delays: Vec<_> = (0..200).map(|_| crowd.delay()).collect();
            assert!(delays.iter().all(|d| *d <= longest), "{servos}");
            // Of 200 in all places, one is in the upper half.
            assert!(delays.iter().any(|d| *d >= longest / 2), "{servos}");
        }
    }
}
