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
//! What this crate must not know: optimizers and their protocol, files and the command line, any
//! particular connector.

mod checks;
mod clock;
mod connector;
mod context;
mod dispatcher;
mod dynamic;
mod event;
mod host;
mod lifecycle;
mod options;
mod registry;
mod routes;
mod run;
mod standard;

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
pub use dispatcher::{Dispatcher, DispatcherRef};
pub use dynamic::{DynamicEvent, JsonEvent};
pub use event::{Category, Event, EventName, EventNameError, Stage};
pub use host::ConnectorActor;
pub use options::{
    DispatchError, DispatchOptions, DispatchOutcome, ErrorPolicy, EventResult, HandlerError, Scope,
    Stages, Veto,
};
pub use registry::{
    ConfiguredConnector, ConnectorPolicy, ConnectorType, Mount, Registry, StanzaError,
};
pub use routes::{Bus, DuplicateConnector, RouteInfo, Routes};
pub use standard::{
    Adjust, Attach, Components, Describe, Detach, Measure, Metrics, Promote, Shutdown, Startup,
};
