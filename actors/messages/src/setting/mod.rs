//! What can be adjusted: settings with a range or a list of values.
//!
//! Contract: `spec/config-and-cli.md §6.4`.

mod environment;
mod error;
mod list;
mod range;
mod warning;

pub use environment::{
    EnvironmentEnumSetting, EnvironmentRangeSetting, EnvironmentSetting, ValueType,
};
pub use error::SettingError;
pub use list::EnumSetting;
pub use range::RangeSetting;
pub use warning::SettingWarning;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::number::SettingValue;
use crate::wire::{self, WireError};

/// Something an optimizer may adjust.
///
/// In configuration it is an object told apart by `type` and with its `name` inside; on the wire the name is the key
/// ([`Setting::to_wire`], [`Setting::from_wire`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Setting {
    /// A number between two bounds.
    Range(RangeSetting),
    /// One of a list of values.
    Enum(EnumSetting),
}

impl Setting {
    /// The name the optimizer knows it by.
    pub fn name(&self) -> &str {
        match self {
            Setting::Range(range) => &range.name,
            Setting::Enum(list) => &list.name,
        }
    }

    /// The present value, if there is one.
    pub fn value(&self) -> Option<SettingValue> {
        match self {
            Setting::Range(range) => range.value.map(SettingValue::Number),
            Setting::Enum(list) => list.value.clone(),
        }
    }

    /// The unit's text, if there is one.
    pub fn unit(&self) -> Option<&str> {
        match self {
            Setting::Range(range) => range.unit.as_deref(),
            Setting::Enum(list) => list.unit.as_deref(),
        }
    }

    /// Whether the optimizer must leave it as it is.
    pub const fn is_pinned(&self) -> bool {
        match self {
            Setting::Range(range) => range.pinned,
            Setting::Enum(list) => list.pinned,
        }
    }

    /// The setting with another value, as configuration or an adjustment changes it. A value outside of the range is
    /// taken, and shows in [`Setting::warnings`].
    ///
    /// # Errors
    /// Pinned and already of a different value; not a number for a range; not in the list.
    pub fn with_value(&self, value: SettingValue) -> Result<Setting, SettingError> {
        self.allows_change(&value)?;
        match self {
            Setting::Range(range) => {
                let number = range.number(&value)?;
                Ok(Setting::Range(RangeSetting {
                    value: Some(number),
                    ..range.clone()
                }))
            }
            Setting::Enum(list) => {
                let value = list.member(&value)?.clone();
                Ok(Setting::Enum(EnumSetting {
                    value: Some(value),
                    ..list.clone()
                }))
            }
        }
    }

    /// The setting with the value that a live system shows. Nothing is refused except text for a range, which leaves
    /// the value unknown: what is out there is out there.
    #[must_use]
    pub fn with_live_value(&self, value: SettingValue) -> Setting {
        match self {
            Setting::Range(range) => Setting::Range(RangeSetting {
                value: value.as_number(),
                ..range.clone()
            }),
            Setting::Enum(list) => Setting::Enum(EnumSetting {
                value: Some(value),
                ..list.clone()
            }),
        }
    }

    /// Whether an optimizer may set this value: right type, allowed by the pin, within the range and on its steps, or
    /// in the list. The bounds and the present value are always on a step, so that a baseline can be restored.
    ///
    /// # Errors
    /// The first rule that is broken, with the setting's name, the value and what is allowed.
    pub fn accepts(&self, value: &SettingValue) -> Result<(), SettingError> {
        self.allows_change(value)?;
        match self {
            Setting::Range(range) => range.accepts(range.number(value)?),
            Setting::Enum(list) => list.member(value).map(|_| ()),
        }
    }

    fn allows_change(&self, value: &SettingValue) -> Result<(), SettingError> {
        match self.value() {
            Some(existing) if self.is_pinned() && existing != *value => Err(SettingError::Pinned {
                setting: self.name().to_owned(),
                assigned: value.clone(),
                existing,
            }),
            _ => Ok(()),
        }
    }

    /// What is odd about the definition and its value. None of it keeps the setting from being used.
    pub fn warnings(&self) -> Vec<SettingWarning> {
        match self {
            Setting::Range(range) => range.warnings(),
            Setting::Enum(_) => Vec::new(),
        }
    }

    /// The short text `r (range 0-10, 1)`, `gc (enum ['a', 'b'])`.
    pub fn short_text(&self) -> String {
        match self {
            Setting::Range(range) => format!(
                "{} (range {}-{}, {})",
                range.name, range.min, range.max, range.step
            ),
            Setting::Enum(list) => format!("{} (enum {})", list.name, list.listed()),
        }
    }

