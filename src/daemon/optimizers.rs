//! The optimizers that servos listen to: embedded ones by trial file, and clients over HTTP.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    fmt,
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

    /// The same behind `limits` ([`crate::config::OptimizerLimits`]).
    #[must_use]
    pub fn limited(self, limits: HostLimits) -> Self {
        Self { limits, ..self }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::time::{Duration, Instant};

    use servo_doubles::{Script, ScriptedOptimizer};
    use std::num::NonZeroUsize;

    use servo_protocol::{Event, PostError, Request, Response};

    use super::*;
    use crate::{config::sample, connectors};

    fn servo(optimizer: &str) -> ServoConfig {
        let yaml = format!(
            "optimizer: {optimizer}\nsettings: {{ssl_verify: false}}\nwait: {{measure_enabled: true}}\n"
        );
        let servos = sample::servos(&yaml, &[], &connectors::bundled());
        servos.into_iter().next().unwrap()
    }

    async fn ask(client: &dyn OptimizerClient, patience: Duration) -> Result<Response, PostError> {
        let request = Request {
            event: Event::WhatsNext,
            servo_uid: None,
        };
        client.post(&request, patience).await
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn an_appdynamics_optimizer_is_reached_with_a_token_or_a_connection_file() {
        let optimizer = ScriptedOptimizer::start(Script::new());
        let url = optimizer.base_url();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("connection.yaml");
        let content = format!("Authorization: Bearer filed\nEndpoint: {url}/\nTenantId: t\n");
        std::fs::write(&file, content).unwrap();
        let mut optimizers = Optimizers::default().limited(HostLimits::new(NonZeroUsize::MIN));
        for (stanza, credential) in [
            (
                format!("{{optimizer_id: a, base_url: '{url}', token: given}}"),
                "Bearer given",
            ),
            (
                format!("{{optimizer_id: a, connection_file: '{}'}}", file.display()),
                "Bearer filed",
            ),
        ] {
            let client = optimizers.client(&servo(&stanza)).unwrap();
            ask(&*client, LONG).await.unwrap();
            assert!(client.diagnostics().is_some());
            let last = optimizer.received().pop().unwrap();
            assert_eq!(last.header("authorization"), Some(credential));
            assert_eq!(last.http.target, "/rest/optimize/co/v1/optimizers/a/servo");
        }
        assert_eq!(optimizers.channels.len(), 1, "they share what they can");
    }

    #[tokio::test]
    async fn a_connection_file_that_is_not_there_yet_holds_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("nope.yaml");
        let stanza = format!("{{optimizer_id: a, connection_file: '{}'}}", file.display());
        let mut optimizers = Optimizers::default();
        let began = Instant::now();
        let clients: Vec<_> = (0..100)
            .map(|_| optimizers.client(&servo(&stanza)).unwrap())
            .collect();
        assert!(began.elapsed() < LONG);
        let error = ask(&*clients[0], Duration::from_millis(10)).await;
        assert!(error.unwrap_err().to_string().contains("still awaited"));
    }
}
