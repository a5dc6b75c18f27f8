//! A document as one line for each of its values.

use serde_yaml::{Mapping, Value};

use crate::config::Origin;

/// A value that is not made of others.
pub(super) struct Line<'a> {
    /// Keys and indexes from the document down.
    pub(super) path: Vec<String>,
    pub(super) value: &'a Value,
}

/// The values of `document`, in order. An empty list or mapping is a value too.
pub(super) fn of(document: &Mapping) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut path = Vec::new();
    for (key, value) in document {
        below(key_text(key), value, &mut path, &mut lines);
    }
    lines
}

fn below<'a>(key: String, value: &'a Value, path: &mut Vec<String>, lines: &mut Vec<Line<'a>>) {
    path.push(key);
    match value {
        Value::Mapping(map) if !map.is_empty() => {
            for (key, value) in map {
                below(key_text(key), value, path, lines);
            }
        }
        Value::Sequence(list) if !list.is_empty() => {
            for (index, value) in list.iter().enumerate() {
                below(index.to_string(), value, path, lines);
            }
        }
        _ => lines.push(Line {
            path: path.clone(),
            value,
        }),
    }
    path.pop();
}

fn key_text(key: &Value) -> String {
    match key {
        Value::String(key) => key.clone(),
        other => json(other),
    }
}

impl Line<'_> {
    /// The value, on one line. Text stands without quotes unless it could be taken for more than one line.
    pub(super) fn text(&self) -> String {
        match self.value {
            Value::String(text) if !text.is_empty() && !text.contains(char::is_control) => {
                text.clone()
            }
            other => json(other),
        }
    }
}

fn json(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// `kubernetes.deployments.0.name`
pub(super) fn joined(path: &[String]) -> String {
    path.join(".")
}

/// `servo.yaml:3:5`, `variable SERVO_NAME`, and the like.
pub(super) fn origin(origin: &Origin, file: &str) -> String {
    match origin {
        Origin::File(Some(place)) => format!("{file}:{}:{}", place.line, place.column),
        Origin::File(None) => file.to_owned(),
        other => other.to_string(),
    }
}
