//! Amounts of CPU and memory, as people and Kubernetes write them.
//!
//! Contract: `spec/kubernetes.md §2.1, §2.2`. Amounts are exact; a text that is finer than the smallest amount
//! (a nanocore, a byte) is rounded up, as Kubernetes does.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::decimal::Decimal;
use crate::number::{Number, SettingValue};

const NANOS: i128 = 1_000_000_000;
const GIB: i128 = 1 << 30;

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

const CPU: Kind = Kind {
    what: "CPU",
    expected: "cores such as '250m', '1.5' or '2'",
};
const MEMORY: Kind = Kind {
    what: "memory",
    expected: "an amount such as '512Mi', '1.5GiB', '2G', or '0.5' for GiB",
};

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

/// An amount of CPU, exact to the nanocore.
///
/// Text: `250m`, `1500u`, `1.5`, `1e3`; a number is cores. Printed with the suffix that keeps it above one: `100m`,
/// `2.5`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cores(u64);

impl Cores {
    /// From billionths of a core.
    pub const fn from_nanos(nanocores: u64) -> Cores {
        Cores(nanocores)
    }

    /// From thousandths of a core.
    pub const fn from_millis(millicores: u32) -> Cores {
        Cores(millicores as u64 * 1_000_000)
    }

    /// From cores, as on the wire.
    ///
    /// # Errors
    /// Negative, not finite, or too large.
    pub fn from_cores(cores: f64) -> Result<Cores, QuantityError> {
        CPU.amount(&cores.to_string(), CPU.decimal_of(cores)?, NANOS, 0)
            .map(Cores)
    }

    /// From the value of an adjustment: a number is cores, a text is read as such.
    ///
    /// # Errors
    /// No amount of CPU.
    pub fn from_setting_value(value: &SettingValue) -> Result<Cores, QuantityError> {
        match value {
            SettingValue::Number(number) => Cores::from_cores(number.as_f64()),
            SettingValue::Text(text) => text.parse(),
        }
    }

    /// Reads a quantity from a Kubernetes API answer, with the complete grammar (`1k`, `0.5Ki`, `129e6`).
    ///
    /// # Errors
    /// No quantity, negative, or too large.
    pub fn parse_kubernetes(text: &str) -> Result<Cores, QuantityError> {
        let (number, suffix) = split(text);
        let number = Decimal::parse(number).ok_or_else(|| CPU.malformed(text))?;
        let (multiplier, shift) = kubernetes_suffix(suffix).ok_or_else(|| CPU.malformed(text))?;
        let multiplier = multiplier
            .checked_mul(NANOS)
            .ok_or_else(|| QuantityError::TooLarge {
                what: CPU.what,
                text: text.to_owned(),
            })?;
        CPU.amount(text, number, multiplier, shift).map(Cores)
    }

    /// Billionths of a core.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Cores, as on the wire.
    pub fn as_cores(self) -> f64 {
        self.0 as f64 / NANOS as f64
    }

    /// Cores as a number for a setting.
    pub fn to_number(self) -> Number {
        Number::Float(self.as_cores())
    }
}

impl FromStr for Cores {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, suffix) = split(text.trim());
        let shift = match suffix {
            "" => 0,
            "m" => 3,
            "u" => 6,
            "n" => 9,
            _ => return Err(CPU.malformed(text)),
        };
        let number = Decimal::parse(number).ok_or_else(|| CPU.malformed(text))?;
        CPU.amount(text, number, NANOS, shift).map(Cores)
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scale, suffix) = match self.0 {
            0 => (9, ""),
            1..1_000 => (0, "n"),
            1_000..1_000_000 => (3, "u"),
            1_000_000..1_000_000_000 => (6, "m"),
            _ => (9, ""),
        };
        // 1500u, not 1.5m: the suffix goes down until the number is whole, so that every consumer can read it.
        let (scale, suffix) = match (scale, suffix) {
            (6, _) if !self.0.is_multiple_of(1_000_000) => (3, "u"),
            unchanged => unchanged,
        };
        let (scale, suffix) = match (scale, suffix) {
            (3, _) if !self.0.is_multiple_of(1_000) => (0, "n"),
            unchanged => unchanged,
        };
        f.pad(&format!(
            "{}{suffix}",
            Decimal::new(i128::from(self.0), scale).to_text()
        ))
    }
}

/// An amount of memory in whole bytes.
///
/// Text: `512Mi`, `512MiB`, `1.5 GiB`, `2G`, `100B`, in any case; digits alone are bytes, a number with a point is GiB.
/// In configuration an integer is bytes and a float GiB; on the wire every number is GiB
/// ([`Memory::from_setting_value`]). Printed as the shortest exact 1024-scaled decimal: `1.5Gi`, `768Mi`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Memory(u64);

impl Memory {
    /// From bytes.
    pub const fn from_bytes(bytes: u64) -> Memory {
        Memory(bytes)
    }

    /// From 2^20 bytes.
    pub const fn from_mib(mebibytes: u32) -> Memory {
        Memory((mebibytes as u64) << 20)
    }

    /// From GiB, as on the wire.
    ///
    /// # Errors
    /// Negative, not finite, or too large.
    pub fn from_gib(gibibytes: f64) -> Result<Memory, QuantityError> {
        MEMORY
            .amount(
                &gibibytes.to_string(),
                MEMORY.decimal_of(gibibytes)?,
                GIB,
                0,
            )
            .map(Memory)
    }

