//! Everything believed after the trials so far: a process for each metric, one for which configurations run, and the
//! problem's functions seen through them.

use crate::gp::{Belief, Effort, Process, Scratch};
use crate::kernel::{Hyper, Kinds};
use crate::normal;
use crate::output::{Learned, Limit, seen};
use crate::record::Record;
use crate::sampling::normal_draws;
use crate::shape::{Probes, Shape, line};
use crate::space::Space;
use crate::{Estimate, Problem};

/// Draws behind an expectation during the search, where thousands are compared.
const QUICK_DRAWS: usize = 32;
/// Draws behind a reported estimate.
const REPORT_DRAWS: usize = 128;
/// Draws of a process's parameters beside the best ones.
const ALTERNATIVES: usize = 3;
/// Measurements after which a configuration should be certain to keep the constraints.
const CERTIFYING: f64 = 2.0;

/// Beliefs about all metrics at one configuration.
#[derive(Debug, Clone)]
pub(crate) struct Outlook {
    pub(crate) beliefs: Vec<Belief>,
    /// Probability that the configuration runs at all.
    pub(crate) runs: f64,
}

/// How a configuration is judged: lower scores are better objectives.
///
/// The score is the objective, or a monotone image of it (the process's own scale) where that makes it normal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judgement {
    pub(crate) score: f64,
    pub(crate) sd: f64,
    /// `ln P(feasible)`.
    pub(crate) log_feasible: f64,
    /// `ln P(certified after measuring)`: a configuration just inside a limit is of no use when the noise does not
    /// allow to tell. Without noise the same as `log_feasible`.
    pub(crate) log_certifiable: f64,
}

/// The fitted models of one moment of a study.
pub(crate) struct Model<'a, P> {
    problem: &'a P,
    pub(crate) outputs: Vec<Learned>,
    runs: Option<Process>,
    objective: Shape,
    constraints: Vec<Shape>,
    quick: Vec<Vec<f64>>,
    /// A measured row, the starting point wherever single metrics are varied.
    typical: Vec<f64>,
    /// Standard deviations of room that certainty needs.
    certain: f64,
}

// === impl Judgement ===

impl Judgement {
    pub(crate) fn p_feasible(&self) -> f64 {
        self.log_feasible.exp()
    }

    /// `ln` of expected improvement over `incumbent` times probability of feasibility.
    pub(crate) fn log_gain(&self, incumbent: f64) -> f64 {
        normal::log_expected_improvement(incumbent - self.score, self.sd) + self.log_certifiable
    }
}

// === impl Model ===

impl<'a, P: Problem> Model<'a, P> {
    /// Fits everything. `None` when nothing was measured yet.
    pub(crate) fn fit(
        space: &Space,
        problem: &'a P,
        record: &Record,
        feasibility: f64,
    ) -> Option<Self> {
        let kinds = Kinds::new(space.axes());
        let mut places = Vec::new();
        let mut rows: Vec<&[f64]> = Vec::new();
        let mut points: Vec<&[f64]> = Vec::new();
        for tried in &record.tried {
            for row in &tried.measured {
                places.push(tried.place.clone());
                rows.push(row);
                points.push(&tried.point);
            }
        }
        let typical = rows.first()?.to_vec();
        // The more metrics, the less time for each.
        let starts = if problem.outputs() > 2 || rows.len() > 60 {
            1
        } else {
            2
        };
        let effort = Effort {
            starts,
            iterations: 25,
            alternatives: if starts > 1 { ALTERNATIVES } else { 1 },
        };
        let columns: Vec<Vec<f64>> = (0..problem.outputs())
            .map(|output| rows.iter().map(|row| row[output]).collect())
            .collect();
        let stride = (points.len() / 6).max(1);
        let probes = Probes {
            points: points.iter().step_by(stride).copied().collect(),
            rows: rows.iter().rev().step_by(stride).copied().collect(),
            seen: columns.iter().map(|values| seen(values)).collect(),
        };
        let objective = probes.shape(&|point, row| problem.objective(point, row));
        let constraints: Vec<Shape> = (0..problem.constraints())
            .map(|index| probes.shape(&|point, row| problem.constraint(index, point, row)))
            .collect();
        let outputs: Vec<Learned> = columns
            .iter()
            .enumerate()
            .map(|(output, values)| {
                let limit = limit(problem, &probes, output, objective, &constraints);
                Learned::fit(&kinds, &places, values, limit, effort)
            })
            .collect::<Option<_>>()?;
        Some(Self {
            problem,
            outputs,
            runs: runs(&kinds, record),
            objective,
            constraints,
            quick: normal_draws(QUICK_DRAWS, problem.outputs()),
            typical,
            certain: normal::quantile(feasibility),
        })
    }

