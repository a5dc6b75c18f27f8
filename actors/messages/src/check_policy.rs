//! How checks are run: the `checks` stanza.
//!
//! Contract: `spec/config-and-cli.md` §2.5. What the filters mean is the check engine's affair.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use regex::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, IntoDeserializer as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::duration::Duration;
use crate::severity::Severity;

/// How checks are run, and which of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChecksConfig {
    /// The connectors to check, by name. Default: all.
    pub connectors: Option<Vec<String>>,
    /// Run only the checks of these names. A single item between slashes is a regular expression.
    pub name: Option<Vec<String>>,
    /// Run only the checks of these ids. A single item may be a regular expression between slashes, or several ids
    /// separated by commas.
    pub id: Option<Vec<String>>,
    /// Run only the checks with one of these tags. A single item may be several tags separated by commas.
    pub tag: Option<Vec<String>>,
    /// Print no table.
    pub quiet: bool,
    /// Print the long table.
    pub verbose: bool,
    /// Log each result as it changes, in place of a table.
    pub progressive: bool,
    /// Run again until all checks pass, for at most this long; null or 0 for a single pass.
    #[serde(deserialize_with = "null_is_zero")]
    #[schemars(with = "Option<Duration>")]
    pub wait: Duration,
    /// The pause between two passes: a duration, or `expo` for 8 s, 16 s, 32 s and so on.
    pub delay: CheckDelay,
    /// The least severity of a failed check that stops the run; `never` or null lets all checks run.
    pub halt_on: HaltOn,
    /// Apply the remedies that checks offer.
    pub remedy: bool,
    /// Stop at the first check that fails.
    pub check_halting: bool,
    /// How long each check may take; one that takes longer has failed. Default: 2m.
    // Left out where it says nothing new: ServoX has no such key and refuses it (`spec/events-and-checks.md` §6.12).
    #[serde(skip_serializing_if = "is_timeout")]
    #[schemars(extend("default" = "2m"))]
    pub timeout: Duration,
    /// How long each remedy may take before it is given up. Default: 10s.
    #[serde(skip_serializing_if = "is_remedy_timeout")]
    #[schemars(extend("default" = "10s"))]
    pub remedy_timeout: Duration,
}

/// The pause between two passes of the checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CheckDelay {
    /// 8 s, doubled after each pass, never above 5 minutes.
    #[default]
    Expo,
    /// Always this.
    Fixed(Duration),
}

/// The least severity of a failed check that stops the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HaltOn {
    /// This one and those above.
    At(Severity),
    /// None.
    Never,
}

// === impl ChecksConfig ===

impl ChecksConfig {
    /// How long a check may take by default.
    pub const TIMEOUT: Duration = Duration::from_secs(120);
    /// How long a remedy may take by default.
    pub const REMEDY_TIMEOUT: Duration = Duration::from_secs(10);

    /// Whether checks run only once.
    pub const fn is_single_pass(&self) -> bool {
        self.wait.is_zero()
    }

    /// What is wrong although every value has the right form: path of the key within the stanza, and what to do.
    pub fn problems(&self) -> Vec<(String, String)> {
        let limits = [
            ("timeout", self.timeout),
            ("remedy_timeout", self.remedy_timeout),
        ];
        let no_time = limits
            .into_iter()
            .filter(|(_, limit)| limit.is_zero())
            .map(|(key, _)| (key.to_owned(), "must be more than 0".to_owned()));
        [("name", &self.name), ("id", &self.id)]
            .into_iter()
            .filter_map(|(key, filter)| {
                let [only] = filter.as_deref()? else {
                    return None;
                };
                let pattern = only.strip_prefix('/')?.strip_suffix('/')?;
                let error = Regex::new(pattern).err()?;
                // The library's message draws the place over several lines; its last line says what is wrong.
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default().trim();
                let reason = reason.strip_prefix("error: ").unwrap_or(reason);
                Some((
                    format!("{key}[0]"),
                    format!("'{only}' is no regular expression: {reason}"),
                ))
            })
            .chain(no_time)
            .collect()
    }
}

impl Default for ChecksConfig {
    fn default() -> Self {
        Self {
            connectors: None,
            name: None,
            id: None,
            tag: None,
            quiet: false,
            verbose: false,
            progressive: true,
            wait: Duration::from_secs(30 * 60),
            delay: CheckDelay::default(),
            halt_on: HaltOn::default(),
            remedy: true,
            check_halting: false,
            timeout: Self::TIMEOUT,
            remedy_timeout: Self::REMEDY_TIMEOUT,
        }
    }
}

