//! `rate`: how many requests in how long (spec/metrics-and-load.md §3.2).

use std::{borrow::Cow, fmt, num::NonZeroU64, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::scalar;

/// The highest rate that is accepted.
const MOST_HITS_PER_SECOND: u128 = 1_000_000_000;

/// A constant request rate, such as `500`, `500/1s`, `90/1m` or `50/s`; `0` or `infinity` is as fast as possible.
///
/// Keeps the text it was written as, because that is what users see in progress lines and annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    text: String,
    pace: Pace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Unlimited,
    Hits { hits: NonZeroU64, per: Duration },
}

/// Why a rate was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Neither a whole number nor `hits/interval`.
    #[error("rate strings are of the form hits/interval")]
    Form,
    /// The part before the slash is not a whole number.
    #[error("rate must have an integer hits component")]
    Hits,
    /// The part after the slash is not a positive duration.
    #[error("Invalid duration '{interval}' in rate '{rate}'")]
    Interval {
        /// The part after the slash.
        interval: String,
        /// The whole rate.
        rate: String,
    },
    /// More than 10⁹ requests a second.
    #[error("rate '{0}' is more than 1000000000 hits per second; use 0 for as fast as possible")]
    TooHigh(String),
}

impl Rate {
    /// Hits and the period they are spread over; `None` when requests are sent as fast as possible.
    #[must_use]
    pub fn paced(&self) -> Option<(NonZeroU64, Duration)> {
        match self.pace {
            Pace::Unlimited => None,
            Pace::Hits { hits, per } => Some((hits, per)),
        }
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(input: &str) -> Result<Self, RateError> {
        let text = input.trim();
        let rate = |pace| {
            Ok(Self {
                text: text.to_owned(),
                pace,
            })
        };
        if text == "infinity" {
            return rate(Pace::Unlimited);
        }
        let mut parts = text.split('/');
        let (hits, per) = match (parts.next().unwrap_or_default(), parts.next(), parts.next()) {
            (hits, None, None) => (digits(hits).ok_or(RateError::Form)?, Duration::from_secs(1)),
            ("", Some(_), _) | (_, Some(_), Some(_)) | (_, None, Some(_)) => {
                return Err(RateError::Form);
            }
            (hits, Some(interval), None) => {
                let hits = digits(hits).ok_or(RateError::Hits)?;
                let per = interval_duration(interval).ok_or_else(|| RateError::Interval {
                    interval: interval.to_owned(),
                    rate: text.to_owned(),
                })?;
                (hits, per)
            }
        };
        let hits = hits
            .parse::<u64>()
            .map_err(|_| RateError::TooHigh(text.to_owned()))?;
        let Some(hits) = NonZeroU64::new(hits) else {
            return rate(Pace::Unlimited);
        };
        if u128::from(hits.get()) * 1_000_000_000 > MOST_HITS_PER_SECOND * per.as_nanos() {
            return Err(RateError::TooHigh(text.to_owned()));
        }
        rate(Pace::Hits { hits, per })
    }
}

/// The text itself when it is one or more ASCII digits.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

/// A positive duration; a unit alone (`s`, `ms`) is one of it, as the load generator of that name takes it.
fn interval_duration(text: &str) -> Option<Duration> {
    let written: Cow<'_, str> =
        if matches!(text, "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h") {
            format!("1{text}").into()
        } else {
            text.into()
        };
    let duration = written.parse::<servo_messages::Duration>().ok()?;
    Some(Duration::from(duration)).filter(|duration| !duration.is_zero())
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RateVisitor)
    }
}

struct RateVisitor;

impl de::Visitor<'_> for RateVisitor {
    type Value = Rate;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a rate such as 500, 500/1s or 90/1m")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Rate, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, hits: u64) -> Result<Rate, E> {
        self.visit_str(&hits.to_string())
    }

    fn visit_i64<E: de::Error>(self, hits: i64) -> Result<Rate, E> {
        self.visit_str(&hits.to_string())
    }

    fn visit_f64<E: de::Error>(self, hits: f64) -> Result<Rate, E> {
        match scalar::whole(hits) {
            Some(hits) => self.visit_i64(hits),
            None => Err(E::custom(RateError::Form)),
        }
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Rate, E> {
        Err(E::custom(RateError::Form))
    }
}

