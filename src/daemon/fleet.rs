//! The servos of the running program, and what changes them.

mod status;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use servo_assembly::Assembly;
use servo_supervision::Snapshot;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

pub use status::{LastReload, Readiness, ReloadStatus, Reloaded, Trigger};

use super::tree::Tree;
use crate::config::ServoConfig;
use status::{Reloads, StartUp};

/// The servos of the running program, and what changes them. Cheap to clone; can be used from any
/// thread.
#[derive(Clone, Debug)]
pub struct Fleet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tree: Tree,
    members: Mutex<BTreeMap<Arc<str>, Member>>,
    start_up: StartUp,
    reloads: Reloads,
    quit: CancellationToken,
}

/// A servo that runs.
#[derive(Clone, Debug)]
struct Member {
    config: Arc<ServoConfig>,
}

/// A reload that changed nothing, and why, in one line.
#[derive(Clone, Debug, Error)]
#[error("reload refused: {0}")]
pub struct ReloadRefused(String);

/// Why no servo was added or removed.
#[derive(Clone, Debug, Error)]
pub enum ChangeError {
    /// The documents are wrong, or cannot run.
    #[error("{0}")]
    Invalid(String),
    /// The name, or the optimizer, is that of another servo.
    #[error("{0}")]
    Taken(String),
    /// There is no servo of that name.
    #[error("No servo was found named \"{0}\"")]
    Unknown(String),
    /// The program is ending.
    #[error("the program is shutting down: nothing is changed any more")]
    ShuttingDown,
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
}

impl Fleet {
    /// The servos, as they run: their states, their handles.
    pub fn assembly(&self) -> &Assembly {
        self.0.tree.assembly()
    }

    /// The whole supervision tree as it stands now. Asks no actor. With 10,000 servos it takes a
    /// good part of a second: not on a thread that others wait for.
    pub fn tree(&self) -> Snapshot {
        self.0.tree.snapshot()
    }

    /// The configurations of the servos that run now, by their names.
    pub fn configurations(&self) -> Vec<Arc<ServoConfig>> {
        let members = self.0.members();
        members.values().map(|m| m.config.clone()).collect()
    }

    /// Ends the program in order, as SIGTERM does; the optimizers are told `shutdown` as the reason.
    pub fn quit(&self) {
        self.0.quit.cancel();
    }

    /// How reloads have gone so far.
    pub fn reloads(&self) -> ReloadStatus {
        self.0.reloads.status()
    }

    /// Whether all servos have been taken up.
    pub fn readiness(&self) -> Readiness {
        if self.0.quit.is_cancelled() {
            return Readiness::ShuttingDown;
        }
        self.0.start_up.readiness()
    }
}

impl Inner {
    fn members(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReloadRefused {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}
