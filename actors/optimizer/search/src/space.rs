//! What may be set: ranges, grids and choices, and how they look to the model.

use thiserror::Error;

/// One configuration: a number for each dimension, in the order of the space.
/// A choice is its index (`0.0`, `1.0`, ...).
pub type Point = Vec<f64>;

/// A positive range that spans at least this factor is searched on a logarithmic scale: between 1 and 16 the middle
/// an operator means is 4, not 8.5, and a capacity of 2 differs from 1 as 16 does from 8.
const LOG_SPAN: f64 = 10.0;

/// How far from a grid value, in steps, a number may lie and still be that value (decimal steps are not exact in binary).
const GRID_TOLERANCE: f64 = 1e-6;

/// One thing that may be set.
#[derive(Debug, Clone, PartialEq)]
pub struct Dimension {
    /// Name used in errors; must be unique in its space.
    pub name: String,
    /// The values it may take.
    pub domain: Domain,
}

/// The values a dimension may take.
#[derive(Debug, Clone, PartialEq)]
pub enum Domain {
    /// Numbers from `min` to `max`, both included; `min == max` pins the dimension.
    Range {
        /// Smallest value.
        min: f64,
        /// Largest value. With a step it is only taken when a whole number of steps leads there.
        max: f64,
        /// Grid `min + k * step`; `None` for a continuous range.
        step: Option<f64>,
    },
    /// One of `options` values without an order.
    Choice {
        /// How many there are, at least one.
        options: usize,
    },
}

/// Why a space cannot be searched.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SpaceError {
    /// A space needs something to change.
    #[error("the search space has no dimension: give at least one setting that may change")]
    Empty,
    /// Two dimensions share a name.
    #[error("the search space names `{name}` twice: each setting may appear once")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A range that is not one.
    #[error("range of `{name}` from {min} to {max}: both must be finite numbers with min <= max")]
    Range {
        /// The dimension.
        name: String,
        /// Its smallest value as given.
        min: f64,
        /// Its largest value as given.
        max: f64,
    },
    /// A step that leads nowhere.
    #[error(
        "step {step} of `{name}`: must be a finite number above zero (leave it out for a continuous range)"
    )]
    Step {
        /// The dimension.
        name: String,
        /// Its step as given.
        step: f64,
    },
    /// A choice of nothing.
    #[error("choice `{name}` has no options: give at least one value")]
    NoOptions {
        /// The dimension.
        name: String,
    },
}

/// A checked list of dimensions.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    dimensions: Vec<Dimension>,
    axes: Vec<Axis>,
}

