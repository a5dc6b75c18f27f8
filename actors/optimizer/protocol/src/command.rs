//! What an optimizer asks for: commands, read by their `cmd` (`spec/optimizer-protocol.md` §6).

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use serde_json::{Map, Value, json};
use servo_messages::{
    Adjustment, Control, SignedDuration, adjustments_from_state, adjustments_to_state,
};

use crate::{
    Operation,
    envelope::{at, below, kind},
};

/// The optimizer's name for one command, echoed in every report on it.
///
/// Text on the wire; a number is accepted and echoed as text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct CommandUid(String);

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Its name, if the optimizer gave one.
    pub uid: Option<CommandUid>,
    /// What is to be done.
    pub kind: CommandKind,
}

/// What a command asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandKind {
    /// Say which components, settings and metrics there are.
    Describe {
        /// How to operate.
        control: Control,
    },
    /// Measure.
    Measure {
        /// The metrics' names in the optimizer's order; empty means all.
        metrics: Vec<String>,
        /// For how long, after which warm-up, with which delay.
        control: Control,
    },
    /// Change settings.
    Adjust {
        /// The changes, in document order.
        adjustments: Vec<Adjustment>,
        /// How to operate.
        control: Control,
    },
    /// Do nothing for a while; not answered by a report.
    Sleep(Sleep),
}

/// Why and how long to wait before the next WHATS_NEXT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sleep {
    /// How long; 120 s if the optimizer gave none.
    pub duration: Duration,
    /// `<status>: <reason>`, or one of them, or `unknown reason`.
    pub reason: String,
}

/// A command that cannot be carried out. What a servo answers depends on the kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A known command with unusable parameters; to be answered `failed` / `invalid-command`.
    #[error(transparent)]
    Invalid(InvalidCommand),
    /// A word outside the protocol. There is no event to answer on: wait, then ask again.
    #[error(
        "unknown command {cmd:?} (known: DESCRIBE, MEASURE, ADJUST, SLEEP); is the optimizer newer than this servo?"
    )]
    Unknown {
        /// The word.
        cmd: String,
        /// Its name, if the optimizer gave one.
        uid: Option<CommandUid>,
    },
}

/// A known command with unusable parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {operation} command: {message}")]
pub struct InvalidCommand {
    /// The command, and with it the event to answer on.
    pub operation: Operation,
    /// Its name, if the optimizer gave one.
    pub uid: Option<CommandUid>,
    /// The JSON path of the offence, and its cause.
    pub message: String,
}

impl InvalidCommand {
    /// The reason a servo gives when it answers such a command.
    pub const REASON: &str = "invalid-command";
}

// === impl CommandUid ===

impl CommandUid {
    /// A name from its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_value(value: Option<&Value>) -> Result<Option<Self>, String> {
        match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(Self(text.clone()))),
            Some(Value::Number(number)) => Ok(Some(Self(number.to_string()))),
            Some(other) => Err(format!(
                "`cmd_uid`: must be a string, a number or null, not {}",
                kind(other)
            )),
        }
    }
}

impl fmt::Display for CommandUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for CommandUid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_value(Some(&value))
            .map_err(de::Error::custom)?
            .ok_or_else(|| de::Error::custom("`cmd_uid`: null is no command uid"))
    }
}

// === impl Command ===

impl Command {
    /// A command without a name.
    pub fn new(kind: CommandKind) -> Self {
        Self { uid: None, kind }
    }

    /// The operation that this command starts; none for SLEEP.
    pub fn operation(&self) -> Option<Operation> {
        match self.kind {
            CommandKind::Describe { .. } => Some(Operation::Describe),
            CommandKind::Measure { .. } => Some(Operation::Measure),
            CommandKind::Adjust { .. } => Some(Operation::Adjust),
            CommandKind::Sleep(_) => None,
        }
    }

    /// Reads a command by its word; `param` is never guessed by shape (§6.5).
    pub(crate) fn from_fields(
        cmd: &str,
        fields: &Map<String, Value>,
    ) -> Result<Self, CommandError> {
        let uid = CommandUid::from_value(fields.get("cmd_uid"));
        let operation = match cmd {
            "DESCRIBE" => Operation::Describe,
            "MEASURE" => Operation::Measure,
            "ADJUST" => Operation::Adjust,
            "SLEEP" => {
                return Ok(Self {
                    uid: uid.ok().flatten(),
                    kind: CommandKind::Sleep(Sleep::from_param(fields.get("param"))),
                });
            }
            other => {
                return Err(CommandError::Unknown {
                    cmd: other.to_owned(),
                    uid: uid.ok().flatten(),
                });
            }
        };
        let invalid = |uid, message| {
            CommandError::Invalid(InvalidCommand {
                operation,
                uid,
                message,
            })
        };
        let uid = uid.map_err(|message| invalid(None, message))?;
        match CommandKind::from_param(operation, fields.get("param")) {
            Ok(kind) => Ok(Self { uid, kind }),
            Err(message) => Err(invalid(uid, message)),
        }
    }
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let (cmd, param) = self.kind.to_wire().map_err(serde::ser::Error::custom)?;
        map.serialize_entry("cmd", cmd)?;
        if let Some(uid) = &self.uid {
            map.serialize_entry("cmd_uid", uid)?;
        }
        map.serialize_entry("param", &param)?;
        map.end()
    }
}

