//! Amounts of memory: `spec/kubernetes.md §2.2`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::decimal::Decimal;
use crate::number::{Number, SettingValue};
use crate::quantity::{Kind, QuantityError, kubernetes_suffix, split};

const GIB: i128 = 1 << 30;

const MEMORY: Kind = Kind {
    what: "memory",
    expected: "an amount such as '512Mi', '1.5GiB', '2G', or '0.5' for GiB",
};

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

impl Serialize for Memory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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

impl JsonSchema for Memory {
    fn schema_name() -> Cow<'static, str> {
        "Memory".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number"],
            "description": "An amount of memory: a text such as 512Mi; an integer is bytes, a number with a point GiB",
            "examples": ["512Mi", "1.5GiB", 4.0],
            "pattern": r"^\s*(\+?(\d+\.?\d*|\.\d+)|-(0+\.?0*|\.0+))([eE][+-]?\d+)?\s*([kKmMgGtTpPeE][iI]?)?[bB]?\s*$",
            "minimum": 0,
        })
    }
}