/// A dimension as the model sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Axis {
    Linear {
        min: f64,
        max: f64,
        grid: Option<Grid>,
    },
    Log {
        min: f64,
        max: f64,
        grid: Option<Grid>,
    },
    Choice {
        options: usize,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grid {
    step: f64,
    /// Index of the last value.
    last: f64,
}

// === impl Space ===

impl Space {
    /// Checks the dimensions.
    ///
    /// # Errors
    /// The first dimension that cannot be searched, see [`SpaceError`].
    pub fn new(dimensions: Vec<Dimension>) -> Result<Self, SpaceError> {
        if dimensions.is_empty() {
            return Err(SpaceError::Empty);
        }
        let mut names = std::collections::HashSet::new();
        let mut axes = Vec::with_capacity(dimensions.len());
        for dimension in &dimensions {
            if !names.insert(dimension.name.as_str()) {
                return Err(SpaceError::Duplicate {
                    name: dimension.name.clone(),
                });
            }
            axes.push(Axis::new(dimension)?);
        }
        Ok(Self { dimensions, axes })
    }

    /// The dimensions in their order.
    #[must_use]
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// Number of distinct points; `None` when a range is continuous or the number does not fit.
    #[must_use]
    pub fn size(&self) -> Option<u128> {
        self.axes
            .iter()
            .try_fold(1_u128, |product, axis| product.checked_mul(axis.size()?))
    }

    /// Whether `point` has the right length and each value is one its dimension may take.
    #[must_use]
    pub fn contains(&self, point: &Point) -> bool {
        point.len() == self.axes.len()
            && self
                .axes
                .iter()
                .zip(point)
                .all(|(axis, value)| axis.contains(*value))
    }

    pub(crate) fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// Where `point` lies for the model: numbers scaled to `[0, 1]`, choices by index.
    pub(crate) fn scale(&self, point: &[f64]) -> Vec<f64> {
        self.axes
            .iter()
            .zip(point)
            .map(|(axis, value)| axis.scale(*value))
            .collect()
    }

    /// The nearest allowed point to a place in the model's coordinates.
    pub(crate) fn unscale(&self, unit: &[f64]) -> Point {
        self.axes
            .iter()
            .zip(unit)
            .map(|(axis, value)| axis.unscale(*value))
            .collect()
    }

    /// The point a place in `[0, 1)^d` stands for; for a choice the interval is cut into equal parts.
    pub(crate) fn place(&self, uniform: &[f64]) -> Point {
        let unit = self
            .axes
            .iter()
            .zip(uniform)
            .map(|(axis, value)| match axis {
                Axis::Choice { options } => (value * *options as f64)
                    .floor()
                    .clamp(0.0, (*options - 1) as f64),
                Axis::Linear { .. } | Axis::Log { .. } => axis.spread(*value),
            });
        let unit: Vec<f64> = unit.collect();
        self.unscale(&unit)
    }

    /// Identity of a configuration: equal for numbers that are the same grid value.
    pub(crate) fn key(&self, point: &[f64]) -> Vec<u64> {
        self.axes
            .iter()
            .zip(point)
            .map(|(axis, value)| {
                let canonical = if axis.contains(*value) {
                    axis.unscale(axis.scale(*value))
                } else {
                    *value
                };
                // 0.0 and -0.0 are one configuration.
                if axis.is_continuous() {
                    (*value + 0.0).to_bits()
                } else {
                    (canonical + 0.0).to_bits()
                }
            })
            .collect()
    }

    /// All points of a finite space of at most `limit` points.
    pub(crate) fn enumerate(&self, limit: u128) -> Option<Vec<Point>> {
        let size = self.size().filter(|size| *size <= limit)?;
        let mut points = Vec::with_capacity(usize::try_from(size).ok()?);
        points.push(Vec::with_capacity(self.axes.len()));
        for axis in &self.axes {
            let values = axis.values();
            points = points
                .into_iter()
                .flat_map(|prefix: Point| {
                    values.iter().map(move |value| {
                        let mut point = prefix.clone();
                        point.push(*value);
                        point
                    })
                })
                .collect();
        }
        Some(points)
    }
}

// === impl Axis ===

impl Axis {
    fn new(dimension: &Dimension) -> Result<Self, SpaceError> {
        let name = || dimension.name.clone();
        match dimension.domain {
            Domain::Choice { options: 0 } => Err(SpaceError::NoOptions { name: name() }),
            Domain::Choice { options } => Ok(Self::Choice { options }),
            Domain::Range { min, max, step } => {
                if !(min.is_finite() && max.is_finite() && min <= max && (max - min).is_finite()) {
                    return Err(SpaceError::Range {
                        name: name(),
                        min,
                        max,
                    });
                }
                let grid = match step {
                    Some(step) if !(step.is_finite() && step > 0.0) => {
                        return Err(SpaceError::Step { name: name(), step });
                    }
                    Some(step) => Some(Grid {
                        step,
                        last: ((max - min) / step + GRID_TOLERANCE).floor(),
                    }),
                    None => None,
                };
                if min > 0.0 && max / min >= LOG_SPAN {
                    Ok(Self::Log { min, max, grid })
                } else {
                    Ok(Self::Linear { min, max, grid })
                }
            }
        }
    }

    pub(crate) fn is_choice(&self) -> bool {
        matches!(self, Self::Choice { .. })
    }

    fn is_continuous(&self) -> bool {
        match self {
            Self::Choice { .. } => false,
            Self::Linear { min, max, grid } | Self::Log { min, max, grid } => {
                grid.is_none() && min < max
            }
        }
    }

    fn size(&self) -> Option<u128> {
        match self {
            Self::Choice { options } => Some(*options as u128),
            Self::Linear {
                grid: Some(grid), ..
            }
            | Self::Log {
                grid: Some(grid), ..
            } => (grid.last < 1e30).then_some(grid.last as u128 + 1),
            Self::Linear {
                min,
                max,
                grid: None,
            }
            | Self::Log {
                min,
                max,
                grid: None,
            } => (min == max).then_some(1),
        }
    }

    fn contains(&self, value: f64) -> bool {
        match self {
            Self::Choice { options } => {
                value >= 0.0 && value.fract() == 0.0 && value < *options as f64
            }
            Self::Linear { min, max, grid } | Self::Log { min, max, grid } => match grid {
                None => *min <= value && value <= *max,
                Some(grid) => {
                    let steps = (value - min) / grid.step;
                    let nearest = steps.round();
                    (steps - nearest).abs() <= GRID_TOLERANCE
                        && (0.0..=grid.last).contains(&nearest)
                }
            },
        }
    }

    fn scale(&self, value: f64) -> f64 {
        match self {
            Self::Choice { .. } => value,
            Self::Linear { min, max, .. } if max > min => {
                ((value - min) / (max - min)).clamp(-1.0, 2.0)
            }
            Self::Log { min, max, .. } => {
                // Values from outside the range (a baseline of today) may be zero or negative.
                ((value.max(f64::MIN_POSITIVE) / min).ln() / (max / min).ln()).clamp(-1.0, 2.0)
            }
            Self::Linear { .. } => 0.0,
        }
    }

    /// Gives the first and last value of a grid as much room as the others.
    fn spread(&self, uniform: f64) -> f64 {
        match self {
            Self::Linear {
                grid: Some(grid), ..
            } => {
                let cells = grid.last + 1.0;
                let index = (uniform * cells).floor().min(grid.last);
                if grid.last > 0.0 {
                    self.scale(self.grid_value(index))
                } else {
                    0.0
                }
            }
            Self::Linear { .. } | Self::Log { .. } | Self::Choice { .. } => uniform,
        }
    }

    fn grid_value(&self, index: f64) -> f64 {
        match self {
            Self::Linear {
                min,
                max,
                grid: Some(grid),
            }
            | Self::Log {
                min,
                max,
                grid: Some(grid),
            } => {
                let value = min + index * grid.step;
                // The last value is the limit itself when the steps lead there.
                if (value - max).abs() <= grid.step * GRID_TOLERANCE {
                    *max
                } else {
                    value
                }
            }
            Self::Linear { min, .. } | Self::Log { min, .. } => *min,
            Self::Choice { .. } => index,
        }
    }

    fn unscale(&self, unit: f64) -> f64 {
        let (min, max, grid, value) = match self {
            Self::Choice { options } => return unit.round().clamp(0.0, (*options - 1) as f64),
            Self::Linear { min, max, grid } => (*min, *max, grid, min + unit * (max - min)),
            Self::Log { min, max, grid } => (*min, *max, grid, min * (max / min).powf(unit)),
        };
        match grid {
            None => value.clamp(min, max),
            Some(grid) => {
                self.grid_value(((value - min) / grid.step).round().clamp(0.0, grid.last))
            }
        }
    }

    /// Smallest move that changes the value, in the model's coordinates, near `unit`; zero when continuous.
    pub(crate) fn neighbour(&self, value: f64, steps: f64) -> f64 {
        match self {
            Self::Linear {
                min,
                grid: Some(grid),
                ..
            }
            | Self::Log {
                min,
                grid: Some(grid),
                ..
            } => {
                let index = ((value - min) / grid.step).round() + steps;
                self.grid_value(index.clamp(0.0, grid.last))
            }
            Self::Linear { .. } | Self::Log { .. } | Self::Choice { .. } => value,
        }
    }

    pub(crate) fn has_grid(&self) -> bool {
        matches!(
            self,
            Self::Linear { grid: Some(_), .. } | Self::Log { grid: Some(_), .. }
        )
    }

    pub(crate) fn options(&self) -> usize {
        match self {
            Self::Choice { options } => *options,
            Self::Linear { .. } | Self::Log { .. } => 0,
        }
    }

    fn values(&self) -> Vec<f64> {
        match self {
            Self::Choice { options } => (0..*options).map(|index| index as f64).collect(),
            Self::Linear {
                grid: Some(grid), ..
            }
            | Self::Log {
                grid: Some(grid), ..
            } => (0..=grid.last as usize)
                .map(|index| self.grid_value(index as f64))
                .collect(),
            Self::Linear { min, .. } | Self::Log { min, .. } => vec![*min],
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use proptest::prelude::*;

    fn range(name: &str, min: f64, max: f64, step: Option<f64>) -> Dimension {
        Dimension {
            name: name.into(),
            domain: Domain::Range { min, max, step },
        }
    }

    #[test]
    fn counts_and_enumerates_the_same_points() {
        let space = Space::new(vec![
            range("cpu", 0.1, 1.0, Some(0.1)),
            Dimension {
                name: "gc".into(),
                domain: Domain::Choice { options: 3 },
            },
            range("pinned", 4.0, 4.0, None),
        ])
        .unwrap();
        assert_eq!(space.size(), Some(30));
        let points = space.enumerate(100).unwrap();
        assert_eq!(points.len(), 30);
        assert!(points.iter().all(|point| space.contains(point)));
        assert!(
            points.iter().any(|point| point[0] == 1.0),
            "max is included when the steps lead there"
        );
        assert!(space.enumerate(29).is_none());
    }

    #[test]
    fn a_step_that_misses_max_leaves_it_out() {
        let space = Space::new(vec![range("x", 0.0, 10.0, Some(3.0))]).unwrap();
        assert_eq!(space.size(), Some(4));
        assert!(space.contains(&vec![9.0]) && !space.contains(&vec![10.0]));
    }

    #[test]
    fn wide_positive_ranges_are_logarithmic() {
        let space = Space::new(vec![
            range("pool", 1.0, 256.0, None),
            range("cpu", 1.0, 4.0, None),
        ])
        .unwrap();
        assert!((space.unscale(&[0.5, 0.5])[0] - 16.0).abs() < 1e-9);
        assert!((space.unscale(&[0.5, 0.5])[1] - 2.5).abs() < 1e-9);
    }

    #[test]
    fn refuses_what_cannot_be_searched() {
        assert_eq!(Space::new(vec![]), Err(SpaceError::Empty));
        assert!(matches!(
            Space::new(vec![range("x", 2.0, 1.0, None)]),
            Err(SpaceError::Range { .. })
        ));
        assert!(matches!(
            Space::new(vec![range("x", f64::NAN, 1.0, None)]),
            Err(SpaceError::Range { .. })
        ));
        assert!(matches!(
            Space::new(vec![range("x", 0.0, 1.0, Some(0.0))]),
            Err(SpaceError::Step { .. })
        ));
        assert!(matches!(
            Space::new(vec![range("x", 0.0, 1.0, None), range("x", 0.0, 1.0, None)]),
            Err(SpaceError::Duplicate { .. })
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn every_place_is_inside_and_survives_the_scale(
            min in 0.01_f64..10.0, span in 0.0_f64..1000.0, step in prop::option::of(0.01_f64..50.0), place in 0.0_f64..1.0
        ) {
            let space = Space::new(vec![range("x", min, min + span, step)]).unwrap();
            let point = space.place(&[place]);
            prop_assert!(space.contains(&point), "{point:?}");
            let again = space.unscale(&space.scale(&point));
            prop_assert!(space.contains(&again));
            prop_assert!((again[0] - point[0]).abs() <= 1e-9 * (1.0 + point[0].abs()));
            if step.is_some() {
                prop_assert_eq!(space.key(&again), space.key(&point));
            }
        }
    }
}