impl JsonSchema for Rate {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // No pattern: what is wrong with a rate is told better by reading it.
        json_schema!({
            "type": ["string", "integer"],
            "minimum": 0,
            "maximum": 1_000_000_000,
            "examples": ["50/1s", "90/1m", 500],
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn paced(text: &str) -> Option<(u64, Duration)> {
        text.parse::<Rate>()
            .unwrap()
            .paced()
            .map(|(hits, per)| (hits.get(), per))
    }

    #[test]
    fn accepted_forms() {
        let second = Duration::from_secs(1);
        for (text, expected) in [
            ("500", Some((500, second))),
            ("500/1s", Some((500, second))),
            ("90/1m", Some((90, Duration::from_secs(60)))),
            ("5/100ms", Some((5, Duration::from_millis(100)))),
            ("50/s", Some((50, second))),
            ("50/µs", Some((50, Duration::from_micros(1)))),
            ("50/h", Some((50, Duration::from_secs(3600)))),
            (" 50/1s ", Some((50, second))),
            ("1000000000", Some((1_000_000_000, second))),
            ("0", None),
            ("0/1s", None),
            ("infinity", None),
        ] {
            assert_eq!(paced(text), expected, "{text}");
        }
    }

    #[test]
    fn refused_forms_with_their_texts() {
        let form = "rate strings are of the form hits/interval";
        let hits = "rate must have an integer hits component";
        for (text, expected) in [
            ("INVALID", form),
            ("-5", form),
            ("50/1s/2", form),
            ("", form),
            ("/1s", form),
            ("²", form),
            ("1.5/1s", hits),
            ("-5/1s", hits),
            ("½/1s", hits),
            ("50 /1s", hits),
            (
                "500/1zxzczc",
                "Invalid duration '1zxzczc' in rate '500/1zxzczc'",
            ),
            ("50/0s", "Invalid duration '0s' in rate '50/0s'"),
            ("50/-1s", "Invalid duration '-1s' in rate '50/-1s'"),
            ("50/1s x", "Invalid duration '1s x' in rate '50/1s x'"),
            ("50/", "Invalid duration '' in rate '50/'"),
            ("50/5", "Invalid duration '5' in rate '50/5'"),
            (
                "1000000001",
                "rate '1000000001' is more than 1000000000 hits per second; use 0 for as fast as possible",
            ),
            (
                "2/ns",
                "rate '2/ns' is more than 1000000000 hits per second; use 0 for as fast as possible",
            ),
        ] {
            assert_eq!(
                text.parse::<Rate>().unwrap_err().to_string(),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn yaml_numbers_are_kept_as_text_and_other_kinds_are_refused() {
        assert_eq!(
            serde_yaml::from_str::<Rate>("500").unwrap().to_string(),
            "500"
        );
        assert_eq!(
            serde_json::to_value(serde_yaml::from_str::<Rate>("90/1m").unwrap()).unwrap(),
            "90/1m"
        );
        assert_eq!(
            serde_yaml::from_str::<Rate>("500.0").unwrap().to_string(),
            "500"
        );
        for yaml in ["1.5", "true", "-5", ".nan"] {
            let error = serde_yaml::from_str::<Rate>(yaml).unwrap_err().to_string();
            assert!(
                error.contains("rate strings are of the form hits/interval"),
                "{yaml}: {error}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in "\\PC{0,24}") {
            let _ = text.parse::<Rate>();
        }

        #[test]
        fn hits_per_milliseconds_round_trip(hits in 1_u64..1_000_000, millis in 1_u64..1_000_000) {
            let text = format!("{hits}/{millis}ms");
            prop_assert_eq!(paced(&text), Some((hits, Duration::from_millis(millis))));
            prop_assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
    }
}
