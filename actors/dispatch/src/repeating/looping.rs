//! When a loop runs again, and what becomes of its failures.

use std::{any::Any, rc::Rc, sync::Arc, time::Duration};

use futures_util::future::LocalBoxFuture;
use servo_messages::EventError;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::tasks::{TaskHandle, TaskKind};
use crate::{
    context::{CallContext, CallShared, Chain, HandlerContext, now},
    dispatcher::DispatcherRef,
    event::Stage,
    handler::{CallFuture, Failure},
    host::Host,
    options::DispatchOptions,
    stop::Stop,
};

/// The least that passes between two runs, so that everything else has its turn.
const BREATH: Duration = Duration::from_millis(1);
/// How many failures in a row make a repeating task slow down.
const PATIENCE: u32 = 5;
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// How often something runs. The first run is at once, and two runs never overlap.
///
/// ```
/// # use servo_dispatch::{Every, Tick};
/// # use std::time::Duration;
/// let relaxed: Every = Duration::from_secs(10).into();
/// assert_eq!(relaxed.tick, Tick::AfterCompletion);
/// let by_the_clock = Every::new(Duration::from_secs(10)).fixed_rate();
/// assert_eq!(by_the_clock.tick, Tick::FixedRate);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every {
    /// How long from one run to the next; less than 1 ms counts as that.
    pub period: Duration,
    /// From where that counts.
    pub tick: Tick,
    /// How long a run may take; one that takes longer is ended and has failed. Default: 60 s.
    pub limit: Duration,
}

/// From where a period counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tick {
    /// From the end of a run to the beginning of the next.
    #[default]
    AfterCompletion,
    /// From beginning to beginning; what comes due during a run is skipped.
    FixedRate,
}

/// What one loop is.
pub(super) struct Repeated {
    pub(super) handle: TaskHandle,
    pub(super) every: Every,
    pub(super) context: LoopContext,
    pub(super) run: RunFn,
}

pub(super) type RunFn = Box<dyn FnMut(Rc<dyn Any>, HandlerContext) -> CallFuture<()> + Send>;

/// Who a loop works for.
#[derive(Clone)]
pub(super) struct LoopContext {
    pub(super) connector: Arc<str>,
    pub(super) dispatcher: DispatcherRef,
}

// === impl Every ===

impl Every {
    /// Again so long after each run.
    pub fn new(period: Duration) -> Self {
        Self {
            period,
            tick: Tick::default(),
            limit: DispatchOptions::DEFAULT_TIMEOUT,
        }
    }

    /// Again so long after each beginning.
    #[must_use]
    pub fn fixed_rate(mut self) -> Self {
        self.tick = Tick::FixedRate;
        self
    }

    /// With another limit for each run.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// When to run again after a run that was due then and has just ended, the latest of so many
    /// failures in a row.
    fn next(&self, kind: TaskKind, due: Instant, failures: u32) -> Instant {
        let now = Instant::now();
        let period = self.period.max(BREATH);
        let tolerated = match kind {
            TaskKind::Repeating => PATIENCE,
            TaskKind::Publisher | TaskKind::Subscriber => 1,
        };
        let backoff = failures.checked_sub(tolerated).map(|excess| {
            let doubled = FIRST_BACKOFF.saturating_mul(1 << excess.min(16));
            doubled.min(LONGEST_BACKOFF)
        });
        let far = now + DispatchOptions::MAX_TIMEOUT;
        let next = match self.tick {
            Tick::AfterCompletion => now.checked_add(period).unwrap_or(far),
            Tick::FixedRate => {
                let elapsed = now.saturating_duration_since(due).as_nanos();
                let periods = elapsed / period.as_nanos() + 1;
                let ahead = period.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX));
                due.checked_add(ahead).unwrap_or(far)
            }
        };
        backoff.map_or(next, |backoff| next.max(now + backoff))
    }
}

impl From<Duration> for Every {
    fn from(period: Duration) -> Self {
        Self::new(period)
    }
}

// === impl LoopContext ===

impl LoopContext {
    /// What one run, or the place where loops run, is told beside its work.
    pub(super) fn shared(
        &self,
        label: Arc<str>,
        limit: Duration,
        cancel: CancellationToken,
    ) -> CallShared {
        CallShared {
            servo: self.dispatcher.exchange().servo().clone(),
            event: label,
            command_uid: None,
            deadline: now() + limit.min(DispatchOptions::MAX_TIMEOUT),
            grace: DispatchOptions::DEFAULT_GRACE,
            patience: DispatchOptions::MAX_TIMEOUT,
            stop: Stop::new(cancel),
            progress: None,
            progress_interval: None,
            chain: Chain::default(),
            dispatcher: self.dispatcher.clone(),
        }
    }

    pub(super) fn call(&self, handle: &TaskHandle, limit: Duration) -> CallContext {
        CallContext {
            shared: Arc::new(self.shared(handle.label().clone(), limit, handle.token().clone())),
            connector: self.connector.clone(),
            stage: Stage::On,
        }
    }
}

// === impl Repeated ===

impl Repeated {
    /// Runs it again and again, until it is cancelled.
    pub(super) async fn go_on(mut self, host: Rc<Host>) {
        let handle = self.handle.clone();
        tokio::select! {
            biased;
            () = handle.cancelled() => {}
            () = self.repeat(&host) => {}
        }
    }

    async fn repeat(&mut self, host: &Host) {
        let mut failures = 0;
        let mut due = Instant::now();
        loop {
            match self.once(host).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    self.handle.note_failure();
                    tracing::error!(
                        servo = &**self.context.dispatcher.exchange().servo(),
                        connector = &*self.context.connector,
                        task = &**self.handle.name(),
                        failures,
                        error,
                        "{} {} failed: {error}",
                        self.handle.kind(),
                        self.label(),
                    );
                }
            }
            // Counted from when it was due, not from when the timer rang: no drift.
            due = self.every.next(self.handle.kind(), due, failures);
            sleep_until(due).await;
        }
    }

    async fn once(&mut self, host: &Host) -> Result<(), String> {
        self.handle.note_run();
        let limit = self.every.limit;
        let cx = self.context.call(&self.handle, limit);
        let run = host.run(cx, |connector, cx| (self.run)(connector, cx));
        within(limit, run).await
    }

    fn label(&self) -> String {
        format!(
            "{}:{} (repeating every {})",
            self.context.connector,
            self.handle.name(),
            servo_messages::Duration::from(self.every.period)
        )
    }
}

/// The outcome of one run, as the log tells it.
pub(super) async fn within(
    limit: Duration,
    run: impl Future<Output = Result<(), Failure>>,
) -> Result<(), String> {
    match timeout(limit, run).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Failure::Error(error))) => Err(error.to_string()),
        Ok(Err(Failure::Veto(reason))) => Err(reason),
        Ok(Err(Failure::Ended(error))) => Err(error.to_string()),
        Err(_) => Err(format!(
            "it did not finish within {}",
            servo_messages::Duration::from(limit)
        )),
    }
}

/// A run whose future is that of somebody else's function.
pub(super) fn played(
    run: impl Future<Output = Result<(), EventError>> + 'static,
) -> LocalBoxFuture<'static, Result<(), Failure>> {
    Box::pin(async move { run.await.map_err(Failure::Error) })
}
