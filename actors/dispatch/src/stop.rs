//! How the handlers of a dispatch are told to stop.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use tokio_util::sync::CancellationToken;

/// One for all stages of a dispatch: once it has fired, the dispatch comes to its end.
///
/// Its token is made for a handler that asks for it, or has to be waited for: most of them answer without, and a token
/// costs as much as such a handler.
pub(crate) struct Stop {
    /// Tells the handlers, too. Theirs must not fire it.
    caller: CancellationToken,
    told: AtomicBool,
    token: OnceLock<CancellationToken>,
}

// === impl Stop ===

impl Stop {
    pub(crate) fn new(caller: CancellationToken) -> Self {
        Self {
            caller,
            told: AtomicBool::new(false),
            token: OnceLock::new(),
        }
    }

    /// Tells the handlers to stop.
    pub(crate) fn tell(&self) {
        self.told.store(true, Ordering::SeqCst);
        if let Some(token) = self.token.get() {
            token.cancel();
        }
    }

    /// Whether they were told, by the dispatch or by its caller.
    pub(crate) fn is_told(&self) -> bool {
        self.told.load(Ordering::SeqCst) || self.caller.is_cancelled()
    }

    /// Fires when they are told.
    pub(crate) fn token(&self) -> &CancellationToken {
        let token = self.token.get_or_init(|| self.caller.child_token());
        // Told while it was made, it may have been missed.
        if self.told.load(Ordering::SeqCst) {
            token.cancel();
        }
        token
    }

    /// The caller's own token.
    pub(crate) fn caller(&self) -> &CancellationToken {
        &self.caller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_fires_whenever_it_is_asked_for_and_the_callers_does_not() {
        for early in [true, false] {
            let caller = CancellationToken::new();
            let stop = Stop::new(caller.clone());
            let before = early.then(|| stop.token().clone());
            assert!(!stop.is_told() && before.iter().all(|t| !t.is_cancelled()));
            stop.tell();
            assert!(stop.is_told() && before.iter().all(CancellationToken::is_cancelled));
            assert!(stop.token().is_cancelled() && !caller.is_cancelled());
        }
    }

    #[test]
    fn the_callers_token_tells_the_handlers() {
        let caller = CancellationToken::new();
        let stop = Stop::new(caller.clone());
        let token = stop.token().clone();
        caller.cancel();
        assert!(stop.is_told() && token.is_cancelled());
    }
}
