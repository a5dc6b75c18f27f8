//! The metrics that a load report answers (spec/metrics-and-load.md §3.6).

use std::time::Duration;

use servo_messages::{Metric, Unit};

use crate::report::Report;

/// One metric of a report.
///
/// Latencies are those of **all** requests, failed ones too: a server that refuses connections answers within a fraction of a
/// millisecond, and one whose every request times out with exactly the timeout. So whoever makes latency an objective or a
/// constraint also constrains `error_rate` (such as `error_rate <= 0.1`), or wants `throughput`, which counts successes only. A
/// run in which everything fails is a valid measurement with an error rate of 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadMetric {
    /// Successful responses per minute.
    Throughput,
    /// Unsuccessful requests in percent.
    ErrorRate,
    /// The sum of all latencies.
    LatencyTotal,
    /// The mean latency.
    LatencyMean,
    /// The median latency.
    Latency50th,
    /// The latency that 90 % stay within.
    Latency90th,
    /// The latency that 95 % stay within.
    Latency95th,
    /// The latency that 99 % stay within.
    Latency99th,
    /// The longest latency.
    LatencyMax,
    /// The shortest latency.
    LatencyMin,
}

impl LoadMetric {
    /// All of them, in the order in which they are described.
    pub const ALL: [Self; 10] = [
        Self::Throughput,
        Self::ErrorRate,
        Self::LatencyTotal,
        Self::LatencyMean,
        Self::Latency50th,
        Self::Latency90th,
        Self::Latency95th,
        Self::Latency99th,
        Self::LatencyMax,
        Self::LatencyMin,
    ];

    /// The name that optimizers know it by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::ErrorRate => "error_rate",
            Self::LatencyTotal => "latency_total",
            Self::LatencyMean => "latency_mean",
            Self::Latency50th => "latency_50th",
            Self::Latency90th => "latency_90th",
            Self::Latency95th => "latency_95th",
            Self::Latency99th => "latency_99th",
            Self::LatencyMax => "latency_max",
            Self::LatencyMin => "latency_min",
        }
    }

    /// Its name and unit.
    #[must_use]
    pub fn metric(self) -> Metric {
        let unit = match self {
            Self::Throughput => Unit::RequestsPerMinute,
            Self::ErrorRate => Unit::Percentage,
            _ => Unit::Milliseconds,
        };
        Metric::new(self.name(), unit)
    }

    /// Its value in `report`, in its unit. Latencies count from the intended start of each request.
    #[must_use]
    pub fn value(self, report: &Report) -> f64 {
        let latencies = &report.latencies;
        match self {
            Self::Throughput => report.throughput * 60.0,
            Self::ErrorRate => 100.0 - report.success * 100.0,
            Self::LatencyTotal => millis(latencies.total),
            Self::LatencyMean => millis(latencies.mean),
            Self::Latency50th => millis(latencies.p50),
            Self::Latency90th => millis(latencies.p90),
            Self::Latency95th => millis(latencies.p95),
            Self::Latency99th => millis(latencies.p99),
            Self::LatencyMax => millis(latencies.max),
            Self::LatencyMin => millis(latencies.min),
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_nanos() as f64 * 1e-6
}
