//! One learned metric: its scale and its process.

use crate::gp::{Belief, Effort, Process};
use crate::kernel::Kinds;

/// How a metric is shown to the process: mean zero, spread one, after a logarithm where that fits better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    logarithmic: bool,
    knee: Option<Knee>,
    mean: f64,
    sd: f64,
}

/// Beyond it, differences are shown on a logarithmic scale: a timeout of 10 s says no more about an SLO of 100 ms than
/// 300 ms do, but it would bend the whole surface.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Knee {
    at: f64,
    /// The size of differences that matter.
    unit: f64,
    /// `1.0` when large values are the bad ones, `-1.0` when small ones are.
    sign: f64,
}

/// What a constraint on one metric says about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limit {
    /// The value at which it breaks, the loosest over the configurations.
    pub(crate) value: f64,
    /// `1.0` when larger values break it, `-1.0` when smaller ones do.
    pub(crate) sign: f64,
}

/// One in this many of the values seen lies within the unit of a knee.
const KNEE_SHARE: usize = 2;

/// A metric with what was learned about it.
#[derive(Debug, Clone)]
pub(crate) struct Learned {
    pub(crate) scale: Scale,
    pub(crate) process: Process,
    /// Smallest and largest value seen, different from each other.
    pub(crate) seen: (f64, f64),
}

// === impl Scale ===

impl Scale {
    fn new(values: &[f64], logarithmic: bool, limit: Option<Limit>) -> Self {
        let base = Self {
            logarithmic,
            knee: None,
            mean: 0.0,
            sd: 1.0,
        };
        let plain: Vec<f64> = values.iter().map(|value| base.show(*value)).collect();
        let knee = limit.and_then(|limit| {
            let at = base.show(limit.value);
            Knee::new(&plain, at, limit.sign)
        });
        let shown: Vec<f64> = plain
            .iter()
            .map(|value| knee.map_or(*value, |knee| knee.bend(*value)))
            .collect();
        let count = shown.len().max(1) as f64;
        let mean = shown.iter().sum::<f64>() / count;
        let variance = shown
            .iter()
            .map(|value| (value - mean) * (value - mean))
            .sum::<f64>()
            / count;
        let sd = variance.sqrt();
        // A constant metric has no spread; one per cent of its size is as good a unit as any.
        let sd = if sd > 1e-12 * mean.abs().max(1e-300) && sd.is_finite() {
            sd
        } else {
            (0.01 * mean.abs()).max(1e-6)
        };
        Self {
            logarithmic,
            knee,
            mean,
            sd,
        }
    }

    /// A measured value as the process sees it; minus infinity for what a logarithmic metric cannot be.
    pub(crate) fn show(&self, value: f64) -> f64 {
        let value = match (self.logarithmic, value > 0.0) {
            (false, _) => value,
            (true, true) => value.ln(),
            (true, false) => return f64::NEG_INFINITY,
        };
        let value = self.knee.map_or(value, |knee| knee.bend(value));
        (value - self.mean) / self.sd
    }

    /// The value a place on the process's scale stands for.
    pub(crate) fn value(&self, shown: f64) -> f64 {
        let value = self.mean + self.sd * shown;
        let value = self.knee.map_or(value, |knee| knee.straighten(value));
        if self.logarithmic {
            value.clamp(-600.0, 600.0).exp()
        } else {
            value
        }
    }

    /// `-ln` of the factor between a density over values and one over shown values.
    fn jacobian(&self, values: &[f64]) -> f64 {
        let logs: f64 = if self.logarithmic {
            values.iter().map(|value| value.ln()).sum()
        } else {
            0.0
        };
        let bends: f64 = self.knee.map_or(0.0, |knee| {
            values
                .iter()
                .map(|value| knee.log_slope(if self.logarithmic { value.ln() } else { *value }))
                .sum()
        });
        logs + bends + values.len() as f64 * self.sd.ln()
    }
}

// === impl Knee ===

impl Knee {
    /// `None` when nothing lies far beyond the limit.
    fn new(values: &[f64], limit: f64, sign: f64) -> Option<Self> {
        if !limit.is_finite() {
            return None;
        }
        let mut distances: Vec<f64> = values.iter().map(|value| (value - limit).abs()).collect();
        distances.sort_by(f64::total_cmp);
        // Half of what is seen lies closer to the limit than this.
        let unit = *distances.get(distances.len() / KNEE_SHARE)?;
        let knee = Self {
            at: limit + sign * unit,
            unit,
            sign,
        };
        let far = values.iter().any(|value| knee.beyond(*value) > 2.0);
        (unit > 0.0 && unit.is_finite() && far).then_some(knee)
    }

    fn beyond(&self, value: f64) -> f64 {
        self.sign * (value - self.at) / self.unit
    }

    fn bend(&self, value: f64) -> f64 {
        let beyond = self.beyond(value);
        if beyond > 0.0 {
            self.at + self.sign * self.unit * beyond.ln_1p()
        } else {
            value
        }
    }

    fn straighten(&self, value: f64) -> f64 {
        let beyond = self.beyond(value);
        if beyond > 0.0 {
            self.at + self.sign * self.unit * beyond.min(300.0).exp_m1()
        } else {
            value
        }
    }

    /// `-ln` of the slope of [`Knee::bend`].
    fn log_slope(&self, value: f64) -> f64 {
        self.beyond(value).max(0.0).ln_1p()
    }
}

/// Smallest and largest value, moved apart when they are the same.
pub(crate) fn seen(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (
        low,
        if high > low {
            high
        } else {
            low + (0.1 * low.abs()).max(1e-3)
        },
    )
}

// === impl Learned ===

impl Learned {
    /// Fits `values` measured at `places`.
    pub(crate) fn fit(
        kinds: &Kinds,
        places: &[Vec<f64>],
        values: &[f64],
        limit: Option<Limit>,
        effort: Effort,
    ) -> Option<Self> {
        let fit = |logarithmic| {
            let scale = Scale::new(values, logarithmic, limit);
            let shown: Vec<f64> = values.iter().map(|value| scale.show(*value)).collect();
            Process::fit(kinds, places.to_vec(), &shown, effort).map(|process| (scale, process))
        };
        let linear = fit(false);
        let logarithmic = if values.iter().all(|value| *value > 0.0) {
            fit(true)
        } else {
            None
        };
        let (scale, process) = match (linear, logarithmic) {
            (Some(linear), Some(logarithmic)) => {
                let loss =
                    |(scale, process): &(Scale, Process)| process.loss + scale.jacobian(values);
                if loss(&logarithmic) < loss(&linear) {
                    logarithmic
                } else {
                    linear
                }
            }
            (linear, logarithmic) => linear.or(logarithmic)?,
        };
        Some(Self {
            scale,
            process,
            seen: seen(values),
        })
    }

    /// Belief after `more` further measurements with this mean would be known; only the spread is reduced.
    pub(crate) fn sharpened(&self, belief: Belief, more: f64) -> Belief {
        let noise = self.process.noise() / more;
        Belief {
            mean: belief.mean,
            variance: belief.variance * noise / (belief.variance + noise),
        }
    }

    /// Spread of the mean that `more` further measurements would lead to.
    pub(crate) fn surprise(&self, belief: Belief, more: f64) -> f64 {
        let noise = self.process.noise() / more;
        belief.variance / (belief.variance + noise).sqrt()
    }
}
