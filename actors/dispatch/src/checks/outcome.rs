//! What the code of a check may return, and what that means (`spec/events-and-checks.md` §6.4).

use std::{any::Any, error::Error};

use servo_messages::EventError;

use super::{check::FailureDetails, remedy::Remedy};
use crate::connector::BoxError;

/// What the code of a check came to.
#[derive(Clone, Debug)]
pub enum CheckOutcome {
    /// All is well.
    Success {
        /// What was found.
        message: Option<String>,
    },
    /// Something is wrong.
    Failure(CheckFailure),
}

/// Why a check failed. Every error turns into one by `?`.
#[derive(Clone, Debug, Default)]
pub struct CheckFailure(pub(crate) FailureDetails);

/// What the code of a check may return: nothing, whether it succeeded, what it found, both, or a result of these.
///
/// Nothing and a text are successes, however empty the text.
pub trait IntoOutcome {
    /// What it means.
    fn into_outcome(self) -> CheckOutcome;
}

/// Fails a check with `text` unless `condition` holds: `ensure(pods > 0, "no pods")?`.
///
/// # Errors
/// When it does not hold.
pub fn ensure(condition: bool, text: impl Into<String>) -> Result<(), CheckFailure> {
    if condition {
        return Ok(());
    }
    let message = text.into();
    Err(CheckFailure(FailureDetails {
        exception: Some(format!("assertion failed: {message:?}")),
        message: Some(message),
        ..FailureDetails::default()
    }))
}

// === impl CheckFailure ===

impl CheckFailure {
    /// Something is wrong, in the words of `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self(FailureDetails {
            message: Some(message.into()),
            ..FailureDetails::default()
        })
    }

    /// What the operator can do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self(FailureDetails {
            hint: Some(hint.into()),
            ..self.0
        })
    }

    /// What Servo can do about it; counts before the remedy that the check was declared with.
    #[must_use]
    pub fn remedy(self, remedy: Remedy) -> Self {
        Self(FailureDetails {
            remedy: Some(remedy),
            ..self.0
        })
    }

    /// An error whose type is not known.
    pub fn of_boxed(error: BoxError) -> Self {
        Self::caught("error", &*error)
    }

    fn caught(kind: &str, error: &(dyn Error + 'static)) -> Self {
        let mut text = error.to_string();
        let exception = format!("{error:?}");
        if text.is_empty() {
            text.clone_from(&exception);
        }
        Self(FailureDetails {
            message: Some(format!("caught exception ({kind}): {text}")),
            exception: Some(exception),
            ..FailureDetails::default()
        })
    }
}

/// The name of a type without the path to it and without its parameters.
fn short_name(type_name: &'static str) -> &'static str {
    let plain = type_name.split('<').next().unwrap_or(type_name);
    plain.rsplit("::").next().unwrap_or(plain)
}

impl<E: Error + 'static> From<E> for CheckFailure {
    fn from(error: E) -> Self {
        match (&error as &dyn Any).downcast_ref::<EventError>() {
            Some(event_error) => Self::caught(&format!("{:?}", event_error.kind), event_error),
            None => Self::caught(short_name(std::any::type_name::<E>()), &error),
        }
    }
}

// === impl IntoOutcome ===

impl CheckOutcome {
    fn of(success: bool, message: Option<String>) -> Self {
        if success {
            Self::Success { message }
        } else {
            Self::Failure(CheckFailure(FailureDetails {
                message,
                ..FailureDetails::default()
            }))
        }
    }
}

impl IntoOutcome for CheckOutcome {
    fn into_outcome(self) -> CheckOutcome {
        self
    }
}

impl IntoOutcome for () {
    fn into_outcome(self) -> CheckOutcome {
        CheckOutcome::of(true, None)
    }
}

impl IntoOutcome for bool {
    fn into_outcome(self) -> CheckOutcome {
        CheckOutcome::of(self, None)
    }
}

impl IntoOutcome for String {
    fn into_outcome(self) -> CheckOutcome {
        CheckOutcome::of(true, Some(self))
    }
}

impl IntoOutcome for &str {
    fn into_outcome(self) -> CheckOutcome {
        self.to_owned().into_outcome()
    }
}

impl<T: Into<String>> IntoOutcome for (bool, T) {
    fn into_outcome(self) -> CheckOutcome {
        CheckOutcome::of(self.0, Some(self.1.into()))
    }
}

impl<T: IntoOutcome> IntoOutcome for Option<T> {
    fn into_outcome(self) -> CheckOutcome {
        self.map_or_else(|| ().into_outcome(), T::into_outcome)
    }
}

impl<T: IntoOutcome, E: Into<CheckFailure>> IntoOutcome for Result<T, E> {
    fn into_outcome(self) -> CheckOutcome {
        match self {
            Ok(value) => value.into_outcome(),
            Err(error) => CheckOutcome::Failure(error.into()),
        }
    }
}
