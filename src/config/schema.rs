//! The schema of a document of `servo.yaml`, and of single stanzas, for editors and other programs
//! (`spec/config-and-cli.md` §7.8): what it accepts is what a check of the configuration accepts.

mod optimizer;
mod relax;
mod table;

use serde_json::{Map, Value as Json, json};
use servo_dispatch::{ConnectorType, Metadata, Registry};
use servo_messages::{ChecksConfig, CommonConfig, english_series};
use servo_shape::{Published, Shape};

use super::{
    Environment, ServoConfig,
    document::{BASICS, CHECKS, SETTINGS, VARIABLES},
    routes::{self, Route, by_default_name},
    stanza::{Shapes, variable},
};
use crate::connectors::SERVO;

pub use table::{SchemaKey, connector_keys, servo_keys};

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// The connectors that a document may have stanzas for.
pub struct SchemaRoutes {
    routes: Vec<Route>,
    /// Whether the document says which run: these need their stanzas then.
    named: bool,
}

/// What a schema is made of.
#[derive(Clone, Copy)]
pub struct SchemaSources<'a> {
    /// The connector types.
    pub registry: &'a Registry,
    /// Their shapes.
    pub shapes: &'a Shapes,
    /// Variables that fill what a document leaves open, so that it need not say it.
    pub environment: &'a Environment,
}

impl SchemaRoutes {
    /// Those of `servo`: the ones that it names, else all there are.
    #[must_use]
    pub fn of_servo(servo: &ServoConfig, registry: &Registry) -> Self {
        let given = servo.given.as_deref();
        let named = given.is_some_and(|given| given.document.contains_key("connectors"));
        if !named {
            return Self::of_all(registry);
        }
        let routes = servo.connectors.iter().filter_map(|(name, connector)| {
            let kind = by_default_name(registry, connector.metadata().default_name)?;
            Some((name.to_string(), kind.clone()))
        });
        Self {
            routes: routes.collect(),
            named,
        }
    }

    /// All types, each under its default name.
    #[must_use]
    pub fn of_all(registry: &Registry) -> Self {
        let routes = registry
            .types()
            .iter()
            .map(|kind| (kind.metadata().default_name.to_owned(), kind.clone()));
        Self {
            routes: routes.collect(),
            named: false,
        }
    }
}

/// The schema of a document.
#[must_use]
pub fn servo_schema(routes: &SchemaRoutes, sources: SchemaSources<'_>) -> Json {
    let mut definitions = Map::new();
    let mut schema = document(routes, sources, &mut definitions);
    let mut whole = Map::new();
    whole.insert("$schema".into(), DRAFT.into());
    whole.insert("title".into(), "Servo Configuration Schema".into());
    whole.append(&mut schema);
    whole.insert("definitions".into(), definitions.into());
    whole.into()
}

/// The schemas of a document and its parts, as definitions only.
#[must_use]
pub fn top_level_schema(routes: &SchemaRoutes, sources: SchemaSources<'_>) -> Json {
    let mut definitions = Map::new();
    let schema = document(routes, sources, &mut definitions);
    let mut all = Map::new();
    all.insert("ServoConfiguration".into(), schema.into());
    all.append(&mut definitions);
    json!({
        "$schema": DRAFT,
        "title": "Servo Schema",
        "definitions": all,
    })
}

/// The schema of the stanzas of `kind`, with the variables of the connector `name`.
#[must_use]
pub fn connector_schema(kind: &ConnectorType, name: &str, shapes: &Shapes) -> Json {
    let Published { root, definitions } = shapes.of(kind).published(Some(&variable(name)));
    let mut whole = Map::new();
    whole.insert("$schema".into(), DRAFT.into());
    let title = format!("{} Configuration Schema", kind.full_name());
    let description = format!(
        "Schema for configuration of {} v{}",
        kind.full_name(),
        kind.metadata().version
    );
    whole.insert("title".into(), title.into());
    whole.insert("description".into(), description.into());
    if let Json::Object(root) = root {
        for (key, value) in root {
            whole.entry(key).or_insert(value);
        }
    }
    if !definitions.is_empty() {
        whole.insert("definitions".into(), definitions.into());
    }
    whole.into()
}

