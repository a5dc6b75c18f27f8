//! Lengths of time with a sign, and the reading of both kinds from text and from files.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::duration::{Duration, DurationError, text};

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
        let (negative, magnitude) = text::parse(text)?;
        Ok(SignedDuration::new(negative, magnitude))
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
pub(super) struct SignedVisitor;

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
