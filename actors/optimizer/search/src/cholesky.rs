//! Factor of a covariance matrix and its inverse, column by column so that the compiler vectorises the inner loops.

use nalgebra::DMatrix;

/// Lower triangular `L` with `L * L^T == K`, kept as its inverse: predictions then need no division.
#[derive(Debug, Clone)]
pub(crate) struct Factor {
    /// `L^-1`, lower triangular.
    inverse: DMatrix<f64>,
    /// `ln det K`.
    pub(crate) log_determinant: f64,
}

/// Tries with more and more on the diagonal: duplicates without noise make `K` singular.
const JITTERS: [f64; 5] = [0.0, 1e-10, 1e-8, 1e-6, 1e-4];

#[inline]
fn subtract(target: &mut [f64], factor: f64, column: &[f64]) {
    for (value, other) in target.iter_mut().zip(column) {
        *value -= factor * other;
    }
}

/// Inner product with four independent sums, which the compiler may keep in vector registers.
#[inline]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (a_blocks, b_blocks) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest: f64 = a_blocks
        .remainder()
        .iter()
        .zip(b_blocks.remainder())
        .map(|(x, y)| x * y)
        .sum();
    for (x, y) in a_blocks.zip(b_blocks) {
        for lane in 0..4 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// Replaces the lower triangle by its Cholesky factor; `false` when it is not positive definite.
fn decompose(matrix: &mut DMatrix<f64>) -> bool {
    let n = matrix.nrows();
    let data = matrix.as_mut_slice();
    for j in 0..n {
        let (before, from) = data.split_at_mut(j * n);
        let column = &mut from[j..n];
        for k in 0..j {
            let other = &before[k * n + j..(k + 1) * n];
            subtract(column, other[0], other);
        }
        let pivot = column[0];
        if !(pivot > 0.0 && pivot.is_finite()) {
            return false;
        }
        let root = pivot.sqrt();
        let scale = 1.0 / root;
        column[0] = root;
        for value in &mut column[1..] {
            *value *= scale;
        }
    }
    true
}

/// The Cholesky factor, with as little added to the diagonal as needed.
fn lower(matrix: &DMatrix<f64>) -> Option<DMatrix<f64>> {
    let n = matrix.nrows();
    let scale = (0..n).map(|i| matrix[(i, i)]).fold(0.0, f64::max);
    JITTERS.iter().find_map(|jitter| {
        let mut attempt = matrix.clone();
        for i in 0..n {
            attempt[(i, i)] += jitter * scale;
        }
        decompose(&mut attempt).then_some(attempt)
    })
}

fn log_determinant(lower: &DMatrix<f64>) -> f64 {
    2.0 * (0..lower.nrows()).map(|i| lower[(i, i)].ln()).sum::<f64>()
}

/// Solves `L * x = b` in place for a `b` that is zero before `start`.
fn forward(lower: &[f64], n: usize, start: usize, b: &mut [f64]) {
    for k in start..n {
        let value = b[k] / lower[k * n + k];
        b[k] = value;
        subtract(&mut b[k + 1..], value, &lower[k * n + k + 1..(k + 1) * n]);
    }
}

/// `(y - m)^T K^-1 (y - m) + ln det K` with the best constant `m`: what the likelihood needs, without the inverse.
pub(crate) fn misfit(matrix: &DMatrix<f64>, targets: &[f64]) -> Option<f64> {
    let n = matrix.nrows();
    let lower = lower(matrix)?;
    let (mut ones, mut white) = (vec![1.0; n], targets.to_vec());
    forward(lower.as_slice(), n, 0, &mut ones);
    forward(lower.as_slice(), n, 0, &mut white);
    let (weight, sum) = (dot(&ones, &ones), dot(&ones, &white));
    let explained = if weight > 0.0 {
        sum * sum / weight
    } else {
        0.0
    };
    Some(dot(&white, &white) - explained + log_determinant(&lower))
}

// === impl Factor ===

impl Factor {
    /// Factors a symmetric matrix given by its lower triangle, adding as little as needed to its diagonal.
    /// `None` when it holds something that is not a number.
    pub(crate) fn new(matrix: &DMatrix<f64>) -> Option<Self> {
        let n = matrix.nrows();
        let lower = lower(matrix)?;
        let log_determinant = log_determinant(&lower);
        let mut inverse = DMatrix::zeros(n, n);
        let (from, to) = (lower.as_slice(), inverse.as_mut_slice());
        for j in 0..n {
            let column = &mut to[j * n..(j + 1) * n];
            column[j] = 1.0;
            forward(from, n, j, column);
        }
        Some(Self {
            inverse,
            log_determinant,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.inverse.nrows()
    }

    /// `L^-1 * b`, written to `out`.
    pub(crate) fn whiten(&self, b: &[f64], out: &mut Vec<f64>) {
        let n = self.len();
        out.clear();
        out.resize(n, 0.0);
        let data = self.inverse.as_slice();
        for j in 0..n {
            subtract(&mut out[j..], -b[j], &data[j * n + j..(j + 1) * n]);
        }
    }

    /// `K^-1 * b`.
    pub(crate) fn solve(&self, b: &[f64]) -> Vec<f64> {
        let n = self.len();
        let mut white = Vec::new();
        self.whiten(b, &mut white);
        let data = self.inverse.as_slice();
        (0..n)
            .map(|j| dot(&data[j * n + j..(j + 1) * n], &white[j..]))
            .collect()
    }

    /// Lower triangle of `K^-1`.
    pub(crate) fn inverse_of_matrix(&self) -> DMatrix<f64> {
        let n = self.len();
        let data = self.inverse.as_slice();
        let mut result = DMatrix::zeros(n, n);
        let out = result.as_mut_slice();
        for j in 0..n {
            for i in j..n {
                out[j * n + i] = dot(&data[i * n + i..(i + 1) * n], &data[j * n + i..(j + 1) * n]);
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn agrees_with_the_general_inverse() {
        let root = DMatrix::from_fn(7, 7, |i, j| ((i * 5 + j * 3) % 7) as f64 - 2.0);
        let matrix = &root * root.transpose() + DMatrix::identity(7, 7) * 2.0;
        let factor = Factor::new(&matrix).unwrap();
        assert!((factor.log_determinant - matrix.determinant().ln()).abs() < 1e-8);
        let expected = matrix.clone().try_inverse().unwrap();
        let inverse = factor.inverse_of_matrix();
        for i in 0..7 {
            for j in 0..=i {
                assert!((inverse[(i, j)] - expected[(i, j)]).abs() < 1e-8);
            }
        }
        let b: Vec<f64> = (0..7).map(f64::from).collect();
        let solved = factor.solve(&b);
        let product = &matrix * DMatrix::from_column_slice(7, 1, &solved);
        assert!(product.iter().zip(&b).all(|(x, y)| (x - y).abs() < 1e-8));
    }

    #[test]
    fn singular_is_repaired_and_nonsense_refused() {
        assert!(Factor::new(&DMatrix::from_element(4, 4, 1.0)).is_some());
        assert!(Factor::new(&DMatrix::from_element(2, 2, f64::NAN)).is_none());
    }
}
