//! The normal distribution, accurate in its tails: acquisition values compare probabilities of 1e-200.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// `ln(sqrt(2 * pi))`.
const LN_SQRT_2PI: f64 = 0.918_938_533_204_672_8;

/// Below this the direct formulas underflow and asymptotic series take over.
const FAR_TAIL: f64 = -25.0;

/// `erfc(x) * exp(x^2)` for `x >= 2`, by its continued fraction (evaluated backwards; 60 terms give full precision at 2).
fn scaled_erfc_tail(x: f64) -> f64 {
    let terms = if x > 6.0 { 14 } else { 60 };
    let mut fraction = 0.0;
    for k in (1..=terms).rev() {
        fraction = f64::from(k) / 2.0 / (x + fraction);
    }
    1.0 / ((x + fraction) * PI.sqrt())
}

/// Complementary error function.
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x >= 2.0 {
        return (-x * x).exp() * scaled_erfc_tail(x);
    }
    // erf(x) = 2/sqrt(pi) * exp(-x^2) * sum of 2^n x^(2n+1) / (2n+1)!!: all terms positive, no cancellation.
    let mut term = x;
    let mut sum = x;
    let mut odd = 1.0;
    while term > sum * 1e-17 {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    1.0 - 2.0 / PI.sqrt() * (-x * x).exp() * sum
}

pub(crate) fn density(z: f64) -> f64 {
    (-0.5 * z * z - LN_SQRT_2PI).exp()
}

/// `P(Z <= z)`.
pub(crate) fn cdf(z: f64) -> f64 {
    0.5 * erfc(-z * FRAC_1_SQRT_2)
}

/// `ln P(Z <= z)`, finite for every finite `z`.
pub(crate) fn log_cdf(z: f64) -> f64 {
    if z > FAR_TAIL {
        return cdf(z).ln();
    }
    -0.5 * z * z - LN_SQRT_2PI - (-z).ln() + (-1.0 / (z * z)).ln_1p()
}

/// `ln E[max(0, gain)]` of a normal gain; for `sd == 0` the logarithm of the gain itself.
pub(crate) fn log_expected_improvement(gain: f64, sd: f64) -> f64 {
    if sd <= 0.0 {
        return if gain > 0.0 {
            gain.ln()
        } else {
            f64::NEG_INFINITY
        };
    }
    let z = gain / sd;
    let standard = if z > FAR_TAIL {
        (density(z) + z * cdf(z)).max(f64::MIN_POSITIVE).ln()
    } else {
        let inverse = 1.0 / (z * z);
        -0.5 * z * z - LN_SQRT_2PI + inverse.ln() + (-3.0 * inverse).ln_1p()
    };
    standard + sd.ln()
}

/// The `z` with `P(Z <= z) == p`, for `0 < p < 1`.
pub(crate) fn quantile(p: f64) -> f64 {
    let p = p.clamp(1e-15, 1.0 - 1e-15);
    let (mut low, mut high) = (-9.0, 9.0);
    // Used for a few fixed draws only: plain bisection is fast enough and cannot diverge.
    while high - low > 1e-12 {
        let middle = 0.5 * (low + high);
        if cdf(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_published_values() {
        for (z, p) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (-1.959_963_984_540_054, 0.025),
            (-3.0, 0.001_349_898_031_630_094_6),
            (-6.0, 9.865_876_450_376_946e-10),
        ] {
            assert!((cdf(z) / p - 1.0).abs() < 1e-12, "cdf({z}) = {}", cdf(z));
        }
        // erfc(2) = 0.004677734981047266
        assert!(
            (2.0 * cdf(-2.0 * std::f64::consts::SQRT_2) / 0.004_677_734_981_047_266 - 1.0).abs()
                < 1e-12
        );
        assert!((log_cdf(-40.0) + 804.608_442_013_754).abs() < 1e-3);
        assert!((quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-9);
    }

    #[test]
    fn expected_improvement_is_smooth_over_the_tail_switch() {
        let before = log_expected_improvement(FAR_TAIL + 1e-9, 1.0);
        let after = log_expected_improvement(FAR_TAIL - 1e-9, 1.0);
        assert!((before - after).abs() < 1e-4, "{before} {after}");
        assert!((log_expected_improvement(0.0, 2.0) - (2.0 * density(0.0)).ln()).abs() < 1e-12);
        assert!(log_expected_improvement(-1e6, 1.0).is_finite());
        assert_eq!(log_expected_improvement(-1.0, 0.0), f64::NEG_INFINITY);
    }
}
