//! Keys that variables fill need not be in the file.

use serde_json::Value as Json;
use serde_yaml::{Mapping, Value};
use servo_shape::Shape;

use crate::config::Environment;

/// Takes the keys out of what `schema` requires that the environment has values for, below the
/// variable `prefix`.
pub(super) fn relax(schema: &mut Json, shape: &Shape, prefix: &str, environment: &Environment) {
    let mut filled = Value::Mapping(Mapping::new());
    // Bad values are told of when a document is read.
    let _ = shape.fill(&mut filled, prefix, environment.variables());
    without(schema, &filled);
}

fn without(schema: &mut Json, filled: &Value) {
    let (Json::Object(schema), Value::Mapping(values)) = (schema, filled) else {
        return;
    };
    if values.is_empty() {
        return;
    }
    let is_filled = |key: &Json| key.as_str().is_some_and(|key| values.contains_key(key));
    if let Some(Json::Array(required)) = schema.get_mut("required") {
        required.retain(|key| !is_filled(key));
    }
    // A required key with several spellings.
    if let Some(Json::Array(all)) = schema.get_mut("allOf") {
        all.retain(|condition| {
            let spellings = condition["anyOf"].as_array();
            !spellings.into_iter().flatten().any(|one| {
                one["required"]
                    .as_array()
                    .is_some_and(|r| r.iter().any(is_filled))
            })
        });
    }
    for empty in ["required", "allOf"] {
        if schema
            .get(empty)
            .and_then(Json::as_array)
            .is_some_and(Vec::is_empty)
        {
            schema.remove(empty);
        }
    }
    if let Some(Json::Object(properties)) = schema.get_mut("properties") {
        for (key, property) in properties {
            if let Some(filled) = values.get(key.as_str()) {
                without(property, filled);
            }
        }
    }
    if let Some(Json::Array(variants)) = schema.get_mut("anyOf") {
        for variant in variants {
            without(variant, filled);
        }
    }
}
