//! Connectors that come and go while their servo runs (`spec/events-and-checks.md` §3.4).

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use servo_messages::{CommonConfig, EventError};
use servo_supervision::Children;
use thiserror::Error;

use crate::{
    annexe::{Annexe, Origin},
    bus::{DuplicateConnector, JoinError},
    connector::BoxError,
    context::HandlerContext,
    declared::EventRefused,
    dispatcher::DispatcherRef,
    event::Event,
    host::Door,
    lifecycle::Standing,
    options::{DispatchOptions, ErrorPolicy, Nesting, Scope},
    registry::{ConfiguredConnector, ConnectorPolicy, Mount, Place},
    repeating::{TaskKind, Tenure},
    standard::{Attach, Detach, Shutdown, Startup},
};

/// A connector that is to join a running servo.
#[derive(Clone)]
pub struct NewConnector {
    /// Its name: 3 to 128 of the letters and digits of ASCII, `-`, `_`, `/`, `.` and `:`. Other
    /// than names in a file, those made at run time may hold a colon.
    pub name: Arc<str>,
    /// What it is, with its configuration.
    pub connector: Arc<dyn ConfiguredConnector>,
    /// How it reaches others over the network; as the servo's other connectors by default.
    pub settings: Option<Arc<CommonConfig>>,
    /// How its failures are met.
    pub policy: ConnectorPolicy,
}

/// A connector that has joined a running servo, for whoever wants it to leave again.
///
/// Another one that bears the same name later is not meant.
#[derive(Clone)]
pub struct ConnectorHandle {
    name: Arc<str>,
    door: Weak<dyn Door>,
}

/// The connector that is to leave.
#[derive(Clone, Debug)]
pub enum WhichConnector {
    /// The one that bears this name.
    Named(Arc<str>),
    /// This one.
    This(ConnectorHandle),
}

/// Why a connector has not joined. Nothing of it is left.
#[derive(Debug, Error)]
pub enum AddConnectorError {
    /// The name breaks a rule.
    #[error("invalid name {name:?}: {rule}")]
    Name {
        /// The name.
        name: Arc<str>,
        /// The rule.
        rule: &'static str,
    },
    /// The servo or one of its connectors bears the name.
    #[error("invalid name: a connector named '{0}' already exists in the servo")]
    Exists(Arc<str>),
    /// This build knows the configuration of the type only.
    #[error("connector '{name}' cannot be added: {why}")]
    Unavailable {
        /// The connector.
        name: Arc<str>,
        /// Why it cannot run.
        why: &'static str,
    },
    /// Its events do not go with those of the others.
    #[error("connector '{name}' cannot be added: {cause}")]
    Event {
        /// The connector.
        name: Arc<str>,
        /// Why.
        cause: EventRefused,
    },
    /// It did not come up.
    #[error("connector '{name}' did not start and was not added: {cause}")]
    Start {
        /// The connector.
        name: Arc<str>,
        /// Why.
        cause: String,
    },
    /// It could not prepare, or not begin.
    #[error("connector '{name}' was not added, because its {event} failed: {cause}")]
    Lifecycle {
        /// The connector.
        name: Arc<str>,
        /// `attach` or `startup`.
        event: &'static str,
        /// Why.
        cause: EventError,
    },
    /// The servo ends.
    #[error("connector '{name}' cannot be added: servo {servo} is shutting down")]
    Ending {
        /// The connector.
        name: Arc<str>,
        /// The servo.
        servo: Arc<str>,
    },
}

/// Why a connector has not left.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RemoveConnectorError {
    /// It is not there (any more), or is the servo itself.
    #[error("invalid connector: a connector named '{0}' does not exist in the servo")]
    Unknown(Arc<str>),
}

/// How long a connector may take to come up.
const START: Duration = Duration::from_secs(30);
/// What `shutdown` and `detach` of one connector may take each, so that both are over within 30 s
/// (`spec/events-and-checks.md` §3.3).
const FAREWELL: Duration = Duration::from_secs(12);
const FAREWELL_GRACE: Duration = Duration::from_secs(2);

/// What a servo's supervisor runs beside connectors.
const OWN_PARTS: [&str; 2] = ["dispatcher", "optimizer"];

/// Takes a connector off its servo again unless all went well.
struct Probation<'a> {
    dispatcher: &'a DispatcherRef,
    name: Arc<str>,
    passed: bool,
}

// === impl NewConnector ===

impl NewConnector {
    /// With the settings of the servo's other connectors, and the usual policy.
    pub fn new(name: impl Into<Arc<str>>, connector: Arc<dyn ConfiguredConnector>) -> Self {
        Self {
            name: name.into(),
            connector,
            settings: None,
            policy: ConnectorPolicy::default(),
        }
    }

