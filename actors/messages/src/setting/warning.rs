//! What is odd about a range. The texts are a contract (`spec/config-and-cli.md §6.4`).

use std::fmt;

use crate::number::Number;

/// Something odd about a range setting. The setting is used all the same.
#[derive(Clone, Debug, PartialEq)]
pub enum SettingWarning {
    /// The bounds are the wrong way round.
    MinAboveMax {
        /// Lower bound.
        min: Number,
        /// Upper bound.
        max: Number,
    },
    /// Integers and floats are mixed.
    MixedTypes {
        /// `int: min, step. float: max.`
        types: String,
    },
    /// The present value is not between the bounds.
    ValueOutsideRange {
        /// The value.
        value: Number,
        /// Lower bound.
        min: Number,
        /// Upper bound.
        max: Number,
    },
    /// The bounds are equal, yet there is a step.
    StepWithoutRange {
        /// Both bounds.
        bound: Number,
        /// Upper bound as written.
        max: Number,
        /// The step.
        step: Number,
    },
    /// There is a range, but no step through it.
    ZeroStep,
    /// The step leads away from the upper bound.
    NegativeStep {
        /// The step.
        step: Number,
    },
    /// The range is no whole number of steps.
    NotStepAligned {
        /// `RangeSetting('name' 3.0-11.0, 3.0)`.
        setting: String,
        /// max - min, as printed.
        difference: String,
        /// The step.
        step: Number,
        /// Lower bounds that would fit.
        better_min: Vec<String>,
        /// Upper bounds that would fit.
        better_max: Vec<String>,
    },
    /// A memory range that starts at nothing.
    MinNotPositive,
}

impl fmt::Display for SettingWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingWarning::MinAboveMax { min, max } => {
                write!(f, "min cannot be greater than max ({min} > {max})")
            }
            SettingWarning::MixedTypes { types } => {
                write!(
                    f,
                    "invalid range: min, max, and step must all be of the same Numeric type ({types})"
                )
            }
            SettingWarning::ValueOutsideRange { value, min, max } => {
                write!(
                    f,
                    "invalid value: {value} is outside of the range {min}-{max}"
                )
            }
            SettingWarning::StepWithoutRange { bound, max, step } => write!(
                f,
                "step must be zero when min equals max: step {step} cannot step from {bound} to {max} (consider using \
                 the pinned attribute of settings if you have a value you don't want changed)"
            ),
            SettingWarning::ZeroStep => f.write_str("step cannot be zero"),
            SettingWarning::NegativeStep { step } => write!(f, "step cannot be negative ({step})"),
            SettingWarning::NotStepAligned {
                setting,
                difference,
                step,
                better_min,
                better_max,
            } => {
                write!(
                    f,
                    "{setting} min/max difference is not step aligned: {difference} is not a multiple of {step} (consider "
                )?;
                if !better_min.is_empty() {
                    write!(f, "min {}, ", better_min.join(" or "))?;
                }
                write!(f, "max {}).", better_max.join(" or "))
            }
            SettingWarning::MinNotPositive => f.write_str("min must be greater than zero"),
        }
    }
}
