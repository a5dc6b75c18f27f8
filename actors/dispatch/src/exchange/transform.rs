//! What changes, stops, splits or merges messages between publishers and subscribers
//! (`spec/events-and-checks.md` §4.8).

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Weak},
};

use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio::{runtime::Handle, time::Instant};

use super::{
    channel::{ChannelError, Exchange, PublishError},
    core::Core,
    message::{Delivery, Message},
    name::{ChannelName, ChannelNameError},
    pipeline::StageSlot,
    selector::Selector,
};
use crate::connector::BoxError;

/// Sees the messages of an exchange before its subscribers do.
///
/// Transformers work one after the other, on one message at a time. One that fails, panics or takes
/// more than 10 s costs that message, and an `ERROR` with its name. [`Filter`], [`Splitter`] and
/// [`Aggregator`](super::Aggregator) are the usual ones.
pub trait Transformer: Send + 'static {
    /// What the log calls it.
    fn name(&self) -> &str;

    /// The channels whose messages it sees. Default: all.
    fn sources(&self) -> Sources {
        Sources::All
    }

    /// Works on one message. What it puts into `out` is published after that message, and goes
    /// through the transformers as well; derived from each other 16 times, messages are dropped.
    fn apply<'a>(
        &'a mut self,
        delivery: &'a Delivery,
        out: &'a mut Outbox,
    ) -> BoxFuture<'a, Result<Flow, BoxError>>;

    /// When [`Transformer::tick`] is to be called next. One that answers none when it is added has
    /// no timer.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// It is time; moves [`Transformer::due`].
    fn tick(&mut self, _out: &mut Outbox) {}
}

/// Channels whose messages a transformer sees.
#[derive(Clone, Debug)]
pub enum Sources {
    /// Those of all channels.
    All,
    /// Those of channels that one of these selects.
    Only(Vec<Selector>),
    /// Those of all but these.
    AllBut(BTreeSet<ChannelName>),
}

/// What becomes of a message.
#[derive(Debug)]
pub enum Flow {
    /// It goes on as it is.
    Pass,
    /// This goes on in its place, on the same channel.
    Replace(Message),
    /// It stops here.
    Drop,
}

/// What a transformer publishes by itself.
#[derive(Debug, Default)]
pub struct Outbox(pub(super) Vec<(ChannelName, Message)>);

/// A transformer at work; dropped, it is removed, with its timer.
#[must_use = "a transformer is removed when this is dropped; see `keep`"]
pub struct Transforming {
    id: u64,
    core: Weak<Core>,
}

/// A transformer cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransformerError {
    /// Its messages would be worked on nowhere.
    #[error("cannot add transformer '{0}' outside of an async runtime")]
    NoRuntime(String),
    /// The exchange was shut down.
    #[error("cannot add transformer '{0}': the Exchange is not running")]
    Ended(String),
}

/// Lets messages pass, drops them or replaces them.
///
/// ```
/// # use servo_dispatch::*;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let exchange = Exchange::new("org/app");
/// let _filter = exchange.transform(Filter::new("shout", |delivery: &Delivery| {
///     let text = delivery.text().ok()?;
///     (!text.is_empty()).then(|| Message::text_of(text.to_uppercase()))
/// }))?;
/// let mut heard = exchange.subscribe("*", SubscribeOptions::default())?;
/// let channel = exchange.channel("words")?;
/// channel.publish(Message::text_of("")).await?;
/// channel.publish(Message::text_of("hello")).await?;
/// assert_eq!(heard.next().await.unwrap().text()?, "HELLO");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Filter {
    name: Box<str>,
    sources: Sources,
    filter: Box<FilterFn>,
}

type FilterFn =
    dyn FnMut(&Delivery) -> BoxFuture<'static, Result<Option<Message>, BoxError>> + Send;

/// Publishes parts of messages to further channels; the messages go on unchanged.
///
/// It sees the messages of all channels but its targets, unless [`Splitter::from`] says otherwise.
///
/// ```
/// # use servo_dispatch::*;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let exchange = Exchange::new("org/app");
/// let split = Splitter::new("words", ["first", "last"], |delivery, parts| {
///     let text = delivery.text()?;
///     parts.publish("first", Message::text_of(text.split(' ').next().unwrap_or_default()))?;
///     parts.publish("last", Message::text_of(text.split(' ').last().unwrap_or_default()))?;
///     Ok(())
/// })?;
/// exchange.transform(split)?.keep();
/// let mut last = exchange.subscribe("last", SubscribeOptions::default())?;
/// exchange.channel("sentences")?.publish(Message::text_of("to be or not")).await?;
/// assert_eq!(last.next().await.unwrap().text()?, "not");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Splitter {
    name: Box<str>,
    targets: BTreeSet<ChannelName>,
    sources: Sources,
    split: Box<SplitFn>,
}

type SplitFn = dyn FnMut(&Delivery, &mut Parts<'_>) -> Result<(), BoxError> + Send;

/// Where a [`Splitter`] puts the parts of a message.
pub struct Parts<'a> {
    targets: &'a BTreeSet<ChannelName>,
    out: &'a mut Outbox,
}

// === impl Exchange ===

impl Exchange {
    /// Adds a transformer behind those that are there.
    ///
    /// # Errors
    /// When the exchange was shut down, or outside of an async runtime.
    pub fn transform(
        &self,
        transformer: impl Transformer,
    ) -> Result<Transforming, TransformerError> {
        self.transform_at(usize::MAX, transformer)
    }

