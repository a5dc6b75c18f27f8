//! The untried configuration that promises most: expected improvement times probability of feasibility.

use crate::Problem;
use crate::candidates::Candidates;
use crate::gp::Scratch;
use crate::model::{Judgement, Model, Outlook};
use crate::record::Record;
use crate::space::{Point, Space};
use rand::rngs::ChaCha8Rng;

/// Radii of the rounds that refine the most promising candidates, in parts of the range.
const ROUNDS: [f64; 5] = [0.08, 0.03, 0.01, 0.003, 0.001];

/// A configuration is only tried when it keeps the constraints with the first probability; when none does, with the
/// second: a third of all trials went to long shots that never paid (under 1 % of those believed below 0.1 were feasible).
const LIKELY: f64 = 0.5;
const POSSIBLE: f64 = 0.25;

/// How much more feasibility counts than in expected improvement times probability. A trial that breaks an SLO hurts
/// somebody; on the service benchmark 2 lowers such trials from 32 to 24 of 50 and the cost of the answer as well.
const CAUTION: f64 = 2.0;

/// A configuration with its judgement.
#[derive(Debug, Clone)]
pub(crate) struct Promise {
    pub(crate) point: Point,
    pub(crate) outlook: Outlook,
    pub(crate) judgement: Judgement,
    /// `ln` of what is maximised; minus infinity when nothing can be gained.
    pub(crate) worth: f64,
}

impl Promise {
    /// Rank, then value within the rank; larger is better.
    fn value(&self) -> (u8, f64) {
        let p = self.judgement.p_feasible();
        let rank = match self.worth {
            f64::NEG_INFINITY => 0,
            _ if p >= LIKELY => 3,
            _ if p >= POSSIBLE => 2,
            _ => 1,
        };
        (rank, self.worth + CAUTION * self.judgement.log_feasible)
    }
}

/// The score to beat: the best believed one among configurations that are feasible with this probability.
pub(crate) fn incumbent(judged: &[Judgement], feasibility: f64) -> Option<f64> {
    judged
        .iter()
        .filter(|judgement| judgement.p_feasible() >= feasibility)
        .map(|judgement| judgement.score)
        .min_by(f64::total_cmp)
}

/// Searches untried configurations; `None` when all were tried.
pub(crate) fn most_promising<P: Problem>(
    space: &Space,
    record: &Record,
    model: &Model<'_, P>,
    incumbent: Option<f64>,
    starts: &[Point],
    rng: &mut ChaCha8Rng,
) -> Option<Promise> {
    let mut scratch = Scratch::default();
    let mut judge = |point: Point| {
        let outlook = model.outlook(&space.scale(&point), &mut scratch);
        let judgement = model.judge(&point, &outlook);
        let worth = match incumbent {
            Some(incumbent) => judgement.log_gain(incumbent),
            // Nothing is feasible yet: look for that first.
            None => judgement.log_feasible,
        };
        Promise {
            point,
            outlook,
            judgement,
            worth,
        }
    };
    let mut candidates = Candidates::new(space, record);
    let exhaustive = candidates.all();
    let complete = exhaustive.is_some();
    // A prediction costs the square of the number of trials: fewer candidates for long studies.
    let effort = (60.0 / record.measured().max(1) as f64)
        .powf(1.5)
        .clamp(0.04, 1.0);
    let count = |number: f64| (number * effort).ceil() as usize;
    let mut best: Vec<Promise> = match exhaustive {
        Some(points) => points.into_iter().map(&mut judge).collect(),
        None => {
            let mut points = candidates.spread(count(400.0), rng);
            for start in starts {
                for radius in [0.2, 0.06, 0.02] {
                    points.extend(candidates.around(start, radius, count(30.0), rng));
                }
            }
            points.into_iter().map(&mut judge).collect()
        }
    };
    let order = |a: &Promise, b: &Promise| {
        let ((rank, value), (other_rank, other_value)) = (a.value(), b.value());
        other_rank.cmp(&rank).then(other_value.total_cmp(&value))
    };
    best.sort_by(order);
    if !complete {
        for radius in ROUNDS {
            best.truncate(4);
            let centres: Vec<Point> = best.iter().map(|promise| promise.point.clone()).collect();
            for centre in centres {
                best.extend(
                    candidates
                        .around(&centre, radius, count(12.0), rng)
                        .into_iter()
                        .map(&mut judge),
                );
            }
            best.sort_by(order);
        }
    }
    best.into_iter().next()
}
