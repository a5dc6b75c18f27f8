//! From a JSON schema as text to nodes.

use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use crate::merge::{PATTERNS, merge, only_notes};
use crate::node::{
    Body, Bound, Id, Kinds, List, Node, Nodes, Notes, Object, Others, Pattern, Plain, Property,
    Range, Text,
};
use crate::number_text;

/// Schemas nested or merged deeper than this come from no Rust type; what is below may be anything.
const DEEPEST: usize = 64;

pub(crate) fn compile(schema: &Json) -> Nodes {
    let mut compiler = Compiler {
        document: schema,
        nodes: Nodes::default(),
        references: HashMap::new(),
        patterns: HashMap::new(),
    };
    compiler.nodes.root = compiler.reference("#", 0);
    compiler.nodes.hush();
    compiler.nodes
}

struct Compiler<'a> {
    document: &'a Json,
    nodes: Nodes,
    references: HashMap<String, Id>,
    /// Compiled once: most types repeat a few, and compilation takes its time.
    patterns: HashMap<String, Option<Pattern>>,
}

impl Compiler<'_> {
    fn place(&mut self, name: Option<String>) -> Id {
        self.nodes.all.push(Node {
            notes: Notes::default(),
            body: Body::Any,
            name,
            secret: false,
            hushed: false,
        });
        self.nodes.all.len() - 1
    }

    fn resolve(&self, reference: &str) -> Option<&Json> {
        self.document.pointer(reference.strip_prefix('#')?)
    }

    /// The node that `reference` means, compiled once.
    fn reference(&mut self, reference: &str, depth: usize) -> Id {
        if let Some(id) = self.references.get(reference) {
            return *id;
        }
        let target = self.resolve(reference).cloned().unwrap_or(Json::Bool(true));
        let name = match reference.rsplit_once('/') {
            Some((_, name)) => name.replace("~1", "/").replace("~0", "~"),
            None => target
                .get("title")
                .and_then(Json::as_str)
                .unwrap_or("Root")
                .replace(|c: char| !c.is_ascii_alphanumeric(), ""),
        };
        let id = self.place(Some(name));
        self.references.insert(reference.to_owned(), id);
        self.fill(id, &target, depth);
        id
    }

    fn compile(&mut self, schema: &Json, depth: usize) -> Id {
        // Most uses of a definition say nothing of their own.
        if let Json::Object(schema) = schema
            && schema.len() == 1
            && let Some(Json::String(reference)) = schema.get("$ref")
        {
            return self.reference(reference, depth);
        }
        let id = self.place(None);
        self.fill(id, schema, depth);
        id
    }

    fn fill(&mut self, id: Id, schema: &Json, depth: usize) {
        let (notes, body) = match schema {
            Json::Bool(false) => (Notes::default(), Body::Never),
            Json::Object(schema) if depth < DEEPEST => self.object(schema.clone(), depth + 1),
            _ => (Notes::default(), Body::Any),
        };
        if let Some(node) = self.nodes.all.get_mut(id) {
            node.notes = notes;
            node.body = body;
        }
    }

    fn object(&mut self, mut schema: Map<String, Json>, depth: usize) -> (Notes, Body) {
        for _ in 0..DEEPEST {
            if let Some(Json::String(reference)) = schema.get("$ref").cloned() {
                if only_notes(&schema, "$ref") {
                    let target = self.reference(&reference, depth);
                    return (notes(&schema), Body::Same(target));
                }
                schema.remove("$ref");
                if let Some(Json::Object(target)) = self.resolve(&reference) {
                    schema = merge(without_notes(target), &schema);
                }
            } else if let Some(Json::Array(all)) = schema.get("allOf").cloned() {
                if let [one] = all.as_slice()
                    && only_notes(&schema, "allOf")
                {
                    let target = self.compile(one, depth);
                    return (notes(&schema), Body::Same(target));
                }
                schema.remove("allOf");
                for part in &all {
                    match part {
                        Json::Object(part) => schema = self.merged(part, &schema),
                        Json::Bool(false) => return (notes(&schema), Body::Never),
                        _ => {}
                    }
                }
            } else {
                break;
            }
        }
        let notes = notes(&schema);
        for key in ["anyOf", "oneOf"] {
            let Some(Json::Array(variants)) = schema.get(key) else {
                continue;
            };
            if only_notes(&schema, key) {
                if let Some(plain) = collapsed(variants) {
                    return (notes, Body::Plain(Box::new(plain)));
                }
                let variants = variants.clone();
                return (notes, self.union(&variants, depth));
            }
            let mut variants = variants.clone();
            schema.remove(key);
            let outer = without_notes(&schema);
            for variant in &mut variants {
                if let Json::Object(inner) = variant {
                    *variant = Json::Object(self.merged(inner, &outer));
                } else if *variant == Json::Bool(true) {
                    *variant = outer.clone().into();
                }
            }
            return (notes, self.union(&variants, depth));
        }
        if only_notes(&schema, "") && notes.format.is_none() {
            return (notes, Body::Any);
        }
        let plain = self.plain(&schema, &notes, depth);
        (notes, Body::Plain(Box::new(plain)))
    }

    /// `inner` and `outer` together; a reference in either that would be lost is resolved first.
    fn merged(&self, inner: &Map<String, Json>, outer: &Map<String, Json>) -> Map<String, Json> {
        let mut inner = inner.clone();
        for _ in 0..DEEPEST {
            let Some(Json::String(reference)) = inner.remove("$ref") else {
                break;
            };
            if let Some(Json::Object(target)) = self.resolve(&reference) {
                inner = merge(without_notes(target), &inner);
            }
        }
        merge(inner, outer)
    }

    fn union(&mut self, variants: &[Json], depth: usize) -> Body {
        let variants: Vec<Id> = variants
            .iter()
            .filter(|variant| **variant != Json::Bool(false))
            .map(|variant| self.compile(variant, depth))
            .collect();
        match variants.as_slice() {
            [] => Body::Never,
            [one] => Body::Same(*one),
            _ => Body::Union(variants),
        }
    }

    fn plain(&mut self, schema: &Map<String, Json>, notes: &Notes, depth: usize) -> Plain {
        let values = values(schema);
        let kinds = match &values {
            Some(values) => kinds(schema).and(kinds_of(values)),
            None => kinds(schema),
        };
        let range = Range {
            lower: bound(schema, "minimum", "exclusiveMinimum", |a, b| a > b),
            upper: bound(schema, "maximum", "exclusiveMaximum", |a, b| a < b),
        };
        let mut plain = Plain {
            kinds,
            strict: schema.get("x-strict") == Some(&Json::Bool(true)),
            values,
            text: Text {
                patterns: self.patterns(schema),
                min: count(schema, "minLength"),
                max: count(schema, "maxLength"),
            },
            range,
            number_text: Vec::new(),
            list: List::default(),
            object: Object::default(),
        };
        self.limit_numbers(&mut plain, notes.format.as_deref());
        if kinds.any(Kinds::ARRAY) {
            plain.list = self.list(schema, depth);
        }
        if kinds.any(Kinds::OBJECT) {
            plain.object = self.mapping(schema, depth);
        }
        plain
    }

    fn pattern(&mut self, source: &str) -> Option<Pattern> {
        let known = self.patterns.get(source).cloned();
        known.unwrap_or_else(|| {
            let pattern = Pattern::new(source);
            self.patterns.insert(source.to_owned(), pattern.clone());
            pattern
        })
    }

    /// All that a text must match.
    fn patterns(&mut self, schema: &Map<String, Json>) -> Vec<Pattern> {
        let further = schema.get(PATTERNS).and_then(Json::as_array);
        schema
            .get("pattern")
            .into_iter()
            .chain(further.into_iter().flatten())
            .filter_map(Json::as_str)
            .filter_map(|source| self.pattern(source))
            .collect()
    }

    /// Makes all that limits numbers agree: limits, format, and the texts that stand for numbers.
    fn limit_numbers(&mut self, plain: &mut Plain, format: Option<&str>) {
        if !plain.kinds.numeric() {
            return;
        }
        let texts = if plain.kinds.any(Kinds::NUMBER) {
            number_text::decimal_texts(&plain.range)
        } else {
            let (low, high) = number_text::whole_limits(&plain.range, format);
            plain.range.lower = whole_bound(low);
            plain.range.upper = whole_bound(high);
            number_text::whole_texts(low, high)
        };
        // Where text is wanted, none of it is a number.
        if !plain.kinds.any(Kinds::STRING) {
            plain.number_text = texts.iter().filter_map(|text| self.pattern(text)).collect();
        }
    }

    fn list(&mut self, schema: &Map<String, Json>, depth: usize) -> List {
        // Draft 7 says `items: [..], additionalItems`, later ones `prefixItems: [..], items`.
        let (first, rest) = match (schema.get("prefixItems"), schema.get("items")) {
            (Some(Json::Array(first)), rest) => (first.as_slice(), rest),
            (_, Some(Json::Array(first))) => (first.as_slice(), schema.get("additionalItems")),
            (_, rest) => (&[][..], rest),
        };
        List {
            first: first.iter().map(|item| self.compile(item, depth)).collect(),
            rest: rest.map(|item| self.compile(item, depth)),
            min: count(schema, "minItems"),
            max: count(schema, "maxItems"),
        }
    }

    fn mapping(&mut self, schema: &Map<String, Json>, depth: usize) -> Object {
        let mut required: Vec<String> = match schema.get("required") {
            Some(Json::Array(keys)) => keys
                .iter()
                .filter_map(|key| key.as_str().map(str::to_owned))
                .collect(),
            _ => Vec::new(),
        };
        let mut object = Object {
            min: count(schema, "minProperties"),
            max: count(schema, "maxProperties"),
            ..Object::default()
        };
        if let Some(Json::Object(properties)) = schema.get("properties") {
            for (key, property) in properties {
                let node = self.compile(property, depth);
                let position = required.iter().position(|known| known == key);
                object.places.insert(key.clone(), object.properties.len());
                object.properties.push(Property {
                    key: key.clone(),
                    node,
                    required: position.is_some(),
                });
                if let Some(position) = position {
                    required.remove(position);
                }
            }
        }
        object.also_required = required;
        if let Some(Json::Object(patterns)) = schema.get("patternProperties") {
            for (source, property) in patterns {
                let node = self.compile(property, depth);
                if let Some(pattern) = self.pattern(source) {
                    object.patterns.push((pattern, node));
                }
            }
        }
        let closed = schema.get("unevaluatedProperties") == Some(&Json::Bool(false));
        object.others = match schema.get("additionalProperties") {
            Some(Json::Bool(false)) => Others::Refused,
            Some(node @ Json::Object(_)) => Others::Each(self.compile(node, depth)),
            _ if closed => Others::Refused,
            _ => Others::Anything,
        };
        object.names = schema.get("propertyNames").map(|names| {
            let mut names = names.clone();
            if let Json::Object(names) = &mut names
                && !names.contains_key("$ref")
            {
                names.entry("type").or_insert("string".into());
            }
            self.compile(&names, depth)
        });
        if let Some(Json::Object(aliases)) = schema.get("x-aliases") {
            for (alias, key) in aliases {
                if let Some(key) = key.as_str()
                    && object.places.contains_key(key)
                    && !object.places.contains_key(alias)
                {
                    object.aliases.push((alias.clone(), key.to_owned()));
                    self.nodes.aliases = true;
                }
            }
        }
        object
    }
}

