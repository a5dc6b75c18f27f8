//! Length scales, function variance and noise by maximum a posteriori: marginal likelihood with weak priors.
//!
//! The noise is fitted like everything else. An engine with a fixed nugget interpolates noise and was worse than random
//! search in a quarter of its runs on a noisy problem.

use crate::cholesky::{Factor, dot, misfit};
use crate::kernel::{Hyper, Kinds, matern};
use crate::sampling::{gaussian, generator};
use nalgebra::DMatrix;
use rand::RngExt;

/// Purpose of the generator behind [`Data::alternatives`].
const ALTERNATIVES: u64 = 4;
/// Slices between two draws from the posterior, so that they differ, and their first width in standard normal steps.
const SLICES: usize = 8;
const SLICE: f64 = 2.0;

/// Normal prior on a natural logarithm.
#[derive(Debug, Clone, Copy)]
struct Prior {
    mean: f64,
    sd: f64,
}

/// Function variance, with targets of variance one.
const SIGNAL: Prior = Prior { mean: 0.0, sd: 1.5 };
/// Variance of a slope: small, so that a trend has to show itself. With a mean of one, noise is taken for trends.
const TREND: Prior = Prior {
    mean: -4.0,
    sd: 1.5,
};
/// Noise variance: 10 % of the spread is typical, one ten-thousandth and all of it are possible.
const NOISE: Prior = Prior {
    mean: -4.6,
    sd: 3.0,
};

/// Bounds of length scales, function variance and noise variance, as logarithms.
const BOUNDS: [(f64, f64); 4] = [(-4.0, 5.0), (-5.0, 7.0), (-12.0, 5.0), (-18.0, 2.0)];

/// Observations with what every evaluation of the likelihood needs.
pub(crate) struct Data {
    kinds: Kinds,
    targets: Vec<f64>,
    /// For each dimension the squared distances of the pairs `(i, j)` with `i > j`, in column order.
    squares: Vec<Vec<f64>>,
    /// Products of the pairs for the trend, and of each place with itself.
    products: Vec<f64>,
    own: Vec<f64>,
}

/// A fitted set of parameters.
#[derive(Debug, Clone)]
pub(crate) struct Fit {
    pub(crate) hyper: Hyper,
    /// Negative logarithm of likelihood times prior: smaller is better.
    pub(crate) loss: f64,
}

// === impl Prior ===

impl Prior {
    /// The longer the diagonal, the longer the scales: a distance of one in each dimension should not mean "unrelated".
    /// Short scales are the safer mistake: under noise, long ones explain the whole surface away (median regret on noisy
    /// Hartmann 1.1 with a factor of 0.4 and a spread of 1.2, 0.6 with these).
    fn length(dimensions: usize) -> Self {
        Self {
            mean: (0.3 * (dimensions as f64).sqrt()).ln(),
            sd: 0.7,
        }
    }

    fn loss(self, value: f64) -> f64 {
        0.5 * ((value - self.mean) / self.sd).powi(2)
    }

    fn slope(self, value: f64) -> f64 {
        (value - self.mean) / (self.sd * self.sd)
    }
}

// === impl Data ===

impl Data {
    /// `targets` with mean near zero and variance near one, at `places`.
    pub(crate) fn new(kinds: Kinds, places: &[&[f64]], targets: Vec<f64>) -> Self {
        let squares = (0..kinds.len())
            .map(|dimension| {
                let mut column = Vec::with_capacity(places.len() * places.len() / 2);
                for (j, b) in places.iter().enumerate() {
                    column.extend(
                        places[j + 1..]
                            .iter()
                            .map(|a| kinds.square(dimension, a[dimension], b[dimension])),
                    );
                }
                column
            })
            .collect();
        let mut products = Vec::with_capacity(places.len() * places.len() / 2);
        for (j, b) in places.iter().enumerate() {
            products.extend(places[j + 1..].iter().map(|a| kinds.product(a, b)));
        }
        let own = places.iter().map(|a| kinds.product(a, a)).collect();
        Self {
            kinds,
            targets,
            squares,
            products,
            own,
        }
    }

    /// Lower triangle of the covariance, and for each pair the factor of its derivative.
    fn covariance(&self, theta: &[f64]) -> (DMatrix<f64>, Vec<f64>) {
        let n = self.targets.len();
        let d = self.kinds.len();
        let (signal, trend, noise) = (theta[d].exp(), theta[d + 1].exp(), theta[d + 2].exp());
        let mut distances = vec![0.0; n * n.saturating_sub(1) / 2];
        for (squares, length) in self.squares.iter().zip(theta) {
            let weight = (-2.0 * length).exp();
            for (distance, square) in distances.iter_mut().zip(squares) {
                *distance += weight * square;
            }
        }
        let mut matrix = DMatrix::zeros(n, n);
        let out = matrix.as_mut_slice();
        let mut pair = 0;
        for j in 0..n {
            out[j * n + j] = signal + trend * self.own[j] + noise;
            for value in &mut out[j * n + j + 1..(j + 1) * n] {
                let (k, slope) = matern(distances[pair]);
                *value = signal * k + trend * self.products[pair];
                distances[pair] = signal * slope;
                pair += 1;
            }
        }
        (matrix, distances)
    }