    /// Whether measuring the same configuration twice tells anything: something has to be measured, and some metric's
    /// noise is more than a thousandth of its spread.
    pub(crate) fn is_noisy(&self) -> bool {
        let known = self
            .constraints
            .iter()
            .chain([&self.objective])
            .all(|shape| *shape == Shape::Known);
        !known
            && self
                .outputs
                .iter()
                .any(|learned| learned.process.noise() > 1e-6)
    }

    pub(crate) fn outlook(&self, place: &[f64], scratch: &mut Scratch) -> Outlook {
        Outlook {
            beliefs: self
                .outputs
                .iter()
                .map(|learned| learned.process.predict(place, scratch))
                .collect(),
            runs: self.p_runs(place, scratch),
        }
    }

    fn p_runs(&self, place: &[f64], scratch: &mut Scratch) -> f64 {
        self.runs.as_ref().map_or(1.0, |process| {
            let belief = process.predict(place, scratch);
            normal::cdf(belief.mean / (0.2 + belief.variance).sqrt())
        })
    }

    pub(crate) fn judge(&self, point: &[f64], outlook: &Outlook) -> Judgement {
        let mut row = self.typical.clone();
        let objective = |row: &[f64]| self.problem.objective(point, row);
        let (score, sd) = match self.objective {
            Shape::Known => (objective(&row), 0.0),
            Shape::Linear {
                output,
                everywhere: Some(sign),
            } => {
                let belief = outlook.beliefs[output];
                (sign * belief.mean, belief.variance.sqrt())
            }
            Shape::Linear { .. } | Shape::General => {
                let mut values = self.values(&objective, outlook, &mut row, &self.quick);
                values.sort_by(f64::total_cmp);
                let at = |share: f64| {
                    values
                        .get((share * values.len() as f64) as usize)
                        .copied()
                        .unwrap_or(f64::NAN)
                };
                // The spread towards improvement: a long tail of bad values must not look like a chance.
                (at(0.5), at(0.5) - at(0.159))
            }
        };
        let (score, sd) = if score.is_finite() && sd.is_finite() {
            (score, sd)
        } else {
            (f64::MAX, 0.0)
        };
        let (log_feasible, log_certifiable) = self.feasibility(point, outlook, &mut row);
        Judgement {
            score,
            sd,
            log_feasible,
            log_certifiable,
        }
    }

