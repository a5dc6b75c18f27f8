//! Settings that become environment variables.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number::{Number, SettingValue};
use crate::setting::error::SettingError;
use crate::setting::list::EnumSettingFields;
use crate::setting::{EnumSetting, RangeSetting, Setting};

/// The type of number that an environment variable's text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// A whole number.
    Int,
    /// Any finite number.
    Float,
}

/// A setting whose value becomes an environment variable. In configuration `type` (`range` or `enum`) is required.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum EnvironmentSetting {
    /// A number between two bounds.
    Range(EnvironmentRangeSetting),
    /// One of a list of values.
    Enum(EnvironmentEnumSetting),
}

/// A range whose value becomes an environment variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RangeFields", into = "RangeFields")]
#[schemars(with = "RangeFields")]
pub struct EnvironmentRangeSetting {
    /// Bounds, step and value.
    pub setting: RangeSetting,
    /// The variable's name, where it is not the setting's.
    pub literal: Option<String>,
    /// What the variable's text is cast to; a text becomes a float if unset.
    pub value_type: Option<ValueType>,
}

/// An enum whose value becomes an environment variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "EnumFields", into = "EnumFields")]
#[schemars(with = "EnumFields")]
pub struct EnvironmentEnumSetting {
    /// The list and the value.
    pub setting: EnumSetting,
    /// The variable's name, where it is not the setting's.
    pub literal: Option<String>,
}

/// A range whose value becomes an environment variable.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EnvironmentRangeSetting")]
struct RangeFields {
    /// The name the optimizer knows it by.
    name: String,
    /// The unit's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    /// Smallest value.
    min: Number,
    /// Largest value.
    max: Number,
    /// Distance between values.
    step: Number,
    /// Whether the optimizer must leave it as it is.
    #[serde(default)]
    pinned: bool,
    /// The present value; a text is cast to `value_type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<SettingValue>,
    /// The variable's name, where it is not the setting's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    literal: Option<String>,
    /// What the variable's text is cast to; a text becomes a float if unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_type: Option<ValueType>,
}

/// An enum whose value becomes an environment variable.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EnvironmentEnumSetting")]
struct EnumFields {
    /// The name the optimizer knows it by.
    name: String,
    /// A unit's text, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    /// What can be chosen; at least one.
    #[schemars(length(min = 1))]
    values: Vec<SettingValue>,
    /// Whether the optimizer must leave it as it is.
    #[serde(default)]
    pinned: bool,
    /// The present value, one of `values`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<SettingValue>,
    /// The variable's name, where it is not the setting's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    literal: Option<String>,
}

impl TryFrom<RangeFields> for EnvironmentRangeSetting {
    type Error = SettingError;

    fn try_from(fields: RangeFields) -> Result<Self, Self::Error> {
        let RangeFields {
            name,
            unit,
            min,
            max,
            step,
            pinned,
            value,
            literal,
            value_type,
        } = fields;
        let setting = RangeSetting {
            name,
            unit,
            min,
            max,
            step,
            pinned,
            value: None,
        };
        let mut environment = EnvironmentRangeSetting {
            setting,
            literal,
            value_type,
        };
        if let Some(value) = value {
            environment.setting.value = Some(environment.cast(&value)?);
        }
        Ok(environment)
    }
}

impl From<EnvironmentRangeSetting> for RangeFields {
    fn from(environment: EnvironmentRangeSetting) -> Self {
        let EnvironmentRangeSetting {
            setting,
            literal,
            value_type,
        } = environment;
        let RangeSetting {
            name,
            unit,
            min,
            max,
            step,
            pinned,
            value,
        } = setting;
        RangeFields {
            name,
            unit,
            min,
            max,
            step,
            pinned,
            value: value.map(SettingValue::Number),
            literal,
            value_type,
        }
    }
}

impl TryFrom<EnumFields> for EnvironmentEnumSetting {
    type Error = SettingError;

