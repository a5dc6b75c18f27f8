//! Exact decimal numbers, as far as the vocabulary needs them: the texts people write and the shortest text of a float.
//!
//! Quantities and step alignment are defined on the *printed* numbers (`spec/config-and-cli.md §6.4`): in binary
//! floating point 1.0 is no multiple of 0.1.

/// `mantissa / 10^scale`. Every operation answers `None` where the result cannot be held exactly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decimal {
    mantissa: i128,
    scale: u32,
}

const MAX_SCALE: u32 = 36;

impl Decimal {
    pub(crate) const fn from_int(value: i64) -> Decimal {
        Decimal {
            mantissa: value as i128,
            scale: 0,
        }
    }

    /// The shortest decimal text that reads back as this float, so that `0.1` is exactly one tenth.
    pub(crate) fn from_f64(value: f64) -> Option<Decimal> {
        if value.is_finite() {
            Decimal::parse(&format!("{value:e}"))
        } else {
            None
        }
    }

    /// `[+-]digits[.digits][e[+-]digits]`, at least one digit before the exponent.
    pub(crate) fn parse(text: &str) -> Option<Decimal> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, text.get(1..)?),
            b'+' => (false, text.get(1..)?),
            _ => (false, text),
        };
        let (digits, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut mantissa: i128 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return None;
            }
            mantissa = mantissa
                .checked_mul(10)?
                .checked_add(i128::from(byte - b'0'))?;
        }
        if mantissa == 0 {
            return Some(Decimal {
                mantissa: 0,
                scale: 0,
            });
        }
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        let decimal = if scale < 0 {
            let factor = 10_i128.checked_pow(scale.unsigned_abs())?;
            Decimal {
                mantissa: mantissa.checked_mul(factor)?,
                scale: 0,
            }
        } else {
            Decimal {
                mantissa,
                scale: scale.unsigned_abs(),
            }
            .normalised()
        };
        if decimal.scale > MAX_SCALE {
            return None;
        }
        Some(if negative {
            Decimal {
                mantissa: -decimal.mantissa,
                ..decimal
            }
        } else {
            decimal
        })
    }

    pub(crate) fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    pub(crate) fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    fn normalised(mut self) -> Decimal {
        while self.scale > 0 && self.mantissa % 10 == 0 {
            self.mantissa /= 10;
            self.scale -= 1;
        }
        self
    }

    fn rescaled(self, scale: u32) -> Option<i128> {
        self.mantissa
            .checked_mul(10_i128.checked_pow(scale.checked_sub(self.scale)?)?)
    }

    fn aligned(self, other: Decimal) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        Some((self.rescaled(scale)?, other.rescaled(scale)?, scale))
    }

    pub(crate) fn add(self, other: Decimal) -> Option<Decimal> {
        let (left, right, scale) = self.aligned(other)?;
        Some(
            Decimal {
                mantissa: left.checked_add(right)?,
                scale,
            }
            .normalised(),
        )
    }

    pub(crate) fn sub(self, other: Decimal) -> Option<Decimal> {
        self.add(Decimal {
            mantissa: other.mantissa.checked_neg()?,
            scale: other.scale,
        })
    }

    pub(crate) fn mul(self, other: Decimal) -> Option<Decimal> {
        let product = Decimal {
            mantissa: self.mantissa.checked_mul(other.mantissa)?,
            scale: self.scale.checked_add(other.scale)?,
        }
        .normalised();
        (product.scale <= MAX_SCALE).then_some(product)
    }

    /// The largest whole multiple of a positive `step` that is not above `self`, and whether it is `self`.
    pub(crate) fn floor_to(self, step: Decimal) -> Option<(Decimal, bool)> {
        let (value, unit, scale) = self.aligned(step)?;
        let rest = value.checked_rem_euclid(unit)?;
        Some((
            Decimal {
                mantissa: value.checked_sub(rest)?,
                scale,
            }
            .normalised(),
            rest == 0,
        ))
    }

    pub(crate) fn max(self, other: Decimal) -> Option<Decimal> {
        let (left, right, _) = self.aligned(other)?;
        Some(if left >= right { self } else { other })
    }

    /// `ceil(self * numerator / 10^shift)`.
    pub(crate) fn scaled_ceil(self, numerator: i128, shift: u32) -> Option<i128> {
        let divisor = 10_i128.checked_pow(self.scale.checked_add(shift)?)?;
        let product = self.mantissa.checked_mul(numerator)?;
        let floor = product.div_euclid(divisor);
        if product.rem_euclid(divisor) == 0 {
            Some(floor)
        } else {
            floor.checked_add(1)
        }
    }

    /// Digits without exponent and without trailing zeros: `2.5`, `-0.001`, `1000`.
    pub(crate) fn to_text(self) -> String {
        let Decimal { mantissa, scale } = self.normalised();
        let sign = if mantissa < 0 { "-" } else { "" };
        let digits = format!(
            "{:0width$}",
            mantissa.unsigned_abs(),
            width = scale as usize + 1
        );
        let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
        if fraction.is_empty() {
            format!("{sign}{whole}")
        } else {
            format!("{sign}{whole}.{fraction}")
        }
    }

    pub(crate) const fn new(mantissa: i128, scale: u32) -> Decimal {
        Decimal { mantissa, scale }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn texts() {
        for (text, printed) in [
            ("0", "0"),
            ("1.50", "1.5"),
            (".5", "0.5"),
            ("5.", "5"),
            ("-0.001", "-0.001"),
            ("1e3", "1000"),
            ("1.25E-2", "0.0125"),
            ("+7", "7"),
        ] {
            assert_eq!(Decimal::parse(text).unwrap().to_text(), printed, "{text}");
        }
        for text in [
            "",
            ".",
            "-",
            "e3",
            "1e",
            "1e999999999999",
            "1.2.3",
            "0x1",
            "1e300",
            "1e-300",
            "é",
        ] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn floats_are_their_shortest_text() {
        assert_eq!(Decimal::from_f64(0.1).unwrap().to_text(), "0.1");
        assert!(Decimal::from_f64(f64::NAN).is_none());
    }
}
