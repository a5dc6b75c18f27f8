//! How a workload is adjusted (`spec/kubernetes.md` §3.3).

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
    ser::SerializeMap,
};

use crate::name::ContainerName;

/// How a workload is adjusted. In files a word, or a mapping with `type`; a mapping with `alias` alone is a canary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The workload itself.
    #[default]
    Default,
    /// One further pod, which takes its share of the traffic beside the unchanged workload.
    Canary {
        /// Name of the further pod's component; none is `<workload>/<container>-tuning`.
        alias: Option<ContainerName>,
    },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Default,
    Canary,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default, rename = "type", deserialize_with = "given")]
    word: Option<Word>,
    #[serde(default, deserialize_with = "given")]
    alias: Option<ContainerName>,
}

/// Null is no value, so that the mapping is what its schema says.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

// === impl Strategy ===

impl Strategy {
    /// Whether there is a further pod.
    pub const fn is_canary(&self) -> bool {
        matches!(self, Self::Canary { .. })
    }
}

impl From<Word> for Strategy {
    fn from(word: Word) -> Self {
        match word {
            Word::Default => Self::Default,
            Word::Canary => Self::Canary { alias: None },
        }
    }
}

impl Serialize for Strategy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Default => serializer.serialize_str("default"),
            Self::Canary { alias: None } => serializer.serialize_str("canary"),
            Self::Canary { alias: Some(alias) } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("type", "canary")?;
                map.serialize_entry("alias", alias)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Strategy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StrategyVisitor;

        impl<'de> Visitor<'de> for StrategyVisitor {
            type Value = Strategy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`default`, `canary`, or a mapping with `type`")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Strategy, E> {
                match word {
                    "default" => Ok(Word::Default.into()),
                    "canary" => Ok(Word::Canary.into()),
                    _ => Err(E::unknown_variant(word, &["default", "canary"])),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Strategy, A::Error> {
                let fields = Fields::deserialize(MapAccessDeserializer::new(map))?;
                match (fields.word, fields.alias) {
                    (Some(Word::Default), Some(_)) => Err(de::Error::custom(
                        "the default strategy has no `alias`: expected `type: canary`",
                    )),
                    (None, None) => Err(de::Error::missing_field("type")),
                    (Some(Word::Default), None) => Ok(Strategy::Default),
                    (Some(Word::Canary) | None, alias) => Ok(Strategy::Canary { alias }),
                }
            }
        }

        deserializer.deserialize_any(StrategyVisitor)
    }
}

impl JsonSchema for Strategy {
    fn schema_name() -> Cow<'static, str> {
        "Strategy".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut alias = generator.subschema_for::<ContainerName>();
        alias.insert(
            "description".to_owned(),
            "Name of the tuning pod's component. Default `<workload>/<container>-tuning`".into(),
        );
        json_schema!({
            "description": "How the workload is adjusted: `default` adjusts the workload itself, `canary` a further pod \
                            beside it, the tuning pod",
            "examples": ["default", "canary", {"type": "canary", "alias": "tuning"}],
            "anyOf": [
                {"type": "string", "enum": ["default", "canary"]},
                {
                    "type": "object",
                    "properties": {"type": {"const": "default"}},
                    "required": ["type"],
                    "additionalProperties": false,
                },
                {
                    "type": "object",
                    "properties": {"type": {"const": "canary"}, "alias": alias},
                    "required": ["type"],
                    "additionalProperties": false,
                },
                {
                    "type": "object",
                    "properties": {"alias": alias},
                    "required": ["alias"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}
