//! The end of a study: the answer, and the configuration the application is left with.

use jiff::Timestamp;
use servo_protocol::{Command, CommandUid, Outcome};

use super::{Desk, Goal, MAX_FINAL_ATTEMPTS, Session, Stage, outcome::text, rest};
use crate::{
    application::Assignment,
    notice::Notice,
    problem::SearchProblem,
    result::{Applied, Belief, Gain, Standing, StudyResult, TrialCounts, Verdict},
    store::{StoreError, TrialRecord, TrialState},
    study::Apply,
};

impl Session {
    pub(super) fn conclude(&mut self, desk: &mut Desk<'_>) -> Result<(), StoreError> {
        let (mut result, target) = match &self.goal {
            Goal::Observe { reason, .. } => {
                let verdict = Verdict::Observed {
                    reason: reason.clone(),
                };
                (
                    self.result(verdict, None, Applied::Untouched, desk.now),
                    Applied::Untouched,
                )
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
                let options = self.options(study);
                let answer = match servo_search::Search::new(space.clone(), problem, options) {
                    Ok(search) => search.answer(&self.history()),
                    Err(error) => {
                        return self.stop(format!("the search has no answer: {error}"), desk);
                    }
                };
                let target = match (&answer.chosen, study.apply) {
                    (Some(_), Apply::Best) if !self.fall_back => Applied::Chosen,
                    _ => Applied::Baseline,
                };
                let verdict = self.verdict(&answer);
                (
                    self.result(verdict, Some(&answer), target.clone(), desk.now),
                    target,
                )
            }
        };
        let in_place = match self.settings_of(&target, &result) {
            None => true,
            Some(settings) => self.applied.as_ref() == Some(&settings),
        };
        if in_place {
            return self.over(result, desk);
        }
        let cmd_uid = desk
            .uids
            .next(&format!("s{}final", self.study.id), desk.now);
        result.applied = target.clone();
        self.stage = Stage::Concluding {
            target,
            cmd_uid,
            result: Box::new(result),
        };
        Ok(())
    }

    fn settings_of(&self, target: &Applied, result: &StudyResult) -> Option<Assignment> {
        match target {
            Applied::Chosen => result.chosen.as_ref().map(|chosen| chosen.settings.clone()),
            Applied::Baseline => Some(self.study.baseline.clone()),
            Applied::Untouched | Applied::Unknown { .. } => None,
        }
    }

    pub(super) fn final_adjust(&self, target: &Applied, cmd_uid: &str) -> Command {
        let settings = match &self.stage {
            Stage::Concluding { result, .. } => self.settings_of(target, result),
            _ => None,
        };
        let settings = settings.unwrap_or_else(|| self.study.baseline.clone());
        Command {
            uid: Some(CommandUid::new(cmd_uid)),
            kind: self.adjust(&settings),
        }
    }

    pub(super) fn complete_conclusion(
        &mut self,
        outcome: &Outcome,
        desk: &mut Desk<'_>,
    ) -> Result<(), StoreError> {
        let Stage::Concluding { target, result, .. } = &self.stage else {
            return Ok(());
        };
        let (target, mut result) = (target.clone(), (**result).clone());
        let Some(why) = outcome.explanation() else {
            let settings = self.settings_of(&target, &result);
            self.over(result, desk)?;
            self.applied = settings;
            return Ok(());
        };
        let message = text(why);
        self.applied = None;
        self.tries += 1;
        let hopeless = matches!(outcome, Outcome::Rejected(_)) || self.tries >= MAX_FINAL_ATTEMPTS;
        tracing::warn!(
            optimizer = %self.study.optimizer, attempt = self.tries,
            "could not bring the application to the configuration to end with: {message}"
        );
        if !hopeless {
            let reason = format!("before another attempt to apply the result: {message}");
            self.stage = Stage::Resting {
                duration: rest(self.tries),
                reason,
            };
            return Ok(());
        }
        self.tries = 0;
        if target == Applied::Chosen {
            self.fall_back = true;
            self.stage = Stage::Choosing;
            return Ok(());
        }
        result.applied = Applied::Unknown { message };
        self.over(result, desk)
    }

    fn over(&mut self, result: StudyResult, desk: &mut Desk<'_>) -> Result<(), StoreError> {
        let json = serde_json::to_value(&result).ok();
        desk.store
            .set_result(self.study.id, json.as_ref(), desk.now)?;
        let reason = match &self.goal {
            Goal::Observe { reason, .. } => reason.clone(),
            Goal::Tune { .. } => format!("study finished: {}", result.verdict),
        };
        tracing::info!(optimizer = %self.study.optimizer, study = self.study.id, "{reason}");
        desk.notices.push(Notice::Finished(Box::new(result)));
        self.tries = 0;
        self.stage = Stage::Over { reason };
        Ok(())
    }

