//! The start of all servos.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use futures_util::{StreamExt, stream};
use servo_assembly::ServoHandle;

use super::{
    AT_A_TIME, Fleet, Inner,
    clients::{Clients, studies_of},
    members::{Examiner, From, Member},
    trial_file::TrialFile,
};
use crate::{
    config::{FileContents, OptimizerConfig, ServoConfig},
    daemon::{OptimizerError, RunError},
};

impl Fleet {
    /// Takes up the first servos. One that cannot be had does not keep the others from it, and is told of
    /// in the log.
    ///
    /// # Errors
    /// When none can be had; when the only one cannot.
    pub(in crate::daemon) async fn take_up(
        &self,
        servos: Vec<ServoConfig>,
    ) -> Result<Vec<ServoHandle>, RunError> {
        let inner = &self.0;
        let mut affairs = inner.affairs.lock().await;
        let count = servos.len();
        inner.start_up.expect(count);
        inner.service.status(&format!("starting {count} servos"));
        let servos = inner.open_trial_files(&mut affairs.clients, servos).await?;
        let members = inner.examine(servos).await?;
        let configurations = members.iter().map(|m| m.config.clone()).collect();
        let made = inner
            .make_clients(&affairs.clients, configurations)
            .await
            .map_err(RunError::Configuration)?;
        let mut first_error = None;
        let mut refused: HashSet<Arc<str>> = HashSet::new();
        let mut startable = Vec::with_capacity(made.len());
        for (config, client) in made {
            match client {
                Ok(client) => startable.push((config, client)),
                Err(error) => {
                    if count > 1 {
                        tracing::error!(servo = %config.name, "{error}");
                    }
                    refused.insert(config.name.clone());
                    first_error.get_or_insert(RunError::Optimizer(error));
                }
            }
        }
        for member in members {
            if !refused.contains(&member.config.name) {
                inner.members.insert(member);
            }
        }
        let starts = stream::iter(startable).map(|(config, client)| async move {
            let started = inner.start(&config, client).await;
            inner.start_up.one_more();
            (config, started)
        });
        let starts = starts.buffer_unordered(AT_A_TIME);
        let mut starts = std::pin::pin!(starts);
        let mut handles = Vec::with_capacity(count);
        while let Some((config, started)) = starts.next().await {
            match started {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    inner.members.remove(&config.name);
                    if count > 1 {
                        tracing::error!(servo = %config.name, "{error}");
                    }
                    first_error.get_or_insert(RunError::Assembly(error));
                }
            }
        }
        if handles.is_empty() {
            return Err(match first_error {
                Some(error) if count == 1 => error,
                _ => RunError::Nobody(count),
            });
        }
        inner.reloads.set_configuration(inner.members.hash());
        inner.publish_studies(&affairs.clients);
        inner.start_up.finish();
        let text = format!("{} servos have been taken up", handles.len());
        inner.service.ready(&text);
        Ok(handles)
    }
}

impl Inner {
    /// The servos whose trial files can be used, these being open.
    ///
    /// # Errors
    /// When that are none.
    async fn open_trial_files(
        &self,
        clients: &mut Clients,
        servos: Vec<ServoConfig>,
    ) -> Result<Vec<ServoConfig>, OptimizerError> {
        let mut broken: HashSet<PathBuf> = HashSet::new();
        let mut first_error = None;
        for (database, studies) in studies_of(&servos) {
            match TrialFile::open(database.clone(), studies).await {
                Ok(file) => clients.insert(database, file),
                Err(error) => {
                    // Servos share a file of trials, and what is wrong with it.
                    for servo in servos.iter().filter(|s| uses(s, &database)) {
                        if servos.len() > 1 {
                            tracing::error!(servo = %servo.name, "{error}");
                        }
                    }
                    broken.insert(database);
                    first_error.get_or_insert(error);
                }
            }
        }
        let sound: Vec<_> = servos
            .into_iter()
            .filter(|servo| !broken.iter().any(|file| uses(servo, file)))
            .collect();
        match first_error {
            Some(error) if sound.is_empty() => Err(error),
            _ => Ok(sound),
        }
    }

    /// Looks at the files that servos name.
    async fn examine(&self, servos: Vec<ServoConfig>) -> Result<Vec<Member>, RunError> {
        let directory = self.directory();
        let examining = self.runtime.spawn_blocking(move || {
            let mut examiner = Examiner {
                directory,
                known: &Default::default(),
                contents: FileContents::default(),
                none: Arc::default(),
            };
            servos
                .into_iter()
                .map(|servo| examiner.member(servo, From::Files))
                .collect()
        });
        examining
            .await
            .map_err(|error| RunError::Configuration(error.to_string()))
    }

    /// Where relative names of files begin.
    pub(super) fn directory(&self) -> PathBuf {
        match &self.source {
            Some(source) => source.directory(),
            None => PathBuf::new(),
        }
    }
}

fn uses(servo: &ServoConfig, file: &PathBuf) -> bool {
    matches!(&servo.optimizer, Some(OptimizerConfig::Embedded(e)) if e.database == *file)
}
