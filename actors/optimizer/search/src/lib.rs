//! Search under noise and constraints: Gaussian processes over mixed spaces.
//!
//! Knows: what may be set ([`Space`]), what is optimised ([`Problem`]), what was tried ([`Trial`]), and from these alone
//! what to try next ([`Search::suggest`]) and what it all amounts to ([`Search::answer`]). Must not know: where a
//! measurement comes from, where trials are stored, names of protocols, time. It is computation without state: the same
//! seed and history give the same suggestion, so a study that was killed goes on where it was.
//!
//! How it works:
//!
//! - The baseline is tried twice; the difference is the noise. A few configurations spread over the space follow.
//! - Each learned metric gets a Gaussian process: Matérn 5/2 with a length scale for each setting, a linear trend, and
//!   *fitted* noise: the maximum a posteriori with a few draws from the posterior beside it, so that a model of few
//!   trials is not too sure of itself; on a logarithmic scale where that fits better (`fit`, `output`).
//! - Next is the untried configuration with the largest expected improvement, weighted by the probability that it keeps
//!   the constraints and that measuring can show it (`acquisition`). What the problem computes from the settings alone,
//!   such as a price, is computed (`shape`). Failed trials teach where nothing runs (`model`).
//! - The last trials measure finalists again, the one whose re-measurement decides most (`race`), because under noise
//!   the best trial so far is the luckiest one.
//! - The answer needs the asked-for posterior probability of keeping every constraint, at least two measurements
//!   where there is noise, and a gain over the baseline beyond the noise; otherwise the baseline stays (`answer`).
//!
//! ```
//! use servo_search::{Dimension, Domain, Options, Outcome, Problem, Search, Space, Trial};
//!
//! struct Bowl;
//! impl Problem for Bowl {
//!     fn outputs(&self) -> usize { 1 }
//!     fn objective(&self, _: &[f64], outputs: &[f64]) -> f64 { outputs[0] }
//!     fn constraints(&self) -> usize { 0 }
//!     fn constraint(&self, _: usize, _: &[f64], _: &[f64]) -> f64 { 0.0 }
//! }
//!
//! let domain = Domain::Range { min: -1.0, max: 2.0, step: None };
//! let space = Space::new(vec![Dimension { name: "x".into(), domain }])?;
//! let search = Search::new(space, Bowl, Options::new(12))?;
//! let mut history = Vec::new();
//! for _ in 0..12 {
//!     let point = search.suggest(&history)?.point;
//!     let outcome = Outcome::Measured(vec![point[0] * point[0]]);
//!     history.push(Trial { point, outcome });
//! }
//! let chosen = search.answer(&history).chosen.ok_or("nothing found")?;
//! assert!(chosen.point[0].abs() < 0.1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acquisition;
mod answer;
mod candidates;
mod cholesky;
mod fit;
mod gp;
mod kernel;
mod model;
mod normal;
mod output;
mod race;
mod record;
mod sampling;
mod shape;
mod space;
mod suggest;
#[cfg(test)]
mod tests;

pub use answer::{Answer, Chosen, Gain, Verdict};
pub use space::{Dimension, Domain, Point, Space, SpaceError};
pub use suggest::{Purpose, Suggestion};

use record::Record;
use thiserror::Error;

/// What is optimised; always minimised.
///
/// Both functions must be pure. They may use the settings as well as the metrics, so that what is a known function of
/// the settings (a price) is computed and not learned.
pub trait Problem {
    /// Number of metrics a trial yields, which are learned.
    fn outputs(&self) -> usize;
    /// The objective, lower is better.
    fn objective(&self, point: &[f64], outputs: &[f64]) -> f64;
    /// Number of constraints.
    fn constraints(&self) -> usize;
    /// Constraint `index`: kept when `<= 0`.
    fn constraint(&self, index: usize, point: &[f64], outputs: &[f64]) -> f64;
}

/// A configuration that was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The configuration.
    pub point: Point,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a trial.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The metrics, in the problem's order. A value that is not a finite number makes the trial a failed one.
    Measured(Vec<f64>),
    /// This configuration cannot run: teaches feasibility. A trial that failed for a reason of its surroundings says
    /// nothing about the configuration and must be left out.
    Failed,
}

/// How to search.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Decides everything random.
    pub seed: u64,
    /// Trials in total, the baseline and its repeat included.
    pub budget: usize,
    /// The configuration of today; tried first and twice. It need not lie in the space.
    pub baseline: Option<Point>,
    /// Trials kept at the end for measuring finalists again.
    pub confirmations: usize,
    /// Posterior probability of keeping all constraints that the answer must have.
    pub feasibility: f64,
}

/// A mean and its standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Mean.
    pub mean: f64,
    /// Standard deviation of what is believed, not of one measurement.
    pub sd: f64,
}

/// Why a search cannot go on.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SearchError {
    /// A point that is none of this space.
    #[error(
        "{what}: expected {dimensions} finite numbers, one for each setting; does it belong to this study?"
    )]
    Point {
        /// Whose point.
        what: String,
        /// Settings of the space.
        dimensions: usize,
    },
    /// A measurement of other metrics.
    #[error(
        "trial {trial} measured {got} metrics where the problem learns {expected}; does it belong to this study?"
    )]
    Outputs {
        /// Its number, from 1.
        trial: usize,
        /// Metrics of the problem.
        expected: usize,
        /// Metrics of the trial.
        got: usize,
    },
    /// Nothing to spend.
    #[error("a trial budget of 0: give at least 1")]
    Budget,
    /// Not a probability.
    #[error(
        "feasibility {0}: must be a probability between 0.5 and 1, both excluded (0.95 is usual)"
    )]
    Feasibility(f64),
}

/// A search: what may be set, what is optimised, and how. Holds no state; the history is the state.
#[derive(Debug, Clone)]
pub struct Search<P> {
    space: Space,
    problem: P,
    options: Options,
}

impl Options {
    /// Usual options for a number of trials: an eighth of them, 2 to 6, re-measure finalists; P(feasible) of 0.95.
    #[must_use]
    pub fn new(budget: usize) -> Self {
        Self {
            seed: 0,
            budget,
            baseline: None,
            confirmations: (budget / 8).clamp(2, 6),
            feasibility: 0.95,
        }
    }
}

impl<P: Problem> Search<P> {
    /// Checks the options.
    ///
    /// # Errors
    /// A baseline of another space, an empty budget, a feasibility that is no probability.
    pub fn new(space: Space, problem: P, options: Options) -> Result<Self, SearchError> {
        if options.budget == 0 {
            return Err(SearchError::Budget);
        }
        if !(options.feasibility > 0.5 && options.feasibility < 1.0) {
            return Err(SearchError::Feasibility(options.feasibility));
        }
        let dimensions = space.dimensions().len();
        let broken = |point: &Point| {
            point.len() != dimensions || point.iter().any(|value| !value.is_finite())
        };
        if options.baseline.as_ref().is_some_and(broken) {
            return Err(SearchError::Point {
                what: "the baseline".into(),
                dimensions,
            });
        }
        Ok(Self {
            space,
            problem,
            options,
        })
    }

    /// What is searched.
    #[must_use]
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// What is optimised.
    #[must_use]
    pub fn problem(&self) -> &P {
        &self.problem
    }

    /// How it is searched.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    fn record(&self, history: &[Trial]) -> Result<Record, SearchError> {
        Record::new(&self.space, self.problem.outputs(), history)
    }
}
