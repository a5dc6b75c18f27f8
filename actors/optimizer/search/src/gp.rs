//! A Gaussian process conditioned on observations: mean and spread of the function anywhere.

use crate::cholesky::{Factor, dot};
use crate::fit::Data;
use crate::kernel::{Hyper, Kernel, Kinds};
use nalgebra::DMatrix;

/// Above this many observations the parameters are fitted on a subset: the fit is cubic and needs some 60 evaluations,
/// the prediction needs one.
const FIT_LIMIT: usize = 110;

/// What is believed about the function at one place, in the scale of the targets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Belief {
    pub(crate) mean: f64,
    /// Of the function itself, without measurement noise.
    pub(crate) variance: f64,
}

/// A fitted process: several sets of parameters that explain the observations, equally weighted. One set alone is too
/// sure of itself while trials are few.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    members: Vec<Member>,
    pub(crate) loss: f64,
}

/// A process with one set of parameters.
#[derive(Debug, Clone)]
struct Member {
    kernel: Kernel,
    places: Vec<Vec<f64>>,
    factor: Factor,
    mean: f64,
    /// Variance of the fitted constant mean.
    mean_variance: f64,
    /// `K^-1 * 1`.
    ones: Vec<f64>,
    /// `K^-1 * (y - mean)`.
    alpha: Vec<f64>,
}

/// How hard to look for parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Starting points of the optimisation.
    pub(crate) starts: usize,
    /// Steps from each.
    pub(crate) iterations: usize,
    /// Further parameters drawn from their posterior.
    pub(crate) alternatives: usize,
}

/// Memory reused from one prediction to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    covariances: Vec<f64>,
    white: Vec<f64>,
}

// === impl Process ===

impl Process {
    /// Fits parameters and conditions on all observations. `None` without observations or when they are not numbers.
    pub(crate) fn fit(
        kinds: &Kinds,
        places: Vec<Vec<f64>>,
        targets: &[f64],
        effort: Effort,
    ) -> Option<Self> {
        if places.is_empty() || places.len() != targets.len() {
            return None;
        }
        let chosen = subset(targets, FIT_LIMIT);
        let data = Data::new(
            kinds.clone(),
            &chosen
                .iter()
                .map(|index| places[*index].as_slice())
                .collect::<Vec<_>>(),
            chosen.iter().map(|index| targets[*index]).collect(),
        );
        let fit = data.fit(effort.starts, effort.iterations);
        let mut members = vec![Member::new(kinds, &fit.hyper, places.clone(), targets)?];
        // Without noise the parameters are clear, and with many observations.
        if fit.hyper.noise > -9.0 && targets.len() <= FIT_LIMIT {
            let others = data.alternatives(&fit, effort.alternatives);
            members.extend(
                others
                    .iter()
                    .filter_map(|hyper| Member::new(kinds, hyper, places.clone(), targets)),
            );
        }
        Some(Self {
            members,
            loss: fit.loss,
        })
    }

    /// Conditions on observations with given parameters.
    pub(crate) fn condition(
        kinds: &Kinds,
        hyper: &Hyper,
        places: Vec<Vec<f64>>,
        targets: &[f64],
    ) -> Option<Self> {
        Member::new(kinds, hyper, places, targets).map(|member| Self {
            members: vec![member],
            loss: 0.0,
        })
    }

    fn average(&self, value: impl Fn(&Member) -> f64) -> f64 {
        self.members.iter().map(value).sum::<f64>() / self.members.len() as f64
    }

    /// Variance of one measurement.
    pub(crate) fn noise(&self) -> f64 {
        self.average(|member| member.kernel.noise)
    }

    pub(crate) fn predict(&self, place: &[f64], scratch: &mut Scratch) -> Belief {
        let (mut mean, mut square, mut variance) = (0.0, 0.0, 0.0);
        for member in &self.members {
            let belief = member.predict(place, scratch);
            mean += belief.mean;
            square += belief.mean * belief.mean;
            variance += belief.variance;
        }
        let count = self.members.len() as f64;
        mean /= count;
        Belief {
            mean,
            variance: (variance + square) / count - mean * mean,
        }
    }

