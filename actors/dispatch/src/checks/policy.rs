//! How a run of checks goes about it (`spec/events-and-checks.md` §6.12, §6.13).

use std::{sync::Arc, time::Duration};

use servo_messages::{CheckDelay, ChecksConfig, HaltOn};

use super::{
    event::CheckEvent,
    filter::{CheckFilter, FilterError},
};

/// How a run of checks goes about it.
#[derive(Clone, Debug)]
pub struct CheckPolicy {
    /// The connectors that are asked; none is all.
    pub connectors: Option<Vec<Arc<str>>>,
    /// Which of their checks.
    pub filter: CheckFilter,
    /// Which failures end the checks of a connector.
    pub halt_on: HaltOn,
    /// How long to repeat until all pass. Zero is a single pass.
    pub wait: Duration,
    /// The pause between two passes.
    pub delay: CheckDelay,
    /// Whether the results are told as they come, and not as tables. For the announcement only.
    pub progressive: bool,
    /// Whether to apply remedies.
    pub remedy: bool,
    /// Tell and remedy only the first failure of each pass.
    pub check_halting: bool,
    /// How long a check may take that does not say so itself.
    pub timeout: Duration,
    /// How long a remedy may take that does not say so itself.
    pub remedy_timeout: Duration,
}

// === impl CheckPolicy ===

impl CheckPolicy {
    /// How long a remedy may take by default.
    pub const REMEDY_TIMEOUT: Duration = Duration::from_secs(10);

    /// What the stanza `checks` says.
    ///
    /// # Errors
    /// When a filter has an empty entry or a wrong regular expression.
    pub fn of(config: &ChecksConfig) -> Result<Self, FilterError> {
        let texts = Option::as_deref;
        let connectors = config.connectors.as_ref();
        Ok(Self {
            connectors: connectors.map(|names| names.iter().map(|n| n.as_str().into()).collect()),
            filter: CheckFilter::parse(texts(&config.name), texts(&config.id), texts(&config.tag))?,
            halt_on: config.halt_on,
            wait: config.wait.as_std(),
            delay: config.delay,
            progressive: config.progressive,
            remedy: config.remedy,
            check_halting: config.check_halting,
            timeout: config.timeout.as_std(),
            remedy_timeout: config.remedy_timeout.as_std(),
        })
    }
}

/// A single pass over all checks of all connectors, with remedies.
impl Default for CheckPolicy {
    fn default() -> Self {
        Self {
            connectors: None,
            filter: CheckFilter::default(),
            halt_on: HaltOn::default(),
            wait: Duration::ZERO,
            delay: CheckDelay::default(),
            progressive: true,
            remedy: true,
            check_halting: false,
            timeout: CheckEvent::TIMEOUT,
            remedy_timeout: Self::REMEDY_TIMEOUT,
        }
    }
}
