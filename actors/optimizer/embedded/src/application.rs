//! What is tuned: the settings and metrics an application describes, and how a configuration of it looks
//! to the search, to the wire and to a reader.

use std::fmt;

use serde::{Deserialize, Serialize};
use servo_messages::{Number, SettingValue};
use servo_search::{Dimension, Domain, Point, Space, SpaceError};

use crate::expression::Vocabulary;

/// An application as it described itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Application {
    /// Every setting of every component, in the order of the description.
    pub settings: Vec<Knob>,
    /// Every metric, in the order of the description.
    pub metrics: Vec<MetricSpec>,
}

/// A metric that can be measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricSpec {
    /// Its name.
    pub name: String,
    /// The unit as on the wire; empty for plain numbers.
    pub unit: String,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Knob {
    /// The component it belongs to.
    pub component: String,
    /// Its name within the component.
    pub setting: String,
    /// The unit as on the wire; empty if it has none.
    pub unit: String,
    /// What it may be set to.
    pub values: Values,
    /// Not to be changed by the optimizer.
    pub pinned: bool,
    /// What it is set to now.
    pub value: Option<SettingValue>,
}

/// What a setting may be set to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// Numbers from `min` to `max` by `step`; a `step` of zero leaves every number between them.
    Range {
        /// Smallest.
        min: Number,
        /// Largest.
        max: Number,
        /// Distance of two neighbours.
        step: Number,
    },
    /// One of these.
    OneOf(Vec<SettingValue>),
}

/// Why an application cannot be tuned as it describes itself.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum UntunableError {
    /// Without a value there is no baseline.
    #[error(
        "the setting {0} is described without a value, so there is no baseline to compare with and to return to; give it its current value"
    )]
    NoValue(String),
    /// The baseline could not be returned to.
    #[error(
        "the setting {setting} has the value {value}, which is not one of the values it may be set to; the baseline could not be restored"
    )]
    ForeignValue {
        /// `component.setting`.
        setting: String,
        /// What it has.
        value: SettingValue,
    },
    /// A range whose value is text.
    #[error("the setting {setting} is a range, but its value {value:?} is not a number")]
    NotANumber {
        /// `component.setting`.
        setting: String,
        /// What it has.
        value: String,
    },
    /// The description is not a space.
    #[error(transparent)]
    Space(#[from] SpaceError),
}

/// Values for settings, in the order of the description: a whole configuration of the adjustable ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assignment(Vec<Assigned>);

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

// === impl Knob ===

impl Knob {
    /// `component.setting`
    #[must_use]
    pub fn selector(&self) -> String {
        format!("{}.{}", self.component, self.setting)
    }

    /// Whether the optimizer may choose its value: it is not pinned, and there is more than one.
    #[must_use]
    pub fn adjustable(&self) -> bool {
        !self.pinned
            && match &self.values {
                Values::Range { min, max, .. } => min.as_f64() < max.as_f64(),
                Values::OneOf(values) => values.len() > 1,
            }
    }

    fn dimension(&self) -> Dimension {
        let domain = match &self.values {
            Values::Range { min, max, step } => Domain::Range {
                min: min.as_f64(),
                max: max.as_f64(),
                step: Some(step.as_f64()).filter(|step| *step != 0.0),
            },
            Values::OneOf(values) => Domain::Choice {
                options: values.len(),
            },
        };
        Dimension {
            name: self.selector(),
            domain,
        }
    }

    /// A number of the search as a value of this setting. The kind of JSON number is the description's:
    /// where all of its numbers are integers, so is the value (`spec/optimizer-protocol.md` §7.1).
    fn value_at(&self, coordinate: f64) -> SettingValue {
        match &self.values {
            Values::OneOf(values) => {
                let last = values.len().saturating_sub(1);
                let index = (coordinate.round().max(0.0) as usize).min(last);
                values
                    .get(index)
                    .cloned()
                    .unwrap_or(SettingValue::Text(String::new()))
            }
            Values::Range { min, max, step } => {
                let whole = min.is_int() && max.is_int() && step.is_int();
                if whole {
                    SettingValue::Number(Number::Int(coordinate.round() as i64))
                } else {
                    SettingValue::Number(Number::Float(decimal(coordinate)))
                }
            }
        }
    }

    fn coordinate_of(&self, value: &SettingValue) -> Result<f64, UntunableError> {
        match &self.values {
            Values::Range { .. } => value.as_f64().ok_or_else(|| UntunableError::NotANumber {
                setting: self.selector(),
                value: value.to_string(),
            }),
            Values::OneOf(values) => values
                .iter()
                .position(|candidate| candidate == value)
                .map(|index| index as f64)
                .ok_or_else(|| UntunableError::ForeignValue {
                    setting: self.selector(),
                    value: value.clone(),
                }),
        }
    }

