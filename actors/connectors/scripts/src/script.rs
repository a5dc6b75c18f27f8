//! One shell command.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use servo_messages::Duration;

/// A line for `/bin/sh -c`. In the file it is the line alone, or a mapping with `run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The line.
    pub run: String,
    /// How long it may take; none is no limit.
    pub timeout: Option<Duration>,
    /// What its failure means for the event.
    pub on_failure: ScriptFailure,
}

/// What the failure of a command means for the event that it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScriptFailure {
    /// The failure is logged and the event goes on.
    #[default]
    Ignore,
    /// The event fails.
    Fail,
    /// The event is cancelled. Only for commands under `before`.
    Cancel,
}

/// A shell command with a time limit, or whose failure matters.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ScriptFields {
    /// The line for the shell.
    run: String,
    /// The longest time that the command may take, in seconds or as a text such as `30s`. When it is over, the command
    /// and everything that it started are terminated. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Duration>,
    /// What a failure or a time-out means for the event. Default `ignore`.
    #[serde(default)]
    on_failure: ScriptFailure,
}

// === impl Script ===

impl From<ScriptFields> for Script {
    fn from(fields: ScriptFields) -> Self {
        let ScriptFields {
            run,
            timeout,
            on_failure,
        } = fields;
        Self {
            run,
            timeout,
            on_failure,
        }
    }
}

/// The line alone, where nothing else is said.
impl Serialize for Script {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            run,
            timeout,
            on_failure,
        } = self.clone();
        if timeout.is_none() && on_failure == ScriptFailure::default() {
            serializer.serialize_str(&run)
        } else {
            ScriptFields {
                run,
                timeout,
                on_failure,
            }
            .serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScriptVisitor;

        impl<'de> Visitor<'de> for ScriptVisitor {
            type Value = Script;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command, or a mapping with `run`")
            }

            fn visit_str<E: de::Error>(self, run: &str) -> Result<Script, E> {
                Ok(Script {
                    run: run.to_owned(),
                    timeout: None,
                    on_failure: ScriptFailure::default(),
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Script, A::Error> {
                ScriptFields::deserialize(MapAccessDeserializer::new(map)).map(Into::into)
            }
        }

        deserializer.deserialize_any(ScriptVisitor)
    }
}

impl JsonSchema for Script {
    fn schema_name() -> Cow<'static, str> {
        "Script".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A line for the shell, or a mapping that adds a time limit or says what a failure means",
            "examples": ["./warm-cache.sh", {"run": "./warm-cache.sh", "timeout": "30s", "on_failure": "fail"}],
            "anyOf": [{"type": "string"}, generator.subschema_for::<ScriptFields>()],
        })
    }
}