    /// Adds a transformer at place `index`, or last if there are fewer.
    ///
    /// # Errors
    /// As [`Exchange::transform`].
    pub fn transform_at(
        &self,
        index: usize,
        transformer: impl Transformer,
    ) -> Result<Transforming, TransformerError> {
        let name = transformer.name().to_owned();
        let Ok(runtime) = Handle::try_current() else {
            return Err(TransformerError::NoRuntime(name));
        };
        let core = self.core();
        let mut state = core.state();
        if core.has_ended() {
            return Err(TransformerError::Ended(name));
        }
        let id = state.next_id;
        state.next_id += 1;
        let stage = StageSlot::new(id, Box::new(transformer), self.connector().cloned());
        let stage = Arc::new(stage);
        stage.start(core, &runtime);
        state.pipeline.insert(core, index, stage, runtime);
        Ok(Transforming {
            id,
            core: Arc::downgrade(core),
        })
    }
}

// === impl Transforming ===

impl Transforming {
    /// Removes it. Messages that it works on finish.
    pub fn remove(self) {}

    /// Leaves it in place for as long as the exchange lives.
    pub fn keep(mut self) {
        self.core = Weak::new();
    }
}

impl Drop for Transforming {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            core.state().pipeline.remove(&core, self.id);
        }
    }
}

impl fmt::Debug for Transforming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Transforming").field(&self.id).finish()
    }
}

// === impl Outbox ===

impl Outbox {
    /// Publishes `message` to `channel`, which is made if it is missing.
    pub fn publish(&mut self, channel: ChannelName, message: Message) {
        self.0.push((channel, message));
    }
}

// === impl Filter ===

impl Filter {
    /// A filter called `name`: none drops the message, a message goes on in its place.
    pub fn new(
        name: impl Into<Box<str>>,
        mut filter: impl FnMut(&Delivery) -> Option<Message> + Send + 'static,
    ) -> Self {
        Self::with(name, move |delivery| {
            std::future::ready(Ok(filter(delivery)))
        })
    }

    /// A filter that waits for something, or fails.
    pub fn with<F, Fut>(name: impl Into<Box<str>>, mut filter: F) -> Self
    where
        F: FnMut(&Delivery) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<Message>, BoxError>> + Send + 'static,
    {
        Self {
            name: name.into(),
            sources: Sources::All,
            filter: Box::new(move |delivery| Box::pin(filter(delivery))),
        }
    }

    /// For the messages of these channels only.
    #[must_use]
    pub fn from(mut self, sources: impl IntoIterator<Item = Selector>) -> Self {
        self.sources = Sources::Only(sources.into_iter().collect());
        self
    }
}

impl Transformer for Filter {
    fn name(&self) -> &str {
        &self.name
    }

    fn sources(&self) -> Sources {
        self.sources.clone()
    }

    fn apply<'a>(
        &'a mut self,
        delivery: &'a Delivery,
        _: &'a mut Outbox,
    ) -> BoxFuture<'a, Result<Flow, BoxError>> {
        // Called when it is polled, so that its panic is caught.
        Box::pin(async move {
            let done = (self.filter)(delivery).await?;
            Ok(done.map_or(Flow::Drop, Flow::Replace))
        })
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.name).finish()
    }
}

// === impl Splitter ===

impl Splitter {
    /// A splitter called `name` that publishes to `targets`.
    ///
    /// # Errors
    /// When one is no name, or there are none.
    pub fn new<N>(
        name: impl Into<Box<str>>,
        targets: impl IntoIterator<Item = N>,
        split: impl FnMut(&Delivery, &mut Parts<'_>) -> Result<(), BoxError> + Send + 'static,
    ) -> Result<Self, ChannelError>
    where
        N: TryInto<ChannelName>,
        ChannelNameError: From<N::Error>,
    {
        let targets = targets.into_iter().map(TryInto::try_into);
        let targets = targets.collect::<Result<BTreeSet<_>, _>>();
        let targets = targets.map_err(ChannelNameError::from)?;
        if targets.is_empty() {
            return Err(ChannelError::NoChannel);
        }
        Ok(Self {
            name: name.into(),
            sources: Sources::AllBut(targets.clone()),
            targets,
            split: Box::new(split),
        })
    }

    /// For the messages of these channels only, be they targets too.
    #[must_use]
    pub fn from(mut self, sources: impl IntoIterator<Item = Selector>) -> Self {
        self.sources = Sources::Only(sources.into_iter().collect());
        self
    }
}

impl Transformer for Splitter {
    fn name(&self) -> &str {
        &self.name
    }

    fn sources(&self) -> Sources {
        self.sources.clone()
    }

    fn apply<'a>(
        &'a mut self,
        delivery: &'a Delivery,
        out: &'a mut Outbox,
    ) -> BoxFuture<'a, Result<Flow, BoxError>> {
        Box::pin(async move {
            let mut parts = Parts {
                targets: &self.targets,
                out,
            };
            (self.split)(delivery, &mut parts)?;
            Ok(Flow::Pass)
        })
    }
}

impl fmt::Debug for Splitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Splitter")
            .field("name", &self.name)
            .field("targets", &self.targets)
            .finish_non_exhaustive()
    }
}

// === impl Parts ===

impl Parts<'_> {
    /// Publishes `message` to one of the splitter's targets.
    ///
    /// # Errors
    /// When `channel` is none of them.
    pub fn publish(&mut self, channel: &str, message: Message) -> Result<(), PublishError> {
        let channel = ChannelName::try_new(channel)?;
        if !self.targets.contains(&channel) {
            return Err(PublishError::NotBound(channel));
        }
        self.out.publish(channel, message);
        Ok(())
    }
}

impl fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Parts").field(&self.out).finish()
    }
}
