//! What a servo says: the request envelope and its events (`spec/optimizer-protocol.md` §4, §5, §9).

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeStruct};
use serde_json::Value;
use servo_messages::WireError;

use crate::{CommandUid, Completion};

/// The word on the wire that says what a request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventName {
    /// The servo starts.
    Hello,
    /// The servo asks for a command.
    WhatsNext,
    /// Progress of, or answer to, DESCRIBE.
    Description,
    /// Progress of, or answer to, MEASURE.
    Measurement,
    /// Progress of, or answer to, ADJUST.
    Adjustment,
    /// The servo stops.
    Goodbye,
}

impl EventName {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hello => "HELLO",
            Self::WhatsNext => "WHATS_NEXT",
            Self::Description => "DESCRIPTION",
            Self::Measurement => "MEASUREMENT",
            Self::Adjustment => "ADJUSTMENT",
            Self::Goodbye => "GOODBYE",
        }
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A command that is answered by a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// DESCRIBE, answered by DESCRIPTION.
    Describe,
    /// MEASURE, answered by MEASUREMENT.
    Measure,
    /// ADJUST, answered by ADJUSTMENT.
    Adjust,
}

impl Operation {
    /// The event on which progress and completion of this operation travel.
    pub fn event(self) -> EventName {
        match self {
            Self::Describe => EventName::Description,
            Self::Measure => EventName::Measurement,
            Self::Adjust => EventName::Adjustment,
        }
    }

    /// The command's word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Describe => "DESCRIBE",
            Self::Measure => "MEASURE",
            Self::Adjust => "ADJUST",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One message from a servo to its optimizer.
///
/// On the wire `{"event": ..., "param": ..., "servo_uid": ...}`, always with all three keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What the servo says.
    pub event: Event,
    /// Which deployment of the servo speaks; null on the wire if none is configured.
    pub servo_uid: Option<String>,
}

/// An event and its parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The servo starts.
    Hello(Hello),
    /// The servo asks for a command.
    WhatsNext,
    /// Progress of, or answer to, a command.
    Report(Operation, Report),
    /// The servo stops.
    Goodbye(Goodbye),
}

impl Event {
    /// The word on the wire.
    pub fn name(&self) -> EventName {
        match self {
            Self::Hello(_) => EventName::Hello,
            Self::WhatsNext => EventName::WhatsNext,
            Self::Report(operation, _) => operation.event(),
            Self::Goodbye(_) => EventName::Goodbye,
        }
    }
}

/// Who the servo is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// `<product id> v<semver>`, equal to the `User-Agent` header. Empty if an older servo sent none.
    pub agent: String,
    /// Facts about the servo and its connectors; a map of text to text.
    pub telemetry: BTreeMap<String, String>,
}

/// Why the servo stops.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Goodbye {
    /// A signal's name, `shutdown`, `restarting`, `reconfigured`, `unknown`, ... (§5).
    pub reason: String,
}

/// What a servo reports on a command. Told apart on the wire by the key `progress` or `status`.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// The command is still running.
    Progress(Progress),
    /// The command is over.
    Completion(Completion),
}

impl Report {
    /// The uid of the command that is reported on.
    pub fn cmd_uid(&self) -> Option<&CommandUid> {
        match self {
            Self::Progress(progress) => progress.cmd_uid.as_ref(),
            Self::Completion(completion) => completion.cmd_uid.as_ref(),
        }
    }

    /// Reads the `param` of a report on `operation`.
    ///
    /// # Errors
    ///
    /// Neither key is there, or what stands beside it does not fit; the message names the JSON path.
    fn from_param(operation: Operation, param: Value) -> Result<Self, String> {
        let Value::Object(fields) = &param else {
            return Err(format!(
                "`param`: a report must be an object, not {}",
                kind(&param)
            ));
        };
        if fields.contains_key("progress") {
            serde_path_to_error::deserialize(&param)
                .map(Self::Progress)
                .map_err(|e| at("param", &e))
        } else if fields.contains_key("status") {
            Completion::from_param(operation, param).map(Self::Completion)
        } else {
            Err("`param`: a report must hold the key `progress` or `status`".into())
        }
    }
}

/// How far a command has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Percent, 0 to 100.
    pub progress: f64,
    /// Seconds since the command began.
    #[serde(default)]
    pub runtime: f64,
    /// The command in progress.
    #[serde(default)]
    pub cmd_uid: Option<CommandUid>,
    /// A single line of text, without time or level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The JSON path of an error below `root`, and its cause.
pub(crate) fn at(root: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    match error.path().to_string().as_str() {
        "." => format!("`{root}`: {}", error.inner()),
        path => format!("`{root}.{path}`: {}", error.inner()),
    }
}

/// A wire error's JSON path below `root`, and its cause.
pub(crate) fn below(root: &str, error: &WireError) -> String {
    format!("`{root}.{}`: {}", error.path, error.problem)
}

/// What a JSON value is, for messages.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

// === impl Request ===

impl Serialize for Request {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut envelope = serializer.serialize_struct("Request", 3)?;
        envelope.serialize_field("event", &self.event.name())?;
        match &self.event {
            // The connectivity check says HELLO about nobody (§15).
            Event::Hello(hello) if *hello == Hello::default() => {
                envelope.serialize_field("param", &())?;
            }
            Event::Hello(hello) => envelope.serialize_field("param", hello)?,
            Event::WhatsNext => envelope.serialize_field("param", &())?,
            Event::Report(_, Report::Progress(progress)) => {
                envelope.serialize_field("param", progress)?;
            }
            Event::Report(_, Report::Completion(completion)) => {
                envelope.serialize_field("param", completion)?;
            }
            Event::Goodbye(goodbye) => envelope.serialize_field("param", goodbye)?,
        }
        envelope.serialize_field("servo_uid", &self.servo_uid)?;
        envelope.end()
    }
}

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// `param` and `servo_uid` may be missing: older servos leave them out (§21).
        #[derive(Deserialize)]
        struct Envelope {
            event: EventName,
            #[serde(default)]
            param: Value,
            #[serde(default)]
            servo_uid: Option<String>,
        }
        let Envelope {
            event,
            param,
            servo_uid,
        } = Envelope::deserialize(deserializer)?;
        let report = |operation, param| {
            Report::from_param(operation, param).map(|report| Event::Report(operation, report))
        };
        let event = match event {
            // The peer's connectivity check says HELLO with a null param (§15).
            EventName::Hello => or_default(&param).map(Event::Hello),
            EventName::WhatsNext => Ok(Event::WhatsNext),
            EventName::Description => report(Operation::Describe, param),
            EventName::Measurement => report(Operation::Measure, param),
            EventName::Adjustment => report(Operation::Adjust, param),
            EventName::Goodbye => or_default(&param).map(Event::Goodbye),
        };
        Ok(Self {
            event: event.map_err(de::Error::custom)?,
            servo_uid,
        })
    }
}

fn or_default<T: Default + de::DeserializeOwned>(param: &Value) -> Result<T, String> {
    if param.is_null() {
        return Ok(T::default());
    }
    serde_path_to_error::deserialize(param).map_err(|e| at("param", &e))
}