fn whole_bound(number: i128) -> Option<Bound> {
    Some(Bound {
        number: serde_json::Number::from_i128(number)?,
        exclusive: false,
    })
}

fn without_notes(schema: &Map<String, Json>) -> Map<String, Json> {
    let mut schema = schema.clone();
    schema.retain(|key, _| {
        !matches!(
            key.as_str(),
            "title" | "description" | "default" | "examples" | "$schema" | "$defs" | "definitions"
        )
    });
    schema
}

fn text(schema: &Map<String, Json>, key: &str) -> Option<String> {
    schema.get(key)?.as_str().map(str::to_owned)
}

/// What the doc comment of a type says, its lines joined to paragraphs: where it breaks them is a matter of
/// its source. Code and lists stay as they are.
fn description(schema: &Map<String, Json>) -> Option<String> {
    let text = text(schema, "description")?;
    let mut out = String::with_capacity(text.len());
    let mut code = false;
    let mut joins = false;
    for line in text.lines() {
        let bare = line.trim_start();
        let fence = bare.starts_with("```");
        let own = code || fence || bare.is_empty() || bare.starts_with(['-', '*', '|', '#', '>']);
        if !out.is_empty() {
            out.push(if joins && !own { ' ' } else { '\n' });
        }
        out.push_str(if code { line } else { line.trim() });
        code ^= fence;
        joins = !(code || fence || bare.is_empty() || bare.starts_with(['|', '#']));
    }
    Some(out)
}

