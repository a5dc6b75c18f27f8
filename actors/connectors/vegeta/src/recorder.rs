//! Adds up requests into a [`Report`], in memory that does not grow with their number.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use jiff::{SignedDuration, Timestamp};

use crate::{
    client::Reply,
    report::{Bytes, Health, Latencies, Lateness, Report},
    schedule::duration_from_nanos,
};

/// The shortest and the longest duration that percentiles distinguish: 1 µs to 1 h.
const RANGE_NANOS: (u64, u64) = (1_000, 3_600_000_000_000);
/// The most distinct error texts that are kept.
const MOST_ERRORS: usize = 100;
/// The longest error text that is kept, in characters.
const LONGEST_ERROR: usize = 512;
/// Stands for every error text beyond [`MOST_ERRORS`].
const OTHER_ERRORS: &str = "(other errors)";

/// One request that has ended. All moments are counted from the start of the run.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) intended: Duration,
    pub(crate) started: Duration,
    pub(crate) ended: Duration,
    /// It waited for a free slot, so its delay says nothing about the load generator.
    pub(crate) queued: bool,
    pub(crate) bytes_out: u64,
    pub(crate) reply: Reply,
}

/// Durations: exact sums and extremes, and a histogram.
#[derive(Debug)]
struct Distribution {
    histogram: Histogram<u64>,
    total_nanos: u128,
    min: Duration,
    max: Duration,
}

/// The figures so far.
#[derive(Debug)]
pub(crate) struct Recorder {
    latency: Distribution,
    service: Distribution,
    lag: Distribution,
    /// The lag of requests that had a free slot when they were due.
    pacing_lag: Distribution,
    /// The latency without that lag.
    punctual: Distribution,
    requests: u64,
    successes: u64,
    bytes_in: u64,
    bytes_out: u64,
    earliest: Duration,
    latest: Duration,
    end: Duration,
    status_codes: BTreeMap<u16, u64>,
    errors: BTreeMap<String, u64>,
    other_errors: u64,
}

