//! Several channels become one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use thiserror::Error;
use tokio::time::Instant;

use super::{
    message::{Delivery, Message},
    name::{ChannelName, ChannelNameError},
    selector::Selector,
    transform::{Flow, Outbox, Sources, Transformer},
};
use crate::connector::BoxError;

/// Folds the messages of two or more channels into one message, and publishes that as soon as every
/// channel has sent at least one; with [`Aggregator::every`] also whenever so much time has passed
/// since it last published, if there is anything. The messages themselves go on.
///
/// ```
/// # use servo_dispatch::*;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let exchange = Exchange::new("org/app");
/// let both = Aggregator::new("both", ["left", "right"], "pair", |so_far, delivery| {
///     let sum = match so_far {
///         Some(message) => format!("{} {}", message.text()?, delivery.text()?),
///         None => delivery.text()?.to_owned(),
///     };
///     Ok(Message::text_of(sum))
/// })?;
/// let _at_work = exchange.transform(both)?;
/// let mut pairs = exchange.subscribe("pair", SubscribeOptions::default())?;
/// exchange.channel("left")?.publish(Message::text_of("salt")).await?;
/// exchange.channel("right")?.publish(Message::text_of("pepper")).await?;
/// assert_eq!(pairs.next().await.unwrap().text()?, "salt pepper");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Aggregator {
    name: Box<str>,
    view: AggregatorView,
    fold: Box<FoldFn>,
}

type FoldFn = dyn FnMut(Option<&Message>, &Delivery) -> Result<Message, BoxError> + Send;

/// How an [`Aggregator`] stands, for whoever looks at it while it is at work.
#[derive(Clone)]
pub struct AggregatorView(Arc<Mutex<Standing>>);

struct Standing {
    to: ChannelName,
    every: Option<Duration>,
    counts: BTreeMap<ChannelName, u64>,
    message: Option<Message>,
    /// Of the messages folded so far, the most.
    hops: u8,
    last_published: Option<Timestamp>,
    /// Of the timer.
    began: Instant,
}

/// An aggregator cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AggregatorError {
    /// Not a name.
    #[error(transparent)]
    Name(#[from] ChannelNameError),
    /// Nothing to aggregate.
    #[error("an Aggregator needs at least two different channels to aggregate, not {0}")]
    TooFew(usize),
    /// It would feed itself.
    #[error("an Aggregator cannot publish to '{0}', which it aggregates")]
    Circle(ChannelName),
}

// === impl Aggregator ===

impl Aggregator {
    /// An aggregator called `name`, from `sources` to the channel `to`. `fold` is given what there is
    /// so far and one message more, and says what there is then.
    ///
    /// # Errors
    /// When one is no name, there are fewer than two sources, or `to` is one of them.
    pub fn new<N>(
        name: impl Into<Box<str>>,
        sources: impl IntoIterator<Item = N>,
        to: N,
        fold: impl FnMut(Option<&Message>, &Delivery) -> Result<Message, BoxError> + Send + 'static,
    ) -> Result<Self, AggregatorError>
    where
        N: TryInto<ChannelName>,
        ChannelNameError: From<N::Error>,
    {
        let sources = sources.into_iter().map(TryInto::try_into);
        let sources = sources.collect::<Result<BTreeSet<_>, _>>();
        let sources = sources.map_err(ChannelNameError::from)?;
        let to = to.try_into().map_err(ChannelNameError::from)?;
        if sources.len() < 2 {
            return Err(AggregatorError::TooFew(sources.len()));
        }
        if sources.contains(&to) {
            return Err(AggregatorError::Circle(to));
        }
        let standing = Standing {
            to,
            every: None,
            counts: sources.into_iter().map(|source| (source, 0)).collect(),
            message: None,
            hops: 0,
            last_published: None,
            began: Instant::now(),
        };
        Ok(Self {
            name: name.into(),
            view: AggregatorView(Arc::new(Mutex::new(standing))),
            fold: Box::new(fold),
        })
    }

    /// Also publishes what there is when it has not published for so long; at least 1 ms.
    #[must_use]
    pub fn every(self, period: Duration) -> Self {
        {
            let mut standing = self.view.standing();
            standing.every = Some(period.max(Duration::from_millis(1)));
            standing.began = Instant::now();
        }
        self
    }

    /// To look at it while it is at work.
    pub fn view(&self) -> AggregatorView {
        self.view.clone()
    }
}

impl Transformer for Aggregator {
    fn name(&self) -> &str {
        &self.name
    }

    fn sources(&self) -> Sources {
        let standing = self.view.standing();
        Sources::Only(
            standing
                .counts
                .keys()
                .cloned()
                .map(Selector::channel)
                .collect(),
        )
    }

    fn apply<'a>(
        &'a mut self,
        delivery: &'a Delivery,
        out: &'a mut Outbox,
    ) -> BoxFuture<'a, Result<Flow, BoxError>> {
        Box::pin(async move {
            // Not under the lock: it is somebody else's code.
            let so_far = self.view.standing().message.clone();
            let message = (self.fold)(so_far.as_ref(), delivery)?;
            let mut standing = self.view.standing();
            standing.message = Some(message);
            standing.hops = standing.hops.max(delivery.hops());
            if let Some(count) = standing.counts.get_mut(delivery.channel()) {
                *count += 1;
            }
            if standing.counts.values().all(|count| *count > 0) {
                standing.publish(out);
            }
            Ok(Flow::Pass)
        })
    }

    fn due(&self) -> Option<Instant> {
        let standing = self.view.standing();
        standing.began.checked_add(standing.every?)
    }

    fn tick(&mut self, out: &mut Outbox) {
        self.view.standing().publish(out);
    }
}

impl fmt::Debug for Aggregator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt(f)
    }
}

// === impl Standing ===

impl Standing {
    /// Publishes what there is, if anything, and begins anew.
    fn publish(&mut self, out: &mut Outbox) {
        self.began = Instant::now();
        let hops = std::mem::take(&mut self.hops);
        if let Some(message) = self.message.take() {
            self.last_published = Some(Timestamp::now());
            out.publish(self.to.clone(), message.with_hops(hops));
        }
        self.counts.values_mut().for_each(|count| *count = 0);
    }
}

// === impl AggregatorView ===

impl AggregatorView {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it last published.
    pub fn last_published_at(&self) -> Option<Timestamp> {
        self.standing().last_published
    }

    /// How many messages of each channel have come since then.
    pub fn counts(&self) -> BTreeMap<ChannelName, u64> {
        self.standing().counts.clone()
    }
}

/// As the peer prints it.
impl fmt::Debug for AggregatorView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let standing = self.standing();
        f.debug_struct("Aggregator")
            .field("from_channels", &standing.counts.keys().collect::<Vec<_>>())
            .field("to_channel", &standing.to)
            .field("every", &standing.every)
            .field("message", &standing.message)
            .field("last_published_at", &standing.last_published)
            .field("channel_message_count", &standing.counts)
            .finish()
    }
}
