//! The handles: an exchange, its channels, and those who publish to them.

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use jiff::Timestamp;
use thiserror::Error;

use super::{
    core::{Core, Drained, Lane},
    message::Message,
    name::{ChannelName, ChannelNameError},
    selector::{Selector, SelectorSyntaxError},
    subscription::{SubscribeOptions, Subscription},
};

/// The channels of one servo: whoever publishes to one and whoever subscribes to it need not know
/// each other.
///
/// Connectors have it from [`ConnectorContext`](crate::ConnectorContext) and
/// [`HandlerContext`](crate::HandlerContext), others from
/// [`DispatcherRef::exchange`](crate::DispatcherRef::exchange). It starts when it is first used; before that it costs
/// next to nothing. It ends with its servo.
///
/// All subscribers of a channel see its messages in the same order. What a subscriber has not
/// read waits in a queue of its own, whose length and [`Overflow`](super::Overflow) it says when it
/// subscribes; a slow one costs the others nothing.
///
/// ```
/// use servo_dispatch::{Exchange, Message, SubscribeOptions};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let exchange = Exchange::new("org/app");
/// let mut load = exchange.subscribe("loadgen.*", SubscribeOptions::default())?;
///
/// let channel = exchange.channel("loadgen.mine")?;
/// channel.publish(Message::text_of("10 requests")).await?;
///
/// let delivery = load.next().await.expect("the exchange is up");
/// assert_eq!(delivery.channel(), &"loadgen.mine");
/// assert_eq!(delivery.text()?, "10 requests");
/// assert_eq!(delivery.metadata("servo"), Some("org/app"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Exchange {
    shared: Arc<Shared>,
    /// On whose behalf this handle publishes.
    connector: Option<Arc<str>>,
}

struct Shared {
    servo: Arc<str>,
    core: OnceLock<Arc<Core>>,
}

/// A channel of an exchange.
#[derive(Clone)]
pub struct Channel {
    exchange: Exchange,
    core: Arc<Core>,
    lane: Arc<Lane>,
}

/// A channel that is closed and removed when this is dropped, unless it was there before.
#[derive(Debug)]
#[must_use = "the channel is closed when this is dropped"]
pub struct TemporaryChannel {
    channel: Channel,
    is_own: bool,
}

/// Publishes to one or more channels at once.
pub struct Publisher {
    channels: Vec<Channel>,
}

/// A channel cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChannelError {
    /// Not a name.
    #[error(transparent)]
    Name(#[from] ChannelNameError),
    /// There is one of that name.
    #[error("A Channel named '{0}' already exists")]
    Exists(ChannelName),
    /// There is none of that name.
    #[error("no such Channel: {0}")]
    Unknown(ChannelName),
    /// It was closed before.
    #[error("Channel is already closed")]
    AlreadyClosed(ChannelName),
    /// Its messages are values of another type.
    #[error("channel '{channel}' carries {is}, not {asked}")]
    OtherType {
        /// The channel.
        channel: ChannelName,
        /// The type that its messages have.
        is: &'static str,
        /// The type that was asked for.
        asked: &'static str,
    },
    /// A publisher needs at least one channel.
    #[error("a Publisher needs at least one Channel")]
    NoChannel,
}

/// A message was not published.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublishError {
    /// The channel is closed.
    #[error("Cannot publish messages to a closed Channel: '{0}'")]
    Closed(ChannelName),
    /// There is no such channel.
    #[error("no such Channel: {0}")]
    Unknown(ChannelName),
    /// Not a name.
    #[error(transparent)]
    Name(#[from] ChannelNameError),
    /// The publisher is for other channels.
    #[error("Publisher is not bound to Channel: '{0}'")]
    NotBound(ChannelName),
    /// The channel's messages are values of a certain type, and this is none.
    #[error(
        "channel '{channel}' carries values of type {expected} only: publish through its typed channel"
    )]
    OtherType {
        /// The channel.
        channel: ChannelName,
        /// The type.
        expected: &'static str,
    },
    /// There is no room: a subscriber that wants to be waited for is behind, or the transformers
    /// are.
    #[error("channel '{0}' has no room for another message now: try again, or wait by `publish`")]
    Busy(ChannelName),
    /// The exchange was shut down.
    #[error("the Exchange is not running: it was shut down with its servo")]
    Ended,
}