/// The schema of a document, but for its title. What it refers to is put among `definitions`.
fn document(
    routes: &SchemaRoutes,
    sources: SchemaSources<'_>,
    definitions: &mut Map<String, Json>,
) -> Map<String, Json> {
    let mut properties = Map::new();
    let mut basics = BASICS.published(None).root;
    for (key, variable) in VARIABLES {
        let mut entry = basics["properties"][key].take();
        entry["env_names"] = json!([variable]);
        properties.insert(key.to_owned(), entry);
    }
    let optimizer = optimizer::property(sources.environment, definitions);
    properties.insert("optimizer".into(), optimizer);
    properties.insert("connectors".into(), connectors(sources.registry));
    // In the order in which files have them (§2.2).
    if let Some(no_diagnostics) = properties.shift_remove("no_diagnostics") {
        properties.insert("no_diagnostics".into(), no_diagnostics);
    }
    let sections = [
        section::<CommonConfig>(
            "settings",
            "COMMON",
            &SETTINGS,
            "CommonConfiguration",
            definitions,
        ),
        section::<ChecksConfig>(
            "checks",
            "CHECKS",
            &CHECKS,
            "ChecksConfiguration",
            definitions,
        ),
    ];
    properties.extend(sections);
    let mut required = Vec::new();
    for (name, kind) in &routes.routes {
        let filled = sources.environment.get(&variable(name)).is_some();
        let must = routes.named && !filled;
        let stanza = stanza(name, kind, must, sources, definitions);
        properties.insert(name.clone(), stanza);
        if must {
            required.push(name.as_str());
        }
    }
    for kind in sources.registry.types() {
        let name = kind.metadata().default_name;
        properties.entry(name).or_insert_with(|| inactive(kind));
    }
    let mut schema = Map::new();
    schema.insert("description".into(), description(routes).into());
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), properties.into());
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    schema.insert(
        "patternProperties".into(),
        json!({ "^x-": { "description": "Holder of anchors, which nobody reads." } }),
    );
    schema.insert("additionalProperties".into(), false.into());
    schema
}

fn description(routes: &SchemaRoutes) -> String {
    let mut types: Vec<&Metadata> = Vec::new();
    for (_, kind) in &routes.routes {
        if !types.contains(&kind.metadata()) {
            types.push(kind.metadata());
        }
    }
    let servo = format!(
        "Schema for configuration of {} v{}",
        SERVO.type_name, SERVO.version
    );
    if types.is_empty() {
        return servo;
    }
    let types = types
        .iter()
        .map(|kind| format!("{} Connector v{}", kind.type_name, kind.version));
    format!("{servo} with {}", english_series(types))
}

/// `settings` or `checks`, whose variables have names of ServoX's, too.
fn section<T: Default + serde::Serialize>(
    key: &str,
    legacy: &str,
    shape: &Shape,
    model: &str,
    definitions: &mut Map<String, Json>,
) -> (String, Json) {
    let prefix = variable(key);
    let mut published = shape.published(Some(&prefix));
    title(&mut published.root, &heading(key));
    also_named(&mut published.root, &prefix, legacy);
    if let Json::Object(root) = &mut published.root {
        // The property has it.
        root.remove("description");
    }
    let reference = define(published, model, definitions);
    let default = serde_json::to_value(T::default()).map(without_nulls);
    let description = shape.description_at(&[] as &[&str]).unwrap_or_default();
    let first = description.split("\n\n").next().unwrap_or_default();
    let property = json!({
        "title": heading(key),
        "description": first,
        "default": default.unwrap_or_default(),
        "env_names": [prefix],
        "anyOf": [reference, { "type": "null" }],
    });
    (key.to_owned(), property)
}

