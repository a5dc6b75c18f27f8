//! The connector types that a program knows, and connectors that are configured but not built.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::LocalBoxFuture;
use schemars::Schema;
use servo_messages::CommonConfig;
use servo_supervision::{
    Backoff, ChildRef, ChildSpec, Children, Exhausted, Intensity, Restart, Supervised, Supervisor,
};

use crate::{
    bus::JoinError,
    connector::{BoxError, ConfigProblem, Connector, ConnectorCommand, ConnectorContext, Metadata},
    dispatcher::DispatcherRef,
    event::Stage,
    host::{ConnectorActor, Door, Residence},
    lifecycle::{CatchUp, Standing},
    repeating::{Tasks, Tenure},
    routes::Routes,
};

/// How a connector's failures are met (`spec/events-and-checks.md` §3.7).
#[derive(Clone, Debug)]
pub struct ConnectorPolicy {
    /// Delays between restarts.
    pub backoff: Backoff,
    /// How many restarts in which time are too many.
    pub intensity: Intensity,
    /// How often a connector that was given up is tried again.
    pub retry_every: Duration,
    /// How long it may take to end.
    pub shutdown: Duration,
}

/// A connector type, with its own types hidden.
#[derive(Clone)]
pub struct ConnectorType {
    metadata: Metadata,
    unavailable: Option<&'static str>,
    commands: &'static [ConnectorCommand],
    sample: fn() -> &'static str,
    schema: fn() -> Schema,
    parse: fn(serde_yaml::Value) -> Result<Arc<dyn ConfiguredConnector>, StanzaError>,
}

/// Why a stanza is no configuration of its connector type.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StanzaError {
    /// Keys and indexes from the stanza down.
    pub path: Vec<String>,
    /// What is wrong.
    pub message: String,
}

/// A connector type together with a valid configuration.
pub trait ConfiguredConnector: Send + Sync {
    /// The type's metadata.
    fn metadata(&self) -> &'static Metadata;

    /// Events that it handles with this configuration, in their stages: what `servo show events`
    /// tells without starting anything.
    fn events(&self) -> Vec<(Arc<str>, Stage)>;

    /// Why it cannot run, when this build knows its configuration only.
    fn unavailable(&self) -> Option<&'static str>;

    /// What its types cannot say about the configuration.
    fn problems(&self) -> Vec<ConfigProblem>;

    /// The configuration with all defaults, as the file would say it.
    fn effective(&self) -> serde_yaml::Value;

    /// Starts the connector as a child of a servo's supervisor, and has it join the bus.
    ///
    /// # Errors
    /// When the name is taken, on the bus or among the children.
    fn mount(&self, seat: Mount<'_>) -> Result<(), BoxError>;

    /// Has it join the bus of a servo that runs
    /// ([`DispatcherRef::add_connector`]).
    ///
    /// # Errors
    /// When the name is taken on the bus, or its events do not go with those of the others.
    fn arrive(&self, place: Place) -> Result<Arrival, JoinError>;
}

/// The place of a connector in a servo that runs.
pub struct Place {
    pub(crate) servo: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) settings: Arc<CommonConfig>,
    pub(crate) dispatcher: DispatcherRef,
    pub(crate) policy: ConnectorPolicy,
}

/// A connector that has joined the bus of a servo that runs, and is yet to be started.
pub struct Arrival {
    /// What the servo had been through by then.
    pub(crate) standing: Standing,
    pub(crate) door: Arc<dyn Door>,
    pub(crate) start: Start,
}

/// Starts a connector under a supervisor, and waits until it is up.
type Start =
    Box<dyn FnOnce(ChildRef<Supervisor>, Duration) -> LocalBoxFuture<'static, Result<(), String>>>;

/// Where a connector is to live.
pub struct Mount<'a> {
    /// The servo.
    pub servo: Arc<str>,
    /// The connector's name.
    pub name: Arc<str>,
    /// How the servo reaches others over the network.
    pub settings: Arc<CommonConfig>,
    /// The servo's dispatcher, with its bus.
    pub dispatcher: DispatcherRef,
    /// How its failures are met.
    pub policy: ConnectorPolicy,
    /// The servo's children.
    pub children: &'a mut Children,
}

struct Configured<C: Connector>(Arc<C::Config>);

/// A connector on the bus, and how to start it.
struct Seated<C: Connector> {
    spec: ChildSpec<ConnectorActor<C>>,
    door: Arc<dyn Door>,
    /// What the servo had been through when it joined.
    standing: Standing,
}

