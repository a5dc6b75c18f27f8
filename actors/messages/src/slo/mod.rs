//! Service levels (SLO) that a measurement must keep: what an optimizer sends as `control.userdata.slo`, and the
//! verdict on the readings taken while the measurement runs.
//!
//! Contract: `spec/optimizer-protocol.md §14`, `spec/metrics-and-load.md §2`. Whoever can answer "readings of these
//! metrics over this window" watches service levels so: ask for what [`Slo::metrics`] names, once each
//! [`FastFailConfig::period`](crate::FastFailConfig), and hand what was found to [`SloObserver::observe`]; its
//! [`Verdict`] has the line to log and the error to end with.

mod condition;
mod observer;
mod outcome;
mod read;

pub use condition::{Keep, NeverTriggers, SloCondition, SloLimit, Trigger};
pub use observer::{SloObserver, Verdict};
pub use outcome::{SloOutcome, SloStatus};

use std::collections::BTreeSet;

use serde_json::Value;

use crate::control::Control;
use crate::wire::WireError;

/// The conditions of one command, each different from the others. May be none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slo {
    /// What must hold.
    pub conditions: Vec<SloCondition>,
    /// What was sent without meaning anything, for the log.
    pub warnings: Vec<String>,
}

impl Slo {
    /// More conditions than this are refused: each is judged at each check.
    pub const MOST_CONDITIONS: usize = 1_000;

    /// Reads the `slo` object; `path` is where it stands, for errors.
    ///
    /// # Errors
    /// [`WireError`] names the first place that is wrong: an unknown key, a value of the wrong kind, both or neither
    /// kind of threshold, a trigger that can never fire, conditions that are the same.
    pub fn parse(slo: &Value, path: &str) -> Result<Slo, WireError> {
        read::slo(slo, path)
    }

    /// Those of a command; none if it has none.
    ///
    /// # Errors
    /// As [`Slo::parse`]. A [`Control`] that was read has none: reading it refuses them.
    pub fn of(control: &Control) -> Result<Option<Slo>, WireError> {
        control
            .slo()
            .map(|slo| Slo::parse(slo, Self::PATH))
            .transpose()
    }

    pub(crate) const PATH: &'static str = "userdata.slo";

    /// The names of all metrics that a condition is about.
    pub fn metrics(&self) -> BTreeSet<&str> {
        self.conditions
            .iter()
            .flat_map(|condition| {
                let threshold = match &condition.limit {
                    SloLimit::Fixed(_) => None,
                    SloLimit::Metric { name, .. } => Some(name.as_str()),
                };
                threshold
                    .into_iter()
                    .chain(std::iter::once(condition.metric.as_str()))
            })
            .collect()
    }
}
