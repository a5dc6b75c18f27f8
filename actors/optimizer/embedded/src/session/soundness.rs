//! Whether a measurement says anything about the configuration it was made at.

use servo_messages::{MeasurementReport, Unit};

use super::{Goal, Session};
use crate::{application::Application, store::TrialRecord, study::StudyConfig};

/// The annotation with which a load generator tells whether it kept its own schedule
/// (`spec/metrics-and-load.md` §3.5).
const LOAD_HEALTH: &str = "load_health";

/// The annotation with which it tells how requests failed.
const LOAD_ERRORS: &str = "load_errors";

/// The metric that load generators count failed requests with, in per cent.
const ERROR_RATE: &str = "error_rate";

/// What holds where a study says nothing of errors: an answer that fails fast is no good answer.
pub(crate) const FEW_ERRORS: &str = "error_rate <= baseline + 1 (implied)";

/// How much the error rate may rise above the baseline's, in percentage points.
const MORE_ERRORS: f64 = 1.0;

/// Why `report` tells nothing about the application, whichever way it is configured.
pub(super) fn unsound(report: &MeasurementReport) -> Option<String> {
    let health = report.annotations.get(LOAD_HEALTH);
    if let Some(why) = health.and_then(|health| health.strip_prefix("invalid")) {
        let why = why.trim_start_matches(':').trim();
        let why = if why.is_empty() {
            "it gave no reason"
        } else {
            why
        };
        return Some(format!(
            "the load generator calls its own measurement invalid: {why}; the machine may be busy, or a limit \
             such as `max_workers` too low for the load"
        ));
    }
    (percent_of_errors(report)? >= 100.0).then(|| {
        let errors = report.annotations.get(LOAD_ERRORS);
        format!(
            "every request failed, so the other metrics say nothing: {}; check the address of the target, and \
             that it answers without errors",
            errors.map_or("error_rate is 100 %", String::as_str)
        )
    })
}

fn percent_of_errors(report: &MeasurementReport) -> Option<f64> {
    let metric = report.metrics.get(ERROR_RATE)?;
    metric.mean().filter(|_| metric.unit == Unit::Percentage)
}

/// Whether errors are limited although the study does not speak of them.
pub(crate) fn limits_errors(study: &StudyConfig, application: &Application) -> bool {
    application.unit(ERROR_RATE) == Unit::Percentage.symbol()
        && !study.objective.formula().mentions(ERROR_RATE)
        && !study
            .constraints
            .0
            .iter()
            .any(|named| named.constraint.mentions(ERROR_RATE))
}

impl Session {
    /// Whether a configuration makes so many more requests fail than the baseline that nothing else counts.
    pub(super) fn breaks_down(&self, trial: &TrialRecord, report: &MeasurementReport) -> bool {
        let Goal::Tune { study, .. } = &self.goal else {
            return false;
        };
        if trial.settings == self.study.baseline || !limits_errors(study, &self.application) {
            return false;
        }
        let before: Vec<f64> = self
            .measured_baseline()
            .filter_map(|trial| trial.metrics.get(ERROR_RATE).copied())
            .collect();
        if before.is_empty() {
            return false;
        }
        let before = before.iter().sum::<f64>() / before.len() as f64;
        percent_of_errors(report).is_some_and(|now| now > before + MORE_ERRORS)
    }
}
