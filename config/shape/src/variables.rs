//! The names of environment variables, computed from the schema (`spec/config-and-cli.md` §3.4).
//! No variable is ever split to guess a path: keys contain `_` themselves.

use serde_yaml::Value;

use crate::check::{Check, Hush};
use crate::node::{Body, Id, Kinds, Nodes, Object};

/// How far down variables reach.
const DEEPEST: usize = 16;

/// A key as part of a variable's name: in upper case, everything but letters and digits a `_`.
///
/// ```
/// assert_eq!(servo_shape::variable_segment("base-url.v2"), "BASE_URL_V2");
/// ```
pub fn variable_segment(key: &str) -> String {
    key.chars()
        .map(|c| match c.to_ascii_uppercase() {
            c @ ('A'..='Z' | '0'..='9') => c,
            _ => '_',
        })
        .collect()
}

/// What stands between a variable's name and that of the key below: fields of a stanza follow after
/// `_`, what is deeper after `__`.
pub(crate) fn separator(depth: usize) -> &'static str {
    if depth == 0 { "_" } else { "__" }
}

impl Nodes {
    pub(crate) fn variables(&self, prefix: &str) -> Vec<(Vec<String>, String)> {
        let mut found = Vec::new();
        self.collect_variables(
            self.root,
            &mut Vec::new(),
            prefix.to_owned(),
            &mut Vec::new(),
            &mut found,
        );
        found
    }

    fn collect_variables(
        &self,
        id: Id,
        path: &mut Vec<String>,
        name: String,
        above: &mut Vec<Id>,
        found: &mut Vec<(Vec<String>, String)>,
    ) {
        found.push((path.clone(), name.clone()));
        let depth = path.len();
        let mut keys: Vec<&str> = Vec::new();
        for id in self.plains(id) {
            if above.contains(&id) || depth >= DEEPEST {
                continue;
            }
            above.push(id);
            for property in self
                .plain(id)
                .into_iter()
                .flat_map(|it| &it.object.properties)
            {
                if keys.contains(&property.key.as_str()) {
                    continue;
                }
                keys.push(&property.key);
                let segment = variable_segment(&property.key);
                let name = format!("{name}{}{segment}", separator(depth));
                path.push(property.key.clone());
                self.collect_variables(property.node, path, name, above, found);
                path.pop();
            }
            above.pop();
        }
    }

    /// Whether `variable` addresses something of `id`, which is `depth` below the stanza and has the
    /// variable `prefix`.
    pub(crate) fn recognises(&self, id: Id, prefix: &str, variable: &str, depth: usize) -> bool {
        variable
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || self.addresses(id, rest, depth))
    }

    /// Whether `rest`, which begins with a separator, addresses something below `id`.
    fn addresses(&self, id: Id, rest: &str, depth: usize) -> bool {
        let Some(rest) = rest.strip_prefix(separator(depth)) else {
            return false;
        };
        if depth >= DEEPEST || rest.is_empty() {
            return false;
        }
        let below = |node: Id, tail: &str| tail.is_empty() || self.addresses(node, tail, depth + 1);
        let named = self.objects(id).any(|object| {
            object.properties.iter().any(|property| {
                rest.strip_prefix(variable_segment(&property.key).as_str())
                    .is_some_and(|tail| below(property.node, tail))
            })
        });
        if named {
            return true;
        }
        let listed = self.lists(id).any(|list| {
            let (index, tail) = split_index(rest);
            index.is_some_and(|index| {
                list.first
                    .get(index)
                    .copied()
                    .or(list.rest)
                    .is_some_and(|node| below(node, tail))
            })
        });
        listed
            || self
                .objects(id)
                .any(|object| self.free_key(object, rest, depth).is_some())
    }

    /// The free key that `rest` names, and how much of `rest` its name is. The keys of such maps are
    /// nowhere in the schema, so a variable for a new one names it in upper case and means lower case.
    pub(crate) fn free_key<'r>(
        &self,
        object: &Object,
        rest: &'r str,
        depth: usize,
    ) -> Option<(String, &'r str, Id)> {
        // With something below, if the schema knows it; else all of it is the key.
        let split = rest
            .match_indices("__")
            .map(|(at, _)| at)
            .filter(|at| *at > 0);
        for (at, whole) in split.map(|at| (at, false)).chain([(rest.len(), true)]) {
            let (segment, tail) = (rest.get(..at)?, rest.get(at..)?);
            let key = segment.to_ascii_lowercase();
            if object.property(&key).is_some() || variable_segment(&key) != segment {
                continue;
            }
            let Some(node) = object.other(&key) else {
                continue;
            };
            if (whole || self.addresses(node, tail, depth + 1)) && self.is_name(object, &key) {
                return Some((key, segment, node));
            }
        }
        None
    }

    fn is_name(&self, object: &Object, key: &str) -> bool {
        object.names.is_none_or(|names| {
            let mut check = Check::new(self);
            check.check(names, &mut Value::String(key.to_owned()), Hush::default());
            check.faults.is_empty()
        })
    }

    /// Whether a value of `id` may be a list or mapping.
    pub(crate) fn is_container(&self, id: Id) -> bool {
        self.plains(id)
            .into_iter()
            .any(|id| match &self.node(id).body {
                Body::Plain(plain) => plain.kinds.any(Kinds::ARRAY.with(Kinds::OBJECT)),
                _ => false,
            })
    }
}

/// The index that `rest` begins with, and what follows it.
pub(crate) fn split_index(rest: &str) -> (Option<usize>, &str) {
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, tail) = rest.split_at(end);
    // One spelling for each index: no leading zeros.
    let index = digits
        .parse()
        .ok()
        .filter(|index: &usize| index.to_string() == digits);
    (index, tail)
}