/// An exchange that is not running cannot be shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the Exchange is not running")]
pub struct NotRunning;

/// An exchange at one moment, as operators look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeStatus {
    /// It was used, and not shut down.
    pub running: bool,
    /// Its channels, by name.
    pub channels: Vec<ChannelName>,
    /// Publishers that are bound to channels.
    pub publishers: usize,
    /// Subscriptions that go on.
    pub subscribers: usize,
    /// Transformers in place.
    pub transformers: usize,
    /// Messages on their way to the subscribers or waiting for them.
    pub queued: usize,
}

// === impl Exchange ===

impl Exchange {
    /// How long [`Exchange::shutdown`] waits for subscribers.
    pub const DRAIN: Duration = Duration::from_secs(5);

    /// The exchange of the servo named `servo`, unused as yet.
    pub fn new(servo: impl Into<Arc<str>>) -> Self {
        Self {
            shared: Arc::new(Shared {
                servo: servo.into(),
                core: OnceLock::new(),
            }),
            connector: None,
        }
    }

    /// The same exchange, to publish on behalf of `connector`.
    #[must_use]
    pub fn on_behalf_of(&self, connector: impl Into<Arc<str>>) -> Self {
        Self {
            shared: self.shared.clone(),
            connector: Some(connector.into()),
        }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        let start = || Core::new(self.shared.servo.clone());
        self.shared.core.get_or_init(start)
    }

    /// Name of the servo.
    pub fn servo(&self) -> &Arc<str> {
        &self.shared.servo
    }

    pub(super) fn connector(&self) -> Option<&Arc<str>> {
        self.connector.as_ref()
    }

    /// Whether it was used, and not shut down.
    pub fn is_running(&self) -> bool {
        self.shared.core.get().is_some_and(|c| !c.has_ended())
    }

    /// The channel called `name`; made if there is none.
    ///
    /// # Errors
    /// When that is no name.
    pub fn channel<N>(&self, name: N) -> Result<Channel, ChannelError>
    where
        N: TryInto<ChannelName>,
        ChannelNameError: From<N::Error>,
    {
        let name = name.try_into().map_err(ChannelNameError::from)?;
        Ok(self.handle(Self::lane(self.core(), name, None)))
    }

    /// The channel called `name`, if there is one.
    pub fn find_channel(&self, name: &str) -> Option<Channel> {
        let name = ChannelName::try_new(name).ok()?;
        let lane = self.shared.core.get()?.state().channels.get(&name).cloned();
        lane.map(|lane| self.handle(lane))
    }

    /// A new channel.
    ///
    /// # Errors
    /// When that is no name, or there is a channel of that name.
    pub fn create_channel<N>(
        &self,
        name: N,
        description: Option<&str>,
    ) -> Result<Channel, ChannelError>
    where
        N: TryInto<ChannelName>,
        ChannelNameError: From<N::Error>,
    {
        let name = name.try_into().map_err(ChannelNameError::from)?;
        let mut state = self.core().state();
        if state.channels.contains_key(&name) {
            return Err(ChannelError::Exists(name));
        }
        let lane = Arc::new(Lane::new(name.clone(), description.map(Into::into)));
        state.channels.insert(name, lane.clone());
        drop(state);
        Ok(self.handle(lane))
    }

    /// A channel for the time being: a new one with a name that nobody else has, or the one called
    /// `name`, which is closed and removed afterwards only if it was not there before.
    ///
    /// # Errors
    /// When that is no name.
    pub fn temporary_channel(&self, name: Option<&str>) -> Result<TemporaryChannel, ChannelError> {
        let name = match name {
            Some(name) => ChannelName::try_new(name)?,
            None => ChannelName::unique(),
        };
        match self.create_channel(name.clone(), None) {
            Ok(channel) => Ok(TemporaryChannel {
                channel,
                is_own: true,
            }),
            Err(ChannelError::Exists(_)) => Ok(TemporaryChannel {
                channel: self.channel(name)?,
                is_own: false,
            }),
            Err(error) => Err(error),
        }
    }

