//! What the answer to a trial's command means, and whose fault a failure is.

use std::collections::BTreeMap;

use servo_messages::MeasurementReport;
use servo_protocol::{Explanation, Outcome, Payload};

use super::{
    Desk, FEW_ERRORS, Goal, MAX_ATTEMPTS, SLO_VIOLATION, Session, Stage, rest, soundness::unsound,
};
use crate::{
    notice::{Notice, TrialEvent},
    store::{Finding, Purpose, Step, StoreError, TrialRecord, TrialState},
};

impl Session {
    pub(super) fn complete_trial(
        &mut self,
        trial: &TrialRecord,
        step: Step,
        outcome: &Outcome,
        desk: &mut Desk<'_>,
    ) -> Result<(), StoreError> {
        let first_baseline =
            trial.settings == self.study.baseline && self.measured_baseline().next().is_none();
        match outcome {
            Outcome::Ok(Payload::Measurement(report)) => {
                self.measured(trial, report, first_baseline, desk)
            }
            Outcome::Ok(_) => {
                if step == Step::Adjust {
                    self.applied = Some(trial.settings.clone());
                }
                self.stage = Stage::Choosing;
                Ok(())
            }
            Outcome::Rejected(why) if first_baseline => {
                let reason = format!(
                    "the configuration the study began from ({}) was rejected: {}",
                    trial.settings,
                    text(why)
                );
                self.applied = None;
                self.stop(reason, desk)
            }
            Outcome::Rejected(why) if trial.settings != self.study.baseline => {
                self.applied = None;
                let finding = Finding {
                    message: Some(text(why)),
                    ..Finding::default()
                };
                self.finish(trial, TrialState::Failed, finding, desk)
            }
            Outcome::Aborted(why) if why.reason.as_deref() == Some(SLO_VIOLATION) => {
                if first_baseline {
                    let reason = format!(
                        "the configuration the study began from breaks the SLO that the servo watches, so there \
                         is nothing to compare with: {}; relax the SLO, or begin from a safer configuration",
                        text(why)
                    );
                    return self.stop(reason, desk);
                }
                let finding = Finding {
                    violated: vec![SLO_VIOLATION.to_owned()],
                    message: Some(text(why)),
                    ..Finding::default()
                };
                self.finish(trial, TrialState::Infeasible, finding, desk)
            }
            Outcome::Rejected(why)
            | Outcome::Failed(why)
            | Outcome::Aborted(why)
            | Outcome::Cancelled(why) => self.attempt_failed(trial, step, &text(why), desk),
        }
    }

    fn measured(
        &mut self,
        trial: &TrialRecord,
        report: &MeasurementReport,
        first_baseline: bool,
        desk: &mut Desk<'_>,
    ) -> Result<(), StoreError> {
        let mean = |(name, metric): (&String, &servo_messages::MetricReport)| {
            metric
                .mean()
                .filter(|mean| mean.is_finite())
                .map(|mean| (name.clone(), mean))
        };
        let metrics: BTreeMap<String, f64> = report.metrics.iter().filter_map(mean).collect();
        let Goal::Tune { problem, .. } = &self.goal else {
            let finding = Finding {
                metrics,
                ..Finding::default()
            };
            return self.finish(trial, TrialState::Completed, finding, desk);
        };
        if let Some(why) = unsound(report) {
            return self.attempt_failed(trial, Step::Measure, &why, desk);
        }
        let own = (trial.settings == self.study.baseline).then_some(&metrics);
        let baseline = self.baseline_values(problem, own);
        match problem.worth(&trial.settings, &metrics, &baseline) {
            Ok(mut worth) => {
                if self.breaks_down(trial, report) {
                    worth.violated.push(FEW_ERRORS.to_owned());
                }
                let state = if worth.violated.is_empty() {
                    TrialState::Completed
                } else {
                    TrialState::Infeasible
                };
                let finding = Finding {
                    metrics,
                    objective: Some(worth.objective),
                    violated: worth.violated,
                    message: None,
                };
                self.finish(trial, state, finding, desk)
            }
            Err(problem) if self.tries + 1 < MAX_ATTEMPTS => {
                let message = problem.to_string();
                self.again(trial, TrialState::Pending, &message, desk)?;
                tracing::warn!(
                    optimizer = %self.study.optimizer, trial = trial.number,
                    "{message}; measuring once more"
                );
                self.tries += 1;
                self.stage = Stage::Choosing;
                Ok(())
            }
            Err(problem) if first_baseline => self.stop(problem.to_string(), desk),
            Err(problem) => {
                let message = Some(problem.to_string());
                let finding = Finding {
                    metrics,
                    message,
                    ..Finding::default()
                };
                self.finish(trial, TrialState::Invalid, finding, desk)
            }
        }
    }

