//! What a servo offers for tuning: components with settings, and metrics.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use crate::metric::Metric;
use crate::setting::Setting;
use crate::unit::{Unit, UnknownUnit};
use crate::wire::{self, WireError};

/// A part of the application that has settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// The name the optimizer knows it by.
    pub name: String,
    /// Its settings, names unique.
    pub settings: Vec<Setting>,
}

impl Component {
    /// A component with these settings.
    pub fn new(name: impl Into<String>, settings: impl IntoIterator<Item = Setting>) -> Component {
        Component {
            name: name.into(),
            settings: settings.into_iter().collect(),
        }
    }

    /// The setting of this name.
    pub fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name() == name)
    }
}

/// Everything that can be adjusted and measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Description {
    /// What can be adjusted, names unique.
    pub components: Vec<Component>,
    /// What can be measured, names unique.
    pub metrics: Vec<Metric>,
}

/// Two connectors describe the same thing differently; the first one is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeWarning {
    /// The same setting of the same component.
    Setting {
        /// The component's name.
        component: String,
        /// The setting's name.
        setting: String,
    },
    /// The same metric with different units.
    Metric {
        /// The metric's name.
        metric: String,
        /// The unit that is kept.
        kept: Unit,
        /// The unit that is not.
        ignored: Unit,
    },
}

impl fmt::Display for MergeWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MergeWarning::Setting { component, setting } => {
                write!(
                    f,
                    "setting '{component}.{setting}' is declared more than once; the first declaration is kept"
                )
            }
            MergeWarning::Metric {
                metric,
                kept,
                ignored,
            } => write!(
                f,
                "metric '{metric}' is declared in '{}' and in '{}'; '{}' is kept",
                kept.name(),
                ignored.name(),
                kept.name()
            ),
        }
    }
}

impl Description {
    /// The component of this name.
    pub fn component(&self, name: &str) -> Option<&Component> {
        self.components
            .iter()
            .find(|component| component.name == name)
    }

    /// The setting of this name in the component of that name.
    pub fn setting(&self, component: &str, name: &str) -> Option<&Setting> {
        self.component(component)?.setting(name)
    }

    /// The metric of this name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// Adds what another connector declares. Components of the same name are merged; of what is declared twice the
    /// first declaration is kept.
    pub fn merge(&mut self, other: Description) -> Vec<MergeWarning> {
        let mut warnings = Vec::new();
        for component in other.components {
            match self
                .components
                .iter_mut()
                .find(|known| known.name == component.name)
            {
                None => self.components.push(component),
                Some(known) => {
                    for setting in component.settings {
                        if known.setting(setting.name()).is_some() {
                            warnings.push(MergeWarning::Setting {
                                component: known.name.clone(),
                                setting: setting.name().to_owned(),
                            });
                        } else {
                            known.settings.push(setting);
                        }
                    }
                }
            }
        }
        for metric in other.metrics {
            match self.metric(&metric.name) {
                None => self.metrics.push(metric),
                Some(known) if known.unit.same_on_wire(metric.unit) => {}
                Some(known) => warnings.push(MergeWarning::Metric {
                    kept: known.unit,
                    ignored: metric.unit,
                    metric: metric.name,
                }),
            }
        }
        warnings
    }

    /// The descriptor: `{"application": {"components": ...}, "measurement": {"metrics": ...}}`.
    pub fn to_wire(&self) -> Value {
        let mut components = Map::new();
        for component in &self.components {
            let settings: Map<String, Value> = component
                .settings
                .iter()
                .map(|setting| (setting.name().to_owned(), setting.to_wire()))
                .collect();
            components.insert(component.name.clone(), json!({ "settings": settings }));
        }
        let metrics: Map<String, Value> = self
            .metrics
            .iter()
            .map(|metric| (metric.name.clone(), json!({ "unit": metric.unit.symbol() })))
            .collect();
        json!({ "application": { "components": components }, "measurement": { "metrics": metrics } })
    }

    /// Reads a descriptor. Absent or null parts are empty, unknown keys are ignored, values are taken as they are.
    ///
    /// # Errors
    /// The path of the first thing that has not the agreed shape.
    pub fn from_wire(descriptor: &Value) -> Result<Description, WireError> {
        let root = wire::object(descriptor, "descriptor")?;
        let mut description = Description::default();
        for (name, component) in nested(root, "application", "components")? {
            let path = format!("application.components.{name}");
            let component = wire::object(component, &path)?;
            let mut settings = Vec::new();
            let path = format!("{path}.settings");
            if let Some(value) = component.get("settings").filter(|value| !value.is_null()) {
                for (name, setting) in wire::object(value, &path)? {
                    settings.push(Setting::from_wire(
                        name,
                        setting,
                        &format!("{path}.{name}"),
                    )?);
                }
            }
            description.components.push(Component {
                name: name.clone(),
                settings,
            });
        }
        for (name, metric) in nested(root, "measurement", "metrics")? {
            let path = format!("measurement.metrics.{name}");
            let unit = match wire::object(metric, &path)?.get("unit") {
                None | Some(Value::Null) => Unit::Float,
                Some(unit) => {
                    let path = format!("{path}.unit");
                    let text = unit.as_str().ok_or_else(|| {
                        WireError::new(
                            &path,
                            format!("expected a string but found {}", wire::kind(unit)),
                        )
                    })?;
                    text.parse()
                        .map_err(|error: UnknownUnit| WireError::new(&path, error.to_string()))?
                }
            };
            description.metrics.push(Metric {
                name: name.clone(),
                unit,
            });
        }
        Ok(description)
    }
}

/// The members of `root.outer.inner`; nothing where either is absent or null.
fn nested<'a>(
    root: &'a Map<String, Value>,
    outer: &str,
    inner: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, WireError> {
    let present = |parent: &'a Map<String, Value>, key: &str| {
        parent.get(key).filter(|value| !value.is_null())
    };
    let members = match present(root, outer) {
        None => None,
        Some(value) => match present(wire::object(value, outer)?, inner) {
            None => None,
            Some(value) => Some(wire::object(value, &format!("{outer}.{inner}"))?),
        },
    };
    Ok(members.into_iter().flatten())
}

/// The address of a setting: `component.setting`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    /// The component's name.
    pub component: String,
    /// The setting's name.
    pub setting: String,
}

/// A text that is no address of a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse setting selector '{0}': expected format is `component.setting`")]
pub struct SelectorError(pub String);

impl Selector {
    /// Reads `component.setting`. A name may hold dots itself: the longest of the known component names that fits
    /// wins, and where none does the first dot divides.
    ///
    /// # Errors
    /// No dot, or nothing before or after it.
    pub fn parse<'a>(
        text: &str,
        components: impl IntoIterator<Item = &'a str>,
    ) -> Result<Selector, SelectorError> {
        let known = components
            .into_iter()
            .filter_map(|component| {
                let setting = text.strip_prefix(component)?.strip_prefix('.')?;
                (!component.is_empty() && !setting.is_empty()).then_some((component, setting))
            })
            .max_by_key(|(component, _)| component.len());
        match known.or_else(|| text.split_once('.')) {
            Some((component, setting)) if !component.is_empty() && !setting.is_empty() => {
                Ok(Selector {
                    component: component.to_owned(),
                    setting: setting.to_owned(),
                })
            }
            _ => Err(SelectorError(text.to_owned())),
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Selector::parse(text, [])
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.component, self.setting)
    }
}
