//! Where a configuration holds secrets: found in the published schemas, so that new fields are
//! among them on the day they are made.

use schemars::Schema;
use serde_json::Value as Json;
use serde_yaml::{Mapping, Value};
use servo::config::{LoadOptions, Source, load_text, optimizer_schemas};
use servo_dispatch::Registry;
use servo_messages::{ChecksConfig, CommonConfig};
use servo_shape::{FaultKind, Shape};

/// Of what a place is a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// The stanza of a connector of this type.
    Connector(&'static str),
    Settings,
    Checks,
    Opsani,
    Appdynamics,
    Embedded,
}

/// A value that is a secret.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) part: Part,
    /// From the part down.
    pub(crate) path: Vec<String>,
}

/// The name under which the connector of a document runs.
pub(crate) const ROUTE: &str = "instance";

/// Keys of mappings that take any: the first one that the mapping lets have.
const FREE_KEYS: [&str; 4] = ["X-Key", "all://", "http://example.com", "key"];

/// All places of all parts.
pub(crate) fn all(registry: &Registry) -> Vec<Place> {
    let [(_, opsani), (_, appdynamics)] = optimizer_schemas();
    let sections = [
        (Part::Settings, schemars::schema_for!(CommonConfig)),
        (Part::Checks, schemars::schema_for!(ChecksConfig)),
        (Part::Opsani, opsani),
        (Part::Appdynamics, appdynamics),
        (
            Part::Embedded,
            schemars::schema_for!(servo_embedded::EmbeddedConfig),
        ),
    ];
    let connectors = registry
        .types()
        .iter()
        .map(|kind| (Part::Connector(kind.metadata().default_name), kind.schema()));
    connectors
        .chain(sections)
        .flat_map(|(part, schema)| {
            paths(&schema)
                .into_iter()
                .map(move |path| Place { part, path })
        })
        .collect()
}

/// Paths to what the published form of `schema` calls a password.
fn paths(schema: &Schema) -> Vec<Vec<String>> {
    let published = Shape::of(schema).published(None);
    let mut walk = Walk {
        definitions: &published.definitions,
        open: Vec::new(),
        found: Vec::new(),
    };
    walk.visit(&published.root, &[]);
    walk.found.sort();
    walk.found.dedup();
    walk.found
}

struct Walk<'a> {
    definitions: &'a serde_json::Map<String, Json>,
    /// Definitions that are being walked: one that refers to itself ends there.
    open: Vec<&'a str>,
    found: Vec<Vec<String>>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, schema: &'a Json, path: &[String]) {
        if schema["format"] == "password" || schema["writeOnly"] == true {
            self.found.push(path.to_vec());
        }
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.strip_prefix("#/definitions/").expect("of its own");
            if !self.open.contains(&name) {
                self.open.push(name);
                self.visit(&self.definitions[name], path);
                self.open.pop();
            }
        }
        for variants in ["anyOf", "allOf", "oneOf"] {
            for variant in schema[variants].as_array().into_iter().flatten() {
                self.visit(variant, path);
            }
        }
        let below = |key: &str| [path, &[key.to_owned()]].concat();
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            self.visit(property, &below(key));
        }
        for (pattern, property) in schema["patternProperties"]
            .as_object()
            .into_iter()
            .flatten()
        {
            let names = serde_json::json!({ "pattern": pattern });
            self.visit(property, &below(free_key(&names)));
        }
        if schema["additionalProperties"].is_object() {
            let key = match &schema["propertyNames"] {
                Json::Null => FREE_KEYS[0],
                names => free_key(names),
            };
            self.visit(&schema["additionalProperties"], &below(key));
        }
        match &schema["items"] {
            Json::Array(first) => {
                for (index, item) in first.iter().enumerate() {
                    self.visit(item, &below(&index.to_string()));
                }
            }
            item @ Json::Object(_) => self.visit(item, &below("0")),
            _ => {}
        }
    }
}

fn free_key(names: &Json) -> &'static str {
    FREE_KEYS
        .into_iter()
        .find(|key| jsonschema::is_valid(names, &Json::from(*key)))
        .unwrap_or_else(|| panic!("no key is one of {names}: add one that is"))
}

impl Place {
    /// A document, fine but for what may be wrong with `value`, which is at this place.
    pub(crate) fn document(&self, registry: &Registry, value: Value) -> Mapping {
        let mut document = Mapping::new();
        let mut part = self.base(registry);
        put(&mut part, &self.path, value);
        let optimizer = match self.part {
            Part::Opsani | Part::Appdynamics => part.clone(),
            Part::Embedded => {
                Value::Mapping([("embedded".into(), part.clone())].into_iter().collect())
            }
            _ => Place {
                part: Part::Opsani,
                path: Vec::new(),
            }
            .base(registry),
        };
        document.insert("optimizer".into(), optimizer);
        match self.part {
            Part::Connector(kind) => {
                let connectors = [(ROUTE.into(), kind.into())].into_iter().collect();
                document.insert("connectors".into(), Value::Mapping(connectors));
                document.insert(ROUTE.into(), part);
            }
            Part::Settings => {
                document.insert("settings".into(), part);
            }
            Part::Checks => {
                document.insert("checks".into(), part);
            }
            Part::Opsani | Part::Appdynamics | Part::Embedded => {}
        }
        document
    }

