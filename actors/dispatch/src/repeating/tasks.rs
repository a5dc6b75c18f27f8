//! The loops of a connector, by name.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    future::Future,
    marker::PhantomData,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use servo_messages::EventError;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::{
    home::Loop,
    looping::{Every, LoopContext, Repeated, RunFn, played, within},
};
use crate::{
    context::HandlerContext,
    dispatcher::DispatcherRef,
    exchange::{
        ChannelError, ChannelName, ChannelNameError, Delivery, Message, Selector,
        SelectorSyntaxError, SubscribeOptions, Subscription,
    },
    handler::{CallFuture, Failure},
    host::Host,
    options::DispatchOptions,
};

/// What a connector does beside handling events: tasks that repeat, publishers, subscribers.
///
/// They run inside the connector's actor: a panic in one is the connector's, which is built anew,
/// and all of them end with it. An error is logged with the name, and they go on. Repeating tasks
/// and publishers end with `shutdown`, subscribers with `detach`.
///
/// What a connector always does is declared in its routes instead
/// ([`Routes::every`](crate::Routes::every),
/// [`Routes::publish_every`](crate::Routes::publish_every),
/// [`Routes::subscribe`](crate::Routes::subscribe)): then it begins with `startup`, also after a
/// restart, and is given the connector itself.
///
/// ```
/// # use servo_dispatch::*;
/// # use servo_messages::EventError;
/// # use std::time::Duration;
/// async fn watch(cx: &HandlerContext) -> Result<(), StartError> {
///     let every = Every::new(Duration::from_secs(10)).fixed_rate();
///     cx.tasks().every("watch", every, |cx| async move {
///         tracing::info!(task = cx.event(), "still here");
///         Ok(())
///     })?;
///     cx.tasks().subscribe("listen", "loadgen.*", SubscribeOptions::default(), |delivery, _| {
///         async move {
///             tracing::info!(channel = %delivery.channel(), "more load");
///             Ok(())
///         }
///     })?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Tasks {
    pub(super) context: LoopContext,
    /// Belongs to the connector's arbiter.
    local: PhantomData<Rc<()>>,
}

/// What a loop of a connector is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskKind {
    /// It repeats.
    Repeating,
    /// It publishes at an interval.
    Publisher,
    /// It is called for each message.
    Subscriber,
}

/// A loop of a connector, for whoever wants to know of it or to end it.
#[derive(Clone)]
pub struct TaskHandle(Arc<Known>);

struct Known {
    kind: TaskKind,
    name: Arc<str>,
    /// What logs and the tree say beside the connector's name.
    label: Arc<str>,
    cancel: CancellationToken,
    done: CancellationToken,
    runs: AtomicU64,
    failures: AtomicU64,
}

/// Something cannot be begun.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StartError {
    /// There is one of that kind and name, and it goes on.
    #[error("{}", exists(*.0, .1))]
    Exists(TaskKind, Arc<str>),
    /// No channel to publish to.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// No selector to subscribe by.
    #[error(transparent)]
    Selector(#[from] SelectorSyntaxError),
    /// The connector was not mounted on its servo, so there is no actor to run it in.
    #[error("connector '{0}' has no actor that '{1}' could run in: mount it by its type")]
    NoActor(Arc<str>, Arc<str>),
}

/// There is nothing of these names to cancel; those that there are were cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no {kind} named {}", quoted(.names))]
pub struct UnknownTask {
    /// What was looked for.
    pub kind: TaskKind,
    /// The names that nothing bears.
    pub names: Vec<String>,
}

tokio::task_local! {
    static CURRENT: Delivery;
}

/// The message that the subscriber at work is called for; none outside of subscribers.
pub fn current_message() -> Option<Delivery> {
    CURRENT.try_with(Clone::clone).ok()
}

fn exists(kind: TaskKind, name: &str) -> String {
    match kind {
        TaskKind::Repeating => format!("repeating task already exists named '{name}'"),
        TaskKind::Publisher => format!("a Publisher named '{name}' already exists"),
        TaskKind::Subscriber => format!("a Subscriber named '{name}' already exists"),
    }
}

fn quoted(names: &[String]) -> String {
    let names = names.iter().map(|name| format!("'{name}'"));
    names.collect::<Vec<_>>().join(", ")
}

