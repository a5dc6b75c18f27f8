//! Checking a value, and making scalars what the type wants (`spec/config-and-cli.md` §2.9).

use std::cell::Cell;
use std::rc::Rc;

use serde_json::Value as Json;
use serde_yaml::{Mapping, Value};

use crate::expected::{expected_mapping, one_of};
use crate::fault::{Fault, describe, nearest, quoted};
use crate::node::{Body, Id, Kinds, Node, Nodes, Object, Others, Plain};
use crate::scalar::{Scalar, same, scalar};

/// Values nested deeper than this are refused.
const DEEPEST: usize = 64;

/// One check under way.
pub(crate) struct Check<'a> {
    pub(crate) nodes: &'a Nodes,
    /// Whether scalars of another kind are converted.
    pub(crate) coerces: bool,
    pub(crate) path: Vec<String>,
    pub(crate) faults: Vec<Fault>,
    /// How many variants of unions were tried, in all attempts together.
    pub(crate) tried: Rc<Cell<usize>>,
}

/// What must not be quoted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hush {
    /// The value is inside of a secret.
    inside: bool,
    /// The value may be or hold a secret.
    pub(crate) here: bool,
}

impl Hush {
    fn at(self, node: &Node) -> Self {
        Self {
            inside: self.inside || node.secret,
            here: self.here || node.hushed,
        }
    }

    pub(crate) fn below(self) -> Self {
        Self {
            here: self.inside,
            ..self
        }
    }
}

impl<'a> Check<'a> {
    pub(crate) fn new(nodes: &'a Nodes) -> Self {
        Self {
            nodes,
            coerces: true,
            path: Vec::new(),
            faults: Vec::new(),
            tried: Rc::new(Cell::new(0)),
        }
    }

    pub(crate) fn wrong(&mut self, expected: impl Into<String>, value: &Value, hushed: Hush) {
        self.faults.push(Fault::wrong(
            self.path.clone(),
            expected.into(),
            describe(value, hushed.here),
        ));
    }

    fn below(&mut self, key: &str, id: Id, value: &mut Value, hushed: Hush) {
        self.path.push(key.to_owned());
        self.check(id, value, hushed.below());
        self.path.pop();
    }

    pub(crate) fn path_to(&self, key: &str) -> Vec<String> {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        path
    }

    /// Checks `value`.
    pub(crate) fn check(&mut self, id: Id, value: &mut Value, hushed: Hush) {
        let hushed = hushed.at(self.nodes.node(id));
        let id = self.nodes.resolved(id);
        let nodes = self.nodes;
        if self.path.len() > DEEPEST {
            let hushed = Hush::default();
            self.wrong("fewer levels of nesting", value, hushed);
            return;
        }
        match &nodes.node(id).body {
            Body::Any | Body::Same(_) => {}
            Body::Never => self.wrong("nothing", value, hushed),
            Body::Union(variants) => self.union(id, variants, value, hushed),
            Body::Plain(plain) => self.plain(id, plain, value, hushed),
        }
    }

    fn plain(&mut self, id: Id, plain: &Plain, value: &mut Value, hushed: Hush) {
        if let Some(values) = &plain.values {
            self.one_of(values.iter().map(|(value, _)| value), value, hushed);
            return;
        }
        let kinds = plain.kinds;
        match value {
            Value::Null if kinds.any(Kinds::NULL) => {}
            Value::Bool(_) if kinds.any(Kinds::BOOLEAN) => {}
            Value::Sequence(items) if kinds.any(Kinds::ARRAY) => {
                self.list(id, plain, items, hushed);
            }
            Value::Mapping(mapping) if kinds.any(Kinds::OBJECT) => {
                self.mapping(&plain.object, mapping, hushed);
            }
            Value::Number(_) | Value::String(_) => {
                match scalar(plain, value, self.coerces && !plain.strict) {
                    Some(Scalar::Becomes(converted)) => *value = converted,
                    Some(Scalar::Fits) => {}
                    None => self.wrong(self.nodes.expected(id), value, hushed),
                }
            }
            _ => self.wrong(self.nodes.expected(id), value, hushed),
        }
    }

