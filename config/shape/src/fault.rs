//! What is wrong with a value.

use std::fmt;

use serde_yaml::Value;

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Keys from the checked value down; list items as `0`, `1`.
    pub path: Vec<String>,
    /// What kind of mistake it is.
    pub kind: FaultKind,
    /// The kind in words. Quotes what was found, shortened, unless a secret is or may be in it.
    pub message: String,
    /// The right name that is nearest to a wrong one.
    pub nearest: Option<String>,
}

/// The kinds of mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A required key is absent; the path ends with it.
    Missing,
    /// A key that nothing reads; the path ends with it.
    Unknown,
    /// The value is none of those that are allowed.
    Wrong {
        /// What was expected.
        expected: String,
        /// What was found; without the value itself if it is or holds a secret.
        found: String,
    },
    /// An environment variable that cannot be read as what its field needs.
    Variable {
        /// Its name.
        variable: String,
    },
}

impl Fault {
    pub(crate) fn missing(path: Vec<String>) -> Self {
        Self {
            path,
            kind: FaultKind::Missing,
            message: "field required".into(),
            nearest: None,
        }
    }

    pub(crate) fn unknown(path: Vec<String>, nearest: Option<String>) -> Self {
        Self {
            path,
            kind: FaultKind::Unknown,
            message: "extra fields not permitted".into(),
            nearest,
        }
    }

    pub(crate) fn wrong(path: Vec<String>, expected: String, found: String) -> Self {
        Self {
            path,
            message: format!("expected {expected}, found {found}"),
            kind: FaultKind::Wrong { expected, found },
            nearest: None,
        }
    }

    pub(crate) fn variable(path: Vec<String>, variable: &str, message: String) -> Self {
        Self {
            path,
            message: format!("{variable}: {message}"),
            kind: FaultKind::Variable {
                variable: variable.to_owned(),
            },
            nearest: None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path.join(" -> "))?;
        }
        f.write_str(&self.message)?;
        match &self.nearest {
            Some(nearest) => write!(f, " (did you mean \"{nearest}\"?)"),
            None => Ok(()),
        }
    }
}

/// The name among `known` that is closest to `name`, if any is close.
///
/// ```
/// assert_eq!(servo_shape::nearest("wat", ["wait", "vegeta"]), Some("wait"));
/// assert_eq!(servo_shape::nearest("kubernetes", ["wait", "vegeta"]), None);
/// ```
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance takes time in the product of the lengths, and no long name is a slip of the hand.
    if name.len() > 256 {
        return None;
    }
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= 2.max(known.len().max(name.len()) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// How much of a value is quoted.
const LONGEST: usize = 60;

/// What a value is, in words; `hushed` ones are not quoted.
pub(crate) fn describe(value: &Value, hushed: bool) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) if hushed => "true or false".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(_) if hushed => "a number".into(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) if hushed => "a text".into(),
        Value::String(text) => format!("the text {}", quoted(text)),
        Value::Sequence(_) => "a list".into(),
        Value::Mapping(_) => "a mapping".into(),
        Value::Tagged(_) if hushed => "a value with a tag".into(),
        Value::Tagged(tagged) => {
            format!("a value with the tag {}", quoted(&tagged.tag.to_string()))
        }
    }
}

/// `text` in quotation marks, on one line and not too long.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
