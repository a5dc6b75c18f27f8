//! The key `optimizer`: one of three kinds (`spec/config-and-cli.md` §2.3).

use serde_json::{Map, Value as Json, json};
use servo_shape::Shape;

use super::{define, relax, title};
use crate::config::{
    Environment,
    optimizer::{APPDYNAMICS, APPDYNAMICS_VARIABLES, EMBEDDED, Keys, OPSANI, OPSANI_VARIABLES},
};

/// The variable that holds the stanza of the embedded optimizer.
const EMBEDDED_VARIABLE: &str = "SERVO_OPTIMIZER_EMBEDDED";

/// Variables of keys that are not filled as the others are.
pub(super) const OPSANI_TOKEN: &Keys = &[
    ("token", &["OPSANI_TOKEN"]),
    ("token_file", &["OPSANI_TOKEN_FILE"]),
];

/// Old names of keys.
const OLD_NAMES: [(&str, &str); 1] = [("workload_id", "optimizer_id")];

/// The property, with the kinds among `definitions`.
pub(super) fn property(environment: &Environment, definitions: &mut Map<String, Json>) -> Json {
    let opsani = stanza(
        &OPSANI,
        ("OpsaniOptimizer", "Opsani Optimizer"),
        &[OPSANI_VARIABLES, OPSANI_TOKEN],
        definitions,
    );
    let appdynamics = stanza(
        &APPDYNAMICS,
        ("AppdynamicsOptimizer", "AppDynamics Optimizer"),
        &[APPDYNAMICS_VARIABLES],
        definitions,
    );
    json!({
        "title": "Optimizer",
        "description": "Who tells the servo what to do: an optimizer that is reached over HTTP, or the one in this program.",
        "env_names": ["SERVO_OPTIMIZER"],
        "anyOf": [
            opsani,
            appdynamics,
            embedded(environment, definitions),
            { "type": "null" },
        ],
    })
}

/// A kind that is reached over HTTP. Each of its keys may come from a variable or from the command
/// line.
fn stanza(
    shape: &Shape,
    (model, name): (&str, &str),
    variables: &[&Keys],
    definitions: &mut Map<String, Json>,
) -> Json {
    let mut published = shape.published(None);
    title(&mut published.root, name);
    if let Json::Object(schema) = &mut published.root {
        schema.remove("required");
        let mut twice = Vec::new();
        if let Some(Json::Object(properties)) = schema.get_mut("properties") {
            for (key, names) in variables.iter().flat_map(|keys| keys.iter()) {
                if let Some(property) = properties.get_mut(*key) {
                    property["env_names"] = json!(names);
                }
            }
            for (key, property) in properties.iter_mut() {
                narrow(model, key, property);
            }
            twice = spellings(properties);
        }
        let properties = schema.get("properties").and_then(Json::as_object);
        let own = |key: &str| properties.is_some_and(|all| all.contains_key(key));
        let foreign = nulls_of_other_kinds(own);
        schema.insert("patternProperties".into(), foreign);
        if !twice.is_empty() {
            schema.insert("not".into(), json!({ "anyOf": twice }));
        }
    }
    define(published, model, definitions)
}

/// What says that keys of other kinds may be there without a value: that is as good as absent.
fn nulls_of_other_kinds(own: impl Fn(&str) -> bool) -> Json {
    let mut keys = vec!["embedded".to_owned()];
    for shape in [&OPSANI, &APPDYNAMICS] {
        keys.extend(shape.keys_at(&[""; 0]));
    }
    keys.extend(OLD_NAMES.map(|(old, _)| old.to_owned()));
    keys.retain(|key| !own(key));
    keys.sort();
    keys.dedup();
    let pattern = format!("^(?:{})$", keys.join("|").replace('_', "[-_]"));
    json!({ pattern: { "type": "null" } })
}

/// Says of a key what its own type does not.
fn narrow(model: &str, key: &str, property: &mut Json) {
    match key {
        "base_url" | "url" | "token_url" => {
            // Stricter than what is accepted, which are URLs of other alphabets too.
            if let Json::Object(property) = property {
                property.remove("format");
            }
            match (model, key) {
                // Beside `url` nobody reads it.
                ("OpsaniOptimizer", "base_url") => {}
                ("OpsaniOptimizer", _) => {
                    property["pattern"] = r"^\s*[hH][tT][tT][pP][sS]?:".into()
                }
                // A blank one is as good as none.
                _ => property["pattern"] = r"^\s*(?:[hH][tT][tT][pP][sS]?:|$)".into(),
            }
        }
        // A name of dots alone would be a step up in the path of the URL.
        "id" => property["not"] = json!({ "pattern": r"/\.{1,2}$" }),
        _ => {}
    }
}

/// Adds the other spellings of keys, and tells which must not stand side by side.
fn spellings(properties: &mut Map<String, Json>) -> Vec<Json> {
    let mut all: Vec<(String, String)> = properties
        .keys()
        .filter(|key| key.contains('_'))
        .map(|key| (key.replace('_', "-"), key.clone()))
        .collect();
    for (old, key) in OLD_NAMES {
        if properties.contains_key(key) {
            all.extend([old.to_owned(), old.replace('_', "-")].map(|old| (old, key.to_owned())));
        }
    }
    for (spelling, key) in &all {
        if let Some(mut property) = properties.get(key).cloned() {
            if let Json::Object(property) = &mut property {
                property.remove("env_names");
                property.remove("description");
                property.insert("description".into(), format!("The same as `{key}`.").into());
            }
            properties.insert(spelling.clone(), property);
        }
    }
    let mut twice = Vec::new();
    for (index, (spelling, key)) in all.iter().enumerate() {
        let others = all.iter().skip(index + 1);
        let same = others
            .filter(|(_, other)| other == key)
            .map(|(other, _)| other);
        for other in std::iter::once(key).chain(same) {
            // Null is as good as absent.
            twice.push(json!({
                "required": [spelling, other],
                "properties": {
                    spelling: { "not": { "type": "null" } },
                    other: { "not": { "type": "null" } },
                },
            }));
        }
    }
    twice
}

fn embedded(environment: &Environment, definitions: &mut Map<String, Json>) -> Json {
    let mut published = EMBEDDED.published(Some(EMBEDDED_VARIABLE));
    relax::relax(
        &mut published.root,
        &EMBEDDED,
        EMBEDDED_VARIABLE,
        environment,
    );
    title(&mut published.root, "Embedded Optimizer");
    let reference = define(published, "EmbeddedConfiguration", definitions);
    let kind = json!({
        "title": "Embedded Optimizer",
        "description": "The optimizer in this program, with a file of trials.",
        "type": "object",
        "properties": {
            "embedded": {
                "title": "Embedded",
                "env_names": [EMBEDDED_VARIABLE],
                "anyOf": [reference, { "type": "null" }],
            },
        },
        "patternProperties": nulls_of_other_kinds(|key| key == "embedded"),
        "required": ["embedded"],
        "additionalProperties": false,
    });
    definitions.insert("EmbeddedOptimizer".into(), kind);
    json!({ "$ref": "#/definitions/EmbeddedOptimizer" })
}
