//! Which server certificates are trusted.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::truth;

/// Which server certificates are trusted. Written as true or null, false, or the path of a PEM file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum SslVerify {
    /// Those that the machine trusts.
    #[default]
    System,
    /// Any: somebody in between can read everything. Deserves a warning at every start.
    Off,
    /// Only those signed by the authorities in this file.
    Authorities(PathBuf),
}

impl SslVerify {
    pub(super) fn problem(&self) -> Option<String> {
        let Self::Authorities(path) = self else {
            return None;
        };
        let shown = path.display();
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => None,
            Ok(_) => Some(format!(
                "{shown} is no file: expected true, false, or the path of a file with CA certificates"
            )),
            Err(error) => Some(format!(
                "cannot find the file {shown} ({error}): expected true, false, or the path of a file with CA certificates"
            )),
        }
    }
}

impl Serialize for SslVerify {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::System => serializer.serialize_bool(true),
            Self::Off => serializer.serialize_bool(false),
            Self::Authorities(path) => path.serialize(serializer),
        }
    }
}

impl From<bool> for SslVerify {
    fn from(verify: bool) -> Self {
        if verify { Self::System } else { Self::Off }
    }
}

impl<'de> Deserialize<'de> for SslVerify {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VerifyVisitor;

        impl Visitor<'_> for VerifyVisitor {
            type Value = SslVerify;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or the path of a file with CA certificates")
            }

            fn visit_unit<E: de::Error>(self) -> Result<SslVerify, E> {
                Ok(SslVerify::System)
            }

            fn visit_none<E: de::Error>(self) -> Result<SslVerify, E> {
                Ok(SslVerify::System)
            }

            fn visit_bool<E: de::Error>(self, verify: bool) -> Result<SslVerify, E> {
                Ok(verify.into())
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<SslVerify, E> {
                truth::number(number)
                    .map(SslVerify::from)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<SslVerify, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
                }
            }

            /// A file called `no` is written `./no`.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<SslVerify, E> {
                match truth::word(text) {
                    Some(verify) => Ok(verify.into()),
                    None if text.trim().is_empty() => {
                        Err(E::invalid_value(de::Unexpected::Str(text), &self))
                    }
                    None => Ok(SslVerify::Authorities(text.into())),
                }
            }
        }

        deserializer.deserialize_any(VerifyVisitor)
    }
}

impl JsonSchema for SslVerify {
    fn schema_name() -> Cow<'static, str> {
        "SslVerify".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["boolean", "string", "integer", "null"],
            "pattern": r"\S",
            "minimum": 0,
            "maximum": 1,
            "examples": [true, "/etc/ssl/corp.pem"],
        })
    }
}
