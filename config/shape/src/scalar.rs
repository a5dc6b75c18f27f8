//! Numbers and texts: which are allowed, and what those of another kind become
//! (`spec/config-and-cli.md` §2.9).

use serde_json::Value as Json;
use serde_yaml::{Number, Value};

use crate::node::{Bound, Kinds, Plain, Text};
use crate::number_text;

/// Whether a scalar of the schema is one of the file.
pub(crate) fn same(known: &Json, value: &Value) -> bool {
    match (known, value) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(a), Value::Bool(b)) => a == b,
        (Json::String(a), Value::String(b)) => a == b,
        (Json::Number(a), Value::Number(b)) => json_number(b).is_some_and(|b| order(&b, a).is_eq()),
        _ => false,
    }
}

fn json_number(number: &Number) -> Option<serde_json::Number> {
    number
        .as_u64()
        .map(serde_json::Number::from)
        .or_else(|| number.as_i64().map(serde_json::Number::from))
        .or_else(|| serde_json::Number::from_f64(number.as_f64()?))
}

/// The order of two finite numbers, exact where both have no fraction.
fn order(a: &serde_json::Number, b: &serde_json::Number) -> std::cmp::Ordering {
    match (number_text::whole(a), number_text::whole(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => {
            let (a, b) = (a.as_f64(), b.as_f64());
            a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Less)
        }
    }
}

fn within(number: &serde_json::Number, lower: Option<&Bound>, upper: Option<&Bound>) -> bool {
    let above = lower.is_none_or(|bound| match order(number, &bound.number) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => !bound.exclusive,
        std::cmp::Ordering::Greater => true,
    });
    above
        && upper.is_none_or(|bound| match order(number, &bound.number) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => !bound.exclusive,
            std::cmp::Ordering::Greater => false,
        })
}

/// What becomes of a scalar that is accepted.
pub(crate) enum Scalar {
    Fits,
    Becomes(Value),
}

/// What becomes of a number or text; none if it is refused.
pub(crate) fn scalar(plain: &Plain, value: &Value, coerces: bool) -> Option<Scalar> {
    let kinds = plain.kinds;
    match value {
        Value::Number(number) => {
            let json = json_number(number)?;
            if kinds.numeric() {
                let fits = within(
                    &json,
                    plain.range.lower.as_ref(),
                    plain.range.upper.as_ref(),
                );
                if !fits {
                    return None;
                }
                if kinds.any(Kinds::NUMBER) {
                    return Some(Scalar::Fits);
                }
                let whole = number_text::whole(&json)?;
                return match (number.is_f64(), plain.strict) {
                    (false, _) => Some(Scalar::Fits),
                    (true, true) => None,
                    (true, false) => Some(Scalar::Becomes(whole_value(whole)?)),
                };
            }
            if !coerces {
                return None;
            }
            if kinds.any(Kinds::BOOLEAN) {
                match number_text::whole(&json) {
                    Some(0) => return Some(Scalar::Becomes(false.into())),
                    Some(1) => return Some(Scalar::Becomes(true.into())),
                    _ => {}
                }
            }
            if kinds.any(Kinds::STRING) && plain.text.takes_numbers() {
                return Some(Scalar::Becomes(Value::String(number_as_text(number)?)));
            }
            None
        }
        Value::String(text) => {
            if kinds.any(Kinds::STRING) {
                return plain.text.accepts(text).then_some(Scalar::Fits);
            }
            if !coerces {
                return None;
            }
            if kinds.any(Kinds::BOOLEAN)
                && let Some(value) = word(text)
            {
                return Some(Scalar::Becomes(value.into()));
            }
            if kinds.numeric() {
                return Some(Scalar::Becomes(number_of_text(plain, text)?));
            }
            None
        }
        _ => None,
    }
}

impl Text {
    fn accepts(&self, text: &str) -> bool {
        let length = || text.chars().count() as u64;
        self.min.is_none_or(|min| length() >= min)
            && self.max.is_none_or(|max| length() <= max)
            && self
                .patterns
                .iter()
                .all(|pattern| pattern.regex.is_match(text))
    }
}

/// The words that stand for true and for false.
pub(crate) const WORDS: [(&str, bool); 12] = [
    ("true", true),
    ("t", true),
    ("yes", true),
    ("y", true),
    ("on", true),
    ("1", true),
    ("false", false),
    ("f", false),
    ("no", false),
    ("n", false),
    ("off", false),
    ("0", false),
];

pub(crate) fn word(text: &str) -> Option<bool> {
    WORDS
        .iter()
        .find(|(word, _)| text.eq_ignore_ascii_case(word))
        .map(|(_, value)| *value)
}

/// The whole numbers that text may be written as without quotation marks. Beyond them the reader of
/// YAML keeps no exact digits.
pub(crate) const EXACT: (i64, u64) = (i64::MIN, u64::MAX);

fn number_as_text(number: &Number) -> Option<String> {
    let json = json_number(number)?;
    let exact = Bound {
        number: EXACT.0.into(),
        exclusive: false,
    };
    let upper = Bound {
        number: EXACT.1.into(),
        exclusive: false,
    };
    if !within(&json, Some(&exact), Some(&upper)) {
        return None;
    }
    Some(match number.as_f64().filter(|_| number.is_f64()) {
        // As people write it: `1.0`, and no exponent.
        Some(float) if float.fract() == 0.0 => format!("{float:.1}"),
        Some(float) => float.to_string(),
        None => number.to_string(),
    })
}

fn whole_value(whole: i128) -> Option<Value> {
    u64::try_from(whole)
        .map(Value::from)
        .or_else(|_| i64::try_from(whole).map(Value::from))
        .ok()
}

fn number_of_text(plain: &Plain, text: &str) -> Option<Value> {
    if !plain
        .number_text
        .iter()
        .all(|pattern| pattern.regex.is_match(text))
    {
        return None;
    }
    let text = text.trim();
    if let Ok(whole) = text.parse::<i128>()
        && let Some(value) = whole_value(whole)
    {
        return Some(value);
    }
    text.parse::<f64>()
        .ok()
        .filter(|float| float.is_finite())
        .map(Value::from)
}
