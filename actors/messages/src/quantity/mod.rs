//! Amounts of CPU and memory, as people and Kubernetes write them.
//!
//! Contract: `spec/kubernetes.md §2.1, §2.2`. Amounts are exact; a text that is finer than the smallest amount
//! (a nanocore, a byte) is rounded up, as Kubernetes does.
mod cores;
mod memory;

pub use cores::Cores;
pub use memory::Memory;

use crate::decimal::Decimal;

/// Why a text or number is no amount of CPU or memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text does not have the form of a quantity.
    #[error("invalid {what} quantity '{text}': expected {expected}")]
    Malformed {
        /// `CPU` or `memory`.
        what: &'static str,
        /// What was given.
        text: String,
        /// Examples of what is understood.
        expected: &'static str,
    },
    /// Below zero.
    #[error("invalid {what} quantity '{text}': it cannot be negative")]
    Negative {
        /// `CPU` or `memory`.
        what: &'static str,
        /// What was given.
        text: String,
    },
    /// More than can be held.
    #[error("invalid {what} quantity '{text}': too large")]
    TooLarge {
        /// `CPU` or `memory`.
        what: &'static str,
        /// What was given.
        text: String,
    },
}

#[derive(Clone, Copy)]
struct Kind {
    what: &'static str,
    expected: &'static str,
}

impl Kind {
    fn malformed(self, text: &str) -> QuantityError {
        QuantityError::Malformed {
            what: self.what,
            text: text.to_owned(),
            expected: self.expected,
        }
    }

    /// `ceil(number * multiplier / 10^shift)`.
    fn amount(
        self,
        text: &str,
        number: Decimal,
        multiplier: i128,
        shift: u32,
    ) -> Result<u64, QuantityError> {
        if number.is_negative() {
            return Err(QuantityError::Negative {
                what: self.what,
                text: text.to_owned(),
            });
        }
        number
            .scaled_ceil(multiplier, shift)
            .and_then(|amount| u64::try_from(amount).ok())
            .ok_or_else(|| QuantityError::TooLarge {
                what: self.what,
                text: text.to_owned(),
            })
    }

    fn decimal_of(self, value: f64) -> Result<Decimal, QuantityError> {
        Decimal::from_f64(value).ok_or_else(|| self.malformed(&value.to_string()))
    }
}

/// Divides `1.5Gi` into number and suffix. An `e` belongs to the number where digits follow: `1E3`, but `1E` is exa.
fn split(text: &str) -> (&str, &str) {
    let plain = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(plain);
    let exponent = rest
        .strip_prefix(['e', 'E'])
        .map(|digits| digits.strip_prefix(['+', '-']).unwrap_or(digits));
    match exponent {
        Some(digits) if digits.starts_with(|c: char| c.is_ascii_digit()) => {
            let after = digits.trim_start_matches(|c: char| c.is_ascii_digit());
            text.split_at(text.len() - after.len())
        }
        _ => (number, rest),
    }
}

/// The complete suffix table of a Kubernetes quantity, as `multiplier / 10^shift`.
fn kubernetes_suffix(suffix: &str) -> Option<(i128, u32)> {
    Some(match suffix {
        "n" => (1, 9),
        "u" => (1, 6),
        "m" => (1, 3),
        "" => (1, 0),
        "k" => (1_000, 0),
        "M" => (1_000_000, 0),
        "G" => (1_000_000_000, 0),
        "T" => (1_000_000_000_000, 0),
        "P" => (1_000_000_000_000_000, 0),
        "E" => (1_000_000_000_000_000_000, 0),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => return None,
    })
}
