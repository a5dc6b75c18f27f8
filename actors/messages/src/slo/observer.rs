//! Judges readings, one check after the other.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use jiff::Timestamp;

use super::Slo;
use super::condition::{SloCondition, SloLimit};
use super::outcome::{SloOutcome, SloStatus};
use crate::decimal::Decimal;
use crate::error::EventError;
use crate::measurement::Reading;
use crate::metric;
use crate::number::Number;

/// Why a measurement ends by [`Verdict::violation`].
const SLO_VIOLATION: &str = "slo-violation";

/// Keeps the most recent outcomes of each condition: as many as its window has places, whatever they are.
#[derive(Clone, Debug)]
pub struct SloObserver {
    watched: Vec<Watched>,
    treat_zero_as_missing: bool,
}

#[derive(Clone, Debug)]
struct Watched {
    condition: SloCondition,
    /// Oldest first.
    outcomes: VecDeque<(Timestamp, SloOutcome)>,
}

/// What one check came to. Prints as the line for the log, `SLO statuses from last check: x1 passed [(m below 10)]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The conditions by the status that they have now.
    pub statuses: BTreeMap<SloStatus, Vec<String>>,
    /// Conditions that failed as often as they may not: the error to end the measurement with.
    pub violation: Option<EventError>,
}

impl SloObserver {
    /// Nothing observed yet. A value of exactly zero counts as missing if so told.
    pub fn new(slo: Slo, treat_zero_as_missing: bool) -> SloObserver {
        let watched = slo.conditions.into_iter().map(|condition| Watched {
            condition,
            outcomes: VecDeque::new(),
        });
        SloObserver {
            watched: watched.collect(),
            treat_zero_as_missing,
        }
    }

    /// Judges what was found in the check at `time`.
    pub fn observe(&mut self, time: Timestamp, readings: &[Reading]) -> Verdict {
        let values = values(readings);
        let value_of = |name: &str| {
            values
                .get(name)
                .copied()
                .filter(|value| !(value.is_nan() || (self.treat_zero_as_missing && *value == 0.0)))
        };
        let mut statuses: BTreeMap<SloStatus, Vec<String>> = BTreeMap::new();
        let mut violations = Vec::new();
        for watched in &mut self.watched {
            let outcome = judge(&watched.condition, value_of);
            statuses
                .entry(outcome.status())
                .or_default()
                .push(watched.condition.to_string());
            if watched.keep(time, outcome) {
                violations.push(watched.to_string());
            }
        }
        Verdict {
            statuses,
            violation: (!violations.is_empty()).then(|| {
                EventError::aborted(
                    SLO_VIOLATION,
                    format!("SLO violation(s) observed: {}", violations.join(", ")),
                )
            }),
        }
    }
}

impl Watched {
    /// Keeps an outcome, and says whether with it there are too many failures.
    fn keep(&mut self, time: Timestamp, outcome: SloOutcome) -> bool {
        let trigger = self.condition.trigger;
        let places = usize::try_from(trigger.window().get()).unwrap_or(usize::MAX);
        while self.outcomes.len() >= places {
            self.outcomes.pop_front();
        }
        self.outcomes.push_back((time, outcome));
        // Nothing but a comparison may trigger: what is missing or skipped only takes a place.
        let failures = self
            .outcomes
            .iter()
            .filter(|(_, outcome)| outcome.status() == SloStatus::Failed)
            .count();
        matches!(outcome.status(), SloStatus::Passed | SloStatus::Failed)
            && u32::try_from(failures).is_ok_and(|failures| failures >= trigger.count().get())
    }
}

/// `(m below 10)[2020-01-21 12:00:01 SLO passed, 2020-01-21 12:01:01 SLO failed …]`.
impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.condition)?;
        for (index, (time, outcome)) in self.outcomes.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let text = outcome.text(&self.condition);
            write!(f, "{comma}{} {text}", Moment(*time))?;
        }
        f.write_str("]")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SLO statuses from last check: ")?;
        for (index, (status, conditions)) in self.statuses.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let (count, conditions) = (conditions.len(), conditions.join(", "));
            write!(f, "{comma}x{count} {status} [{conditions}]")?;
        }
        Ok(())
    }
}

/// `2020-01-21 12:00:01`, with `.000001` when there is a fraction; UTC.
struct Moment(Timestamp);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.0.as_microsecond() % 1_000_000 {
            0 => "%Y-%m-%d %H:%M:%S",
            _ => "%Y-%m-%d %H:%M:%S.%6f",
        };
        write!(f, "{}", self.0.strftime(format))
    }
}

/// In the order of `spec/optimizer-protocol.md §14`.
fn judge(condition: &SloCondition, value_of: impl Fn(&str) -> Option<f64>) -> SloOutcome {
    let Some(value) = value_of(&condition.metric) else {
        return SloOutcome::MissingMetric;
    };
    let limit = match &condition.limit {
        SloLimit::Fixed(limit) => scaled(limit.as_f64(), condition.multiplier),
        SloLimit::Metric {
            name,
            metric_minimum,
            threshold_minimum,
        } => {
            let Some(limit) = value_of(name) else {
                return SloOutcome::MissingThreshold;
            };
            let limit = scaled(limit, condition.multiplier);
            if (0.0..=*metric_minimum).contains(&value) {
                return SloOutcome::ZeroMetric { value };
            }
            if (0.0..=*threshold_minimum).contains(&limit) {
                return SloOutcome::ZeroThreshold { limit };
            }
            limit
        }
    };
    if condition.keep.holds(value, limit) {
        SloOutcome::Passed
    } else {
        SloOutcome::Failed { value, limit }
    }
}

/// The product of the printed numbers, so that 0.1 * 3 is 0.3 and not the least bit more.
fn scaled(value: f64, factor: Number) -> f64 {
    let exact = Decimal::from_f64(value)
        .zip(factor.decimal())
        .and_then(|(value, factor)| value.mul(factor))
        .and_then(|product| product.to_text().parse().ok());
    exact.unwrap_or_else(|| value * factor.as_f64())
}

/// Of each metric the mean over its instances, of each series its mean. Instances without numbers say nothing.
fn values(readings: &[Reading]) -> BTreeMap<&str, f64> {
    let mut instances: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for reading in readings {
        let value = match reading {
            Reading::Point(point) => Some(point.value()),
            Reading::Series(series) => {
                // Infinities stay: a latency beyond the last bucket is no missing one.
                let points = series.points().iter().map(|(_, value)| *value);
                mean(&points.filter(|value| !value.is_nan()).collect::<Vec<_>>())
            }
        };
        if let Some(value) = value {
            let name = reading.metric().name.as_str();
            instances.entry(name).or_default().push(value);
        }
    }
    instances
        .into_iter()
        .filter_map(|(name, values)| Some((name, mean(&values)?)))
        .collect()
}

/// The mean without the rounding errors of a plain sum (Neumaier's compensation), which would show in messages.
fn mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = sum + value;
        lost += if sum.abs() >= value.abs() {
            (sum - next) + value
        } else {
            (value - next) + sum
        };
        sum = next;
    }
    let count = values.len() as f64;
    if (sum + lost).is_finite() {
        let mean = sum / count;
        // What the division lost, exactly.
        let rest = mean.mul_add(-count, sum);
        Some(mean + (rest + lost) / count)
    } else if values.iter().all(|value| value.is_finite()) {
        // The sum is too large for a float; the mean is not.
        metric::mean(values.iter().copied())
    } else {
        Some(values.iter().sum())
    }
}
