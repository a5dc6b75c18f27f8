//! Time limits of a request.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, IntoDeserializer as _, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

use crate::duration::Duration;

/// Time limits of a request. Configured as one duration for all four, or by key; what is left out or null keeps its
/// default, for there is no request without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Timeouts {
    /// To find the server, connect and agree on TLS. Default 10 s.
    pub connect: Duration,
    /// Longest silence while an answer is awaited or read. Default 60 s.
    pub read: Duration,
    /// To send the request. Default 30 s.
    pub write: Duration,
    /// To wait for a free connection. Default 30 s.
    pub pool: Duration,
}

impl Timeouts {
    /// The same limit for each part.
    pub const fn all(limit: Duration) -> Self {
        Self {
            connect: limit,
            read: limit,
            write: limit,
            pool: limit,
        }
    }

    /// A limit of zero, by key, under which no request can succeed.
    pub(super) fn problems(&self) -> impl Iterator<Item = (&'static str, String)> {
        let Self {
            connect,
            read,
            write,
            pool,
        } = *self;
        [
            ("connect", connect),
            ("read", read),
            ("write", write),
            ("pool", pool),
        ]
        .into_iter()
        .filter(|(_, limit)| limit.is_zero())
        .map(|(key, _)| (key, "a time limit must be longer than zero".to_owned()))
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            read: Duration::from_secs(60),
            write: Duration::from_secs(30),
            pool: Duration::from_secs(30),
        }
    }
}

/// Time limits of a request by key. What is left out or null keeps its default.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline, extend("minProperties" = 1))]
struct ByKey {
    /// To find the server, connect and agree on TLS.
    #[schemars(extend("default" = "10s"))]
    connect: Option<Duration>,
    /// Longest silence while an answer is awaited or read.
    #[schemars(extend("default" = "1m"))]
    read: Option<Duration>,
    /// To send the request.
    #[schemars(extend("default" = "30s"))]
    write: Option<Duration>,
    /// To wait for a free connection.
    #[schemars(extend("default" = "30s"))]
    pool: Option<Duration>,
}

impl<'de> Deserialize<'de> for Timeouts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeoutsVisitor;

        impl<'de> Visitor<'de> for TimeoutsVisitor {
            type Value = Timeouts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as '30s', or a mapping of connect, read, write and pool to durations")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Timeouts, E> {
                Ok(Timeouts::default())
            }

            fn visit_none<E: de::Error>(self) -> Result<Timeouts, E> {
                self.visit_unit()
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timeouts, E> {
                text.parse().map(Timeouts::all).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Timeouts, E> {
                Ok(Timeouts::all(Duration::from_secs(seconds)))
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Timeouts, E> {
                Duration::deserialize(seconds.into_deserializer()).map(Timeouts::all)
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Timeouts, E> {
                Duration::try_from_secs_f64(seconds)
                    .map(Timeouts::all)
                    .map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Timeouts, A::Error> {
                let ByKey {
                    connect,
                    read,
                    write,
                    pool,
                } = ByKey::deserialize(MapAccessDeserializer::new(NotEmpty { map, seen: false }))?;
                let default = Timeouts::default();
                Ok(Timeouts {
                    connect: connect.unwrap_or(default.connect),
                    read: read.unwrap_or(default.read),
                    write: write.unwrap_or(default.write),
                    pool: pool.unwrap_or(default.pool),
                })
            }
        }

        deserializer.deserialize_any(TimeoutsVisitor)
    }
}

/// Refuses a mapping without keys.
struct NotEmpty<A> {
    map: A,
    seen: bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for NotEmpty<A> {
    type Error = A::Error;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let key = self.map.next_key_seed(seed)?;
        if key.is_none() && !self.seen {
            return Err(de::Error::custom(
                "the mapping is empty: expected some of connect, read, write and pool",
            ));
        }
        self.seen = true;
        Ok(key)
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

impl JsonSchema for Timeouts {
    fn schema_name() -> Cow<'static, str> {
        "Timeouts".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (all, by_key) = (
            generator.subschema_for::<Duration>(),
            generator.subschema_for::<ByKey>(),
        );
        json_schema!({
            "description": "Time limits of a request: one duration for all four, or each by its key.",
            "anyOf": [all, by_key, {"type": "null"}],
        })
    }
}
