//! What the handles of one exchange share: channels, queues, and the way of a message from a
//! publisher to the queues (`spec/events-and-checks.md` §4.3-4.4).
//!
//! As long as there are no transformers, a publisher puts its message into the queues itself, under
//! the lock of the channel: that is the order that all subscribers of the channel see. Once there
//! are, messages go through a bounded pipeline that one task works off, one message at a time; and
//! back to the direct way only when the pipeline is empty, so that no message overtakes another.
//!
//! Locks are taken in the order channel, exchange, queue.

use std::{
    any::TypeId,
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::{
    channel::PublishError,
    message::{Delivery, Message},
    name::ChannelName,
    pipeline::Pipeline,
    queue::{Queue, SubscriptionEnd},
};

/// How long a publisher waits for room in the pipeline.
const PIPELINE_PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Core {
    pub(crate) servo: Arc<str>,
    state: Mutex<State>,
    /// Counts the changes of the queues.
    generation: AtomicU64,
    /// Whether messages have to go through the pipeline.
    pub(crate) piped: AtomicBool,
    ended: AtomicBool,
    pub(crate) publishers: AtomicUsize,
    /// Rings when the pipeline has room again.
    pub(crate) pipeline_room: Notify,
    /// Rings when a queue or the pipeline has become empty.
    pub(crate) quiet: Arc<Notify>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) channels: HashMap<ChannelName, Arc<Lane>>,
    pub(crate) queues: BTreeMap<u64, Arc<Queue>>,
    pub(crate) next_id: u64,
    pub(crate) pipeline: Pipeline,
}

/// One channel.
pub(crate) struct Lane {
    pub(crate) name: ChannelName,
    pub(crate) description: Option<Box<str>>,
    pub(crate) created_at: Timestamp,
    /// What its messages must be, once somebody has said so.
    pub(crate) content: OnceLock<ContentType>,
    traffic: Mutex<Traffic>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ContentType {
    pub(crate) id: TypeId,
    pub(crate) name: &'static str,
}

#[derive(Default)]
struct Traffic {
    closed: bool,
    /// Of the queues that `receivers` were chosen from.
    generation: Option<u64>,
    receivers: Vec<Arc<Queue>>,
}

/// A message cannot be taken at once.
pub(crate) enum Obstacle {
    Never(PublishError),
    /// A subscriber has to catch up first.
    Subscriber(Arc<Queue>, Duration),
    Pipeline,
}

/// Whether a message may be held up by the subscribers that want to be waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Courtesy {
    Wait,
    /// They were waited for long enough.
    Force,
}

/// What was lost when an exchange was shut down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Messages that subscribers did not take in time.
    pub dropped: usize,
}

// === impl Core ===

