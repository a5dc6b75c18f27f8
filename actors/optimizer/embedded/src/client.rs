//! The way from a servo to the optimizer in its own process.

use std::time::Duration;

use servo_protocol::{BoxFuture, OptimizerClient, PostError, Request, Response, TransportKind};

use crate::optimizer::{EmbeddedOptimizer, HandleError};

/// Speaks for one servo to an [`EmbeddedOptimizer`], as [`servo_protocol::HttpOptimizer`] does to a
/// remote one.
#[derive(Debug, Clone)]
pub struct EmbeddedClient {
    optimizer: EmbeddedOptimizer,
    id: String,
}

impl EmbeddedClient {
    /// A client for the servo whose trials are kept under the optimizer id `id`.
    #[must_use]
    pub fn new(optimizer: EmbeddedOptimizer, id: impl Into<String>) -> Self {
        Self {
            optimizer,
            id: id.into(),
        }
    }

    /// The optimizer id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The optimizer it speaks to.
    #[must_use]
    pub fn optimizer(&self) -> &EmbeddedOptimizer {
        &self.optimizer
    }
}

impl OptimizerClient for EmbeddedClient {
    fn post<'a>(
        &'a self,
        request: &'a Request,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Response, PostError>> {
        Box::pin(async move {
            let answer = self
                .optimizer
                .serve(&self.id, request.clone(), deadline)
                .await;
            answer.map_err(|error| {
                let url = self.display_url();
                let kind = match error {
                    HandleError::Replaced => return PostError::ServoReplaced { url },
                    HandleError::Deadline { .. } => TransportKind::Timeout,
                    HandleError::Gone => TransportKind::Connect,
                    HandleError::Store(_) | HandleError::TooMany | HandleError::Panicked(_) => {
                        TransportKind::Broken
                    }
                };
                PostError::Transport {
                    url,
                    kind,
                    detail: error.to_string(),
                }
            })
        })
    }

    fn display_url(&self) -> String {
        format!("embedded:{}", self.id)
    }
}
