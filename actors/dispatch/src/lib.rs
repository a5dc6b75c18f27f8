//! Typed events, and the interface that connectors implement.
//!
//! A servo has a [`Bus`]: its connectors in order, with the handlers that each declared. Its
//! [`Dispatcher`] routes an [`Event`] to them in three stages: `before` handlers prepare or veto,
//! `on` handlers run concurrently and contribute results, `after` handlers see all results. Each
//! dispatch has a deadline, a cancellation token, a scope and a policy for errors; each handler
//! gets a [`HandlerContext`] that knows servo, connector, event, stage and command, puts them into
//! every log line, takes progress, and dispatches nested events without going in circles.
//!
//! Each [`Connector`] lives in an actor of its own under a supervisor. When it fails, it alone is
//! built anew; whoever waited for its answer has a typed error at once.
//!
//! Connectors verify what they need by [`Checks`], in answer to the event [`CheckEvent`]; a [`CheckRun`] asks them all,
//! applies remedies and repeats until all is well or the time is up.
//!
//! Beside events, the connectors of a servo tell each other things over the channels of its [`Exchange`]: typed or as bytes,
//! in order, with a bounded queue for each subscriber. And they do things by themselves, as [`Tasks`] or declared in their
//! [`Routes`]: repeat something, publish at an interval, listen. All of that runs inside the connector's actor and ends
//! with it.
//!
//! What this crate must not know: optimizers and their protocol, files and the command line, any
//! particular connector.

mod annexe;
mod around;
mod bus;
mod checks;
mod clock;
mod connector;
mod context;
mod declared;
mod dispatcher;
mod dynamic;
mod event;
mod exchange;
mod handler;
mod host;
mod lifecycle;
mod membership;
mod options;
#[cfg(doctest)]
mod refused;
mod registry;
mod repeating;
mod routes;
mod run;
mod stage;
mod standard;
mod stop;
mod telemetry;
mod visit;

pub use around::{Around, Surrounded};
pub use bus::{Bus, DuplicateConnector, JoinError, RouteInfo};
pub use checks::{
    Check, CheckEvent, CheckFailure, CheckFilter, CheckId, CheckOf, CheckOutcome, CheckPolicy,
    CheckReport, CheckResult, CheckRun, CheckRunActor, CheckRunEnd, CheckRunLost, CheckRunOutcome,
    CheckSelectionError, CheckTarget, Checks, ConnectorChecks, Declaration, FailureDetails,
    FilterError, IntoOutcome, InvalidCheckId, InvalidTag, PatternError, Patterns, PendingCheckRun,
    Remedy, RunOneError, Tag, Timing, ensure,
};
pub use connector::{
    After, Before, BeforeError, BoxError, CommandArgument, ConfigProblem, Connector,
    ConnectorCommand, ConnectorContext, Maturity, Metadata, On,
};
pub use context::{Chain, HandlerContext, ProgressSink, ProgressUpdate};
pub use declared::{EventDeclaration, EventRefused, ValueKind};
pub use dispatcher::{Dispatcher, DispatcherRef};
pub use dynamic::{DynamicEvent, JsonEvent};
pub use event::{Category, Event, EventName, EventNameError, Stage};
pub use exchange::{
    Aggregator, AggregatorError, AggregatorView, AlreadyCancelled, Channel, ChannelError,
    ChannelName, ChannelNameError, Delivery, Drained, Exchange, ExchangeStatus, Filter, Flow,
    LOADGEN_VEGETA, METRICS_PROMETHEUS, Message, MessageError, MetricSample, NotRunning, Outbox,
    Overflow, Parts, PublishError, Publisher, Selector, SelectorSyntaxError, Sources, Splitter,
    SubscribeOptions, Subscription, SubscriptionEnd, SubscriptionHandle, TemporaryChannel, Topic,
    Transformer, TransformerError, Transforming, TypedChannel, TypedSubscription,
};
pub use host::ConnectorActor;
pub use membership::{
    AddConnectorError, ConnectorHandle, NewConnector, RemoveConnectorError, WhichConnector,
};
pub use options::{
    DispatchError, DispatchOptions, DispatchOutcome, ErrorPolicy, EventResult, HandlerError, Scope,
    Stages, Veto,
};
pub use registry::{
    Arrival, ConfiguredConnector, ConnectorPolicy, ConnectorType, Mount, Place, Registry,
    StanzaError,
};
pub use repeating::{
    Every, StartError, TaskHandle, TaskKind, Tasks, Tick, UnknownTask, current_message,
};
pub use routes::Routes;
pub use standard::{
    Adjust, Attach, Components, Describe, Detach, Measure, Metrics, Promote, Shutdown, Startup,
};
pub use telemetry::{Telemetry, TelemetryRefused};
