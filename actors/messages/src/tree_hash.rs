//! A stable hash of a tree of values.
//!
//! Contract: `spec/config-and-cli.md` §6.6.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::number::Number;

/// SHA-256, in lower-case hexadecimal, of the tree written as `{k:v,...}` with sorted keys and `[v,...]`. Equal trees
/// hash equally whatever the order of their keys, in every release; `1` and `1.0` differ.
pub fn tree_hash(tree: &Value) -> String {
    let mut hasher = Sha256::new();
    write(tree, &mut hasher);
    hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn write(tree: &Value, hasher: &mut Sha256) {
    match tree {
        Value::Null => hasher.update("None"),
        Value::Bool(true) => hasher.update("True"),
        Value::Bool(false) => hasher.update("False"),
        Value::Number(number) => hasher.update(
            Number::from_json(number)
                .map_or_else(|| number.to_string(), |number| number.to_string()),
        ),
        Value::String(text) => hasher.update(text),
        Value::Array(items) => {
            hasher.update("[");
            for item in items {
                write(item, hasher);
                hasher.update(",");
            }
            hasher.update("]");
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            hasher.update("{");
            for (key, value) in sorted {
                hasher.update(key);
                hasher.update(":");
                write(value, hasher);
                hasher.update(",");
            }
            hasher.update("}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_hash_is_that_of_the_specified_text() {
        let tree = json!({"b": [1, null, true, "x"], "a": {"z": 1.5}});
        let hash = tree_hash(&tree);
        assert!(
            hash.starts_with("5af77de2a8bfc021") && hash.len() == 64,
            "{hash}"
        );
        assert_eq!(
            hash,
            tree_hash(&json!({"a": {"z": 1.5}, "b": [1, null, true, "x"]}))
        );
        assert_ne!(
            hash,
            tree_hash(&json!({"a": {"z": 1.5}, "b": [1.0, null, true, "x"]}))
        );
    }
}
