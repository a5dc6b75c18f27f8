//! Catching a supervised actor's panic, with its message and place.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::exit::Exit;

thread_local! {
    /// The run whose code this thread is executing; 0 for none.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Which run is executing; compares by identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunId(usize);

// === impl RunId ===

impl RunId {
    /// The identity of the run that owns the value at this address.
    pub(crate) fn of<T>(owned: &T) -> Self {
        Self(std::ptr::from_ref(owned).addr())
    }

    /// Whether this thread is inside that run's code now.
    pub(crate) fn is_executing(self) -> bool {
        CURRENT.get() == self.0
    }
}

/// Runs `code` as part of `run`; a panic becomes an [`Exit::Panicked`].
pub(crate) fn catch<T>(run: RunId, code: impl FnOnce() -> T) -> Result<T, Exit> {
    let outer = CURRENT.replace(run.0);
    // Unwind safety: after a panic the actor is dropped without running any of its code but `Drop`.
    let result = catch_unwind(AssertUnwindSafe(code));
    CURRENT.set(outer);
    result.map_err(|payload| Exit::Panicked {
        message: message_of(payload.as_ref()),
        location: LOCATION.take(),
    })
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a value that is no text".to_owned()
    }
}

/// Installs a process-wide panic hook that remembers where supervised actors panic, for [`Exit::Panicked`].
///
/// For their panics it prints nothing: the supervisor reports each one, once. Every other panic goes through the
/// hook that was there before. Calling it again does nothing.
pub fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if CURRENT.get() == 0 {
                previous(info);
            } else {
                LOCATION.set(info.location().map(ToString::to_string));
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_panic_becomes_a_value_with_message_and_place() {
        install_panic_hook();
        let owner = 0_u8;
        let exit = catch(RunId::of(&owner), || panic!("lost the {}", "keys")).unwrap_err();
        let Exit::Panicked { message, location } = exit else {
            panic!("{exit}")
        };
        assert_eq!(message, "lost the keys");
        assert!(location.unwrap().contains("panics.rs:"));
    }

    #[test]
    fn a_payload_that_is_no_text_is_survived() {
        let owner = 0_u8;
        let exit = catch(RunId::of(&owner), || std::panic::panic_any(7)).unwrap_err();
        assert!(
            matches!(exit, Exit::Panicked { message, .. } if message == "a value that is no text")
        );
    }
}
