//! Points spread evenly: the first trials, the candidates of a suggestion, the fixed draws of an expectation.

use crate::normal;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// Latin hypercubes compared for a start; the one whose closest pair lies furthest apart is used.
const DESIGNS: usize = 24;

/// A generator for one purpose, independent of those for other purposes of the same study.
pub(crate) fn generator(seed: u64, purpose: u64, step: usize) -> ChaCha8Rng {
    let mut mixed = seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = mixed.rotate_left(23) ^ (step as u64).wrapping_mul(0xd1b5_4a32_d192_ed03);
    ChaCha8Rng::seed_from_u64(mixed)
}

/// A standard normal number.
pub(crate) fn gaussian(rng: &mut ChaCha8Rng) -> f64 {
    let (a, b): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

/// `count` places in `[0, 1)^dimensions` such that each dimension is covered evenly and no two places are close.
pub(crate) fn latin_hypercube(
    count: usize,
    dimensions: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<Vec<f64>> {
    let mut best: (f64, Vec<Vec<f64>>) = (f64::NEG_INFINITY, Vec::new());
    for _ in 0..DESIGNS {
        let mut places = vec![vec![0.0; dimensions]; count];
        for dimension in 0..dimensions {
            let mut cells: Vec<usize> = (0..count).collect();
            for last in (1..count).rev() {
                cells.swap(last, rng.random_range(0..=last));
            }
            for (place, cell) in places.iter_mut().zip(cells) {
                place[dimension] = (cell as f64 + rng.random::<f64>()) / count as f64;
            }
        }
        let mut closest = f64::INFINITY;
        for (index, place) in places.iter().enumerate() {
            for other in &places[..index] {
                let distance: f64 = place
                    .iter()
                    .zip(other)
                    .map(|(a, b)| (a - b) * (a - b))
                    .sum();
                closest = closest.min(distance);
            }
        }
        if closest > best.0 || best.1.is_empty() {
            best = (closest, places);
        }
    }
    best.1
}

/// An additive sequence in `[0, 1)^d` with irrational steps (powers of the root of `x^(d+1) = x + 1`), randomly shifted.
#[derive(Debug, Clone)]
pub(crate) struct Lattice {
    steps: Vec<f64>,
    place: Vec<f64>,
}

impl Lattice {
    pub(crate) fn new(dimensions: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut root = 2.0_f64;
        for _ in 0..64 {
            root = (1.0 + root).powf(1.0 / (dimensions as f64 + 1.0));
        }
        let steps = (1..=dimensions)
            .map(|power| root.powi(-(power as i32)).fract())
            .collect();
        let place = (0..dimensions).map(|_| rng.random()).collect();
        Self { steps, place }
    }

    pub(crate) fn next_place(&mut self) -> &[f64] {
        for (place, step) in self.place.iter_mut().zip(&self.steps) {
            *place = (*place + step).fract();
        }
        &self.place
    }
}

/// `count` standard normal vectors for expectations, the same for every call: comparisons between points then do not
/// suffer from sampling noise. Each vector comes with its mirror image, so means are exact for linear functions.
pub(crate) fn normal_draws(count: usize, dimensions: usize) -> Vec<Vec<f64>> {
    let mut rng = generator(0, 0x006e_6f72_6d61_6c00, dimensions);
    let mut lattice = Lattice::new(dimensions.max(1), &mut rng);
    let mut draws = Vec::with_capacity(count);
    while draws.len() < count {
        let draw: Vec<f64> = lattice
            .next_place()
            .iter()
            .take(dimensions)
            .map(|p| normal::quantile(p.clamp(1e-6, 1.0 - 1e-6)))
            .collect();
        let mirrored = draw.iter().map(|z| -z).collect();
        draws.push(draw);
        draws.push(mirrored);
    }
    draws.truncate(count);
    // Mean square one in each dimension, so that spreads are right with few draws.
    for dimension in 0..dimensions {
        let square: f64 = draws
            .iter()
            .map(|draw| draw[dimension] * draw[dimension])
            .sum::<f64>()
            / count.max(1) as f64;
        if square > 0.0 {
            let factor = 1.0 / square.sqrt();
            for draw in &mut draws {
                draw[dimension] *= factor;
            }
        }
    }
    draws
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slice_of_each_dimension_holds_one_place() {
        let places = latin_hypercube(8, 3, &mut generator(1, 2, 3));
        for dimension in 0..3 {
            let mut cells: Vec<usize> = places
                .iter()
                .map(|place| (place[dimension] * 8.0) as usize)
                .collect();
            cells.sort_unstable();
            assert_eq!(cells, (0..8).collect::<Vec<_>>());
        }
    }

    #[test]
    fn draws_have_mean_zero_and_spread_one() {
        let draws = normal_draws(64, 2);
        for dimension in 0..2 {
            let mean: f64 = draws.iter().map(|draw| draw[dimension]).sum::<f64>() / 64.0;
            let square: f64 = draws
                .iter()
                .map(|draw| draw[dimension].powi(2))
                .sum::<f64>()
                / 64.0;
            assert!(mean.abs() < 1e-9 && (square - 1.0).abs() < 1e-9);
        }
    }
}
