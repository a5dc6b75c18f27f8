//! Settings that take one of a list of values.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number::SettingValue;
use crate::setting::error::SettingError;

/// A setting that takes one of a list of values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "EnumSettingFields")]
#[schemars(with = "EnumSettingFields")]
pub struct EnumSetting {
    /// The name the optimizer knows it by.
    pub name: String,
    /// A unit's text, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What can be chosen; at least one.
    pub values: Vec<SettingValue>,
    /// Whether the optimizer must leave it as it is.
    pub pinned: bool,
    /// The present value. One read back from a live system may be outside of the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<SettingValue>,
}

/// A setting that takes one of a list of values.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EnumSetting")]
pub(super) struct EnumSettingFields {
    /// The name the optimizer knows it by.
    pub(super) name: String,
    /// A unit's text, for people.
    #[serde(default)]
    pub(super) unit: Option<String>,
    /// What can be chosen; at least one.
    #[schemars(length(min = 1))]
    pub(super) values: Vec<SettingValue>,
    /// Whether the optimizer must leave it as it is.
    #[serde(default)]
    pub(super) pinned: bool,
    /// The present value, one of `values`.
    #[serde(default)]
    pub(super) value: Option<SettingValue>,
}

impl TryFrom<EnumSettingFields> for EnumSetting {
    type Error = SettingError;

    fn try_from(fields: EnumSettingFields) -> Result<Self, Self::Error> {
        let EnumSettingFields {
            name,
            unit,
            values,
            pinned,
            value,
        } = fields;
        let mut list = EnumSetting {
            pinned,
            unit,
            ..EnumSetting::new(name, values)?
        };
        if let Some(value) = value {
            list.value = Some(list.member(&value)?.clone());
        }
        Ok(list)
    }
}

impl EnumSetting {
    /// A list without unit, pin and value.
    ///
    /// # Errors
    /// The list is empty.
    pub fn new<V: Into<SettingValue>>(
        name: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Result<EnumSetting, SettingError> {
        let name = name.into();
        let values: Vec<SettingValue> = values.into_iter().map(Into::into).collect();
        if values.is_empty() {
            return Err(SettingError::NoValues { setting: name });
        }
        Ok(EnumSetting {
            name,
            unit: None,
            values,
            pinned: false,
            value: None,
        })
    }

    /// The instance type of a cloud machine: name `inst_type`, unit `ec2`.
    ///
    /// # Errors
    /// The list is empty.
    pub fn instance_type<V: Into<SettingValue>>(
        values: impl IntoIterator<Item = V>,
    ) -> Result<EnumSetting, SettingError> {
        Ok(EnumSetting {
            unit: Some("ec2".to_owned()),
            ..EnumSetting::new("inst_type", values)?
        })
    }

    /// The option that equals `value`; numbers compare numerically.
    pub(super) fn member(&self, value: &SettingValue) -> Result<&SettingValue, SettingError> {
        self.values
            .iter()
            .find(|option| *option == value)
            .ok_or_else(|| SettingError::NotInList {
                setting: self.name.clone(),
                value: value.clone(),
                listed: self.listed(),
            })
    }

    /// `['a', 'b']`
    pub(super) fn listed(&self) -> String {
        let options: Vec<String> = self.values.iter().map(SettingValue::quoted).collect();
        format!("[{}]", options.join(", "))
    }

    fn class_name(&self) -> &'static str {
        if self.name == "inst_type" && self.unit.as_deref() == Some("ec2") {
            "InstanceType"
        } else {
            "EnumSetting"
        }
    }
}

/// `EnumSetting(values=['a', 'b'], unit=ec2)`.
impl fmt::Display for EnumSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(values={}", self.class_name(), self.listed())?;
        if let Some(unit) = &self.unit {
            write!(f, ", unit={unit}")?;
        }
        f.write_str(")")
    }
}