// === impl CommandKind ===

impl CommandKind {
    fn from_param(operation: Operation, param: Option<&Value>) -> Result<Self, String> {
        let empty = Map::new();
        let param = match param {
            None | Some(Value::Null) => &empty,
            Some(Value::Object(fields)) => fields,
            Some(other) => {
                return Err(format!("`param`: must be an object, not {}", kind(other)));
            }
        };
        let control = || match param.get("control") {
            None | Some(Value::Null) => Ok(Control::default()),
            Some(value) => {
                serde_path_to_error::deserialize(value).map_err(|e| at("param.control", &e))
            }
        };
        Ok(match operation {
            Operation::Describe => Self::Describe {
                control: control()?,
            },
            Operation::Measure => Self::Measure {
                metrics: metric_names(param.get("metrics"))?,
                control: control()?,
            },
            Operation::Adjust => Self::Adjust {
                adjustments: adjustments_from_state(param.get("state").unwrap_or(&Value::Null))
                    .map_err(|error| below("param", &error))?,
                control: control()?,
            },
        })
    }

    /// The word and the parameter, in the shape that the peer's shape-guessing parser accepts too: MEASURE
    /// always with `metrics` and `control`, no null `control` (§6.5).
    fn to_wire(&self) -> Result<(&'static str, Value), serde_json::Error> {
        Ok(match self {
            Self::Describe { control } if *control == Control::default() => ("DESCRIBE", json!({})),
            Self::Describe { control } => {
                let control = serde_json::to_value(control)?;
                ("DESCRIBE", json!({ "control": control }))
            }
            Self::Measure { metrics, control } => {
                let control = serde_json::to_value(control)?;
                ("MEASURE", json!({ "metrics": metrics, "control": control }))
            }
            Self::Adjust {
                adjustments,
                control,
            } => {
                let control = serde_json::to_value(control)?;
                (
                    "ADJUST",
                    json!({ "state": adjustments_to_state(adjustments), "control": control }),
                )
            }
            Self::Sleep(sleep) => {
                let seconds = sleep.duration.as_secs_f64();
                let duration = if sleep.duration.subsec_nanos() == 0 {
                    json!(sleep.duration.as_secs())
                } else {
                    json!(seconds)
                };
                (
                    "SLEEP",
                    json!({ "duration": duration, "data": { "reason": sleep.reason } }),
                )
            }
        })
    }
}

fn metric_names(metrics: Option<&Value>) -> Result<Vec<String>, String> {
    match metrics {
        Some(Value::Object(metrics)) => Ok(metrics.keys().cloned().collect()),
        Some(Value::Array(names)) => names
            .iter()
            .enumerate()
            .map(|(i, name)| match name {
                Value::String(name) => Ok(name.clone()),
                other => Err(format!(
                    "`param.metrics[{i}]`: must be a metric's name, not {}",
                    kind(other)
                )),
            })
            .collect(),
        None => Err("`param.metrics`: missing; must be a list or an object of names".into()),
        Some(other) => Err(format!(
            "`param.metrics`: must be a list or an object of names, not {}",
            kind(other)
        )),
    }
}

// === impl Sleep ===

impl Sleep {
    /// How long to sleep if the optimizer does not say.
    pub const DEFAULT: Duration = Duration::from_secs(120);

    /// Reads the `param` of SLEEP. No report answers SLEEP, so nothing in it is an error: what cannot be
    /// read is the default, a negative duration is none (§6.4).
    fn from_param(param: Option<&Value>) -> Self {
        let duration = match param.and_then(|param| param.get("duration")) {
            None | Some(Value::Null) => Self::DEFAULT,
            Some(value) => match SignedDuration::deserialize(value) {
                Ok(duration) => servo_messages::Duration::try_from(duration)
                    .map_or(Duration::ZERO, Duration::from),
                Err(error) => {
                    tracing::warn!(%value, %error, "SLEEP with an unusable duration; sleeping {:?}", Self::DEFAULT);
                    Self::DEFAULT
                }
            },
        };
        let data = |key| {
            let text = param?.get("data")?.get(key)?;
            Some(match text {
                Value::Null => return None,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
        };
        let reason = match (data("status"), data("reason")) {
            (Some(status), Some(reason)) => format!("{status}: {reason}"),
            (Some(text), None) | (None, Some(text)) => text,
            (None, None) => "unknown reason".to_owned(),
        };
        Self { duration, reason }
    }
}
