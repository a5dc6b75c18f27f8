//! Units of measure.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The unit of a metric.
///
/// Text that comes in may be the name (`requests_per_second`) or the wire text (`rps`); what goes out is always the
/// wire text. Four units share the empty wire text, so a `count` that travels comes back as [`Unit::Float`]; compare
/// with [`Unit::same_on_wire`] where that matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// A plain number.
    #[default]
    Float,
    /// A whole number.
    Int,
    /// How many.
    Count,
    /// How often, of unstated base.
    Rate,
    /// Parts of a hundred.
    Percentage,
    /// Milliseconds.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// 2^30 bytes.
    Gibibytes,
    /// CPU cores.
    Cores,
    /// Requests per minute.
    RequestsPerMinute,
    /// Requests per second.
    RequestsPerSecond,
}

impl Unit {
    /// Every unit, in the order of the specification.
    pub const ALL: [Unit; 11] = [
        Unit::Float,
        Unit::Int,
        Unit::Count,
        Unit::Rate,
        Unit::Percentage,
        Unit::Milliseconds,
        Unit::Bytes,
        Unit::Gibibytes,
        Unit::Cores,
        Unit::RequestsPerMinute,
        Unit::RequestsPerSecond,
    ];

    /// The name written in files: `requests_per_second`.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Float => "float",
            Unit::Int => "int",
            Unit::Count => "count",
            Unit::Rate => "rate",
            Unit::Percentage => "percentage",
            Unit::Milliseconds => "milliseconds",
            Unit::Bytes => "bytes",
            Unit::Gibibytes => "gibibytes",
            Unit::Cores => "cores",
            Unit::RequestsPerMinute => "requests_per_minute",
            Unit::RequestsPerSecond => "requests_per_second",
        }
    }

    /// The text on the wire: `rps`. Empty for `float`, `int`, `count` and `rate`.
    pub const fn symbol(self) -> &'static str {
        match self {
            Unit::Float | Unit::Int | Unit::Count | Unit::Rate => "",
            Unit::Percentage => "%",
            Unit::Milliseconds => "ms",
            Unit::Bytes => "bytes",
            Unit::Gibibytes => "GiB",
            Unit::Cores => "cores",
            Unit::RequestsPerMinute => "rpm",
            Unit::RequestsPerSecond => "rps",
        }
    }

    /// For listings: `count ()`, `requests_per_second (rps)`.
    pub fn label(self) -> String {
        format!("{} ({})", self.name(), self.symbol())
    }

    /// Whether an optimizer sees the same unit.
    pub fn same_on_wire(self, other: Unit) -> bool {
        self.symbol() == other.symbol()
    }
}

/// The wire text. For a listing such as `count ()` see [`Unit::label`].
impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.symbol())
    }
}

/// Text that is neither the name nor the wire text of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownUnit(pub String);

impl fmt::Display for UnknownUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |texts: Vec<&str>| {
            texts
                .iter()
                .map(|text| format!("'{text}'"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut symbols: Vec<&str> = Unit::ALL.iter().map(|unit| unit.symbol()).collect();
        symbols.dedup();
        write!(
            f,
            "unknown unit '{}': expected one of the names {} or of the texts {}",
            self.0,
            quoted(Unit::ALL.iter().map(|unit| unit.name()).collect()),
            quoted(symbols),
        )
    }
}

impl std::error::Error for UnknownUnit {}

impl FromStr for Unit {
    type Err = UnknownUnit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Unit::ALL
            .into_iter()
            .find(|unit| unit.name() == text || unit.symbol() == text)
            .ok_or_else(|| UnknownUnit(text.to_owned()))
    }
}

impl Serialize for Unit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.symbol())
    }
}

impl<'de> Deserialize<'de> for Unit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UnitVisitor;

        impl Visitor<'_> for UnitVisitor {
            type Value = Unit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a unit such as 'rps' or 'requests_per_second'")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Unit, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(UnitVisitor)
    }
}

impl JsonSchema for Unit {
    fn schema_name() -> Cow<'static, str> {
        "Unit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut texts: Vec<&str> = Unit::ALL.iter().map(|unit| unit.symbol()).collect();
        texts.dedup();
        for unit in Unit::ALL {
            if !texts.contains(&unit.name()) {
                texts.push(unit.name());
            }
        }
        json_schema!({ "type": "string", "description": "Unit of measure, by wire text or by name", "enum": texts })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_and_texts_of_the_table() {
        let table = [
            ("float", ""),
            ("int", ""),
            ("count", ""),
            ("rate", ""),
            ("percentage", "%"),
            ("milliseconds", "ms"),
            ("bytes", "bytes"),
            ("gibibytes", "GiB"),
            ("cores", "cores"),
            ("requests_per_minute", "rpm"),
            ("requests_per_second", "rps"),
        ];
        assert_eq!(table.len(), Unit::ALL.len());
        for (unit, (name, symbol)) in Unit::ALL.into_iter().zip(table) {
            assert_eq!((unit.name(), unit.symbol()), (name, symbol));
            assert_eq!(name.parse::<Unit>().unwrap(), unit);
            assert!(symbol.parse::<Unit>().unwrap().same_on_wire(unit));
            assert_eq!(serde_json::to_value(unit).unwrap(), symbol);
        }
        assert_eq!("".parse::<Unit>().unwrap(), Unit::Float);
    }

    #[test]
    fn unknown_unit_lists_both_columns() {
        let error = serde_json::from_str::<Unit>("\"threads\"")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(
            "unknown unit 'threads': expected one of the names 'float', 'int', 'count', 'rate', 'percentage', \
             'milliseconds', 'bytes', 'gibibytes', 'cores', 'requests_per_minute', 'requests_per_second' \
             or of the texts '', '%', 'ms', 'bytes', 'GiB', 'cores', 'rpm', 'rps'"
        ));
    }
}
