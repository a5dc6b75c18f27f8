//! What waits for one subscriber.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use thiserror::Error;
use tokio::{sync::Notify, time::Instant};

use super::{message::Delivery, selector::Selector};

/// How often a subscriber that loses messages is complained about.
const COMPLAINT: Duration = Duration::from_secs(10);

/// What happens to a message for a subscriber whose queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest message that waits makes room; counted, and warned about at most every 10 s.
    #[default]
    DropOldest,
    /// Whoever publishes waits until there is room; after `patience`, the oldest makes room.
    ///
    /// A publisher that cannot wait ([`Channel::try_publish`](super::Channel::try_publish)) is
    /// refused.
    Block {
        /// How long a publisher waits at most.
        patience: Duration,
    },
    /// The subscription ends, after the messages that wait.
    Disconnect,
}

/// Why a subscription gets no more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SubscriptionEnd {
    /// Somebody cancelled it, or what it was to last until came to pass.
    #[error("it was cancelled")]
    Cancelled,
    /// Its time was up.
    #[error("its time was up")]
    TimedOut,
    /// The one channel that it was for was closed.
    #[error("its channel was closed")]
    ChannelClosed,
    /// It was too slow, and its [`Overflow`] is to disconnect.
    #[error("it did not keep up")]
    Overflowed,
    /// The exchange was shut down.
    #[error("the exchange was shut down")]
    ExchangeEnded,
}

/// Shared by a subscription and the channels that it is subscribed to.
pub(crate) struct Queue {
    pub(crate) id: u64,
    pub(crate) selector: Selector,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    waiting: Mutex<Waiting>,
    /// Rings when there is room again, or when there never will be.
    room: Notify,
    /// The exchange's; rings when nothing waits any more.
    quiet: Arc<Notify>,
}

#[derive(Default)]
struct Waiting {
    deliveries: VecDeque<Delivery>,
    reader: Option<Waker>,
    end: Option<SubscriptionEnd>,
    lost: u64,
    lost_untold: u64,
    complained: Option<Instant>,
}

impl Queue {
    pub(crate) fn new(
        id: u64,
        selector: Selector,
        name: Option<Arc<str>>,
        capacity: usize,
        overflow: Overflow,
        quiet: Arc<Notify>,
    ) -> Self {
        Self {
            id,
            selector,
            name,
            capacity: capacity.max(1),
            overflow,
            waiting: Mutex::default(),
            room: Notify::new(),
            quiet,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a publisher has to wait for it at most, if it has to now.
    pub(crate) fn holds_up(&self) -> Option<Duration> {
        let Overflow::Block { patience } = self.overflow else {
            return None;
        };
        let waiting = self.waiting();
        let is_full = waiting.end.is_none() && waiting.deliveries.len() >= self.capacity;
        is_full.then_some(patience)
    }

    /// Waits until it holds nobody up, or `patience` is over.
    pub(crate) async fn wait_for_room(&self, patience: Duration) {
        let room = async {
            loop {
                let rang = self.room.notified();
                tokio::pin!(rang);
                rang.as_mut().enable();
                if self.holds_up().is_none() {
                    return;
                }
                rang.await;
            }
        };
        let _ = tokio::time::timeout(patience, room).await;
    }

    pub(crate) fn push(&self, delivery: Delivery) {
        let mut waiting = self.waiting();
        if waiting.end.is_some() {
            return;
        }
        if waiting.deliveries.len() >= self.capacity {
            if self.overflow == Overflow::Disconnect {
                waiting.end = Some(SubscriptionEnd::Overflowed);
                tracing::warn!(
                    subscriber = %self.label(),
                    "disconnected a subscriber that left {} messages waiting",
                    waiting.deliveries.len()
                );
                let reader = waiting.reader.take();
                drop(waiting);
                wake(reader);
                return;
            }
            waiting.deliveries.pop_front();
            waiting.lost += 1;
            waiting.lost_untold += 1;
            self.complain(&mut waiting);
        }
        waiting.deliveries.push_back(delivery);
        let reader = waiting.reader.take();
        drop(waiting);
        wake(reader);
    }

    fn complain(&self, waiting: &mut Waiting) {
        let now = Instant::now();
        let recently = |at: Instant| now.saturating_duration_since(at) < COMPLAINT;
        if waiting.complained.is_some_and(recently) {
            return;
        }
        waiting.complained = Some(now);
        let untold = std::mem::take(&mut waiting.lost_untold);
        tracing::warn!(
            subscriber = %self.label(),
            lost = untold,
            lost_in_all = waiting.lost,
            "a slow subscriber lost {untold} messages: let it work faster, or subscribe with more capacity than {}",
            self.capacity
        );
    }

    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let mut waiting = self.waiting();
        if let Some(delivery) = self.take(&mut waiting) {
            return Poll::Ready(Some(delivery));
        }
        if waiting.end.is_some() {
            return Poll::Ready(None);
        }
        match &mut waiting.reader {
            Some(reader) => reader.clone_from(cx.waker()),
            reader => *reader = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    pub(crate) fn try_next(&self) -> Option<Delivery> {
        self.take(&mut self.waiting())
    }

    fn take(&self, waiting: &mut Waiting) -> Option<Delivery> {
        let was_full = waiting.deliveries.len() >= self.capacity;
        let delivery = waiting.deliveries.pop_front()?;
        if was_full {
            self.room.notify_waiters();
        }
        if waiting.deliveries.is_empty() {
            self.quiet.notify_waiters();
        }
        Some(delivery)
    }

    /// Ends it after the messages that wait. Says whether it was still going on.
    pub(crate) fn end(&self, reason: SubscriptionEnd) -> bool {
        self.finish(reason, |_| {})
    }

    /// Ends it now. Says how many messages that lost.
    pub(crate) fn end_now(&self, reason: SubscriptionEnd) -> usize {
        let mut lost = 0;
        self.finish(reason, |deliveries| lost = std::mem::take(deliveries).len());
        lost
    }

    fn finish(&self, reason: SubscriptionEnd, leave: impl FnOnce(&mut VecDeque<Delivery>)) -> bool {
        let mut waiting = self.waiting();
        let first = waiting.end.is_none();
        waiting.end.get_or_insert(reason);
        leave(&mut waiting.deliveries);
        let reader = waiting.reader.take();
        drop(waiting);
        self.room.notify_waiters();
        self.quiet.notify_waiters();
        wake(reader);
        first
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting().deliveries.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting().deliveries.len()
    }

    pub(crate) fn ended(&self) -> Option<SubscriptionEnd> {
        self.waiting().end
    }

    pub(crate) fn lost(&self) -> u64 {
        self.waiting().lost
    }

    pub(crate) fn label(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.selector),
            None => self.selector.to_string(),
        }
    }
}

fn wake(reader: Option<Waker>) {
    if let Some(reader) = reader {
        reader.wake();
    }
}
