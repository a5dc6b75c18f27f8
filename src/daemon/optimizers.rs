//! The optimizers that servos listen to: embedded ones by trial file, and clients over HTTP.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    path::PathBuf,
    sync::Arc,
};

use servo_embedded::{
    EmbeddedClient, EmbeddedOptimizer, Studies, optimizer::StartError, study::StudyError,
};
use servo_protocol::{EndpointError, HttpOptimizer, OptimizerClient, Transport, TransportError};
use thiserror::Error;

use super::AGENT;
use crate::config::{OptimizerConfig, ServoConfig};

/// The optimizers of a run, shared by its servos: one embedded optimizer for each trial file, one
/// HTTP client for each way of reaching others.
#[derive(Debug, Default)]
pub struct Optimizers {
    embedded: HashMap<PathBuf, EmbeddedOptimizer>,
    http: HashMap<Transport, reqwest::Client>,
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
    /// It is one that this build knows the configuration of only.
    #[error(
        "servo \"{0}\" has an optimizer of the AppDynamics kind: this build reads its configuration, but cannot speak to it yet"
    )]
    Appdynamics(Arc<str>),
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
        let mut studies: BTreeMap<PathBuf, Vec<_>> = BTreeMap::new();
        for servo in servos {
            if let Some(OptimizerConfig::Embedded(config)) = &servo.optimizer {
                studies
                    .entry(config.database.clone())
                    .or_default()
                    .push(config.study(&config.optimizer_id(&servo.name)));
            }
        }
        let mut embedded = HashMap::new();
        for (database, studies) in studies {
            let optimizer = EmbeddedOptimizer::start(&database, Studies::new(studies)?).await?;
            embedded.insert(database, optimizer);
        }
        Ok(Self {
            embedded,
            http: HashMap::new(),
        })
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
            Some(OptimizerConfig::Appdynamics(_)) => {
                Err(OptimizerError::Appdynamics(servo.name.clone()))
            }
            Some(optimizer) if optimizer.is_placeholder() => {
                Err(OptimizerError::Placeholder(servo.name.clone()))
            }
            Some(OptimizerConfig::Opsani(config)) => {
                let http = match self.http.entry(Transport::from(&*servo.settings)) {
                    Entry::Occupied(http) => http.get().clone(),
                    Entry::Vacant(place) => {
                        let http = place.key().client()?;
                        place.insert(http).clone()
                    }
                };
                Ok(Arc::new(HttpOptimizer::new(
                    http,
                    config.endpoint()?,
                    AGENT,
                )))
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
