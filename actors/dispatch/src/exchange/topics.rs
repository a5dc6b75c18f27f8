//! The channels that the product offers (`spec/events-and-checks.md` §4.10): words that publishers
//! and subscribers in different crates share.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::typed::Topic;

/// Present values of metrics, published at an interval; one list each time, without the metrics
/// that could not be read.
pub const METRICS_PROMETHEUS: Topic<Vec<MetricSample>> = Topic::new("metrics.prometheus");

/// Name of the channel of load reports: one JSON object for each reporting interval while load
/// runs, without those of the warm-up. Its messages are those of whoever makes the load.
pub const LOADGEN_VEGETA: &str = "loadgen.vegeta";

/// The value of a metric at one time. As JSON, `["name", "2026-01-05T10:00:00Z", 1.5]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "(String, Timestamp, f64)", into = "(String, Timestamp, f64)")]
pub struct MetricSample {
    /// Name of the metric.
    pub metric: String,
    /// When it had the value.
    pub time: Timestamp,
    /// The value.
    pub value: f64,
}

impl From<(String, Timestamp, f64)> for MetricSample {
    fn from((metric, time, value): (String, Timestamp, f64)) -> Self {
        Self {
            metric,
            time,
            value,
        }
    }
}

impl From<MetricSample> for (String, Timestamp, f64) {
    fn from(sample: MetricSample) -> Self {
        (sample.metric, sample.time, sample.value)
    }
}
