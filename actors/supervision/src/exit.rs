//! How an actor ended.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::BoxError;

/// How one run of a supervised actor ended.
#[derive(Clone, Debug)]
pub enum Exit {
    /// The actor ended by itself, with nothing to complain about: it called `ctx.stop()`.
    Normal,
    /// The actor said why it cannot go on ([`ChildContext::fail`](crate::ChildContext::fail)), or its factory returned an error.
    Failed(Arc<dyn Error + Send + Sync>),
    /// The actor's code, or its factory, panicked.
    Panicked {
        /// The text given to `panic!`.
        message: String,
        /// `file:line:column`, known only after [`install_panic_hook`](crate::install_panic_hook).
        location: Option<String>,
    },
    /// A turn of work outlived its deadline, the actor did not stop within its budget, or it blocked its
    /// arbiter's thread. It was replaced or killed from outside.
    Stuck {
        /// The turns that were open, as named by [`ChildContext::turn`](crate::ChildContext::turn).
        doing: String,
        /// How long the oldest of them had been open.
        after: Duration,
    },
    /// Its supervisor asked it to stop, and it did.
    Stopped,
}

// === impl Exit ===

impl Exit {
    /// A [`Failed`](Self::Failed) exit.
    pub fn failed(error: impl Into<BoxError>) -> Self {
        Self::Failed(Arc::from(error.into()))
    }

    /// Whether something went wrong: failed, panicked or stuck.
    pub fn is_abnormal(&self) -> bool {
        match self {
            Self::Failed(_) | Self::Panicked { .. } | Self::Stuck { .. } => true,
            Self::Normal | Self::Stopped => false,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("ended normally"),
            Self::Failed(error) => {
                write!(f, "failed: {error}")?;
                let mut source = error.source();
                while let Some(cause) = source {
                    write!(f, ": {cause}")?;
                    source = cause.source();
                }
                Ok(())
            }
            Self::Panicked {
                message,
                location: Some(location),
            } => write!(f, "panicked at {location}: {message}"),
            Self::Panicked {
                message,
                location: None,
            } => write!(f, "panicked: {message}"),
            Self::Stuck { doing, after } => {
                write!(f, "stuck: {doing} had not finished after {after:.1?}")
            }
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

/// The thread an actor ran on has ended, and the actor with it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the arbiter it ran on has ended")]
pub(crate) struct ArbiterEnded;
