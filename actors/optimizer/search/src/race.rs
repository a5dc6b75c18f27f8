//! The last trials: measure a finalist again, the one whose re-measurement decides most.
//!
//! "Best trial so far" is the wrong answer under noise: it is the luckiest one. A finalist has to hold up.

use crate::gp::{Belief, Scratch};
use crate::model::{Judgement, Model, Outlook};
use crate::record::Record;
use crate::sampling::normal_draws;
use crate::{Problem, normal};

/// Draws of what a re-measurement may show.
const DRAWS: usize = 64;

/// A measured configuration as it stands.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// Its index in the record.
    pub(crate) tried: usize,
    pub(crate) outlook: Outlook,
    pub(crate) judgement: Judgement,
    /// The same for somebody who does not know that it ran, so that the search keeps its distance from where
    /// nothing runs.
    pub(crate) wary: Judgement,
    /// Good enough to be the answer.
    pub(crate) certified: bool,
}

/// All measured configurations that never failed.
#[derive(Debug)]
pub(crate) struct Standings {
    pub(crate) all: Vec<Standing>,
    /// Index of the best certified one.
    pub(crate) leader: Option<usize>,
}

/// Whether the answer may be this configuration. With noise one measurement is not enough: the best of many single
/// measurements is the luckiest, and a model fitted to few trials is surer than it should be (where no setting mattered,
/// 3 of 40 answers claimed a gain; all three had been measured once).
fn certify<P: Problem>(
    model: &Model<'_, P>,
    judgement: Judgement,
    observations: usize,
    feasibility: f64,
) -> bool {
    let confirmed = observations >= 2 || !model.is_noisy();
    confirmed && judgement.p_feasible() >= feasibility
}

impl Standings {
    pub(crate) fn new<P: Problem>(model: &Model<'_, P>, record: &Record, feasibility: f64) -> Self {
        let mut scratch = Scratch::default();
        let all: Vec<Standing> = record
            .tried
            .iter()
            .enumerate()
            .filter(|(_, tried)| tried.failed == 0 && !tried.measured.is_empty())
            .map(|(index, tried)| {
                let mut outlook = model.outlook(&tried.place, &mut scratch);
                let wary = model.judge(&tried.point, &outlook);
                // It ran each time. Failures of its neighbours say where else nothing runs, not that this does not:
                // with a setting of which every second value cannot start there would be no answer.
                outlook.runs = 1.0;
                let judgement = model.judge(&tried.point, &outlook);
                let certified = certify(model, judgement, tried.measured.len(), feasibility);
                Standing {
                    tried: index,
                    outlook,
                    judgement,
                    wary,
                    certified,
                }
            })
            .collect();
        let leader = all
            .iter()
            .enumerate()
            .filter(|(_, standing)| standing.certified)
            .min_by(|(_, a), (_, b)| a.judgement.score.total_cmp(&b.judgement.score))
            .map(|(index, _)| index);
        Self { all, leader }
    }

    /// The best configuration when none is certified: feasible as far as one can tell, but measured only once.
    pub(crate) fn unconfirmed(&self, feasibility: f64) -> Option<usize> {
        (0..self.all.len())
            .filter(|index| self.all[*index].judgement.p_feasible() >= feasibility)
            .min_by(|a, b| {
                self.all[*a]
                    .judgement
                    .score
                    .total_cmp(&self.all[*b].judgement.score)
            })
    }

    /// The standing whose re-measurement is worth most, with at most `left` trials to spend on it.
    pub(crate) fn decisive<P: Problem>(
        &self,
        model: &Model<'_, P>,
        record: &Record,
        feasibility: f64,
        left: usize,
    ) -> Option<(usize, f64)> {
        let score = |index: usize| self.all[index].judgement.score;
        let worst = self
            .all
            .iter()
            .map(|standing| standing.judgement.score)
            .filter(|score| *score < f64::MAX)
            .fold(f64::NEG_INFINITY, f64::max);
        let leading = self.leader.map_or(worst, score);
        // What remains if the leader falls.
        let second = (0..self.all.len())
            .filter(|index| Some(*index) != self.leader && self.all[*index].certified)
            .map(score)
            .min_by(f64::total_cmp)
            .unwrap_or(worst);
        let draws = normal_draws(DRAWS, model.outputs.len());
        let mut best: Option<(usize, f64)> = None;
        for (index, standing) in self.all.iter().enumerate() {
            let point = &record.tried[standing.tried].point;
            let observations = record.tried[standing.tried].measured.len();
            for more in 1..=left.min(2) {
                let mut sharp = standing.outlook.clone();
                for (output, learned) in model.outputs.iter().enumerate() {
                    sharp.beliefs[output] =
                        learned.sharpened(standing.outlook.beliefs[output], more as f64);
                }
                let surprises: Vec<f64> = model
                    .outputs
                    .iter()
                    .zip(&standing.outlook.beliefs)
                    .map(|(learned, belief)| learned.surprise(*belief, more as f64))
                    .collect();
                let mut value = 0.0;
                for draw in &draws {
                    for (output, surprise) in surprises.iter().enumerate() {
                        sharp.beliefs[output] = Belief {
                            mean: standing.outlook.beliefs[output].mean + surprise * draw[output],
                            variance: sharp.beliefs[output].variance,
                        };
                    }
                    let judgement = model.judge(point, &sharp);
                    let holds = certify(model, judgement, observations + more, feasibility);
                    value += if Some(index) == self.leader {
                        // It falls, or another one turns out better.
                        if holds {
                            (judgement.score - second).max(0.0)
                        } else {
                            (second - leading).max(0.0)
                        }
                    } else if holds {
                        (leading - judgement.score).max(0.0)
                    } else {
                        0.0
                    };
                }
                let value = value / DRAWS as f64 / more as f64;
                if value > 0.0 && best.is_none_or(|(_, known)| value > known) {
                    best = Some((index, value));
                }
            }
        }
        best
    }
}

/// Probability that a gain with this mean and spread is one.
pub(crate) fn p_positive(mean: f64, sd: f64) -> f64 {
    if sd > 0.0 {
        normal::cdf(mean / sd)
    } else if mean > 0.0 {
        1.0
    } else {
        0.0
    }
}
