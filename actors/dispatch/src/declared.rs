//! Events that are declared at run time: what they take, and what they give
//! (`spec/events-and-checks.md` §2.1).

use std::{borrow::Cow, fmt, sync::Arc};

use serde_json::Value;
use thiserror::Error;

use crate::event::EventName;

/// Declares an event that is known by its name only, with the arguments that it takes.
///
/// Dispatched by its name, arguments that do not fit are refused before any handler runs.
///
/// ```
/// # use servo_dispatch::{EventDeclaration, EventName, EventNameError, ValueKind};
/// # fn main() -> Result<(), EventNameError> {
/// let trace = EventDeclaration::new(EventName::try_new("trace")?)
///     .required("url", ValueKind::Text)
///     .optional("depth", ValueKind::Number)
///     .gives(ValueKind::Object);
/// assert_eq!(trace.to_string(), "trace(url: a text, depth: a number or nothing)");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct EventDeclaration {
    name: EventName,
    parameters: Vec<Parameter>,
    result: ValueKind,
}

#[derive(Clone, Debug, PartialEq)]
struct Parameter {
    name: Cow<'static, str>,
    kind: ValueKind,
    required: bool,
}

/// What kind of JSON an argument or a result is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ValueKind {
    /// Whatever.
    #[default]
    Any,
    /// True or false.
    Flag,
    /// A number.
    Number,
    /// A text.
    Text,
    /// A list.
    List,
    /// An object.
    Object,
}

/// Why an event cannot be declared, or a handler be added to it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EventRefused {
    /// The name is taken by another event.
    #[error("Event '{0}' has already been created")]
    Duplicate(Arc<str>),
    /// Only events that exist have handlers before and after them.
    #[error(
        "Unknown event '{0}': declare it, or name the connector that does so ahead of this one"
    )]
    Unknown(Arc<str>),
}

/// A declaration in the table of a servo's handlers.
#[derive(Clone)]
pub(crate) struct Declared {
    pub(crate) declaration: Arc<EventDeclaration>,
    /// The connector type that declares it.
    pub(crate) module: Option<&'static str>,
    /// Connectors of that type. The declaration goes with the last of them.
    pub(crate) connectors: Vec<Arc<str>>,
}

// === impl EventDeclaration ===

impl EventDeclaration {
    /// An event that takes no arguments, and gives whatever it likes.
    pub fn new(name: EventName) -> Self {
        Self {
            name,
            parameters: Vec::new(),
            result: ValueKind::Any,
        }
    }

    /// It cannot do without this argument.
    #[must_use]
    pub fn required(self, name: impl Into<Cow<'static, str>>, kind: ValueKind) -> Self {
        self.takes(name.into(), kind, true)
    }

    /// It takes this argument; null is as good as leaving it out.
    #[must_use]
    pub fn optional(self, name: impl Into<Cow<'static, str>>, kind: ValueKind) -> Self {
        self.takes(name.into(), kind, false)
    }

    /// What its `on` handlers answer. Another answer is a failure of the handler.
    #[must_use]
    pub fn gives(mut self, kind: ValueKind) -> Self {
        self.result = kind;
        self
    }

    /// Its name.
    pub fn name(&self) -> &EventName {
        &self.name
    }

    /// What its `on` handlers answer.
    pub fn result(&self) -> ValueKind {
        self.result
    }

    fn takes(mut self, name: Cow<'static, str>, kind: ValueKind, required: bool) -> Self {
        self.parameters.push(Parameter {
            name,
            kind,
            required,
        });
        self
    }

    /// Says what is wrong with the arguments, if something is.
    pub(crate) fn problem(&self, arguments: &Value) -> Option<String> {
        let given = match arguments {
            Value::Null => None,
            Value::Object(given) => Some(given),
            other => return Some(format!("expected an object of arguments, not {other}")),
        };
        let is_known = |name: &str| self.parameters.iter().any(|p| p.name == name);
        let mut names = given.into_iter().flat_map(serde_json::Map::keys);
        if let Some(name) = names.find(|name| !is_known(name)) {
            let known: Vec<&str> = self.parameters.iter().map(|p| &*p.name).collect();
            return Some(match &known[..] {
                [] => format!("unexpected argument '{name}': it takes none"),
                known => format!(
                    "unexpected argument '{name}': it takes {}",
                    known.join(", ")
                ),
            });
        }
        self.parameters.iter().find_map(|parameter| {
            let Parameter {
                name,
                kind,
                required,
            } = parameter;
            match given.and_then(|given| given.get(&**name)) {
                None | Some(Value::Null) if !required => None,
                None => Some(format!("missing argument '{name}'")),
                Some(value) if kind.admits(value) => None,
                Some(value) => Some(format!(
                    "argument '{name}' must be {kind}, not {}",
                    ValueKind::named(value)
                )),
            }
        })
    }
}

/// Its name and what it takes.
impl fmt::Display for EventDeclaration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (index, parameter) in self.parameters.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let or_nothing = if parameter.required {
                ""
            } else {
                " or nothing"
            };
            write!(
                f,
                "{comma}{}: {}{or_nothing}",
                parameter.name, parameter.kind
            )?;
        }
        f.write_str(")")
    }
}

// === impl ValueKind ===

impl ValueKind {
    /// Whether `value` is of this kind.
    pub fn admits(self, value: &Value) -> bool {
        match self {
            Self::Any => true,
            Self::Flag => value.is_boolean(),
            Self::Number => value.is_number(),
            Self::Text => value.is_string(),
            Self::List => value.is_array(),
            Self::Object => value.is_object(),
        }
    }

    /// What `value` is, in words.
    pub(crate) fn named(value: &Value) -> &'static str {
        match value {
            Value::Null => "null",
            Value::Bool(_) => Self::Flag.words(),
            Value::Number(_) => Self::Number.words(),
            Value::String(_) => Self::Text.words(),
            Value::Array(_) => Self::List.words(),
            Value::Object(_) => Self::Object.words(),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Flag => "true or false",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}
