//! What a handler is told beside the event: who it is, for whom it works, until when.

use std::{
    fmt,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use servo_messages::EventError;
use servo_supervision::Turn;
use tokio_util::sync::CancellationToken;

use crate::{
    dispatcher::DispatcherRef,
    event::{Event, Stage},
    exchange::Exchange,
    options::{DispatchError, DispatchOptions, DispatchOutcome, EventResult, Nesting},
    repeating::Tasks,
    stop::Stop,
};

/// One step of progress of one connector within one dispatch.
#[derive(Clone, Debug)]
pub struct ProgressUpdate {
    /// The connector that reports.
    pub connector: Arc<str>,
    /// 0 to 100.
    pub percent: f64,
    /// Text for people.
    pub message: Option<String>,
    /// Since the reporting handler began.
    pub runtime: Duration,
}

/// Where progress goes. Called on the handler's arbiter, so it must not block.
pub type ProgressSink = Arc<dyn Fn(ProgressUpdate) + Send + Sync>;

/// The events and connectors that led to a nested dispatch, outermost first.
#[derive(Clone, Debug, Default)]
pub struct Chain(Option<Arc<Link>>);

#[derive(Debug)]
struct Link {
    event: Arc<str>,
    connector: Arc<str>,
    depth: usize,
    parent: Chain,
}

/// What all handlers of one dispatch have in common.
pub(crate) struct CallShared {
    pub(crate) servo: Arc<str>,
    pub(crate) event: Arc<str>,
    pub(crate) command_uid: Option<Arc<str>>,
    pub(crate) deadline: Instant,
    pub(crate) grace: Duration,
    /// How long a connector is waited for that neither answers nor is ended by its supervisor.
    pub(crate) patience: Duration,
    pub(crate) stop: Stop,
    pub(crate) progress: Option<ProgressSink>,
    pub(crate) progress_interval: Option<Duration>,
    pub(crate) chain: Chain,
    pub(crate) dispatcher: DispatcherRef,
}

/// What travels with one call of one handler.
#[derive(Clone)]
pub(crate) struct CallContext {
    pub(crate) shared: Arc<CallShared>,
    pub(crate) connector: Arc<str>,
    pub(crate) stage: Stage,
}

/// The time by the runtime's clock, which tests can move.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What a handler is told beside the event.
///
/// It also carries the handler's way back: progress reports, nested dispatches, and the
/// cancellation that every long wait must select on.
pub struct HandlerContext {
    call: CallContext,
    started: Instant,
    turn: Rc<Turn>,
}

// === impl Chain ===

impl Chain {
    /// Deepest nesting of dispatches; past it something asks in circles.
    pub const MAX_DEPTH: usize = 16;

    pub(crate) fn depth(&self) -> usize {
        self.0.as_ref().map_or(0, |link| link.depth)
    }

    fn push(&self, event: Arc<str>, connector: Arc<str>) -> Self {
        Self(Some(Arc::new(Link {
            event,
            connector,
            depth: self.depth() + 1,
            parent: self.clone(),
        })))
    }

    /// Whether `connector` is already at work on `event` further up.
    pub(crate) fn contains(&self, event: &str, connector: &str) -> bool {
        let mut link = self.0.as_ref();
        while let Some(current) = link {
            if &*current.event == event && &*current.connector == connector {
                return true;
            }
            link = current.parent.0.as_ref();
        }
        false
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(link) = &self.0 {
            if link.parent.0.is_some() {
                write!(f, "{} > ", link.parent)?;
            }
            write!(f, "{}[{}]", link.connector, link.event)?;
        }
        Ok(())
    }
}

// === impl CallContext ===

impl CallContext {
    /// The span that every log line of the handler stands in.
    pub(crate) fn span(&self) -> tracing::Span {
        tracing::info_span!(
            "handler",
            servo = &*self.shared.servo,
            connector = &*self.connector,
            event = &*self.shared.event,
            stage = self.stage.as_str(),
            command_uid = self.shared.command_uid.as_deref(),
        )
    }
}

// === impl HandlerContext ===

impl HandlerContext {
    pub(crate) fn new(call: CallContext, turn: Rc<Turn>) -> Self {
        let started = now();
        // A handler may use the whole time of its dispatch, and the grace to clean up after its
        // token fires. Only then is its connector stuck (spec/events-and-checks.md §2.5).
        let left = call.shared.deadline.saturating_duration_since(started);
        let legal = left.saturating_add(call.shared.grace);
        turn.protect(legal);
        Self {
            call,
            started,
            turn,
        }
    }

    /// What the handler is told, once more: for code around it.
    pub(crate) fn same_handler(&self) -> Self {
        Self {
            call: self.call.clone(),
            started: self.started,
            turn: self.turn.clone(),
        }
    }

    /// Name of the servo.
    pub fn servo(&self) -> &str {
        &self.call.shared.servo
    }

    /// Name of the connector that this handler belongs to.
    pub fn connector(&self) -> &str {
        &self.call.connector
    }

    /// Name of the event.
    pub fn event(&self) -> &str {
        &self.call.shared.event
    }

    /// The stage that this handler runs in.
    pub fn stage(&self) -> Stage {
        self.call.stage
    }

    /// The optimizer's id of the command that caused the event, if one did.
    pub fn command_uid(&self) -> Option<&str> {
        self.call.shared.command_uid.as_deref()
    }

    /// When the dispatch ends at the latest, by the runtime's clock. The cancellation token fires
    /// then.
    pub fn deadline(&self) -> Instant {
        self.call.shared.deadline
    }

    /// When this handler began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Fires when the handler should stop: a sibling failed, the optimizer cancelled, the
    /// deadline passed, the servo shuts down. The handler has [`HandlerContext::grace`] left.
    pub fn cancellation(&self) -> &CancellationToken {
        self.call.shared.stop.token()
    }

    /// How long a handler may clean up after its token fired.
    pub fn grace(&self) -> Duration {
        self.call.shared.grace
    }

    /// Whether the handler should stop.
    pub fn is_cancelled(&self) -> bool {
        self.call.shared.stop.is_told()
    }

    /// What a handler answers when it stops because its token fired.
    pub fn cancelled(&self) -> EventError {
        EventError::cancelled(format!("{} was cancelled", self.call.shared.event))
    }

    /// Waits for `duration`, or until the token fires.
    ///
    /// # Errors
    /// [`HandlerContext::cancelled`] when the token fired first.
    pub async fn sleep(&self, duration: Duration) -> Result<(), EventError> {
        tokio::select! {
            () = tokio::time::sleep(duration) => Ok(()),
            () = self.call.shared.stop.token().cancelled() => Err(self.cancelled()),
        }
    }

    /// Waits for `total`, reporting progress with `text` every `interval`, or as often as whoever waits
    /// wants to hear of it.
    ///
    /// # Errors
    /// [`HandlerContext::cancelled`] when the token fired first.
    pub async fn sleep_with_progress(
        &self,
        total: Duration,
        interval: Duration,
        text: &str,
    ) -> Result<(), EventError> {
        let began = tokio::time::Instant::now();
        let wanted = self.call.shared.progress_interval.unwrap_or(interval);
        let interval = interval.min(wanted).max(Duration::from_millis(10));
        loop {
            let elapsed = began.elapsed();
            if elapsed >= total {
                return Ok(());
            }
            let percent = 100.0 * elapsed.as_secs_f64() / total.as_secs_f64();
            self.progress(
                percent,
                Some(format!(
                    "{text} ({percent:.2}% complete, {} elapsed)",
                    servo_messages::Duration::from(Duration::from_millis(
                        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
                    ))
                )),
            );
            self.sleep(interval.min(total - elapsed)).await?;
        }
    }

    /// Reports progress, `percent` from 0 to 100; goes to whoever dispatched the event.
    pub fn progress(&self, percent: f64, message: Option<String>) {
        tracing::debug!(percent, message = message.as_deref(), "progress");
        if let Some(sink) = &self.call.shared.progress {
            sink(ProgressUpdate {
                connector: self.call.connector.clone(),
                percent: if percent.is_finite() {
                    percent.clamp(0.0, 100.0)
                } else {
                    0.0
                },
                message,
                runtime: now().saturating_duration_since(self.started),
            });
        }
    }

    /// Shortens or lengthens the time after which this connector counts as stuck.
    ///
    /// Without it, that is the deadline of the dispatch plus the grace.
    pub fn protect(&self, duration: Duration) {
        self.turn.protect(duration);
    }

    /// The channels of the servo; what is published through this comes from this connector.
    pub fn exchange(&self) -> Exchange {
        let exchange = self.call.shared.dispatcher.exchange();
        exchange.on_behalf_of(self.call.connector.clone())
    }

    /// What this connector does beside handling events: repeating tasks, publishers, subscribers.
    pub fn tasks(&self) -> Tasks {
        let dispatcher = &self.call.shared.dispatcher;
        Tasks::new(dispatcher.clone(), self.call.connector.clone())
    }

    /// Dispatches `event` to the other connectors of the servo, as part of this handler's work:
    /// same command, a deadline no later than its own, cancelled with it or by the options' token.
    ///
    /// A connector that is already at work on the same event is never asked again.
    ///
    /// # Errors
    /// As [`DispatcherRef::dispatch`]; [`DispatchError::Cycle`] when dispatches nest too deeply or
    /// the options name a connector that is at work on this event already.
    pub async fn dispatch<E: Event>(
        &self,
        event: E,
        options: DispatchOptions,
    ) -> Result<DispatchOutcome<E::Output>, DispatchError> {
        self.nested(options, |dispatcher, options, nesting| {
            dispatcher.dispatch_nested(event, options, nesting)
        })
        .await
    }

    /// Asks the other connectors one by one until one contributes a result, else as
    /// [`HandlerContext::dispatch`].
    ///
    /// # Errors
    /// As [`HandlerContext::dispatch`].
    pub async fn dispatch_first<E: Event>(
        &self,
        event: E,
        options: DispatchOptions,
    ) -> Result<Option<EventResult<E::Output>>, DispatchError> {
        self.nested(options, |dispatcher, options, nesting| {
            dispatcher.dispatch_first_nested(event, options, nesting)
        })
        .await
    }

    /// Dispatches the event that bears `name`, with JSON arguments, else as
    /// [`HandlerContext::dispatch`].
    ///
    /// # Errors
    /// As [`HandlerContext::dispatch`] and [`DispatcherRef::dispatch_named`].
    pub async fn dispatch_named(
        &self,
        name: &str,
        args: Value,
        options: DispatchOptions,
    ) -> Result<DispatchOutcome<Value>, DispatchError> {
        self.nested(options, |dispatcher, options, nesting| {
            dispatcher.dispatch_named_nested(name, args, options, nesting)
        })
        .await
    }

    pub(crate) fn dispatcher(&self) -> &DispatcherRef {
        &self.call.shared.dispatcher
    }

    pub(crate) fn connector_name(&self) -> Arc<str> {
        self.call.connector.clone()
    }

    /// What ties a dispatch to this handler's own.
    pub(crate) fn nesting(
        &self,
        options: DispatchOptions,
    ) -> (&DispatcherRef, DispatchOptions, Nesting) {
        let shared = &self.call.shared;
        let nesting = Nesting {
            chain: shared
                .chain
                .push(shared.event.clone(), self.call.connector.clone()),
            not_after: Some(shared.deadline),
            personal: false,
        };
        (&shared.dispatcher, options.nested(&self.call), nesting)
    }

    /// Makes a dispatch that is tied to this handler's own.
    async fn nested<'a, T, D>(
        &'a self,
        options: DispatchOptions,
        begin: impl FnOnce(&'a DispatcherRef, DispatchOptions, Nesting) -> D,
    ) -> T
    where
        D: Future<Output = T>,
    {
        let asked_to_end = options.cancel.clone();
        let (dispatcher, options, nesting) = self.nesting(options);
        let end = options.cancel.clone();
        let dispatch = begin(dispatcher, options, nesting);
        tokio::pin!(dispatch);
        tokio::select! {
            biased;
            outcome = &mut dispatch => outcome,
            () = asked_to_end.cancelled() => {
                end.cancel();
                dispatch.await
            }
        }
    }
}

impl fmt::Debug for HandlerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerContext")
            .field("servo", &self.call.shared.servo)
            .field("connector", &self.call.connector)
            .field("event", &self.call.shared.event)
            .field("stage", &self.call.stage)
            .field("command_uid", &self.call.shared.command_uid)
            .finish_non_exhaustive()
    }
}
