//! What a scalar means: the core schema of YAML 1.2 (<https://yaml.org/spec/1.2.2/#103-core-schema>).

use saphyr_parser::{ScalarStyle, Tag};
use serde_yaml::Value;

use crate::YamlErrorKind;

/// The tags that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KnownTag {
    Str,
    Int,
    Float,
    Bool,
    Null,
    Seq,
    Map,
    /// Of the merge key; some programs write it out.
    Merge,
}

impl KnownTag {
    /// # Errors
    /// When the tag is another one.
    pub(crate) fn new(tag: &Tag) -> Result<Self, YamlErrorKind> {
        const CORE: &str = "tag:yaml.org,2002:";
        let whole = format!("{}{}", tag.handle, tag.suffix);
        let known = match whole.strip_prefix(CORE) {
            Some("str") => Self::Str,
            Some("int") => Self::Int,
            Some("float") => Self::Float,
            Some("bool") => Self::Bool,
            Some("null") => Self::Null,
            Some("seq") => Self::Seq,
            Some("map") => Self::Map,
            Some("merge") => Self::Merge,
            Some(other) => return Err(YamlErrorKind::UnknownTag(format!("!!{other}"))),
            None => return Err(YamlErrorKind::UnknownTag(whole)),
        };
        Ok(known)
    }

    /// That a value is not what this tag says.
    pub(crate) fn wrong(self) -> YamlErrorKind {
        let (tag, expected) = match self {
            Self::Str => ("!!str", "text"),
            Self::Int => ("!!int", "an integer"),
            Self::Float => ("!!float", "a number"),
            Self::Bool => ("!!bool", "true or false"),
            Self::Null => ("!!null", "null"),
            Self::Seq => ("!!seq", "a list"),
            Self::Map => ("!!map", "a mapping"),
            Self::Merge => ("!!merge", "the key \"<<\""),
        };
        YamlErrorKind::WrongTag { tag, expected }
    }
}

/// The value of a scalar.
///
/// # Errors
/// When it is not what its tag says.
pub(crate) fn value(
    text: &str,
    style: ScalarStyle,
    tag: Option<KnownTag>,
) -> Result<Value, YamlErrorKind> {
    let Some(tag) = tag else {
        return Ok(if style == ScalarStyle::Plain {
            plain(text)
        } else {
            Value::String(text.to_owned())
        });
    };
    let value = match tag {
        KnownTag::Str => Some(Value::String(text.to_owned())),
        KnownTag::Int => integer(text, LeadingZeros::Allowed),
        KnownTag::Float => float(text).map(Value::from),
        KnownTag::Bool => boolean(text).map(Value::Bool),
        KnownTag::Null => is_null(text).then_some(Value::Null),
        KnownTag::Seq | KnownTag::Map | KnownTag::Merge => None,
    };
    value.ok_or_else(|| tag.wrong())
}

fn plain(text: &str) -> Value {
    if is_null(text) {
        return Value::Null;
    }
    if let Some(boolean) = boolean(text) {
        return Value::Bool(boolean);
    }
    if let Some(integer) = integer(text, LeadingZeros::Refused) {
        return integer;
    }
    // Digits alone that are no integer above would lose some of them as a float.
    if !is_digits(unsigned(text))
        && let Some(float) = float(text)
    {
        return Value::from(float);
    }
    Value::String(text.to_owned())
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LeadingZeros {
    Allowed,
    /// `token: 0000` must not become 0.
    Refused,
}

fn integer(text: &str, zeros: LeadingZeros) -> Option<Value> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let signed = digits.starts_with(['+', '-']);
            return (!signed)
                .then(|| u64::from_str_radix(digits, radix).ok())?
                .map(Value::from);
        }
    }
    let digits = unsigned(text);
    if !is_digits(digits)
        || (zeros == LeadingZeros::Refused && digits.len() > 1 && digits.starts_with('0'))
    {
        return None;
    }
    if text.starts_with('-') {
        text.parse::<i64>().ok().map(Value::from)
    } else {
        digits.parse::<u64>().ok().map(Value::from)
    }
}

fn float(text: &str) -> Option<f64> {
    match text {
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        "-.inf" | "-.Inf" | "-.INF" => return Some(f64::NEG_INFINITY),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(f64::INFINITY),
        _ => {}
    }
    // Rust also reads words such as `inf` and `nan`.
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'))
    {
        return None;
    }
    text.parse().ok().filter(|float: &f64| float.is_finite())
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['+', '-']).unwrap_or(text)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
