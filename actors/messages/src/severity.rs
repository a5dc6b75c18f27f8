//! How much a failed check or an error matters.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a failure matters, in rising order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth telling; nothing stops.
    Warning,
    /// A failure that leaves the rest usable.
    Common,
    /// A failure after which going on makes no sense.
    Critical,
}

impl Severity {
    /// The lower-case word used in files and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Common => "common",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that names no severity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown severity '{0}': expected one of warning, common, critical")]
pub struct UnknownSeverity(pub String);

impl FromStr for Severity {
    type Err = UnknownSeverity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "warning" => Ok(Severity::Warning),
            "common" => Ok(Severity::Common),
            "critical" => Ok(Severity::Critical),
            other => Err(UnknownSeverity(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn words_round_trip_and_rank() {
        for severity in [Severity::Warning, Severity::Common, Severity::Critical] {
            assert_eq!(severity.to_string().parse::<Severity>().unwrap(), severity);
            assert_eq!(serde_json::to_value(severity).unwrap(), severity.as_str());
        }
        assert!(Severity::Warning < Severity::Common && Severity::Common < Severity::Critical);
        assert_eq!(
            "fatal".parse::<Severity>().unwrap_err().to_string(),
            "unknown severity 'fatal': expected one of warning, common, critical"
        );
    }
}
