//! Text of the configuration that is never printed.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text of the configuration that is never printed: shown or written, it is a row of asterisks.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// What stands in place of a secret wherever configuration is shown.
    pub const MASK: &str = "**********";

    /// The text itself, for the request that needs it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether there is nothing but blanks in it.
    pub fn is_blank(&self) -> bool {
        self.expose().trim().is_empty()
    }

    /// In the form other code keeps secrets in.
    pub fn into_inner(self) -> SecretString {
        self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<SecretString> for Secret {
    fn from(secret: SecretString) -> Self {
        Self(secret)
    }
}

impl From<Secret> for SecretString {
    fn from(secret: Secret) -> Self {
        secret.0
    }
}

/// Two configurations are compared on reload; nobody from outside takes the time of that.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Self::MASK)
    }
}

/// A password may be written as a whole number. No error quotes what was given.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecretVisitor;

        impl SecretVisitor {
            fn refuse<E: de::Error>(found: &str) -> Result<Secret, E> {
                Err(E::custom(format!("expected a text, found {found}")))
            }
        }

        impl<'de> Visitor<'de> for SecretVisitor {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(text.into())
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Secret, E> {
                Ok(number.to_string().into())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Secret, E> {
                Ok(number.to_string().into())
            }

            // How the number was written (1.0, 1.00, 1e0) is lost by now.
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
                Err(E::custom(
                    "expected a text: put quotation marks around the number",
                ))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Secret, E> {
                Self::refuse("a boolean: put quotation marks around it")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Secret, E> {
                Self::refuse("null")
            }
        }

        deserializer.deserialize_any(SecretVisitor)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "password", "writeOnly": true})
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_secret_is_read_from_text_or_number_and_never_written() {
        for (json, text) in [("\"hush\"", "hush"), ("123", "123"), ("-5", "-5")] {
            let secret: Secret = serde_json::from_str(json).unwrap();
            assert_eq!(secret.expose(), text);
            let shown = format!(
                "{secret} {secret:?} {}",
                serde_json::to_string(&secret).unwrap()
            );
            assert_eq!(shown, "********** ********** \"**********\"");
        }
        for json in ["1.25", "true", "null", "[31337]", "{\"hush\": 1}"] {
            let error = serde_json::from_str::<Secret>(json)
                .unwrap_err()
                .to_string();
            for leak in ["1.25", "hush", "31337", "true"] {
                assert!(!error.contains(leak), "{error}");
            }
        }
    }
}
