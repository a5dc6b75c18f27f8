//! How alike two points are expected to behave: Matérn 5/2 with one length scale for each dimension.
//!
//! Numbers differ by their distance on the `[0, 1]` scale. Two options of a choice differ by 1 or not at all: the
//! options sit on the corners of a regular simplex, so the kernel stays positive definite and knows no false order.

use crate::space::Axis;

/// What the marginal likelihood fits, all as natural logarithms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hyper {
    /// Length scales, one for each dimension.
    pub(crate) lengths: Vec<f64>,
    /// Variance of the function.
    pub(crate) signal: f64,
    /// Variance of the slope in each dimension: how far a trend from one end to the other may carry.
    pub(crate) trend: f64,
    /// Variance of the measurement.
    pub(crate) noise: f64,
}

/// Which dimensions are choices.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kinds(Vec<bool>);

/// The kernel with its parameters ready for use.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    kinds: Kinds,
    /// `1 / length^2`.
    weights: Vec<f64>,
    pub(crate) signal: f64,
    trend: f64,
    pub(crate) noise: f64,
}

// === impl Hyper ===

impl Hyper {
    pub(crate) fn to_vec(&self) -> Vec<f64> {
        let mut theta = self.lengths.clone();
        theta.push(self.signal);
        theta.push(self.trend);
        theta.push(self.noise);
        theta
    }

    /// The inverse of [`Hyper::to_vec`].
    pub(crate) fn from_slice(theta: &[f64]) -> Self {
        match theta {
            [lengths @ .., signal, trend, noise] => Self {
                lengths: lengths.to_vec(),
                signal: *signal,
                trend: *trend,
                noise: *noise,
            },
            _ => Self {
                lengths: Vec::new(),
                signal: 0.0,
                trend: 0.0,
                noise: 0.0,
            },
        }
    }
}

// === impl Kinds ===

impl Kinds {
    pub(crate) fn new(axes: &[Axis]) -> Self {
        Self(axes.iter().map(Axis::is_choice).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Squared distance in one dimension, before scaling.
    #[inline]
    pub(crate) fn square(&self, dimension: usize, a: f64, b: f64) -> f64 {
        if self.0[dimension] {
            if a == b { 0.0 } else { 1.0 }
        } else {
            (a - b) * (a - b)
        }
    }

    /// Product of two places as a linear trend sees them: numbers from the middle of their range, options as corners.
    #[inline]
    pub(crate) fn product(&self, a: &[f64], b: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (dimension, choice) in self.0.iter().enumerate() {
            let (a, b) = (a[dimension], b[dimension]);
            sum += if !*choice {
                (a - 0.5) * (b - 0.5)
            } else if a == b {
                0.25
            } else {
                0.0
            };
        }
        sum
    }
}

// === impl Kernel ===

impl Kernel {
    pub(crate) fn new(kinds: Kinds, hyper: &Hyper) -> Self {
        Self {
            kinds,
            weights: hyper
                .lengths
                .iter()
                .map(|length| (-2.0 * length).exp())
                .collect(),
            signal: hyper.signal.exp(),
            trend: hyper.trend.exp(),
            noise: hyper.noise.exp(),
        }
    }

    /// Covariance of the function's values at two places.
    #[inline]
    pub(crate) fn covariance(&self, a: &[f64], b: &[f64]) -> f64 {
        let mut square = 0.0;
        for (dimension, weight) in self.weights.iter().enumerate() {
            square += weight * self.kinds.square(dimension, a[dimension], b[dimension]);
        }
        self.signal * matern(square).0 + self.trend * self.kinds.product(a, b)
    }

    /// Covariance of a place with itself.
    pub(crate) fn variance(&self, a: &[f64]) -> f64 {
        self.signal + self.trend * self.kinds.product(a, a)
    }
}

/// Matérn 5/2 of a squared scaled distance, and the factor of its derivative: `d k / d ln(length_i)` is
/// the factor times the part of dimension `i` in the squared distance.
#[inline]
pub(crate) fn matern(square: f64) -> (f64, f64) {
    let root = (5.0 * square).sqrt();
    let decay = (-root).exp();
    (
        (1.0 + root + 5.0 / 3.0 * square) * decay,
        5.0 / 3.0 * (1.0 + root) * decay,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::space::{Dimension, Domain, Space};
    use nalgebra::DMatrix;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_covariance_matrix_is_positive_semidefinite(
            points in prop::collection::vec((0.0_f64..1.0, 0_usize..4), 2..12),
            first in -2.0_f64..1.0,
            second in -2.0_f64..1.0,
        ) {
            let space = Space::new(vec![
                Dimension { name: "x".into(), domain: Domain::Range { min: 0.0, max: 1.0, step: None } },
                Dimension { name: "gc".into(), domain: Domain::Choice { options: 4 } },
            ])
            .unwrap();
            let hyper = Hyper { lengths: vec![first, second], signal: 0.3, trend: 0.1, noise: -9.0 };
            let kernel = Kernel::new(Kinds::new(space.axes()), &hyper);
            let places: Vec<Vec<f64>> = points.iter().map(|(x, c)| vec![*x, *c as f64]).collect();
            let matrix = DMatrix::from_fn(places.len(), places.len(), |i, j| kernel.covariance(&places[i], &places[j]));
            let smallest = matrix.symmetric_eigenvalues().min();
            prop_assert!(smallest > -1e-9, "{smallest}");
        }
    }
}
