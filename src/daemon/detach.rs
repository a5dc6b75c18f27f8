//! The end of what a program did with a servo once.

use std::time::Duration;

use servo_dispatch::{Detach, DispatchOptions, DispatcherRef, ErrorPolicy};

/// What connectors have for giving up what they hold.
const PATIENCE: Duration = Duration::from_secs(30);

/// Has the connectors of a servo give up what they hold; those that fail are logged.
pub async fn detach(dispatcher: &DispatcherRef) {
    let options = DispatchOptions {
        on_error: ErrorPolicy::Collect,
        ..DispatchOptions::within(PATIENCE)
    };
    match dispatcher.dispatch(Detach, options).await {
        Ok(outcome) => {
            for error in outcome.results.into_iter().filter_map(|r| r.value.err()) {
                tracing::error!(connector = %error.connector, "detach failed: {}", error.error);
            }
        }
        Err(error) => tracing::error!("detach failed: {error}"),
    }
}