    fn prior_loss(&self, theta: &[f64]) -> f64 {
        let d = self.kinds.len();
        let length = Prior::length(d);
        let lengths: f64 = theta[..d].iter().map(|value| length.loss(*value)).sum();
        lengths + SIGNAL.loss(theta[d]) + TREND.loss(theta[d + 1]) + NOISE.loss(theta[d + 2])
    }

    /// The loss alone. Infinite where the parameters make no covariance.
    pub(crate) fn loss(&self, theta: &[f64]) -> f64 {
        let (matrix, _) = self.covariance(theta);
        let loss = misfit(&matrix, &self.targets)
            .map_or(f64::NAN, |misfit| 0.5 * misfit + self.prior_loss(theta));
        if loss.is_finite() {
            loss
        } else {
            f64::INFINITY
        }
    }

    /// Loss and gradient.
    pub(crate) fn evaluate(&self, theta: &[f64], gradient: &mut [f64]) -> f64 {
        let n = self.targets.len();
        let d = self.kinds.len();
        let (trend, noise) = (theta[d + 1].exp(), theta[d + 2].exp());
        let (matrix, slopes) = self.covariance(theta);
        let Some(factor) = Factor::new(&matrix) else {
            return f64::INFINITY;
        };
        // The constant mean is the generalised least squares one: the likelihood's maximum over it, so it has no gradient.
        let ones = factor.solve(&vec![1.0; n]);
        let weight: f64 = ones.iter().sum();
        let mean = if weight > 0.0 {
            dot(&ones, &self.targets) / weight
        } else {
            0.0
        };
        let centred: Vec<f64> = self.targets.iter().map(|target| target - mean).collect();
        let alpha = factor.solve(&centred);
        let loss = 0.5 * (dot(&centred, &alpha) + factor.log_determinant) + self.prior_loss(theta);
        let inverse = factor.inverse_of_matrix();
        let inverse = inverse.as_slice();
        // W = K^-1 - alpha * alpha^T; d loss = 0.5 * sum of W_ij * dK_ij.
        let trace: f64 = (0..n)
            .map(|i| inverse[i * n + i] - alpha[i] * alpha[i])
            .sum();
        let mut weighted = slopes;
        let mut pair = 0;
        let mut signal = 0.0;
        let mut slope: f64 = (0..n)
            .map(|i| 0.5 * (inverse[i * n + i] - alpha[i] * alpha[i]) * self.own[i])
            .sum();
        let covariance = matrix.as_slice();
        for j in 0..n {
            for i in j + 1..n {
                let w = inverse[j * n + i] - alpha[i] * alpha[j];
                signal += w * (covariance[j * n + i] - trend * self.products[pair]);
                slope += w * self.products[pair];
                weighted[pair] *= w;
                pair += 1;
            }
        }
        for (dimension, squares) in self.squares.iter().enumerate() {
            let scale = (-2.0 * theta[dimension]).exp();
            gradient[dimension] =
                scale * dot(&weighted, squares) + Prior::length(d).slope(theta[dimension]);
        }
        gradient[d] = signal + 0.5 * theta[d].exp() * trace + SIGNAL.slope(theta[d]);
        gradient[d + 1] = trend * slope + TREND.slope(theta[d + 1]);
        gradient[d + 2] = 0.5 * noise * trace + NOISE.slope(theta[d + 2]);
        if loss.is_finite() {
            loss
        } else {
            f64::INFINITY
        }
    }

    /// The best of several starts, each improved by at most `iterations` steps of BFGS.
    pub(crate) fn fit(&self, starts: usize, iterations: usize) -> Fit {
        let d = self.kinds.len();
        let typical = Prior::length(d).mean;
        // (length relative to the prior, noise): smooth and rough, exact and noisy.
        let mut candidates: Vec<(f64, Vec<f64>)> = [
            (0.0, -4.6),
            (-0.9, -9.0),
            (0.7, -7.0),
            (0.0, -1.0),
            (-0.9, -2.5),
            (0.9, -2.0),
        ]
        .into_iter()
        .map(|(length, noise)| {
            let theta = Hyper {
                lengths: vec![typical + length; d],
                signal: 0.0,
                trend: TREND.mean,
                noise,
            }
            .to_vec();
            (self.loss(&theta), theta)
        })
        .collect();
        candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
        candidates
            .into_iter()
            .take(starts.max(1))
            .map(|(_, theta)| self.improve(theta, iterations))
            .min_by(|a, b| a.loss.total_cmp(&b.loss))
            .unwrap_or(Fit {
                hyper: Hyper {
                    lengths: vec![typical; d],
                    signal: 0.0,
                    trend: TREND.mean,
                    noise: NOISE.mean,
                },
                loss: f64::INFINITY,
            })
    }