    fn broken_rule(&self) -> Option<&'static str> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/.:".contains(&byte);
        if !(3..=128).contains(&self.name.len()) {
            Some("names have 3 to 128 characters")
        } else if !self.name.bytes().all(is_allowed) {
            Some(
                "names may only contain alphanumeric characters, hyphens, slashes, periods, colons, and underscores",
            )
        } else if OWN_PARTS.contains(&&*self.name) {
            Some("parts of the servo itself are called `dispatcher` and `optimizer`")
        } else {
            None
        }
    }
}

impl fmt::Debug for NewConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewConnector")
            .field("name", &self.name)
            .field("type", &self.connector.metadata().type_name)
            .finish_non_exhaustive()
    }
}

// === impl ConnectorHandle ===

impl ConnectorHandle {
    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }
}

impl fmt::Debug for ConnectorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectorHandle").field(&self.name).finish()
    }
}

impl From<&str> for WhichConnector {
    fn from(name: &str) -> Self {
        Self::Named(name.into())
    }
}

impl From<&ConnectorHandle> for WhichConnector {
    fn from(handle: &ConnectorHandle) -> Self {
        Self::This(handle.clone())
    }
}

impl WhichConnector {
    fn name(&self) -> &Arc<str> {
        match self {
            Self::Named(name) => name,
            Self::This(handle) => &handle.name,
        }
    }
}

// === impl DispatcherRef ===

impl DispatcherRef {
    /// Adds a connector to the running servo, as the last on its bus: it attaches and starts as far
    /// as the others have, and takes part from the next dispatch on. If anything fails, nothing of
    /// it is left.
    ///
    /// It is there again after a restart of the servo ([`DispatcherRef::mount_all`]).
    ///
    /// # Errors
    /// When its name is taken or breaks a rule, when it does not come up, or when its `attach` or
    /// `startup` fails.
    pub async fn add_connector(
        &self,
        new: NewConnector,
    ) -> Result<ConnectorHandle, AddConnectorError> {
        let options = DispatchOptions::default();
        self.add(new, None, options, Nesting::default()).await
    }

    /// Has a connector leave the running servo: those that it added go first; it shuts down and
    /// detaches; what it repeats, publishes and listens to ends; and it takes part in nothing any
    /// more, nor after a restart of the servo. Whatever fails on the way is logged, and it goes all
    /// the same.
    ///
    /// # Errors
    /// When there is no such connector.
    pub async fn remove_connector(
        &self,
        which: impl Into<WhichConnector>,
    ) -> Result<(), RemoveConnectorError> {
        self.remove(which.into(), Nesting::default()).await
    }

