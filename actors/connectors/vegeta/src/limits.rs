//! Limits whose written form has a special number in it.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::scalar;

/// `max_body`: a number of bytes, -1 for all, or a size such as `10 MB` (a KB is 1024 bytes).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaxBody(Option<u64>);

/// `redirects`: how many are followed, -1 for none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirects(Option<u32>);

// === impl MaxBody ===

impl Serialize for MaxBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_i64(-1),
            Some(bytes) => serializer.serialize_u64(bytes),
        }
    }
}

impl<'de> Deserialize<'de> for MaxBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MaxBodyVisitor;

        fn refused<E: de::Error>() -> E {
            E::custom(
                "max_body must be -1 (everything), a number of bytes, or a size such as \"10 MB\"",
            )
        }

        impl de::Visitor<'_> for MaxBodyVisitor {
            type Value = MaxBody;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("-1, a number of bytes, or a size such as \"10 MB\"")
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<MaxBody, E> {
                MaxBody::from_number(bytes).ok_or_else(refused)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<MaxBody, E> {
                i64::try_from(bytes)
                    .map_err(|_| refused())
                    .and_then(|bytes| self.visit_i64(bytes))
            }

            fn visit_f64<E: de::Error>(self, bytes: f64) -> Result<MaxBody, E> {
                scalar::whole(bytes)
                    .ok_or_else(refused)
                    .and_then(|bytes| self.visit_i64(bytes))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<MaxBody, E> {
                match text.trim().parse() {
                    Ok(bytes) => self.visit_i64(bytes),
                    Err(_) => parse_size(text)
                        .map(|size| MaxBody(Some(size)))
                        .ok_or_else(refused),
                }
            }
        }

        deserializer.deserialize_any(MaxBodyVisitor)
    }
}

impl MaxBody {
    /// The number of bytes; `None` is all.
    #[must_use]
    pub fn bytes(self) -> Option<u64> {
        self.0
    }

    fn from_number(bytes: i64) -> Option<Self> {
        if bytes == -1 {
            Some(Self(None))
        } else {
            u64::try_from(bytes).ok().map(|bytes| Self(Some(bytes)))
        }
    }
}

/// `10 MB`, `1gb`, `512 b`; whole numbers, powers of 1024, any case.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let power = match unit.trim() {
        "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return None,
    };
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(1024_u64.checked_pow(power)?)
}

impl JsonSchema for MaxBody {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "MaxBody".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "format": "int64",
            "minimum": -1,
            "examples": [-1, 1024, "10 MB", "1gb"],
        })
    }
}

// === impl Redirects ===

impl Redirects {
    /// The most redirects to follow; `None` is not to follow any.
    #[must_use]
    pub fn most(self) -> Option<u32> {
        self.0
    }
}

impl Default for Redirects {
    fn default() -> Self {
        Self(Some(10))
    }
}

impl Serialize for Redirects {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0.map_or(-1, i64::from))
    }
}

impl<'de> Deserialize<'de> for Redirects {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match scalar::integer::<D, i64>(deserializer)? {
            -1 => Ok(Self(None)),
            most => u32::try_from(most)
                .map(|most| Self(Some(most)))
                .map_err(|_| {
                    de::Error::custom("redirects must be -1 (not followed) or the most to follow")
                }),
        }
    }
}

impl JsonSchema for Redirects {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Redirects".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": -1, "maximum": u32::MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, size) in [
            ("10 MB", Some(10 << 20)),
            ("1gb", Some(1 << 30)),
            ("5b", Some(5)),
            ("x", None),
            ("1.5kb", None),
            ("99999999tb", None),
        ] {
            assert_eq!(parse_size(text), size, "{text}");
        }
    }
}