fn is_timeout(timeout: &Duration) -> bool {
    *timeout == ChecksConfig::TIMEOUT
}

fn is_remedy_timeout(timeout: &Duration) -> bool {
    *timeout == ChecksConfig::REMEDY_TIMEOUT
}

fn null_is_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

// === impl CheckDelay ===

impl CheckDelay {
    const FIRST: Duration = Duration::from_secs(8);
    const LONGEST: Duration = Duration::from_secs(300);

    /// The pause after so many passes, counted from zero, not looking at the time left.
    pub fn after(self, passes: u32) -> Duration {
        match self {
            Self::Expo => {
                let factor = 1_u32.checked_shl(passes).unwrap_or(u32::MAX);
                Duration::from(Self::FIRST.as_std().saturating_mul(factor)).min(Self::LONGEST)
            }
            Self::Fixed(delay) => delay,
        }
    }
}

impl fmt::Display for CheckDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expo => f.pad("expo"),
            Self::Fixed(delay) => delay.fmt(f),
        }
    }
}

impl Serialize for CheckDelay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CheckDelay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DelayVisitor;

        impl Visitor<'_> for DelayVisitor {
            type Value = CheckDelay;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("'expo', a duration such as '10s', or a number of seconds")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<CheckDelay, E> {
                if text == "expo" {
                    return Ok(CheckDelay::Expo);
                }
                text.parse()
                    .map(CheckDelay::Fixed)
                    .map_err(|error| E::custom(format!("{error}: expected 'expo' or a duration")))
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<CheckDelay, E> {
                Ok(CheckDelay::Fixed(Duration::from_secs(seconds)))
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<CheckDelay, E> {
                Duration::deserialize(seconds.into_deserializer()).map(CheckDelay::Fixed)
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<CheckDelay, E> {
                Duration::try_from_secs_f64(seconds)
                    .map(CheckDelay::Fixed)
                    .map_err(E::custom)
            }
        }

        deserializer.deserialize_any(DelayVisitor)
    }
}

impl JsonSchema for CheckDelay {
    fn schema_name() -> Cow<'static, str> {
        "CheckDelay".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let duration = generator.subschema_for::<Duration>();
        json_schema!({"anyOf": [{"const": "expo", "type": "string"}, duration]})
    }
}

// === impl HaltOn ===

impl HaltOn {
    const WORDS: &[&str] = &["warning", "common", "critical", "never"];

    /// Whether a failure of this severity stops the run.
    pub fn stops_at(self, severity: Severity) -> bool {
        matches!(self, Self::At(least) if severity >= least)
    }
}

impl Default for HaltOn {
    fn default() -> Self {
        Self::At(Severity::Critical)
    }
}

/// None of the words that it knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not one of warning, common, critical, never.")]
pub struct NotHaltOn(pub String);

impl FromStr for HaltOn {
    type Err = NotHaltOn;

    fn from_str(text: &str) -> Result<Self, NotHaltOn> {
        match text {
            "never" => Ok(Self::Never),
            // What ServoX called them first (`spec/events-and-checks.md` §6.2).
            "check" => Ok(Self::At(Severity::Common)),
            "requirement" => Ok(Self::At(Severity::Critical)),
            _ => text
                .parse()
                .map(Self::At)
                .map_err(|_| NotHaltOn(text.to_owned())),
        }
    }
}

impl fmt::Display for HaltOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::At(severity) => severity.as_str(),
            Self::Never => "never",
        })
    }
}

impl Serialize for HaltOn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HaltOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HaltVisitor;

        impl Visitor<'_> for HaltVisitor {
            type Value = HaltOn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one of warning, common, critical and never")
            }

            fn visit_unit<E: de::Error>(self) -> Result<HaltOn, E> {
                Ok(HaltOn::Never)
            }

            fn visit_none<E: de::Error>(self) -> Result<HaltOn, E> {
                Ok(HaltOn::Never)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HaltOn, E> {
                text.parse()
                    .map_err(|_| E::unknown_variant(text, HaltOn::WORDS))
            }
        }

        deserializer.deserialize_any(HaltVisitor)
    }
}

impl JsonSchema for HaltOn {
    fn schema_name() -> Cow<'static, str> {
        "HaltOn".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "null"],
            "enum": ["warning", "common", "critical", "never", "check", "requirement", null],
        })
    }
}