/// Marks a loop as done, whatever ended it.
struct Done(TaskHandle);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.0.done.cancel();
    }
}

// === impl Tasks ===

impl Tasks {
    pub(crate) fn new(dispatcher: DispatcherRef, connector: Arc<str>) -> Self {
        Self {
            context: LoopContext {
                connector,
                dispatcher,
            },
            local: PhantomData,
        }
    }

    /// Runs `task` at once and then again and again.
    ///
    /// A failing run is logged, and the task goes on at its next turn; from the fifth failure in a
    /// row on it backs off, up to 60 s.
    ///
    /// # Errors
    /// When a task of that name goes on.
    pub fn every<F, Fut>(
        &self,
        name: &str,
        every: impl Into<Every>,
        mut task: F,
    ) -> Result<TaskHandle, StartError>
    where
        F: FnMut(HandlerContext) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), EventError>> + 'static,
    {
        self.repeat(name, every.into(), Box::new(move |_, cx| played(task(cx))))
    }

    pub(super) fn repeat(
        &self,
        name: &str,
        every: Every,
        run: RunFn,
    ) -> Result<TaskHandle, StartError> {
        self.begin(TaskKind::Repeating, name, every, run)
    }

    /// Publishes what `make` makes to `channels`, at once and then again and again; none is
    /// nothing to publish this time.
    ///
    /// A failing run is logged, and tried again at its next turn, or after a back-off of 1 to 60 s
    /// if that is later.
    ///
    /// # Errors
    /// When a publisher of that name goes on, or one of the channels is no name.
    pub fn publish_every<N, F, Fut>(
        &self,
        name: &str,
        channels: impl IntoIterator<Item = N>,
        every: impl Into<Every>,
        mut make: F,
    ) -> Result<TaskHandle, StartError>
    where
        N: TryInto<ChannelName>,
        ChannelNameError: From<N::Error>,
        F: FnMut(HandlerContext) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<Message>, EventError>> + 'static,
    {
        let channels = channels.into_iter().map(TryInto::try_into);
        let channels = channels.collect::<Result<Vec<ChannelName>, _>>();
        let channels =
            channels.map_err(|error| ChannelError::from(ChannelNameError::from(error)))?;
        let make = move |_, cx| -> CallFuture<Option<Message>> {
            let made = make(cx);
            Box::pin(async move { made.await.map_err(Failure::Error) })
        };
        self.publish_repeatedly(name, channels, every.into(), make)
    }

    pub(super) fn publish_repeatedly(
        &self,
        name: &str,
        channels: Vec<ChannelName>,
        every: Every,
        mut make: impl FnMut(Rc<dyn Any>, HandlerContext) -> CallFuture<Option<Message>>
        + Send
        + 'static,
    ) -> Result<TaskHandle, StartError> {
        let LoopContext {
            connector,
            dispatcher,
        } = &self.context;
        let exchange = dispatcher.exchange().on_behalf_of(connector.clone());
        let publisher = Arc::new(exchange.publisher(channels)?);
        let run: RunFn = Box::new(move |connector, cx| {
            let (made, publisher) = (make(connector, cx), publisher.clone());
            Box::pin(async move {
                let Some(message) = made.await? else {
                    return Ok(());
                };
                let published = publisher.publish(message).await;
                published.map_err(|error| Failure::Error(EventError::failed(error.to_string())))
            })
        });
        self.begin(TaskKind::Publisher, name, every, run)
    }

    /// Calls `handle` for each message of the selected channels, for one after the other.
    ///
    /// A failing call is logged, and the next message comes. Messages are received from now on.
    /// It ends by itself when its subscription does.
    ///
    /// # Errors
    /// When a subscriber of that name goes on, or that is no selector.
    pub fn subscribe<S, F, Fut>(
        &self,
        name: &str,
        selector: S,
        options: SubscribeOptions,
        mut handle: F,
    ) -> Result<TaskHandle, StartError>
    where
        S: TryInto<Selector>,
        SelectorSyntaxError: From<S::Error>,
        F: FnMut(Delivery, HandlerContext) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), EventError>> + 'static,
    {
        let selector = selector.try_into().map_err(SelectorSyntaxError::from)?;
        self.listen(name, selector, options, move |_, delivery, cx| {
            played(handle(delivery, cx))
        })
    }

    pub(super) fn listen(
        &self,
        name: &str,
        selector: Selector,
        options: SubscribeOptions,
        mut call: impl FnMut(Rc<dyn Any>, Delivery, HandlerContext) -> CallFuture<()> + Send + 'static,
    ) -> Result<TaskHandle, StartError> {
        let exchange = self.context.dispatcher.exchange();
        let options = options.named(format!("{}:{name}", self.context.connector));
        let subscription = exchange.subscribe(selector, options)?;
        let handle = TaskHandle::new(TaskKind::Subscriber, name);
        let (known, context) = (handle.clone(), self.context.clone());
        self.start(handle, move |host| {
            Box::pin(async move {
                let calls = receive(subscription, &host, &known, &context, &mut call);
                tokio::select! {
                    biased;
                    () = known.cancelled() => {}
                    () = calls => {}
                }
            })
        })
    }

    fn begin(
        &self,
        kind: TaskKind,
        name: &str,
        every: Every,
        run: RunFn,
    ) -> Result<TaskHandle, StartError> {
        let handle = TaskHandle::new(kind, name);
        let repeated = Repeated {
            handle: handle.clone(),
            every,
            context: self.context.clone(),
            run,
        };
        self.start(handle, move |host| Box::pin(repeated.go_on(host)))
    }

    fn start(
        &self,
        handle: TaskHandle,
        work: impl FnOnce(Rc<Host>) -> futures_util::future::LocalBoxFuture<'static, ()>
        + Send
        + 'static,
    ) -> Result<TaskHandle, StartError> {
        let LoopContext {
            connector,
            dispatcher,
        } = &self.context;
        let Some((home, door)) = dispatcher.homes().open(connector) else {
            return Err(StartError::NoActor(
                connector.clone(),
                handle.name().clone(),
            ));
        };
        let done = Done(handle.clone());
        let make = move |previous: Option<TaskHandle>| -> Loop {
            Box::new(move |host| {
                Box::pin(async move {
                    let _done = done;
                    // Cancelled, but perhaps in the middle of a run: never two at a time.
                    if let Some(previous) = previous {
                        previous.done().await;
                    }
                    work(host).await;
                })
            })
        };
        let shared = || {
            let cancel = CancellationToken::new();
            let limit = DispatchOptions::MAX_TIMEOUT;
            self.context.shared("tasks".into(), limit, cancel)
        };
        home.take_in(door, shared, &handle, make)
            .map_err(|_| StartError::Exists(handle.kind(), handle.name().clone()))?;
        Ok(handle)
    }

    /// Ends the repeating task of that name, in the middle of a run where it waits; none if there
    /// is none. Cancelling twice is the same as once.
    pub fn cancel(&self, name: &str) -> Option<TaskHandle> {
        let home = self
            .context
            .dispatcher
            .homes()
            .find(&self.context.connector)?;
        let handle = home.handle(TaskKind::Repeating, name)?;
        handle.cancel();
        Some(handle)
    }

    /// Ends all repeating tasks. Those that have ended stay listed.
    pub fn cancel_all(&self) -> BTreeMap<Arc<str>, TaskHandle> {
        let all = self.all(TaskKind::Repeating);
        all.values().for_each(TaskHandle::cancel);
        all
    }

    /// Ends the publishers of these names; all, if none is given.
    ///
    /// # Errors
    /// When there are none of some names.
    pub fn cancel_publishers(&self, names: &[&str]) -> Result<(), UnknownTask> {
        self.cancel_named(TaskKind::Publisher, names)
    }

    /// Ends the subscribers of these names; all, if none is given.
    ///
    /// # Errors
    /// When there are none of some names.
    pub fn cancel_subscribers(&self, names: &[&str]) -> Result<(), UnknownTask> {
        self.cancel_named(TaskKind::Subscriber, names)
    }

    fn cancel_named(&self, kind: TaskKind, names: &[&str]) -> Result<(), UnknownTask> {
        let all = self.all(kind);
        if names.is_empty() {
            all.values().for_each(TaskHandle::cancel);
            return Ok(());
        }
        let mut unknown = Vec::new();
        for name in names {
            match all.get(*name) {
                Some(handle) => handle.cancel(),
                None => unknown.push((*name).to_owned()),
            }
        }
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(UnknownTask {
                kind,
                names: unknown,
            })
        }
    }

    /// Those of one kind, by name, with those that have ended.
    pub fn all(&self, kind: TaskKind) -> BTreeMap<Arc<str>, TaskHandle> {
        let home = self
            .context
            .dispatcher
            .homes()
            .find(&self.context.connector);
        let all = home.map(|home| home.handles()).unwrap_or_default();
        let of_kind = all.into_iter().filter(|((k, _), _)| *k == kind);
        of_kind.map(|((_, name), handle)| (name, handle)).collect()
    }
}

