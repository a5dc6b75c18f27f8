//! What an observer of a study is told as it happens.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{result::StudyResult, store::TrialRecord};

/// A trial got its verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrialEvent {
    /// The optimizer id.
    pub optimizer: String,
    /// How many trials are finished now.
    pub finished: usize,
    /// How many there will be.
    pub budget: usize,
    /// The trial.
    pub trial: TrialRecord,
    /// The metrics which objective and constraints are computed from.
    pub judged_by: Vec<String>,
    /// The units of its metrics as on the wire, where they have one.
    pub units: BTreeMap<String, String>,
}

/// Something worth telling.
#[derive(Debug, Clone)]
pub(crate) enum Notice {
    /// A servo said HELLO: what was told of its study before is no longer the end of it.
    Begun {
        /// The optimizer id.
        optimizer: String,
    },
    /// A trial got its verdict.
    Trial(Box<TrialEvent>),
    /// A study came to its end, or cannot go on.
    Finished(Box<StudyResult>),
}