impl Recorder {
    pub(crate) fn new() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self {
            latency: Distribution::new()?,
            service: Distribution::new()?,
            lag: Distribution::new()?,
            pacing_lag: Distribution::new()?,
            punctual: Distribution::new()?,
            requests: 0,
            successes: 0,
            bytes_in: 0,
            bytes_out: 0,
            earliest: Duration::MAX,
            latest: Duration::ZERO,
            end: Duration::ZERO,
            status_codes: BTreeMap::new(),
            errors: BTreeMap::new(),
            other_errors: 0,
        })
    }

    /// Forgets everything, keeping the memory.
    pub(crate) fn clear(&mut self) {
        for distribution in [
            &mut self.latency,
            &mut self.service,
            &mut self.lag,
            &mut self.pacing_lag,
            &mut self.punctual,
        ] {
            distribution.clear();
        }
        (
            self.requests,
            self.successes,
            self.bytes_in,
            self.bytes_out,
            self.other_errors,
        ) = (0, 0, 0, 0, 0);
        (self.earliest, self.latest, self.end) = (Duration::MAX, Duration::ZERO, Duration::ZERO);
        self.status_codes.clear();
        self.errors.clear();
    }

    pub(crate) fn record(&mut self, sample: &Sample) {
        let Sample {
            intended,
            started,
            ended,
            ..
        } = *sample;
        let lag = started.saturating_sub(intended);
        let latency = ended.saturating_sub(intended);
        let service = ended.saturating_sub(started);
        self.latency.record(latency);
        self.service.record(service);
        self.lag.record(lag);
        if sample.queued {
            self.punctual.record(latency);
        } else {
            self.pacing_lag.record(lag);
            self.punctual.record(service);
        }
        self.requests += 1;
        self.successes += u64::from((200..400).contains(&sample.reply.status));
        self.bytes_in = self.bytes_in.saturating_add(sample.reply.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(sample.bytes_out);
        self.earliest = self.earliest.min(started);
        self.latest = self.latest.max(started);
        self.end = self.end.max(ended);
        *self.status_codes.entry(sample.reply.status).or_default() += 1;
        if let Some(error) = &sample.reply.error {
            self.record_error(error);
        }
    }

    fn record_error(&mut self, text: &str) {
        let kept = text
            .char_indices()
            .nth(LONGEST_ERROR)
            .map_or(text, |(cut, _)| text.get(..cut).unwrap_or(text));
        if let Some(count) = self.errors.get_mut(kept) {
            *count += 1;
        } else if self.errors.len() < MOST_ERRORS {
            self.errors.insert(kept.to_owned(), 1);
        } else {
            self.other_errors += 1;
        }
    }

    /// The figures as a report; `None` while there is no request. `origin` is the wall-clock time at the start of the run,
    /// `missed` and `planned` count requests of the measured window.
    pub(crate) fn report(&self, origin: Timestamp, missed: u64, planned: u64) -> Option<Report> {
        let requests = self.requests;
        if requests == 0 {
            return None;
        }
        let at = |elapsed: Duration| {
            SignedDuration::try_from(elapsed)
                .ok()
                .and_then(|elapsed| origin.checked_add(elapsed).ok())
                .unwrap_or(origin)
        };
        let duration = self.latest.saturating_sub(self.earliest);
        let whole = self.end.saturating_sub(self.earliest);
        // Plain counts when everything started at one moment (spec §3.5).
        let per_second = |count: u64, span: Duration| {
            if duration.is_zero() || span.is_zero() {
                count as f64
            } else {
                count as f64 / span.as_secs_f64()
            }
        };
        let mut errors: Vec<_> = self.errors.iter().collect();
        errors.sort_by_key(|(_, count)| Reverse(**count));
        let mut errors: Vec<String> = errors.into_iter().map(|(text, _)| text.clone()).collect();
        if self.other_errors > 0 {
            errors.push(OTHER_ERRORS.to_owned());
        }
        Some(Report {
            requests,
            latencies: self.latency.summary(),
            service: self.service.summary(),
            lag: self.lag.summary(),
            bytes_in: Bytes {
                total: self.bytes_in,
                mean: self.bytes_in as f64 / requests as f64,
            },
            bytes_out: Bytes {
                total: self.bytes_out,
                mean: self.bytes_out as f64 / requests as f64,
            },
            earliest: at(self.earliest),
            latest: at(self.latest),
            end: at(self.end),
            duration,
            wait: self.end.saturating_sub(self.latest),
            rate: per_second(requests, duration),
            throughput: per_second(self.successes, whole),
            success: self.successes as f64 / requests as f64,
            status_codes: self.status_codes.clone(),
            errors,
            missed,
            health: Health::judge(
                missed,
                planned,
                Lateness {
                    p99: self.pacing_lag.percentile(0.99),
                    latency_p99: self.latency.percentile(0.99),
                    punctual_p99: self.punctual.percentile(0.99),
                },
            ),
        })
    }
}

impl Distribution {
    fn new() -> Result<Self, hdrhistogram::CreationError> {
        let histogram = Histogram::new_with_bounds(RANGE_NANOS.0, RANGE_NANOS.1, 3)?;
        Ok(Self {
            histogram,
            total_nanos: 0,
            min: Duration::MAX,
            max: Duration::ZERO,
        })
    }

    fn clear(&mut self) {
        self.histogram.clear();
        (self.total_nanos, self.min, self.max) = (0, Duration::MAX, Duration::ZERO);
    }

    fn record(&mut self, duration: Duration) {
        let nanos = duration.as_nanos();
        self.histogram.saturating_record(
            u64::try_from(nanos)
                .unwrap_or(u64::MAX)
                .clamp(RANGE_NANOS.0, RANGE_NANOS.1),
        );
        self.total_nanos = self.total_nanos.saturating_add(nanos);
        self.min = self.min.min(duration);
        self.max = self.max.max(duration);
    }

    fn percentile(&self, quantile: f64) -> Duration {
        if self.histogram.is_empty() {
            return Duration::ZERO;
        }
        let value = self.histogram.value_at_quantile(quantile);
        Duration::from_nanos(self.histogram.median_equivalent(value)).clamp(self.min, self.max)
    }

