//! What a servo has begun, and so has to undo at its end.

use servo_dispatch::Scope;

/// How far a servo has come up. It outlives the session that wrote it: one that died without
/// undoing anything leaves that to its successor.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// The optimizer has answered HELLO, and no GOODBYE since.
    pub(crate) greeted: bool,
    /// The connectors that have attached and have to detach.
    pub(crate) attached: Option<Scope>,
    /// The connectors that have started up and have to shut down.
    pub(crate) started: Option<Scope>,
}

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
