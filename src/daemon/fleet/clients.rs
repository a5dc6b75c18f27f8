//! The clients of the servos' optimizers, and the optimizers in this process.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future;
use servo_embedded::study::StudyConfig;
use servo_messages::SslVerify;
use servo_protocol::OptimizerClient;

use super::trial_file::TrialFile;
use crate::{
    config::{FileContents, OptimizerConfig, ServoConfig},
    daemon::{OptimizerError, Optimizers},
};

/// What servos speak to their optimizers with.
pub(super) struct Clients {
    http: Arc<Mutex<Http>>,
    trial_files: BTreeMap<PathBuf, TrialFile>,
}

/// Those over HTTP.
struct Http {
    optimizers: Optimizers,
    /// The certificates that clients were made with.
    authorities: HashMap<PathBuf, u64>,
}

/// The studies of trial files.
pub(super) type StudiesByFile = BTreeMap<PathBuf, Vec<StudyConfig>>;

/// A servo whose client was made, or why it could not be.
pub(super) type Made = (
    Arc<ServoConfig>,
    Result<Arc<dyn OptimizerClient>, OptimizerError>,
);

/// The studies that `servos` want, by trial file.
pub(super) fn studies_of<'a>(servos: impl IntoIterator<Item = &'a ServoConfig>) -> StudiesByFile {
    let mut studies = StudiesByFile::new();
    for servo in servos {
        if let Some(OptimizerConfig::Embedded(config)) = &servo.optimizer {
            let study = config.study(&config.optimizer_id(&servo.name));
            let file = studies.entry(config.database.clone()).or_default();
            file.push(study);
        }
    }
    studies
}

impl Clients {
    pub(super) fn new(optimizers: Optimizers) -> Self {
        Self {
            http: Arc::new(Mutex::new(Http {
                optimizers,
                authorities: HashMap::new(),
            })),
            trial_files: BTreeMap::new(),
        }
    }

    /// The trial file, if it is in use.
    pub(super) fn trial_file(&self, database: &PathBuf) -> Option<&TrialFile> {
        self.trial_files.get(database)
    }

    pub(super) fn trial_file_mut(&mut self, database: &PathBuf) -> Option<&mut TrialFile> {
        self.trial_files.get_mut(database)
    }

    pub(super) fn has_trial_files(&self) -> bool {
        !self.trial_files.is_empty()
    }

    pub(super) fn insert(&mut self, database: PathBuf, file: TrialFile) {
        self.trial_files.insert(database, file);
    }

    /// Takes out the trial files that are not in `used`.
    pub(super) fn take_unused(&mut self, used: &StudiesByFile) -> Vec<TrialFile> {
        let unused: Vec<PathBuf> = self
            .trial_files
            .keys()
            .filter(|file| !used.contains_key(*file))
            .cloned()
            .collect();
        unused
            .iter()
            .filter_map(|file| self.trial_files.remove(file))
            .collect()
    }

    /// The clients of `servos`, whose trial files are open. Blocks: files of tokens and certificates are
    /// read.
    pub(super) fn maker(&self) -> impl FnOnce(Vec<Arc<ServoConfig>>) -> Vec<Made> + Send + 'static {
        let http = self.http.clone();
        move |servos| {
            let mut http = http.lock().unwrap_or_else(PoisonError::into_inner);
            http.renew_where_certificates_changed(&servos);
            let make = |servo: Arc<ServoConfig>| {
                let client = http.optimizers.client(&servo);
                (servo, client)
            };
            servos.into_iter().map(make).collect()
        }
    }

    /// The client of a servo with an embedded optimizer; none for others.
    pub(super) fn embedded(
        &self,
        servo: &ServoConfig,
    ) -> Option<Result<Arc<dyn OptimizerClient>, OptimizerError>> {
        let Some(OptimizerConfig::Embedded(config)) = &servo.optimizer else {
            return None;
        };
        let id = config.optimizer_id(&servo.name);
        Some(match self.trial_files.get(&config.database) {
            Some(file) => Ok(file.client(id)),
            None => Err(OptimizerError::None(servo.name.clone())),
        })
    }

    /// Waits until all trial files are closed.
    pub(super) async fn close(&mut self) {
        let files = std::mem::take(&mut self.trial_files);
        future::join_all(files.into_values().map(TrialFile::close)).await;
    }
}

impl Http {
    /// Clients read their certificates when they are made, and are shared by servos that name the same
    /// file.
    fn renew_where_certificates_changed(&mut self, servos: &[Arc<ServoConfig>]) {
        let mut contents = FileContents::default();
        let mut changed = false;
        for servo in servos {
            if let SslVerify::Authorities(file) = &servo.settings.ssl_verify {
                let content = contents.of(file);
                let known = self.authorities.insert(file.clone(), content);
                changed |= known.is_some_and(|known| known != content);
            }
        }
        if changed {
            self.optimizers.renew();
        }
    }
}
