//! Values from environment variables, beneath those that are already there (`spec/config-and-cli.md`
//! §3.1, §3.4).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde_yaml::{Mapping, Value};

use crate::Environment;
use crate::fault::Fault;
use crate::node::{Body, Id, Kinds, Nodes, Object};
use crate::scalar::word;
use crate::variables::{separator, split_index, variable_segment};

/// What came from environment variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Each value that was set, with the variable that it came from. Lists that came as a whole are
    /// one entry.
    pub origins: Vec<(Vec<String>, String)>,
    /// Variables that cannot be read. Their values are not quoted.
    pub faults: Vec<Fault>,
}

pub(crate) struct Filler<'a> {
    nodes: &'a Nodes,
    environment: &'a BTreeMap<String, String>,
    path: Vec<String>,
    pub(crate) filled: Filled,
}

/// The variables that start with `start`.
fn beginning<'a>(
    environment: &'a Environment,
    start: &str,
) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    let start = start.to_owned();
    environment
        .range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .take_while(move |(name, _)| name.starts_with(&start))
}

impl<'a> Filler<'a> {
    pub(crate) fn new(nodes: &'a Nodes, environment: &'a Environment) -> Self {
        Self {
            nodes,
            environment,
            path: Vec::new(),
            filled: Filled::default(),
        }
    }

    fn any(&self, start: &str) -> bool {
        beginning(self.environment, start).next().is_some()
    }

    /// Fills `value`, null if it is absent, from `name` and the variables below it.
    pub(crate) fn fill(&mut self, id: Id, value: &mut Value, name: &str) {
        if !self.any(name) {
            return;
        }
        self.whole(id, value, name);
        let depth = self.path.len();
        let start = format!("{name}{}", separator(depth));
        if !self.any(&start) {
            return;
        }
        // A variable of a field activates no stanza.
        if value.is_null() && depth == 0 {
            return;
        }
        let nodes = self.nodes;
        if matches!(value, Value::Null | Value::Mapping(_)) {
            for object in nodes.objects(id) {
                let absent = value.is_null();
                let mut mapping = match std::mem::take(value) {
                    Value::Mapping(mapping) => mapping,
                    _ => Mapping::new(),
                };
                self.object(object, &mut mapping, &start);
                if !absent || !mapping.is_empty() {
                    *value = Value::Mapping(mapping);
                }
            }
        }
        if matches!(value, Value::Null | Value::Sequence(_)) {
            for list in nodes.lists(id) {
                let absent = value.is_null();
                let mut items = match std::mem::take(value) {
                    Value::Sequence(items) => items,
                    _ => Vec::new(),
                };
                let node = |index: usize| list.first.get(index).copied().or(list.rest);
                self.list(node, &mut items, &start);
                if !absent || !items.is_empty() {
                    *value = Value::Sequence(items);
                }
            }
        }
    }

    fn child(&mut self, key: &str, id: Id, value: &mut Value, name: &str) {
        self.path.push(key.to_owned());
        self.fill(id, value, name);
        self.path.pop();
    }

    /// From the variable of `id` itself.
    fn whole(&mut self, id: Id, value: &mut Value, name: &str) {
        let Some(text) = self.environment.get(name) else {
            return;
        };
        // What is there and no mapping stays as it is.
        if !matches!(value, Value::Null | Value::Mapping(_)) {
            return;
        }
        match read(self.nodes, id, text) {
            Ok(None) => {}
            Ok(Some(mut found)) => {
                if self.nodes.aliases {
                    proper_keys(self.nodes, id, &mut found);
                    proper_keys(self.nodes, id, value);
                }
                self.under(value, found, name);
            }
            Err(expected) => {
                let path = self.path.clone();
                let fault = Fault::variable(path, name, format!("expected {expected}"));
                self.filled.faults.push(fault);
            }
        }
    }

    /// Merges `found` under `value`: what is there wins, key by key.
    fn under(&mut self, value: &mut Value, found: Value, name: &str) {
        match (value, found) {
            (Value::Mapping(mapping), Value::Mapping(found)) => {
                for (key, found) in found {
                    let text = key.as_str().unwrap_or_default().to_owned();
                    self.path.push(text);
                    self.under(mapping.entry(key).or_insert(Value::Null), found, name);
                    self.path.pop();
                }
            }
            (value @ Value::Null, found) => {
                self.note(&found, name);
                *value = found;
            }
            _ => {}
        }
    }