    /// Starts the connectors of a servo that begins a new run: those that are `configured`, but for
    /// those that left its `former` run, and those that joined that one from outside.
    ///
    /// # Errors
    /// When one that is configured cannot be seated. One that had joined is left out then, and the
    /// log says so.
    pub fn mount_all<'a>(
        &self,
        configured: impl Iterator<Item = (&'a Arc<str>, &'a Arc<dyn ConfiguredConnector>)>,
        settings: &Arc<CommonConfig>,
        policy: &ConnectorPolicy,
        former: Option<&Self>,
        children: &mut Children,
    ) -> Result<(), BoxError> {
        let (joined, departed) = former
            .and_then(Self::newcomers)
            .map_or_else(Default::default, Annexe::legacy);
        for (name, connector) in configured.filter(|(name, _)| !departed.contains(name)) {
            connector.mount(Mount {
                servo: self.servo().clone(),
                name: name.clone(),
                settings: settings.clone(),
                dispatcher: self.clone(),
                policy: policy.clone(),
                children,
            })?;
        }
        if !departed.is_empty() {
            self.annexe().depart(departed);
        }
        for new in joined {
            let mounted = new.connector.mount(Mount {
                servo: self.servo().clone(),
                name: new.name.clone(),
                settings: new.settings.clone().unwrap_or_else(|| settings.clone()),
                dispatcher: self.clone(),
                policy: new.policy.clone(),
                children,
            });
            match mounted {
                Ok(()) => {
                    let name = new.name.clone();
                    self.annexe().add(name.clone(), Origin::Outside(new));
                    self.annexe().settle(&name);
                }
                Err(error) => {
                    tracing::error!(servo = %self.servo(), connector = %new.name, "a connector that had joined the servo is not there after its restart: {error}");
                }
            }
        }
        Ok(())
    }

    async fn add(
        &self,
        new: NewConnector,
        parent: Option<Arc<str>>,
        options: DispatchOptions,
        nesting: Nesting,
    ) -> Result<ConnectorHandle, AddConnectorError> {
        let name = new.name.clone();
        if *name == **self.servo() {
            return Err(AddConnectorError::Exists(name));
        }
        if let Some(why) = new.connector.unavailable() {
            return Err(AddConnectorError::Unavailable { name, why });
        }
        // A connector that was built anew prepares once more, and so adds its children again.
        if let Some(parent) = &parent
            && self.newcomers().is_some_and(|a| a.is_child(&name, parent))
        {
            let former = WhichConnector::Named(name.clone());
            let _ = self.remove(former, nesting.clone()).await;
        }
        if self.bus().snapshot().connectors.contains(&name) {
            return Err(AddConnectorError::Exists(name));
        }
        if let Some(rule) = new.broken_rule() {
            return Err(AddConnectorError::Name { name, rule });
        }
        let arrival = new
            .connector
            .arrive(Place {
                servo: self.servo().clone(),
                name: name.clone(),
                settings: new.settings.clone().unwrap_or_else(|| self.settings()),
                dispatcher: self.clone(),
                policy: new.policy.clone(),
            })
            .map_err(|error| match error {
                JoinError::Connector(DuplicateConnector(name)) => AddConnectorError::Exists(name),
                JoinError::Event(cause) => AddConnectorError::Event {
                    name: name.clone(),
                    cause,
                },
            })?;
        let mut probation = Probation {
            dispatcher: self,
            name: name.clone(),
            passed: false,
        };
        self.annexe().add(
            name.clone(),
            parent.map_or_else(|| Origin::Outside(new), Origin::Connector),
        );
        if arrival.standing == Standing::Ending {
            let servo = self.servo().clone();
            return Err(AddConnectorError::Ending { name, servo });
        }
        let start = |cause: String| AddConnectorError::Start {
            name: name.clone(),
            cause,
        };
        let Some(supervisor) = self.supervisor().cloned() else {
            return Err(start("the servo was made without room for more".to_owned()));
        };
        supervisor
            .wait_until_up(START)
            .await
            .map_err(|e| start(e.to_string()))?;
        if let Err(cause) = (arrival.start)(supervisor, START).await {
            self.take_out(&name).await;
            return Err(start(cause));
        }
        if let Err(error) = self
            .bring_up(&name, arrival.standing, options, &nesting)
            .await
        {
            self.farewell(&name, arrival.standing, &nesting).await;
            self.take_out(&name).await;
            return Err(error);
        }
        self.homes().settle(&name, Tenure::Settled);
        self.annexe().settle(&name);
        probation.passed = true;
        tracing::info!(servo = %self.servo(), connector = %name, "connector added");
        Ok(ConnectorHandle {
            name,
            door: Arc::downgrade(&arrival.door),
        })
    }

    /// As far as the servo is.
    async fn bring_up(
        &self,
        name: &Arc<str>,
        standing: Standing,
        options: DispatchOptions,
        nesting: &Nesting,
    ) -> Result<(), AddConnectorError> {
        if standing >= Standing::Attaching {
            self.alone(Attach, name, options.clone(), nesting).await?;
        }
        if standing >= Standing::Starting {
            self.alone(Startup, name, options, nesting).await?;
        }
        Ok(())
    }

    async fn alone<E: Event<Output = ()>>(
        &self,
        event: E,
        name: &Arc<str>,
        options: DispatchOptions,
        nesting: &Nesting,
    ) -> Result<(), AddConnectorError> {
        let options = DispatchOptions {
            scope: Scope::Only(vec![name.clone()]),
            ..options
        };
        let nesting = nesting.clone().personal();
        let cause = match self.dispatch_nested(event, options, nesting).await {
            Ok(outcome) => match outcome.cancelled_by.into_iter().next() {
                None => return Ok(()),
                Some(veto) => EventError::failed(veto.reason),
            },
            Err(error) => error.most_severe(),
        };
        Err(AddConnectorError::Lifecycle {
            name: name.clone(),
            event: E::NAME,
            cause,
        })
    }

    fn remove(
        &self,
        which: WhichConnector,
        nesting: Nesting,
    ) -> LocalBoxFuture<'_, Result<(), RemoveConnectorError>> {
        Box::pin(async move {
            let name = which.name().clone();
            let unknown = || RemoveConnectorError::Unknown(name.clone());
            if let WhichConnector::This(handle) = &which {
                let door = self.homes().door(&name).ok_or_else(unknown)?;
                let meant = handle.door.upgrade().ok_or_else(unknown)?;
                if !Arc::ptr_eq(&door, &meant) {
                    return Err(unknown());
                }
            }
            // Once only, however many want it.
            if !self.homes().settle(&name, Tenure::Leaving) {
                return Err(unknown());
            }
            let probation = Probation {
                dispatcher: self,
                name: name.clone(),
                passed: false,
            };
            let standing = self.bus().reached().standing();
            self.farewell(&name, standing, &nesting).await;
            self.take_out(&name).await;
            drop(probation);
            tracing::info!(servo = %self.servo(), connector = %name, "connector removed");
            Ok(())
        })
    }

    /// Those that the connector added leave; then it undoes what it did.
    async fn farewell(&self, name: &Arc<str>, standing: Standing, nesting: &Nesting) {
        let children = self.newcomers().map_or_else(Vec::new, |a| a.children(name));
        for child in children {
            let child = WhichConnector::Named(child);
            let _ = self.remove(child, nesting.clone()).await;
        }
        if standing >= Standing::Starting {
            self.undo(Shutdown, name, nesting).await;
        }
        if standing >= Standing::Attaching {
            self.undo(Detach, name, nesting).await;
        }
    }

    async fn undo<E: Event<Output = ()>>(&self, event: E, name: &Arc<str>, nesting: &Nesting) {
        let options = DispatchOptions {
            scope: Scope::Only(vec![name.clone()]),
            on_error: ErrorPolicy::Collect,
            timeout: FAREWELL,
            grace: FAREWELL_GRACE,
            ..DispatchOptions::default()
        };
        let nesting = nesting.clone().personal();
        let told = |error: &dyn fmt::Display| {
            tracing::error!(servo = %self.servo(), connector = %name, "{} failed: {error}", E::NAME);
        };
        match self.dispatch_nested(event, options, nesting).await {
            Ok(outcome) => {
                let failed = outcome
                    .results
                    .iter()
                    .filter_map(|r| r.value.as_ref().err());
                failed.for_each(|error| told(&error.error));
            }
            Err(error) => told(&error),
        }
    }

    /// The connector ends, and nothing of it is left.
    async fn take_out(&self, name: &Arc<str>) {
        let newcomer = self.is_newcomer(name);
        let Some(door) = self.forget(name) else {
            return;
        };
        match self.supervisor().filter(|_| newcomer) {
            Some(supervisor) => {
                // One that never started is not there.
                let _ = supervisor.stop_child(name, START).await;
            }
            None => door.dismiss().await,
        }
    }

    fn is_newcomer(&self, name: &str) -> bool {
        self.newcomers().is_some_and(|annexe| annexe.has(name))
    }

    /// It takes part in nothing any more. Its door, if it was there.
    fn forget(&self, name: &Arc<str>) -> Option<Arc<dyn Door>> {
        self.bus().leave(name);
        self.homes().end(&TaskKind::ALL, |whose| whose == name);
        let door = self.homes().remove(name)?;
        self.strike_telemetry(|whose| *whose == **name);
        self.annexe().forget(name);
        Some(door)
    }
}

