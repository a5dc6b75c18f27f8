//! The schema for other programs (`spec/config-and-cli.md` §7.8): draft 7, and as wide as a check.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use crate::node::{Body, Bound, Id, Kinds, Node, Nodes, Object, Others, Pattern, Plain};
use crate::published::Published;
use crate::scalar::{EXACT, WORDS};
use crate::variables::{separator, variable_segment};

pub(crate) fn publish(nodes: &Nodes, prefix: Option<&str>) -> Published {
    let mut publisher = Publisher {
        nodes,
        names: HashMap::new(),
        definitions: Map::new(),
        above: vec![nodes.root],
    };
    let at = prefix.map(|prefix| At {
        name: prefix.to_owned(),
        depth: 0,
    });
    let mut root = publisher.body(nodes.root, at.as_ref());
    publisher.annotate(nodes.node(nodes.root), &mut root);
    Published {
        root: root.into(),
        definitions: publisher.definitions,
    }
}

/// Where variables reach: the name of the variable, and how deep it is.
struct At {
    name: String,
    depth: usize,
}

struct Publisher<'a> {
    nodes: &'a Nodes,
    names: HashMap<Id, String>,
    definitions: Map<String, Json>,
    above: Vec<Id>,
}

type Schema = Map<String, Json>;

impl Publisher<'_> {
    /// The schema of a use of `id`.
    fn usage(&mut self, id: Id, at: Option<&At>) -> Schema {
        let nodes = self.nodes;
        let node = nodes.node(id);
        if node.name.is_some() {
            // Where variables reach, each use has variables of its own; elsewhere all uses are alike.
            let inline = at.is_some()
                && !self.above.contains(&id)
                && nodes
                    .objects(id)
                    .any(|object| !object.properties.is_empty());
            if !inline {
                let name = self.define(id);
                return one("$ref", format!("#/definitions/{name}"));
            }
        }
        self.above.push(id);
        let mut schema = self.body(id, at);
        self.above.pop();
        self.annotate(node, &mut schema);
        schema
    }

    fn define(&mut self, id: Id) -> String {
        if let Some(name) = self.names.get(&id) {
            return name.clone();
        }
        let node = self.nodes.node(id);
        let wanted = node.name.clone().unwrap_or_default();
        let mut name = wanted.clone();
        let mut number = 2;
        while self.definitions.contains_key(&name) {
            name = format!("{wanted}{number}");
            number += 1;
        }
        self.names.insert(id, name.clone());
        self.definitions.insert(name.clone(), Json::Null);
        let mut schema = self.body(id, None);
        self.annotate(node, &mut schema);
        self.definitions.insert(name.clone(), schema.into());
        name
    }

    fn annotate(&self, node: &Node, schema: &mut Schema) {
        let notes = &node.notes;
        let mut says = Schema::new();
        if let Some(title) = &notes.title {
            says.insert("title".into(), title.clone().into());
        }
        if let Some(description) = &notes.description {
            says.insert("description".into(), description.clone().into());
        }
        if notes.secret {
            says.insert("format".into(), "password".into());
            says.insert("writeOnly".into(), true.into());
        } else if let Some(format) = &notes.format {
            says.insert("format".into(), format.clone().into());
        }
        if notes.deprecated {
            says.insert("deprecated".into(), true.into());
        }
        if !notes.secret || notes.default == Some(Json::Null) {
            if let Some(default) = &notes.default {
                says.insert("default".into(), default.clone());
            }
            if let Some(examples) = &notes.examples {
                says.insert("examples".into(), examples.clone());
            }
        }
        if says.is_empty() {
            return;
        }
        // Draft 7 ignores what stands beside a reference.
        if let Some(reference) = schema.remove("$ref") {
            says.insert("allOf".into(), json!([{ "$ref": reference }]));
        }
        for (key, value) in std::mem::take(schema) {
            says.entry(key).or_insert(value);
        }
        *schema = says;
    }

    fn body(&mut self, id: Id, at: Option<&At>) -> Schema {
        let nodes = self.nodes;
        match &nodes.node(id).body {
            Body::Any => Schema::new(),
            Body::Never => one("not", json!({})),
            Body::Same(other) => self.usage(*other, at),
            Body::Union(variants) => {
                let mut all: Vec<Json> = Vec::new();
                for variant in variants {
                    let variant = Json::Object(self.usage(*variant, at));
                    if !all.contains(&variant) {
                        all.push(variant);
                    }
                }
                one("anyOf", all)
            }
            Body::Plain(plain) => self.plain(plain, at),
        }
    }

    fn plain(&mut self, plain: &Plain, at: Option<&At>) -> Schema {
        let mut schema = Schema::new();
        if let Some(values) = &plain.values {
            schema.insert("type".into(), kinds(plain.kinds, plain.kinds));
            let all: Vec<&Json> = values.iter().map(|(value, _)| value).collect();
            schema.insert("enum".into(), json!(all));
            if values.iter().any(|(_, remark)| remark.is_some()) {
                let remarks: Vec<&str> = values
                    .iter()
                    .map(|(_, remark)| remark.as_deref().unwrap_or_default())
                    .collect();
                schema.insert("enumDescriptions".into(), json!(remarks));
            }
            return schema;
        }
        if plain.kinds != Kinds::ALL {
            schema.insert("type".into(), Json::Null);
        }
        let accepted = scalars(plain, &mut schema);
        if let Some(entry) = schema.get_mut("type") {
            *entry = kinds(plain.kinds, accepted);
        }
        if plain.kinds.any(Kinds::ARRAY) {
            self.list(plain, &mut schema);
        }
        if plain.kinds.any(Kinds::OBJECT) {
            self.object(&plain.object, &mut schema, at);
        }
        schema
    }

    fn list(&mut self, plain: &Plain, schema: &mut Schema) {
        let list = &plain.list;
        let rest = list.rest.map(|rest| Json::Object(self.usage(rest, None)));
        if list.first.is_empty() {
            schema.extend(rest.map(|rest| ("items".to_owned(), rest)));
        } else {
            let first: Vec<Json> = list
                .first
                .iter()
                .map(|id| self.usage(*id, None).into())
                .collect();
            schema.insert("items".into(), first.into());
            schema.extend(rest.map(|rest| ("additionalItems".to_owned(), rest)));
        }
        number(schema, "minItems", list.min);
        number(schema, "maxItems", list.max);
    }

    fn object(&mut self, object: &Object, schema: &mut Schema, at: Option<&At>) {
        let mut properties = Schema::new();
        for property in &object.properties {
            let at = at.map(|at| At {
                name: format!(
                    "{}{}{}",
                    at.name,
                    separator(at.depth),
                    variable_segment(&property.key)
                ),
                depth: at.depth + 1,
            });
            let entry = self.property(&property.key, property.node, property.required, at);
            let aliases = object
                .aliases
                .iter()
                .filter(|(_, key)| *key == property.key);
            for (alias, _) in aliases {
                properties.insert(alias.clone(), entry.clone().into());
            }
            properties.insert(property.key.clone(), entry.into());
        }
        if !properties.is_empty() {
            schema.insert("properties".into(), properties.into());
        }
        let aliased = |key: &str| object.aliases.iter().any(|(_, known)| known == key);
        let required: Vec<&str> = object
            .properties
            .iter()
            .filter(|property| property.required && !aliased(&property.key))
            .map(|property| property.key.as_str())
            .chain(object.also_required.iter().map(String::as_str))
            .collect();
        if !required.is_empty() {
            schema.insert("required".into(), json!(required));
        }
        spellings(object, schema);
        match object.others {
            Others::Anything => {}
            Others::Refused => {
                schema.insert("additionalProperties".into(), false.into());
            }
            Others::Each(node) => {
                let each = self.usage(node, None);
                schema.insert("additionalProperties".into(), each.into());
            }
        }
        if !object.patterns.is_empty() {
            let patterns: Schema = object
                .patterns
                .iter()
                .map(|(pattern, node)| (pattern.source.clone(), self.usage(*node, None).into()))
                .collect();
            schema.insert("patternProperties".into(), patterns.into());
        }
        if let Some(names) = object.names {
            let names = self.usage(names, None);
            schema.insert("propertyNames".into(), names.into());
        }
        number(schema, "minProperties", object.min);
        number(schema, "maxProperties", object.max);
    }

    fn property(&mut self, key: &str, id: Id, required: bool, at: Option<At>) -> Schema {
        let mut schema = self.usage(id, at.as_ref());
        if !required && !self.nodes.takes_null(id) {
            or_null(&mut schema);
        }
        let node = self.nodes.node(id);
        let mut says = Schema::new();
        let title = match (&node.name, &node.notes.title) {
            (None, Some(title)) => title.clone(),
            _ => title_case(key),
        };
        says.insert("title".into(), title.into());
        if node.secret {
            says.insert("format".into(), "password".into());
            says.insert("writeOnly".into(), true.into());
            if schema
                .get("default")
                .is_some_and(|default| !default.is_null())
            {
                schema.remove("default");
            }
            schema.remove("examples");
        }
        if let Some(at) = at {
            says.insert("env_names".into(), json!([at.name]));
        }
        if let Some(reference) = schema.remove("$ref") {
            says.insert("allOf".into(), json!([{ "$ref": reference }]));
        }
        for (key, value) in schema {
            says.entry(key).or_insert(value);
        }
        says
    }
}