    /// Notes `name` as the origin of all that is in `found`.
    fn note(&mut self, found: &Value, name: &str) {
        match found {
            Value::Mapping(mapping) if !mapping.is_empty() => {
                for (key, value) in mapping {
                    self.path.push(key.as_str().unwrap_or_default().to_owned());
                    self.note(value, name);
                    self.path.pop();
                }
            }
            _ => {
                let origin = (self.path.clone(), name.to_owned());
                self.filled.origins.push(origin);
            }
        }
    }

    fn object(&mut self, object: &Object, mapping: &mut Mapping, start: &str) {
        for property in &object.properties {
            let name = format!("{start}{}", variable_segment(&property.key));
            if !self.any(&name) {
                continue;
            }
            let spelled = object
                .aliases
                .iter()
                .filter(|(_, key)| *key == property.key)
                .map(|(alias, _)| alias.as_str())
                .find(|alias| mapping.contains_key(*alias))
                .unwrap_or(&property.key);
            self.entry(spelled, property.node, mapping, &name);
        }
        if object.patterns.is_empty() && !matches!(object.others, crate::node::Others::Each(_)) {
            return;
        }
        let mut present = Vec::new();
        let keys: Vec<String> = mapping
            .keys()
            .filter_map(|key| key.as_str().map(str::to_owned))
            .filter(|key| object.property(key).is_none() && object.unaliased(key).is_none())
            .collect();
        for key in keys {
            let name = format!("{start}{}", variable_segment(&key));
            if let Some(node) = object.other(&key) {
                self.entry(&key, node, mapping, &name);
            }
            present.push(name);
        }
        present.extend(
            object
                .keys()
                .map(|key| format!("{start}{}", variable_segment(key))),
        );
        let claimed = |variable: &str| {
            present.iter().any(|name| {
                variable
                    .strip_prefix(name.as_str())
                    .is_some_and(|tail| tail.is_empty() || tail.starts_with("__"))
            })
        };
        let depth = self.path.len();
        let mut fresh: BTreeMap<String, (String, Id)> = BTreeMap::new();
        for (variable, _) in beginning(self.environment, start) {
            if claimed(variable) {
                continue;
            }
            let rest = variable.strip_prefix(start).unwrap_or_default();
            if let Some((key, segment, node)) = self.nodes.free_key(object, rest, depth) {
                fresh.insert(key, (format!("{start}{segment}"), node));
            }
        }
        for (key, (name, node)) in fresh {
            self.entry(&key, node, mapping, &name);
        }
    }

    fn entry(&mut self, key: &str, node: Id, mapping: &mut Mapping, name: &str) {
        if let Some(value) = mapping.get_mut(key) {
            self.child(key, node, value, name);
            return;
        }
        let mut value = Value::Null;
        let before = self.filled.origins.len();
        self.child(key, node, &mut value, name);
        if !value.is_null() || self.filled.origins.len() > before {
            mapping.insert(key.into(), value);
        }
    }

    fn list(&mut self, node: impl Fn(usize) -> Option<Id>, items: &mut Vec<Value>, start: &str) {
        let indexes: BTreeSet<usize> = beginning(self.environment, start)
            .filter_map(|(variable, _)| {
                let (index, tail) = split_index(variable.strip_prefix(start)?);
                index.filter(|_| tail.is_empty() || tail.starts_with("__"))
            })
            .collect();
        for index in indexes {
            let (name, key) = (format!("{start}{index}"), index.to_string());
            let Some(node) = node(index) else {
                continue;
            };
            if let Some(item) = items.get_mut(index) {
                self.child(&key, node, item, &name);
            } else if index == items.len() {
                let mut item = Value::Null;
                self.child(&key, node, &mut item, &name);
                if !item.is_null() {
                    items.push(item);
                }
            } else {
                let mut path = self.path.clone();
                path.push(key);
                let message = format!(
                    "item {index} of a list of {}: the next is {}",
                    items.len(),
                    items.len()
                );
                self.filled
                    .faults
                    .push(Fault::variable(path, &name, message));
            }
        }
    }
}

