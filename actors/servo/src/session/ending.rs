//! The end of a session: everything that was begun is undone, in order and within bounds
//! (`spec/optimizer-protocol.md` §16).

use std::time::Duration;

use servo_dispatch::{
    Detach, DispatchError, DispatchOptions, ErrorPolicy, Event, Exchange, Scope, Shutdown,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Session;
use crate::status::Phase;

/// How much of the connectors' time `shutdown` has, and `detach` again; what is left is for pub/sub.
const SHARE: f64 = 0.45;
/// How much of its time a handler has until it is told to stop; in the rest it may still do so.
const BEFORE_GRACE: f64 = 0.8;

impl Session {
    /// Undoes what stands: connectors shut down and detach, pub/sub ends if the servo does, the
    /// optimizer is told. Each part is bounded and tried whatever became of the one before.
    pub(super) async fn close(&mut self, reason: &str, for_good: bool) {
        self.enter(Phase::ShuttingDown);
        let within = self.spec.common.policy.stop_connectors;
        let by = Instant::now() + within;
        let (started, attached) = {
            let mut standing = self.shared.standing();
            (standing.started.take(), standing.attached.take())
        };
        if let Some(all_but) = started {
            self.end(Shutdown, all_but.scope(), within.mul_f64(SHARE))
                .await;
        }
        if let Some(all_but) = attached {
            self.end(Detach, all_but.scope(), within.mul_f64(SHARE))
                .await;
        }
        if for_good {
            self.end_exchange(by.saturating_duration_since(Instant::now()))
                .await;
        }
        self.say_goodbye(reason, &CancellationToken::new()).await;
        self.enter(Phase::Ended);
    }

    /// Has the subscribers hear what was published last; then nobody hears anything any more.
    async fn end_exchange(&self, within: Duration) {
        let exchange: Exchange = self.dispatcher.exchange().clone();
        if !exchange.is_running() {
            return;
        }
        // What is not done in time goes on behind: given up half-way, it would leave subscribers
        // that wait for ever.
        let drained = actix_rt::spawn(async move { exchange.shutdown().await });
        if tokio::time::timeout(within, drained).await.is_err() {
            tracing::warn!(
                servo = %self.spec.name,
                "subscribers have not taken what was published within {}",
                servo_messages::Duration::from(within)
            );
        }
    }

    /// Dispatches an event that brings the servo up.
    pub(super) async fn lifecycle<E: Event<Output = ()>>(
        &self,
        event: E,
    ) -> Result<(), DispatchError> {
        let options = DispatchOptions {
            timeout: self.spec.common.policy.describe_timeout,
            grace: self.spec.common.policy.stop_command,
            cancel: self.rest.child_token(),
            ..DispatchOptions::default()
        };
        self.dispatcher.dispatch(event, options).await.map(drop)
    }

    /// Dispatches an event that brings it down. No failure keeps the others from it.
    async fn end<E: Event<Output = ()>>(&self, event: E, scope: Scope, within: Duration) {
        let servo = &*self.spec.name;
        let options = DispatchOptions {
            scope,
            timeout: within.mul_f64(BEFORE_GRACE),
            grace: within.mul_f64(1.0 - BEFORE_GRACE),
            on_error: ErrorPolicy::Collect,
            ..DispatchOptions::default()
        };
        let results = match self.dispatcher.dispatch(event, options).await {
            Ok(outcome) => outcome.results,
            Err(error) => {
                tracing::error!(servo, event = E::NAME, "{} failed: {error}", E::NAME);
                return;
            }
        };
        for result in results {
            let connector = &*result.connector;
            match result.value {
                Ok(()) => {
                    tracing::debug!(servo, connector, event = E::NAME, "{} done", E::NAME);
                }
                Err(error) => tracing::error!(
                    servo,
                    connector,
                    event = E::NAME,
                    "{} failed: {}",
                    E::NAME,
                    error.error
                ),
            }
        }
    }
}