    /// Covariance of what is believed about two places.
    pub(crate) fn covariance(&self, a: &[f64], b: &[f64]) -> f64 {
        let mut scratch = Scratch::default();
        let (mut first, mut second, mut product) = (0.0, 0.0, 0.0);
        for member in &self.members {
            let (x, y) = (member.mean(a, &mut scratch), member.mean(b, &mut scratch));
            first += x;
            second += y;
            product += x * y + member.covariance(a, b);
        }
        let count = self.members.len() as f64;
        product / count - first / count * (second / count)
    }
}

// === impl Member ===

impl Member {
    fn new(kinds: &Kinds, hyper: &Hyper, places: Vec<Vec<f64>>, targets: &[f64]) -> Option<Self> {
        let kernel = Kernel::new(kinds.clone(), hyper);
        let n = places.len();
        let mut matrix = DMatrix::zeros(n, n);
        for j in 0..n {
            matrix[(j, j)] = kernel.variance(&places[j]) + kernel.noise;
            for i in j + 1..n {
                matrix[(i, j)] = kernel.covariance(&places[i], &places[j]);
            }
        }
        let factor = Factor::new(&matrix)?;
        let ones = factor.solve(&vec![1.0; n]);
        let weight: f64 = ones.iter().sum();
        let mean = if weight > 0.0 {
            dot(&ones, targets) / weight
        } else {
            0.0
        };
        let centred: Vec<f64> = targets.iter().map(|target| target - mean).collect();
        let alpha = factor.solve(&centred);
        alpha.iter().all(|value| value.is_finite()).then_some(Self {
            kernel,
            places,
            factor,
            mean,
            mean_variance: if weight > 0.0 { 1.0 / weight } else { 0.0 },
            ones,
            alpha,
        })
    }

    fn covariances(&self, place: &[f64], out: &mut Vec<f64>) {
        out.clear();
        out.extend(
            self.places
                .iter()
                .map(|other| self.kernel.covariance(place, other)),
        );
    }

    fn mean(&self, place: &[f64], scratch: &mut Scratch) -> f64 {
        self.covariances(place, &mut scratch.covariances);
        self.mean + dot(&scratch.covariances, &self.alpha)
    }

    fn predict(&self, place: &[f64], scratch: &mut Scratch) -> Belief {
        let mean = self.mean(place, scratch);
        self.factor.whiten(&scratch.covariances, &mut scratch.white);
        let variance = self.kernel.variance(place) - dot(&scratch.white, &scratch.white)
            + self.mean_variance * (1.0 - dot(&scratch.covariances, &self.ones)).powi(2);
        Belief {
            mean,
            variance: variance.max(self.kernel.signal * 1e-12),
        }
    }

    fn covariance(&self, a: &[f64], b: &[f64]) -> f64 {
        let (mut scratch, mut other) = (Scratch::default(), Scratch::default());
        self.covariances(a, &mut scratch.covariances);
        self.factor.whiten(&scratch.covariances, &mut scratch.white);
        self.covariances(b, &mut other.covariances);
        self.factor.whiten(&other.covariances, &mut other.white);
        let of_mean = self.mean_variance
            * (1.0 - dot(&scratch.covariances, &self.ones))
            * (1.0 - dot(&other.covariances, &self.ones));
        self.kernel.covariance(a, b) - dot(&scratch.white, &other.white) + of_mean
    }
}

