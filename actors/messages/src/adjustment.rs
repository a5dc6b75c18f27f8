//! A new value for one setting of one component.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use crate::component::Selector;
use crate::number::SettingValue;
use crate::wire::{self, WireError};

/// A new value for one setting of one component: `web.cpu=1.25`.
#[derive(Clone, Debug, PartialEq)]
pub struct Adjustment {
    /// The component's name.
    pub component: String,
    /// The setting's name.
    pub setting: String,
    /// The value it is to have.
    pub value: SettingValue,
}

/// A command-line text that is no adjustment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse setting descriptor '{0}': expected format is `component.setting=value`")]
pub struct AdjustmentParseError(pub String);

impl Adjustment {
    /// This value for that setting of that component.
    pub fn new(
        component: impl Into<String>,
        setting: impl Into<String>,
        value: impl Into<SettingValue>,
    ) -> Adjustment {
        Adjustment {
            component: component.into(),
            setting: setting.into(),
            value: value.into(),
        }
    }

    /// Which setting.
    pub fn selector(&self) -> Selector {
        Selector {
            component: self.component.clone(),
            setting: self.setting.clone(),
        }
    }

    /// Reads the command-line form where the component names are known, so that they may hold dots. Numbers become
    /// numbers; a quantity such as `512Mi` stays text, for the connector that owns the setting to read.
    ///
    /// # Errors
    /// No `=`, no dot before it, or an empty part.
    pub fn parse<'a>(
        text: &str,
        components: impl IntoIterator<Item = &'a str>,
    ) -> Result<Adjustment, AdjustmentParseError> {
        let error = || AdjustmentParseError(text.to_owned());
        let (selector, value) = text.split_once('=').ok_or_else(error)?;
        if value.is_empty() {
            return Err(error());
        }
        let Selector { component, setting } =
            Selector::parse(selector, components).map_err(|_| error())?;
        Ok(Adjustment {
            component,
            setting,
            value: SettingValue::from_typed(value),
        })
    }
}

impl FromStr for Adjustment {
    type Err = AdjustmentParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Adjustment::parse(text, [])
    }
}

impl fmt::Display for Adjustment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}={}", self.component, self.setting, self.value)
    }
}

/// Reads the `state` of an ADJUST command's `param` (pass null where it is absent): each
/// `application.components.<component>.settings.<setting>.value` is one adjustment, in document order.
///
/// # Errors
/// The path, from `state` on, of the first thing that is missing or has not the agreed shape. Null and boolean values
/// are refused.
pub fn adjustments_from_state(state: &Value) -> Result<Vec<Adjustment>, WireError> {
    if state.is_null() {
        return Err(WireError::new("state", "missing: expected an object"));
    }
    let state = wire::object(state, "state")?;
    let (application, path) = wire::member_object(state, "state", "application")?;
    let (components, path) = wire::member_object(application, &path, "components")?;
    let mut adjustments = Vec::new();
    for name in components.keys() {
        let (component, path) = wire::member_object(components, &path, name)?;
        let (settings, path) = wire::member_object(component, &path, "settings")?;
        for setting in settings.keys() {
            let (members, path) = wire::member_object(settings, &path, setting)?;
            let path = format!("{path}.value");
            let value = match members.get("value") {
                None => {
                    return Err(WireError::new(
                        path,
                        "missing: expected a number or a string",
                    ));
                }
                Some(value) => SettingValue::from_json(value).ok_or_else(|| {
                    WireError::new(
                        path,
                        format!(
                            "expected a number or a string but found {}",
                            wire::kind(value)
                        ),
                    )
                })?,
            };
            adjustments.push(Adjustment {
                component: name.clone(),
                setting: setting.clone(),
                value,
            });
        }
    }
    Ok(adjustments)
}

/// The `state` that [`adjustments_from_state`] reads back. Of two adjustments of one setting the last is kept.
pub fn adjustments_to_state(adjustments: &[Adjustment]) -> Value {
    let mut components: Map<String, Value> = Map::new();
    for Adjustment {
        component,
        setting,
        value,
    } in adjustments
    {
        let entry = components
            .entry(component.clone())
            .or_insert_with(|| json!({ "settings": {} }));
        if let Some(settings) = entry.get_mut("settings").and_then(Value::as_object_mut) {
            settings.insert(setting.clone(), json!({ "value": value.to_json() }));
        }
    }
    json!({ "application": { "components": components } })
}
