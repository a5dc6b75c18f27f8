//! The reading end (`spec/events-and-checks.md` §4.6).

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, future::BoxFuture};
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    core::Core,
    message::Delivery,
    queue::{Overflow, Queue, SubscriptionEnd},
    selector::Selector,
};

/// How to subscribe. Default: 1024 messages may wait, the oldest makes room, no end.
///
/// ```
/// # use servo_dispatch::{Overflow, SubscribeOptions};
/// # use std::time::Duration;
/// let options = SubscribeOptions::default()
///     .named("dashboard")
///     .capacity(16)
///     .overflow(Overflow::Disconnect)
///     .timeout(Duration::from_secs(60));
/// ```
#[must_use]
pub struct SubscribeOptions {
    name: Option<Arc<str>>,
    capacity: usize,
    overflow: Overflow,
    timeout: Option<Duration>,
    until: Option<BoxFuture<'static, ()>>,
}

/// Messages of the channels that it is subscribed to: a stream that ends when the subscription does.
///
/// Dropped, it is cancelled. It belongs to whoever holds it: one that a connector keeps in its
/// state or in a handler ends with the connector, also at a restart.
#[must_use = "a subscription is cancelled when it is dropped"]
pub struct Subscription {
    queue: Arc<Queue>,
    core: Weak<Core>,
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    until: Option<BoxFuture<'static, ()>>,
}

/// Cancels a subscription from elsewhere.
#[derive(Clone)]
pub struct SubscriptionHandle {
    queue: Arc<Queue>,
    core: Weak<Core>,
}

/// It has ended already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("Subscriber is already cancelled: {0}")]
pub struct AlreadyCancelled(pub SubscriptionEnd);

// === impl SubscribeOptions ===

impl Default for SubscribeOptions {
    fn default() -> Self {
        Self {
            name: None,
            capacity: 1024,
            overflow: Overflow::default(),
            timeout: None,
            until: None,
        }
    }
}

impl SubscribeOptions {
    /// What the log calls the subscriber.
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many messages may wait, at least one.
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// What happens when more come.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Cancels the subscription after so long.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Cancels the subscription when `done` is.
    pub fn until(mut self, done: impl Future<Output = ()> + Send + 'static) -> Self {
        self.until = Some(Box::pin(done));
        self
    }
}

impl fmt::Debug for SubscribeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscribeOptions")
            .field("name", &self.name)
            .field("capacity", &self.capacity)
            .field("overflow", &self.overflow)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

// === impl Subscription ===

impl Subscription {
    pub(super) fn new(core: &Arc<Core>, selector: Selector, options: SubscribeOptions) -> Self {
        let SubscribeOptions {
            name,
            capacity,
            overflow,
            timeout,
            until,
        } = options;
        let quiet = core.quiet.clone();
        let make = |id| Queue::new(id, selector, name, capacity, overflow, quiet);
        Self {
            queue: core.add_queue(make),
            core: Arc::downgrade(core),
            deadline: timeout.and_then(|t| Instant::now().checked_add(t)),
            timer: None,
            until,
        }
    }

    /// A further reader that gets every message too, from now on. It has neither the timeout of this
    /// one nor its other end.
    pub fn again(&self) -> Option<Self> {
        let options = SubscribeOptions {
            name: self.queue.name.clone(),
            capacity: self.queue.capacity,
            overflow: self.queue.overflow,
            timeout: None,
            until: None,
        };
        let core = self.core.upgrade()?;
        Some(Self::new(&core, self.queue.selector.clone(), options))
    }

    /// What it is subscribed to.
    pub fn selector(&self) -> &Selector {
        &self.queue.selector
    }

    /// The next message; none when the subscription has ended, for [`Subscription::end`].
    pub async fn next(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// The next message, if one waits.
    pub fn try_next(&mut self) -> Option<Delivery> {
        self.queue.try_next()
    }

    /// How many messages it has lost, because it was too slow.
    pub fn lost(&self) -> u64 {
        self.queue.lost()
    }

    /// Why there will be no more messages, if that is so. Some may still wait.
    pub fn end(&self) -> Option<SubscriptionEnd> {
        self.queue.ended()
    }

    /// To cancel it from elsewhere.
    pub fn handle(&self) -> SubscriptionHandle {
        SubscriptionHandle {
            queue: self.queue.clone(),
            core: self.core.clone(),
        }
    }

    pub(super) fn end_with_channel(&self) {
        self.queue.end(SubscriptionEnd::ChannelClosed);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        if let Some(until) = &mut self.until
            && until.as_mut().poll(cx).is_ready()
        {
            self.until = None;
            self.handle().stop(SubscriptionEnd::Cancelled);
        }
        if let Some(deadline) = self.deadline {
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if timer.as_mut().poll(cx).is_ready() {
                (self.deadline, self.timer) = (None, None);
                self.handle().stop(SubscriptionEnd::TimedOut);
            }
        }
        // One reader with much to do must leave the others their turn.
        let coop = std::task::ready!(tokio::task::coop::poll_proceed(cx));
        let next = self.queue.poll_next(cx);
        if next.is_ready() {
            coop.made_progress();
        }
        next
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.get_mut().poll(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.handle().stop(SubscriptionEnd::Cancelled);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("subscriber", &self.queue.label())
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}

// === impl SubscriptionHandle ===

impl SubscriptionHandle {
    /// Ends the subscription; what waits is lost.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn cancel(&self) -> Result<(), AlreadyCancelled> {
        match self.queue.ended() {
            Some(end) => Err(AlreadyCancelled(end)),
            None => {
                self.stop(SubscriptionEnd::Cancelled);
                Ok(())
            }
        }
    }

    fn stop(&self, end: SubscriptionEnd) {
        self.queue.end_now(end);
        if let Some(core) = self.core.upgrade() {
            core.remove_queue(self.queue.id);
        }
    }
}

impl fmt::Debug for SubscriptionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SubscriptionHandle")
            .field(&self.queue.label())
            .finish()
    }
}
