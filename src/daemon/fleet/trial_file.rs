//! A file of trials, with the embedded optimizer that works on it.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use servo_embedded::{EmbeddedClient, EmbeddedOptimizer, Studies, study::StudyConfig};
use servo_protocol::{BoxFuture, OptimizerClient, PostError, Request, Response, TransportKind};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::daemon::OptimizerError;

/// What the embedded optimizer has to open its file, and to close it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A file of trials, and the embedded optimizer that works on it. Which studies it makes is settled when
/// the file is opened; its servos stay through a change of them.
#[derive(Debug)]
pub(super) struct TrialFile {
    database: PathBuf,
    /// None while the file is opened again.
    optimizer: watch::Sender<Option<EmbeddedOptimizer>>,
    studies: Vec<StudyConfig>,
}

/// Speaks for one servo to the optimizer of a trial file, whichever that is at the time.
struct Client {
    optimizer: watch::Receiver<Option<EmbeddedOptimizer>>,
    id: String,
}

impl TrialFile {
    /// Opens `database` for these studies.
    pub(super) async fn open(
        database: PathBuf,
        studies: Vec<StudyConfig>,
    ) -> Result<Self, OptimizerError> {
        let optimizer = start(&database, &studies).await?;
        Ok(Self {
            database,
            optimizer: watch::Sender::new(Some(optimizer)),
            studies,
        })
    }

    /// A client for the servo whose trials are kept under `id`.
    pub(super) fn client(&self, id: String) -> Arc<dyn OptimizerClient> {
        Arc::new(Client {
            optimizer: self.optimizer.subscribe(),
            id,
        })
    }

    /// The optimizer, unless the file could not be opened again.
    pub(super) fn optimizer(&self) -> Option<EmbeddedOptimizer> {
        self.optimizer.borrow().clone()
    }

    /// Whether each of `wanted` is made already, just so.
    pub(super) fn makes(&self, wanted: &[StudyConfig]) -> bool {
        let made: HashMap<&Option<String>, &StudyConfig> = self
            .studies
            .iter()
            .map(|study| (&study.id, study))
            .collect();
        self.optimizer.borrow().is_some()
            && wanted
                .iter()
                .all(|study| made.get(&study.id) == Some(&study))
    }

    /// Closes the file, and opens it again for these studies. Requests wait meanwhile; where there was no
    /// change, studies go on. Whoever else holds the optimizer has to let it go.
    pub(super) async fn reopen(&mut self, studies: Vec<StudyConfig>) -> Result<(), OptimizerError> {
        if !self.let_go().await {
            tracing::warn!(
                file = %self.database.display(),
                "the embedded optimizer was not done with its file after {PATIENCE:?}"
            );
        }
        let optimizer = start(&self.database, &studies).await?;
        self.studies = studies;
        self.optimizer.send_replace(Some(optimizer));
        Ok(())
    }

    /// Waits until the file is closed.
    pub(super) async fn close(self) {
        // Servos hold clients; one that did not end in time keeps the file open, which loses nothing:
        // every trial is on disk before it counts.
        self.let_go().await;
    }

    async fn let_go(&self) -> bool {
        match self.optimizer.send_replace(None) {
            Some(optimizer) => timeout(PATIENCE, optimizer.closed()).await.is_ok(),
            None => true,
        }
    }
}

async fn start(
    database: &PathBuf,
    studies: &[StudyConfig],
) -> Result<EmbeddedOptimizer, OptimizerError> {
    let studies = Studies::new(studies.to_vec())?;
    Ok(EmbeddedOptimizer::start(database, studies).await?)
}

impl OptimizerClient for Client {
    fn post<'a>(
        &'a self,
        request: &'a Request,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Response, PostError>> {
        Box::pin(async move {
            let began = Instant::now();
            let mut receiver = self.optimizer.clone();
            let optimizer = match timeout(deadline, receiver.wait_for(Option::is_some)).await {
                Ok(Ok(optimizer)) => optimizer.clone(),
                _ => None,
            };
            let optimizer = optimizer.ok_or_else(|| PostError::Transport {
                url: self.display_url(),
                kind: TransportKind::Connect,
                detail: "the embedded optimizer's trial file is not open".to_owned(),
            })?;
            let left = deadline.saturating_sub(began.elapsed());
            let client = EmbeddedClient::new(optimizer, self.id.clone());
            client.post(request, left).await
        })
    }

    fn display_url(&self) -> String {
        format!("embedded:{}", self.id)
    }
}
