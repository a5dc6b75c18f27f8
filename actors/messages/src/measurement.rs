//! What a measurement brought, and the form in which it goes to the optimizer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::duration::Duration;
use crate::metric::{DataPoint, Metric, TimeSeries, between};

/// One thing a measurement brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A single observation.
    Point(DataPoint),
    /// Observations over time.
    Series(TimeSeries),
}

impl Reading {
    /// What was measured.
    pub const fn metric(&self) -> &Metric {
        match self {
            Reading::Point(point) => point.metric(),
            Reading::Series(series) => &series.metric,
        }
    }

    /// The finite values, earliest first.
    pub fn values(&self) -> Vec<f64> {
        match self {
            Reading::Point(point) => vec![point.value()],
            Reading::Series(series) => series.values().collect(),
        }
    }

    /// The times of the first and the last observation.
    pub fn timespan(&self) -> Option<(Timestamp, Timestamp)> {
        match self {
            Reading::Point(point) => Some((point.time(), point.time())),
            Reading::Series(series) => series.timespan(),
        }
    }
}

impl From<DataPoint> for Reading {
    fn from(point: DataPoint) -> Self {
        Reading::Point(point)
    }
}

impl From<TimeSeries> for Reading {
    fn from(series: TimeSeries) -> Self {
        Reading::Series(series)
    }
}

/// All that one or more connectors measured in answer to one command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measurement {
    /// What was measured, in the order of the connectors.
    pub readings: Vec<Reading>,
    /// Remarks that travel with it.
    pub annotations: BTreeMap<String, String>,
}

impl Measurement {
    /// A measurement of these readings, without annotations.
    pub fn new(readings: impl IntoIterator<Item = Reading>) -> Measurement {
        Measurement {
            readings: readings.into_iter().collect(),
            annotations: BTreeMap::new(),
        }
    }

    /// Whether there is no reading.
    pub fn is_empty(&self) -> bool {
        self.readings.is_empty()
    }

    /// Both together; `other`'s annotations win over equal keys.
    #[must_use]
    pub fn merge(mut self, other: Measurement) -> Measurement {
        self.readings.extend(other.readings);
        self.annotations.extend(other.annotations);
        self
    }

    /// The readings of the metric of this name.
    pub fn readings_of(&self, metric: &str) -> impl Iterator<Item = &Reading> {
        self.readings
            .iter()
            .filter(move |reading| reading.metric().name == metric)
    }

    /// The smallest finite value of the metric of this name.
    pub fn min(&self, metric: &str) -> Option<f64> {
        self.readings_of(metric)
            .flat_map(Reading::values)
            .reduce(f64::min)
    }

    /// The largest finite value of the metric of this name.
    pub fn max(&self, metric: &str) -> Option<f64> {
        self.readings_of(metric)
            .flat_map(Reading::values)
            .reduce(f64::max)
    }

    /// The times of the very first and the very last observation.
    pub fn timespan(&self) -> Option<(Timestamp, Timestamp)> {
        self.readings
            .iter()
            .filter_map(Reading::timespan)
            .reduce(|(first, last), (from, to)| (first.min(from), last.max(to)))
    }

    /// From the very first to the very last observation.
    pub fn duration(&self) -> Duration {
        self.timespan()
            .map_or(Duration::ZERO, |(first, last)| between(first, last))
    }

    /// The form that goes to the optimizer. `now` names the series that have no id of their own.
    ///
    /// * One `values` entry for each series, ids unique within the metric: a repeated id gets `-1`, `-2`, ... appended.
    /// * A metric with both a scalar and a series keeps the series.
    /// * Of several scalars of one metric the last is kept.
    /// * Points that are not finite are dropped; a series that loses all its points that way is left out, while one
    ///   that was empty from the start is sent as empty.
    pub fn to_wire(&self, now: Timestamp) -> MeasurementWire {
        let mut entries: Vec<(&Metric, Entry)> = Vec::new();
        let mut warnings = Warnings::default();
        for reading in &self.readings {
            let metric = reading.metric();
            let at = match entries
                .iter()
                .position(|(known, _)| known.name == metric.name)
            {
                Some(at) => at,
                None => {
                    entries.push((metric, Entry::default()));
                    entries.len() - 1
                }
            };
            let Some((known, entry)) = entries.get_mut(at) else {
                continue;
            };
            if !known.unit.same_on_wire(metric.unit) {
                warnings.push(WireWarning::UnitsDiffer {
                    metric: metric.name.clone(),
                    kept: known.unit.symbol(),
                    ignored: metric.unit.symbol(),
                });
            }
            match reading {
                Reading::Point(point) => {
                    if entry.scalar.replace(point.value()).is_some() {
                        warnings.push(WireWarning::RepeatedScalar {
                            metric: metric.name.clone(),
                        });
                    }
                }
                Reading::Series(series) => entry.push_series(series, now, &mut warnings),
            }
        }

        let mut metrics = Map::new();
        for (metric, entry) in entries {
            let unit = metric.unit.symbol();
            match (entry.scalar, entry.series) {
                (scalar, series) if !series.is_empty() => {
                    if scalar.is_some() {
                        warnings.push(WireWarning::ScalarIgnored {
                            metric: metric.name.clone(),
                        });
                    }
                    metrics.insert(
                        metric.name.clone(),
                        json!({ "unit": unit, "values": series }),
                    );
                }
                (Some(value), _) => {
                    metrics.insert(metric.name.clone(), json!({ "unit": unit, "value": value }));
                }
                (None, _) => {}
            }
        }
        MeasurementWire {
            metrics,
            annotations: self.annotations.clone(),
            warnings: warnings.0,
        }
    }
}

