//! When a run reports.

use std::time::Duration;

/// Longest time without any sign of life to the one who started the run.
const INTERIM_INTERVAL: Duration = Duration::from_secs(60);
/// Shortest time between two reports.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tick {
    Report,
    Interim,
}

/// When to report within a run: at each multiple of the interval after warm-up, and now and then in between. The final report is
/// not among them.
#[derive(Debug)]
pub(crate) struct Ticks {
    warmup: Duration,
    total: Duration,
    interval: Option<Duration>,
    /// The number of the next report, from 1.
    report: u32,
    interim: Duration,
}

impl Ticks {
    pub(crate) fn new(warmup: Duration, total: Duration, interval: Duration) -> Self {
        let interval = (!interval.is_zero()).then(|| interval.max(SHORTEST_INTERVAL));
        Self {
            warmup,
            total,
            interval,
            report: 1,
            interim: INTERIM_INTERVAL,
        }
    }

    fn next_report(&self) -> Option<Duration> {
        let moment = self
            .interval?
            .checked_mul(self.report)?
            .checked_add(self.warmup)?;
        (moment < self.total).then_some(moment)
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.next_report()
            .into_iter()
            .chain((self.interim < self.total).then_some(self.interim))
            .min()
    }

    /// What is to be told at `now`. Reports that are overdue are told one after the other.
    pub(crate) fn take(&mut self, now: Duration) -> Option<Tick> {
        if self.next_report().is_some_and(|moment| moment <= now) {
            self.report = self.report.saturating_add(1);
            self.interim = now.saturating_add(INTERIM_INTERVAL);
            return Some(Tick::Report);
        }
        if self.interim <= now && self.interim < self.total {
            self.interim = now.saturating_add(INTERIM_INTERVAL);
            return Some(Tick::Interim);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn ticks(warmup: u64, total: u64, interval: f64) -> Vec<(Tick, u64)> {
        let secs = Duration::from_secs;
        let mut ticks = Ticks::new(secs(warmup), secs(total), Duration::from_secs_f64(interval));
        let mut told = Vec::new();
        while let Some(moment) = ticks.next() {
            told.extend(ticks.take(moment).map(|tick| (tick, moment.as_secs())));
        }
        told
    }

    #[test]
    fn reports_are_at_multiples_of_the_interval_after_warm_up() {
        use Tick::{Interim, Report};
        assert_eq!(
            ticks(0, 5, 1.0),
            [(Report, 1), (Report, 2), (Report, 3), (Report, 4)]
        );
        assert_eq!(ticks(2, 5, 1.0), [(Report, 3), (Report, 4)]);
        assert_eq!(ticks(2, 5, 15.0), []);
        assert_eq!(ticks(0, 5, 0.0), []);
        assert_eq!(ticks(0, 150, 0.0), [(Interim, 60), (Interim, 120)]);
        assert_eq!(
            ticks(10, 200, 100.0),
            [(Interim, 60), (Report, 110), (Interim, 170)]
        );
    }
}