    pub(crate) fn one_of<'v>(
        &mut self,
        values: impl Iterator<Item = &'v Json> + Clone,
        value: &Value,
        hushed: Hush,
    ) {
        if values.clone().any(|known| same(known, value)) {
            return;
        }
        self.wrong(one_of(values.clone()), value, hushed);
        if let Value::String(text) = value
            && let Some(fault) = self.faults.last_mut()
            && !hushed.here
        {
            let known = values.filter_map(Json::as_str);
            fault.nearest = nearest(text, known.clone())
                .or_else(|| {
                    known
                        .into_iter()
                        .find(|known| known.eq_ignore_ascii_case(text))
                })
                .map(str::to_owned);
        }
    }

    fn list(&mut self, id: Id, plain: &Plain, items: &mut [Value], hushed: Hush) {
        let list = &plain.list;
        let found = items.len() as u64;
        if list.min.is_some_and(|min| found < min) || list.max.is_some_and(|max| found > max) {
            let count = if found == 1 {
                "1 item".into()
            } else {
                format!("{found} items")
            };
            self.faults.push(Fault::wrong(
                self.path.clone(),
                self.nodes.expected(id),
                format!("a list of {count}"),
            ));
        }
        for (index, item) in items.iter_mut().enumerate() {
            if let Some(node) = list.first.get(index).copied().or(list.rest) {
                self.below(&index.to_string(), node, item, hushed);
            }
        }
    }

    fn mapping(&mut self, object: &Object, mapping: &mut Mapping, hushed: Hush) {
        self.proper_keys(object, mapping, hushed);
        let mut dropped: Vec<String> = Vec::new();
        let mut known = 0;
        for (key, value) in mapping.iter_mut() {
            let Value::String(key) = key else {
                continue;
            };
            if let Some(names) = object.names {
                self.path.push(key.clone());
                self.check(names, &mut Value::String(key.clone()), Hush::default());
                self.path.pop();
            }
            if let Some(property) = object.property(key) {
                if value.is_null() && !property.required && !self.nodes.takes_null(property.node) {
                    dropped.push(key.clone());
                    continue;
                }
                known += usize::from(property.required);
                self.below(key, property.node, value, hushed);
            } else if let Some(node) = object.other(key) {
                self.below(key, node, value, hushed);
            } else if matches!(object.others, Others::Refused) && !object.patterns_match(key) {
                let candidates = object
                    .keys()
                    .chain(object.aliases.iter().map(|(a, _)| a.as_str()));
                let nearest = nearest(key, candidates).map(str::to_owned);
                let path = self.path_to(key);
                self.faults.push(Fault::unknown(path, nearest));
            }
        }
        let found = mapping.len() as u64;
        if object.min.is_some_and(|min| found < min) || object.max.is_some_and(|max| found > max) {
            self.faults.push(Fault::wrong(
                self.path.clone(),
                expected_mapping(object),
                format!("a mapping with {found}"),
            ));
        }
        for key in dropped {
            mapping.shift_remove(key.as_str());
        }
        let wanted = object
            .properties
            .iter()
            .filter(|property| property.required);
        if known < wanted.clone().count() {
            for property in wanted {
                if !mapping.contains_key(property.key.as_str()) {
                    let path = self.path_to(&property.key);
                    self.faults.push(Fault::missing(path));
                }
            }
        }
        for key in &object.also_required {
            if !mapping.contains_key(key.as_str()) {
                let path = self.path_to(key);
                self.faults.push(Fault::missing(path));
            }
        }
    }

    /// Makes keys text, and other spellings the proper ones.
    fn proper_keys(&mut self, object: &Object, mapping: &mut Mapping, hushed: Hush) {
        let proper = |key: &Value| match key {
            Value::String(key) => object.unaliased(key).is_none(),
            _ => false,
        };
        if mapping.keys().all(proper) {
            return;
        }
        let old = std::mem::take(mapping);
        let written: Vec<String> = old
            .keys()
            .filter_map(|key| key.as_str().map(str::to_owned))
            .collect();
        for (key, value) in old {
            let text = match &key {
                Value::String(key) => key.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(key) => key.to_string(),
                key => {
                    self.wrong("a text as key", key, hushed);
                    continue;
                }
            };
            let key = object.unaliased(&text).unwrap_or(&text).to_owned();
            if mapping.contains_key(key.as_str()) || (key != text && written.contains(&key)) {
                let path = self.path_to(&text);
                self.faults.push(Fault::wrong(
                    path,
                    format!("the key {} once", quoted(&key)),
                    "two spellings of it".into(),
                ));
                continue;
            }
            mapping.insert(Value::String(key), value);
        }
    }
}

impl Object {
    fn patterns_match(&self, key: &str) -> bool {
        self.patterns
            .iter()
            .any(|(pattern, _)| pattern.regex.is_match(key))
    }
}