    /// The object that stands under the setting's name on the wire. Nulls are left out, except for the value of CPU
    /// and memory, which the peer always sends (`spec/optimizer-protocol.md §7.1`).
    pub fn to_wire(&self) -> Value {
        let mut wire = Map::new();
        let (kind, always_value) = match self {
            Setting::Range(range) => ("range", range.class().is_resource()),
            Setting::Enum(_) => ("enum", false),
        };
        wire.insert("type".to_owned(), kind.into());
        if let Some(unit) = self.unit() {
            wire.insert("unit".to_owned(), unit.into());
        }
        match self {
            Setting::Range(range) => {
                for (key, number) in [("min", range.min), ("max", range.max), ("step", range.step)]
                {
                    wire.insert(key.to_owned(), number.to_json());
                }
            }
            Setting::Enum(list) => {
                wire.insert(
                    "values".to_owned(),
                    list.values.iter().map(SettingValue::to_json).collect(),
                );
            }
        }
        wire.insert("pinned".to_owned(), self.is_pinned().into());
        match self.value() {
            Some(value) => {
                wire.insert("value".to_owned(), value.to_json());
            }
            None if always_value => {
                wire.insert("value".to_owned(), Value::Null);
            }
            None => {}
        }
        Value::Object(wire)
    }

    /// Reads the object that stands under `name` on the wire. Without `type`, a list of `values` makes it an enum. The
    /// value is taken as it is, in or out of the range; unknown keys are ignored.
    ///
    /// # Errors
    /// What is missing or of the wrong type, with its path below `path`.
    pub fn from_wire(name: &str, wire: &Value, path: &str) -> Result<Setting, WireError> {
        let members = wire::object(wire, path)?;
        let kind = match members.get("type") {
            None | Some(Value::Null) => {
                if members.contains_key("values") {
                    "enum"
                } else {
                    "range"
                }
            }
            Some(Value::String(kind)) => kind.as_str(),
            Some(other) => return Err(expected(path, "type", "a string", other)),
        };
        let unit = match members.get("unit") {
            None | Some(Value::Null) => None,
            Some(Value::String(unit)) => Some(unit.clone()),
            Some(other) => return Err(expected(path, "unit", "a string", other)),
        };
        let pinned = match members.get("pinned") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(pinned)) => *pinned,
            Some(other) => return Err(expected(path, "pinned", "a boolean", other)),
        };
        let value = match members.get("value") {
            None | Some(Value::Null) => None,
            Some(value) => Some(
                SettingValue::from_json(value)
                    .ok_or_else(|| expected(path, "value", "a number or a string", value))?,
            ),
        };
        let name = name.to_owned();
        match kind {
            "range" => {
                let number = |key: &str| match members.get(key) {
                    None => Err(WireError::new(
                        format!("{path}.{key}"),
                        "missing: expected a number",
                    )),
                    Some(value) => SettingValue::from_json(value)
                        .and_then(|value| value.as_number())
                        .ok_or_else(|| expected(path, key, "a number", value)),
                };
                let value = match value {
                    None => None,
                    Some(SettingValue::Number(number)) => Some(number),
                    Some(SettingValue::Text(text)) => {
                        return Err(expected(path, "value", "a number", &Value::String(text)));
                    }
                };
                let (min, max, step) = (number("min")?, number("max")?, number("step")?);
                Ok(Setting::Range(RangeSetting {
                    name,
                    unit,
                    min,
                    max,
                    step,
                    pinned,
                    value,
                }))
            }
            "enum" => {
                let list = match members.get("values") {
                    None => {
                        return Err(WireError::new(
                            format!("{path}.values"),
                            "missing: expected a list",
                        ));
                    }
                    Some(list) => list
                        .as_array()
                        .ok_or_else(|| expected(path, "values", "a list", list))?,
                };
                let mut values = Vec::with_capacity(list.len());
                for (index, value) in list.iter().enumerate() {
                    let value = SettingValue::from_json(value).ok_or_else(|| {
                        expected(
                            path,
                            &format!("values[{index}]"),
                            "a number or a string",
                            value,
                        )
                    })?;
                    values.push(value);
                }
                if values.is_empty() {
                    return Err(WireError::new(
                        format!("{path}.values"),
                        "expected at least one value",
                    ));
                }
                Ok(Setting::Enum(EnumSetting {
                    name,
                    unit,
                    values,
                    pinned,
                    value,
                }))
            }
            other => Err(WireError::new(
                format!("{path}.type"),
                format!("unknown kind of setting '{other}': expected 'range' or 'enum'"),
            )),
        }
    }
}

fn expected(path: &str, key: &str, wanted: &str, found: &Value) -> WireError {
    WireError::new(
        format!("{path}.{key}"),
        format!("expected {wanted} but found {}", wire::kind(found)),
    )
}

impl From<RangeSetting> for Setting {
    fn from(range: RangeSetting) -> Self {
        Setting::Range(range)
    }
}

impl From<EnumSetting> for Setting {
    fn from(list: EnumSetting) -> Self {
        Setting::Enum(list)
    }
}

/// The summary, e.g. `RangeSetting(range=[0..10], step=1, unit=cores)`.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Setting::Range(range) => range.fmt(f),
            Setting::Enum(list) => list.fmt(f),
        }
    }
}
