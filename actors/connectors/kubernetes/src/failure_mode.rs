//! What happens to a workload whose adjustment failed (`spec/kubernetes.md` §11).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done when an adjustment fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Leave everything as it is and report the failure.
    #[default]
    Exception,
    /// Take the workload down and report the failure: it is scaled to 0. A tuning pod is replaced by one with the
    /// application's own settings.
    Shutdown,
    /// Log a warning and carry on as if the adjustment had succeeded.
    Ignore,
    /// Restore what was there before the adjustment and report the failure. A tuning pod is treated as with `shutdown`.
    Rollback,
    /// The old name of `shutdown`.
    #[serde(rename(serialize = "shutdown", deserialize = "destroy"))]
    #[schemars(extend("deprecated" = true))]
    Destroy,
}

/// What is done when an adjustment fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureMode {
    /// Leave everything as it is and report the failure.
    Exception,
    /// Scale to 0, or replace the tuning pod by one with the application's settings; report the failure.
    Shutdown,
    /// Warn, and carry on as if the adjustment had succeeded.
    Ignore,
    /// Restore what was there before the adjustment; report the failure.
    Rollback,
}

// === impl OnFailure ===

impl OnFailure {
    /// What is meant for a workload, `canary` being whether it has a tuning pod.
    pub const fn mode(self, canary: bool) -> FailureMode {
        match self {
            Self::Exception => FailureMode::Exception,
            Self::Ignore => FailureMode::Ignore,
            Self::Rollback if !canary => FailureMode::Rollback,
            Self::Shutdown | Self::Destroy | Self::Rollback => FailureMode::Shutdown,
        }
    }
}