/// The title of a section.
fn heading(key: &str) -> String {
    let mut title = key.to_owned();
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

/// A stanza of an active connector.
fn stanza(
    name: &str,
    kind: &ConnectorType,
    must: bool,
    sources: SchemaSources<'_>,
    definitions: &mut Map<String, Json>,
) -> Json {
    let shape = sources.shapes.of(kind);
    let prefix = variable(name);
    let mut published = shape.published(Some(&prefix));
    let titled = format!("{} Settings (named {name})", kind.full_name());
    title(&mut published.root, &titled);
    relax::relax(&mut published.root, &shape, &prefix, sources.environment);
    let metadata = kind.metadata();
    let mut model = format!("{}Configuration", metadata.type_name);
    if name != metadata.default_name {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let alias = name.replace(|c| !allowed(c), "_");
        model = format!("{model}__{alias}");
    }
    let reference = define(published, &model, definitions);
    let mut property = json!({
        "title": titled,
        "env_names": [prefix],
    });
    if must {
        property["allOf"] = json!([reference]);
    } else {
        property["anyOf"] = json!([reference, { "type": "null" }]);
    }
    property
}

/// The stanza of a connector that is not active: nobody reads it.
fn inactive(kind: &ConnectorType) -> Json {
    json!({
        "title": format!("{} Settings", kind.full_name()),
        "description": "Inactive: `connectors` does not name it.",
    })
}

/// The key that says which connectors are active (§2.7).
fn connectors(registry: &Registry) -> Json {
    let types = registry.types();
    let identifiers = |kind: &ConnectorType| {
        let metadata = kind.metadata();
        [
            metadata.default_name.to_owned(),
            metadata.type_name.to_owned(),
            kind.class_name(),
        ]
    };
    // The last segment of a dotted path counts.
    let pattern = |names: Vec<String>| format!("^(?:.*\\.)?(?:{})$", names.join("|"));
    let any = pattern(types.iter().flat_map(identifiers).collect());
    let names: Vec<&str> = types.iter().map(|t| t.metadata().default_name).collect();
    let of_type: Map<String, Json> = types
        .iter()
        .map(|kind| {
            let only = pattern(identifiers(kind).into());
            let name = kind.metadata().default_name.to_owned();
            (name, json!({ "type": "string", "pattern": only }))
        })
        .collect();
    let reserved: Vec<&str> = routes::TOP_LEVEL
        .into_iter()
        .chain(routes::RESERVED)
        .collect();
    json!({
        "title": "Connectors",
        "description": "The connectors that run: a list of types, or a mapping of names to types. Default: all that have a stanza.",
        "env_names": ["SERVO_CONNECTORS"],
        "examples": [names],
        "anyOf": [
            {
                "type": "array",
                "items": { "type": "string", "pattern": any },
            },
            {
                "type": "object",
                "properties": of_type,
                "additionalProperties": { "type": "string", "pattern": any },
                "propertyNames": {
                    "pattern": "^[0-9a-zA-Z_/.-]{3,128}$",
                    "not": { "anyOf": [{ "enum": reserved }, { "pattern": "^x-" }] },
                },
            },
            {
                "type": "string",
                "description": "JSON of either, or types with commas between them.",
            },
            { "type": "null" },
        ],
    })
}

/// Puts `published` among the definitions, under a name of its own.
fn define(published: Published, model: &str, definitions: &mut Map<String, Json>) -> Json {
    let mut name = model.to_owned();
    let mut number = 2;
    while definitions.contains_key(&name) {
        name = format!("{model}{number}");
        number += 1;
    }
    published.define(&name, definitions)
}

/// Puts `text` first, in place of the name of a Rust type.
fn title(schema: &mut Json, text: &str) {
    if let Json::Object(schema) = schema {
        let mut titled = Map::from_iter([("title".to_owned(), text.into())]);
        schema.remove("title");
        titled.append(schema);
        *schema = titled;
    }
}

/// Adds the variables that begin with `legacy` to those that begin with `prefix`, at every depth.
fn also_named(schema: &mut Json, prefix: &str, legacy: &str) {
    match schema {
        Json::Object(map) => {
            if let Some(Json::Array(names)) = map.get_mut("env_names") {
                let further: Vec<Json> = names
                    .iter()
                    .filter_map(|name| name.as_str()?.strip_prefix(prefix))
                    .map(|rest| format!("{legacy}{rest}").into())
                    .collect();
                names.extend(further);
            }
            for value in map.values_mut() {
                also_named(value, prefix, legacy);
            }
        }
        Json::Array(items) => {
            for item in items {
                also_named(item, prefix, legacy);
            }
        }
        _ => {}
    }
}

fn without_nulls(value: Json) -> Json {
    match value {
        Json::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}