/// Calls for one message after the other.
async fn receive(
    mut subscription: Subscription,
    host: &Host,
    handle: &TaskHandle,
    context: &LoopContext,
    call: &mut impl FnMut(Rc<dyn Any>, Delivery, HandlerContext) -> CallFuture<()>,
) {
    let limit = DispatchOptions::DEFAULT_TIMEOUT;
    while let Some(delivery) = subscription.next().await {
        handle.note_run();
        let channel = delivery.channel().clone();
        let cx = context.call(handle, limit);
        let called = host.run(cx, |connector, cx| {
            let called =
                CURRENT.sync_scope(delivery.clone(), || call(connector, delivery.clone(), cx));
            Box::pin(CURRENT.scope(delivery, called))
        });
        if let Err(error) = within(limit, called).await {
            handle.note_failure();
            tracing::error!(
                servo = &**context.dispatcher.exchange().servo(),
                connector = &*context.connector,
                subscriber = &**handle.name(),
                %channel,
                error,
                "Subscriber raised exception: {error}"
            );
        }
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks")
            .field("connector", &self.context.connector)
            .finish_non_exhaustive()
    }
}

// === impl TaskHandle ===

impl TaskHandle {
    fn new(kind: TaskKind, name: &str) -> Self {
        Self(Arc::new(Known {
            kind,
            name: name.into(),
            label: format!("{}:{name}", kind.word()).into(),
            cancel: CancellationToken::new(),
            done: CancellationToken::new(),
            runs: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }))
    }

