//! Publishing and subscribing within one servo (`spec/events-and-checks.md` §4).

mod aggregate;
mod channel;
mod core;
mod message;
mod name;
mod pipeline;
mod queue;
mod selector;
mod subscription;
mod topics;
mod transform;
mod typed;

pub use self::{
    aggregate::{Aggregator, AggregatorError, AggregatorView},
    channel::{
        Channel, ChannelError, Exchange, ExchangeStatus, NotRunning, PublishError, Publisher,
        TemporaryChannel,
    },
    core::Drained,
    message::{Delivery, Message, MessageError},
    name::{ChannelName, ChannelNameError},
    queue::{Overflow, SubscriptionEnd},
    selector::{Selector, SelectorSyntaxError},
    subscription::{AlreadyCancelled, SubscribeOptions, Subscription, SubscriptionHandle},
    topics::{LOADGEN_VEGETA, METRICS_PROMETHEUS, MetricSample},
    transform::{
        Filter, Flow, Outbox, Parts, Sources, Splitter, Transformer, TransformerError, Transforming,
    },
    typed::{Topic, TypedChannel, TypedSubscription},
};
