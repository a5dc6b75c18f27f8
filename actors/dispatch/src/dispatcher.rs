//! The actor that routes events through `before`, `on` and `after`
//! (`spec/events-and-checks.md` §2.5).

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message,
    ResponseActFuture, WrapFuture,
};
use futures_util::future::LocalBoxFuture;
use serde_json::Value;
use servo_messages::CommonConfig;
use servo_supervision::{AskError, ChildRef, ChildSpec, Supervised, Supervisor};

use crate::{
    annexe::Annexe,
    bus::Bus,
    clock::Clock,
    context::{CallShared, now},
    dynamic::DynamicEvent,
    event::{Category, Event, interned},
    exchange::Exchange,
    handler::Key,
    lifecycle::Milestone,
    options::{DispatchError, DispatchOptions, DispatchOutcome, ErrorPolicy, EventResult, Nesting},
    repeating::{Homes, TaskKind},
    run::Run,
    stop::Stop,
    telemetry::Ledger,
    visit::Answers,
};

/// How long a dispatcher that is (re)starting is waited for.
const START: Duration = Duration::from_secs(5);
/// What a dispatch may take beyond its timeout and its grace until its dispatcher counts as dead.
const OVERHEAD: Duration = Duration::from_secs(10);

/// Routes the events of one servo to its connectors.
pub struct Dispatcher {
    /// For nested dispatches.
    pub(crate) reference: DispatcherRef,
    clock: Clock,
}

/// Reaches the dispatcher of a servo, across its restarts.
#[derive(Clone)]
pub struct DispatcherRef(Arc<Reached>);

struct Reached {
    actor: ChildRef<Dispatcher>,
    bus: Bus,
    exchange: Exchange,
    homes: Homes,
    /// How the servo's connectors reach others over the network.
    settings: OnceLock<Arc<CommonConfig>>,
    /// Of the servo, for connectors that join it later.
    supervisor: OnceLock<ChildRef<Supervisor>>,
    annexe: OnceLock<Box<Annexe>>,
    /// What connectors tell the optimizer; most have nothing to tell.
    ledger: OnceLock<Box<Ledger>>,
}

struct Dispatch<E: Event> {
    key: Key,
    event: E,
    options: DispatchOptions,
    nesting: Nesting,
    first: bool,
}

impl<E: Event> Message for Dispatch<E> {
    type Result = Result<DispatchOutcome<E::Output>, DispatchError>;
}

// === impl Dispatcher ===

impl Dispatcher {
    /// How to run the dispatcher of the servo named `servo` over `bus`, and how to reach it.
    pub fn spec(servo: Arc<str>, bus: Bus) -> (ChildSpec<Self>, DispatcherRef) {
        let own: Arc<OnceLock<DispatcherRef>> = Arc::default();
        let exchange = Exchange::new(servo);
        let reference = own.clone();
        let spec = ChildSpec::new(interned("dispatcher"), move |_| {
            let reference = reference
                .get()
                .cloned()
                .ok_or("the dispatcher was started before its reference was made")?;
            Ok(Self {
                reference,
                clock: Clock::default(),
            })
        })
        .shutdown(Exchange::DRAIN + Duration::from_secs(1));
        let reference = DispatcherRef(Arc::new(Reached {
            actor: spec.reference(),
            bus,
            exchange,
            homes: Homes::default(),
            settings: OnceLock::new(),
            supervisor: OnceLock::new(),
            annexe: OnceLock::new(),
            ledger: OnceLock::new(),
        }));
        // A fresh cell: nothing else can have filled it.
        let _ = own.set(reference.clone());
        (spec, reference)
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(self.clock.work().into_actor(self));
    }
}

impl Supervised for Dispatcher {
    /// The last of its servo to stop, it ends the servo's exchange.
    fn stop(&mut self, ctx: &mut Self::Context) {
        let exchange = self.reference.exchange().clone();
        if !exchange.is_running() {
            ctx.stop();
            return;
        }
        let drained = async move { exchange.shutdown().await };
        ctx.spawn(
            drained
                .into_actor(self)
                .map(|_, _, ctx: &mut Self::Context| ctx.stop()),
        );
    }
}

impl<E: Event> Handler<Dispatch<E>> for Dispatcher {
    type Result = ResponseActFuture<Self, Result<DispatchOutcome<E::Output>, DispatchError>>;

