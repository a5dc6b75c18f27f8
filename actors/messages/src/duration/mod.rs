//! Lengths of time: `90`, `1m30s`, `.5s`, `2h45m`.
//!
//! Contract: `spec/config-and-cli.md §6.1`. Arithmetic is exact to the nanosecond; a finer fraction is rounded.

mod signed;
mod text;

pub use signed::SignedDuration;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use text::{SECOND, print};

/// Why a text or number is no duration.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DurationError {
    /// The text as a whole does not have the form of a duration.
    #[error("Invalid duration '{text}'")]
    Invalid {
        /// What was given.
        text: String,
    },
    /// A number is followed by letters that name no unit.
    #[error("Unknown unit '{unit}' in duration '{text}'")]
    UnknownUnit {
        /// The letters.
        unit: String,
        /// What was given.
        text: String,
    },
    /// Digits and points that make no number.
    #[error("Invalid value '{value}' in duration '{text}'")]
    InvalidValue {
        /// The digits and points.
        value: String,
        /// What was given.
        text: String,
    },
    /// Below zero where a length of time is meant.
    #[error("Invalid duration '{text}': a length of time cannot be negative")]
    Negative {
        /// What was given.
        text: String,
    },
    /// More than can be held (about 5.8e11 years).
    #[error("Invalid duration '{text}': too long")]
    TooLong {
        /// What was given.
        text: String,
    },
    /// NaN or infinite.
    #[error("Invalid duration '{value}': a number of seconds must be finite")]
    NotFinite {
        /// What was given.
        value: f64,
    },
}

/// A length of time, never negative, exact to the nanosecond.
///
/// Read from text (`1m30s`) or from a number of seconds (`90`, `1.5`); written as text. The longest value is that of
/// [`std::time::Duration`], so adding one to a clock needs a checked or saturating addition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

impl Duration {
    /// No time at all.
    pub const ZERO: Duration = Duration(std::time::Duration::ZERO);

    /// The longest duration.
    pub const MAX: Duration = Duration(std::time::Duration::MAX);

    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Duration {
        Duration(std::time::Duration::from_secs(seconds))
    }

    /// Whole milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Duration {
        Duration(std::time::Duration::from_millis(milliseconds))
    }

    /// Whole nanoseconds.
    pub const fn from_nanos(nanoseconds: u64) -> Duration {
        Duration(std::time::Duration::from_nanos(nanoseconds))
    }

    /// A number of seconds, rounded to the nanosecond.
    ///
    /// # Errors
    /// Negative, not finite, or too long.
    pub fn try_from_secs_f64(seconds: f64) -> Result<Duration, DurationError> {
        if !seconds.is_finite() {
            return Err(DurationError::NotFinite { value: seconds });
        }
        if seconds < 0.0 {
            return Err(DurationError::Negative {
                text: seconds.to_string(),
            });
        }
        std::time::Duration::try_from_secs_f64(seconds)
            .map(Duration)
            .map_err(|_| DurationError::TooLong {
                text: seconds.to_string(),
            })
    }

    /// The standard library's form.
    pub const fn as_std(self) -> std::time::Duration {
        self.0
    }

    /// Seconds, as near as a float can say.
    pub fn as_secs_f64(self) -> f64 {
        self.0.as_secs_f64()
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The sum, or the longest duration where the sum is longer.
    #[must_use]
    pub const fn saturating_add(self, other: Duration) -> Duration {
        Duration(self.0.saturating_add(other.0))
    }

    /// The difference, or zero where `other` is longer.
    #[must_use]
    pub const fn saturating_sub(self, other: Duration) -> Duration {
        Duration(self.0.saturating_sub(other.0))
    }

    fn from_total_nanos(nanos: u128) -> Option<Duration> {
        let seconds = u64::try_from(nanos / SECOND).ok()?;
        let rest = u32::try_from(nanos % SECOND).ok()?;
        Some(Duration(std::time::Duration::new(seconds, rest)))
    }
}

impl From<std::time::Duration> for Duration {
    fn from(duration: std::time::Duration) -> Self {
        Duration(duration)
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

/// Compares the printed form.
impl PartialEq<str> for Duration {
    fn eq(&self, text: &str) -> bool {
        print(self.0.as_nanos()) == text
    }
}

/// Compares the printed form.
impl PartialEq<&str> for Duration {
    fn eq(&self, text: &&str) -> bool {
        *self == **text
    }
}

/// Compares seconds.
impl PartialEq<f64> for Duration {
    fn eq(&self, seconds: &f64) -> bool {
        self.as_secs_f64() == *seconds
    }
}

/// `0`; below a second `250ms`, `1ms500us`; from a second on `1m40.001s`, `2mm10d`. Exact, never an exponent.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&print(self.0.as_nanos()))
    }
}
impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let signed: SignedDuration = text.parse()?;
        signed.try_into().map_err(|_| DurationError::Negative {
            text: text.to_owned(),
        })
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let signed = deserializer.deserialize_any(signed::SignedVisitor)?;
        signed.try_into().map_err(de::Error::custom)
    }
}

/// Exactly what [`Duration`] reads from text. The pattern that the peer publishes is not anchored and so matches every
/// text, `hello5s` too; it also wants the units in order, which nobody has to keep.
const PATTERN: &str = concat!(
    r"^\s*(\+?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|mm|m|h|d|w|y)\s*)+)",
    r"|-(0|((0+\.?0*|\.0+)(ns|us|µs|μs|ms|s|mm|m|h|d|w|y)\s*)+))\s*$",
);

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number"],
            "format": "duration",
            "examples": ["300ms", "5m", "2h45m", "72h3m0.5s"],
            "pattern": PATTERN,
            "minimum": 0,
        })
    }
}