    pub(super) fn result(
        &self,
        verdict: Verdict,
        answer: Option<&servo_search::Answer>,
        applied: Applied,
        now: Timestamp,
    ) -> StudyResult {
        let maximises = matches!(&self.goal, Goal::Tune { problem, .. } if problem.maximises());
        let believe = |estimate: &servo_search::Estimate| Belief {
            mean: if maximises {
                -estimate.mean
            } else {
                estimate.mean
            },
            sd: estimate.sd,
        };
        let measured = self.trials.iter().any(|trial| trial.state.is_final());
        let baseline = measured.then(|| {
            let standing = Standing::of(&self.study.baseline, &self.trials, &self.application);
            let believed = answer
                .and_then(|answer| answer.baseline.as_ref())
                .map(believe);
            Standing {
                believed,
                ..standing
            }
        });
        let chosen = answer.and_then(|answer| answer.chosen.as_ref());
        // What is gained is the same number in either direction: the search minimises the negated
        // objective.
        let gain = chosen
            .and_then(|chosen| chosen.gain.as_ref())
            .map(|gain| Gain {
                absolute: Belief {
                    mean: gain.absolute.mean,
                    sd: gain.absolute.sd,
                },
                percent: Belief {
                    mean: 100.0 * gain.relative.mean,
                    sd: 100.0 * gain.relative.sd,
                },
                p_gain: gain.p_gain,
            });
        let chosen = chosen.map(|chosen| {
            let settings = self.settings_at(&chosen.point);
            let standing = Standing::of(&settings, &self.trials, &self.application);
            Standing {
                believed: Some(believe(&chosen.objective)),
                p_feasible: Some(chosen.p_feasible),
                ..standing
            }
        });
        // Asked again later, a study that is over has not become longer.
        let last = self
            .trials
            .iter()
            .filter_map(|trial| trial.finished_at)
            .max();
        let ended_at = last.filter(|_| verdict.is_answer()).unwrap_or(now);
        StudyResult {
            optimizer: self.study.optimizer.clone(),
            study: self.study.id,
            objective: self.study.objective.clone(),
            constraints: self.study.constraints.clone(),
            verdict,
            baseline,
            chosen,
            gain,
            applied,
            judged_by: self.judged_by().to_vec(),
            trials: TrialCounts::of(self.budget(), &self.trials),
            started_at: self.study.created_at,
            ended_at,
            duration_seconds: ended_at
                .duration_since(self.study.created_at)
                .as_secs_f64()
                .max(0.0),
        }
    }

    fn verdict(&self, answer: &servo_search::Answer) -> Verdict {
        match &answer.verdict {
            servo_search::Verdict::Improved => Verdict::Improved,
            servo_search::Verdict::NoImprovement { reason } => {
                let luck = self
                    .best_seen_once()
                    .map(|trial| {
                        format!(
                            "; trial {} looked better, but was measured only once, which may be luck: allow more \
                             trials to confirm it",
                            trial.number
                        )
                    })
                    .unwrap_or_default();
                Verdict::NoImprovement {
                    reason: format!("{reason}{luck}"),
                }
            }
            servo_search::Verdict::BaselineInfeasible { p_feasible } => {
                Verdict::BaselineInfeasible {
                    p_feasible: *p_feasible,
                    remedied: answer.chosen.is_some(),
                }
            }
            servo_search::Verdict::NothingFeasible { p_feasible } => Verdict::NothingFeasible {
                p_feasible: *p_feasible,
            },
            servo_search::Verdict::NoBaseline | servo_search::Verdict::NoData => {
                Verdict::NoImprovement {
                    reason: answer.verdict.to_string(),
                }
            }
        }
    }

    /// The best trial of a configuration that was measured only once, if it looked better than every
    /// measurement of the baseline.
    fn best_seen_once(&self) -> Option<&TrialRecord> {
        let Goal::Tune { problem, .. } = &self.goal else {
            return None;
        };
        let cost = |trial: &TrialRecord| {
            let objective = trial.objective?;
            Some(if problem.maximises() {
                -objective
            } else {
                objective
            })
        };
        let baseline = self
            .measured_baseline()
            .filter_map(cost)
            .min_by(f64::total_cmp)?;
        let once = |trial: &&TrialRecord| {
            let same = |other: &&TrialRecord| other.settings == trial.settings;
            trial.state == TrialState::Completed && self.trials.iter().filter(same).count() == 1
        };
        self.trials
            .iter()
            .filter(once)
            .filter_map(|trial| Some((cost(trial)?, trial)))
            .filter(|(cost, _)| *cost < baseline)
            .min_by(|left, right| left.0.total_cmp(&right.0))
            .map(|(_, trial)| trial)
    }
}
