//! Metrics, and single observations and series of them.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::unit::Unit;

/// What is measured. Two metrics are the same when name and unit are.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// The name the optimizer knows it by.
    pub name: String,
    /// Its unit; a plain number if none is given.
    #[serde(default)]
    pub unit: Unit,
}

impl Metric {
    /// A metric of this name and unit.
    pub fn new(name: impl Into<String>, unit: Unit) -> Metric {
        Metric {
            name: name.into(),
            unit,
        }
    }
}

/// `throughput (rpm)`.
impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.unit)
    }
}

/// A single observation was NaN or infinite.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("metric '{metric}' has the value {value}: a data point must be finite")]
pub struct NonFiniteValue {
    /// The metric's name.
    pub metric: String,
    /// What was given.
    pub value: f64,
}

/// One observation, always finite.
#[derive(Clone, Debug, PartialEq)]
pub struct DataPoint {
    metric: Metric,
    time: Timestamp,
    value: f64,
}

impl DataPoint {
    /// An observation of `metric` at `time`.
    ///
    /// # Errors
    /// The value is NaN or infinite.
    pub fn new(metric: Metric, time: Timestamp, value: f64) -> Result<DataPoint, NonFiniteValue> {
        if value.is_finite() {
            Ok(DataPoint {
                metric,
                time,
                value,
            })
        } else {
            Err(NonFiniteValue {
                metric: metric.name,
                value,
            })
        }
    }

    /// What was measured.
    pub const fn metric(&self) -> &Metric {
        &self.metric
    }

    /// When.
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// How much, in the metric's unit.
    pub const fn value(&self) -> f64 {
        self.value
    }
}

/// `throughput: 31337.00rpm @ 2020-01-21 12:00:01`, in UTC.
impl fmt::Display for DataPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {:.2}{} @ {}",
            self.metric.name,
            self.value,
            self.metric.unit,
            self.time.strftime("%Y-%m-%d %H:%M:%S"),
        )
    }
}

/// Observations of one metric in time order. May be empty.
///
/// A source may report NaN or infinite values (a Prometheus division by zero, say); they are kept here, ignored by the
/// statistics, and dropped with a warning when the series goes on the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeSeries {
    /// What was measured.
    pub metric: Metric,
    points: Vec<(Timestamp, f64)>,
    /// Tells this series from others of the same metric (a pod's name, say).
    pub id: Option<String>,
    /// A remark for people.
    pub annotation: Option<String>,
    /// Labels from the source.
    pub metadata: BTreeMap<String, String>,
}

impl TimeSeries {
    /// A series without id, annotation or metadata; the points are put in time order, equal times keep their order.
    pub fn new(metric: Metric, points: impl IntoIterator<Item = (Timestamp, f64)>) -> TimeSeries {
        let mut points: Vec<_> = points.into_iter().collect();
        points.sort_by_key(|(time, _)| *time);
        TimeSeries {
            metric,
            points,
            id: None,
            annotation: None,
            metadata: BTreeMap::new(),
        }
    }

    /// The same series under this id.
    #[must_use]
    pub fn with_id(self, id: impl Into<String>) -> TimeSeries {
        TimeSeries {
            id: Some(id.into()),
            ..self
        }
    }

    /// The same series with this remark.
    #[must_use]
    pub fn with_annotation(self, annotation: impl Into<String>) -> TimeSeries {
        TimeSeries {
            annotation: Some(annotation.into()),
            ..self
        }
    }

    /// The same series with these labels.
    #[must_use]
    pub fn with_metadata(self, metadata: BTreeMap<String, String>) -> TimeSeries {
        TimeSeries { metadata, ..self }
    }

    /// The observations, earliest first.
    pub fn points(&self) -> &[(Timestamp, f64)] {
        &self.points
    }

    /// How many observations.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    /// The finite values, earliest first.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.points
            .iter()
            .map(|(_, value)| *value)
            .filter(|value| value.is_finite())
    }

    /// The smallest finite value.
    pub fn min(&self) -> Option<f64> {
        self.values().reduce(f64::min)
    }

    /// The largest finite value.
    pub fn max(&self) -> Option<f64> {
        self.values().reduce(f64::max)
    }

    /// The mean of the finite values.
    pub fn mean(&self) -> Option<f64> {
        mean(self.values())
    }

    /// The times of the first and the last observation.
    pub fn timespan(&self) -> Option<(Timestamp, Timestamp)> {
        match (self.points.first(), self.points.last()) {
            (Some((first, _)), Some((last, _))) => Some((*first, *last)),
            _ => None,
        }
    }

    /// From the first to the last observation; zero for fewer than two.
    pub fn duration(&self) -> Duration {
        self.timespan()
            .map_or(Duration::ZERO, |(first, last)| between(first, last))
    }
}

/// A running mean, so that large values do not overflow a sum.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut mean = None;
    for (index, value) in values.enumerate() {
        let so_far = mean.unwrap_or(0.0);
        let count = (index + 1) as f64;
        mean = Some(so_far + (value / count - so_far / count));
    }
    mean
}

pub(crate) fn between(first: Timestamp, last: Timestamp) -> Duration {
    std::time::Duration::try_from(last.duration_since(first)).map_or(Duration::ZERO, Duration::from)
}
