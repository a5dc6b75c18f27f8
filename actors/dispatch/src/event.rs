//! What an event is, and the three stages in which connectors take part in it.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use thiserror::Error;

use crate::around::Around;

/// A typed request that is dispatched to the connectors of one servo.
///
/// The type is the event's identity: a handler is bound to it by the compiler. [`Event::NAME`]
/// is for the edges only: logs, the command line, configuration (`spec/events-and-checks.md` §2.1).
pub trait Event: Debug + Send + Sync + Sized + 'static {
    /// What one `on` handler contributes.
    type Output: Clone + Debug + Send + Sync + 'static;

    /// Name at the edges; see [`EventName`] for what is allowed.
    const NAME: &'static str;

    /// What kind of event it is, for listings and default deadlines.
    const CATEGORY: Category;

    /// Set-up and tear-down around each `on` handler, for an event that is
    /// [`Surrounded`](crate::Surrounded).
    const AROUND: Option<Around<Self>> = None;
}

/// Groups events by what they are for (`spec/events-and-checks.md` §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// Something begins or ends: `attach`, `startup`, `shutdown`, `detach`.
    Lifecycle,
    /// Asks what there is, without changing it: `metrics`, `components`.
    Informational,
    /// Does the work an optimizer or an operator asks for: `describe`, `measure`, `adjust`.
    Operational,
    /// Declared by a connector.
    Custom,
}

/// When a handler runs, relative to the event itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// First; may veto the event.
    Before,
    /// The event proper; its results are collected.
    On,
    /// Last; sees all results.
    After,
}

impl Stage {
    /// In the order in which they run.
    pub(crate) const ALL: [Self; 3] = [Self::Before, Self::On, Self::After];

    /// The stage behind this one.
    pub(crate) fn following(self) -> Option<Self> {
        match self {
            Stage::Before => Some(Stage::On),
            Stage::On => Some(Stage::After),
            Stage::After => None,
        }
    }

    /// `before`, `on` or `after`.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Before => "before",
            Stage::On => "on",
            Stage::After => "after",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Stage {
    type Err = EventNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "before" => Ok(Stage::Before),
            "on" => Ok(Stage::On),
            "after" => Ok(Stage::After),
            other => Err(EventNameError::Stage(other.to_owned())),
        }
    }
}

/// The name of an event that is known only at run time: `[a-z][a-z0-9_]{0,63}`, and none of
/// `before`, `on`, `after`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventName(Box<str>);

/// Why a text names no event or stage.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EventNameError {
    /// Not `[a-z][a-z0-9_]{0,63}`.
    #[error(
        "invalid event name {0:?}: a name starts with a-z and holds up to 64 of a-z, 0-9 and underscore"
    )]
    Characters(String),
    /// `before`, `on` and `after` are stages.
    #[error("invalid event name {0:?}: it is the name of a stage")]
    Reserved(String),
    /// Neither `before` nor `on` nor `after`.
    #[error("unsupported value for Preposition '{0}': expected before, on or after")]
    Stage(String),
}

/// The name of a typed event, as all servos share it: there are few such events, and many servos.
pub(crate) fn interned(name: &'static str) -> Arc<str> {
    static NAMES: Mutex<BTreeMap<&'static str, Arc<str>>> = Mutex::new(BTreeMap::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    names.entry(name).or_insert_with(|| name.into()).clone()
}

// === impl EventName ===

impl EventName {
    /// Validates `name`.
    ///
    /// # Errors
    /// When it has other characters than allowed, is too long, or names a stage.
    pub fn try_new(name: &str) -> Result<Self, EventNameError> {
        let mut bytes = name.bytes();
        let starts_well = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
        let goes_on_well = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !starts_well || !goes_on_well || name.len() > 64 {
            return Err(EventNameError::Characters(name.to_owned()));
        }
        if Stage::from_str(name).is_ok() {
            return Err(EventNameError::Reserved(name.to_owned()));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "measure", "load_test2"] {
            assert!(EventName::try_new(good).is_ok(), "{good}");
        }
        let long = "a".repeat(65);
        for bad in [
            "",
            "A",
            "1a",
            "a-b",
            "before:measure",
            "on",
            "after",
            "é",
            &long,
        ] {
            assert!(EventName::try_new(bad).is_err(), "{bad}");
        }
    }
}
