//! Keys that a workload takes over from the top of the stanza unless it says otherwise.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a workload says about a key of the stanza's top that may also be null.
///
/// A null that is written counts as said (`spec/kubernetes.md` §3.1), so it is told from a key that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cascaded<T> {
    /// Not there: as at the top.
    #[default]
    AsAtTop,
    /// Null: none, whatever the top says.
    Nothing,
    /// Its own.
    Own(T),
}

// === impl Cascaded ===

impl<T> Cascaded<T> {
    /// Whether the key is not there.
    pub const fn is_as_at_top(&self) -> bool {
        matches!(self, Self::AsAtTop)
    }

    /// What holds for the workload, when `top` holds for the stanza.
    pub fn or<'a>(&'a self, top: Option<&'a T>) -> Option<&'a T> {
        match self {
            Self::AsAtTop => top,
            Self::Nothing => None,
            Self::Own(value) => Some(value),
        }
    }
}

impl<T: Serialize> Serialize for Cascaded<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AsAtTop | Self::Nothing => serializer.serialize_none(),
            Self::Own(value) => serializer.serialize_some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Cascaded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(|value| match value {
            None => Self::Nothing,
            Some(value) => Self::Own(value),
        })
    }
}

impl<T: JsonSchema> JsonSchema for Cascaded<T> {
    fn schema_name() -> Cow<'static, str> {
        Option::<T>::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}
