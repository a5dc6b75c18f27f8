//! Checks: verifying what connectors need, before and without putting them to work.
//!
//! A connector declares [`Checks`] and answers the event [`CheckEvent`] with what came of them, a list of [`Check`].
//! A [`CheckRun`] asks all connectors of a servo, tells what it learns as [`CheckReport`]s, applies [`Remedy`]s and
//! repeats, as its [`CheckPolicy`] says.

mod actor;
mod check;
mod declare;
mod event;
mod execute;
mod filter;
mod narrate;
mod one;
mod outcome;
mod pass;
mod policy;
mod remedy;
mod report;
mod run;
mod select;

pub use actor::{CheckRunActor, CheckRunLost, PendingCheckRun};
pub use check::{
    Check, CheckId, CheckResult, FailureDetails, InvalidCheckId, InvalidTag, Tag, Timing,
};
pub use declare::{Checks, Declaration};
pub use event::CheckEvent;
pub use filter::{CheckFilter, FilterError, PatternError, Patterns};
pub use one::{CheckTarget, RunOneError};
pub use outcome::{CheckFailure, CheckOutcome, IntoOutcome, ensure};
pub use policy::CheckPolicy;
pub use remedy::Remedy;
pub use report::{CheckOf, CheckReport, ConnectorChecks};
pub use run::{CheckRun, CheckRunEnd, CheckRunOutcome};
pub use select::CheckSelectionError;
