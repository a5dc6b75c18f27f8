//! Channels whose messages are values of one Rust type.

use std::{
    any::TypeId,
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::Stream;
use serde::Serialize;

use super::{
    channel::{Channel, ChannelError, Exchange, PublishError},
    core::ContentType,
    message::{Delivery, Message},
    name::{ChannelName, is_valid},
    subscription::{SubscribeOptions, Subscription},
};

/// The name of a channel together with the type of its messages: what its publishers and its
/// subscribers agree on.
///
/// ```
/// use servo_dispatch::{Exchange, SubscribeOptions, Topic};
///
/// const TEMPERATURE: Topic<f64> = Topic::new("weather.temperature");
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let exchange = Exchange::new("org/app");
/// let mut readings = exchange.topic(TEMPERATURE)?.subscribe(SubscribeOptions::default());
/// let mut everything = exchange.subscribe("weather.*", SubscribeOptions::default())?;
///
/// exchange.topic(TEMPERATURE)?.publish(21.5).await?;
///
/// assert_eq!(*readings.next().await.unwrap(), 21.5);
/// // Who knows nothing of the type reads JSON.
/// assert_eq!(everything.next().await.unwrap().text()?, "21.5");
/// // And nobody can publish anything else there.
/// assert!(exchange.typed::<String>("weather.temperature").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// A name that is none does not compile:
///
/// ```compile_fail
/// # use servo_dispatch::Topic;
/// const WRONG: Topic<f64> = Topic::new("weather temperature");
/// # fn main() { println!("{}", WRONG.name()); }
/// ```
pub struct Topic<T> {
    name: &'static str,
    content: PhantomData<fn() -> T>,
}

/// A channel that carries values of type `T`.
pub struct TypedChannel<T> {
    channel: Channel,
    content: PhantomData<fn() -> T>,
}

/// The values of a [`TypedChannel`]: a stream that ends when the subscription does.
#[must_use = "a subscription is cancelled when it is dropped"]
pub struct TypedSubscription<T> {
    subscription: Subscription,
    content: PhantomData<fn() -> T>,
}

// === impl Topic ===

impl<T> Topic<T> {
    /// The topic called `name`.
    ///
    /// # Panics
    /// When that is no name of a channel; for a constant, the compiler says so.
    pub const fn new(name: &'static str) -> Self {
        assert!(is_valid(name.as_bytes()), "not the name of a channel");
        Self {
            name,
            content: PhantomData,
        }
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<T> Clone for Topic<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Topic<T> {}

impl<T> fmt::Debug for Topic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({} of {})", self.name, std::any::type_name::<T>())
    }
}

// === impl Exchange ===

impl Exchange {
    /// The channel of `topic`; made if there is none.
    ///
    /// # Errors
    /// [`ChannelError::OtherType`] when the channel has other messages.
    pub fn topic<T>(&self, topic: Topic<T>) -> Result<TypedChannel<T>, ChannelError>
    where
        T: Serialize + Send + Sync + 'static,
    {
        self.typed(topic.name)
    }

    /// The channel called `name`, for values of type `T` and nothing else from now on.
    ///
    /// # Errors
    /// When that is no name; [`ChannelError::OtherType`] when the channel has other messages.
    pub fn typed<T>(&self, name: &str) -> Result<TypedChannel<T>, ChannelError>
    where
        T: Serialize + Send + Sync + 'static,
    {
        let name = ChannelName::try_new(name)?;
        let channel = self.channel(name)?;
        let asked = ContentType {
            id: TypeId::of::<T>(),
            name: std::any::type_name::<T>(),
        };
        let is = channel.lane_of().content.get_or_init(|| asked);
        if is.id != asked.id {
            return Err(ChannelError::OtherType {
                channel: channel.name().clone(),
                is: is.name,
                asked: asked.name,
            });
        }
        Ok(TypedChannel {
            channel,
            content: PhantomData,
        })
    }
}

// === impl TypedChannel ===

impl<T: Serialize + Send + Sync + 'static> TypedChannel<T> {
    /// Publishes `value`, or what an [`Arc`] of one holds; as [`Channel::publish`].
    ///
    /// # Errors
    /// As [`Channel::publish`].
    pub async fn publish(&self, value: impl Into<Arc<T>>) -> Result<(), PublishError> {
        self.channel.publish(Message::value_of(value.into())).await
    }

    /// As [`Channel::try_publish`].
    ///
    /// # Errors
    /// As [`Channel::try_publish`].
    pub fn try_publish(&self, value: impl Into<Arc<T>>) -> Result<(), PublishError> {
        self.channel.try_publish(Message::value_of(value.into()))
    }

    /// As [`Channel::subscribe`].
    pub fn subscribe(&self, options: SubscribeOptions) -> TypedSubscription<T> {
        TypedSubscription {
            subscription: self.channel.subscribe(options),
            content: PhantomData,
        }
    }

    /// The channel itself: to close it, or to subscribe to messages instead of values.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }
}

impl<T> Clone for TypedChannel<T> {
    fn clone(&self) -> Self {
        Self {
            channel: self.channel.clone(),
            content: PhantomData,
        }
    }
}

impl<T> fmt::Debug for TypedChannel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedChannel").field(&self.channel).finish()
    }
}

// === impl TypedSubscription ===

impl<T: Send + Sync + 'static> TypedSubscription<T> {
    /// The next value; none when the subscription has ended.
    pub async fn next(&mut self) -> Option<Arc<T>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// The next value, if one waits.
    pub fn try_next(&mut self) -> Option<Arc<T>> {
        self.subscription.try_next().and_then(value)
    }

    /// The subscription itself: its end, its losses, its messages with their metadata.
    pub fn subscription(&mut self) -> &mut Subscription {
        &mut self.subscription
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arc<T>>> {
        loop {
            let next = Pin::new(&mut self.subscription).poll_next(cx);
            match std::task::ready!(next) {
                // What was published before the channel had a type is none of ours.
                Some(delivery) => match value(delivery) {
                    Some(value) => return Poll::Ready(Some(value)),
                    None => continue,
                },
                None => return Poll::Ready(None),
            }
        }
    }
}

fn value<T: Send + Sync + 'static>(delivery: Delivery) -> Option<Arc<T>> {
    delivery.value()
}

impl<T: Send + Sync + 'static> Stream for TypedSubscription<T> {
    type Item = Arc<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arc<T>>> {
        self.get_mut().poll(cx)
    }
}

impl<T> fmt::Debug for TypedSubscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedSubscription")
            .field(&self.subscription)
            .finish()
    }
}