    fn summary(&self) -> Latencies {
        if self.histogram.is_empty() {
            return Latencies::default();
        }
        Latencies {
            total: duration_from_nanos(self.total_nanos),
            mean: duration_from_nanos(self.total_nanos / u128::from(self.histogram.len())),
            min: self.min,
            p50: self.percentile(0.50),
            p90: self.percentile(0.90),
            p95: self.percentile(0.95),
            p99: self.percentile(0.99),
            max: self.max,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::report::Ailment;

    fn sample(start_ms: u64, latency_us: u64, status: u16) -> Sample {
        let started = Duration::from_millis(start_ms);
        let error = (!(200..400).contains(&status)).then(|| format!("{status}"));
        Sample {
            intended: started,
            started,
            ended: started + Duration::from_micros(latency_us),
            queued: false,
            bytes_out: 1,
            reply: Reply {
                status,
                bytes_in: 10,
                error,
            },
        }
    }

    #[test]
    fn formulas() {
        let mut recorder = Recorder::new().unwrap();
        assert_eq!(recorder.report(Timestamp::UNIX_EPOCH, 0, 0), None);
        for index in 0..100 {
            recorder.record(&sample(
                index * 10,
                5_000,
                if index < 3 { 503 } else { 200 },
            ));
        }
        let report = recorder
            .report(Timestamp::from_second(1_000).unwrap(), 0, 100)
            .unwrap();
        assert_eq!(report.requests, 100);
        assert_eq!(report.duration, Duration::from_millis(990));
        assert_eq!(report.wait, Duration::from_millis(5));
        assert!((report.rate - 100.0 / 0.99).abs() < 1e-9);
        assert!((report.throughput - 97.0 / 0.995).abs() < 1e-9);
        assert!((report.success - 0.97).abs() < 1e-12);
        assert_eq!(report.latencies.total, Duration::from_millis(500));
        assert_eq!(report.latencies.p99, Duration::from_millis(5));
        assert_eq!(report.status_codes, BTreeMap::from([(200, 97), (503, 3)]));
        assert_eq!(report.errors, ["503"]);
        assert_eq!(
            report.bytes_in,
            Bytes {
                total: 1000,
                mean: 10.0
            }
        );
        assert_eq!(report.end, Timestamp::from_millisecond(1_000_995).unwrap());
        assert_eq!(report.health, Health::Valid);
        recorder.clear();
        assert_eq!(recorder.report(Timestamp::UNIX_EPOCH, 0, 0), None);
    }

    #[test]
    fn rates_are_plain_counts_when_everything_starts_at_once() {
        let mut recorder = Recorder::new().unwrap();
        recorder.record(&sample(5, 1000, 200));
        let report = recorder.report(Timestamp::UNIX_EPOCH, 0, 1).unwrap();
        assert_eq!((report.rate, report.throughput), (1.0, 1.0));
    }

    #[test]
    fn error_texts_are_bounded_in_number_and_length() {
        let mut recorder = Recorder::new().unwrap();
        for index in 0..300 {
            let reply = Reply {
                status: 0,
                bytes_in: 0,
                error: Some(format!("{index} {}", "ä".repeat(600))),
            };
            recorder.record(&Sample {
                reply,
                ..sample(1, 1, 200)
            });
        }
        let report = recorder.report(Timestamp::UNIX_EPOCH, 0, 300).unwrap();
        assert_eq!(report.errors.len(), 101);
        assert_eq!(report.errors.last().unwrap(), "(other errors)");
        assert!(report.errors.iter().all(|text| text.chars().count() <= 512));
    }

    #[test]
    fn verdicts() {
        let lateness = |lag, latency, punctual| Lateness {
            p99: Duration::from_millis(lag),
            latency_p99: Duration::from_millis(latency),
            punctual_p99: Duration::from_millis(punctual),
        };
        for (missed, lag, latency, punctual, expected) in [
            (0, 1, 2, 1, "valid"),
            (
                0,
                6,
                12,
                8,
                "degraded: the load generator itself was late by 6.0 ms (p99), which adds 4.0 ms to the 99th percentile",
            ),
            // It was late, but not with the requests that count, or by nothing in comparison.
            (0, 13, 40, 39, "valid"),
            (0, 50, 2_000, 1_950, "valid"),
            (
                0,
                150,
                2_000,
                2_000,
                "invalid: the load generator itself was late by 150.0 ms (p99), which adds 0.0 ms to the 99th percentile",
            ),
            (1, 1, 2, 1, "degraded: 1 of 100 requests were not sent"),
            (2, 1, 2, 1, "invalid: 2 of 100 requests were not sent"),
        ] {
            let health = Health::judge(missed, 100, lateness(lag, latency, punctual));
            assert_eq!(health.to_string(), expected);
        }
        assert_eq!(
            Health::judge(2, 100, lateness(0, 1, 1)),
            Health::Invalid(Ailment::Missed {
                missed: 2,
                planned: 100
            })
        );
    }

    #[test]
    fn a_late_client_is_told_by_what_it_adds() {
        // All requests take 10 ms; those that also start late are the slow ones now.
        let mut recorder = Recorder::new().unwrap();
        for index in 0..100 {
            let late = Duration::from_millis(if index < 5 { 20 } else { 0 });
            let on_time = sample(index * 10, 10_000, 200);
            recorder.record(&Sample {
                started: on_time.started + late,
                ended: on_time.ended + late,
                ..on_time
            });
        }
        let report = recorder.report(Timestamp::UNIX_EPOCH, 0, 100).unwrap();
        let Health::Degraded(Ailment::Late { p99, added }) = report.health else {
            panic!("{:?}", report.health);
        };
        // Percentiles are off by at most a thousandth.
        for shown in [p99, added] {
            let off = shown.abs_diff(Duration::from_millis(20));
            assert!(off <= Duration::from_micros(50), "{shown:?}");
        }
        // The same lateness of requests that are not slow for that.
        for index in 0..10 {
            recorder.record(&sample(index, 90_000, 200));
        }
        let report = recorder.report(Timestamp::UNIX_EPOCH, 0, 110).unwrap();
        assert_eq!(report.health, Health::Valid);
    }

    #[test]
    fn the_most_frequent_error_comes_first() {
        let mut recorder = Recorder::new().unwrap();
        for status in [500, 503, 503, 404] {
            recorder.record(&sample(0, 1_000, status));
        }
        let report = recorder.report(Timestamp::UNIX_EPOCH, 0, 4).unwrap();
        assert_eq!(report.errors, ["503", "404", "500"]);
    }

    #[test]
    fn waiting_for_a_slot_is_latency_but_not_the_clients_fault() {
        let mut recorder = Recorder::new().unwrap();
        let waited = Sample {
            intended: Duration::ZERO,
            started: Duration::from_secs(1),
            ended: Duration::from_millis(1_001),
            queued: true,
            ..sample(0, 0, 200)
        };
        recorder.record(&waited);
        let report = recorder.report(Timestamp::UNIX_EPOCH, 0, 1).unwrap();
        assert_eq!(report.latencies.max, Duration::from_millis(1_001));
        assert_eq!(report.service.max, Duration::from_millis(1));
        assert_eq!(report.lag.max, Duration::from_secs(1));
        assert_eq!(report.health, Health::Valid);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn percentiles_are_within_a_thousandth(mut latencies in proptest::collection::vec(1_u64..3_000_000_000, 1..200)) {
            let mut recorder = Recorder::new().unwrap();
            for latency in &latencies {
                recorder.record(&sample(0, *latency, 200));
            }
            latencies.sort_unstable();
            let report = recorder.report(Timestamp::UNIX_EPOCH, 0, 1).unwrap();
            for (quantile, measured) in [(0.5, report.latencies.p50), (0.9, report.latencies.p90), (0.99, report.latencies.p99)] {
                let rank = ((latencies.len() as f64 * quantile).ceil() as usize).clamp(1, latencies.len());
                let exact = latencies[rank - 1] as f64 * 1e-6;
                prop_assert!((measured.as_secs_f64() - exact).abs() <= exact * 1e-3 + 1e-6, "{quantile}: {measured:?} for {exact}");
            }
        }
    }
}
