//! What one check of one condition comes to, and how it is told.

use std::fmt;

use super::condition::{SloCondition, SloLimit, shortest};

/// What one check of one condition came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SloOutcome {
    /// The metric is on the right side of the limit.
    Passed,
    /// It is not.
    Failed {
        /// Of the metric.
        value: f64,
        /// After multiplication.
        limit: f64,
    },
    /// The readings do not tell the metric.
    MissingMetric,
    /// The readings do not tell the metric that the limit comes from.
    MissingThreshold,
    /// The metric is too near to zero to be compared with another.
    ZeroMetric {
        /// Of the metric.
        value: f64,
    },
    /// The limit is too near to zero to be compared with.
    ZeroThreshold {
        /// After multiplication.
        limit: f64,
    },
}

/// An outcome without its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SloStatus {
    /// See [`SloOutcome::Passed`].
    Passed,
    /// See [`SloOutcome::Failed`].
    Failed,
    /// See [`SloOutcome::MissingMetric`].
    MissingMetric,
    /// See [`SloOutcome::MissingThreshold`].
    MissingThreshold,
    /// See [`SloOutcome::ZeroMetric`].
    ZeroMetric,
    /// See [`SloOutcome::ZeroThreshold`].
    ZeroThreshold,
}

impl SloOutcome {
    /// Without the numbers.
    pub const fn status(&self) -> SloStatus {
        match self {
            SloOutcome::Passed => SloStatus::Passed,
            SloOutcome::Failed { .. } => SloStatus::Failed,
            SloOutcome::MissingMetric => SloStatus::MissingMetric,
            SloOutcome::MissingThreshold => SloStatus::MissingThreshold,
            SloOutcome::ZeroMetric { .. } => SloStatus::ZeroMetric,
            SloOutcome::ZeroThreshold { .. } => SloStatus::ZeroThreshold,
        }
    }

    /// What happened to `condition`, for people.
    pub fn text(&self, condition: &SloCondition) -> String {
        let metric = &condition.metric;
        match *self {
            SloOutcome::Passed => "SLO passed".to_owned(),
            SloOutcome::Failed { value, limit } => format!(
                "SLO failed metric value {} was not {} threshold value {}",
                shortest(value),
                condition.keep,
                shortest(limit)
            ),
            SloOutcome::MissingMetric => format!("Metric {metric} was not found in readings"),
            SloOutcome::MissingThreshold => match &condition.limit {
                SloLimit::Metric { name, .. } => {
                    format!("Threshold metric {name} was not found in readings")
                }
                SloLimit::Fixed(_) => "Threshold metric was not found in readings".to_owned(),
            },
            SloOutcome::ZeroMetric { value } => format!(
                "Skipping SLO {metric} due to near-zero metric value of {}",
                shortest(value)
            ),
            SloOutcome::ZeroThreshold { limit } => format!(
                "Skipping SLO {metric} due to near-zero threshold value of {}",
                shortest(limit)
            ),
        }
    }
}

impl SloStatus {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            SloStatus::Passed => "passed",
            SloStatus::Failed => "failed",
            SloStatus::MissingMetric => "missing_metric",
            SloStatus::MissingThreshold => "missing_threshold",
            SloStatus::ZeroMetric => "zero_metric",
            SloStatus::ZeroThreshold => "zero_threshold",
        }
    }
}

impl fmt::Display for SloStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