fn one(key: &str, value: impl Into<Json>) -> Schema {
    Schema::from_iter([(key.to_owned(), value.into())])
}

fn number(schema: &mut Schema, key: &str, number: Option<u64>) {
    schema.extend(number.map(|number| (key.to_owned(), number.into())));
}

/// The names of all `accepted` kinds, first of those that are wanted.
fn kinds(wanted: Kinds, accepted: Kinds) -> Json {
    let names: Vec<&str> = [wanted, accepted.without(wanted)]
        .into_iter()
        .flat_map(|some| {
            Kinds::NAMED
                .into_iter()
                .filter(move |(kind, _)| some.any(*kind))
        })
        // A whole number is a number.
        .filter(|(kind, _)| *kind != Kinds::INTEGER || !accepted.any(Kinds::NUMBER))
        .map(|(_, name)| name)
        .collect();
    match names.as_slice() {
        [one] => json!(one),
        all => json!(all),
    }
}

/// Says which scalars are accepted, and answers with the kinds of value that are.
fn scalars(plain: &Plain, schema: &mut Schema) -> Kinds {
    let kinds = plain.kinds;
    let mut accepted = kinds;
    let coerces = !plain.strict;
    if kinds.numeric() {
        bound(
            schema,
            ["minimum", "exclusiveMinimum"],
            plain.range.lower.as_ref(),
        );
        bound(
            schema,
            ["maximum", "exclusiveMaximum"],
            plain.range.upper.as_ref(),
        );
    } else if coerces && kinds.any(Kinds::STRING) && plain.text.takes_numbers() {
        accepted = accepted.with(Kinds::NUMBER);
        schema.insert("minimum".into(), EXACT.0.into());
        schema.insert("maximum".into(), EXACT.1.into());
    } else if coerces && kinds.any(Kinds::BOOLEAN) {
        accepted = accepted.with(Kinds::INTEGER);
        schema.insert("minimum".into(), 0.into());
        schema.insert("maximum".into(), 1.into());
    }
    if kinds.any(Kinds::STRING) {
        all_match(&plain.text.patterns, schema);
        number(schema, "minLength", plain.text.min);
        number(schema, "maxLength", plain.text.max);
    } else if coerces {
        match (kinds.any(Kinds::BOOLEAN), kinds.numeric()) {
            (false, false) => return accepted,
            (true, false) => {
                schema.insert("pattern".into(), words().into());
            }
            (false, true) => all_match(&plain.number_text, schema),
            (true, true) => {
                let mut number = Schema::new();
                all_match(&plain.number_text, &mut number);
                schema.insert("anyOf".into(), json!([{ "pattern": words() }, number]));
            }
        }
        accepted = accepted.with(Kinds::STRING);
    }
    accepted
}

