//! Texts as their authors write them, read through the public interface.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod anchors;
mod documents;
mod errors;
mod limits;
mod places;
mod properties;
mod scalars;

use serde_yaml::Value;
use servo_yaml::{Document, YamlError};

/// The only document of `text`.
fn one(text: &str) -> Document {
    let mut all = servo_yaml::documents(text);
    let document = all.next().expect("a document").expect(text);
    assert!(all.next().is_none(), "{text:?} has one document");
    document
}

fn value(text: &str) -> Value {
    one(text).value
}

/// The errors of the only document of `text`.
fn errors(text: &str) -> Vec<YamlError> {
    let mut all = servo_yaml::documents(text);
    let errors = all.next().expect("a document").expect_err(text);
    assert!(all.next().is_none(), "{text:?} has one document");
    errors
}

/// An error as a person sees it: document, line, column, path and message.
fn shown(error: &YamlError) -> String {
    let place = error.place.map_or_else(String::new, |place| {
        format!("{}:{}", place.line, place.column)
    });
    let path = error.path.join(".");
    format!("#{} {place} {path}: {error}", error.document)
}