    /// `ln` of the probabilities that all constraints hold, and that measuring would show it.
    fn feasibility(&self, point: &[f64], outlook: &Outlook, row: &mut [f64]) -> (f64, f64) {
        let runs = outlook.runs.max(1e-12).ln();
        let (mut holds, mut shows) = (runs, runs);
        for (index, shape) in self.constraints.iter().enumerate() {
            let constraint = |row: &[f64]| self.problem.constraint(index, point, row);
            let decided = |kept: bool| {
                if kept {
                    (0.0, 0.0)
                } else {
                    (f64::NEG_INFINITY, f64::NEG_INFINITY)
                }
            };
            let (hold, show) = match *shape {
                Shape::Known => decided(constraint(row) <= 0.0),
                Shape::Linear { output, .. } => {
                    let learned = &self.outputs[output];
                    let (a, b) = line(&constraint, row, output, learned.seen);
                    let belief = outlook.beliefs[output];
                    let room = b.signum() * (learned.scale.show(-a / b) - belief.mean);
                    if b == 0.0 {
                        decided(a <= 0.0)
                    } else if room.is_nan() {
                        decided(false)
                    } else {
                        let after = learned.sharpened(belief, CERTIFYING).variance;
                        let moves = (belief.variance - after)
                            .max(1e-12 * belief.variance)
                            .sqrt();
                        let probability =
                            |room: f64, sd: f64| normal::log_cdf((room / sd).clamp(-1e8, 1e8));
                        (
                            probability(room, belief.variance.sqrt()),
                            probability(room - self.certain * after.sqrt(), moves),
                        )
                    }
                }
                Shape::General => {
                    let share =
                        log_share_below_zero(&self.values(&constraint, outlook, row, &self.quick));
                    (share, share)
                }
            };
            holds += hold;
            shows += show;
        }
        let number = |value: f64| {
            if value.is_nan() {
                f64::NEG_INFINITY
            } else {
                value
            }
        };
        (number(holds), number(shows))
    }

    /// A function's values over draws of the metrics.
    fn values(
        &self,
        function: &dyn Fn(&[f64]) -> f64,
        outlook: &Outlook,
        row: &mut [f64],
        draws: &[Vec<f64>],
    ) -> Vec<f64> {
        draws
            .iter()
            .map(|draw| {
                for (output, learned) in self.outputs.iter().enumerate() {
                    let belief = outlook.beliefs[output];
                    row[output] = learned
                        .scale
                        .value(belief.mean + belief.variance.sqrt() * draw[output]);
                }
                function(row)
            })
            .collect()
    }

    /// Objective at a configuration in its own unit.
    pub(crate) fn objective(&self, point: &[f64], outlook: &Outlook) -> Estimate {
        let draws = normal_draws(REPORT_DRAWS, self.outputs.len());
        let mut row = self.typical.clone();
        let values = self.values(
            &|row| self.problem.objective(point, row),
            outlook,
            &mut row,
            &draws,
        );
        estimate(&values)
    }

    /// How much lower the objective is at `to` than at `from`, with what the two share taken into account.
    pub(crate) fn gain(&self, from: (&[f64], &[f64]), to: (&[f64], &[f64])) -> Estimate {
        let draws = normal_draws(REPORT_DRAWS, 2 * self.outputs.len());
        let mut scratch = Scratch::default();
        let pairs: Vec<(Belief, Belief, f64)> = self
            .outputs
            .iter()
            .map(|learned| {
                let (a, b) = (
                    learned.process.predict(from.1, &mut scratch),
                    learned.process.predict(to.1, &mut scratch),
                );
                let limit = (a.variance * b.variance).sqrt();
                (
                    a,
                    b,
                    learned
                        .process
                        .covariance(from.1, to.1)
                        .clamp(-limit, limit),
                )
            })
            .collect();
        let (mut before, mut after) = (self.typical.clone(), self.typical.clone());
        let values: Vec<f64> = draws
            .iter()
            .map(|draw| {
                for (output, (a, b, covariance)) in pairs.iter().enumerate() {
                    let scale = self.outputs[output].scale;
                    let sd = a.variance.sqrt();
                    let rest = (b.variance - covariance * covariance / a.variance)
                        .max(0.0)
                        .sqrt();
                    before[output] = scale.value(a.mean + sd * draw[2 * output]);
                    after[output] = scale.value(
                        b.mean + covariance / sd * draw[2 * output] + rest * draw[2 * output + 1],
                    );
                }
                self.problem.objective(from.0, &before) - self.problem.objective(to.0, &after)
            })
            .collect();
        estimate(&values)
    }
}