    /// Closes the channel and forgets it: its name is free again.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn remove_channel(&self, name: &str) -> Result<(), ChannelError> {
        let name = ChannelName::try_new(name)?;
        let lane = self.core().state().channels.remove(&name);
        let lane = lane.ok_or(ChannelError::Unknown(name))?;
        self.core().close(&lane);
        Ok(())
    }

    /// Publishes to the channel called `name`, which must exist; otherwise as [`Channel::publish`].
    ///
    /// # Errors
    /// [`PublishError::Unknown`] when it does not, and as [`Channel::publish`].
    pub async fn publish<N>(&self, name: N, message: Message) -> Result<(), PublishError>
    where
        N: TryInto<ChannelName>,
        ChannelNameError: From<N::Error>,
    {
        let name = name.try_into().map_err(ChannelNameError::from)?;
        let lane = self.core().state().channels.get(&name).cloned();
        match lane {
            Some(lane) => self.handle(lane).publish(message).await,
            None if self.core().has_ended() => Err(PublishError::Ended),
            None => Err(PublishError::Unknown(name)),
        }
    }

    /// Publishes to all of these channels, which are made where they are missing.
    ///
    /// # Errors
    /// When one is no name, or there are none.
    pub fn publisher<N>(
        &self,
        channels: impl IntoIterator<Item = N>,
    ) -> Result<Publisher, ChannelError>
    where
        N: TryInto<ChannelName>,
        ChannelNameError: From<N::Error>,
    {
        let channels = channels.into_iter().map(|name| self.channel(name));
        let channels = channels.collect::<Result<Vec<_>, _>>()?;
        if channels.is_empty() {
            return Err(ChannelError::NoChannel);
        }
        self.core().publishers.fetch_add(1, Ordering::Relaxed);
        Ok(Publisher { channels })
    }

    /// Subscribes to all channels that `selector` selects, also to those that will be made later.
    ///
    /// # Errors
    /// When that is no selector.
    pub fn subscribe<S>(
        &self,
        selector: S,
        options: SubscribeOptions,
    ) -> Result<Subscription, SelectorSyntaxError>
    where
        S: TryInto<Selector>,
        SelectorSyntaxError: From<S::Error>,
    {
        let selector = selector.try_into().map_err(SelectorSyntaxError::from)?;
        Ok(Subscription::new(self.core(), selector, options))
    }

    /// Ends the exchange: refuses what is published from now on, waits up to [`Exchange::DRAIN`]
    /// until the transformers and the subscribers have done with what is there, then ends all
    /// subscriptions and forgets all channels and transformers.
    ///
    /// # Errors
    /// When it was never used, or was shut down before.
    pub async fn shutdown(&self) -> Result<Drained, NotRunning> {
        let core = self.shared.core.get().ok_or(NotRunning)?;
        core.shut_down(Self::DRAIN).await.ok_or(NotRunning)
    }

    /// What there is now.
    pub fn status(&self) -> ExchangeStatus {
        let Some(core) = self.shared.core.get() else {
            return ExchangeStatus {
                running: false,
                channels: Vec::new(),
                publishers: 0,
                subscribers: 0,
                transformers: 0,
                queued: 0,
            };
        };
        let state = core.state();
        let mut channels: Vec<_> = state.channels.keys().cloned().collect();
        channels.sort();
        let queues = state.queues.values().filter(|q| q.ended().is_none());
        ExchangeStatus {
            running: !core.has_ended(),
            channels,
            publishers: core.publishers.load(Ordering::Relaxed),
            subscribers: queues.count(),
            transformers: state.pipeline.stages(),
            queued: state.pipeline.len() + state.queues.values().map(|q| q.len()).sum::<usize>(),
        }
    }

    fn handle(&self, lane: Arc<Lane>) -> Channel {
        Channel {
            exchange: self.clone(),
            core: self.core().clone(),
            lane,
        }
    }

    /// Finds or makes.
    pub(super) fn lane(core: &Core, name: ChannelName, description: Option<&str>) -> Arc<Lane> {
        let mut state = core.state();
        if core.has_ended() {
            // Not to be found again: what is published to it is refused.
            return Arc::new(Lane::new(name, None));
        }
        let make = || Arc::new(Lane::new(name.clone(), description.map(Into::into)));
        state
            .channels
            .entry(name.clone())
            .or_insert_with(make)
            .clone()
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("servo", &self.shared.servo)
            .field("connector", &self.connector)
            .field("status", &self.status())
            .finish()
    }
}

impl fmt::Display for ExchangeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            running,
            channels,
            publishers,
            subscribers,
            transformers,
            queued,
        } = self;
        write!(
            f,
            "Exchange(running={running}, channel_names={channels:?}, publisher_count={publishers}, subscriber_count={subscribers}, transformer_count={transformers}, queue_size={queued})"
        )
    }
}