    /// Other parameters that explain the observations, drawn from their posterior by slices in random directions.
    pub(crate) fn alternatives(&self, best: &Fit, count: usize) -> Vec<Hyper> {
        let mut rng = generator(0, ALTERNATIVES, self.targets.len());
        let d = self.kinds.len();
        let mut theta = best.hyper.to_vec();
        let mut loss = best.loss;
        let mut found = Vec::with_capacity(count);
        for _ in 0..count {
            for _ in 0..SLICES {
                let direction: Vec<f64> = theta.iter().map(|_| gaussian(&mut rng)).collect();
                let level = loss - rng.random::<f64>().max(1e-12).ln();
                let share: f64 = rng.random();
                let (mut low, mut high) = (-share * SLICE, (1.0 - share) * SLICE);
                for _ in 0..8 {
                    let move_ = low + rng.random::<f64>() * (high - low);
                    let mut trial: Vec<f64> = theta
                        .iter()
                        .zip(&direction)
                        .map(|(value, step)| value + move_ * step)
                        .collect();
                    clamp(&mut trial, d);
                    let trial_loss = self.loss(&trial);
                    if trial_loss <= level {
                        theta = trial;
                        loss = trial_loss;
                        break;
                    }
                    if move_ < 0.0 {
                        low = move_
                    } else {
                        high = move_
                    }
                }
            }
            found.push(Hyper::from_slice(&theta));
        }
        found
    }

    /// BFGS with backtracking, kept inside the bounds.
    pub(crate) fn improve(&self, start: Vec<f64>, iterations: usize) -> Fit {
        let size = start.len();
        let d = self.kinds.len();
        let mut theta = start;
        clamp(&mut theta, d);
        let mut gradient = vec![0.0; size];
        let mut loss = self.evaluate(&theta, &mut gradient);
        let mut inverse = DMatrix::<f64>::identity(size, size) * 0.1;
        for iteration in 0..iterations {
            if !loss.is_finite() {
                break;
            }
            let mut direction: Vec<f64> = (0..size)
                .map(|i| {
                    -(0..size)
                        .map(|j| inverse[(i, j)] * gradient[j])
                        .sum::<f64>()
                })
                .collect();
            // No step changes a parameter by more than a factor of e^2: the likelihood is flat far out.
            let longest = direction
                .iter()
                .fold(0.0_f64, |longest, step| longest.max(step.abs()));
            if longest > 2.0 {
                direction.iter_mut().for_each(|step| *step *= 2.0 / longest);
            }
            let mut slope = dot(&direction, &gradient);
            if slope >= 0.0 {
                inverse = DMatrix::identity(size, size) * 0.1;
                direction = gradient
                    .iter()
                    .map(|g| (-0.1 * g).clamp(-1.0, 1.0))
                    .collect();
                slope = dot(&direction, &gradient);
            }
            if slope > -1e-6 {
                break;
            }
            let mut step = 1.0;
            let mut next = None;
            let mut next_gradient = vec![0.0; size];
            for _ in 0..8 {
                let mut trial: Vec<f64> = theta
                    .iter()
                    .zip(&direction)
                    .map(|(value, move_)| value + step * move_)
                    .collect();
                clamp(&mut trial, d);
                let trial_loss = self.evaluate(&trial, &mut next_gradient);
                if trial_loss <= loss + 1e-4 * step * slope {
                    next = Some((trial, trial_loss));
                    break;
                }
                step *= 0.35;
            }
            let Some((trial, trial_loss)) = next else {
                break;
            };
            let moved: Vec<f64> = trial
                .iter()
                .zip(&theta)
                .map(|(new, old)| new - old)
                .collect();
            let turned: Vec<f64> = next_gradient
                .iter()
                .zip(&gradient)
                .map(|(new, old)| new - old)
                .collect();
            let curvature = dot(&moved, &turned);
            if curvature > 1e-10 {
                if iteration == 0 {
                    inverse = DMatrix::identity(size, size) * (curvature / dot(&turned, &turned));
                }
                update(&mut inverse, &moved, &turned, curvature);
            }
            let gained = loss - trial_loss;
            theta = trial;
            gradient.copy_from_slice(&next_gradient);
            loss = trial_loss;
            if gained < 1e-3 {
                break;
            }
        }
        Fit {
            hyper: Hyper::from_slice(&theta),
            loss,
        }
    }
}

/// Moves parameters inside their bounds.
fn clamp(theta: &mut [f64], dimensions: usize) {
    for (index, value) in theta.iter_mut().enumerate() {
        let (low, high) = BOUNDS[(index + 1).saturating_sub(dimensions).min(3)];
        *value = value.clamp(low, high);
    }
}

/// The BFGS update of the inverse Hessian.
fn update(inverse: &mut DMatrix<f64>, moved: &[f64], turned: &[f64], curvature: f64) {
    let size = moved.len();
    let image: Vec<f64> = (0..size)
        .map(|i| (0..size).map(|j| inverse[(i, j)] * turned[j]).sum())
        .collect();
    let factor = (1.0 + dot(turned, &image) / curvature) / curvature;
    for i in 0..size {
        for j in 0..size {
            inverse[(i, j)] += factor * moved[i] * moved[j]
                - (image[i] * moved[j] + moved[i] * image[j]) / curvature;
        }
    }
}