fn count(schema: &Map<String, Json>, key: &str) -> Option<u64> {
    schema.get(key)?.as_u64()
}

fn notes(schema: &Map<String, Json>) -> Notes {
    let says = |key: &str| schema.get(key) == Some(&Json::Bool(true));
    let format = text(schema, "format");
    Notes {
        title: text(schema, "title"),
        description: description(schema),
        default: schema.get("default").cloned(),
        examples: schema.get("examples").filter(|it| it.is_array()).cloned(),
        deprecated: says("deprecated"),
        secret: says("writeOnly") || format.as_deref() == Some("password"),
        format,
    }
}

fn kinds(schema: &Map<String, Json>) -> Kinds {
    match schema.get("type") {
        Some(Json::String(kind)) => Kinds::named(kind),
        Some(Json::Array(kinds)) => kinds
            .iter()
            .filter_map(Json::as_str)
            .fold(Kinds::NONE, |all, kind| all.with(Kinds::named(kind))),
        _ => Kinds::ALL,
    }
}

fn values(schema: &Map<String, Json>) -> Option<Vec<(Json, Option<String>)>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(value), _) => Some(vec![(value.clone(), None)]),
        (None, Some(Json::Array(values))) => {
            Some(values.iter().map(|value| (value.clone(), None)).collect())
        }
        _ => None,
    }
}

