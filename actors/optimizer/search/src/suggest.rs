//! What to try next.

use crate::acquisition::{incumbent, most_promising};
use crate::candidates::Candidates;
use crate::model::Model;
use crate::race::Standings;
use crate::record::Record;
use crate::sampling::{generator, latin_hypercube};
use crate::space::{Axis, Point};
use crate::{Estimate, Outcome, Problem, Search, SearchError, Trial};
use std::collections::HashSet;

const DESIGN: u64 = 1;
const EXPLORE: u64 = 2;
const IMPROVE: u64 = 3;

/// A configuration to try, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    /// The configuration.
    pub point: Point,
    /// Why this one.
    pub purpose: Purpose,
    /// Probability that it runs and keeps the constraints, once there is a model.
    pub p_feasible: Option<f64>,
    /// The objective expected there, once there is a model.
    pub expected: Option<Estimate>,
}

/// Why a configuration is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// What everything is compared with.
    Baseline,
    /// The baseline again (A/A): what differs between the two is noise.
    Repeat,
    /// To learn about the space.
    Explore,
    /// Expected to be better.
    Improve,
    /// A finalist again: does it hold up?
    Confirm,
}

impl<P: Problem> Search<P> {
    /// What to try after `history`. A pure function of space, problem, options and history.
    ///
    /// After the budget is spent it goes on re-measuring finalists.
    ///
    /// # Errors
    /// When the history does not belong to this space and problem.
    pub fn suggest(&self, history: &[Trial]) -> Result<Suggestion, SearchError> {
        let record = self.record(history)?;
        if let Some(suggestion) = self.baseline_first(&record) {
            return Ok(suggestion);
        }
        if let Some(point) = self.next_of_design(&record, history) {
            return Ok(Suggestion {
                point,
                purpose: Purpose::Explore,
                p_feasible: None,
                expected: None,
            });
        }
        let Some(model) = Model::fit(
            &self.space,
            &self.problem,
            &record,
            self.options.feasibility,
        ) else {
            return Ok(self.explore(&record));
        };
        let left = self.options.budget.saturating_sub(record.trials);
        let ending = left <= self.options.confirmations && (model.is_noisy() || left == 0);
        let confirm = if ending {
            self.confirm(&model, &record, left)
        } else {
            None
        };
        // A new configuration has to be certified afterwards: with one trial left it is too late for that.
        let improve = if confirm.is_none() || left >= 2 {
            self.improve(&model, &record)
        } else {
            None
        };
        let suggestion = match (confirm, improve) {
            // Certifying takes a second trial, so a new configuration has to promise twice as much.
            (Some((_, value)), Some((improve, worth))) if 0.5 * worth > value => improve,
            (Some((confirm, _)), _) => confirm,
            (None, Some((improve, _))) => improve,
            (None, None) => match self.confirm(&model, &record, left) {
                Some((confirm, _)) => confirm,
                None => self.explore(&record),
            },
        };
        Ok(suggestion)
    }

    fn baseline_first(&self, record: &Record) -> Option<Suggestion> {
        let baseline = self.options.baseline.as_ref()?;
        let times = record
            .position(&self.space, baseline)
            .map_or(0, |at| record.tried[at].times());
        let purpose = match times {
            0 => Purpose::Baseline,
            1 => Purpose::Repeat,
            _ => return None,
        };
        Some(Suggestion {
            point: baseline.clone(),
            purpose,
            p_feasible: None,
            expected: None,
        })
    }

    /// The next configuration of the space-filling start that was not tried yet.
    fn next_of_design(&self, record: &Record, history: &[Trial]) -> Option<Point> {
        let dimensions = self.space.axes().len();
        let known = usize::from(self.options.baseline.is_some());
        let size = (dimensions + 3 - known).min(self.options.budget / 3).max(2);
        let design = latin_hypercube(
            size,
            dimensions,
            &mut generator(self.options.seed, DESIGN, 0),
        );
        let mut keys = HashSet::new();
        let points: Vec<Point> = design
            .iter()
            .map(|place| self.near_baseline(self.space.place(place)))
            .filter(|point| keys.insert(self.space.key(point)))
            .collect();
        // Trials somebody else asked for count: they fill the space as well.
        let own = |trial: &&Trial| {
            self.options
                .baseline
                .as_ref()
                .is_none_or(|b| self.space.key(b) != self.space.key(&trial.point))
        };
        if history.iter().filter(own).count() >= points.len()
            && history
                .iter()
                .any(|trial| matches!(trial.outcome, Outcome::Measured(_)))
        {
            return None;
        }
        points
            .into_iter()
            .find(|point| record.position(&self.space, point).is_none())
    }

