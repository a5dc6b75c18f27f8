//! The interface that connectors implement.

use std::{
    fmt::{self, Debug},
    future::Future,
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use servo_messages::{CommonConfig, EventError};
use servo_supervision::ChildContext;

use crate::{
    context::HandlerContext,
    dispatcher::DispatcherRef,
    event::{Event, Stage},
    exchange::Exchange,
    options::EventResult,
    repeating::Tasks,
    routes::Routes,
};

/// Boxed error of a connector that cannot be built.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Connects a servo to something that it measures or adjusts.
///
/// A connector is built from its configuration by its supervisor, each time that it starts, and
/// lives on one arbiter: its handlers may run concurrently, but never in parallel, so its state
/// belongs in `Cell` and `RefCell`. It says in [`Connector::routes`] which events it handles;
/// the compiler checks that it can.
///
/// ```
/// # use servo_dispatch::*;
/// # use servo_messages::{Description, EventError};
/// # use std::sync::Arc;
/// struct Nothing;
///
/// #[derive(Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct NothingConfig {}
///
/// impl Connector for Nothing {
///     type Config = NothingConfig;
///     const METADATA: Metadata = Metadata::new("nothing", "Nothing", "0.1.0");
///
///     fn build(_: Arc<NothingConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
///         Ok(Nothing)
///     }
///
///     fn routes(_: &NothingConfig, routes: &mut Routes<Self>) {
///         routes.on::<Describe>();
///     }
/// }
///
/// impl On<Describe> for Nothing {
///     async fn on(&self, _: &Describe, _: &HandlerContext) -> Result<Description, EventError> {
///         Ok(Description::default())
///     }
/// }
/// ```
pub trait Connector: Sized + 'static {
    /// The stanza in `servo.yaml`.
    type Config: Clone + Debug + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static;

    /// Name, version and the rest.
    const METADATA: Metadata;

    /// Why connectors of this type cannot run, when this build knows their configuration only.
    const UNAVAILABLE: Option<&'static str> = None;

    /// Commands of the group that the command line gives to this type, beside those that all have.
    const COMMANDS: &'static [ConnectorCommand] = &[];

    /// The stanza that `servo generate` writes, as YAML: the keys that a user has to look at, in
    /// the order in which they are read, with values that are valid
    /// (`spec/config-and-cli.md` §7.6).
    fn sample() -> &'static str {
        "{}"
    }

    /// What the types cannot say about a configuration: each problem with its key.
    fn validate(_config: &Self::Config) -> Vec<ConfigProblem> {
        Vec::new()
    }

    /// Makes the connector; called at each start and restart. Must not block: what takes time
    /// belongs into the `attach` or `startup` handler.
    ///
    /// # Errors
    /// Whatever keeps it from starting. It is tried again with back-off.
    fn build(config: Arc<Self::Config>, cx: ConnectorContext) -> Result<Self, BoxError>;

    /// Events that connectors of this type are to handle, in their stages, as long as this build
    /// knows their configuration only ([`Connector::UNAVAILABLE`]): listings show them beside those
    /// of the routes.
    fn foreseen(_config: &Self::Config) -> Vec<(&'static str, Stage)> {
        Vec::new()
    }

    /// Says which events the connector handles, in which stages.
    fn routes(config: &Self::Config, routes: &mut Routes<Self>);
}

/// A connector that handles event `E`.
pub trait On<E: Event>: Connector {
    /// Handles the event.
    ///
    /// # Errors
    /// Fails the dispatch, under the default policy; the error's kind says what the optimizer is
    /// told.
    fn on(
        &self,
        event: &E,
        cx: &HandlerContext,
    ) -> impl Future<Output = Result<E::Output, EventError>>;
}

/// A connector that prepares for event `E`, or vetoes it.
pub trait Before<E: Event>: Connector {
    /// Runs ahead of all `on` handlers.
    ///
    /// # Errors
    /// [`BeforeError::Veto`] cancels the event; [`BeforeError::Failed`] fails it.
    fn before(
        &self,
        event: &E,
        cx: &HandlerContext,
    ) -> impl Future<Output = Result<(), BeforeError>>;
}

/// A connector that sees the results of event `E`.
pub trait After<E: Event>: Connector {
    /// Runs once all `on` handlers have succeeded.
    ///
    /// # Errors
    /// Fails the dispatch; the results are lost to the caller.
    fn after(
        &self,
        results: &[EventResult<E::Output>],
        cx: &HandlerContext,
    ) -> impl Future<Output = Result<(), EventError>>;
}