    fn handle(&mut self, dispatch: Dispatch<E>, _: &mut Self::Context) -> Self::Result {
        let Dispatch {
            key,
            event,
            options,
            nesting,
            first,
        } = dispatch;
        let DispatchOptions {
            scope,
            on_error,
            stages,
            timeout,
            grace,
            cancel,
            command_uid,
            progress,
            progress_interval,
        } = options;
        let lifecycle = (E::CATEGORY == Category::Lifecycle)
            .then(Milestone::of::<E>)
            .flatten();
        // What a connector does by itself must not meddle with its undoing (spec/events-and-checks.md §5).
        let ends = match lifecycle {
            Some(Milestone::Shutdown) => [TaskKind::Repeating, TaskKind::Publisher].as_slice(),
            Some(Milestone::Detach) => TaskKind::ALL.as_slice(),
            Some(Milestone::Attach | Milestone::Startup) | None => &[],
        };
        if !ends.is_empty() {
            self.reference
                .homes()
                .end(ends, |name| scope.includes(name));
        }
        let milestone = lifecycle.filter(|_| !nesting.personal);
        let table = match milestone {
            Some(milestone) => self.reference.bus().begin(milestone),
            None => self.reference.bus().snapshot(),
        };
        // Each time between the two it tells anew; one whose `attach` failed is not told to detach.
        if let Some(Milestone::Attach | Milestone::Detach) = lifecycle {
            self.reference
                .strike_telemetry(|name| milestone.is_some() || scope.includes(name));
        }
        let handlers = table.handlers::<E>(&key);
        let began = now();
        let deadline = nesting.deadline(began, timeout);
        let grace = grace.min(DispatchOptions::MAX_TIMEOUT);
        let shared = CallShared {
            servo: self.reference.servo().clone(),
            event: match (&handlers, key) {
                (Some(handlers), _) => handlers.event.clone(),
                (None, Key::Named(name)) => name,
                (None, Key::Typed(_)) => interned(E::NAME),
            },
            command_uid,
            deadline,
            grace,
            patience: deadline.saturating_duration_since(began) + grace + OVERHEAD,
            stop: Stop::new(cancel),
            progress,
            progress_interval,
            chain: nesting.chain,
            dispatcher: self.reference.clone(),
        };
        let run = Run {
            event: Arc::new(event),
            handlers,
            table,
            bus: self.reference.bus().clone(),
            milestone,
            clock: self.clock.clone(),
            shared: Arc::new(shared),
            scope,
            stages,
            timeout,
            answers: Answers {
                errors_count: on_error == ErrorPolicy::Collect,
                first_only: first,
            },
        };
        Box::pin(run.outcome().into_actor(self))
    }
}

// === impl DispatcherRef ===

impl DispatcherRef {
    /// Dispatches `event` to the connectors of the servo.
    ///
    /// # Errors
    /// When a handler fails under [`ErrorPolicy::FailFast`](crate::ErrorPolicy::FailFast), or a `before` or `after` handler
    /// under either policy; when the time is up or the token fires; when the options name an
    /// unknown connector; when the servo ends.
    pub async fn dispatch<E: Event>(
        &self,
        event: E,
        options: DispatchOptions,
    ) -> Result<DispatchOutcome<E::Output>, DispatchError> {
        self.dispatch_nested(event, options, Nesting::default())
            .await
    }

    pub(crate) async fn dispatch_nested<E: Event>(
        &self,
        event: E,
        options: DispatchOptions,
        nesting: Nesting,
    ) -> Result<DispatchOutcome<E::Output>, DispatchError> {
        self.send(Dispatch {
            key: Key::of::<E>(),
            event,
            options,
            nesting,
            first: false,
        })
        .await
    }

    /// Asks the connectors one by one, in bus order, until one contributes a result.
    ///
    /// # Errors
    /// As [`DispatcherRef::dispatch`].
    pub async fn dispatch_first<E: Event>(
        &self,
        event: E,
        options: DispatchOptions,
    ) -> Result<Option<EventResult<E::Output>>, DispatchError> {
        self.dispatch_first_nested(event, options, Nesting::default())
            .await
    }

    pub(crate) async fn dispatch_first_nested<E: Event>(
        &self,
        event: E,
        options: DispatchOptions,
        nesting: Nesting,
    ) -> Result<Option<EventResult<E::Output>>, DispatchError> {
        let outcome = self
            .send(Dispatch {
                key: Key::of::<E>(),
                event,
                options,
                nesting,
                first: true,
            })
            .await?;
        Ok(outcome.results.into_iter().next())
    }

