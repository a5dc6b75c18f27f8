//! What to try next: the search's question and its answer.

use std::collections::BTreeMap;

use super::{FEW_ERRORS, Goal, Session};
use crate::{
    application::Assignment,
    problem::{BaselineValues, Problem, SearchProblem},
    store::{NewTrial, Purpose, TrialRecord, TrialState},
    study::StudyConfig,
};

impl Session {
    /// What to try next; `None` when the budget is spent.
    pub(super) fn new_trial(&self) -> Result<Option<NewTrial>, String> {
        let baseline = |purpose| {
            Ok(Some(NewTrial {
                purpose,
                settings: self.study.baseline.clone(),
                p_feasible: None,
            }))
        };
        if self
            .trials
            .iter()
            .any(|trial| trial.state == TrialState::Suspect)
        {
            return match &self.unjudged {
                Some(why) => Err(format!(
                    "the configuration the study began from can no longer be judged: {why}"
                )),
                None => baseline(Purpose::Probe),
            };
        }
        let finished = self
            .trials
            .iter()
            .filter(|trial| trial.state.is_final())
            .count();
        match &self.goal {
            Goal::Observe { .. } if finished == 0 => baseline(Purpose::Baseline),
            Goal::Observe { .. } => Ok(None),
            Goal::Tune { .. } if finished >= self.budget() => Ok(None),
            Goal::Tune { .. } if self.measured_baseline().next().is_none() => {
                baseline(Purpose::Baseline)
            }
            Goal::Tune {
                problem,
                space,
                study,
            } => {
                let baseline = self.baseline_values(problem, None);
                let problem = SearchProblem {
                    problem,
                    baseline: &baseline,
                };
                let search = servo_search::Search::new(space.clone(), problem, self.options(study))
                    .map_err(|error| format!("the search cannot begin: {error}"))?;
                let suggestion = search
                    .suggest(&self.history())
                    .map_err(|error| format!("the search cannot go on: {error}"))?;
                Ok(Some(NewTrial {
                    purpose: purpose(suggestion.purpose),
                    settings: self.settings_at(&suggestion.point),
                    p_feasible: suggestion.p_feasible,
                }))
            }
        }
    }

    /// The baseline's own values where the search means the baseline: they may lie off the grid.
    pub(super) fn settings_at(&self, point: &[f64]) -> Assignment {
        match self.application.point(&self.study.baseline) {
            Ok(baseline) if baseline == point => self.study.baseline.clone(),
            _ => self.application.assignment(point),
        }
    }

    pub(super) fn budget(&self) -> usize {
        match &self.goal {
            Goal::Tune { study, space, .. } => study.budget(space.dimensions().len()),
            Goal::Observe { .. } => 1,
        }
    }

    pub(super) fn options(&self, study: &StudyConfig) -> servo_search::Options {
        let budget = self.budget();
        servo_search::Options {
            seed: study.seed,
            budget,
            baseline: self.application.point(&self.study.baseline).ok(),
            confirmations: study.confirmation_trials(budget),
            ..servo_search::Options::new(budget)
        }
    }

    /// The finished trials in the search's terms.
    pub(super) fn history(&self) -> Vec<servo_search::Trial> {
        let Goal::Tune { problem, .. } = &self.goal else {
            return Vec::new();
        };
        let finished = self.trials.iter().filter(|trial| trial.state.is_final());
        finished
            .filter_map(|trial| {
                let point = self.application.point(&trial.settings).ok()?;
                // Only what was measured has an objective. What the search does not know to be forbidden has failed
                // to it.
                let broke_down = trial.violated.iter().any(|name| name == FEW_ERRORS);
                let outputs = trial
                    .objective
                    .filter(|_| !broke_down)
                    .and_then(|_| problem.output_values(&trial.metrics));
                let outcome = outputs.map_or(
                    servo_search::Outcome::Failed,
                    servo_search::Outcome::Measured,
                );
                Some(servo_search::Trial { point, outcome })
            })
            .collect()
    }

    pub(super) fn measured_baseline(&self) -> impl Iterator<Item = &TrialRecord> {
        self.trials
            .iter()
            .filter(|trial| trial.settings == self.study.baseline && trial.objective.is_some())
    }

    pub(super) fn baseline_values(
        &self,
        problem: &Problem,
        and: Option<&BTreeMap<String, f64>>,
    ) -> BaselineValues {
        let measured = self.measured_baseline().map(|trial| &trial.metrics);
        problem.baseline(&self.study.baseline, measured.chain(and))
    }
}

fn purpose(purpose: servo_search::Purpose) -> Purpose {
    match purpose {
        servo_search::Purpose::Baseline => Purpose::Baseline,
        servo_search::Purpose::Repeat => Purpose::Repeat,
        servo_search::Purpose::Explore => Purpose::Explore,
        servo_search::Purpose::Improve => Purpose::Improve,
        servo_search::Purpose::Confirm => Purpose::Confirm,
    }
}
