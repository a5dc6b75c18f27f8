//! Settings that take a number between two bounds.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;
use crate::number::{Number, SettingValue};
use crate::setting::error::SettingError;
use crate::setting::warning::SettingWarning;

/// A setting that takes a number between two bounds, in steps from the lower one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RangeSetting {
    /// The name the optimizer knows it by.
    pub name: String,
    /// The unit's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Smallest value.
    pub min: Number,
    /// Largest value.
    pub max: Number,
    /// Distance between values.
    pub step: Number,
    /// Whether the optimizer must leave it as it is.
    #[serde(default)]
    pub pinned: bool,
    /// The present value. One read back from a live system may be out of the range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Number>,
}

/// What a range of a well-known name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Plain,
    Cpu,
    Memory,
    Replicas,
}

impl Class {
    pub(super) const fn is_resource(self) -> bool {
        matches!(self, Class::Cpu | Class::Memory)
    }

    const fn label(self) -> &'static str {
        match self {
            Class::Plain => "RangeSetting",
            Class::Cpu => "CPU",
            Class::Memory => "Memory",
            Class::Replicas => "Replicas",
        }
    }
}

/// How far, in steps, a value may be off its step: floats that an optimizer computes (0.1 + 0.2) are not exact.
const STEP_TOLERANCE: f64 = 1e-9;
const MAX_STEP_TOLERANCE: f64 = 1e-3;

impl RangeSetting {
    /// A range without unit, pin and value.
    pub fn new(
        name: impl Into<String>,
        min: impl Into<Number>,
        max: impl Into<Number>,
        step: impl Into<Number>,
    ) -> RangeSetting {
        RangeSetting {
            name: name.into(),
            unit: None,
            min: min.into(),
            max: max.into(),
            step: step.into(),
            pinned: false,
            value: None,
        }
    }

    /// CPU cores: name `cpu`, unit `cores`, step 0.125 unless changed.
    ///
    /// # Errors
    /// A bound that is not above zero or not finite.
    pub fn cpu(min: f64, max: f64) -> Result<RangeSetting, SettingError> {
        let cpu = RangeSetting {
            unit: Some("cores".to_owned()),
            ..RangeSetting::new("cpu", min, max, 0.125)
        };
        cpu.positive_bounds()
    }

    /// Memory: name `mem`, unit `GiB`.
    ///
    /// # Errors
    /// A bound that is not above zero or not finite.
    pub fn memory(
        min: impl Into<Number>,
        max: impl Into<Number>,
        step: impl Into<Number>,
    ) -> Result<RangeSetting, SettingError> {
        let memory = RangeSetting {
            unit: Some("GiB".to_owned()),
            ..RangeSetting::new("mem", min, max, step)
        };
        memory.positive_bounds()
    }

    /// Copies of a component: name `replicas`, whole numbers, step 1 unless changed.
    pub fn replicas(min: i64, max: i64) -> RangeSetting {
        RangeSetting::new("replicas", min, max, 1_i64)
    }

    fn positive_bounds(self) -> Result<RangeSetting, SettingError> {
        for (key, value) in [("min", self.min), ("max", self.max), ("step", self.step)] {
            if !value.is_finite() {
                return Err(SettingError::NotFinite {
                    setting: self.name,
                    key,
                    value,
                });
            }
            if key != "step" && value <= Number::Int(0) {
                return Err(SettingError::NotPositive {
                    setting: self.name,
                    key,
                    value,
                });
            }
        }
        Ok(self)
    }

    /// The name and unit tell: there is no other mark of the well-known ranges on the wire either.
    pub(super) fn class(&self) -> Class {
        match (self.name.as_str(), self.unit.as_deref()) {
            ("cpu", Some("cores")) => Class::Cpu,
            ("mem", Some("GiB")) => Class::Memory,
            ("replicas", None) => Class::Replicas,
            _ => Class::Plain,
        }
    }

    /// Whether bounds and step are all whole numbers, so that values are meant to be.
    pub const fn is_integral(&self) -> bool {
        self.min.is_int() && self.max.is_int() && self.step.is_int()
    }

    /// The number as this range writes it: `4.0` becomes `4` where bounds and step are whole numbers.
    pub fn conform(&self, number: Number) -> Number {
        match number.as_i64() {
            Some(whole) if self.is_integral() => Number::Int(whole),
            _ => number,
        }
    }

    pub(super) fn number(&self, value: &SettingValue) -> Result<Number, SettingError> {
        value
            .as_number()
            .filter(|number| number.is_finite())
            .ok_or_else(|| SettingError::NotANumber {
                setting: self.name.clone(),
                value: value.clone(),
                min: self.min,
                max: self.max,
                step: self.step,
            })
    }