fn kinds_of(values: &[(Json, Option<String>)]) -> Kinds {
    values.iter().fold(Kinds::NONE, |all, (value, _)| {
        all.with(match value {
            Json::Null => Kinds::NULL,
            Json::Bool(_) => Kinds::BOOLEAN,
            Json::Number(_) => Kinds::INTEGER.with(Kinds::NUMBER),
            Json::String(_) => Kinds::STRING,
            Json::Array(_) => Kinds::ARRAY,
            Json::Object(_) => Kinds::OBJECT,
        })
    })
}

/// The tighter of an inclusive and an exclusive limit.
fn bound(
    schema: &Map<String, Json>,
    inclusive: &str,
    exclusive: &str,
    tighter: impl Fn(f64, f64) -> bool,
) -> Option<Bound> {
    let get = |key: &str| match schema.get(key) {
        Some(Json::Number(number)) => Some(number.clone()),
        _ => None,
    };
    let inclusive = get(inclusive).map(|number| Bound {
        number,
        exclusive: false,
    });
    let exclusive = get(exclusive).map(|number| Bound {
        number,
        exclusive: true,
    });
    match (inclusive, exclusive) {
        (Some(a), Some(b)) => {
            let wins = tighter(
                a.number.as_f64().unwrap_or_default(),
                b.number.as_f64().unwrap_or_default(),
            );
            Some(if wins { a } else { b })
        }
        (a, b) => a.or(b),
    }
}

/// A choice of texts, each with a remark, is one list of values.
fn collapsed(variants: &[Json]) -> Option<Plain> {
    let mut all = Vec::new();
    for variant in variants {
        let variant = variant.as_object()?;
        let values = values(variant)?;
        let known = ["const", "enum", "type"];
        if variant.keys().any(|key| {
            !known.contains(&key.as_str())
                && !matches!(key.as_str(), "title" | "description" | "deprecated")
        }) {
            return None;
        }
        let single = values.len() == 1;
        for (value, _) in values {
            if !value.is_string() {
                return None;
            }
            let remark = description(variant).filter(|_| single);
            all.push((value, remark));
        }
    }
    Some(Plain {
        kinds: Kinds::STRING,
        strict: false,
        values: Some(all),
        text: Text::default(),
        range: Range::default(),
        number_text: Vec::new(),
        list: List::default(),
        object: Object::default(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_of_a_paragraph_are_joined_and_those_of_code_are_not() {
        let says =
            "How long\nit takes.\n\n- one\n  item\n- two\n\n```yaml\na:\n  b: 1\n```\nThe\nend.";
        let schema = json!({"description": says});
        assert_eq!(
            description(schema.as_object().unwrap()).unwrap(),
            "How long it takes.\n\n- one item\n- two\n\n```yaml\na:\n  b: 1\n```\nThe end."
        );
    }
}
