//! One progress figure for one command (`spec/optimizer-protocol.md` §9).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use servo_dispatch::{ProgressSink, ProgressUpdate};
use tokio::{sync::Notify, time::Instant};

/// Folds the reports of all connectors that are at work into the least of them, never going back.
/// One that is done counts no more, for or against: it may have been done in no time, beside
/// others that take an hour. Only the newest value is kept: progress is worthless when old.
#[derive(Clone)]
pub(crate) struct CommandProgress(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    started: Instant,
}

#[derive(Default)]
struct State {
    by_connector: BTreeMap<Arc<str>, f64>,
    percent: f64,
    message: Option<String>,
}

/// What to report now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// 0 to below 100: the completion says the rest.
    pub(crate) percent: f64,
    pub(crate) runtime: Duration,
    pub(crate) message: Option<String>,
}

impl CommandProgress {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            changed: Notify::new(),
            started: Instant::now(),
        }))
    }

    /// Where connectors report to.
    pub(crate) fn sink(&self) -> ProgressSink {
        let shared = self.0.clone();
        Arc::new(move |update| {
            shared
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .update(update);
            shared.changed.notify_one();
        })
    }

    /// What is told of the command while no connector says anything.
    pub(crate) fn say(&self, message: Option<String>) {
        self.0
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .message = message;
    }

    /// Waits until something was reported that [`CommandProgress::changed`] has not told yet.
    pub(crate) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        Snapshot {
            percent: state.percent.min(99.99),
            runtime: self.0.started.elapsed(),
            message: state.message.clone(),
        }
    }
}

impl State {
    fn update(&mut self, update: ProgressUpdate) {
        if update.percent < 100.0 {
            self.by_connector.insert(update.connector, update.percent);
        } else {
            self.by_connector.remove(&update.connector);
        }
        let least = self
            .by_connector
            .values()
            .copied()
            .fold(f64::INFINITY, f64::min);
        if least.is_finite() {
            self.percent = self.percent.max(least);
        }
        if update.message.is_some() {
            self.message = update.message;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(connector: &str, percent: f64) -> ProgressUpdate {
        ProgressUpdate {
            connector: connector.into(),
            percent,
            message: Some(format!("{connector} {percent}")),
            runtime: Duration::ZERO,
        }
    }

    #[test]
    fn the_slowest_connector_counts_and_nothing_goes_back() {
        let progress = CommandProgress::new();
        let sink = progress.sink();
        let after = |u| {
            sink(u);
            progress.snapshot().percent
        };
        assert_eq!(after(update("a", 10.0)), 10.0);
        assert_eq!(after(update("b", 0.0)), 10.0);
        assert_eq!(after(update("a", 60.0)), 10.0);
        assert_eq!(after(update("b", 50.0)), 50.0);
        assert_eq!(after(update("a", 0.0)), 50.0);
        assert_eq!(after(update("a", 100.0)), 50.0);
        assert_eq!(after(update("b", 99.0)), 99.0);
        assert_eq!(after(update("b", 100.0)), 99.0);
        assert_eq!(progress.snapshot().message.as_deref(), Some("b 100"));
    }

    #[test]
    fn one_that_is_done_at_once_says_nothing_about_the_others() {
        let progress = CommandProgress::new();
        let sink = progress.sink();
        sink(update("quick", 100.0));
        assert_eq!(progress.snapshot().percent, 0.0);
        sink(update("slow", 1.0));
        assert_eq!(progress.snapshot().percent, 1.0);
    }
}