// === impl HandlerContext ===

impl HandlerContext {
    /// Adds a connector to the servo on behalf of this one, as
    /// [`DispatcherRef::add_connector`]: it leaves with this one, ahead of it. One that this
    /// connector has added before, under the same name, is replaced.
    ///
    /// # Errors
    /// As [`DispatcherRef::add_connector`].
    pub async fn add_connector(
        &self,
        new: NewConnector,
    ) -> Result<ConnectorHandle, AddConnectorError> {
        let (dispatcher, options, nesting) = self.nesting(DispatchOptions::default());
        let parent = Some(self.connector_name());
        dispatcher.add(new, parent, options, nesting).await
    }

    /// Has a connector leave the servo, as [`DispatcherRef::remove_connector`].
    ///
    /// # Errors
    /// As [`DispatcherRef::remove_connector`].
    pub async fn remove_connector(
        &self,
        which: impl Into<WhichConnector>,
    ) -> Result<(), RemoveConnectorError> {
        let (dispatcher, _, nesting) = self.nesting(DispatchOptions::default());
        dispatcher.remove(which.into(), nesting).await
    }
}

// === impl Probation ===

/// When all went well it has nothing left to do; when it was given up half-way, it does what needs
/// no waiting, and the rest in the background.
impl Drop for Probation<'_> {
    fn drop(&mut self) {
        if self.passed {
            return;
        }
        let newcomer = self.dispatcher.is_newcomer(&self.name);
        let supervisor = self.dispatcher.supervisor().filter(|_| newcomer).cloned();
        let Some(door) = self.dispatcher.forget(&self.name) else {
            return;
        };
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let name = self.name.clone();
        actix_rt::spawn(async move {
            match supervisor {
                Some(supervisor) => drop(supervisor.stop_child(&name, START).await),
                None => door.dismiss().await,
            }
        });
    }
}
