//! Finding a place in a tree of mappings by its path.
//!
//! Contract: `spec/config-and-cli.md` §6.6, to any depth.

use serde_json::Value;

/// What stands at `path`, such as `vegeta.rate` or `process.components.0.name`: keys of mappings and positions in
/// lists, divided by dots.
///
/// A key may hold dots itself; where the path can be read in several ways the one with the longest first key that
/// leads anywhere is taken. None where nothing stands there.
pub fn value_at<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    let child = |key: &str| match tree {
        Value::Object(members) => members.get(key),
        // `007` and `+7` are no positions.
        Value::Array(items) => key
            .parse::<usize>()
            .ok()
            .filter(|index| index.to_string() == key)
            .and_then(|index| items.get(index)),
        _ => None,
    };
    if let Some(found) = child(path) {
        return Some(found);
    }
    path.rmatch_indices('.').find_map(|(dot, _)| {
        let (key, rest) = (path.get(..dot)?, path.get(dot + 1..)?);
        value_at(child(key)?, rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_of_any_depth_are_followed() {
        let tree = json!({
            "a": {"b": {"c": {"d": 4}, "c.d": 5}},
            "a.b": {"x": 6},
            "list": [{"name": "first"}, 2],
            "none": null,
        });
        for (path, expected) in [
            ("a.b.c.d", Some(json!(5))),
            ("a.b.x", Some(json!(6))),
            ("a.b.c", Some(json!({"d": 4}))),
            ("a.b", Some(json!({"x": 6}))),
            ("list.0.name", Some(json!("first"))),
            ("list.1", Some(json!(2))),
            ("none", Some(Value::Null)),
            ("list.2", None),
            ("list.00", None),
            ("none.x", None),
            ("a..b", None),
            ("", None),
            (".", None),
            ("a.b.c.d.e", None),
        ] {
            assert_eq!(value_at(&tree, path), expected.as_ref(), "{path}");
        }
    }
}
