//! Amounts of CPU: `spec/kubernetes.md §2.1`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::decimal::Decimal;
use crate::number::{Number, SettingValue};
use crate::quantity::{Kind, QuantityError, kubernetes_suffix, split};

const NANOS: i128 = 1_000_000_000;

const CPU: Kind = Kind {
    what: "CPU",
    expected: "cores such as '250m', '1.5' or '2'",
};

/// An amount of CPU, exact to the nanocore.
///
/// Text: `250m`, `1500u`, `1.5`, `1e3`; a number is cores. Printed in cores from one on (`2.5`),
/// below it with the largest suffix that keeps it whole (`100m`, `1500u`).
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

impl Serialize for Cores {
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

impl JsonSchema for Cores {
    fn schema_name() -> Cow<'static, str> {
        "Cores".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number"],
            "description": "An amount of CPU: cores, or a text with the suffix m, u or n",
            "examples": ["250m", "1.5", 2],
            "pattern": r"^\s*(\+?(\d+\.?\d*|\.\d+)|-(0+\.?0*|\.0+))([eE][+-]?\d+)?[mun]?\s*$",
            "minimum": 0,
        })
    }
}