/// The connector types that a program knows, by default name.
#[derive(Clone, Debug, Default)]
pub struct Registry(Vec<ConnectorType>);

// === impl ConnectorPolicy ===

impl Default for ConnectorPolicy {
    /// Back-off 1 s to 60 s, given up after 5 restarts in 10 minutes, tried again every 5 minutes.
    fn default() -> Self {
        Self {
            backoff: Backoff::try_new(
                Duration::from_secs(1),
                Duration::from_secs(60),
                Duration::from_secs(60),
            )
            .unwrap_or_default(),
            intensity: Intensity::try_new(5, Duration::from_secs(600)).unwrap_or_default(),
            retry_every: Duration::from_secs(300),
            shutdown: Duration::from_secs(10),
        }
    }
}

// === impl ConnectorType ===

impl ConnectorType {
    /// The type `C`.
    pub fn of<C: Connector>() -> Self {
        Self {
            metadata: C::METADATA,
            unavailable: C::UNAVAILABLE,
            commands: C::COMMANDS,
            sample: C::sample,
            schema: || schemars::schema_for!(C::Config),
            parse: |stanza| {
                let config: C::Config =
                    serde_path_to_error::deserialize(stanza).map_err(|e| StanzaError {
                        path: e.path().iter().filter_map(key).collect(),
                        message: e.into_inner().to_string(),
                    })?;
                Ok(Arc::new(Configured::<C>(Arc::new(config))))
            },
        }
    }

    /// A connector of the type `C`, for a program that has its configuration from elsewhere than
    /// a file.
    pub fn configured<C: Connector>(config: C::Config) -> Arc<dyn ConfiguredConnector> {
        Arc::new(Configured::<C>(Arc::new(config)))
    }

    /// Name, version and the rest.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Why connectors of this type cannot run, when this build knows their configuration only.
    pub fn unavailable(&self) -> Option<&'static str> {
        self.unavailable
    }

    /// Commands of the type's own.
    pub fn commands(&self) -> &'static [ConnectorCommand] {
        self.commands
    }

    /// A valid stanza, as YAML, with the keys that a user has to look at.
    pub fn sample(&self) -> &'static str {
        (self.sample)()
    }

    /// `Name Connector`, as texts for people name it.
    pub fn full_name(&self) -> String {
        format!("{} Connector", self.metadata.type_name)
    }

    /// JSON schema of the stanza.
    pub fn schema(&self) -> Schema {
        (self.schema)()
    }

    /// Reads a stanza.
    ///
    /// # Errors
    /// With the path of the wrong key below the stanza.
    pub fn parse(
        &self,
        stanza: serde_yaml::Value,
    ) -> Result<Arc<dyn ConfiguredConnector>, StanzaError> {
        (self.parse)(stanza)
    }

    /// `NameConnector`, as ServoX files may write it.
    pub fn class_name(&self) -> String {
        format!("{}Connector", self.metadata.type_name)
    }
}

/// The key or index that a segment of a path stands for; variants of enums are no keys.
fn key(segment: &serde_path_to_error::Segment) -> Option<String> {
    match segment {
        serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
        serde_path_to_error::Segment::Map { key } => Some(key.clone()),
        _ => None,
    }
}

impl fmt::Debug for ConnectorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectorType")
            .field(&self.metadata.default_name)
            .finish()
    }
}

// === impl Configured ===

impl<C: Connector> ConfiguredConnector for Configured<C> {
    fn metadata(&self) -> &'static Metadata {
        const { &C::METADATA }
    }

    fn events(&self) -> Vec<(Arc<str>, Stage)> {
        let mut events = Routes::<C>::of(&self.0).declared;
        let foreseen = C::foreseen(&self.0).into_iter();
        events.extend(foreseen.map(|(event, stage)| (event.into(), stage)));
        events
    }

    fn unavailable(&self) -> Option<&'static str> {
        C::UNAVAILABLE
    }

    fn problems(&self) -> Vec<ConfigProblem> {
        C::validate(&self.0)
    }

    fn effective(&self) -> serde_yaml::Value {
        serde_yaml::to_value(&*self.0).unwrap_or(serde_yaml::Value::Null)
    }

    fn mount(&self, seat: Mount<'_>) -> Result<(), BoxError> {
        let Mount {
            servo,
            name,
            settings,
            dispatcher,
            policy,
            children,
        } = seat;
        dispatcher.remember(&settings);
        let place = Place {
            servo,
            name,
            settings,
            dispatcher,
            policy,
        };
        let Seated { spec, .. } = self.take_seat(place, Tenure::Settled)?;
        children.start(spec);
        Ok(())
    }

    fn arrive(&self, place: Place) -> Result<Arrival, JoinError> {
        let Seated {
            spec,
            door,
            standing,
        } = self.take_seat(place, Tenure::New)?;
        Ok(Arrival {
            standing,
            door,
            start: Box::new(|supervisor, within| Box::pin(started(spec, supervisor, within))),
        })
    }
}

