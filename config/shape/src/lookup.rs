//! What the schema says of a path.

use serde_json::Value as Json;
use serde_yaml::Value;

use crate::node::{Id, Nodes, Notes, Others};

/// What stands in place of a secret.
const MASK: &str = "**********";

impl Nodes {
    /// The nodes that `key` of a value of `id` may be.
    fn children(&self, id: Id, key: &str) -> Vec<Id> {
        let mut found = Vec::new();
        for object in self.objects(id) {
            let key = object.unaliased(key).unwrap_or(key);
            found.extend(
                object
                    .property(key)
                    .map(|property| property.node)
                    .or_else(|| object.other(key)),
            );
        }
        if let Ok(index) = key.parse::<usize>() {
            for list in self.lists(id) {
                found.extend(list.first.get(index).copied().or(list.rest));
            }
        }
        found
    }

    pub(crate) fn at(&self, path: &[impl AsRef<str>]) -> Vec<Id> {
        let mut found = vec![self.root];
        for key in path {
            found = found
                .into_iter()
                .flat_map(|id| self.children(id, key.as_ref()))
                .collect();
            found.sort_unstable();
            found.dedup();
        }
        found
    }

    pub(crate) fn secret_at(&self, path: &[impl AsRef<str>]) -> bool {
        (0..=path.len()).any(|depth| {
            path.get(..depth)
                .is_some_and(|path| self.at(path).into_iter().any(|id| self.node(id).secret))
        })
    }

    pub(crate) fn note_at<T>(
        &self,
        path: &[impl AsRef<str>],
        get: impl Fn(&Notes) -> Option<T>,
    ) -> Option<T> {
        self.at(path).into_iter().find_map(|id| self.note(id, &get))
    }

    pub(crate) fn default_at(&self, path: &[impl AsRef<str>]) -> Option<Json> {
        let own = self.note_at(path, |notes| notes.default.clone());
        own.or_else(|| {
            let (last, above) = path.split_last()?;
            let above = self.default_at(above)?;
            match &above {
                Json::Object(all) => all.get(last.as_ref()).cloned(),
                Json::Array(all) => all.get(last.as_ref().parse::<usize>().ok()?).cloned(),
                _ => None,
            }
        })
    }

    pub(crate) fn keys_at(&self, path: &[impl AsRef<str>]) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for id in self.at(path) {
            for object in self.objects(id) {
                for key in object.keys() {
                    if !keys.iter().any(|known| known == key) {
                        keys.push(key.to_owned());
                    }
                }
            }
        }
        keys
    }

    pub(crate) fn mask(&self, id: Id, value: &mut Value) {
        if value.is_null() {
            return;
        }
        if self.node(id).secret {
            *value = MASK.into();
            return;
        }
        // Nothing below is secret: `hushed` says so for all that is below.
        if !self.node(id).hushed {
            return;
        }
        match value {
            Value::Mapping(mapping) => {
                for (key, value) in mapping.iter_mut() {
                    let key = match key {
                        Value::String(key) => key.clone(),
                        Value::Number(key) => key.to_string(),
                        Value::Bool(key) => key.to_string(),
                        _ => continue,
                    };
                    for child in self.children(id, &key) {
                        self.mask(child, value);
                    }
                }
            }
            Value::Sequence(items) => {
                for list in self.lists(id) {
                    for (index, item) in items.iter_mut().enumerate() {
                        if let Some(node) = list.first.get(index).copied().or(list.rest) {
                            self.mask(node, item);
                        }
                    }
                }
            }
            Value::Tagged(tagged) => self.mask(id, &mut tagged.value),
            _ => {}
        }
    }

    /// Whether `id` takes keys that it does not name.
    pub(crate) fn is_free(&self, id: Id) -> bool {
        self.objects(id)
            .any(|object| !object.patterns.is_empty() || matches!(object.others, Others::Each(_)))
    }
}
