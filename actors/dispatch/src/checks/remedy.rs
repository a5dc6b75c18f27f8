//! What Servo itself can do about a failed check.

use std::{any::Any, fmt, sync::Arc, time::Duration};

use futures_util::future::LocalBoxFuture;

use crate::connector::BoxError;

type Attempt = dyn Fn() -> LocalBoxFuture<'static, Result<(), BoxError>> + Send + Sync;

/// An automatic fix for what a check found wrong.
///
/// It runs after the checks, beside the connectors and not inside one, so it owns what it needs. It is dropped when its
/// time is up or the run is cancelled, and may be tried again in a later pass.
#[derive(Clone)]
pub struct Remedy {
    attempt: Arc<Attempt>,
    limit: Option<Duration>,
}

impl Remedy {
    /// A fix that `attempt` tries.
    pub fn new<F, E>(attempt: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + 'static,
        E: Into<BoxError>,
    {
        Self {
            attempt: Arc::new(move || {
                let attempt = attempt();
                Box::pin(async move { attempt.await.map_err(Into::into) })
            }),
            limit: None,
        }
    }

    /// The same fix, which may take this long. By default it has what the policy of the run says, 10 s.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self {
            limit: Some(limit),
            ..self
        }
    }

    pub(crate) fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Tries it, once.
    pub(crate) async fn attempt(&self) -> Result<(), BoxError> {
        (self.attempt)().await
    }
}

impl fmt::Debug for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remedy")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// What somebody said when they panicked.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("a value that is no text"))
}