    /// An attempt came to nothing, and it is not known whose fault that is: not the configuration's, until
    /// the baseline is seen to work.
    fn attempt_failed(
        &mut self,
        trial: &TrialRecord,
        step: Step,
        message: &str,
        desk: &mut Desk<'_>,
    ) -> Result<(), StoreError> {
        let doing = match step {
            Step::Adjust => "adjusting",
            Step::Measure => "measuring",
        };
        let message = format!("{doing} failed: {message}");
        let at_baseline = trial.settings == self.study.baseline;
        let max_failures = self.config().map_or(5, |study| study.max_failures);
        let limit = if at_baseline {
            max_failures
        } else {
            MAX_ATTEMPTS.min(max_failures)
        };
        let tries = self.tries + 1;
        let state = if tries < limit || at_baseline {
            TrialState::Pending
        } else {
            TrialState::Suspect
        };
        self.again(trial, state, &message, desk)?;
        self.applied = None;
        tracing::warn!(
            optimizer = %self.study.optimizer, trial = trial.number, attempt = tries, "{message}"
        );
        if tries < limit || !at_baseline {
            let duration = rest(tries);
            self.tries = if tries < limit { tries } else { 0 };
            self.stage = Stage::Resting {
                duration,
                reason: format!("before another attempt: {message}"),
            };
            return Ok(());
        }
        let times = if tries == 1 {
            "once".to_owned()
        } else {
            format!("{tries} times in a row")
        };
        self.stop(
            format!(
                "carrying out a trial failed {times} even with the configuration the study began from; {message}. \
                 Repair it and start again: the study goes on where it stopped"
            ),
            desk,
        )
    }

    fn again(
        &mut self,
        trial: &TrialRecord,
        state: TrialState,
        message: &str,
        desk: &mut Desk<'_>,
    ) -> Result<(), StoreError> {
        let attempts = trial.attempts.saturating_add(1);
        desk.store
            .record_attempt(trial.id, state, attempts, message)?;
        if let Some(kept) = self.trials.iter_mut().find(|kept| kept.id == trial.id) {
            kept.attempts = attempts;
            kept.state = state;
            kept.message = Some(message.to_owned());
            kept.issued = None;
        }
        Ok(())
    }

    fn finish(
        &mut self,
        trial: &TrialRecord,
        state: TrialState,
        finding: Finding,
        desk: &mut Desk<'_>,
    ) -> Result<(), StoreError> {
        let finished = desk
            .store
            .finish_trial(trial.id, state, &finding, desk.now)?;
        if finished.purpose == Purpose::Probe && state == TrialState::Invalid {
            self.unjudged.clone_from(&finished.message);
        }
        self.keep(finished, desk);
        self.tries = 0;
        self.stage = Stage::Choosing;
        Ok(())
    }

    fn keep(&mut self, finished: TrialRecord, desk: &mut Desk<'_>) {
        if let Some(kept) = self.trials.iter_mut().find(|kept| kept.id == finished.id) {
            *kept = finished.clone();
        }
        desk.notices.push(Notice::Trial(Box::new(TrialEvent {
            optimizer: self.study.optimizer.clone(),
            finished: self
                .trials
                .iter()
                .filter(|trial| trial.state.is_final())
                .count(),
            budget: self.budget(),
            units: self.units(&finished),
            judged_by: self.judged_by().to_vec(),
            trial: finished,
        })));
    }

    /// The metrics which objective and constraints are computed from.
    pub(super) fn judged_by(&self) -> &[String] {
        match &self.goal {
            Goal::Tune { problem, .. } => problem.outputs(),
            Goal::Observe { .. } => &[],
        }
    }

    fn units(&self, trial: &TrialRecord) -> BTreeMap<String, String> {
        let unit = |name: &String| (name.clone(), self.application.unit(name).to_owned());
        trial
            .metrics
            .keys()
            .map(unit)
            .filter(|(_, unit)| !unit.is_empty())
            .collect()
    }

    /// A suspect is guilty once the baseline was seen to run after it.
    pub(super) fn settle_suspects(&mut self, desk: &mut Desk<'_>) -> Result<(), StoreError> {
        let runs = |trial: &&TrialRecord| {
            trial.settings == self.study.baseline
                && matches!(trial.state, TrialState::Completed | TrialState::Infeasible)
        };
        let Some(last_measured) = self
            .trials
            .iter()
            .filter(runs)
            .map(|trial| trial.number)
            .max()
        else {
            return Ok(());
        };
        let guilty: Vec<TrialRecord> = self
            .trials
            .iter()
            .filter(|trial| trial.state == TrialState::Suspect && trial.number < last_measured)
            .cloned()
            .collect();
        for trial in guilty {
            let why = trial.message.as_deref().unwrap_or("failed");
            let message = format!(
                "{why} ({} attempts, while the baseline works)",
                trial.attempts
            );
            let finding = Finding {
                message: Some(message),
                ..Finding::default()
            };
            let finished =
                desk.store
                    .finish_trial(trial.id, TrialState::Failed, &finding, desk.now)?;
            self.keep(finished, desk);
        }
        Ok(())
    }
}

/// What a servo says about a command that it did not carry out.
pub(super) fn text(why: &Explanation) -> String {
    let reason = why
        .reason
        .as_deref()
        .filter(|reason| !reason.is_empty() && *reason != "unknown");
    match (why.message.is_empty(), reason) {
        (false, Some(reason)) => format!("{} ({reason})", why.message),
        (false, None) => why.message.clone(),
        (true, Some(reason)) => reason.to_owned(),
        (true, None) => "the servo gave no reason".to_owned(),
    }
}
