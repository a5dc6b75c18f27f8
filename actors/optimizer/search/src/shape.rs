//! How the problem's functions depend on what is learned, found by trying them.
//!
//! A cost that is a known function of the settings must not be learned, and an SLO on one metric has a closed form:
//! both are recognised here, so that a problem stays a plain function. Anything else is averaged over fixed draws.

/// How one function depends on the learned metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Shape {
    /// Not at all.
    Known,
    /// `a + b * output` at each point.
    Linear {
        /// The metric.
        output: usize,
        /// The sign of `b` when `a` and `b` are the same at every point.
        everywhere: Option<f64>,
    },
    /// In some other way.
    General,
}

/// Settings and metrics at which functions are tried.
pub(crate) struct Probes<'a> {
    pub(crate) points: Vec<&'a [f64]>,
    pub(crate) rows: Vec<&'a [f64]>,
    /// Smallest and largest value seen of each metric.
    pub(crate) seen: Vec<(f64, f64)>,
}

/// Intercept and slope of a function in one of its metrics.
pub(crate) fn line(
    function: &dyn Fn(&[f64]) -> f64,
    row: &mut [f64],
    output: usize,
    seen: (f64, f64),
) -> (f64, f64) {
    let kept = row[output];
    row[output] = seen.0;
    let low = function(row);
    row[output] = seen.1;
    let high = function(row);
    row[output] = kept;
    let slope = (high - low) / (seen.1 - seen.0);
    (low - slope * seen.0, slope)
}

impl Probes<'_> {
    pub(crate) fn shape(&self, function: &dyn Fn(&[f64], &[f64]) -> f64) -> Shape {
        let outputs = self.seen.len();
        let mut depends = vec![false; outputs];
        let mut linear = true;
        let mut lines: Vec<(f64, f64)> = Vec::new();
        for (point, row) in self.points.iter().zip(self.rows.iter().cycle()) {
            let at_point = |row: &[f64]| function(point, row);
            let mut row = row.to_vec();
            for output in 0..outputs {
                let (low, high) = self.seen[output];
                let (a, b) = line(&at_point, &mut row, output, (low, high));
                let kept = row[output];
                let reference = at_point(&row);
                let mut here = false;
                for share in [-0.4, 0.0, 0.13, 0.5, 0.81, 1.0, 1.7] {
                    row[output] = low + share * (high - low);
                    // A metric that was never negative is not tried there: `ln` or `sqrt` of it may be meant.
                    if low >= 0.0 && row[output] < 0.0 {
                        row[output] = 0.5 * low;
                    }
                    let value = at_point(&row);
                    if value != reference && !(value.is_nan() && reference.is_nan()) {
                        here = true;
                    }
                    let expected = a + b * row[output];
                    let size = value.abs().max(a.abs()).max((b * (high - low)).abs());
                    if (value - expected).abs() > 1e-9 * size || !value.is_finite() {
                        linear = false;
                    }
                }
                row[output] = kept;
                if here {
                    depends[output] = true;
                    lines.push((a, b));
                }
            }
        }
        let mut depending = (0..outputs).filter(|output| depends[*output]);
        match (depending.next(), depending.next()) {
            (None, _) => Shape::Known,
            (Some(output), None) if linear => Shape::Linear {
                output,
                everywhere: same(&lines, self.points.len()),
            },
            (Some(_), _) => Shape::General,
        }
    }
}

/// The sign of the slope when all lines are one.
fn same(lines: &[(f64, f64)], points: usize) -> Option<f64> {
    let (a, b) = *lines.first()?;
    let close = |x: f64, y: f64| {
        (x - y).abs() <= 1e-9 * (x.abs().max(y.abs())).max(a.abs().min(1.0) * 1e-3)
    };
    let all = lines.len() == points
        && lines
            .iter()
            .all(|(other_a, other_b)| close(a, *other_a) && close(b, *other_b));
    (all && b != 0.0).then_some(b.signum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(function: &dyn Fn(&[f64], &[f64]) -> f64) -> Shape {
        let points = [[1.0, 2.0], [2.0, 1.0], [0.5, 3.0]];
        let rows = [[10.0, 0.1], [20.0, 0.3], [15.0, 0.2]];
        let probes = Probes {
            points: points.iter().map(<[f64; 2]>::as_slice).collect(),
            rows: rows.iter().map(<[f64; 2]>::as_slice).collect(),
            seen: vec![(10.0, 20.0), (0.1, 0.3)],
        };
        probes.shape(function)
    }

    #[test]
    fn recognises_what_a_function_depends_on() {
        assert_eq!(shape(&|p, _| p[0] * 3.0 + p[1]), Shape::Known);
        assert_eq!(
            shape(&|_, y| y[0] - 12.5),
            Shape::Linear {
                output: 0,
                everywhere: Some(1.0)
            }
        );
        assert_eq!(
            shape(&|_, y| -y[1]),
            Shape::Linear {
                output: 1,
                everywhere: Some(-1.0)
            }
        );
        assert_eq!(
            shape(&|p, y| p[0] / 3.0 + y[1]),
            Shape::Linear {
                output: 1,
                everywhere: None
            }
        );
        assert_eq!(shape(&|_, y| y[0] * y[1]), Shape::General);
        assert_eq!(shape(&|_, y| y[0].max(14.0)), Shape::General);
        assert_eq!(shape(&|_, y| 1.0 / y[0]), Shape::General);
    }
}
