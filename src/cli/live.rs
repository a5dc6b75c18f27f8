//! Commands that act on live connectors once, without an optimizer.

use std::{collections::HashMap, future::Future, sync::Arc};

use servo_dispatch::{
    Attach, Detach, DispatchError, DispatchOptions, DispatcherRef, ErrorPolicy, Metadata, Scope,
};
use tokio_util::sync::CancellationToken;

use super::{Context, Failure, Selection, print};
use crate::{
    config::Need,
    daemon::{self, Signal},
};

/// One servo whose connectors are attached.
pub(super) struct LiveServo {
    /// Its name, where several have to be told apart.
    heading: Option<Arc<str>>,
    /// Its name.
    pub(super) name: Arc<str>,
    /// The types of its connectors, by their names.
    pub(super) types: HashMap<Arc<str>, &'static Metadata>,
    pub(super) dispatcher: DispatcherRef,
    /// Fires when the user interrupts.
    pub(super) cancel: CancellationToken,
}

impl LiveServo {
    /// Whether results have to say whose they are.
    pub(super) fn is_one_of_several(&self) -> bool {
        self.heading.is_some()
    }

    /// Prints a result for people, below the servo's name where there are several.
    pub(super) fn print(&self, text: &str) -> Result<(), Failure> {
        match &self.heading {
            Some(name) => print(&format!("{name}\n{text}")),
            None => print(text),
        }
    }

    /// Options for a dispatch to the connectors named `only`; to all when there are none.
    pub(super) fn options(&self, only: &[String]) -> DispatchOptions {
        DispatchOptions {
            scope: if only.is_empty() {
                Scope::All
            } else {
                Scope::Only(only.iter().map(|n| n.as_str().into()).collect())
            },
            cancel: self.cancel.clone(),
            ..DispatchOptions::default()
        }
    }
}

/// What a failed dispatch means to the user.
pub(super) fn failure(error: DispatchError) -> Failure {
    match error {
        DispatchError::UnknownConnector { .. } => Failure::Usage(error.to_string()),
        DispatchError::Handlers(errors) => Failure::Failed(
            errors
                .iter()
                .map(|e| {
                    let reason = e.error.reason.as_deref();
                    let reason = reason.map(|r| format!(" ({r})")).unwrap_or_default();
                    format!(
                        "{} {}{reason}: {}",
                        e.connector,
                        e.error.status().as_str(),
                        e.error.message
                    )
                })
                .collect::<Vec<_>>()
                .join("\n"),
        ),
        other => Failure::Failed(other.to_string()),
    }
}

/// Attaches the connectors of the wanted servos, lets `act` use each, and detaches them, whatever
/// became of it.
pub(super) fn with_servos<F, Fut>(context: &Context, act: F) -> Result<(), Failure>
where
    F: Fn(LiveServo) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let Selection { servos, several } = context.servos(&context.load_options(Need::Optional))?;
    daemon::block_on(async move {
        let tree = daemon::Tree::start(1).await.map_err(failed)?;
        let cancel = CancellationToken::new();
        let work = async {
            for config in servos {
                let types = config
                    .connectors
                    .iter()
                    .map(|(name, connector)| (name.clone(), connector.metadata()))
                    .collect();
                let spec = daemon::servo_spec(config, None);
                let name = spec.name.clone();
                let heading = several.then(|| name.clone());
                let handle = tree.assembly().add(spec).await.map_err(failed)?;
                let dispatcher = handle.started().await.map_err(failed)?;
                let servo = LiveServo {
                    heading,
                    name,
                    types,
                    dispatcher: dispatcher.clone(),
                    cancel: cancel.clone(),
                };
                let options = servo.options(&[]);
                let outcome = match dispatcher.dispatch(Attach, options).await {
                    Ok(_) => act(servo).await,
                    Err(error) => Err(failure(error)),
                };
                detach(&dispatcher).await;
                outcome?;
            }
            Ok(())
        };
        tokio::pin!(work);
        let mut signals = daemon::Signals::listen().map_err(failed)?;
        let outcome = tokio::select! {
            outcome = &mut work => outcome,
            signal = signals.next() => {
                cancel.cancel();
                interrupted(signal, work, &mut signals).await
            }
        };
        tree.shutdown().await;
        outcome
    })
    .map_err(failed)?
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}

/// Lets the cancelled work clean up; a second signal does not wait for it.
async fn interrupted(
    signal: Signal,
    work: impl Future<Output = Result<(), Failure>>,
    signals: &mut daemon::Signals,
) -> Result<(), Failure> {
    tokio::select! {
        _ = work => {}
        second = signals.next() => return Err(Failure::Interrupted(second)),
    }
    Err(Failure::Interrupted(signal))
}

async fn detach(dispatcher: &DispatcherRef) {
    let options = DispatchOptions {
        on_error: ErrorPolicy::Collect,
        ..DispatchOptions::within(std::time::Duration::from_secs(30))
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
