//! What is expected, in words.

use serde_json::Value as Json;

use crate::fault::quoted;
use crate::node::{Body, Bound, Id, Kinds, Nodes, Object, Plain};
use crate::number_text;

pub(crate) fn one_of<'v>(values: impl Iterator<Item = &'v Json>) -> String {
    let values: Vec<String> = values.map(Json::to_string).collect();
    match values.as_slice() {
        [one] => one.clone(),
        all => format!("one of {}", all.join(", ")),
    }
}

pub(crate) fn expected_mapping(object: &Object) -> String {
    match (object.min, object.max) {
        (Some(min), None) => format!("a mapping with at least {min}"),
        (None, Some(max)) => format!("a mapping with at most {max}"),
        (Some(min), Some(max)) => format!("a mapping with {min} to {max}"),
        (None, None) => "a mapping".into(),
    }
}

impl Nodes {
    /// What `id` takes, in words.
    pub(crate) fn expected(&self, id: Id) -> String {
        let mut all: Vec<String> = Vec::new();
        for id in self.plains(id) {
            for text in self.expected_plain(id) {
                if !all.contains(&text) {
                    all.push(text);
                }
            }
        }
        if all.is_empty() {
            return "null".into();
        }
        all.join(" or ")
    }

    fn expected_plain(&self, id: Id) -> Vec<String> {
        let node = self.node(id);
        let Body::Plain(plain) = &node.body else {
            return vec!["anything".into()];
        };
        if let Some(values) = &plain.values {
            return vec![one_of(values.iter().map(|(value, _)| value))];
        }
        let kinds = plain.kinds;
        let mut all: Vec<String> = Vec::new();
        if kinds.any(Kinds::BOOLEAN) {
            all.push("true or false".into());
        }
        if kinds.any(Kinds::STRING) {
            all.push(self.expected_text(id, plain));
        }
        if kinds.numeric() {
            all.push(expected_number(plain));
        }
        if kinds.any(Kinds::ARRAY) {
            all.push(match (plain.list.min, plain.list.max) {
                (Some(min), Some(max)) if min == max => format!("a list of {min}"),
                (Some(min), Some(max)) => format!("a list of {min} to {max}"),
                (Some(min), None) if min > 0 => format!("a list of at least {min}"),
                (None, Some(max)) => format!("a list of at most {max}"),
                _ => "a list".into(),
            });
        }
        if kinds.any(Kinds::OBJECT) {
            all.push("a mapping".into());
        }
        all
    }

    fn expected_text(&self, id: Id, plain: &Plain) -> String {
        let notes = &self.node(id).notes;
        let text = &plain.text;
        match notes.format.as_deref() {
            Some("duration") => return "a duration such as \"30s\" or \"2h45m\"".into(),
            Some("uri" | "url") => return "a URL".into(),
            _ => {}
        }
        let example = notes.examples.as_ref().and_then(|all| {
            let example = all.as_array()?.iter().find_map(Json::as_str)?;
            Some(format!("a text such as {}", quoted(example)))
        });
        let limits = match (text.min, text.max) {
            (Some(1), None) => Some("a text that is not empty".into()),
            (Some(min), Some(max)) => Some(format!("a text of {min} to {max} characters")),
            (Some(min), None) => Some(format!("a text of at least {min} characters")),
            (None, Some(max)) => Some(format!("a text of at most {max} characters")),
            (None, None) => None,
        };
        let pattern = text
            .patterns
            .first()
            .map(|pattern| format!("a text that matches {}", pattern.source));
        example
            .or(pattern)
            .or(limits)
            .unwrap_or_else(|| "a text".into())
    }
}

fn expected_number(plain: &Plain) -> String {
    let what = if plain.kinds.any(Kinds::NUMBER) {
        "a number"
    } else {
        "a whole number"
    };
    // The limits of the widest types are nothing that anybody has in mind.
    let told = |bound: &&Bound| {
        number_text::whole(&bound.number)
            .is_none_or(|whole| whole > i64::MIN.into() && whole < i64::MAX.into())
    };
    let lower = plain.range.lower.as_ref().filter(told);
    let upper = plain.range.upper.as_ref().filter(told);
    let low = |bound: &Bound| {
        let word = if bound.exclusive {
            "more than"
        } else {
            "at least"
        };
        format!("{word} {}", bound.number)
    };
    let high = |bound: &Bound| {
        let word = if bound.exclusive {
            "less than"
        } else {
            "at most"
        };
        format!("{word} {}", bound.number)
    };
    match (lower, upper) {
        (None, None) => what.into(),
        (Some(bound), None) => format!("{what}, {}", low(bound)),
        (None, Some(bound)) => format!("{what}, {}", high(bound)),
        (Some(a), Some(b)) if !a.exclusive && !b.exclusive => {
            format!("{what} from {} to {}", a.number, b.number)
        }
        (Some(a), Some(b)) => format!("{what}, {} and {}", low(a), high(b)),
    }
}
