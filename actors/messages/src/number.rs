//! Numbers that remember how they were written, and the values a setting can take.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::decimal::Decimal;

/// A number that keeps its JSON type: `2` is an [`Int`](Number::Int), `2.0` a [`Float`](Number::Float).
///
/// Equality and order are numeric across the two. Reading refuses NaN and infinities; code that builds a `Float`
/// itself must hold to that, as they have no JSON form (they are written as null).
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// A whole number.
    Int(i64),
    /// A number with a fraction, possibly zero.
    Float(f64),
}

impl Number {
    /// As near as a float can say; exact up to 2^53.
    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(value) => value as f64,
            Number::Float(value) => value,
        }
    }

    /// The whole number, if it is one in value: `2` and `2.0`, not `2.5`.
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Number::Int(value) => Some(value),
            // -2^63 is a float exactly, and 2^63 is the first one past the end.
            Number::Float(value)
                if value.fract() == 0.0 && (-(2_f64.powi(63))..2_f64.powi(63)).contains(&value) =>
            {
                Some(value as i64)
            }
            Number::Float(_) => None,
        }
    }

    /// Whether it was written as a whole number.
    pub const fn is_int(self) -> bool {
        matches!(self, Number::Int(_))
    }

    /// Neither NaN nor infinite.
    pub fn is_finite(self) -> bool {
        match self {
            Number::Int(_) => true,
            Number::Float(value) => value.is_finite(),
        }
    }

    /// `int` or `float`.
    pub const fn type_name(self) -> &'static str {
        match self {
            Number::Int(_) => "int",
            Number::Float(_) => "float",
        }
    }

    pub(crate) fn decimal(self) -> Option<Decimal> {
        match self {
            Number::Int(value) => Some(Decimal::from_int(value)),
            Number::Float(value) => Decimal::from_f64(value),
        }
    }

    pub(crate) fn from_json(number: &serde_json::Number) -> Option<Number> {
        match number.as_i64() {
            Some(value) => Some(Number::Int(value)),
            None => number
                .as_f64()
                .filter(|value| value.is_finite())
                .map(Number::Float),
        }
    }

    pub(crate) fn to_json(self) -> Value {
        match self {
            Number::Int(value) => Value::from(value),
            Number::Float(value) => Value::from(value),
        }
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (*self, *other) {
            (Number::Int(left), Number::Int(right)) => Some(left.cmp(&right)),
            (Number::Float(left), Number::Float(right)) => left.partial_cmp(&right),
            (Number::Int(left), Number::Float(right)) => compare_mixed(left, right),
            (Number::Float(left), Number::Int(right)) => {
                compare_mixed(right, left).map(Ordering::reverse)
            }
        }
    }
}

/// Exact, also past 2^53 where turning the integer into a float would round it.
fn compare_mixed(int: i64, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    match Number::Float(float.floor()).as_i64() {
        Some(floor) if floor == int && float.fract() != 0.0 => Some(Ordering::Less),
        Some(floor) => Some(int.cmp(&floor)),
        None => Some(if float > 0.0 {
            Ordering::Less
        } else {
            Ordering::Greater
        }),
    }
}

/// `4`, `4.0`, `0.125`.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Int(value) => f.pad(&value.to_string()),
            Number::Float(value) => f.pad(&format!("{value:?}")),
        }
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Number::Int(value)
    }
}

impl From<i32> for Number {
    fn from(value: i32) -> Self {
        Number::Int(value.into())
    }
}

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        Number::Int(value.into())
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Number::Float(value)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Number::Int(value) => serializer.serialize_i64(value),
            Number::Float(value) => serializer.serialize_f64(value),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;

        impl Visitor<'_> for NumberVisitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number::Int(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Number, E> {
                Ok(i64::try_from(value).map_or(Number::Float(value as f64), Number::Int))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Number, E> {
                if value.is_finite() {
                    Ok(Number::Float(value))
                } else {
                    Err(E::custom(format!(
                        "invalid number {value}: it must be finite"
                    )))
                }
            }
        }

        deserializer.deserialize_any(NumberVisitor)
    }
}

impl JsonSchema for Number {
    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number" })
    }
}

/// A value that a setting has or is given: a number or a text. `"5"` and `5` differ; `5` and `5.0` do not.
#[derive(Clone, Debug, PartialEq)]
pub enum SettingValue {
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
}

impl SettingValue {
    /// The number, if it is one.
    pub const fn as_number(&self) -> Option<Number> {
        match self {
            SettingValue::Number(number) => Some(*number),
            SettingValue::Text(_) => None,
        }
    }

    /// The number as a float, if it is a number.
    pub fn as_f64(&self) -> Option<f64> {
        self.as_number().map(Number::as_f64)
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            SettingValue::Number(_) => None,
            SettingValue::Text(text) => Some(text),
        }
    }

    /// The value a person wrote on a command line: a decimal number is a number, everything else (quantities such as
    /// `250m`, `inf`, the empty text) stays text.
    pub fn from_typed(text: &str) -> SettingValue {
        let decimal_only = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
        if decimal_only {
            if let Ok(value) = text.parse::<i64>() {
                return Number::Int(value).into();
            }
            if let Ok(value) = text.parse::<f64>()
                && value.is_finite()
            {
                return Number::Float(value).into();
            }
        }
        SettingValue::Text(text.to_owned())
    }

    /// Numbers bare, texts in single quotes: the form used inside messages.
    pub(crate) fn quoted(&self) -> String {
        match self {
            SettingValue::Number(number) => number.to_string(),
            SettingValue::Text(text) => format!("'{text}'"),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        match self {
            SettingValue::Number(number) => number.to_json(),
            SettingValue::Text(text) => Value::from(text.as_str()),
        }
    }

    pub(crate) fn from_json(value: &Value) -> Option<SettingValue> {
        match value {
            Value::Number(number) => Number::from_json(number).map(SettingValue::Number),
            Value::String(text) => Some(SettingValue::Text(text.clone())),
            _ => None,
        }
    }
}

/// The number or the bare text.
impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingValue::Number(number) => number.fmt(f),
            SettingValue::Text(text) => f.pad(text),
        }
    }
}

impl From<Number> for SettingValue {
    fn from(number: Number) -> Self {
        SettingValue::Number(number)
    }
}

impl From<i64> for SettingValue {
    fn from(value: i64) -> Self {
        SettingValue::Number(value.into())
    }
}

impl From<f64> for SettingValue {
    fn from(value: f64) -> Self {
        SettingValue::Number(value.into())
    }
}

impl From<&str> for SettingValue {
    fn from(text: &str) -> Self {
        SettingValue::Text(text.to_owned())
    }
}

impl From<String> for SettingValue {
    fn from(text: String) -> Self {
        SettingValue::Text(text)
    }
}

impl Serialize for SettingValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            SettingValue::Number(number) => number.serialize(serializer),
            SettingValue::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for SettingValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;

        impl Visitor<'_> for ValueVisitor {
            type Value = SettingValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a string")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<SettingValue, E> {
                Ok(value.into())
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<SettingValue, E> {
                Ok(i64::try_from(value)
                    .map_or(Number::Float(value as f64), Number::Int)
                    .into())
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<SettingValue, E> {
                if value.is_finite() {
                    Ok(value.into())
                } else {
                    Err(E::custom(format!(
                        "invalid number {value}: it must be finite"
                    )))
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SettingValue, E> {
                Ok(text.into())
            }
        }

        deserializer.deserialize_any(ValueVisitor)
    }
}

impl JsonSchema for SettingValue {
    fn schema_name() -> Cow<'static, str> {
        "SettingValue".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["number", "string"] })
    }
}
