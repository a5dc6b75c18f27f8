//! Why a setting cannot be defined so, or cannot take a value.

use crate::number::{Number, SettingValue};

/// Why a setting cannot be defined so, or cannot take a value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SettingError {
    /// The setting is pinned to another value.
    #[error(
        "setting '{setting}': value of pinned settings cannot be changed: assigned value {} is not equal to existing value {}",
        assigned.quoted(), existing.quoted()
    )]
    Pinned {
        /// The setting's name.
        setting: String,
        /// The value asked for.
        assigned: SettingValue,
        /// The value it is pinned to.
        existing: SettingValue,
    },
    /// A range was given a text or no finite number.
    #[error("setting '{setting}': invalid value: {} is not a number (allowed: {min} to {max} in steps of {step})", value.quoted())]
    NotANumber {
        /// The setting's name.
        setting: String,
        /// The value asked for.
        value: SettingValue,
        /// Smallest allowed value.
        min: Number,
        /// Largest allowed value.
        max: Number,
        /// Distance between allowed values.
        step: Number,
    },
    /// A range was given a number that is too small or too large.
    #[error("setting '{setting}': invalid value: {value} is outside of the range {min}-{max}")]
    OutOfRange {
        /// The setting's name.
        setting: String,
        /// The value asked for.
        value: Number,
        /// Smallest allowed value.
        min: Number,
        /// Largest allowed value.
        max: Number,
    },
    /// A range was given a number between two steps.
    #[error(
        "setting '{setting}': invalid value: {value} is not on a step (allowed: {min} to {max} in steps of {step})"
    )]
    OffStep {
        /// The setting's name.
        setting: String,
        /// The value asked for.
        value: Number,
        /// Smallest allowed value.
        min: Number,
        /// Largest allowed value.
        max: Number,
        /// Distance between allowed values.
        step: Number,
    },
    /// An enum was given a value that is not in its list.
    #[error("setting '{setting}': invalid value: {} is not in the values list {listed}", value.quoted())]
    NotInList {
        /// The setting's name.
        setting: String,
        /// The value asked for.
        value: SettingValue,
        /// The list, as printed.
        listed: String,
    },
    /// An enum without a single value.
    #[error("setting '{setting}': values must hold at least one value")]
    NoValues {
        /// The setting's name.
        setting: String,
    },
    /// A bound that must be above zero is not.
    #[error("setting '{setting}': {key} must be greater than zero (found {value})")]
    NotPositive {
        /// The setting's name.
        setting: String,
        /// `min`, `max` or `step`.
        key: &'static str,
        /// What was given.
        value: Number,
    },
    /// NaN or infinite.
    #[error("setting '{setting}': {key} must be a finite number (found {value})")]
    NotFinite {
        /// The setting's name.
        setting: String,
        /// `min`, `max`, `step` or `value`.
        key: &'static str,
        /// What was given.
        value: Number,
    },
    /// A text that cannot be cast to the setting's type of number.
    #[error("setting '{setting}': invalid value: {} cannot be read as {value_type}", value.quoted())]
    Cast {
        /// The setting's name.
        setting: String,
        /// What was given.
        value: SettingValue,
        /// `int` or `float`.
        value_type: &'static str,
    },
}
