//! What a servo has begun, and so has to undo at its end.

use std::sync::Arc;

use servo_dispatch::Scope;

/// How far a servo has come up. It outlives the session that wrote it: one that died without
/// undoing anything leaves that to its successor.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// The optimizer has answered HELLO, and no GOODBYE since.
    pub(crate) greeted: bool,
    /// The connectors that have attached and have to detach.
    pub(crate) attached: Option<AllBut>,
    /// The connectors that have started up and have to shut down.
    pub(crate) started: Option<AllBut>,
}

/// All connectors but those of these names; nearly always there are none.
#[derive(Debug, Default)]
pub(crate) struct AllBut(Box<[Arc<str>]>);

// === impl AllBut ===

impl AllBut {
    pub(crate) fn scope(self) -> Scope {
        if self.0.is_empty() {
            Scope::All
        } else {
            Scope::Except(self.0.into())
        }
    }
}

impl FromIterator<Arc<str>> for AllBut {
    fn from_iter<I: IntoIterator<Item = Arc<str>>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

// === impl Standing ===

impl Standing {
    /// Whether there is nothing to undo.
    pub(crate) fn is_clean(&self) -> bool {
        !self.greeted && self.attached.is_none() && self.started.is_none()
    }

    /// All connectors are others than before, of which none has begun anything.
    pub(crate) fn forget_connectors(&mut self) {
        self.attached = None;
        self.started = None;
    }
}
