//! All servos of the process.

use std::{
    collections::BTreeMap,
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
    servos: Arc<Mutex<BTreeMap<Arc<str>, ServoHandle>>>,
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
        let spec = Supervisor::spec("assembly", |children| {
            children.stop_order(StopOrder::Together);
            Ok(())
        });
        let assembly = Self {
            supervisor: spec.reference(),
            arbiters,
            servos: Arc::default(),
        };
        (spec, assembly)
    }

    /// Starts a servo.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn add(&self, spec: ServoSpec) -> Result<ServoHandle, AssemblyError> {
        let (child, handle) = spec.into_child();
        let name = handle.name().clone();
        {
            let mut servos = self.lock();
            if servos.contains_key(&name) {
                return Err(AssemblyError::Duplicate(name));
            }
            servos.insert(name.clone(), handle.clone());
        }
        let child = match &self.arbiters {
            Some(arbiters) => child.placement(Placement::LeastLoaded(arbiters.clone())),
            None => child,
        };
        match self.supervisor.start_child(child, Self::PATIENCE).await {
            Ok(_) => Ok(handle),
            Err(cause) => {
                self.lock().remove(&name);
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
        let handle = self
            .lock()
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
        self.lock().values().cloned().collect()
    }

    /// The servo of that name.
    pub fn servo(&self, name: &str) -> Option<ServoHandle> {
        self.lock().get(name).cloned()
    }

    /// What every servo's GOODBYE will tell as its reason.
    pub fn set_goodbye_reason(&self, reason: &str) {
        for servo in self.lock().values() {
            servo.set_goodbye_reason(reason);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, ServoHandle>> {
        self.servos.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
