//! One verification and what came of it (`spec/events-and-checks.md` §6.1).

use std::{collections::BTreeSet, fmt, time::Duration};

use blake2::{Blake2b, Digest, digest::consts::U4};
use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap};
use servo_messages::Severity;
use thiserror::Error;

use super::remedy::Remedy;

/// What a failed check says of itself when its author gave no message.
pub(crate) const NO_MESSAGE: &str = "check failed";

/// One verification: what it is, and what came of it.
#[derive(Clone, Debug)]
pub struct Check {
    /// What is verified, for people.
    pub name: String,
    /// What is verified, for filters and logs; unique among the checks of one connector.
    pub id: CheckId,
    /// More about it.
    pub description: Option<String>,
    /// How much a failure matters.
    pub severity: Severity,
    /// What it has in common with others, for filters.
    pub tags: BTreeSet<Tag>,
    /// When its turn came.
    pub created_at: Timestamp,
    /// What came of it.
    pub result: CheckResult,
}

/// What came of a check.
#[derive(Clone, Debug)]
pub enum CheckResult {
    /// It ran, and all is well.
    Succeeded {
        /// What it found.
        message: Option<String>,
        /// When it ran.
        timing: Timing,
    },
    /// It ran, and something is wrong; or it did not come to its end.
    Failed {
        /// What is wrong.
        failure: FailureDetails,
        /// When it ran.
        timing: Timing,
    },
    /// It was not run, because an earlier check of its connector failed.
    Skipped {
        /// The check that failed.
        blocked_by: CheckId,
    },
}

/// What is wrong.
#[derive(Clone, Debug, Default)]
pub struct FailureDetails {
    /// For people; none or empty if the check did not say.
    pub message: Option<String>,
    /// What the operator can do.
    pub hint: Option<String>,
    /// What Servo can do.
    pub remedy: Option<Remedy>,
    /// The error behind it, in full, for those who debug.
    pub exception: Option<String>,
}

/// When a check ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// When it began.
    pub run_at: Timestamp,
    /// How long it took.
    pub runtime: Duration,
}

/// Identifies a check within its connector: `[0-9A-Za-z_.-]{1,128}`. The id of one of a group may be longer: that of
/// the group, and its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct CheckId(Box<str>);

/// A text that is no id of a check.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "invalid check id {0:?}: an id has 1 to 128 of a-z, A-Z, 0-9, underscore, point and hyphen"
)]
pub struct InvalidCheckId(pub String);

/// What several checks have in common: `[0-9a-z_.-]{1,32}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Tag(Box<str>);

/// A text that is no tag.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid tag {0:?}: a tag has 1 to 32 of a-z, 0-9, underscore, point and hyphen")]
pub struct InvalidTag(pub String);

// === impl CheckId ===