    pub(super) fn accepts(&self, value: Number) -> Result<(), SettingError> {
        let &RangeSetting { min, max, step, .. } = self;
        if self.value == Some(value) {
            return Ok(());
        }
        if value < min || value > max {
            return Err(SettingError::OutOfRange {
                setting: self.name.clone(),
                value,
                min,
                max,
            });
        }
        if value == min || value == max || self.is_on_step(value) {
            Ok(())
        } else {
            Err(SettingError::OffStep {
                setting: self.name.clone(),
                value,
                min,
                max,
                step,
            })
        }
    }

    fn is_on_step(&self, value: Number) -> bool {
        if let (Number::Int(min), Number::Int(_), Number::Int(step)) =
            (self.min, self.max, self.step)
        {
            return value.as_i64().is_some_and(|value| {
                step == 0 || (i128::from(value) - i128::from(min)) % i128::from(step) == 0
            });
        }
        let step = self.step.as_f64().abs();
        if step == 0.0 {
            // A range without steps is only warned about; every value inside of it is as good as any other.
            return true;
        }
        let steps = (value.as_f64() - self.min.as_f64()) / step;
        (steps - steps.round()).abs()
            <= (STEP_TOLERANCE * steps.abs().max(1.0)).min(MAX_STEP_TOLERANCE)
    }

    /// What is odd about the range and its value, in the order of the specification.
    pub fn warnings(&self) -> Vec<SettingWarning> {
        let &RangeSetting { min, max, step, .. } = self;
        let zero = Number::Int(0);
        let mut warnings = Vec::new();
        if min > max {
            warnings.push(SettingWarning::MinAboveMax { min, max });
        }
        if let Some(types) = self.mixed_types() {
            warnings.push(SettingWarning::MixedTypes { types });
        }
        if let Some(value) = self.value
            && (value < min || value > max)
        {
            warnings.push(SettingWarning::ValueOutsideRange { value, min, max });
        }
        if min == max && step != zero {
            warnings.push(SettingWarning::StepWithoutRange {
                bound: min,
                max,
                step,
            });
        } else if min != max && step == zero {
            warnings.push(SettingWarning::ZeroStep);
        }
        if step < zero {
            warnings.push(SettingWarning::NegativeStep { step });
        }
        if min < max && step > zero {
            warnings.extend(self.misalignment());
        }
        if self.class() == Class::Memory && min == zero {
            warnings.push(SettingWarning::MinNotPositive);
        }
        warnings
    }

    /// `int: min, step. float: max.`, types in order of appearance.
    fn mixed_types(&self) -> Option<String> {
        let keys = [("min", self.min), ("max", self.max), ("step", self.step)];
        let first = self.min.type_name();
        let (same, other): (Vec<_>, Vec<_>) = keys
            .into_iter()
            .partition(|(_, number)| number.type_name() == first);
        let (_, different) = other.first()?;
        let names = |group: &[(&str, Number)]| {
            group
                .iter()
                .map(|(key, _)| *key)
                .collect::<Vec<_>>()
                .join(", ")
        };
        Some(format!(
            "{first}: {}. {}: {}.",
            names(&same),
            different.type_name(),
            names(&other)
        ))
    }

    /// None where the range is a whole number of steps, or the numbers are too far apart for exact arithmetic.
    fn misalignment(&self) -> Option<SettingWarning> {
        let (min, max, step) = (
            self.min.decimal()?,
            self.max.decimal()?,
            self.step.decimal()?,
        );
        let difference = max.sub(min)?;
        let (floor, aligned) = difference.floor_to(step)?;
        if aligned {
            return None;
        }
        let lower = floor.max(step)?;
        let upper = lower.add(step)?;
        let text = |decimal: Decimal| {
            let digits = decimal.to_text();
            if self.is_integral() || digits.contains('.') {
                digits
            } else {
                format!("{digits}.0")
            }
        };
        let better_min = [max.sub(lower)?, max.sub(upper)?]
            .into_iter()
            .filter(|bound| {
                !self.class().is_resource() || !(bound.is_zero() || bound.is_negative())
            })
            .map(text)
            .collect();
        let better_max = [min.add(lower)?, min.add(upper)?].map(text).to_vec();
        Some(SettingWarning::NotStepAligned {
            setting: format!(
                "{}('{}' {}-{}, {})",
                self.class().label(),
                self.name,
                self.min,
                self.max,
                self.step
            ),
            difference: text(difference),
            step: self.step,
            better_min,
            better_max,
        })
    }
}

/// `RangeSetting(range=[0..10], step=1, unit=cores)`, `CPU(range=[0.25..4.0], step=0.125, unit=cores)`.
impl fmt::Display for RangeSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}(range=[{}..{}], step={}",
            self.class().label(),
            self.min,
            self.max,
            self.step
        )?;
        if let Some(unit) = &self.unit {
            write!(f, ", unit={unit}")?;
        }
        f.write_str(")")
    }
}
