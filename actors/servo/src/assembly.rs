//! All servos of the process.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use servo_supervision::{
    Arbiters, ChildRef, ChildSpec, Placement, StopOrder, SuperviseError, Supervisor,
};
use thiserror::Error;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    blueprint::{Blueprint, Drawer},
    crowd::Crowd,
    handle::ServoHandle,
    policy::ServoPolicy,
    servo::ServoSpec,
};

/// All servos of the process, under one supervisor; servos come and go while it runs.
///
/// What is asked of it is done even when nobody waits for it any more.
#[derive(Clone)]
pub struct Assembly(Arc<Inner>);

struct Inner {
    supervisor: ChildRef<Supervisor>,
    arbiters: Option<Arbiters>,
    servos: Servos,
    crowd: Crowd,
    drawer: Drawer,
}

type Servos = Arc<Mutex<BTreeMap<Arc<str>, Place>>>;

/// What a name stands for.
enum Place {
    /// A servo.
    Taken(Member),
    /// One that is on its way out; fires when the name is free.
    Leaving(CancellationToken),
}

/// A servo of the assembly.
struct Member {
    blueprint: Arc<Blueprint>,
    handle: ServoHandle,
}

/// How a servo leaves: the reason that its GOODBYE tells, and what becomes of the command that it
/// is carrying out. A text alone is a reason, with the command cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    reason: Arc<str>,
    patience: Option<Duration>,
}

/// Holds a name until its servo has left.
struct Vacating {
    servos: Servos,
    name: Arc<str>,
    /// Tells those who wait for the name, when everything else is done.
    _left: DropGuard,
}

/// Why a servo could not be added or removed.
#[derive(Debug, Error)]
pub enum AssemblyError {
    /// The name is taken.
    #[error("a servo named {0:?} exists already: give one of them another `name`")]
    Duplicate(Arc<str>),
    /// No such servo.
    #[error("No servo was found named \"{0}\"")]
    Unknown(String),
    /// A servo of that name is on its way out, and takes too long.
    #[error("servo {name}: the one of that name that is ending is not gone after {}; try again later", servo_messages::Duration::from(*after))]
    Leaving {
        /// The name.
        name: Arc<str>,
        /// How long it was waited for.
        after: Duration,
    },
    /// The supervisor could not do it.
    #[error("servo {name}: {cause}")]
    Supervisor {
        /// Which servo.
        name: Arc<str>,
        /// Why.
        cause: SuperviseError,
    },
    /// The program is ending.
    #[error("servo {0}: the program is ending")]
    Ending(Arc<str>),
}

// === impl Farewell ===

impl Farewell {
    /// Tells `reason`; the command in progress is cancelled.
    pub fn new(reason: impl Into<Arc<str>>) -> Self {
        Self {
            reason: reason.into(),
            patience: None,
        }
    }

    /// The same, but the command in progress may go on to its end, for so long at most.
    #[must_use]
    pub fn finishing(mut self, within: Duration) -> Self {
        self.patience = Some(within);
        self
    }
}

impl From<&str> for Farewell {
    fn from(reason: &str) -> Self {
        Self::new(reason)
    }
}

// === impl Assembly ===

impl Assembly {
    /// How long the supervisor has for taking up or ending a servo, beside what the servo itself
    /// may take.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// How to run an assembly without servos, and how to reach it. Servos are spread over
    /// `arbiters`; without any they live on the assembly's own.
    pub fn spec(arbiters: Option<Arbiters>) -> (ChildSpec<Supervisor>, Self) {
        let servos = Servos::default();
        let (known, spread) = (servos.clone(), arbiters.clone());
        // Should the assembly's own supervisor ever fail, the new one takes up the same servos.
        let spec = Supervisor::spec("assembly", move |children| {
            children.stop_order(StopOrder::Together);
            for place in lock(&known).values() {
                if let Place::Taken(servo) = place {
                    children.start(servo.child(spread.as_ref()));
                }
            }
            Ok(())
        });
        let assembly = Self(Arc::new(Inner {
            supervisor: spec.reference(),
            arbiters,
            servos,
            crowd: Crowd::default(),
            drawer: Drawer::default(),
        }));
        (spec, assembly)
    }

