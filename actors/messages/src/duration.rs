//! Lengths of time: `90`, `1m30s`, `.5s`, `2h45m`.
//!
//! Contract: `spec/config-and-cli.md §6.1`. Arithmetic is exact to the nanosecond; a finer fraction is rounded.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const SECOND: u128 = 1_000_000_000;
const MINUTE: u128 = 60 * SECOND;
const HOUR: u128 = 60 * MINUTE;
const DAY: u128 = 24 * HOUR;
const WEEK: u128 = 7 * DAY;
const MONTH: u128 = 30 * DAY;
const YEAR: u128 = 365 * DAY;
const MAX_NANOS: u128 = u64::MAX as u128 * SECOND + (SECOND - 1);

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

fn print(nanos: u128) -> String {
    if nanos == 0 {
        return "0".to_owned();
    }
    let mut text = String::new();
    let mut rest = nanos;
    let (units, last): (&[(u128, &str)], u128) = if nanos < SECOND {
        (&[(1_000_000, "ms"), (1_000, "us"), (1, "ns")], 1)
    } else {
        (
            &[
                (YEAR, "y"),
                (MONTH, "mm"),
                (DAY, "d"),
                (HOUR, "h"),
                (MINUTE, "m"),
            ],
            SECOND,
        )
    };
    for (unit, name) in units {
        if rest >= *unit {
            text.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if last == SECOND && rest > 0 {
        let fraction = format!("{:09}", rest % SECOND);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        text.push_str(&format!("{}{point}{fraction}s", rest / SECOND));
    }
    text
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

/// A length of time with a sign: `-2m3.4s`. Zero is never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SignedDuration {
    negative: bool,
    magnitude: Duration,
}

impl SignedDuration {
    /// `magnitude`, below zero if `negative`.
    pub fn new(negative: bool, magnitude: Duration) -> SignedDuration {
        SignedDuration {
            negative: negative && !magnitude.is_zero(),
            magnitude,
        }
    }

    /// Whether it is below zero.
    pub const fn is_negative(self) -> bool {
        self.negative
    }

    /// The length without the sign.
    pub const fn magnitude(self) -> Duration {
        self.magnitude
    }

    /// Zero for everything below zero.
    pub const fn clamp_to_zero(self) -> Duration {
        if self.negative {
            Duration::ZERO
        } else {
            self.magnitude
        }
    }

    /// Signed seconds, as near as a float can say.
    pub fn as_secs_f64(self) -> f64 {
        let seconds = self.magnitude.as_secs_f64();
        if self.negative { -seconds } else { seconds }
    }

    /// A signed number of seconds, rounded to the nanosecond.
    ///
    /// # Errors
    /// Not finite, or too long.
    pub fn try_from_secs_f64(seconds: f64) -> Result<SignedDuration, DurationError> {
        Ok(SignedDuration::new(
            seconds < 0.0,
            Duration::try_from_secs_f64(seconds.abs())?,
        ))
    }
}

impl From<Duration> for SignedDuration {
    fn from(magnitude: Duration) -> Self {
        SignedDuration::new(false, magnitude)
    }
}

impl TryFrom<SignedDuration> for Duration {
    type Error = DurationError;

    fn try_from(signed: SignedDuration) -> Result<Self, Self::Error> {
        if signed.negative {
            Err(DurationError::Negative {
                text: signed.to_string(),
            })
        } else {
            Ok(signed.magnitude)
        }
    }
}

impl fmt::Display for SignedDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        f.pad(&format!("{sign}{}", self.magnitude))
    }
}