    /// Whether every value it may have can be calculated with.
    fn numeric(&self) -> bool {
        match &self.values {
            Values::Range { .. } => true,
            Values::OneOf(values) => values.iter().all(|value| as_number(value).is_some()),
        }
    }
}

/// Numbers written as text, as environment variables have them, can be calculated with too.
fn as_number(value: &SettingValue) -> Option<f64> {
    match value {
        SettingValue::Number(number) => Some(number.as_f64()),
        SettingValue::Text(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}

/// Steps such as 0.1 add up to 0.30000000000000004; what goes on the wire is the decimal that was meant.
fn decimal(value: f64) -> f64 {
    format!("{value:.9}").parse().unwrap_or(value)
}

// === impl Application ===

impl Application {
    /// The settings the optimizer may choose, in order.
    pub fn adjustable(&self) -> impl Iterator<Item = &Knob> {
        self.settings.iter().filter(|knob| knob.adjustable())
    }

    /// The space to search: one dimension for each adjustable setting.
    ///
    /// # Errors
    /// When nothing is adjustable, or a range is not one.
    pub fn space(&self) -> Result<Space, UntunableError> {
        Ok(Space::new(
            self.adjustable().map(Knob::dimension).collect(),
        )?)
    }

    /// The present values of the adjustable settings.
    ///
    /// # Errors
    /// When one of them has none, or one that could not be set again.
    pub fn current(&self) -> Result<Assignment, UntunableError> {
        self.adjustable()
            .map(|knob| {
                let value = knob
                    .value
                    .clone()
                    .ok_or_else(|| UntunableError::NoValue(knob.selector()))?;
                knob.coordinate_of(&value)?;
                Ok(Assigned {
                    component: knob.component.clone(),
                    setting: knob.setting.clone(),
                    value,
                })
            })
            .collect::<Result<_, _>>()
            .map(Assignment)
    }

    /// A point of [`Self::space`] as values for the settings.
    #[must_use]
    pub fn assignment(&self, point: &[f64]) -> Assignment {
        let assigned = self
            .adjustable()
            .zip(point)
            .map(|(knob, coordinate)| Assigned {
                component: knob.component.clone(),
                setting: knob.setting.clone(),
                value: knob.value_at(*coordinate),
            });
        Assignment(assigned.collect())
    }

    /// Values for the settings as a point of [`Self::space`].
    ///
    /// # Errors
    /// When a setting is missing, or its value is none it may have.
    pub fn point(&self, assignment: &Assignment) -> Result<Point, UntunableError> {
        self.adjustable()
            .map(|knob| {
                let value = assignment
                    .get(&knob.component, &knob.setting)
                    .ok_or_else(|| UntunableError::NoValue(knob.selector()))?;
                knob.coordinate_of(value)
            })
            .collect()
    }

    /// The names an expression may use. `more` are metrics that are asked for although nobody describes
    /// them.
    #[must_use]
    pub fn vocabulary(&self, more: &[String]) -> Vocabulary {
        let mut metrics: Vec<String> = self
            .metrics
            .iter()
            .map(|metric| metric.name.clone())
            .collect();
        for name in more {
            if !metrics.contains(name) {
                metrics.push(name.clone());
            }
        }
        let settings = self
            .settings
            .iter()
            .map(|knob| (knob.component.clone(), knob.setting.clone(), knob.numeric()))
            .collect();
        Vocabulary { metrics, settings }
    }

    /// The numeric values of all settings, in the order of [`Self::vocabulary`]: those of `assignment`,
    /// else the described ones; NaN where there is none.
    #[must_use]
    pub fn setting_values(&self, assignment: &Assignment) -> Vec<f64> {
        self.settings
            .iter()
            .map(|knob| {
                assignment
                    .get(&knob.component, &knob.setting)
                    .or(knob.value.as_ref())
                    .and_then(as_number)
                    .unwrap_or(f64::NAN)
            })
            .collect()
    }

    /// As [`Self::setting_values`], for a point of the space.
    #[must_use]
    pub fn setting_values_at(&self, point: &[f64]) -> Vec<f64> {
        let mut coordinates = point.iter();
        self.settings
            .iter()
            .map(|knob| {
                let value = if knob.adjustable() {
                    coordinates
                        .next()
                        .map(|coordinate| knob.value_at(*coordinate))
                } else {
                    knob.value.clone()
                };
                value.as_ref().and_then(as_number).unwrap_or(f64::NAN)
            })
            .collect()
    }

    /// The unit of a metric; empty if it has none or is not described.
    #[must_use]
    pub fn unit(&self, metric: &str) -> &str {
        self.metrics
            .iter()
            .find(|spec| spec.name == metric)
            .map_or("", |spec| &spec.unit)
    }

    /// What identifies the space of a study. Present values are no part of it: they differ after every
    /// trial.
    #[must_use]
    pub fn space_text(&self) -> String {
        let mut text = String::new();
        for knob in self.adjustable() {
            text.push_str(&knob.selector());
            text.push('=');
            match &knob.values {
                Values::Range { min, max, step } => {
                    text.push_str(&format!(
                        "{}..{}/{}",
                        min.as_f64(),
                        max.as_f64(),
                        step.as_f64()
                    ));
                }
                Values::OneOf(values) => {
                    text.push_str(&serde_json::to_string(values).unwrap_or_default());
                }
            }
            text.push(';');
        }
        text
    }
}

// === impl Assignment ===

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    fn range(setting: &str, min: Number, max: Number, step: Number, value: Number) -> Knob {
        Knob {
            component: "web".into(),
            setting: setting.into(),
            unit: String::new(),
            values: Values::Range { min, max, step },
            pinned: false,
            value: Some(SettingValue::Number(value)),
        }
    }

    fn application() -> Application {
        use Number::{Float, Int};
        let mut pinned = range("port", Int(1), Int(9), Int(1), Int(8));
        pinned.pinned = true;
        let gc = Knob {
            values: Values::OneOf(vec![
                SettingValue::Text("serial".into()),
                SettingValue::Text("g1".into()),
            ]),
            value: Some(SettingValue::Text("g1".into())),
            ..range("gc", Int(0), Int(0), Int(0), Int(0))
        };
        Application {
            settings: vec![
                range("replicas", Int(1), Int(10), Int(1), Int(3)),
                pinned,
                range("cpu", Float(0.1), Float(2.0), Float(0.1), Float(1.0)),
                gc,
                range("fixed", Int(4), Int(4), Int(0), Int(4)),
            ],
            metrics: vec![MetricSpec {
                name: "p99".into(),
                unit: "ms".into(),
            }],
        }
    }

    #[test]
    fn pinned_and_single_valued_settings_are_no_part_of_the_space() {
        let application = application();
        let names: Vec<String> = application
            .space()
            .unwrap()
            .dimensions()
            .iter()
            .map(|d| d.name.clone())
            .collect();
        assert_eq!(names, ["web.replicas", "web.cpu", "web.gc"]);
        assert_eq!(
            application.current().unwrap().to_string(),
            "web.replicas=3 web.cpu=1.0 web.gc=g1"
        );
    }

    #[test]
    fn numbers_keep_the_kind_of_their_description() {
        let application = application();
        let assignment = application.assignment(&[4.0, 0.1 + 0.2, 0.0]);
        assert_eq!(
            serde_json::to_string(&assignment).unwrap(),
            r#"{"web":{"replicas":4,"cpu":0.3,"gc":"serial"}}"#
        );
        let whole = application.assignment(&[4.0, 2.0, 1.0]);
        assert_eq!(
            serde_json::to_string(&whole).unwrap(),
            r#"{"web":{"replicas":4,"cpu":2.0,"gc":"g1"}}"#
        );
    }

    #[test]
    fn assignments_survive_json_and_the_space() {
        let application = application();
        let assignment = application.assignment(&[7.0, 1.3, 1.0]);
        let text = serde_json::to_string(&assignment).unwrap();
        assert_eq!(
            serde_json::from_str::<Assignment>(&text).unwrap(),
            assignment
        );
        assert_eq!(application.point(&assignment).unwrap(), [7.0, 1.3, 1.0]);
        assert!(serde_json::from_str::<Assignment>(r#"{"web": 3}"#).is_err());
    }

    #[test]
    fn a_setting_without_a_value_cannot_be_a_baseline() {
        let mut application = application();
        application.settings[0].value = None;
        let error = application.current().unwrap_err();
        assert!(
            error
                .to_string()
                .contains("web.replicas is described without a value"),
            "{error}"
        );
        application.settings[0].value = Some(SettingValue::Number(Number::Int(3)));
        application.settings[3].value = Some(SettingValue::Text("cms".into()));
        let error = application.current().unwrap_err();
        assert!(
            error.to_string().contains("web.gc has the value cms"),
            "{error}"
        );
    }

    #[test]
    fn present_values_are_no_part_of_the_identity() {
        let application = application();
        let mut moved = application.clone();
        moved.settings[0].value = Some(SettingValue::Number(Number::Int(9)));
        assert_eq!(moved.space_text(), application.space_text());
        moved.settings[0].values = Values::Range {
            min: Number::Int(1),
            max: Number::Int(11),
            step: Number::Int(1),
        };
        assert_ne!(moved.space_text(), application.space_text());
    }

    #[test]
    fn expressions_see_the_values_of_a_configuration() {
        let application = application();
        let assignment = application.assignment(&[7.0, 1.3, 1.0]);
        let values = application.setting_values(&assignment);
        assert_eq!(&values[..3], &[7.0, 8.0, 1.3]);
        assert!(values[3].is_nan());
        assert_eq!(
            &application.setting_values_at(&[7.0, 1.3, 1.0])[..3],
            &[7.0, 8.0, 1.3]
        );
    }
}