fn all_match(patterns: &[Pattern], schema: &mut Schema) {
    let mut patterns = patterns.iter().map(|pattern| &pattern.source);
    if let Some(first) = patterns.next() {
        schema.insert("pattern".into(), first.clone().into());
    }
    for further in patterns {
        also(schema, json!({ "pattern": further }));
    }
}

/// Adds what must hold too.
fn also(schema: &mut Schema, condition: Json) {
    match schema.entry("allOf").or_insert_with(|| json!([])) {
        Json::Array(all) => all.push(condition),
        other => *other = json!([condition]),
    }
}

fn bound(schema: &mut Schema, [inclusive, exclusive]: [&str; 2], bound: Option<&Bound>) {
    if let Some(bound) = bound {
        let key = if bound.exclusive {
            exclusive
        } else {
            inclusive
        };
        schema.insert(key.to_owned(), bound.number.clone().into());
    }
}

/// The words that stand for true and false, in any case.
fn words() -> String {
    let words: Vec<String> = WORDS
        .iter()
        .map(|(word, _)| {
            word.chars()
                .map(|c| match c.to_ascii_uppercase() {
                    upper if upper == c => c.to_string(),
                    upper => format!("[{c}{upper}]"),
                })
                .collect()
        })
        .collect();
    format!("^(?:{})$", words.join("|"))
}