impl FromStr for SignedDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || DurationError::Invalid {
            text: text.to_owned(),
        };
        let trimmed = text.trim();
        let (negative, unsigned) = match trimmed.strip_prefix(['-', '+']) {
            Some(rest) => (trimmed.starts_with('-'), rest),
            None => (false, trimmed),
        };
        if unsigned == "0" {
            return Ok(SignedDuration::default());
        }
        if unsigned.is_empty() || unsigned.starts_with(char::is_whitespace) {
            return Err(invalid());
        }
        let mut nanos: u128 = 0;
        let mut rest = unsigned;
        while !rest.is_empty() {
            let (value, after_value) = leading(rest, |c| c.is_ascii_digit() || c == '.');
            let (unit, after_unit) = leading(after_value, |c| {
                c.is_ascii_lowercase() || matches!(c, 'µ' | 'μ')
            });
            if value.is_empty() || unit.is_empty() {
                return Err(invalid());
            }
            let unit_nanos = unit_nanos(unit).ok_or_else(|| DurationError::UnknownUnit {
                unit: unit.to_owned(),
                text: text.to_owned(),
            })?;
            let part = match decimal_nanos(value, unit_nanos) {
                Ok(part) => part,
                Err(NoNumber::Malformed) => {
                    return Err(DurationError::InvalidValue {
                        value: value.to_owned(),
                        text: text.to_owned(),
                    });
                }
                Err(NoNumber::TooLarge) => {
                    return Err(DurationError::TooLong {
                        text: text.to_owned(),
                    });
                }
            };
            nanos = nanos
                .checked_add(part)
                .filter(|sum| *sum <= MAX_NANOS)
                .ok_or_else(|| DurationError::TooLong {
                    text: text.to_owned(),
                })?;
            rest = after_unit.trim_start();
        }
        let magnitude =
            Duration::from_total_nanos(nanos).ok_or_else(|| DurationError::TooLong {
                text: text.to_owned(),
            })?;
        Ok(SignedDuration::new(negative, magnitude))
    }
}

fn leading(text: &str, matches: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !matches(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        "w" => WEEK,
        "mm" => MONTH,
        "y" => YEAR,
        _ => return None,
    })
}

enum NoNumber {
    Malformed,
    TooLarge,
}

/// Digits after the point that still matter: the 21st of a year is far below a nanosecond, and 20 of them times the
/// longest unit still fit.
const FRACTION_DIGITS: usize = 20;

fn decimal_nanos(value: &str, unit: u128) -> Result<u128, NoNumber> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(NoNumber::Malformed);
    }
    let mut nanos: u128 = 0;
    if !whole.is_empty() {
        let whole = whole.trim_start_matches('0');
        let whole: u128 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| NoNumber::TooLarge)?
        };
        nanos = whole.checked_mul(unit).ok_or(NoNumber::TooLarge)?;
    }
    let mut numerator: u128 = 0;
    let mut denominator: u128 = 1;
    for digit in fraction.bytes().take(FRACTION_DIGITS) {
        numerator = numerator * 10 + u128::from(digit - b'0');
        denominator *= 10;
    }
    let part = (numerator * unit + denominator / 2) / denominator;
    nanos.checked_add(part).ok_or(NoNumber::TooLarge)
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let signed = deserializer.deserialize_any(SignedVisitor)?;
        signed.try_into().map_err(de::Error::custom)
    }
}

impl Serialize for SignedDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SignedDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SignedVisitor)
    }
}

/// Has no `visit_bool`: a boolean is refused, where the peer takes `true` for one second.
struct SignedVisitor;

impl Visitor<'_> for SignedVisitor {
    type Value = SignedDuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as '1m30s' or a number of seconds")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SignedDuration, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<SignedDuration, E> {
        Ok(Duration::from_secs(seconds).into())
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<SignedDuration, E> {
        Ok(SignedDuration::new(
            seconds < 0,
            Duration::from_secs(seconds.unsigned_abs()),
        ))
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<SignedDuration, E> {
        SignedDuration::try_from_secs_f64(seconds).map_err(E::custom)
    }
}

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
            "pattern": r"([\d\.]+y)?([\d\.]+mm)?(([\d\.]+w)?[\d\.]+d)?([\d\.]+h)?([\d\.]+m)?([\d\.]+s)?([\d\.]+ms)?([\d\.]+us)?([\d\.]+ns)?",
        })
    }
}
