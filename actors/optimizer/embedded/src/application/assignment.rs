//! Values for settings.

use std::fmt;

use serde::{Deserialize, Serialize};
use servo_messages::SettingValue;

/// Values for settings, in the order of the description: a whole configuration of the adjustable ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assignment(pub(super) Vec<Assigned>);

/// One value of an [`Assignment`].
#[derive(Debug, Clone, PartialEq)]
pub struct Assigned {
    /// The component.
    pub component: String,
    /// The setting.
    pub setting: String,
    /// Its value.
    pub value: SettingValue,
}

impl Assignment {
    /// The values in order.
    pub fn iter(&self) -> impl Iterator<Item = &Assigned> {
        self.0.iter()
    }

    /// How many settings have a value.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no setting has a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a setting.
    #[must_use]
    pub fn get(&self, component: &str, setting: &str) -> Option<&SettingValue> {
        self.0
            .iter()
            .find(|assigned| assigned.component == component && assigned.setting == setting)
            .map(|assigned| &assigned.value)
    }
}

impl FromIterator<Assigned> for Assignment {
    fn from_iter<T: IntoIterator<Item = Assigned>>(assigned: T) -> Self {
        Self(assigned.into_iter().collect())
    }
}

/// `web.cpu=2 web.gc=parallel`
impl fmt::Display for Assignment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (
            index,
            Assigned {
                component,
                setting,
                value,
            },
        ) in self.0.iter().enumerate()
        {
            let blank = if index == 0 { "" } else { " " };
            write!(formatter, "{blank}{component}.{setting}={value}")?;
        }
        Ok(())
    }
}

/// `{"web": {"cpu": 2, "gc": "parallel"}}`
impl Serialize for Assignment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut components: Vec<(&str, Vec<(&str, &SettingValue)>)> = Vec::new();
        for Assigned {
            component,
            setting,
            value,
        } in &self.0
        {
            match components.iter_mut().find(|(name, _)| name == component) {
                Some((_, settings)) => settings.push((setting, value)),
                None => components.push((component, vec![(setting, value)])),
            }
        }
        struct Entries<'a>(&'a [(&'a str, &'a SettingValue)]);
        impl Serialize for Entries<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().copied())
            }
        }
        serializer.collect_map(
            components
                .iter()
                .map(|(name, settings)| (name, Entries(settings))),
        )
    }
}

impl<'de> Deserialize<'de> for Assignment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;

        let components = serde_json::Map::deserialize(deserializer)?;
        let mut assigned = Vec::new();
        for (component, settings) in components {
            let serde_json::Value::Object(settings) = settings else {
                return Err(D::Error::custom(format!(
                    "`{component}` must hold a map of settings"
                )));
            };
            for (setting, value) in settings {
                let value = SettingValue::deserialize(value).map_err(D::Error::custom)?;
                assigned.push(Assigned {
                    component: component.clone(),
                    setting,
                    value,
                });
            }
        }
        Ok(Self(assigned))
    }
}
