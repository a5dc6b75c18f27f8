//! What a run has measured, as plain data.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;

/// The figures over all recorded requests, or over one slice of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Requests that ended and are counted here.
    pub requests: u64,
    /// From the **intended** start to the end of the response or the failure.
    pub latencies: Latencies,
    /// From the actual start to the end: what the server and the network took, without waiting for a free slot.
    pub service: Latencies,
    /// How late requests started, for whatever reason.
    pub lag: Latencies,
    /// Response body bytes, up to `max_body` for each response.
    pub bytes_in: Bytes,
    /// Request body bytes.
    pub bytes_out: Bytes,
    /// The first actual start.
    pub earliest: Timestamp,
    /// The last actual start.
    pub latest: Timestamp,
    /// The last end of a response.
    pub end: Timestamp,
    /// `latest - earliest`.
    pub duration: Duration,
    /// `end - latest`.
    pub wait: Duration,
    /// Requests started per second.
    pub rate: f64,
    /// Successful responses per second.
    pub throughput: f64,
    /// The share of requests answered with a status from 200 to 399; between 0 and 1.
    pub success: f64,
    /// Responses by status code; 0 stands for none.
    pub status_codes: BTreeMap<u16, u64>,
    /// Distinct error texts, the most frequent first; at most 100, and then `(other errors)`.
    pub errors: Vec<String>,
    /// Requests that were due and were never sent.
    pub missed: u64,
    /// Whether the figures can be trusted, as far as the load generator itself is concerned.
    pub health: Health,
}

/// Durations and their distribution. Percentiles are off by at most 0.1 %; the rest is exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latencies {
    /// The sum.
    pub total: Duration,
    /// `total / requests`.
    pub mean: Duration,
    /// The smallest.
    pub min: Duration,
    /// The median.
    pub p50: Duration,
    /// Nine of ten are at most this.
    pub p90: Duration,
    /// 95 % are at most this.
    pub p95: Duration,
    /// 99 % are at most this.
    pub p99: Duration,
    /// The largest.
    pub max: Duration,
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bytes {
    /// All of them.
    pub total: u64,
    /// For each request.
    pub mean: f64,
}

/// Whether the load generator kept its own schedule. An unhealthy client measures itself rather than the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Everything was sent, and on time.
    Valid,
    /// Read the figures with care.
    Degraded(Ailment),
    /// The planned load was not applied; the figures say nothing about it.
    Invalid(Ailment),
}

/// How late requests were by the load generator's fault alone, and what became of it. All are 99th percentiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lateness {
    /// After the moment at which both the plan and a free slot allowed a request.
    pub(crate) p99: Duration,
    /// The reported latency.
    pub(crate) latency_p99: Duration,
    /// What it would have been had each request gone out at that moment.
    pub(crate) punctual_p99: Duration,
}

/// What was wrong with the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ailment {
    /// Requests that never had a free slot, or that the client had no time for.
    Missed {
        /// How many were not sent.
        missed: u64,
        /// How many were planned.
        planned: u64,
    },
    /// Requests went out late although there was a free slot.
    Late {
        /// 99 % of them were at most this late.
        p99: Duration,
        /// What of the 99th percentile of the latency is due to that.
        added: Duration,
    },
}

impl Health {
    /// No later than this is on time: a few milliseconds are what any busy machine takes to give a thread its turn.
    pub const LATE: Duration = Duration::from_millis(5);
    /// Being late makes a run degraded when it adds more than this share, in percent, to the 99th percentile of the latency.
    /// Late requests that are not the slow ones, or not late in comparison, change nothing that anybody reads.
    pub const TELLING_SHARE: u32 = 10;
    /// More than this makes a run invalid whatever the latency: that was bursts, not a constant rate.
    pub const FAR_TOO_LATE: Duration = Duration::from_millis(100);

    /// The verdict on a run that sent all but `missed` of `planned` requests.
    pub(crate) fn judge(missed: u64, planned: u64, lateness: Lateness) -> Self {
        let Lateness {
            p99: pacing_lag_p99,
            latency_p99,
            punctual_p99,
        } = lateness;
        let added = latency_p99.saturating_sub(punctual_p99);
        let unsent = Ailment::Missed { missed, planned };
        let late = Ailment::Late {
            p99: pacing_lag_p99,
            added,
        };
        let telling = added.saturating_mul(100) > latency_p99.saturating_mul(Self::TELLING_SHARE);
        if u128::from(missed) * 100 > u128::from(planned) {
            Self::Invalid(unsent)
        } else if pacing_lag_p99 > Self::FAR_TOO_LATE {
            Self::Invalid(late)
        } else if missed > 0 {
            Self::Degraded(unsent)
        } else if pacing_lag_p99 > Self::LATE && telling {
            Self::Degraded(late)
        } else {
            Self::Valid
        }
    }
}

/// `valid`, or the verdict with its reason.
impl fmt::Display for Health {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Valid => formatter.write_str("valid"),
            Self::Degraded(ailment) => write!(formatter, "degraded: {ailment}"),
            Self::Invalid(ailment) => write!(formatter, "invalid: {ailment}"),
        }
    }
}

impl fmt::Display for Ailment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missed { missed, planned } => {
                write!(formatter, "{missed} of {planned} requests were not sent")
            }
            Self::Late { p99, added } => {
                write!(
                    formatter,
                    "the load generator itself was late by {:.1} ms (p99), which adds {:.1} ms to the 99th percentile",
                    p99.as_secs_f64() * 1e3,
                    added.as_secs_f64() * 1e3
                )
            }
        }
    }
}