    fn try_from(fields: EnumFields) -> Result<Self, Self::Error> {
        let EnumFields {
            name,
            unit,
            values,
            pinned,
            value,
            literal,
        } = fields;
        let setting = EnumSetting::try_from(EnumSettingFields {
            name,
            unit,
            values,
            pinned,
            value,
        })?;
        Ok(EnvironmentEnumSetting { setting, literal })
    }
}

impl From<EnvironmentEnumSetting> for EnumFields {
    fn from(environment: EnvironmentEnumSetting) -> Self {
        let EnvironmentEnumSetting { setting, literal } = environment;
        let EnumSetting {
            name,
            unit,
            values,
            pinned,
            value,
        } = setting;
        EnumFields {
            name,
            unit,
            values,
            pinned,
            value,
            literal,
        }
    }
}

impl EnvironmentRangeSetting {
    /// The number that a value from configuration, from the live environment or from an adjustment stands for.
    ///
    /// # Errors
    /// No finite number, or not a whole one where the type is `int`.
    pub fn cast(&self, value: &SettingValue) -> Result<Number, SettingError> {
        let number = match value {
            SettingValue::Number(number) => Some(*number),
            SettingValue::Text(text) => match SettingValue::from_typed(text.trim()) {
                SettingValue::Number(number) if self.value_type.is_none() => {
                    Some(Number::Float(number.as_f64()))
                }
                SettingValue::Number(number) => Some(number),
                SettingValue::Text(_) => None,
            },
        };
        let cast = number
            .filter(|number| number.is_finite())
            .and_then(|number| match self.value_type {
                None => Some(number),
                Some(ValueType::Int) => number.as_i64().map(Number::Int),
                Some(ValueType::Float) => Some(Number::Float(number.as_f64())),
            });
        cast.ok_or_else(|| SettingError::Cast {
            setting: self.setting.name.clone(),
            value: value.clone(),
            value_type: if self.value_type == Some(ValueType::Int) {
                "int"
            } else {
                "float"
            },
        })
    }
}

impl EnvironmentSetting {
    /// The name the optimizer knows it by.
    pub fn name(&self) -> &str {
        match self {
            EnvironmentSetting::Range(range) => &range.setting.name,
            EnvironmentSetting::Enum(list) => &list.setting.name,
        }
    }

    /// The name of the environment variable.
    pub fn variable(&self) -> &str {
        let literal = match self {
            EnvironmentSetting::Range(range) => range.literal.as_deref(),
            EnvironmentSetting::Enum(list) => list.literal.as_deref(),
        };
        literal.unwrap_or_else(|| self.name())
    }

    /// The setting as the optimizer sees it.
    pub fn setting(&self) -> Setting {
        match self {
            EnvironmentSetting::Range(range) => Setting::Range(range.setting.clone()),
            EnvironmentSetting::Enum(list) => Setting::Enum(list.setting.clone()),
        }
    }

    /// The value that a text found in the environment stands for, in the setting's own type.
    ///
    /// # Errors
    /// A range's text that is no such number.
    pub fn value_of(&self, text: &str) -> Result<SettingValue, SettingError> {
        match self {
            EnvironmentSetting::Range(range) => range.cast(&text.into()).map(|number| {
                SettingValue::Number(if range.value_type.is_none() {
                    range.setting.conform(number)
                } else {
                    number
                })
            }),
            EnvironmentSetting::Enum(list) => {
                let typed = SettingValue::from_typed(text);
                let known = [SettingValue::from(text), typed]
                    .iter()
                    .find_map(|value| list.setting.member(value).ok().cloned());
                Ok(known.unwrap_or_else(|| text.into()))
            }
        }
    }

    /// The variable's text for a value: whole numbers without a fraction where the range is one of whole numbers.
    ///
    /// # Errors
    /// A range's value that is no such number.
    pub fn variable_text(&self, value: &SettingValue) -> Result<String, SettingError> {
        match self {
            EnvironmentSetting::Range(range) => {
                let number = range.cast(value)?;
                Ok(if range.value_type.is_none() {
                    range.setting.conform(number)
                } else {
                    number
                }
                .to_string())
            }
            EnvironmentSetting::Enum(_) => Ok(value.to_string()),
        }
    }
}
