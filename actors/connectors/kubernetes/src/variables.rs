//! Variables of a container's environment that are what the stanza says, whatever the optimizer does.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
};
use servo_dispatch::ConfigProblem;

/// Names and values of environment variables, in the order of the file: Kubernetes expands `$(NAME)` from variables that
/// stand before.
///
/// A value may be written as a number or a truth value; it is taken as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticVariables(Vec<(String, String)>);

struct Text(String);

// === impl StaticVariables ===

impl StaticVariables {
    /// Names with values, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names that no variable can have, with keys below `path`.
    pub fn problems(&self, path: &str) -> Vec<ConfigProblem> {
        self.iter()
            .filter(|(name, _)| !is_variable_name(name))
            .map(|(name, _)| {
                ConfigProblem::error(
                    format!("{path}.{name}"),
                    format!(
                        "'{name}' is not a name of an environment variable: expected printable ASCII characters \
                         except '='"
                    ),
                )
            })
            .collect()
    }
}

/// The rule of Kubernetes 1.30 and later; earlier releases allow less.
pub(crate) fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && byte != b'=')
}

impl Serialize for StaticVariables {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for StaticVariables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VariablesVisitor;

        impl<'de> Visitor<'de> for VariablesVisitor {
            type Value = StaticVariables;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping from names of variables to values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StaticVariables, A::Error> {
                let mut found = StaticVariables::default();
                while let Some((name, Text(value))) = map.next_entry::<String, Text>()? {
                    if found.0.iter().any(|(known, _)| *known == name) {
                        return Err(de::Error::custom(format!("duplicate variable '{name}'")));
                    }
                    found.0.push((name, value));
                }
                Ok(found)
            }
        }

        deserializer.deserialize_map(VariablesVisitor)
    }
}

impl JsonSchema for StaticVariables {
    fn schema_name() -> Cow<'static, str> {
        "StaticVariables".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "additionalProperties": {"type": ["string", "number", "boolean"]},
            "examples": [{"PROFILE": "tuning"}],
        })
    }
}

// === impl Text ===

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl Visitor<'_> for TextVisitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a truth value")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Text, E> {
                if value.is_finite() {
                    Ok(Text(format!("{value:?}")))
                } else {
                    Err(E::invalid_value(de::Unexpected::Float(value), &self))
                }
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}