impl<C: Connector> Configured<C> {
    /// Joins the bus; the connector is to be started under some supervisor.
    fn take_seat(&self, place: Place, tenure: Tenure) -> Result<Seated<C>, JoinError> {
        let Place {
            servo,
            name,
            settings,
            dispatcher,
            policy,
        } = place;
        let config = self.0.clone();
        let mut routes = Routes::<C>::of(&config);
        let seat = Arc::new(Residence {
            servo,
            name: name.clone(),
            dispatcher: dispatcher.clone(),
            catch_up: CatchUp::in_order(std::mem::take(&mut routes.catch_up)),
        });
        let spec = ChildSpec::new(name.clone(), move |child| {
            seat.dispatcher.homes().begin(&seat.name);
            let connector = match seat.tenure() {
                Tenure::Leaving => None,
                Tenure::New | Tenure::Settled => Some(C::build(
                    config.clone(),
                    ConnectorContext {
                        servo: seat.servo.clone(),
                        name: seat.name.clone(),
                        settings: settings.clone(),
                        child: child.clone(),
                        dispatcher: seat.dispatcher.clone(),
                        exchange: seat.dispatcher.exchange().on_behalf_of(seat.name.clone()),
                        tasks: Tasks::new(seat.dispatcher.clone(), seat.name.clone()),
                    },
                )?),
            };
            Ok(ConnectorActor::new(connector, child, seat.clone()))
        })
        // One that ends by itself and without an error was removed from its servo.
        .restart(Restart::Transient)
        .backoff(policy.backoff)
        .intensity(policy.intensity)
        .exhausted(Exhausted::Park {
            retry_every: policy.retry_every,
        })
        .shutdown(policy.shutdown);
        let door: Arc<dyn Door> = Arc::new(spec.reference());
        let standing = dispatcher.bus().join(name.clone(), routes, door.clone())?;
        dispatcher.homes().add(name, door.clone(), tenure);
        Ok(Seated {
            spec,
            door,
            standing,
        })
    }
}

/// Starts `spec` under `supervisor`. An end before it is up is a failure, and not tried again.
async fn started<A: Supervised>(
    spec: ChildSpec<A>,
    supervisor: ChildRef<Supervisor>,
    within: Duration,
) -> Result<(), String> {
    const LOOK: Duration = Duration::from_millis(20);
    let began = tokio::time::Instant::now();
    let child = supervisor
        .start_child(spec, within)
        .await
        .map_err(|error| error.to_string())?;
    loop {
        match child.wait_until_up(LOOK).await {
            Ok(()) => return Ok(()),
            Err(error) if began.elapsed() >= within => return Err(error.to_string()),
            Err(_) => {
                if let Some(exit) = child.last_exit() {
                    return Err(exit.to_string());
                }
            }
        }
    }
}

// === impl Registry ===

impl Registry {
    /// No types at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// With the type `C`; a later one replaces an earlier one of the same default name.
    #[must_use]
    pub fn with<C: Connector>(mut self) -> Self {
        let new = ConnectorType::of::<C>();
        self.0
            .retain(|t| t.metadata.default_name != new.metadata.default_name);
        self.0.push(new);
        self.0.sort_by_key(|t| t.metadata.default_name);
        self
    }

    /// All types, by default name.
    pub fn types(&self) -> &[ConnectorType] {
        &self.0
    }

    /// The type that `identifier` means: a default name, a class name, or the last segment of a
    /// dotted path (`spec/config-and-cli.md` §2.7).
    pub fn find(&self, identifier: &str) -> Option<&ConnectorType> {
        let last = identifier.rsplit('.').next().unwrap_or(identifier);
        self.0.iter().find(|t| {
            t.metadata.default_name == last
                || t.metadata.type_name == last
                || t.class_name() == last
        })
    }
}
