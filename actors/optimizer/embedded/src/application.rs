//! What is tuned: the settings and metrics an application describes, and how a configuration of it looks
//! to the search, to the wire and to a reader.

mod assignment;

pub use assignment::{Assigned, Assignment};

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

#[cfg(test)]
mod tests;