    /// Dispatches the event that bears `name`, typed or not, with JSON arguments.
    ///
    /// # Errors
    /// [`DispatchError::UnknownEvent`] when nothing declares or handles it,
    /// [`DispatchError::Arguments`] when they do not fit; else as [`DispatcherRef::dispatch`].
    pub fn dispatch_named(
        &self,
        name: &str,
        args: Value,
        options: DispatchOptions,
    ) -> LocalBoxFuture<'static, Result<DispatchOutcome<Value>, DispatchError>> {
        self.dispatch_named_nested(name, args, options, Nesting::default())
    }

    pub(crate) fn dispatch_named_nested(
        &self,
        name: &str,
        args: Value,
        options: DispatchOptions,
        nesting: Nesting,
    ) -> LocalBoxFuture<'static, Result<DispatchOutcome<Value>, DispatchError>> {
        let table = self.0.bus.snapshot();
        if let Some(bridge) = table.bridge(name) {
            return bridge.dispatch(self.clone(), args, options, nesting);
        }
        let name: Arc<str> = name.into();
        let key = Key::Named(name.clone());
        if let Some(declaration) = table.declared(&name) {
            if let Some(message) = declaration.problem(&args) {
                let event = name.to_string();
                return Box::pin(async move { Err(DispatchError::Arguments { event, message }) });
            }
        } else if table.handlers::<DynamicEvent>(&key).is_none() {
            let error = DispatchError::UnknownEvent {
                nearest: nearest(&name, &table.addressable()),
                name: name.to_string(),
            };
            return Box::pin(async move { Err(error) });
        }
        let this = self.clone();
        Box::pin(async move {
            let event = DynamicEvent { name, args };
            this.send(Dispatch {
                key,
                event,
                options,
                nesting,
                first: false,
            })
            .await
        })
    }

    /// The connectors that it dispatches to.
    pub fn bus(&self) -> &Bus {
        &self.0.bus
    }

    /// The channels of the servo.
    pub fn exchange(&self) -> &Exchange {
        &self.0.exchange
    }

    pub(crate) fn homes(&self) -> &Homes {
        &self.0.homes
    }

    /// Name of the servo.
    pub(crate) fn servo(&self) -> &Arc<str> {
        self.0.exchange.servo()
    }

    /// Newcomers reach others as the connectors do that the servo began with.
    pub(crate) fn remember(&self, settings: &Arc<CommonConfig>) {
        self.0.settings.get_or_init(|| settings.clone());
    }

    pub(crate) fn settings(&self) -> Arc<CommonConfig> {
        self.0.settings.get().cloned().unwrap_or_default()
    }

    /// Has connectors that join later live under `supervisor`, beside those that the servo began with.
    /// Without one, none can join.
    pub fn room_for_more(&self, supervisor: ChildRef<Supervisor>) {
        // Said once for each run of the servo.
        let _ = self.0.supervisor.set(supervisor);
    }

    pub(crate) fn supervisor(&self) -> Option<&ChildRef<Supervisor>> {
        self.0.supervisor.get()
    }

    /// What is known of those who have joined or left while the servo ran; none if nobody ever did.
    pub(crate) fn newcomers(&self) -> Option<&Annexe> {
        self.0.annexe.get().map(|annexe| &**annexe)
    }

    pub(crate) fn annexe(&self) -> &Annexe {
        self.0.annexe.get_or_init(Box::default)
    }

    /// What connectors tell the optimizer; none if none ever did.
    pub(crate) fn entered(&self) -> Option<&Ledger> {
        self.0.ledger.get().map(|ledger| &**ledger)
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        self.0.ledger.get_or_init(Box::default)
    }

    async fn send<E: Event>(
        &self,
        dispatch: Dispatch<E>,
    ) -> Result<DispatchOutcome<E::Output>, DispatchError> {
        let DispatchOptions { timeout, grace, .. } = &dispatch.options;
        // The dispatcher keeps the time itself; this is for one that cannot any more.
        let patience = timeout
            .min(&DispatchOptions::MAX_TIMEOUT)
            .saturating_add(*grace)
            .saturating_add(OVERHEAD * 2);
        let answer = async {
            if !self.0.actor.is_up() {
                self.0.actor.wait_until_up(START).await?;
            }
            self.0.actor.ask(dispatch, patience).await
        };
        answer
            .await
            .unwrap_or_else(|error: AskError| Err(DispatchError::Dispatcher(Arc::new(error))))
    }
}

impl fmt::Debug for DispatcherRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DispatcherRef").finish_non_exhaustive()
    }
}

fn nearest(name: &str, known: &[Arc<str>]) -> Option<String> {
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(name, k), k))
        .filter(|(distance, k)| *distance <= 2.max(k.len() / 3))
        .min()
        .map(|(_, k)| k.to_string())
}
