//! Reading JSON that came from the other side of the wire, with errors that name the place.

use serde_json::{Map, Value};

/// A piece of JSON from an optimizer or a servo that does not have the agreed shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct WireError {
    /// Where, as a path of keys: `state.application.components.web.settings.cpu.value`.
    pub path: String,
    /// What is wrong there and what was expected.
    pub problem: String,
}

impl WireError {
    pub(crate) fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        WireError {
            path: path.into(),
            problem: problem.into(),
        }
    }
}

/// What kind of JSON a value is, for "expected X but found Y".
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

pub(crate) fn object<'a>(
    value: &'a Value,
    path: &str,
) -> Result<&'a Map<String, Value>, WireError> {
    value.as_object().ok_or_else(|| {
        WireError::new(
            path,
            format!("expected an object but found {}", kind(value)),
        )
    })
}

/// The object under `key`, and its own path.
pub(crate) fn member_object<'a>(
    parent: &'a Map<String, Value>,
    path: &str,
    key: &str,
) -> Result<(&'a Map<String, Value>, String), WireError> {
    let path = format!("{path}.{key}");
    match parent.get(key) {
        None => Err(WireError::new(path, "missing: expected an object")),
        Some(value) => Ok((object(value, &path)?, path)),
    }
}