/// Which observations the parameters are fitted on: the best third of the limit, and the rest evenly from all.
fn subset(targets: &[f64], limit: usize) -> Vec<usize> {
    if targets.len() <= limit {
        return (0..targets.len()).collect();
    }
    let mut order: Vec<usize> = (0..targets.len()).collect();
    order.sort_by(|a, b| targets[*a].total_cmp(&targets[*b]));
    let rest = order.split_off(limit / 3);
    let wanted = limit - order.len();
    order.extend((0..wanted).map(|k| rest[k * rest.len() / wanted]));
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::sampling::{generator, latin_hypercube};
    use crate::space::{Dimension, Domain, Space};
    use rand::RngExt;

    const EFFORT: Effort = Effort {
        starts: 2,
        iterations: 40,
        alternatives: 2,
    };

    fn kinds(choice: bool) -> Kinds {
        let range = |name: &str| Dimension {
            name: name.into(),
            domain: Domain::Range {
                min: 0.0,
                max: 1.0,
                step: None,
            },
        };
        let mut dimensions = vec![range("x"), range("y")];
        if choice {
            dimensions.push(Dimension {
                name: "gc".into(),
                domain: Domain::Choice { options: 3 },
            });
        }
        Kinds::new(Space::new(dimensions).unwrap().axes())
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let places: Vec<Vec<f64>> = latin_hypercube(14, 3, &mut generator(1, 1, 1))
            .into_iter()
            .map(|p| vec![p[0], p[1], (p[2] * 3.0).floor()])
            .collect();
        let targets: Vec<f64> = places
            .iter()
            .map(|p| (5.0 * p[0]).sin() + p[1] - 0.3 * p[2])
            .collect();
        let data = Data::new(
            kinds(true),
            &places.iter().map(Vec::as_slice).collect::<Vec<_>>(),
            targets,
        );
        let theta = [-0.7, 0.2, 0.4, 0.3, -0.5, -3.0];
        let mut gradient = [0.0; 6];
        data.evaluate(&theta, &mut gradient);
        for index in 0..6 {
            let (mut up, mut down) = (theta, theta);
            up[index] += 1e-5;
            down[index] -= 1e-5;
            let slope = (data.loss(&up) - data.loss(&down)) / 2e-5;
            assert!(
                (slope - gradient[index]).abs() < 1e-4 * (1.0 + slope.abs()),
                "{index}: {slope} {}",
                gradient[index]
            );
        }
    }

    #[test]
    fn the_noise_is_recovered() {
        let mut rng = generator(7, 7, 7);
        let places = latin_hypercube(60, 2, &mut rng);
        let draws = crate::sampling::normal_draws(60, 1);
        let targets: Vec<f64> = places
            .iter()
            .zip(&draws)
            .map(|(p, z)| (6.0 * p[0]).sin() + p[1] * p[1] + 0.3 * z[0])
            .collect();
        let process = Process::fit(&kinds(false), places.clone(), &targets, EFFORT).unwrap();
        let sd = process.noise().sqrt();
        assert!((0.2..0.4).contains(&sd), "fitted noise {sd}");
        let exact: Vec<f64> = places
            .iter()
            .map(|p| (6.0 * p[0]).sin() + p[1] * p[1])
            .collect();
        let process = Process::fit(&kinds(false), places, &exact, EFFORT).unwrap();
        assert!(
            process.noise().sqrt() < 0.01,
            "fitted noise {}",
            process.noise().sqrt()
        );
        let place = [rng.random::<f64>(), rng.random::<f64>()];
        let belief = process.predict(&place, &mut Scratch::default());
        assert!((belief.mean - ((6.0 * place[0]).sin() + place[1] * place[1])).abs() < 0.05);
        assert!((process.covariance(&place, &place) - belief.variance).abs() < 1e-9);
    }

    #[test]
    fn duplicates_constants_and_single_points_are_fine() {
        let same = vec![vec![0.5, 0.5]; 6];
        assert!(Process::fit(&kinds(false), same.clone(), &[0.0; 6], EFFORT).is_some());
        assert!(
            Process::fit(
                &kinds(false),
                same,
                &[0.1, -0.1, 0.2, 0.0, 0.1, 0.0],
                EFFORT
            )
            .is_some()
        );
        assert!(Process::fit(&kinds(false), vec![vec![0.1, 0.2]], &[0.0], EFFORT).is_some());
        assert!(Process::fit(&kinds(false), vec![], &[], EFFORT).is_none());
        assert!(Process::fit(&kinds(false), vec![vec![0.1, 0.2]], &[f64::NAN], EFFORT).is_none());
    }
}
