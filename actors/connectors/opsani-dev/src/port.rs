//! Ports of a service.

use std::{borrow::Cow, fmt, num::NonZeroU16};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

/// A port of a service. A text of digits alone is a number, too (`spec/kubernetes.md` §15.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServicePort {
    /// By number.
    Number(NonZeroU16),
    /// By name.
    Name(String),
}

const NUMBER: &str = "a number of a port is 1 to 65535";
const NAME: &str = "a name of a port is 1 to 63 lower-case letters, digits and hyphens";

/// The published form of both texts: digits that make a port, or a name.
const PATTERN: &str = "^(0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])\
                       |[0-9-]{0,62}[a-z-][0-9a-z-]{0,62})$";

fn number<E: de::Error>(number: u64) -> Result<ServicePort, E> {
    u16::try_from(number)
        .ok()
        .and_then(NonZeroU16::new)
        .map(ServicePort::Number)
        .ok_or_else(|| E::custom(format!("invalid port {number}: {NUMBER}")))
}

// === impl ServicePort ===

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.pad(name),
        }
    }
}

impl Serialize for ServicePort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u16(number.get()),
            Self::Name(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for ServicePort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PortVisitor;

        impl Visitor<'_> for PortVisitor {
            type Value = ServicePort;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("number or name of a port")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<ServicePort, E> {
                number(value)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<ServicePort, E> {
                match u64::try_from(value) {
                    Ok(value) => number(value),
                    Err(_) => Err(E::custom(format!("invalid port {value}: {NUMBER}"))),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ServicePort, E> {
                let digits = |byte: u8| byte.is_ascii_digit();
                let name = |byte: u8| byte.is_ascii_lowercase() || digits(byte) || byte == b'-';
                if !(1..=63).contains(&text.len()) || !text.bytes().all(name) {
                    Err(E::custom(format!("invalid port '{text}': {NAME}")))
                } else if !text.bytes().all(digits) {
                    Ok(ServicePort::Name(text.to_owned()))
                } else {
                    match text.parse() {
                        Ok(value) => number(value),
                        Err(_) => Err(E::custom(format!("invalid port {text}: {NUMBER}"))),
                    }
                }
            }
        }

        deserializer.deserialize_any(PortVisitor)
    }
}

impl JsonSchema for ServicePort {
    fn schema_name() -> Cow<'static, str> {
        "ServicePort".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": 65535,
            "pattern": PATTERN,
            "maxLength": 63,
            "x-strict": true,
            "examples": [80, "http"],
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_published_pattern_and_the_reader_agree() {
        let pattern = regex::Regex::new(PATTERN).unwrap();
        let texts = [
            "80",
            "0080",
            "65535",
            "65536",
            "99999",
            "0",
            "00",
            "8",
            "59999",
            "60000",
            "http",
            "h2-c",
            "8080-tcp",
            "-",
            "1a",
            "",
            " ",
            "Http",
            "a_b",
            "é",
            "184467440737095516160",
        ];
        let long = [
            "a".repeat(63),
            "a".repeat(64),
            format!("{}80", "0".repeat(61)),
            format!("{}80", "0".repeat(62)),
        ];
        for text in texts.into_iter().chain(long.iter().map(String::as_str)) {
            let read: Result<ServicePort, _> = serde_json::from_value(text.into());
            assert_eq!(
                pattern.is_match(text) && text.len() <= 63,
                read.is_ok(),
                "{text}"
            );
        }
    }
}
