//! The optimizers that servos listen to: embedded ones by trial file, and clients over HTTP.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    fmt,
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
};

use servo_embedded::{
    EmbeddedClient, EmbeddedOptimizer, Studies, optimizer::StartError, study::StudyError,
};
use servo_protocol::{
    AppdynamicsError, Channel, ConnectionFiles, EndpointError, HostLimits, HttpOptimizer,
    OptimizerClient, RequestObserver, Transport, TransportError,
};
use thiserror::Error;

use super::AGENT;
use crate::config::{OptimizerConfig, ServoConfig};

/// The optimizers of a run, shared by its servos: one embedded optimizer for each trial file, one
/// HTTP client for each way of reaching others, one gate before each server, one look at each
/// connection file.
#[derive(Default)]
pub struct Optimizers {
    embedded: HashMap<PathBuf, EmbeddedOptimizer>,
    channels: HashMap<Transport, Channel>,
    limits: HostLimits,
    files: ConnectionFiles,
    observer: Option<Arc<dyn RequestObserver>>,
}

/// Why an optimizer cannot be had.
#[derive(Debug, Error)]
pub enum OptimizerError {
    /// None is configured.
    #[error(
        "servo \"{0}\" has no optimizer: add `optimizer: {{embedded: {{...}}}}`, or `optimizer: {{id: ..., token_file: ...}}`"
    )]
    None(Arc<str>),
    /// Two servos share a study, or a study makes no sense.
    #[error(transparent)]
    Study(#[from] StudyError),
    /// The trial file cannot be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Its address or credential cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The same of one of the AppDynamics kind.
    #[error(transparent)]
    Appdynamics(#[from] AppdynamicsError),
    /// It is the one of a generated file.
    #[error(
        "servo \"{0}\" has the placeholder optimizer of a generated file: set optimizer -> id and token, or the variables OPSANI_OPTIMIZER and OPSANI_TOKEN, or use `optimizer: {{embedded: {{...}}}}`"
    )]
    Placeholder(Arc<str>),
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

impl Optimizers {
    /// Starts the embedded optimizers of `servos`.
    ///
    /// # Errors
    /// When a trial file cannot be used, or two servos share an optimizer id.
    pub async fn start(servos: &[ServoConfig]) -> Result<Self, OptimizerError> {
        let mut optimizers = Self::default();
        optimizers.admit(servos).await?;
        Ok(optimizers)
    }

    /// Starts the embedded optimizers of `servos` whose trial files are not open yet. One that is
    /// open stays as it is.
    ///
    /// # Errors
    /// As [`Optimizers::start`]; nothing is started then.
    pub async fn admit(&mut self, servos: &[ServoConfig]) -> Result<(), OptimizerError> {
        let mut studies: BTreeMap<PathBuf, Vec<_>> = BTreeMap::new();
        for servo in servos {
            if let Some(OptimizerConfig::Embedded(config)) = &servo.optimizer
                && !self.embedded.contains_key(&config.database)
            {
                studies
                    .entry(config.database.clone())
                    .or_default()
                    .push(config.study(&config.optimizer_id(&servo.name)));
            }
        }
        let mut started = HashMap::new();
        for (database, studies) in studies {
            let optimizer = EmbeddedOptimizer::start(&database, Studies::new(studies)?).await?;
            started.insert(database, optimizer);
        }
        self.embedded.extend(started);
        Ok(())
    }

    /// The same with so many requests to one `host:port` at once
    /// ([`crate::config::OptimizerLimits`]).
    #[must_use]
    pub fn limited(self, requests: NonZeroUsize) -> Self {
        Self {
            limits: HostLimits::new(requests),
            ..self
        }
    }

    /// The same with somebody who is told of each request to an optimizer over HTTP.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn RequestObserver>) -> Self {
        Self {
            observer: Some(observer),
            ..self
        }
    }

    /// Has servos that are still to come use new HTTP clients, which read their certificates again. Those
    /// that have one keep it; gates stay what they are.
    pub fn renew(&mut self) {
        self.channels.clear();
    }

    /// The client for `servo`.
    ///
    /// # Errors
    /// When it has no optimizer, or one that cannot be used.
    pub fn client(
        &mut self,
        servo: &ServoConfig,
    ) -> Result<Arc<dyn OptimizerClient>, OptimizerError> {
        match &servo.optimizer {
            None => Err(OptimizerError::None(servo.name.clone())),
            Some(OptimizerConfig::Embedded(config)) => {
                let optimizer = self
                    .embedded
                    .get(&config.database)
                    .ok_or_else(|| OptimizerError::None(servo.name.clone()))?;
                Ok(Arc::new(EmbeddedClient::new(
                    optimizer.clone(),
                    config.optimizer_id(&servo.name),
                )))
            }
            Some(optimizer) if optimizer.is_placeholder() => {
                Err(OptimizerError::Placeholder(servo.name.clone()))
            }
            Some(OptimizerConfig::Opsani(config)) => {
                let channel = self.channel(servo)?;
                Ok(Arc::new(HttpOptimizer::opsani(
                    channel,
                    &config.endpoint()?,
                )))
            }
            Some(OptimizerConfig::Appdynamics(config)) => {
                let channel = self.channel(servo)?;
                Ok(Arc::new(HttpOptimizer::appdynamics(
                    channel,
                    config.source.clone(),
                    &self.files,
                )?))
            }
        }
    }

    /// How requests of `servo` get out, shared with all that have the same `settings`.
    fn channel(&mut self, servo: &ServoConfig) -> Result<Channel, TransportError> {
        match self.channels.entry(Transport::from(&*servo.settings)) {
            Entry::Occupied(channel) => Ok(channel.get().clone()),
            Entry::Vacant(place) => {
                let mut channel = place.key().channel(AGENT, self.limits.clone())?;
                if let Some(observer) = &self.observer {
                    channel = channel.observed(observer.clone());
                }
                Ok(place.insert(channel).clone())
            }
        }
    }

    /// The embedded optimizer of `servo`, its optimizer id there, and whether the servo goes on
    /// when its study is over.
    pub fn embedded(&self, servo: &ServoConfig) -> Option<(EmbeddedOptimizer, String, bool)> {
        let Some(OptimizerConfig::Embedded(config)) = &servo.optimizer else {
            return None;
        };
        let optimizer = self.embedded.get(&config.database)?;
        let id = config.optimizer_id(&servo.name);
        Some((optimizer.clone(), id, config.keep_running))
    }

    /// Waits until the trial files are closed. Every client must be gone before.
    pub async fn close(self) {
        for optimizer in self.embedded.into_values() {
            optimizer.closed().await;
        }
    }
}

impl fmt::Debug for Optimizers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Optimizers")
            .field("embedded", &self.embedded)
            .field("channels", &self.channels.len())
            .field("limits", &self.limits)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}