    /// The part without the secret, with all that the secret needs beside it.
    pub(crate) fn base(&self, registry: &Registry) -> Value {
        let (text, schema) = match self.part {
            Part::Connector(kind) => {
                let kind = registry.find(kind).expect("it is of the registry");
                (kind.sample(), kind.schema())
            }
            Part::Settings => ("{}", schemars::schema_for!(CommonConfig)),
            Part::Checks => ("{}", schemars::schema_for!(ChecksConfig)),
            Part::Opsani => (
                "{id: example.com/app, token: t}",
                optimizer_schemas()[0].1.clone(),
            ),
            Part::Appdynamics => (
                "{optimizer_id: w, tenant_id: t, base_url: 'https://a.invalid', client_id: c, client_secret: s}",
                optimizer_schemas()[1].1.clone(),
            ),
            Part::Embedded => (
                "{objective: {minimize: latency_50th}}",
                schemars::schema_for!(servo_embedded::EmbeddedConfig),
            ),
        };
        let mut value: Value = serde_yaml::from_str(text).expect("a sample");
        if !self.path.is_empty() {
            put(&mut value, &self.path, "x".into());
        }
        let shape = Shape::of(&schema);
        // Each that is given may need others.
        for _ in 0..8 {
            let faults = shape.check(&mut value.clone());
            for fault in faults.iter().filter(|f| f.kind == FaultKind::Missing) {
                put(&mut value, &fault.path, "someone".into());
            }
        }
        value
    }

    /// The secret as it is written here: alone, or in a URL where one is wanted.
    pub(crate) fn written(&self, registry: &Registry, secret: &str) -> String {
        let forms = [
            secret.to_owned(),
            format!("http://someone:{secret}@proxy.invalid:3128"),
        ];
        forms
            .into_iter()
            .find(|form| {
                let document = self.document(registry, form.as_str().into());
                refusal(registry, &text(&document)).is_none()
            })
            .unwrap_or_else(|| {
                let document = self.document(registry, secret.into());
                panic!(
                    "no secret fits {self:?}: {}",
                    refusal(registry, &text(&document)).unwrap_or_default()
                )
            })
    }
}

/// Puts `value` at `path`, with all mappings and lists on the way.
pub(crate) fn put(inside: &mut Value, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        *inside = value;
        return;
    };
    if let Value::Sequence(list) = inside
        && let Ok(index) = first.parse::<usize>()
    {
        if index >= list.len() {
            list.push(Value::Null);
        }
        let index = index.min(list.len() - 1);
        put(&mut list[index], rest, value);
        return;
    }
    if !inside.is_mapping() && first == "0" {
        *inside = Value::Sequence(vec![Value::Null]);
        put(inside, path, value);
        return;
    }
    if !inside.is_mapping() {
        *inside = Value::Mapping(Mapping::new());
    }
    if let Value::Mapping(map) = inside {
        let entry = map.entry(first.as_str().into()).or_insert(Value::Null);
        put(entry, rest, value);
    }
}

pub(crate) fn text(document: &Mapping) -> String {
    serde_yaml::to_string(document).expect("plain values")
}

/// What the loader has against `text`; none if it is fine.
pub(crate) fn refusal(registry: &Registry, text: &str) -> Option<String> {
    told(registry, text, &[]).err()
}

/// Everything that the loader says of `text`: what it has against it, or its warnings and notes.
pub(crate) fn told(
    registry: &Registry,
    text: &str,
    variables: &[(String, String)],
) -> Result<String, String> {
    let environment = servo::config::Environment::new(
        variables.iter().cloned(),
        std::collections::BTreeMap::new(),
    );
    let flags = servo::config::OptimizerFlags::default();
    let options = LoadOptions {
        registry,
        environment: &environment,
        flags: &flags,
        optimizer: servo::config::Need::Required,
        words: None,
        keep_given: true,
    };
    let source = Source {
        name: "servo.yaml".to_owned(),
        path: None,
    };
    match load_text(&source, text, &options) {
        Ok(assembly) => {
            let said = assembly.warnings.iter().chain(&assembly.notes);
            let said: Vec<String> = said.map(ToString::to_string).collect();
            Ok(format!("{}\n{assembly:?}", said.join("\n")))
        }
        Err(error) => Err(format!("{error}\n{error:?}")),
    }
}
