//! The connector's stanza.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
};
use serde_json::Map;

use crate::script::Script;

/// Shell commands that run before, at and after events of the servo.
///
/// Each of `before`, `on` and `after` maps names of events to lists of commands. The commands of one list run one after
/// another, in the servo's environment and working directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = serde_json::json!({
    "before": {"measure": ["./warm-cache.sh", "echo starting"]},
    "after": {"adjust": ["curl -fsS http://hooks/notify"], "shutdown": ["./bye.sh"]},
}))]
pub struct ScriptsConfig {
    /// A remark for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Commands that run ahead of an event, by its name. No connector begins with the event until they have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<EventScripts>,
    /// Commands that run while the connectors handle an event, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<EventScripts>,
    /// Commands that run once all connectors have handled an event with success, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<EventScripts>,
}

/// Commands by event, in the order of the file, which is the order in which they are installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventScripts(Vec<(ScriptEvent, Vec<Script>)>);

macro_rules! events {
    ($($(#[doc = $doc:literal])+ $event:ident = $name:literal,)+) => {
        /// An event that commands can be bound to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ScriptEvent {
            $($(#[doc = $doc])+ $event,)+
        }

        impl ScriptEvent {
            /// All of them, in the order of the specification.
            pub const ALL: &'static [ScriptEvent] = &[$(ScriptEvent::$event,)+];

            /// Its name in the file.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ScriptEvent::$event => $name,)+
                }
            }

            const fn about(self) -> &'static str {
                match self {
                    $(ScriptEvent::$event => concat!($($doc),+),)+
                }
            }
        }
    };
}

events! {
    /// The servo has been assembled.
    Attach = "attach",
    /// The servo is given up.
    Detach = "detach",
    /// The optimizer knows the servo; its commands follow.
    Startup = "startup",
    /// The servo ends.
    Shutdown = "shutdown",
    /// Someone asks which metrics there are.
    Metrics = "metrics",
    /// Someone asks which components there are.
    Components = "components",
    /// The servo checks whether it can work.
    Check = "check",
    /// The optimizer asks what can be adjusted and measured.
    Describe = "describe",
    /// The optimizer orders a measurement.
    Measure = "measure",
    /// The optimizer orders an adjustment.
    Adjust = "adjust",
    /// The tuned configuration becomes that of the application.
    Promote = "promote",
}

// === impl EventScripts ===

impl EventScripts {
    /// The events with their commands, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (ScriptEvent, &[Script])> {
        self.0
            .iter()
            .map(|(event, scripts)| (*event, scripts.as_slice()))
    }
}

impl FromIterator<(ScriptEvent, Vec<Script>)> for EventScripts {
    /// Commands of an event that comes twice run one after another.
    fn from_iter<I: IntoIterator<Item = (ScriptEvent, Vec<Script>)>>(events: I) -> Self {
        let mut found = Self::default();
        for (event, scripts) in events {
            match found.0.iter_mut().find(|(known, _)| *known == event) {
                Some((_, known)) => known.extend(scripts),
                None => found.0.push((event, scripts)),
            }
        }
        found
    }
}

impl Serialize for EventScripts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for EventScripts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EventsVisitor;

        impl<'de> Visitor<'de> for EventsVisitor {
            type Value = EventScripts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping from events to lists of commands")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EventScripts, A::Error> {
                let mut found = EventScripts::default();
                while let Some((event, scripts)) = map.next_entry::<ScriptEvent, Vec<Script>>()? {
                    if found.0.iter().any(|(known, _)| *known == event) {
                        return Err(de::Error::duplicate_field(event.name()));
                    }
                    found.0.push((event, scripts));
                }
                Ok(found)
            }
        }

        deserializer.deserialize_map(EventsVisitor)
    }
}

impl JsonSchema for EventScripts {
    fn schema_name() -> Cow<'static, str> {
        "EventScripts".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let script = generator.subschema_for::<Script>();
        let properties: Map<_, _> = ScriptEvent::ALL
            .iter()
            .map(|event| {
                let schema = json_schema!({
                    "type": "array",
                    "items": script,
                    "description": format!("Commands for `{event}`. {}", event.about().trim()),
                });
                (event.name().to_owned(), schema.to_value())
            })
            .collect();
        json_schema!({
            "type": "object",
            "description": "Lists of commands, by event",
            "properties": properties,
            "additionalProperties": false,
        })
    }
}

// === impl ScriptEvent ===

impl fmt::Display for ScriptEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for ScriptEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for ScriptEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        ScriptEvent::ALL
            .iter()
            .find(|event| event.name() == name)
            .copied()
            .ok_or_else(|| {
                let names: Vec<&str> = ScriptEvent::ALL.iter().map(|event| event.name()).collect();
                de::Error::custom(format!(
                    "Invalid event {name}: expected one of {}",
                    names.join(", ")
                ))
            })
    }
}
