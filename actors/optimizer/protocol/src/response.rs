//! What an optimizer answers: a command or a status (`spec/optimizer-protocol.md` §4).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use crate::{Command, CommandError, envelope::kind};

/// An optimizer's answer to a request.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one value lives for each exchange; a box would only move the bytes"
)]
pub enum Response {
    /// A command to carry out.
    Command(Command),
    /// A command that cannot be carried out as it stands. Most are answered, see [`CommandError`].
    Unusable(CommandError),
    /// A status; the answer to everything but WHATS_NEXT.
    Status(StatusReply),
}

/// A status from the optimizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReply {
    /// The verdict.
    pub status: OptimizerStatus,
    /// Text for people.
    pub message: Option<String>,
    /// Free text; `unexpected cmd_uid` with [`OptimizerStatus::Invalid`] has a meaning of its own (§9).
    pub reason: Option<String>,
}

/// The optimizer's verdict on a request. It says `cancel` where a servo answers `cancelled`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptimizerStatus {
    /// Accepted.
    Ok,
    /// Not accepted as it stands.
    Invalid,
    /// Not what the optimizer waits for; it ignored the request.
    UnexpectedEvent,
    /// Stop the command in progress.
    Cancel,
    /// A word outside the protocol.
    Other(String),
}

/// Why a 2xx body is no answer of an optimizer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableResponse {
    /// Nothing at all.
    #[error("the body is empty")]
    Empty,
    /// Not JSON.
    #[error("not JSON ({0})")]
    NotJson(String),
    /// JSON, but neither `cmd` nor `status` stands there as text.
    #[error("neither a command (`cmd`) nor a status (`status`): {0}")]
    NeitherCommandNorStatus(String),
}

// === impl StatusReply ===

impl StatusReply {
    /// The reason with which an optimizer answers `invalid` to a report on a command it has given up (§9).
    pub const UNEXPECTED_CMD_UID: &str = "unexpected cmd_uid";

    /// A bare `ok`.
    pub fn ok() -> Self {
        Self {
            status: OptimizerStatus::Ok,
            message: None,
            reason: None,
        }
    }

    /// `status` for `reason`.
    pub fn because(status: OptimizerStatus, reason: impl Into<String>) -> Self {
        Self {
            status,
            message: None,
            reason: Some(reason.into()),
        }
    }

    /// Whether this says that the command reported on is not the optimizer's any more.
    pub fn is_unexpected_cmd_uid(&self) -> bool {
        self.status == OptimizerStatus::Invalid
            && self.reason.as_deref() == Some(Self::UNEXPECTED_CMD_UID)
    }
}

impl fmt::Display for StatusReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        match self.reason.as_deref().or(self.message.as_deref()) {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

impl Serialize for StatusReply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", self.status.as_str())?;
        if let Some(message) = &self.message {
            map.serialize_entry("message", message)?;
        }
        if let Some(reason) = &self.reason {
            map.serialize_entry("reason", reason)?;
        }
        map.end()
    }
}

// === impl OptimizerStatus ===

impl OptimizerStatus {
    /// The word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ok => "ok",
            Self::Invalid => "invalid",
            Self::UnexpectedEvent => "unexpected-event",
            Self::Cancel => "cancel",
            Self::Other(word) => word,
        }
    }

    fn from_word(word: &str) -> Self {
        match word {
            "ok" => Self::Ok,
            "invalid" => Self::Invalid,
            "unexpected-event" => Self::UnexpectedEvent,
            "cancel" => Self::Cancel,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for OptimizerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Response ===

impl Response {
    /// Reads the body of a 2xx answer.
    ///
    /// # Errors
    ///
    /// The body is neither a command nor a status. A command with unusable parameters is no error here
    /// but [`Response::Unusable`], because it wants an answer of its own.
    pub fn from_body(body: &[u8]) -> Result<Self, UnreadableResponse> {
        // Some servers on Windows begin each text with a byte order mark, which parsers may ignore (RFC 8259 §8.1).
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(UnreadableResponse::Empty);
        }
        let value =
            serde_json::from_slice(body).map_err(|e| UnreadableResponse::NotJson(e.to_string()))?;
        Self::from_value(&value)
    }

    /// Reads an answer; a command is tried first, unknown keys are ignored.
    ///
    /// # Errors
    ///
    /// As [`Self::from_body`].
    pub fn from_value(value: &Value) -> Result<Self, UnreadableResponse> {
        let Value::Object(fields) = value else {
            return Err(UnreadableResponse::NeitherCommandNorStatus(format!(
                "the body is {}",
                kind(value)
            )));
        };
        if let Some(Value::String(cmd)) = fields.get("cmd") {
            return Ok(match Command::from_fields(cmd, fields) {
                Ok(command) => Self::Command(command),
                Err(error) => Self::Unusable(error),
            });
        }
        let Some(Value::String(status)) = fields.get("status") else {
            let found = ["cmd", "status"]
                .iter()
                .filter_map(|key| Some(format!("`{key}` is {}", kind(fields.get(*key)?))))
                .collect::<Vec<_>>();
            return Err(UnreadableResponse::NeitherCommandNorStatus(
                if found.is_empty() {
                    "both keys are missing".into()
                } else {
                    found.join(", ")
                },
            ));
        };
        // Only for people, so whatever stands there is shown rather than refused.
        let text = |key| match fields.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        Ok(Self::Status(StatusReply {
            status: OptimizerStatus::from_word(status),
            message: text("message"),
            reason: text("reason"),
        }))
    }
}

impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Command(command) => command.serialize(serializer),
            Self::Status(status) => status.serialize(serializer),
            Self::Unusable(error) => Err(serde::ser::Error::custom(format!(
                "an unusable command is never sent: {error}"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Response {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_value(&value).map_err(serde::de::Error::custom)
    }
}