    /// Half the way from the baseline, which is known to work, to `point`; choices as in `point`. Where no setting is
    /// extreme more configurations run and keep the constraints, and the limits worth knowing lie there.
    fn near_baseline(&self, point: Point) -> Point {
        let Some(baseline) = &self.options.baseline else {
            return point;
        };
        let (from, to) = (self.space.scale(baseline), self.space.scale(&point));
        let half = |((from, to), axis): ((f64, f64), &Axis)| {
            if axis.is_choice() {
                to
            } else {
                0.5 * (from + to)
            }
        };
        let place: Vec<f64> = from
            .into_iter()
            .zip(to)
            .zip(self.space.axes())
            .map(half)
            .collect();
        self.space.unscale(&place)
    }

    /// The untried configuration furthest from every tried one, or any when all were tried.
    fn explore(&self, record: &Record) -> Suggestion {
        let mut rng = generator(self.options.seed, EXPLORE, record.trials);
        let mut candidates = Candidates::new(&self.space, record);
        let points = candidates
            .all()
            .unwrap_or_else(|| candidates.spread(400, &mut rng));
        let distance = |point: &Point| {
            let place = self.space.scale(point);
            let squares = record.tried.iter().map(|tried| {
                tried
                    .place
                    .iter()
                    .zip(&place)
                    .map(|(a, b)| ((a - b) * (a - b)).min(1.0))
                    .sum::<f64>()
            });
            squares.fold(f64::INFINITY, f64::min)
        };
        let furthest = points
            .into_iter()
            .max_by(|a, b| distance(a).total_cmp(&distance(b)));
        let (point, purpose) = match furthest {
            Some(point) => (point, Purpose::Explore),
            // Everything was tried: measure again what was tried least, working configurations first.
            None => {
                let least = record
                    .tried
                    .iter()
                    .min_by_key(|tried| (tried.failed, tried.times()));
                let middle = || self.space.place(&vec![0.5; self.space.axes().len()]);
                (
                    least.map_or_else(middle, |tried| tried.point.clone()),
                    Purpose::Confirm,
                )
            }
        };
        Suggestion {
            point,
            purpose,
            p_feasible: None,
            expected: None,
        }
    }

    /// An untried configuration, and the improvement of the score to expect of it.
    fn improve(&self, model: &Model<'_, P>, record: &Record) -> Option<(Suggestion, f64)> {
        let standings = Standings::new(model, record, self.options.feasibility);
        let judged: Vec<_> = standings.all.iter().map(|standing| standing.wary).collect();
        let incumbent = incumbent(&judged, self.options.feasibility);
        let mut order: Vec<usize> = (0..judged.len()).collect();
        let rank = |index: &usize| {
            let judgement = judged[*index];
            (judgement.p_feasible() < 0.5, judgement.score)
        };
        order.sort_by(|a, b| {
            rank(a)
                .0
                .cmp(&rank(b).0)
                .then(rank(a).1.total_cmp(&rank(b).1))
        });
        let starts: Vec<Point> = order
            .iter()
            .take(3)
            .map(|index| record.tried[standings.all[*index].tried].point.clone())
            .collect();
        let mut rng = generator(self.options.seed, IMPROVE, record.trials);
        let promise = most_promising(&self.space, record, model, incumbent, &starts, &mut rng)?;
        if promise.worth == f64::NEG_INFINITY {
            return None;
        }
        let worth = promise.worth.exp();
        let suggestion = Suggestion {
            p_feasible: Some(promise.judgement.p_feasible()),
            expected: Some(model.objective(&promise.point, &promise.outlook)),
            point: promise.point,
            purpose: Purpose::Improve,
        };
        Some((suggestion, worth))
    }

    /// A finalist to measure again, and the improvement of the answer's score to expect of that.
    fn confirm(
        &self,
        model: &Model<'_, P>,
        record: &Record,
        left: usize,
    ) -> Option<(Suggestion, f64)> {
        let standings = Standings::new(model, record, self.options.feasibility);
        let (index, value) =
            standings.decisive(model, record, self.options.feasibility, left.max(1))?;
        let standing = &standings.all[index];
        let point = record.tried[standing.tried].point.clone();
        let suggestion = Suggestion {
            p_feasible: Some(standing.judgement.p_feasible()),
            expected: Some(model.objective(&point, &standing.outlook)),
            point,
            purpose: Purpose::Confirm,
        };
        Some((suggestion, value))
    }
}
