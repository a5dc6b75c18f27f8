//! When each request is due: exact rational arithmetic over a monotonic clock (spec/metrics-and-load.md §3.5, item 1).

use std::time::Duration;

use crate::rate::Rate;

/// The plan of a constant-rate run: request `i` is due `i * per / hits` after the start, for every such moment before `total`.
///
/// All arithmetic is on integers, so a run of any length neither drifts nor gains or loses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    hits: u64,
    per_nanos: u128,
    total: Duration,
}

impl Schedule {
    /// The schedule of `rate` for `total`; `None` for an unlimited rate, which has no intended moments.
    pub(crate) fn new(rate: &Rate, total: Duration) -> Option<Self> {
        rate.paced().map(|(hits, per)| Self {
            hits: hits.get(),
            per_nanos: per.as_nanos(),
            total,
        })
    }

    /// How many requests are due strictly before `elapsed`: ⌈elapsed · hits / per⌉.
    pub(crate) fn before(&self, elapsed: Duration) -> u64 {
        // `i * per < elapsed * hits` with whole `i` means `i < ceil(elapsed * hits / per)`. A due time is truncated to whole
        // nanoseconds, which moves it earlier by less than one and never across `elapsed`.
        let product = elapsed.as_nanos().saturating_mul(u128::from(self.hits));
        u64::try_from(product.div_ceil(self.per_nanos)).unwrap_or(u64::MAX)
    }

    /// The number of requests of the whole run.
    pub(crate) fn count(&self) -> u64 {
        self.before(self.total)
    }

    /// The intended start of request `index`, counted from the start of the run.
    pub(crate) fn due(&self, index: u64) -> Duration {
        let nanos = u128::from(index).saturating_mul(self.per_nanos) / u128::from(self.hits);
        duration_from_nanos(nanos)
    }
}

/// A duration of `nanos`, saturating after 584 years.
pub(crate) fn duration_from_nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn schedule(rate: &str, total: Duration) -> Schedule {
        Schedule::new(&rate.parse().unwrap(), total).unwrap()
    }

    #[test]
    fn counts_are_exact() {
        for (rate, seconds, count) in [
            ("3/1s", 1000, 3000),
            ("100/1s", 1, 100),
            ("1000/1s", 10, 10_000),
            ("7/3s", 10, 24),
            ("1/10s", 12, 2),
            ("1/10s", 10, 1),
            ("5/100ms", 2, 100),
            ("5/1s", 0, 0),
        ] {
            assert_eq!(
                schedule(rate, Duration::from_secs(seconds)).count(),
                count,
                "{rate} for {seconds}s"
            );
        }
    }

    #[test]
    fn the_first_request_is_due_at_once_and_thirds_do_not_drift() {
        let thirds = schedule("3/1s", Duration::from_secs(1000));
        assert_eq!(thirds.due(0), Duration::ZERO);
        assert_eq!(thirds.due(1), Duration::from_nanos(333_333_333));
        assert_eq!(thirds.due(2999), Duration::from_nanos(999_666_666_666));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn due_times_are_ordered_and_exactly_count_of_them_lie_in_the_run(
            hits in 1_u64..100_000, per_ms in 1_u64..100_000, total_us in 0_u64..10_000_000,
        ) {
            let total = Duration::from_micros(total_us);
            let plan = schedule(&format!("{hits}/{per_ms}ms"), total);
            let count = plan.count();
            prop_assert_eq!(u128::from(count), (total.as_nanos() * u128::from(hits)).div_ceil(u128::from(per_ms) * 1_000_000));
            if let Some(last) = count.checked_sub(1) {
                prop_assert!(plan.due(last) < total);
                prop_assert!(plan.due(last) <= plan.due(count));
            }
            prop_assert!(plan.due(count) + Duration::from_nanos(1) > total);
        }
    }
}