/// The limit of a metric that serves only constraints, all on the same side of it.
fn limit<P: Problem>(
    problem: &P,
    probes: &Probes<'_>,
    output: usize,
    objective: Shape,
    constraints: &[Shape],
) -> Option<Limit> {
    if !matches!(objective, Shape::Known)
        && !matches!(objective, Shape::Linear { output: other, .. } if other != output)
    {
        return None;
    }
    let mut limits: Vec<Limit> = Vec::new();
    for (index, shape) in constraints.iter().enumerate() {
        match shape {
            Shape::Linear { output: other, .. } if *other == output => {
                for (point, row) in probes.points.iter().zip(probes.rows.iter().cycle()) {
                    let constraint = |row: &[f64]| problem.constraint(index, point, row);
                    let (a, b) = line(&constraint, &mut row.to_vec(), output, probes.seen[output]);
                    limits.push(Limit {
                        value: -a / b,
                        sign: b.signum(),
                    });
                }
            }
            Shape::General => return None,
            Shape::Known | Shape::Linear { .. } => {}
        }
    }
    let sign = limits.first()?.sign;
    let agreed = limits
        .iter()
        .all(|limit| limit.sign == sign && limit.value.is_finite());
    let loosest = limits
        .into_iter()
        .max_by(|a, b| (sign * a.value).total_cmp(&(sign * b.value)));
    loosest.filter(|_| agreed)
}

/// Mean and spread of the finite values.
fn estimate(values: &[f64]) -> Estimate {
    let finite: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| value.is_finite())
        .collect();
    let count = finite.len().max(1) as f64;
    let mean = finite.iter().sum::<f64>() / count;
    let variance = finite
        .iter()
        .map(|value| (value - mean) * (value - mean))
        .sum::<f64>()
        / count;
    let exact = finite.iter().all(|value| Some(value) == finite.first());
    match finite.first() {
        Some(value) if exact => Estimate {
            mean: *value,
            sd: 0.0,
        },
        _ => Estimate {
            mean,
            sd: variance.sqrt(),
        },
    }
}

/// `ln P(value <= 0)`: the share of the draws, or the normal tail where all draws agree.
fn log_share_below_zero(values: &[f64]) -> f64 {
    if values.iter().any(|value| value.is_nan()) {
        return f64::NEG_INFINITY;
    }
    let below = values.iter().filter(|value| **value <= 0.0).count() as f64;
    let count = values.len() as f64;
    let Estimate { mean, sd } = estimate(values);
    let tail = normal::log_cdf((-mean / sd.max(1e-300)).clamp(-1e8, 1e8));
    if below == 0.0 {
        tail.min((0.5 / count).ln())
    } else if below == count {
        tail.max((1.0 - 0.5 / count).ln())
    } else {
        (below / count).ln()
    }
}

/// Where configurations run: a process over +1 (ran) and -1 (failed). It is sure of +1 far from every failure's
/// surroundings only as far as its spread allows.
fn runs(kinds: &Kinds, record: &Record) -> Option<Process> {
    let failures: usize = record.tried.iter().map(|tried| tried.failed).sum();
    if failures == 0 {
        return None;
    }
    let mut places = Vec::new();
    let mut labels = Vec::new();
    for tried in &record.tried {
        for (label, count) in [(1.0, tried.measured.len()), (-1.0, tried.failed)] {
            for _ in 0..count.min(3) {
                places.push(tried.place.clone());
                labels.push(label);
            }
        }
    }
    let successes = labels.len() - failures.min(labels.len());
    if failures >= 3 && successes >= 3 {
        Process::fit(
            kinds,
            places,
            &labels,
            Effort {
                starts: 1,
                iterations: 15,
                alternatives: 0,
            },
        )
    } else {
        let length = (0.3 * (kinds.len() as f64).sqrt()).ln();
        let hyper = Hyper {
            lengths: vec![length; kinds.len()],
            signal: 0.0,
            trend: -12.0,
            noise: -4.0,
        };
        Process::condition(kinds, &hyper, places, &labels)
    }
}