/// The text of a variable as a value of `id`; none when it is blank and that is no value. An error is
/// what was expected.
fn read(nodes: &Nodes, id: Id, text: &str) -> Result<Option<Value>, &'static str> {
    let plains = nodes.plains(id);
    let kinds = nodes.kinds(id);
    let trimmed = text.trim();
    let any = plains
        .iter()
        .any(|id| matches!(nodes.node(*id).body, Body::Any));
    if any {
        return Ok(Some(
            serde_json::from_str(trimmed).unwrap_or_else(|_| Value::String(text.to_owned())),
        ));
    }
    if kinds.any(Kinds::ARRAY.with(Kinds::OBJECT)) {
        let braced = (kinds.any(Kinds::OBJECT) && trimmed.starts_with('{'))
            || (kinds.any(Kinds::ARRAY) && trimmed.starts_with('['));
        let scalar = kinds.without(Kinds::ARRAY.with(Kinds::OBJECT).with(Kinds::NULL));
        if braced {
            match serde_json::from_str::<Value>(trimmed) {
                Ok(value) => return Ok(Some(value)),
                Err(_) if scalar.any(Kinds::STRING) => {}
                Err(_) => return Err(expected_json(kinds)),
            }
        }
        if scalar == Kinds::NONE {
            if trimmed.is_empty() {
                return Ok(None);
            }
            if let Some(item) = nodes.lists(id).find_map(|list| list.rest)
                && !nodes.is_container(item)
            {
                return trimmed
                    .split(',')
                    .map(|part| read(nodes, item, part.trim()).map(Option::unwrap_or_default))
                    .collect::<Result<_, _>>()
                    .map(|items| Some(Value::Sequence(items)));
            }
            return match serde_json::from_str::<Value>(trimmed) {
                Ok(Value::Null) if kinds.any(Kinds::NULL) => Ok(None),
                _ => Err(expected_json(kinds)),
            };
        }
    }
    let takes_text = kinds.any(Kinds::STRING);
    if trimmed.is_empty() && !takes_text {
        return Ok(None);
    }
    if kinds.numeric()
        && let Some(number) = number(trimmed)
    {
        return Ok(Some(number));
    }
    if kinds.any(Kinds::BOOLEAN) {
        let value = match word(trimmed) {
            // Where other texts mean something, only these two are no text.
            Some(value) if !takes_text || trimmed.eq_ignore_ascii_case(&value.to_string()) => {
                Some(value)
            }
            _ => None,
        };
        if let Some(value) = value {
            return Ok(Some(value.into()));
        }
    }
    if !takes_text && trimmed == "null" && kinds.any(Kinds::NULL) {
        return Ok(None);
    }
    Ok(Some(Value::String(text.to_owned())))
}

fn expected_json(kinds: Kinds) -> &'static str {
    match (kinds.any(Kinds::ARRAY), kinds.any(Kinds::OBJECT)) {
        (true, false) => "a list as JSON, such as [\"a\", \"b\"]",
        (true, true) => "a list or mapping as JSON",
        _ => "a mapping as JSON, such as {\"key\": \"value\"}",
    }
}

fn number(text: &str) -> Option<Value> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(number.into());
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    let number = text.parse::<f64>().ok().filter(|float| float.is_finite())?;
    Some(number.into())
}

/// Makes other spellings of keys the proper ones, where that loses nothing.
fn proper_keys(nodes: &Nodes, id: Id, value: &mut Value) {
    match value {
        Value::Mapping(mapping) => {
            for object in nodes.objects(id) {
                for (alias, key) in &object.aliases {
                    if !mapping.contains_key(key.as_str())
                        && let Some(value) = mapping.shift_remove(alias.as_str())
                    {
                        mapping.insert(key.as_str().into(), value);
                    }
                }
                for (key, value) in mapping.iter_mut() {
                    let Some(key) = key.as_str() else {
                        continue;
                    };
                    let property = object.property(key).map(|property| property.node);
                    if let Some(node) = property.or_else(|| object.other(key)) {
                        proper_keys(nodes, node, value);
                    }
                }
            }
        }
        Value::Sequence(items) => {
            for list in nodes.lists(id) {
                for (index, item) in items.iter_mut().enumerate() {
                    if let Some(node) = list.first.get(index).copied().or(list.rest) {
                        proper_keys(nodes, node, item);
                    }
                }
            }
        }
        _ => {}
    }
}
