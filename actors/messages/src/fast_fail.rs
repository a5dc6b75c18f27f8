//! Watch over service levels during a measurement: the `fast_fail` mapping of measuring connectors.
//!
//! Contract: `spec/config-and-cli.md` §2.6, `spec/metrics-and-load.md` §2.1.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::duration::Duration;
use crate::truth;

/// Watch over service levels during a measurement, to end one early that fails anyway.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FastFailConfig {
    /// Whether the watch is switched off: 0 or 1, or false or true.
    #[serde(deserialize_with = "truth", serialize_with = "zero_or_one")]
    #[schemars(schema_with = "truth_schema")]
    pub disabled: bool,
    /// Time between two checks of the metrics that service levels are about.
    pub period: Duration,
    /// How far each check looks back. Default: as far as `period`.
    pub span: Option<Duration>,
    /// No check before this time has passed.
    pub skip: Duration,
    /// Whether a value of exactly zero counts as missing.
    pub treat_zero_as_missing: bool,
}

impl FastFailConfig {
    /// How far each check looks back.
    pub fn span(&self) -> Duration {
        self.span.unwrap_or(self.period)
    }

    /// What is wrong although every value has the right form: the key, and what to do.
    pub fn problems(&self) -> Vec<(String, String)> {
        [("period", self.period), ("span", self.span())]
            .into_iter()
            .filter(|(key, duration)| {
                duration.is_zero() && (*key == "period" || self.span.is_some())
            })
            .map(|(key, _)| (key.to_owned(), "must be longer than zero".to_owned()))
            .collect()
    }
}

impl Default for FastFailConfig {
    fn default() -> Self {
        Self {
            disabled: false,
            period: Duration::from_secs(60),
            span: None,
            skip: Duration::ZERO,
            treat_zero_as_missing: false,
        }
    }
}

fn zero_or_one<S: Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*value))
}

fn truth_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": ["integer", "boolean"], "minimum": 0, "maximum": 1})
}

fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct TruthVisitor;

    impl Visitor<'_> for TruthVisitor {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("0, 1, false or true")
        }

        fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<bool, E> {
            truth::number(number)
                .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<bool, E> {
            match u64::try_from(number) {
                Ok(number) => self.visit_u64(number),
                Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
            }
        }
    }

    deserializer.deserialize_any(TruthVisitor)
}
