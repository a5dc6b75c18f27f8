//! What the keys of a document mean, as comments above them.

use std::{collections::BTreeMap, slice};

use serde_yaml::{Mapping, Value};
use servo_shape::Shape;

use crate::config::{
    document::{BASICS, CHECKS, SETTINGS},
    optimizer::OPSANI,
    routes::Route,
    stanza::Shapes,
};

/// No line of a comment is longer than this.
const WIDTH: usize = 100;

const CONNECTORS: &str = "The connectors that run: a list of types, or names with their types. \
    Without this key each connector runs that has a stanza.";

/// Puts a comment above each key of `document`, which `text` holds.
pub(super) fn annotate(
    text: &str,
    document: &Mapping,
    routes: &[Route],
    shapes: &Shapes,
) -> String {
    let Some(Ok(read)) = servo_yaml::documents(text).next() else {
        return text.to_owned();
    };
    // Comments by the line above which they stand, counted from 1.
    let mut comments: BTreeMap<usize, String> = BTreeMap::new();
    for (key, value) in document {
        let Some(key) = key.as_str() else { continue };
        let shape = match key {
            "optimizer" => OPSANI.clone(),
            "settings" => SETTINGS.clone(),
            "checks" => CHECKS.clone(),
            _ => match routes.iter().find(|(name, _)| name == key) {
                Some((_, kind)) => shapes.of(kind),
                None => {
                    let meaning = match key {
                        "connectors" => Some(CONNECTORS.to_owned()),
                        _ => BASICS.description_at(slice::from_ref(&key)),
                    };
                    if let (Some(meaning), Some(place)) = (meaning, read.places.exact(&[key])) {
                        comments.insert(place.line, meaning);
                    }
                    continue;
                }
            },
        };
        let mut path = vec![key.to_owned()];
        collect(&shape, value, &mut path, &mut |path, meaning| {
            if let Some(place) = read.places.exact(path) {
                comments.entry(place.line).or_insert(meaning);
            }
        });
    }
    let mut out = String::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(meaning) = comments.get(&(index + 1)) {
            let indent = line.len() - line.trim_start().len();
            comment(prose(meaning), indent, &mut out);
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// What is said before the first example: that would be no YAML between these lines.
fn prose(meaning: &str) -> &str {
    meaning.split("```").next().unwrap_or(meaning).trim_end()
}

/// Tells what each key of `value` means, which is at `path` of the document; its first key is that
/// of the part which `shape` describes. Of the items of a list the first tells for all.
fn collect(
    shape: &Shape,
    value: &Value,
    path: &mut Vec<String>,
    tell: &mut impl FnMut(&[String], String),
) {
    let is_item = path.last().is_some_and(|key| key.parse::<usize>().is_ok());
    if !is_item && let Some(meaning) = shape.description_at(path.get(1..).unwrap_or_default()) {
        tell(path, meaning);
    }
    let mut inside = |key: String, value: &Value| {
        path.push(key);
        collect(shape, value, path, tell);
        path.pop();
    };
    match value {
        Value::Mapping(map) => {
            for (key, value) in map {
                if let Some(key) = key.as_str() {
                    inside(key.to_owned(), value);
                }
            }
        }
        Value::Sequence(list) => {
            if let Some(first) = list.first() {
                inside("0".to_owned(), first);
            }
        }
        _ => {}
    }
}

/// Appends `text` as lines of a comment.
fn comment(text: &str, indent: usize, out: &mut String) {
    let blank = " ".repeat(indent);
    for paragraph in text.split("\n\n") {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let length = indent + 2 + line.chars().count() + 1 + word.chars().count();
            if !line.is_empty() && length > WIDTH {
                out.push_str(&format!("{blank}# {line}\n"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            out.push_str(&format!("{blank}# {line}\n"));
        }
    }
}