    /// From the value of an adjustment: a number, whole or not, is GiB; a text is read as such.
    ///
    /// # Errors
    /// No amount of memory.
    pub fn from_setting_value(value: &SettingValue) -> Result<Memory, QuantityError> {
        match value {
            SettingValue::Number(number) => Memory::from_gib(number.as_f64()),
            SettingValue::Text(text) => text.parse(),
        }
    }

    /// Reads a quantity from a Kubernetes API answer, with the complete grammar: `128m` is 0.128 bytes, `129e6` valid.
    ///
    /// # Errors
    /// No quantity, negative, or too large.
    pub fn parse_kubernetes(text: &str) -> Result<Memory, QuantityError> {
        let (number, suffix) = split(text);
        let number = Decimal::parse(number).ok_or_else(|| MEMORY.malformed(text))?;
        let (multiplier, shift) =
            kubernetes_suffix(suffix).ok_or_else(|| MEMORY.malformed(text))?;
        MEMORY.amount(text, number, multiplier, shift).map(Memory)
    }

    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// GiB, as on the wire.
    pub fn as_gib(self) -> f64 {
        self.0 as f64 / GIB as f64
    }

    /// GiB as a number for a setting.
    pub fn to_number(self) -> Number {
        Number::Float(self.as_gib())
    }

    /// One decimal, for people: `256.0Mi`, `4.0Gi`, `512.0B`.
    pub fn human(self) -> String {
        let (shift, suffix) = BINARY
            .into_iter()
            .find(|(shift, _)| self.0 >> shift > 0)
            .unwrap_or((0, ""));
        let suffix = if suffix.is_empty() { "B" } else { suffix };
        format!("{:.1}{suffix}", self.0 as f64 / (1_u64 << shift) as f64)
    }
}

const BINARY: [(u32, &str); 7] = [
    (60, "Ei"),
    (50, "Pi"),
    (40, "Ti"),
    (30, "Gi"),
    (20, "Mi"),
    (10, "Ki"),
    (0, ""),
];

impl FromStr for Memory {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let (digits, unit) = split(trimmed);
        let number = Decimal::parse(digits.trim_end()).ok_or_else(|| MEMORY.malformed(text))?;
        let unit = unit.trim_start().to_ascii_lowercase();
        let multiplier = match unit.strip_suffix('b').unwrap_or(&unit) {
            "" if unit.is_empty() && digits.contains('.') => GIB,
            "" => 1,
            "k" => 1_000,
            "m" => 1_000_000,
            "g" => 1_000_000_000,
            "t" => 1_000_000_000_000,
            "p" => 1_000_000_000_000_000,
            "e" => 1_000_000_000_000_000_000,
            "ki" => 1 << 10,
            "mi" => 1 << 20,
            "gi" => 1 << 30,
            "ti" => 1 << 40,
            "pi" => 1 << 50,
            "ei" => 1 << 60,
            _ => return Err(MEMORY.malformed(text)),
        };
        MEMORY.amount(text, number, multiplier, 0).map(Memory)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, suffix) in BINARY {
            let unit = 1_u64 << shift;
            // Four decimals say 1.0625Gi; beyond that the next smaller unit reads better and stays exact.
            let ten_thousandths = i128::from(self.0) * 10_000;
            if self.0 >= unit && ten_thousandths % i128::from(unit) == 0 {
                let text = Decimal::new(ten_thousandths / i128::from(unit), 4).to_text();
                return f.pad(&format!("{text}{suffix}"));
            }
        }
        f.pad("0")
    }
}

impl Serialize for Cores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Memory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CoresVisitor;

        impl Visitor<'_> for CoresVisitor {
            type Value = Cores;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(CPU.expected)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Cores, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, cores: u64) -> Result<Cores, E> {
                Cores::from_cores(cores as f64).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, cores: i64) -> Result<Cores, E> {
                Cores::from_cores(cores as f64).map_err(E::custom)
            }

            fn visit_f64<E: de::Error>(self, cores: f64) -> Result<Cores, E> {
                Cores::from_cores(cores).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(CoresVisitor)
    }
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MemoryVisitor;

        impl Visitor<'_> for MemoryVisitor {
            type Value = Memory;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(MEMORY.expected)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Memory, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Memory, E> {
                Ok(Memory::from_bytes(bytes))
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Memory, E> {
                u64::try_from(bytes).map(Memory::from_bytes).map_err(|_| {
                    E::custom(QuantityError::Negative {
                        what: MEMORY.what,
                        text: bytes.to_string(),
                    })
                })
            }

            fn visit_f64<E: de::Error>(self, gibibytes: f64) -> Result<Memory, E> {
                Memory::from_gib(gibibytes).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(MemoryVisitor)
    }
}

impl JsonSchema for Cores {
    fn schema_name() -> Cow<'static, str> {
        "Cores".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number"],
            "description": "An amount of CPU: cores, or a text with the suffix m, u or n",
            "examples": ["250m", "1.5", 2],
        })
    }
}

impl JsonSchema for Memory {
    fn schema_name() -> Cow<'static, str> {
        "Memory".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number"],
            "description": "An amount of memory: a text such as 512Mi; an integer is bytes, a number with a point GiB",
            "examples": ["512Mi", "1.5GiB", 4.0],
        })
    }
}
