//! How a servo says that a command is over (`spec/optimizer-protocol.md` §4, §7, §8).

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};
use servo_messages::{
    Description, EventError, Measurement, MeasurementReport, Status, WireError, WireWarning,
    most_severe,
};

use crate::{
    CommandUid, InvalidCommand, Operation,
    envelope::{at, below, kind},
};

/// The end of one command. Every command but SLEEP gets exactly one.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Copied from the command; null on the wire if it had none.
    pub cmd_uid: Option<CommandUid>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was carried out.
    Ok(Payload),
    /// It was not; it may be tried again.
    Failed(Explanation),
    /// This configuration can never work.
    Rejected(Explanation),
    /// It was given up early, an SLO being violated for instance.
    Aborted(Explanation),
    /// It was stopped on request.
    Cancelled(Explanation),
}

/// What a command that was carried out has brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// Of DESCRIBE: what there is.
    Descriptor(Description),
    /// Of MEASURE: what was measured.
    Measurement(MeasurementReport),
    /// Of ADJUST: the settings afterwards.
    State(Description),
}

/// Why a command was not carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explanation {
    /// Text for people.
    pub message: String,
    /// A word for programs: `slo-violation`, `start-failed`, `invalid-command`, `unknown`, ...
    pub reason: Option<String>,
    /// The texts of further errors of the same command.
    pub other_messages: Vec<String>,
}

// === impl Payload ===

impl Payload {
    /// What was measured, in the form that goes to the optimizer, and what had to be changed for it; the
    /// caller logs that. `now` names series that have no id.
    ///
    /// # Errors
    ///
    /// The measurement has no readable wire form.
    pub fn measured(
        measurement: &Measurement,
        now: Timestamp,
    ) -> Result<(Self, Vec<WireWarning>), WireError> {
        let wire = measurement.to_wire(now);
        let report = MeasurementReport::from_wire(
            &json!({ "metrics": wire.metrics, "annotations": wire.annotations }),
        )?;
        Ok((Self::Measurement(report), wire.warnings))
    }

    /// The operation that this answers.
    pub fn operation(&self) -> Operation {
        match self {
            Self::Descriptor(_) => Operation::Describe,
            Self::Measurement(_) => Operation::Measure,
            Self::State(_) => Operation::Adjust,
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// The reason that goes with [`Outcome::Ok`].
    const SUCCESS: &str = "success";

    /// What the errors of one command amount to: the most severe decides, the others are told beside it.
    pub fn from_errors(errors: &[EventError]) -> Self {
        let Some(worst) = most_severe(errors) else {
            return Self::Failed(Explanation {
                message: "failed without an error".to_owned(),
                reason: Some("unknown".to_owned()),
                other_messages: Vec::new(),
            });
        };
        let others = errors.iter().filter(|error| !std::ptr::eq(*error, worst));
        let explanation = Explanation {
            message: worst.message.clone(),
            reason: worst.reason.clone(),
            other_messages: others.map(|error| error.message.clone()).collect(),
        };
        Self::explained(worst.kind.status(), explanation)
    }

    /// The word on the wire.
    pub fn status(&self) -> Status {
        match self {
            Self::Ok(_) => Status::Ok,
            Self::Failed(_) => Status::Failed,
            Self::Rejected(_) => Status::Rejected,
            Self::Aborted(_) => Status::Aborted,
            Self::Cancelled(_) => Status::Cancelled,
        }
    }

    /// Why the command was not carried out; none if it was.
    pub fn explanation(&self) -> Option<&Explanation> {
        match self {
            Self::Ok(_) => None,
            Self::Failed(explanation)
            | Self::Rejected(explanation)
            | Self::Aborted(explanation)
            | Self::Cancelled(explanation) => Some(explanation),
        }
    }

    fn explained(status: Status, explanation: Explanation) -> Self {
        match status {
            // No error has this status.
            Status::Ok | Status::Failed => Self::Failed(explanation),
            Status::Rejected => Self::Rejected(explanation),
            Status::Aborted => Self::Aborted(explanation),
            Status::Cancelled => Self::Cancelled(explanation),
        }
    }
}

// === impl Completion ===

impl Completion {
    /// The answer to a command whose parameters could not be used.
    pub fn of_invalid(command: &InvalidCommand) -> Self {
        Self {
            cmd_uid: command.uid.clone(),
            outcome: Outcome::Failed(Explanation {
                message: command.message.clone(),
                reason: Some(InvalidCommand::REASON.to_owned()),
                other_messages: Vec::new(),
            }),
        }
    }

    /// Reads the `param` of a completion of `operation`.
    ///
    /// # Errors
    ///
    /// Names the JSON path of what does not fit.
    pub(crate) fn from_param(operation: Operation, param: Value) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            status: Status,
            #[serde(default)]
            message: Option<String>,
            #[serde(default)]
            reason: Option<String>,
            #[serde(default)]
            other_messages: Option<Vec<String>>,
            #[serde(default)]
            cmd_uid: Option<CommandUid>,
        }
        let head: Head = serde_path_to_error::deserialize(&param).map_err(|e| at("param", &e))?;
        let outcome = if head.status == Status::Ok {
            Outcome::Ok(Self::payload(operation, &param)?)
        } else {
            let explanation = Explanation {
                message: head.message.unwrap_or_default(),
                reason: head.reason,
                other_messages: head.other_messages.unwrap_or_default(),
            };
            Outcome::explained(head.status, explanation)
        };
        Ok(Self {
            cmd_uid: head.cmd_uid,
            outcome,
        })
    }

    fn payload(operation: Operation, param: &Value) -> Result<Payload, String> {
        let description = |key: &str| match param.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) if !value.is_object() => Err(format!(
                "`param.{key}`: must be an object, not {}",
                kind(value)
            )),
            Some(value) => Description::from_wire(value)
                .map(Some)
                .map_err(|error| below(&format!("param.{key}"), &error)),
        };
        match operation {
            Operation::Describe => description("descriptor")?
                .map(Payload::Descriptor)
                .ok_or_else(|| {
                    "`param.descriptor`: missing in a DESCRIPTION that is ok".to_owned()
                }),
            Operation::Measure => MeasurementReport::from_wire(param)
                .map(Payload::Measurement)
                .map_err(|error| below("param", &error)),
            // Older servos report nothing here (§21).
            Operation::Adjust => Ok(Payload::State(description("state")?.unwrap_or_default())),
        }
    }
}

/// Only the keys that were set: the payload with a null `message` and the reason `success`, or the
/// explanation without a payload.
impl Serialize for Completion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", &self.outcome.status())?;
        if let Some(explanation) = self.outcome.explanation() {
            map.serialize_entry("message", &explanation.message)?;
            if !explanation.other_messages.is_empty() {
                map.serialize_entry("other_messages", &explanation.other_messages)?;
            }
            map.serialize_entry("reason", &explanation.reason)?;
        }
        if let Outcome::Ok(payload) = &self.outcome {
            map.serialize_entry("message", &())?;
            map.serialize_entry("reason", Outcome::SUCCESS)?;
            match payload {
                Payload::Descriptor(description) => {
                    map.serialize_entry("descriptor", &description.to_wire())?;
                }
                Payload::State(description) => {
                    map.serialize_entry("state", &description.to_wire())?
                }
                Payload::Measurement(report) => {
                    map.serialize_entry("metrics", &report.metrics)?;
                    map.serialize_entry("annotations", &report.annotations)?;
                }
            }
        }
        map.serialize_entry("cmd_uid", &self.cmd_uid)?;
        map.end()
    }
}