    /// Starts a servo; it comes up by and by. Where one of that name is on its way out, it is
    /// waited for.
    ///
    /// # Errors
    /// When the name is taken, or the program is ending.
    pub async fn add(&self, spec: ServoSpec) -> Result<ServoHandle, AssemblyError> {
        let name = spec.name.clone();
        let inner = self.0.clone();
        through(&name, async move { inner.add(spec).await }).await
    }

    /// Ends a servo, and tells its optimizer why; its connectors undo what they must. Returns when
    /// it is gone.
    ///
    /// # Errors
    /// When there is no such servo.
    pub async fn remove(
        &self,
        name: &str,
        farewell: impl Into<Farewell>,
    ) -> Result<(), AssemblyError> {
        let (inner, farewell) = (self.0.clone(), farewell.into());
        let (servo, vacating) = inner.vacate(name)?;
        let name = servo.handle.name().clone();
        let ending = async move { inner.end(&servo, &farewell, vacating).await };
        through(&name, ending).await
    }

    /// Ends the servo of that name as [`Assembly::remove`] does, and starts another in its place,
    /// which may bear the same name. Its optimizer hears GOODBYE before it hears HELLO.
    ///
    /// # Errors
    /// When there is no such servo, or the program is ending.
    pub async fn replace(
        &self,
        name: &str,
        spec: ServoSpec,
        farewell: impl Into<Farewell>,
    ) -> Result<ServoHandle, AssemblyError> {
        let (inner, farewell) = (self.0.clone(), farewell.into());
        let (servo, vacating) = inner.vacate(name)?;
        let name = servo.handle.name().clone();
        let replacing = async move {
            inner.end(&servo, &farewell, vacating).await?;
            inner.add(spec).await
        };
        through(&name, replacing).await
    }

    /// All servos, by name.
    pub fn servos(&self) -> Vec<ServoHandle> {
        let servos = lock(&self.0.servos);
        let members = servos.values().filter_map(Place::member);
        members.map(|servo| servo.handle.clone()).collect()
    }

    /// How many servos there are.
    pub fn len(&self) -> usize {
        let servos = lock(&self.0.servos);
        servos.values().filter_map(Place::member).count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The servo of that name.
    pub fn servo(&self, name: &str) -> Option<ServoHandle> {
        let servos = lock(&self.0.servos);
        let servo = servos.get(name)?.member()?;
        Some(servo.handle.clone())
    }

    /// What every servo's GOODBYE will tell as its reason.
    pub fn set_goodbye_reason(&self, reason: &str) {
        let reason: Arc<str> = reason.into();
        for servo in lock(&self.0.servos).values().filter_map(Place::member) {
            servo.handle.set_goodbye_reason(reason.clone());
        }
    }

    /// What the end of all servos takes at most, which end at the same time
    /// ([`ServoPolicy::shutdown_grace`]).
    pub fn shutdown_grace(&self) -> Duration {
        let servos = lock(&self.0.servos);
        let members = servos.values().filter_map(Place::member);
        let each = members.map(|servo| ServoPolicy::shutdown_grace(&servo.blueprint.common.policy));
        each.max().unwrap_or_default()
    }
}

impl Inner {
    async fn add(&self, spec: ServoSpec) -> Result<ServoHandle, AssemblyError> {
        let name = spec.name.clone();
        let servo = Member {
            handle: ServoHandle::new(name.clone(), self.crowd.clone()),
            blueprint: self.drawer.draw(spec),
        };
        let handle = servo.handle.clone();
        let child = servo.child(self.arbiters.as_ref());
        self.occupy(servo).await?;
        // The supervisor may be in its own first start.
        let started = async {
            self.supervisor.wait_until_up(Self::PATIENCE).await?;
            self.supervisor.start_child(child, Self::PATIENCE).await
        };
        match started.await {
            Ok(_) => Ok(handle),
            Err(cause) => {
                lock(&self.servos).remove(&name);
                Err(AssemblyError::Supervisor { name, cause })
            }
        }
    }

    const PATIENCE: Duration = Assembly::PATIENCE;

