//! Several schemas that must all hold, made one.
//!
//! A Rust type means the union of their properties: `#[serde(flatten)]` and tagged enums come out of
//! derivation as objects of which each, taken literally, would refuse the keys of the other.

use serde_json::{Map, Value as Json};

/// Keys that change nothing about which values are valid.
const NOTES: [&str; 13] = [
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
];

/// Further expressions that a text must match, in a merged schema.
pub(crate) const PATTERNS: &str = "x-patterns";

/// Whether the schema says nothing but notes, beside `except`.
pub(crate) fn only_notes(schema: &Map<String, Json>, except: &str) -> bool {
    schema
        .keys()
        .all(|key| key == except || NOTES.contains(&key.as_str()))
}

/// What both schemas allow; `over` is the outer one, whose notes win.
pub(crate) fn merge(mut base: Map<String, Json>, over: &Map<String, Json>) -> Map<String, Json> {
    // Two expressions must both match; the second finds no room under the same key.
    if let (Some(ours), Some(theirs)) = (base.get("pattern"), over.get("pattern"))
        && ours != theirs
    {
        let ours = ours.clone();
        match base
            .entry(PATTERNS)
            .or_insert_with(|| Json::Array(Vec::new()))
        {
            Json::Array(all) => all.push(ours),
            other => *other = vec![ours].into(),
        }
    }
    for (key, theirs) in over {
        let ours = base.remove(key);
        let both = match ours {
            None => theirs.clone(),
            Some(ours) => match key.as_str() {
                "properties" | "patternProperties" | "x-aliases" => properties(ours, theirs),
                "required" => union(ours, theirs),
                "type" => kinds(&ours, theirs),
                "enum" => common(ours, theirs),
                "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties" => {
                    further(ours, theirs, |ours, theirs| ours > theirs)
                }
                "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties" => {
                    further(ours, theirs, |ours, theirs| ours < theirs)
                }
                "additionalProperties" | "unevaluatedProperties" | "items" => match (&ours, theirs)
                {
                    (Json::Bool(false), _) | (_, Json::Bool(true)) => ours,
                    (Json::Object(a), Json::Object(b)) => merge(a.clone(), b).into(),
                    _ => theirs.clone(),
                },
                "anyOf" | "oneOf" => each_with_each(ours, theirs),
                "allOf" | PATTERNS => concatenated(ours, theirs),
                _ => theirs.clone(),
            },
        };
        base.insert(key.clone(), both);
    }
    base
}

fn properties(ours: Json, theirs: &Json) -> Json {
    let (Json::Object(mut ours), Json::Object(theirs)) = (ours, theirs) else {
        return theirs.clone();
    };
    for (key, theirs) in theirs {
        let both = match (ours.remove(key), theirs) {
            (Some(Json::Object(a)), Json::Object(b)) if a != *b => {
                serde_json::json!({ "allOf": [a, b] })
            }
            _ => theirs.clone(),
        };
        ours.insert(key.clone(), both);
    }
    ours.into()
}

fn union(ours: Json, theirs: &Json) -> Json {
    let (Json::Array(mut ours), Json::Array(theirs)) = (ours, theirs) else {
        return theirs.clone();
    };
    for item in theirs {
        if !ours.contains(item) {
            ours.push(item.clone());
        }
    }
    ours.into()
}

fn common(ours: Json, theirs: &Json) -> Json {
    let (Json::Array(mut ours), Json::Array(theirs)) = (ours, theirs) else {
        return theirs.clone();
    };
    ours.retain(|item| theirs.contains(item));
    ours.into()
}

fn kinds(ours: &Json, theirs: &Json) -> Json {
    let list = |kinds: &Json| match kinds {
        Json::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    let (mut ours, theirs) = (list(ours), list(theirs));
    // A whole number is a number.
    if theirs.contains(&"number".into()) && !theirs.contains(&"integer".into()) {
        ours.retain(|kind| theirs.contains(kind) || kind == "integer");
    } else if ours.contains(&"number".into()) && !ours.contains(&"integer".into()) {
        ours = theirs
            .into_iter()
            .filter(|kind| ours.contains(kind) || kind == "integer")
            .collect();
    } else {
        ours.retain(|kind| theirs.contains(kind));
    }
    ours.into()
}

fn further(ours: Json, theirs: &Json, wins: impl Fn(f64, f64) -> bool) -> Json {
    match (ours.as_f64(), theirs.as_f64()) {
        (Some(a), Some(b)) if wins(a, b) => ours,
        _ => theirs.clone(),
    }
}

fn each_with_each(ours: Json, theirs: &Json) -> Json {
    let (Json::Array(ours), Json::Array(theirs)) = (ours, theirs) else {
        return theirs.clone();
    };
    let pairs = ours.iter().flat_map(|ours| {
        theirs
            .iter()
            .map(move |theirs| serde_json::json!({ "allOf": [ours, theirs] }))
    });
    pairs.collect::<Vec<_>>().into()
}

fn concatenated(ours: Json, theirs: &Json) -> Json {
    let (Json::Array(mut ours), Json::Array(theirs)) = (ours, theirs) else {
        return theirs.clone();
    };
    ours.extend(theirs.iter().cloned());
    ours.into()
}
