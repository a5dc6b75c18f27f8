//! Readers for the ways in which people write the same thing in YAML.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Something with a name, which stands in it or is its key in a map.
pub(crate) trait Named {
    fn name_mut(&mut self) -> &mut String;
}

/// A list of things with names, or a map from name to thing; the order is kept.
pub(crate) fn named<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Named + Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct NamedVisitor<T>(PhantomData<T>);

    impl<'de, T: Named + Deserialize<'de>> Visitor<'de> for NamedVisitor<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list, or a map from names")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut found = Vec::new();
            while let Some(item) = items.next_element()? {
                found.push(item);
            }
            Ok(found)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
            let mut found = Vec::new();
            while let Some(key) = entries.next_key::<String>()? {
                let mut item: T = entries.next_value()?;
                let name = item.name_mut();
                if !name.is_empty() && *name != key {
                    return Err(de::Error::custom(format!(
                        "`name: {name}` contradicts the key `{key}`: remove one of the two"
                    )));
                }
                *name = key;
                found.push(item);
            }
            Ok(found)
        }
    }

    deserializer.deserialize_any(NamedVisitor(PhantomData))
}

pub(crate) fn named_schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let item = generator.subschema_for::<T>();
    json_schema!({ "anyOf": [
        { "type": "array", "items": item },
        { "type": "object", "additionalProperties": item },
    ] })
}

/// A text; numbers and truth values are taken as written.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl Visitor<'_> for TextVisitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
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
                    Ok(Text(value.to_string()))
                } else {
                    Err(E::invalid_value(de::Unexpected::Float(value), &self))
                }
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}

fn text_schema() -> Schema {
    json_schema!({ "type": ["string", "number", "boolean"] })
}

pub(crate) fn texts_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": text_schema() })
}

pub(crate) fn text_map_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": text_schema() })
}

/// A list of texts.
pub(crate) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts: Vec<Text> = Deserialize::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|text| text.0).collect())
}

/// A map from text to text.
pub(crate) fn text_map<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let texts: BTreeMap<String, Text> = Deserialize::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|(key, text)| (key, text.0)).collect())
}