/// A measurement as it travels, and what had to be changed for it.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasurementWire {
    /// The `metrics` object.
    pub metrics: Map<String, Value>,
    /// The `annotations` object.
    pub annotations: BTreeMap<String, String>,
    /// What the caller should log.
    pub warnings: Vec<WireWarning>,
}

/// Something about a measurement that could not be sent as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireWarning {
    /// NaN or infinite values were dropped.
    NonFinite {
        /// The metric's name.
        metric: String,
        /// How many points.
        dropped: usize,
    },
    /// A metric came both as a scalar and as a series.
    ScalarIgnored {
        /// The metric's name.
        metric: String,
    },
    /// A metric came as more than one scalar.
    RepeatedScalar {
        /// The metric's name.
        metric: String,
    },
    /// A metric came in different units.
    UnitsDiffer {
        /// The metric's name.
        metric: String,
        /// The wire text of the unit that came first.
        kept: &'static str,
        /// The wire text of the other.
        ignored: &'static str,
    },
}

impl fmt::Display for WireWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireWarning::NonFinite { metric, dropped } => {
                let points = if *dropped == 1 { "point" } else { "points" };
                write!(
                    f,
                    "metric '{metric}': dropped {dropped} non-finite {points}"
                )
            }
            WireWarning::ScalarIgnored { metric } => {
                write!(
                    f,
                    "metric '{metric}': measured both as a time series and as a single value; the series is kept"
                )
            }
            WireWarning::RepeatedScalar { metric } => {
                write!(
                    f,
                    "metric '{metric}': measured more than once as a single value; the last is kept"
                )
            }
            WireWarning::UnitsDiffer {
                metric,
                kept,
                ignored,
            } => {
                write!(
                    f,
                    "metric '{metric}': measured in '{kept}' and in '{ignored}'; '{kept}' is reported"
                )
            }
        }
    }
}

#[derive(Default)]
struct Warnings(Vec<WireWarning>);

impl Warnings {
    /// One warning for each metric and cause; counts add up.
    fn push(&mut self, warning: WireWarning) {
        if let WireWarning::NonFinite { metric, dropped } = &warning {
            for known in &mut self.0 {
                if let WireWarning::NonFinite {
                    metric: same,
                    dropped: sum,
                } = known
                    && same == metric
                {
                    *sum += dropped;
                    return;
                }
            }
        }
        if !self.0.contains(&warning) {
            self.0.push(warning);
        }
    }
}

/// All that is to be sent of one metric.
#[derive(Default)]
struct Entry {
    scalar: Option<f64>,
    series: Vec<Value>,
    ids: BTreeSet<String>,
}

impl Entry {
    fn push_series(&mut self, series: &TimeSeries, now: Timestamp, warnings: &mut Warnings) {
        let data: Vec<Value> = series
            .points()
            .iter()
            .filter(|(_, value)| value.is_finite())
            .map(|(time, value)| json!([time.as_second(), value]))
            .collect();
        let dropped = series.len() - data.len();
        if dropped > 0 {
            warnings.push(WireWarning::NonFinite {
                metric: series.metric.name.clone(),
                dropped,
            });
            if data.is_empty() {
                return;
            }
        }
        let wanted = series
            .id
            .clone()
            .unwrap_or_else(|| now.as_second().to_string());
        let id = self.unique(wanted);
        self.series.push(json!({ "id": id, "data": data }));
    }

    fn unique(&mut self, wanted: String) -> String {
        let mut id = wanted.clone();
        let mut suffix = 0_usize;
        while !self.ids.insert(id.clone()) {
            suffix += 1;
            id = format!("{wanted}-{suffix}");
        }
        id
    }
}
