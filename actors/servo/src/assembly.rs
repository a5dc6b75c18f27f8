//! All servos of the process.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use servo_supervision::{
    Arbiters, ChildRef, ChildSpec, Placement, StopOrder, SuperviseError, Supervisor,
};
use thiserror::Error;

use crate::servo::{ServoHandle, ServoSpec};

/// All servos of the process, under one supervisor; servos come and go while it runs.
#[derive(Clone)]
pub struct Assembly {
    supervisor: ChildRef<Supervisor>,
    arbiters: Option<Arbiters>,
    servos: Servos,
}

type Servos = Arc<Mutex<BTreeMap<Arc<str>, Member>>>;

/// A servo of the assembly.
struct Member {
    spec: Arc<ServoSpec>,
    handle: ServoHandle,
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
    /// The supervisor could not do it.
    #[error("servo {name}: {cause}")]
    Supervisor {
        /// Which servo.
        name: Arc<str>,
        /// Why.
        cause: SuperviseError,
    },
}

impl Assembly {
    /// How long the supervisor has for taking up or ending a servo.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// How to run an assembly without servos, and how to reach it. Servos are spread over
    /// `arbiters`; without any they live on the assembly's own.
    pub fn spec(arbiters: Option<Arbiters>) -> (ChildSpec<Supervisor>, Self) {
        let servos = Servos::default();
        let (known, spread) = (servos.clone(), arbiters.clone());
        // Should the assembly's own supervisor ever fail, the new one takes up the same servos.
        let spec = Supervisor::spec("assembly", move |children| {
            children.stop_order(StopOrder::Together);
            for servo in lock(&known).values() {
                children.start(servo.child(spread.as_ref()));
            }
            Ok(())
        });
        let assembly = Self {
            supervisor: spec.reference(),
            arbiters,
            servos,
        };
        (spec, assembly)
    }

    /// Starts a servo.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn add(&self, spec: ServoSpec) -> Result<ServoHandle, AssemblyError> {
        let name = spec.name.clone();
        let servo = Member {
            handle: ServoHandle::new(name.clone()),
            spec: Arc::new(spec),
        };
        let handle = servo.handle.clone();
        let child = servo.child(self.arbiters.as_ref());
        match lock(&self.servos).entry(name.clone()) {
            Entry::Occupied(_) => return Err(AssemblyError::Duplicate(name)),
            Entry::Vacant(entry) => entry.insert(servo),
        };
        // It may be in its own first start.
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

    /// Ends a servo: its command is stopped, its connectors shut down, and the optimizer is told
    /// `reason`. The name is free afterwards.
    ///
    /// # Errors
    /// When there is no such servo.
    pub async fn remove(&self, name: &str, reason: &str) -> Result<(), AssemblyError> {
        let Member { handle, .. } = lock(&self.servos)
            .remove(name)
            .ok_or_else(|| AssemblyError::Unknown(name.to_owned()))?;
        handle.set_goodbye_reason(reason);
        self.supervisor
            .stop_child(name, Self::PATIENCE)
            .await
            .map(drop)
            .map_err(|cause| AssemblyError::Supervisor {
                name: handle.name().clone(),
                cause,
            })
    }

    /// All servos, by name.
    pub fn servos(&self) -> Vec<ServoHandle> {
        lock(&self.servos)
            .values()
            .map(|servo| servo.handle.clone())
            .collect()
    }

    /// The servo of that name.
    pub fn servo(&self, name: &str) -> Option<ServoHandle> {
        lock(&self.servos)
            .get(name)
            .map(|servo| servo.handle.clone())
    }

    /// What every servo's GOODBYE will tell as its reason.
    pub fn set_goodbye_reason(&self, reason: &str) {
        for servo in lock(&self.servos).values() {
            servo.handle.set_goodbye_reason(reason);
        }
    }
}

impl Member {
    fn child(&self, arbiters: Option<&Arbiters>) -> ChildSpec<Supervisor> {
        let child = self.spec.clone().shared_child(&self.handle);
        match arbiters {
            Some(arbiters) => child.placement(Placement::LeastLoaded(arbiters.clone())),
            None => child,
        }
    }
}

impl fmt::Debug for Assembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembly")
            .field("servos", &lock(&self.servos).len())
            .finish_non_exhaustive()
    }
}

fn lock(servos: &Servos) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, Member>> {
    servos.lock().unwrap_or_else(PoisonError::into_inner)
}
