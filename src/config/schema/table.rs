//! The keys of a schema, one by one, for people.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use servo_dispatch::ConnectorType;
use servo_shape::Shape;

use super::{SchemaRoutes, SchemaSources, optimizer::OPSANI_TOKEN};
use crate::config::{
    document::{BASICS, CHECKS, SETTINGS, VARIABLES},
    optimizer::{APPDYNAMICS, APPDYNAMICS_VARIABLES, EMBEDDED, OPSANI, OPSANI_VARIABLES},
    stanza::{Shapes, variable},
};

/// Schemas that contain themselves are shown this far.
const DEEPEST: usize = 8;

/// A key of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaKey {
    /// Such as `prometheus.metrics[].name`; `*` stands for a name of the user's.
    pub key: String,
    /// What its value may be.
    pub expected: String,
    /// What it is when it is not given.
    pub default: Option<String>,
    /// The variable that fills it.
    pub variable: Option<String>,
    /// What it means.
    pub description: Option<String>,
}

/// The keys of a document, in order.
#[must_use]
pub fn servo_keys(routes: &SchemaRoutes, sources: SchemaSources<'_>) -> Vec<SchemaKey> {
    let named = |all: &[(&str, &str)]| {
        let pairs = all
            .iter()
            .map(|(key, name)| (vec![(*key).to_owned()], (*name).to_owned()));
        pairs.collect()
    };
    let mut keys = Keys::of(&BASICS, "", named(&VARIABLES));
    for (shape, variables, further) in [
        (&OPSANI, OPSANI_VARIABLES, OPSANI_TOKEN),
        (&APPDYNAMICS, APPDYNAMICS_VARIABLES, &[][..]),
    ] {
        let first: Vec<(&str, &str)> = variables
            .iter()
            .chain(further)
            .filter_map(|(key, names)| Some((*key, *names.first()?)))
            .collect();
        let known = keys.len();
        for key in Keys::of(shape, "optimizer", named(&first)) {
            // What both kinds have is described once.
            if !keys.iter().skip(known).any(|other| other.key == key.key) {
                keys.push(key);
            }
        }
    }
    let prefixed = |shape: &Shape, at: &str, prefix: &str| {
        Keys::of(shape, at, shape.variables(prefix).into_iter().collect())
    };
    keys.extend(prefixed(
        &EMBEDDED,
        "optimizer.embedded",
        "SERVO_OPTIMIZER_EMBEDDED",
    ));
    keys.extend(prefixed(&SETTINGS, "settings", &variable("settings")));
    keys.extend(prefixed(&CHECKS, "checks", &variable("checks")));
    for (name, kind) in &routes.routes {
        keys.extend(prefixed(&sources.shapes.of(kind), name, &variable(name)));
    }
    keys
}

/// The keys of the stanza `name` of a connector of the type `kind`.
#[must_use]
pub fn connector_keys(kind: &ConnectorType, name: &str, shapes: &Shapes) -> Vec<SchemaKey> {
    let shape = shapes.of(kind);
    let variables = shape.variables(&variable(name)).into_iter().collect();
    Keys::of(&shape, name, variables)
}

struct Keys<'a> {
    shape: &'a Shape,
    variables: BTreeMap<Vec<String>, String>,
    found: Vec<SchemaKey>,
}

impl<'a> Keys<'a> {
    /// All keys of `shape`, which stands below the key `at`.
    fn of(shape: &'a Shape, at: &str, variables: BTreeMap<Vec<String>, String>) -> Vec<SchemaKey> {
        let mut keys = Keys {
            shape,
            variables,
            found: Vec::new(),
        };
        keys.below(&mut Vec::new(), at.to_owned());
        keys.found
    }

    fn below(&mut self, path: &mut Vec<String>, name: String) {
        if path.len() >= DEEPEST {
            return;
        }
        for key in self.shape.keys_at(path) {
            let name = if name.is_empty() {
                key.clone()
            } else {
                format!("{name}.{key}")
            };
            path.push(key);
            self.add(path, &name);
            self.below(path, name);
            path.pop();
        }
        if self.shape.takes_free_keys(path) {
            self.inside("*", path, format!("{name}.*"), true);
        }
        self.inside("0", path, format!("{name}[]"), false);
    }

    fn inside(&mut self, key: &str, path: &mut Vec<String>, name: String, said: bool) {
        path.push(key.to_owned());
        if self.shape.knows(path) {
            if said {
                self.add(path, &name);
            }
            self.below(path, name);
        }
        path.pop();
    }

    fn add(&mut self, path: &[String], name: &str) {
        let secret = self.shape.is_secret(path);
        let default = self.shape.default_at(path).filter(|default| {
            let empty = match default {
                Json::Null => true,
                Json::Object(map) => map.is_empty(),
                _ => false,
            };
            // A default of several keys stands beside each of them.
            !empty && !secret && self.shape.keys_at(path).is_empty()
        });
        self.found.push(SchemaKey {
            key: name.to_owned(),
            expected: self.shape.expected_at(path).unwrap_or_default(),
            default: default.map(|default| match default {
                Json::String(text) if !text.is_empty() => text,
                // With blanks, between which long ones are broken into lines.
                other => other.to_string().replace(",\"", ", \""),
            }),
            variable: self.variables.get(path).cloned(),
            description: self.shape.description_at(path),
        });
    }
}