impl CheckId {
    /// Validates `text`.
    ///
    /// # Errors
    /// When it is empty, too long, or has other characters than allowed.
    pub fn try_new(text: impl Into<String>) -> Result<Self, InvalidCheckId> {
        let text = text.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidCheckId(text))
        }
    }

    /// The id of a check that is given none: BLAKE2b with a digest of 4 bytes over its name, in hexadecimal.
    pub fn generated(name: &str) -> Self {
        let digest: [u8; 4] = Blake2b::<U4>::digest(name.as_bytes()).into();
        Self(format!("{:08x}", u32::from_be_bytes(digest)).into())
    }

    /// The id of the check that stands at `index` of the group with this id.
    pub(crate) fn item(&self, index: usize) -> Self {
        Self(format!("{self}_item_{index}").into())
    }

    /// The id of the `number`th check that would have this one.
    pub(crate) fn again(&self, number: usize) -> Self {
        Self(format!("{self}-{number}").into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

// === impl Tag ===

impl Tag {
    /// Validates `text`; blanks around it do not count.
    ///
    /// # Errors
    /// When it is empty, too long, or has other characters than allowed.
    pub fn try_new(text: &str) -> Result<Self, InvalidTag> {
        let tag = text.trim();
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-');
        if (1..=32).contains(&tag.len()) && tag.bytes().all(allowed) {
            Ok(Self(tag.into()))
        } else {
            Err(InvalidTag(text.to_owned()))
        }
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

// === impl Check ===

impl Check {
    /// Whether all is well; none if it was not run.
    pub fn success(&self) -> Option<bool> {
        match self.result {
            CheckResult::Succeeded { .. } => Some(true),
            CheckResult::Failed { .. } => Some(false),
            CheckResult::Skipped { .. } => None,
        }
    }

    /// Whether it stands in nobody's way: it succeeded, or it is a mere warning.
    pub fn passed(&self) -> bool {
        match self.success() {
            Some(success) => success || self.severity == Severity::Warning,
            None => false,
        }
    }

    /// Whether it ran, did not succeed, and is no mere warning.
    pub fn failed(&self) -> bool {
        self.success() == Some(false) && self.severity > Severity::Warning
    }

    /// Whether it ran, did not succeed, and is a mere warning.
    pub fn warned(&self) -> bool {
        self.success() == Some(false) && self.severity == Severity::Warning
    }

    /// Whether it was not run.
    pub fn skipped(&self) -> bool {
        self.success().is_none()
    }

    /// What it found.
    pub fn message(&self) -> Option<&str> {
        match &self.result {
            CheckResult::Succeeded { message, .. } => message.as_deref(),
            CheckResult::Failed { failure, .. } => failure.message.as_deref(),
            CheckResult::Skipped { .. } => None,
        }
    }

    /// What is wrong, if something is.
    pub fn failure(&self) -> Option<&FailureDetails> {
        match &self.result {
            CheckResult::Failed { failure, .. } => Some(failure),
            CheckResult::Succeeded { .. } | CheckResult::Skipped { .. } => None,
        }
    }

    /// What the operator can do.
    pub fn hint(&self) -> Option<&str> {
        self.failure()?.hint.as_deref()
    }

    /// What Servo can do.
    pub fn remedy(&self) -> Option<&Remedy> {
        self.failure()?.remedy.as_ref()
    }

    /// The error behind it.
    pub fn exception(&self) -> Option<&str> {
        self.failure()?.exception.as_deref()
    }

    /// When it ran, if it did.
    pub fn timing(&self) -> Option<Timing> {
        match self.result {
            CheckResult::Succeeded { timing, .. } | CheckResult::Failed { timing, .. } => {
                Some(timing)
            }
            CheckResult::Skipped { .. } => None,
        }
    }

    /// When it began.
    pub fn run_at(&self) -> Option<Timestamp> {
        self.timing().map(|t| t.run_at)
    }

    /// How long it took.
    pub fn runtime(&self) -> Option<Duration> {
        self.timing().map(|t| t.runtime)
    }

    /// What a failed connector leaves in the place of its checks (`spec/events-and-checks.md` §6.14).
    pub(crate) fn of_failed_connector(connector: &str, failure: FailureDetails) -> Self {
        let name = format!("Connector {connector} checks");
        let now = Timestamp::now();
        Self {
            id: CheckId::generated(&name),
            name,
            description: None,
            severity: Severity::Critical,
            tags: BTreeSet::new(),
            created_at: now,
            result: CheckResult::Failed {
                failure,
                timing: Timing {
                    run_at: now,
                    runtime: Duration::ZERO,
                },
            },
        }
    }
}

/// The keys in the order of `spec/events-and-checks.md` §6.1; times as RFC 3339, the runtime in seconds, the remedy as
/// whether there is one. A check that was not run has `skipped` and `blocked_by` besides.
impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("description", &self.description)?;
        map.serialize_entry("severity", &self.severity)?;
        map.serialize_entry("tags", &self.tags)?;
        map.serialize_entry("success", &self.success())?;
        map.serialize_entry("message", &self.message())?;
        map.serialize_entry("hint", &self.hint())?;
        map.serialize_entry("remedy", &self.remedy().is_some())?;
        map.serialize_entry("exception", &self.exception())?;
        map.serialize_entry("created_at", &self.created_at)?;
        map.serialize_entry("run_at", &self.run_at())?;
        map.serialize_entry("runtime", &self.runtime().map(|d| d.as_secs_f64()))?;
        if let CheckResult::Skipped { blocked_by } = &self.result {
            map.serialize_entry("skipped", &true)?;
            map.serialize_entry("blocked_by", blocked_by)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn generated_ids_are_those_of_servox() {
        for (name, id) in [
            ("Ensure adequate resources", "c272d5e0"),
            ("Test", "1bab7e8d"),
            ("Opsani API connectivity", "ffd7e219"),
            ("two", "0b1c4a4d"),
            ("four", "31d68b28"),
            ("Check five", "b3f49d29"),
        ] {
            assert_eq!(CheckId::generated(name).as_str(), id, "{name}");
        }
    }

    #[test]
    fn ids_are_checked() {
        let longest = "a".repeat(128);
        for good in ["explicit-id", "check_x.2", &longest] {
            assert_eq!(CheckId::try_new(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(129);
        for bad in ["", "a b", "ü", "a/b", &too_long] {
            let error = CheckId::try_new(bad).unwrap_err().to_string();
            assert!(error.contains("1 to 128"), "{error}");
        }
    }

    #[test]
    fn tags_are_checked() {
        for good in ["ok-1.2", "low_priority", " blanks "] {
            assert_eq!(Tag::try_new(good).unwrap().as_str(), good.trim());
        }
        let too_long = "a".repeat(33);
        for bad in ["UP", "", "  ", "a b", &too_long] {
            let error = Tag::try_new(bad).unwrap_err().to_string();
            assert!(error.contains("1 to 32 of a-z, 0-9, underscore"), "{error}");
        }
    }
}
