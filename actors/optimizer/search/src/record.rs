//! What the trials taught, configuration by configuration.

use crate::space::{Point, Space};
use crate::{Outcome, SearchError, Trial};
use std::collections::HashMap;

/// Values beyond this are measured nonsense that would swallow all others when they are standardised.
const LARGEST: f64 = 1e100;

/// All trials of one configuration.
#[derive(Debug, Clone)]
pub(crate) struct Tried {
    pub(crate) point: Point,
    /// The point in the model's coordinates.
    pub(crate) place: Vec<f64>,
    /// What it measured, each time.
    pub(crate) measured: Vec<Vec<f64>>,
    pub(crate) failed: usize,
}

/// The history, checked and grouped; configurations in the order of their first trial.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) tried: Vec<Tried>,
    index: HashMap<Vec<u64>, usize>,
    pub(crate) trials: usize,
}

impl Record {
    pub(crate) fn new(
        space: &Space,
        outputs: usize,
        history: &[Trial],
    ) -> Result<Self, SearchError> {
        let mut record = Self {
            tried: Vec::new(),
            index: HashMap::new(),
            trials: history.len(),
        };
        for (number, trial) in history.iter().enumerate() {
            let dimensions = space.dimensions().len();
            if trial.point.len() != dimensions || trial.point.iter().any(|value| !value.is_finite())
            {
                return Err(SearchError::Point {
                    what: format!("trial {}", number + 1),
                    dimensions,
                });
            }
            let key = space.key(&trial.point);
            let at = *record.index.entry(key).or_insert_with(|| {
                record.tried.push(Tried {
                    point: trial.point.clone(),
                    place: space.scale(&trial.point),
                    measured: Vec::new(),
                    failed: 0,
                });
                record.tried.len() - 1
            });
            let tried = &mut record.tried[at];
            match &trial.outcome {
                Outcome::Measured(values) if values.len() != outputs => {
                    return Err(SearchError::Outputs {
                        trial: number + 1,
                        expected: outputs,
                        got: values.len(),
                    });
                }
                Outcome::Measured(values) if values.iter().all(|value| value.is_finite()) => {
                    tried.measured.push(
                        values
                            .iter()
                            .map(|value| value.clamp(-LARGEST, LARGEST))
                            .collect(),
                    );
                }
                // A configuration that yields no numbers is one that cannot be run.
                Outcome::Measured(_) | Outcome::Failed => tried.failed += 1,
            }
        }
        Ok(record)
    }

    /// Where a point stands among the tried ones.
    pub(crate) fn position(&self, space: &Space, point: &[f64]) -> Option<usize> {
        self.index.get(&space.key(point)).copied()
    }

    /// Number of trials that yielded numbers.
    pub(crate) fn measured(&self) -> usize {
        self.tried.iter().map(|tried| tried.measured.len()).sum()
    }
}

impl Tried {
    /// How often it was tried, with whatever outcome.
    pub(crate) fn times(&self) -> usize {
        self.measured.len() + self.failed
    }
}