    /// Gives the servo its name, once that is free.
    async fn occupy(&self, servo: Member) -> Result<(), AssemblyError> {
        let name = servo.handle.name().clone();
        let until = tokio::time::Instant::now() + Self::PATIENCE;
        loop {
            let leaving = {
                let mut servos = lock(&self.servos);
                let count = servos.len() + 1;
                match servos.entry(name.clone()) {
                    Entry::Occupied(entry) => match entry.get() {
                        Place::Taken(_) => return Err(AssemblyError::Duplicate(name)),
                        Place::Leaving(left) => left.clone(),
                    },
                    Entry::Vacant(entry) => {
                        entry.insert(Place::Taken(servo));
                        self.crowd.set(count);
                        return Ok(());
                    }
                }
            };
            if tokio::time::timeout_at(until, leaving.cancelled())
                .await
                .is_err()
            {
                return Err(AssemblyError::Leaving {
                    name,
                    after: Self::PATIENCE,
                });
            }
        }
    }

    /// Takes a servo out of the assembly; its name is held until it has left.
    fn vacate(&self, name: &str) -> Result<(Member, Vacating), AssemblyError> {
        let mut servos = lock(&self.servos);
        let place = servos.get_mut(name);
        let Some(place) = place.filter(|place| place.member().is_some()) else {
            return Err(AssemblyError::Unknown(name.to_owned()));
        };
        let left = CancellationToken::new();
        let taken = std::mem::replace(place, Place::Leaving(left.clone()));
        let Place::Taken(servo) = taken else {
            return Err(AssemblyError::Unknown(name.to_owned()));
        };
        let vacating = Vacating {
            servos: self.servos.clone(),
            name: servo.handle.name().clone(),
            _left: left.drop_guard(),
        };
        Ok((servo, vacating))
    }

    async fn end(
        &self,
        servo: &Member,
        farewell: &Farewell,
        vacating: Vacating,
    ) -> Result<(), AssemblyError> {
        let handle = &servo.handle;
        handle.set_goodbye_reason(farewell.reason.clone());
        if let Some(within) = farewell.patience
            && !handle.retire(within).await
        {
            tracing::warn!(
                servo = %handle.name(),
                "the command in progress has not ended within {} and is cancelled",
                servo_messages::Duration::from(within)
            );
        }
        let grace = servo.blueprint.common.policy.shutdown_grace();
        let patience = Self::PATIENCE.saturating_add(grace);
        let ended = self.supervisor.stop_child(handle.name(), patience).await;
        drop(vacating);
        match ended {
            // The assembly's supervisor may have ended it by itself.
            Ok(_) | Err(SuperviseError::Unknown { .. }) => Ok(()),
            Err(cause) => Err(AssemblyError::Supervisor {
                name: handle.name().clone(),
                cause,
            }),
        }
    }
}

/// Goes through with `work`, whether somebody waits for it or not: half a change would leave a name
/// without a servo, or a servo without a name.
async fn through<T: Send + 'static>(
    name: &Arc<str>,
    work: impl Future<Output = Result<T, AssemblyError>> + Send + 'static,
) -> Result<T, AssemblyError> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(_) => Err(AssemblyError::Ending(name.clone())),
    }
}

impl Place {
    fn member(&self) -> Option<&Member> {
        match self {
            Self::Taken(member) => Some(member),
            Self::Leaving(_) => None,
        }
    }
}

impl Member {
    fn child(&self, arbiters: Option<&Arbiters>) -> ChildSpec<Supervisor> {
        let child = self.blueprint.clone().child(&self.handle);
        match arbiters {
            Some(arbiters) => child.placement(Placement::LeastLoaded(arbiters.clone())),
            None => child,
        }
    }
}

impl Drop for Vacating {
    fn drop(&mut self) {
        lock(&self.servos).remove(&self.name);
    }
}

impl fmt::Debug for Assembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembly")
            .field("servos", &lock(&self.0.servos).len())
            .finish_non_exhaustive()
    }
}

fn lock(servos: &Servos) -> MutexGuard<'_, BTreeMap<Arc<str>, Place>> {
    servos.lock().unwrap_or_else(PoisonError::into_inner)
}
