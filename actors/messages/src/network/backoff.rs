//! How long and how often a failing request is tried again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use crate::duration::Duration;

/// Limits on the retries of one context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct BackoffLimits {
    /// Give up after this; none = no limit.
    pub max_time: Option<Duration>,
    /// Give up after so many attempts, the first included, never zero; none = no limit.
    pub max_tries: Option<u32>,
}

/// Limits on retries by context. Contexts that the configuration leaves out keep their defaults.
///
/// Of a context that is given, a key left out keeps its default: that of the same context where there is one, else
/// that of `__default__`. Null means no limit (`spec/optimizer-protocol.md` §11).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct BackoffConfig(BTreeMap<String, BackoffLimits>);

impl BackoffConfig {
    /// The context that holds where there is no other.
    pub const DEFAULT: &str = "__default__";
    /// The context of the first contact with an optimizer.
    pub const CONNECT: &str = "connect";

    const DEFAULT_LIMITS: BackoffLimits = BackoffLimits {
        max_time: Some(Duration::from_secs(600)),
        max_tries: None,
    };
    const CONNECT_LIMITS: BackoffLimits = BackoffLimits {
        max_time: Some(Duration::from_secs(3600)),
        max_tries: None,
    };

    /// The limits of `context`, or those of `__default__`.
    pub fn limits(&self, context: &str) -> BackoffLimits {
        let find = |context| self.0.get(context).copied();
        find(context)
            .or_else(|| find(Self::DEFAULT))
            .unwrap_or(Self::DEFAULT_LIMITS)
    }

    /// Every context with its limits.
    pub fn contexts(&self) -> impl Iterator<Item = (&str, BackoffLimits)> {
        self.0
            .iter()
            .map(|(context, limits)| (context.as_str(), *limits))
    }

    /// The same with other limits for `context`.
    #[must_use]
    pub fn with(mut self, context: impl Into<String>, limits: BackoffLimits) -> Self {
        self.0.insert(context.into(), limits);
        self
    }
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self(BTreeMap::from([
            (Self::DEFAULT.to_owned(), Self::DEFAULT_LIMITS),
            (Self::CONNECT.to_owned(), Self::CONNECT_LIMITS),
        ]))
    }
}

/// Limits on the retries of one context.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BackoffLimits")]
struct Given {
    /// Give up after this; null for no limit.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<Duration>", transform = without_default)]
    max_time: Option<Option<Duration>>,
    /// Give up after so many attempts; null for no limit.
    #[serde(default, deserialize_with = "tries")]
    #[schemars(with = "Option<u32>", range(min = 1, max = 4_294_967_295_u32), transform = without_default)]
    max_tries: Option<Option<u32>>,
}

/// A mapping of limits. Derived types would take a list of their fields' values as well.
struct Mapping(Given);

impl<'de> Deserialize<'de> for Mapping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyMapping;

        impl<'de> Visitor<'de> for OnlyMapping {
            type Value = Mapping;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping with max_time or max_tries")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Mapping, A::Error> {
                Given::deserialize(MapAccessDeserializer::new(map)).map(Mapping)
            }
        }

        deserializer.deserialize_map(OnlyMapping)
    }
}

/// Null is no default here: it lifts the limit.
fn without_default(schema: &mut Schema) {
    schema.remove("default");
}

/// The outer option tells absent from null.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Duration>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn tries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u32>>, D::Error> {
    let Some(tries) = Option::<i64>::deserialize(deserializer)? else {
        return Ok(Some(None));
    };
    match u32::try_from(tries) {
        Ok(tries) if tries > 0 => Ok(Some(Some(tries))),
        _ => Err(D::Error::custom(format!(
            "invalid number of attempts {tries}: it must be 1 or more, or null for no limit"
        ))),
    }
}

impl<'de> Deserialize<'de> for BackoffConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Option::<BTreeMap<String, Option<Mapping>>>::deserialize(deserializer)?;
        let mut merged = Self::default();
        let Some(mut given) = given else {
            return Ok(merged);
        };
        // The default goes first: what other contexts leave out comes from it.
        if let Some(Some(Mapping(first))) = given.remove(Self::DEFAULT) {
            merged = merged.given(Self::DEFAULT.to_owned(), first);
        }
        for (context, limits) in given {
            if let Some(Mapping(limits)) = limits {
                merged = merged.given(context, limits);
            }
        }
        Ok(merged)
    }
}

impl BackoffConfig {
    fn given(self, context: String, given: Given) -> Self {
        let present = self.limits(&context);
        let limits = BackoffLimits {
            max_time: given.max_time.unwrap_or(present.max_time),
            max_tries: given.max_tries.unwrap_or(present.max_tries),
        };
        self.with(context, limits)
    }
}

impl JsonSchema for BackoffConfig {
    fn schema_name() -> Cow<'static, str> {
        "BackoffConfig".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let limits = generator.subschema_for::<Option<Given>>();
        json_schema!({
            "type": ["object", "null"],
            "description": "Limits on retries by context. Contexts left out, and keys left out of a context, keep \
                            their defaults.",
            "additionalProperties": limits,
        })
    }
}
