//! A schema as other programs get it.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

/// A schema in the style of draft 7: a value is valid exactly if [`Shape::check`](crate::Shape::check)
/// finds no fault in it, but for what no such schema can say: `1.0` cannot be told from `1` where
/// coercion is off.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The value itself, without `$schema` and `definitions`. References are `#/definitions/Name`.
    pub root: Json,
    /// What is referred to.
    pub definitions: Map<String, Json>,
}

impl Published {
    /// Puts the schema among `definitions`, as `name`, and answers with what refers to it. What it
    /// refers to is put there too; where a name is taken by something else, a number is added.
    pub fn define(self, name: &str, definitions: &mut Map<String, Json>) -> Json {
        let mut renamed: HashMap<String, String> = HashMap::new();
        for (old, definition) in &self.definitions {
            let taken = |new: &str| {
                new == name
                    || renamed.values().any(|known| known == new)
                    || definitions
                        .get(new)
                        .is_some_and(|known| known != definition)
            };
            let mut new = old.clone();
            let mut number = 2;
            while taken(&new) {
                new = format!("{old}{number}");
                number += 1;
            }
            renamed.insert(old.clone(), new);
        }
        for (old, mut definition) in self.definitions {
            refer(&mut definition, &renamed);
            let new = renamed.get(&old).unwrap_or(&old);
            definitions.insert(new.clone(), definition);
        }
        let mut root = self.root;
        refer(&mut root, &renamed);
        definitions.insert(name.to_owned(), root);
        json!({ "$ref": format!("#/definitions/{name}") })
    }
}

fn refer(schema: &mut Json, renamed: &HashMap<String, String>) {
    match schema {
        Json::Object(schema) => {
            for (key, value) in schema {
                if key == "$ref"
                    && let Json::String(reference) = value
                    && let Some(new) = reference
                        .strip_prefix("#/definitions/")
                        .and_then(|old| renamed.get(old))
                {
                    *reference = format!("#/definitions/{new}");
                } else if !matches!(key.as_str(), "default" | "examples" | "enum") {
                    refer(value, renamed);
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|item| refer(item, renamed)),
        _ => {}
    }
}