// === impl Channel ===

impl Channel {
    /// Its name.
    pub fn name(&self) -> &ChannelName {
        &self.lane.name
    }

    /// What it is for, if whoever made it said so.
    pub fn description(&self) -> Option<&str> {
        self.lane.description.as_deref()
    }

    /// When it was made.
    pub fn created_at(&self) -> Timestamp {
        self.lane.created_at
    }

    /// Whether nothing can be published to it any more.
    pub fn is_closed(&self) -> bool {
        self.lane.is_closed()
    }

    pub(super) fn lane_of(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// Publishes `message` to all who are subscribed now.
    ///
    /// Waits only for subscribers that want to be waited for
    /// ([`Overflow::Block`](super::Overflow::Block)), and for transformers that are behind; dropped
    /// while it waits, it has published nothing.
    ///
    /// # Errors
    /// When the channel is closed, carries values of a type that this is none of, or the exchange
    /// has ended; when the transformers stay behind for a minute.
    pub async fn publish(&self, message: Message) -> Result<(), PublishError> {
        self.core.publish(&self.lane, self.stamped(message)).await
    }

    /// Publishes `message` if that needs no waiting: for code that cannot wait.
    ///
    /// # Errors
    /// As [`Channel::publish`]; [`PublishError::Busy`] when it would have to wait.
    pub fn try_publish(&self, message: Message) -> Result<(), PublishError> {
        self.core.try_publish(&self.lane, self.stamped(message))
    }

    fn stamped(&self, mut message: Message) -> Message {
        message.stamp(&self.core.servo, self.exchange.connector.as_ref(), 0);
        message
    }

    /// Subscribes to this channel alone: the subscription ends when the channel is closed.
    pub fn subscribe(&self, options: SubscribeOptions) -> Subscription {
        let subscription = Subscription::new(
            &self.core,
            Selector::channel(self.lane.name.clone()),
            options,
        );
        if self.is_closed() {
            subscription.end_with_channel();
        }
        subscription
    }

    /// Closes it: nothing can be published to it any more, and the subscriptions to it alone end,
    /// after the messages that wait. Those by a pattern stay.
    ///
    /// # Errors
    /// When it was closed before.
    pub fn close(&self) -> Result<(), ChannelError> {
        if self.core.close(&self.lane) {
            Ok(())
        } else {
            Err(ChannelError::AlreadyClosed(self.lane.name.clone()))
        }
    }
}

impl PartialEq<str> for Channel {
    fn eq(&self, name: &str) -> bool {
        self.lane.name == *name
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("name", &self.lane.name)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

// === impl TemporaryChannel ===

impl std::ops::Deref for TemporaryChannel {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        &self.channel
    }
}

impl Drop for TemporaryChannel {
    fn drop(&mut self) {
        if self.is_own {
            let Channel { core, lane, .. } = &self.channel;
            let mut state = core.state();
            let is_it = |present: &Arc<Lane>| Arc::ptr_eq(present, lane);
            if state.channels.get(&lane.name).is_some_and(is_it) {
                state.channels.remove(&lane.name);
            }
            drop(state);
            core.close(lane);
        }
    }
}

// === impl Publisher ===

impl Publisher {
    /// Its channels.
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// Publishes `message` to all its channels, one after the other.
    ///
    /// # Errors
    /// As [`Channel::publish`], of the first that refuses; the others have it all the same.
    pub async fn publish(&self, message: Message) -> Result<(), PublishError> {
        let mut refused = Ok(());
        for channel in &self.channels {
            let done = channel.publish(message.clone()).await;
            refused = refused.and(done);
        }
        refused
    }

    /// Publishes `message` to one of its channels.
    ///
    /// # Errors
    /// When it is for other channels; else as [`Channel::publish`].
    pub async fn publish_to(&self, channel: &str, message: Message) -> Result<(), PublishError> {
        match self.channels.iter().find(|c| *c.name() == *channel) {
            Some(channel) => channel.publish(message).await,
            None => Err(PublishError::NotBound(ChannelName::try_new(channel)?)),
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Some(channel) = self.channels.first() {
            channel.core.publishers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Publisher").field(&self.channels).finish()
    }
}

impl From<Infallible> for ChannelError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