impl Core {
    pub(crate) fn new(servo: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            servo,
            state: Mutex::default(),
            generation: AtomicU64::new(0),
            piped: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            publishers: AtomicUsize::new(0),
            pipeline_room: Notify::new(),
            quiet: Arc::default(),
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Adds the queue that `make` makes with a fresh id.
    pub(crate) fn add_queue(&self, make: impl FnOnce(u64) -> Queue) -> Arc<Queue> {
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        let queue = Arc::new(make(id));
        if self.has_ended() {
            queue.end(SubscriptionEnd::ExchangeEnded);
            return queue;
        }
        state.queues.insert(id, queue.clone());
        self.generation.fetch_add(1, Ordering::Release);
        queue
    }

    pub(crate) fn remove_queue(&self, id: u64) {
        if self.state().queues.remove(&id).is_some() {
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Publishes, and waits where that is called for.
    pub(crate) async fn publish(
        self: &Arc<Self>,
        lane: &Arc<Lane>,
        message: Message,
    ) -> Result<(), PublishError> {
        let delivery = Delivery::new(lane.name.clone(), message);
        let mut courtesy = Courtesy::Wait;
        loop {
            match self.offer(lane, &delivery, courtesy) {
                Ok(()) => return Ok(()),
                Err(Obstacle::Never(error)) => return Err(error),
                Err(Obstacle::Subscriber(queue, patience)) => {
                    queue.wait_for_room(patience).await;
                    if queue.holds_up().is_some() {
                        courtesy = Courtesy::Force;
                    }
                }
                Err(Obstacle::Pipeline) => {
                    let room = self.wait_for_pipeline();
                    if tokio::time::timeout(PIPELINE_PATIENCE, room).await.is_err() {
                        return Err(PublishError::Busy(lane.name.clone()));
                    }
                }
            }
        }
    }

    /// Publishes if that needs no waiting.
    pub(crate) fn try_publish(
        self: &Arc<Self>,
        lane: &Arc<Lane>,
        message: Message,
    ) -> Result<(), PublishError> {
        let delivery = Delivery::new(lane.name.clone(), message);
        self.offer(lane, &delivery, Courtesy::Wait)
            .map_err(|obstacle| match obstacle {
                Obstacle::Never(error) => error,
                Obstacle::Subscriber(..) | Obstacle::Pipeline => {
                    PublishError::Busy(lane.name.clone())
                }
            })
    }

    fn offer(
        self: &Arc<Self>,
        lane: &Arc<Lane>,
        delivery: &Delivery,
        courtesy: Courtesy,
    ) -> Result<(), Obstacle> {
        let mut traffic = lane.traffic();
        if self.has_ended() {
            return Err(Obstacle::Never(PublishError::Ended));
        }
        if traffic.closed {
            return Err(Obstacle::Never(PublishError::Closed(lane.name.clone())));
        }
        lane.accepts(delivery).map_err(Obstacle::Never)?;
        if self.piped.load(Ordering::Acquire) {
            let mut state = self.state();
            if state.pipeline.is_needed() {
                return state.pipeline.push(self, lane, delivery.clone());
            }
        }
        self.distribute(&mut traffic, lane, delivery, courtesy)
    }

    /// Puts a message that has come through the pipeline into the queues.
    pub(crate) fn deliver(
        &self,
        lane: &Lane,
        delivery: &Delivery,
        courtesy: Courtesy,
    ) -> Result<(), Obstacle> {
        self.distribute(&mut lane.traffic(), lane, delivery, courtesy)
    }

    fn distribute(
        &self,
        traffic: &mut Traffic,
        lane: &Lane,
        delivery: &Delivery,
        courtesy: Courtesy,
    ) -> Result<(), Obstacle> {
        let generation = self.generation.load(Ordering::Acquire);
        if traffic.generation != Some(generation) {
            let state = self.state();
            // Read again: no more changes while the state is locked.
            traffic.generation = Some(self.generation.load(Ordering::Acquire));
            traffic.receivers.clear();
            let matching = state.queues.values();
            let matching = matching.filter(|queue| queue.selector.matches(lane.name.as_str()));
            traffic.receivers.extend(matching.cloned());
        }
        if courtesy == Courtesy::Wait {
            let in_the_way = |queue: &Arc<Queue>| Some((queue.clone(), queue.holds_up()?));
            if let Some((queue, patience)) = traffic.receivers.iter().find_map(in_the_way) {
                return Err(Obstacle::Subscriber(queue, patience));
            }
        }
        for queue in &traffic.receivers {
            queue.push(delivery.clone());
        }
        Ok(())
    }

    async fn wait_for_pipeline(&self) {
        let rang = self.pipeline_room.notified();
        tokio::pin!(rang);
        rang.as_mut().enable();
        if self.state().pipeline.has_room() {
            return;
        }
        rang.await;
    }

    /// Refuses what is published from now on, waits until all is delivered, and ends everything.
    pub(crate) async fn shut_down(self: &Arc<Self>, within: Duration) -> Option<Drained> {
        if self.ended.swap(true, Ordering::AcqRel) {
            return None;
        }
        let _ = tokio::time::timeout(within, self.until_quiet()).await;
        let (lanes, queues, undelivered) = {
            let mut state = self.state();
            let undelivered = state.pipeline.clear(self);
            let channels = std::mem::take(&mut state.channels);
            let lanes: Vec<_> = channels.into_values().collect();
            let queues = std::mem::take(&mut state.queues);
            (lanes, queues, undelivered)
        };
        self.generation.fetch_add(1, Ordering::Release);
        for lane in lanes {
            lane.close();
        }
        let lost = queues
            .values()
            .map(|queue| queue.end_now(SubscriptionEnd::ExchangeEnded));
        let dropped = undelivered + lost.sum::<usize>();
        if dropped > 0 {
            tracing::warn!(
                servo = &*self.servo,
                dropped,
                "the exchange was shut down with {dropped} messages undelivered"
            );
        }
        Some(Drained { dropped })
    }

    async fn until_quiet(&self) {
        loop {
            let rang = self.quiet.notified();
            tokio::pin!(rang);
            rang.as_mut().enable();
            let is_quiet = {
                let state = self.state();
                state.pipeline.is_idle() && state.queues.values().all(|queue| queue.is_empty())
            };
            if is_quiet {
                return;
            }
            rang.await;
        }
    }

    /// Closes a channel, and with it the subscriptions to it alone.
    pub(crate) fn close(&self, lane: &Lane) -> bool {
        if !lane.close() {
            return false;
        }
        let state = self.state();
        for queue in state.queues.values() {
            if queue.selector.literal() == Some(&lane.name) {
                queue.end(SubscriptionEnd::ChannelClosed);
            }
        }
        true
    }
}

impl Drop for Core {
    /// Nobody is left who could publish.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for queue in state.queues.values() {
            queue.end(SubscriptionEnd::ExchangeEnded);
        }
    }
}

// === impl Lane ===

impl Lane {
    pub(crate) fn new(name: ChannelName, description: Option<Box<str>>) -> Self {
        Self {
            name,
            description,
            created_at: Timestamp::now(),
            content: OnceLock::new(),
            traffic: Mutex::default(),
        }
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.traffic().closed
    }

    /// Says whether it was open.
    fn close(&self) -> bool {
        let mut traffic = self.traffic();
        traffic.receivers.clear();
        traffic.generation = None;
        !std::mem::replace(&mut traffic.closed, true)
    }

    pub(crate) fn accepts(&self, message: &Message) -> Result<(), PublishError> {
        match self.content.get() {
            Some(expected) if !message.is_of(expected.id) => Err(PublishError::OtherType {
                channel: self.name.clone(),
                expected: expected.name,
            }),
            _ => Ok(()),
        }
    }
}