/// How a `before` handler ends an event. Only these handlers can cancel one.
#[derive(Clone, Debug, PartialEq)]
pub enum BeforeError {
    /// The event must not happen now, for this reason.
    Veto(String),
    /// The preparation failed.
    Failed(EventError),
}

/// Something is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Path of the key below the stanza, such as `components[0].settings`.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
    /// Only worth a warning: the connector works with it.
    pub warning: bool,
}

/// A command of a connector type, such as `servo prometheus targets`: an event that is dispatched
/// by its name to one connector, with the arguments as an object of texts, and whose result is
/// printed as a table or as JSON (`spec/config-and-cli.md` §7.9).
///
/// The connector declares the event in its routes. A result that is a list of objects has one row
/// for each; an object is a single row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectorCommand {
    /// The word on the command line.
    pub name: &'static str,
    /// One line for the help.
    pub about: &'static str,
    /// Options that it takes.
    pub arguments: &'static [CommandArgument],
    /// Name of the event.
    pub event: &'static str,
    /// Columns of the table: each header, and the key of the row that stands below it.
    pub columns: &'static [(&'static str, &'static str)],
}

/// An option of a [`ConnectorCommand`], given as `--name VALUE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandArgument {
    /// Its long name, and the key of the event's argument.
    pub name: &'static str,
    /// What stands for its value in the help, such as `DURATION`.
    pub value: &'static str,
    /// One line for the help.
    pub about: &'static str,
    /// Whether the command cannot do without it.
    pub required: bool,
}

/// What a connector is given when it is built.
#[derive(Clone)]
pub struct ConnectorContext {
    /// The servo it belongs to.
    pub servo: Arc<str>,
    /// Its own name: the key of its stanza.
    pub name: Arc<str>,
    /// How the servo reaches others over the network: for connectors that do, unless their own
    /// stanza says otherwise.
    pub settings: Arc<CommonConfig>,
    /// Its place in the supervision tree.
    pub child: ChildContext,
    /// Dispatches events to the servo's connectors, outside of any handler.
    pub dispatcher: DispatcherRef,
    /// The channels of its servo; what is published through this comes from this connector.
    pub exchange: Exchange,
    /// What it does beside handling events: repeating tasks, publishers, subscribers. Whatever does
    /// not depend on the running of others is better declared in [`Connector::routes`].
    pub tasks: Tasks,
}

/// How settled a connector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Maturity {
    /// May change or go.
    Experimental,
    /// Works and stays.
    Stable,
    /// Proven in production.
    Robust,
}

/// What is known of a connector type (`spec/events-and-checks.md` §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// Key of its stanza, when the file gives no other.
    pub default_name: &'static str,
    /// Name in tables.
    pub type_name: &'static str,
    /// Semantic version.
    pub version: &'static str,
    /// One line.
    pub description: Option<&'static str>,
    /// Where to read more.
    pub homepage: Option<&'static str>,
    /// How settled it is.
    pub maturity: Option<Maturity>,
    /// Under which terms it may be used.
    pub license: Option<&'static str>,
}

// === impl BeforeError ===

impl BeforeError {
    /// Cancels the event for `reason`.
    pub fn veto(reason: impl Into<String>) -> Self {
        Self::Veto(reason.into())
    }
}

impl From<EventError> for BeforeError {
    fn from(error: EventError) -> Self {
        Self::Failed(error)
    }
}

// === impl ConfigProblem ===

impl ConfigProblem {
    /// A problem that the connector cannot work with.
    pub fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            warning: false,
        }
    }

    /// A problem worth a warning.
    pub fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            warning: true,
        }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

// === impl Metadata ===

impl Metadata {
    /// The required facts alone.
    pub const fn new(
        default_name: &'static str,
        type_name: &'static str,
        version: &'static str,
    ) -> Self {
        Self {
            default_name,
            type_name,
            version,
            description: None,
            homepage: None,
            maturity: None,
            license: None,
        }
    }

    /// With a description.
    #[must_use]
    pub const fn describe(mut self, description: &'static str) -> Self {
        self.description = Some(description);
        self
    }

    /// With a home page.
    #[must_use]
    pub const fn homepage(mut self, homepage: &'static str) -> Self {
        self.homepage = Some(homepage);
        self
    }

    /// With a maturity.
    #[must_use]
    pub const fn maturity(mut self, maturity: Maturity) -> Self {
        self.maturity = Some(maturity);
        self
    }

    /// With a licence.
    #[must_use]
    pub const fn license(mut self, license: &'static str) -> Self {
        self.license = Some(license);
        self
    }
}
