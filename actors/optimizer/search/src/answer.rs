//! What the trials amount to.

use crate::gp::Scratch;
use crate::model::Model;
use crate::race::{Standings, p_positive};
use crate::space::Point;
use crate::{Estimate, Problem, Search, Trial};
use std::fmt;

/// How sure a gain must be to count as one.
const SURE: f64 = 0.975;

/// The outcome of a study so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The configuration to use, when it is not the baseline.
    pub chosen: Option<Chosen>,
    /// The baseline's objective as believed after all trials.
    pub baseline: Option<Estimate>,
    /// What it means.
    pub verdict: Verdict,
}

/// A configuration that may replace the baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// The configuration.
    pub point: Point,
    /// Its objective.
    pub objective: Estimate,
    /// How often it was measured.
    pub observations: usize,
    /// Posterior probability that it keeps all constraints.
    pub p_feasible: f64,
    /// Baseline minus chosen; `None` without a measured baseline.
    pub gain: Option<Gain>,
}

/// How much lower than the baseline's the objective is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gain {
    /// In the unit of the objective.
    pub absolute: Estimate,
    /// As a part of the baseline's objective: 0.2 is 20 % lower.
    pub relative: Estimate,
    /// Probability that there is any gain.
    pub p_gain: f64,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The chosen configuration beats the baseline by more than the noise.
    Improved,
    /// The baseline stays.
    NoImprovement {
        /// Why, for an operator.
        reason: String,
    },
    /// The baseline itself breaks the constraints; the chosen configuration, if any, keeps them.
    BaselineInfeasible {
        /// Probability that the baseline keeps them.
        p_feasible: f64,
    },
    /// There was no baseline: the chosen configuration is the best of those tried.
    NoBaseline,
    /// No configuration keeps the constraints with the probability asked for.
    NothingFeasible {
        /// The best probability among those tried.
        p_feasible: f64,
    },
    /// Nothing was measured.
    NoData,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Improved => write!(
                out,
                "improved: the chosen configuration beats the baseline by more than the noise"
            ),
            Self::NoImprovement { reason } => {
                write!(out, "no improvement, the baseline is kept: {reason}")
            }
            Self::BaselineInfeasible { p_feasible } => {
                write!(
                    out,
                    "the baseline itself probably breaks a constraint (P(feasible) = {p_feasible:.2})"
                )
            }
            Self::NoBaseline => write!(
                out,
                "best of the configurations tried (there was no baseline to compare with)"
            ),
            Self::NothingFeasible { p_feasible } => write!(
                out,
                "no configuration tried keeps all constraints surely enough (best P(feasible) = {p_feasible:.2}): \
                 relax a constraint, widen the space or give more trials"
            ),
            Self::NoData => write!(out, "nothing was measured"),
        }
    }
}

impl<P: Problem> Search<P> {
    /// What `history` amounts to. Trials that do not belong to this space count as no data.
    #[must_use]
    pub fn answer(&self, history: &[Trial]) -> Answer {
        let nothing = Answer {
            chosen: None,
            baseline: None,
            verdict: Verdict::NoData,
        };
        let Ok(record) = self.record(history) else {
            return nothing;
        };
        let Some(model) = Model::fit(
            &self.space,
            &self.problem,
            &record,
            self.options.feasibility,
        ) else {
            return nothing;
        };
        let standings = Standings::new(&model, &record, self.options.feasibility);
        let mut scratch = Scratch::default();
        let at = self
            .options
            .baseline
            .as_ref()
            .and_then(|point| record.position(&self.space, point));
        let baseline = at
            .map(|at| &record.tried[at])
            .filter(|tried| !tried.measured.is_empty());
        let baseline_objective = baseline
            .map(|tried| model.objective(&tried.point, &model.outlook(&tried.place, &mut scratch)));
        // Without anything certified the surest one tells how far away feasibility is.
        let surest = standings
            .all
            .iter()
            .map(|standing| standing.judgement.p_feasible())
            .fold(0.0, f64::max);
        // A study that was ended early and has nothing to compare with still has a best configuration.
        let fallback = || {
            if baseline.is_none() {
                standings.unconfirmed(self.options.feasibility)
            } else {
                None
            }
        };
        let leader = standings
            .leader
            .or_else(fallback)
            .map(|index| &standings.all[index]);
        let chosen = leader.map(|standing| {
            let tried = &record.tried[standing.tried];
            let gain = baseline.zip(baseline_objective).map(|(from, before)| {
                let absolute = model.gain((&from.point, &from.place), (&tried.point, &tried.place));
                let unit = before.mean.abs().max(1e-300);
                let relative = Estimate {
                    mean: absolute.mean / unit,
                    sd: absolute.sd / unit,
                };
                Gain {
                    absolute,
                    relative,
                    p_gain: p_positive(absolute.mean, absolute.sd),
                }
            });
            Chosen {
                point: tried.point.clone(),
                objective: model.objective(&tried.point, &standing.outlook),
                observations: tried.measured.len(),
                p_feasible: standing.judgement.p_feasible(),
                gain,
            }
        });
        let baseline_standing = standings
            .all
            .iter()
            .find(|standing| Some(standing.tried) == at);
        let baseline_feasible = baseline_standing.map(|standing| standing.judgement.p_feasible());
        let answer = |chosen, verdict| Answer {
            chosen,
            baseline: baseline_objective,
            verdict,
        };
        let Some(p_baseline) = baseline_feasible else {
            let verdict = match (&chosen, self.options.baseline.is_some()) {
                (Some(_), false) => Verdict::NoBaseline,
                (Some(_), true) => Verdict::BaselineInfeasible { p_feasible: 0.0 },
                (None, _) => Verdict::NothingFeasible { p_feasible: surest },
            };
            return answer(chosen, verdict);
        };
        if p_baseline < 0.5 {
            return answer(
                chosen,
                Verdict::BaselineInfeasible {
                    p_feasible: p_baseline,
                },
            );
        }
        let keep = |reason: String| answer(None, Verdict::NoImprovement { reason });
        match chosen {
            None if surest < self.options.feasibility => keep(format!(
                "nothing tried keeps all constraints surely enough (best P(feasible) = {surest:.2})"
            )),
            None => {
                keep("no configuration was measured twice, and one measurement may be luck".into())
            }
            Some(chosen) if leader.map(|standing| standing.tried) == at => {
                drop(chosen);
                keep("no feasible configuration tried has a better objective".into())
            }
            Some(chosen) => match chosen.gain {
                Some(gain) if gain.p_gain >= SURE => answer(Some(chosen), Verdict::Improved),
                Some(gain) => keep(format!(
                    "the best candidate gains {:.3} ± {:.3}, which is within the noise (P(gain) = {:.2})",
                    gain.absolute.mean, gain.absolute.sd, gain.p_gain
                )),
                None => keep("the baseline was not measured".into()),
            },
        }
    }
}