    /// What it is for.
    pub fn kind(&self) -> TaskKind {
        self.0.kind
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// Ends it, in the middle of a run where it waits. Its name is free at once.
    pub fn cancel(&self) {
        self.0.cancel.cancel();
    }

    /// Whether it goes on.
    pub fn is_live(&self) -> bool {
        !self.0.cancel.is_cancelled() && !self.0.done.is_cancelled()
    }

    /// Waits until nothing of it runs any more.
    pub async fn done(&self) {
        self.0.done.cancelled().await;
    }

    /// How often it has run, or how many messages it was called for.
    pub fn runs(&self) -> u64 {
        self.0.runs.load(Ordering::Relaxed)
    }

    /// How many of its runs have failed.
    pub fn failures(&self) -> u64 {
        self.0.failures.load(Ordering::Relaxed)
    }

    pub(super) async fn cancelled(&self) {
        self.0.cancel.cancelled().await;
    }

    pub(super) fn label(&self) -> &Arc<str> {
        &self.0.label
    }

    pub(super) fn token(&self) -> &CancellationToken {
        &self.0.cancel
    }

    pub(super) fn note_run(&self) {
        self.0.runs.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_failure(&self) {
        self.0.failures.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for TaskHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("kind", &self.0.kind)
            .field("name", &self.0.name)
            .field("live", &self.is_live())
            .field("runs", &self.runs())
            .field("failures", &self.failures())
            .finish()
    }
}

// === impl TaskKind ===

impl TaskKind {
    pub(crate) const ALL: [Self; 3] = [Self::Repeating, Self::Publisher, Self::Subscriber];

    fn word(self) -> &'static str {
        match self {
            TaskKind::Repeating => "task",
            TaskKind::Publisher => "publisher",
            TaskKind::Subscriber => "subscriber",
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskKind::Repeating => "repeating task",
            TaskKind::Publisher => "publisher",
            TaskKind::Subscriber => "subscriber",
        })
    }
}