/// A key is given under one of its spellings: at least one if it is required, and never two.
fn spellings(object: &Object, schema: &mut Schema) {
    let mut twice = Vec::new();
    for property in &object.properties {
        let mut all = vec![property.key.as_str()];
        all.extend(
            object
                .aliases
                .iter()
                .filter(|(_, key)| *key == property.key)
                .map(|(alias, _)| alias.as_str()),
        );
        if all.len() < 2 {
            continue;
        }
        if property.required {
            let each: Vec<Json> = all.iter().map(|key| json!({ "required": [key] })).collect();
            also(schema, json!({ "anyOf": each }));
        }
        for (index, one) in all.iter().enumerate() {
            for other in all.iter().skip(index + 1) {
                twice.push(json!({ "type": "object", "required": [one, other] }));
            }
        }
    }
    if !twice.is_empty() {
        schema.insert("not".into(), json!({ "anyOf": twice }));
    }
}

/// Makes null valid: for a key that need not be there it means that it is not.
fn or_null(schema: &mut Schema) {
    let absent = json!({ "type": "null" });
    if let Some(reference) = schema.remove("$ref") {
        schema.insert("anyOf".into(), json!([{ "$ref": reference }, absent]));
        return;
    }
    if let Some(kind) = schema.get_mut("type") {
        match kind {
            Json::Array(all) => all.push("null".into()),
            one => *one = json!([one, "null"]),
        }
        if let Some(Json::Array(values)) = schema.get_mut("enum") {
            values.push(Json::Null);
        }
        return;
    }
    if let Some(Json::Array(all)) = schema.get_mut("anyOf") {
        all.push(absent);
    } else if let Some(all) = schema.remove("allOf") {
        let reference = match all {
            Json::Array(mut all) if all.len() == 1 => all.remove(0),
            all => json!({ "allOf": all }),
        };
        schema.insert("anyOf".into(), json!([reference, absent]));
    } else if schema.remove("not").is_some() {
        schema.insert("type".into(), "null".into());
    }
}

/// `no_diagnostics` as `No Diagnostics`, `scrapePool` as `Scrape Pool`.
pub(crate) fn title_case(key: &str) -> String {
    let mut title = String::with_capacity(key.len() + 4);
    let mut start = true;
    let mut lower = false;
    for c in key.chars() {
        if matches!(c, '_' | '-' | ' ' | '.') {
            start = true;
            lower = false;
            continue;
        }
        if start || (lower && c.is_uppercase()) {
            if !title.is_empty() {
                title.push(' ');
            }
            title.extend(c.to_uppercase());
        } else {
            title.push(c);
        }
        lower = c.is_lowercase();
        start = false;
    }
    title
}
