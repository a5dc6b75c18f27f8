//! The servos of the running program, and what changes them.
//!
//! Servos come from the configuration's files, which a reload reads again, or were added while the
//! program runs ([`Fleet::add`]). A reload leaves those that were added alone, unless the file names
//! them too: then it is the file that counts from now on. One that was removed ([`Fleet::remove`]) comes
//! back with the next reload if the file still has it.

mod change;
mod clients;
mod members;
mod reload;
mod source;
mod status;
mod take_up;
mod trial_file;

use std::{
    collections::HashSet,
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::Duration,
};

use servo_assembly::{Assembly, Polling, ServoHandle, ServoObserver, ServoSpec};
use servo_embedded::{EmbeddedOptimizer, study::StudyConfig};
use servo_protocol::OptimizerClient;
use servo_supervision::Snapshot;
use thiserror::Error;
use tokio::{
    runtime::Handle,
    sync::{Mutex, MutexGuard, Semaphore, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

pub use change::COMES_BACK;
pub use source::{ConfigurationSource, Loaded};
pub use status::{LastReload, Readiness, ReloadStatus, Reloaded, Trigger};

use super::{
    Optimizers, diagnostics,
    systemd::Service,
    tree::{Tree, servo_spec},
};
use crate::config::{DaemonConfig, OptimizerConfig, ServoConfig};
use clients::{Clients, Made};
use members::Members;
use status::{Reloads, StartUp};

/// How many servos are taken up, changed or removed at a time.
const AT_A_TIME: usize = 1000;

/// How long the making of clients may take: files of tokens and certificates are read.
const CLIENTS: Duration = Duration::from_secs(30);

/// How long one change waits for the one before it. A change has a limit of its own for each part.
const TURN: Duration = Duration::from_secs(120);

/// The servos of the running program, and what changes them. Cheap to clone; can be used from any
/// thread.
#[derive(Clone, Debug)]
pub struct Fleet(Arc<Inner>);

struct Inner {
    tree: Tree,
    members: Members,
    /// Changes come one after the other: each holds this.
    affairs: Mutex<Affairs>,
    waiting: AtomicUsize,
    /// A thread still reads the configuration.
    reading: Arc<AtomicBool>,
    studies: watch::Sender<Arc<Vec<RunningStudy>>>,
    settings: watch::Sender<Settings>,
    source: Option<Arc<dyn ConfigurationSource>>,
    outfit: Outfit,
    start_up: StartUp,
    reloads: Reloads,
    service: Service,
    quit: CancellationToken,
    /// Where changes are made, whoever asks for them and goes away again.
    runtime: Handle,
}

/// What changes as the fleet does.
struct Affairs {
    clients: Clients,
    /// Servos of the configuration that could not run from the start.
    unfit: HashSet<Arc<str>>,
    /// What the program was started with.
    started_with: DaemonConfig,
}

/// What of `servo.toml` counts at once when it is read again.
#[derive(Clone, Debug, Default)]
struct Settings {
    daemon: DaemonConfig,
    /// How often servos have come or gone other than at the start.
    changes: u64,
}

/// What every servo gets beside its configuration.
#[derive(Clone, Debug, Default)]
pub struct Outfit {
    /// When optimizers are asked for commands.
    pub polling: Polling,
    /// One permit for each command that all servos together may carry out at a time; none = no limit.
    pub commands: Option<Arc<Semaphore>>,
    /// Is told of each command that a servo has done with.
    pub observer: Option<Arc<dyn ServoObserver>>,
}

/// What a fleet is made of.
pub struct Setup {
    /// What `servo.toml` says.
    pub daemon: DaemonConfig,
    /// Where the configuration comes from; without one there are no reloads.
    pub source: Option<Arc<dyn ConfigurationSource>>,
    /// Servos of the configuration that cannot run, as has been told.
    pub unfit: HashSet<Arc<str>>,
    /// What makes the clients of optimizers over HTTP.
    pub optimizers: Optimizers,
    /// What every servo gets beside its configuration.
    pub outfit: Outfit,
}

/// A study of an embedded optimizer.
#[derive(Clone, Debug)]
pub(super) struct RunningStudy {
    pub(super) optimizer: EmbeddedOptimizer,
    /// The optimizer id.
    pub(super) id: String,
    pub(super) study: StudyConfig,
}

/// A reload that changed nothing, and why, in one line.
#[derive(Clone, Debug, Error)]
#[error("reload refused: {0}")]
pub struct ReloadRefused(String);

/// A servo that was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Whether the configuration's files named it when they were read last: then the next reload
    /// brings it back, unless it is taken out there.
    pub comes_back: bool,
}

/// Why no servo was added or removed.
#[derive(Clone, Debug, Error)]
pub enum ChangeError {
    /// The documents are wrong, or cannot run.
    #[error("{0}")]
    Invalid(String),
    /// The name, or the optimizer, is that of another servo.
    #[error("{0}")]
    Taken(String),
    /// There is no servo of that name.
    #[error("No servo was found named \"{0}\"")]
    Unknown(String),
    /// Other changes are being made, and take long.
    #[error("other changes of the servos are still being made: try again later")]
    Busy,
    /// The program is ending.
    #[error("the program is shutting down: nothing is changed any more")]
    ShuttingDown,
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
}

// === impl Fleet ===

impl Fleet {
    /// A fleet without servos so far, below `tree`. On the thread that carries out changes.
    pub(super) fn new(tree: Tree, setup: Setup) -> Self {
        let Setup {
            daemon,
            source,
            unfit,
            optimizers,
            outfit,
        } = setup;
        Self(Arc::new(Inner {
            tree,
            members: Members::default(),
            affairs: Mutex::new(Affairs {
                clients: Clients::new(optimizers),
                unfit,
                started_with: daemon.clone(),
            }),
            waiting: AtomicUsize::new(0),
            reading: Arc::default(),
            studies: watch::Sender::default(),
            settings: watch::Sender::new(Settings { daemon, changes: 0 }),
            source,
            outfit,
            start_up: StartUp::default(),
            reloads: Reloads::new(0),
            service: Service::of_environment(),
            quit: CancellationToken::new(),
            runtime: Handle::current(),
        }))
    }

    /// The servos, as they run: their states, their handles.
    pub fn assembly(&self) -> &Assembly {
        self.0.tree.assembly()
    }

    /// The whole supervision tree as it stands now. Asks no actor. With 10,000 servos it takes a
    /// good part of a second: not on a thread that others wait for.
    pub fn tree(&self) -> Snapshot {
        self.0.tree.snapshot()
    }

    /// The configurations of the servos that run now, by their names.
    pub fn configurations(&self) -> Vec<Arc<ServoConfig>> {
        self.0.members.configurations()
    }

    /// Ends the program in order, as SIGTERM does; the optimizers are told `shutdown` as the reason.
    pub fn quit(&self) {
        self.0.quit.cancel();
    }

    /// How reloads have gone so far.
    pub fn reloads(&self) -> ReloadStatus {
        self.0.reloads.status()
    }

    /// Whether all servos have been taken up.
    pub fn readiness(&self) -> Readiness {
        if self.0.quit.is_cancelled() {
            return Readiness::ShuttingDown;
        }
        self.0.start_up.readiness()
    }

    /// Up to how many servos there are metrics of each.
    pub(super) fn metrics_per_servo(&self) -> usize {
        self.0.settings.borrow().daemon.admin.metrics_per_servo
    }

    /// Whether a change of the configuration's files is a reason to reload.
    pub fn watches(&self) -> bool {
        self.0.settings.borrow().daemon.watch
    }

    /// What supervises the program.
    pub(super) fn service(&self) -> &Service {
        &self.0.service
    }

    /// The supervision tree.
    pub(super) fn supervision(&self) -> &Tree {
        &self.0.tree
    }

    /// Completes when the end of the program was asked for.
    pub(super) async fn quitting(&self) {
        self.0.quit.cancelled().await;
    }

    /// The studies of embedded optimizers, and whenever they change. Whoever holds some has to let go when
    /// they do.
    pub(super) fn studies(&self) -> watch::Receiver<Arc<Vec<RunningStudy>>> {
        self.0.studies.subscribe()
    }

    /// Whether each servo has a study that ends.
    pub(super) fn is_finite(&self) -> bool {
        let configurations = self.0.members.configurations();
        !configurations.is_empty()
            && configurations.iter().all(|servo| {
                matches!(&servo.optimizer, Some(OptimizerConfig::Embedded(e)) if !e.keep_running)
            })
    }

    /// Completes when servos have come or gone other than at the start.
    pub(super) async fn changed(&self) {
        let mut settings = self.0.settings.subscribe();
        if settings.wait_for(|s| s.changes > 0).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Where the configuration comes from, and the files that the servos' own name.
    pub(super) fn watched(
        &self,
    ) -> Option<(Arc<dyn ConfigurationSource>, Vec<std::path::PathBuf>)> {
        let source = self.0.source.clone()?;
        Some((source, self.0.members.files()))
    }

    /// Completes when `watch` is, or is no more, what `watches` says.
    pub(super) async fn until_watching(&self, watches: bool) {
        let mut settings = self.0.settings.subscribe();
        if settings
            .wait_for(|s| s.daemon.watch == watches)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }

    /// Closes what the fleet alone has open. The tree has ended before.
    pub(super) async fn close(&self) {
        self.0.studies.send_replace(Arc::default());
        self.0.affairs.lock().await.clients.close().await;
    }

    /// Does `work` to its end, even when nobody waits for it any more.
    async fn through<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, String> {
        let done = self.0.runtime.spawn(work).await;
        done.map_err(|error| format!("the change of the servos did not come to its end: {error}"))
    }
}

impl Inner {
    /// The turn of one who wants to change something.
    async fn turn(&self) -> Result<MutexGuard<'_, Affairs>, ChangeError> {
        use std::sync::atomic::Ordering::Relaxed;
        /// More do not wait: who asks again and again does not have to be remembered.
        const QUEUE: usize = 64;

        if self.quit.is_cancelled() {
            return Err(ChangeError::ShuttingDown);
        }
        if self.waiting.fetch_add(1, Relaxed) >= QUEUE {
            self.waiting.fetch_sub(1, Relaxed);
            return Err(ChangeError::Busy);
        }
        let turn = timeout(TURN, self.affairs.lock()).await;
        self.waiting.fetch_sub(1, Relaxed);
        let affairs = turn.map_err(|_| ChangeError::Busy)?;
        if self.quit.is_cancelled() {
            return Err(ChangeError::ShuttingDown);
        }
        Ok(affairs)
    }

    /// The clients of `servos`, in their order.
    async fn make_clients(
        &self,
        clients: &Clients,
        servos: Vec<Arc<ServoConfig>>,
    ) -> Result<Vec<Made>, String> {
        let (embedded, http): (Vec<_>, Vec<_>) = servos
            .into_iter()
            .partition(|s| matches!(s.optimizer, Some(OptimizerConfig::Embedded(_))));
        let mut made = Vec::with_capacity(embedded.len() + http.len());
        if !http.is_empty() {
            let make = clients.maker();
            let making = self.runtime.spawn_blocking(move || make(http));
            let over_http = timeout(CLIENTS, making)
                .await
                .map_err(|_| {
                    format!(
                        "the files of tokens and certificates could not be read within {CLIENTS:?}"
                    )
                })?
                .map_err(|error| format!("no client for the optimizers: {error}"))?;
            made.extend(over_http);
        }
        made.extend(embedded.into_iter().filter_map(|servo| {
            let client = clients.embedded(&servo)?;
            Some((servo, client))
        }));
        Ok(made)
    }

    /// What runs `config`.
    fn spec(&self, config: &ServoConfig, client: Arc<dyn OptimizerClient>) -> ServoSpec {
        let mut spec = servo_spec(config.clone(), Some(client));
        let Outfit {
            polling,
            commands,
            observer,
        } = self.outfit.clone();
        spec.policy.polling = polling;
        spec.policy.commands = commands;
        spec.policy.observer = observer;
        spec
    }

    /// Tells those who follow studies of those in the trial files that are open.
    fn publish_studies(&self, clients: &Clients) {
        if !clients.has_trial_files() && self.studies.borrow().is_empty() {
            return;
        }
        let configurations = self.members.configurations();
        let running = configurations.iter().filter_map(|servo| {
            let Some(OptimizerConfig::Embedded(config)) = &servo.optimizer else {
                return None;
            };
            let id = config.optimizer_id(&servo.name);
            Some(RunningStudy {
                optimizer: clients.trial_file(&config.database)?.optimizer()?,
                study: config.study(&id),
                id,
            })
        });
        let running: Vec<RunningStudy> = running.collect();
        // Whoever follows them misses what happens while it begins anew.
        self.studies.send_if_modified(|known| {
            let same = known.len() == running.len()
                && known.iter().zip(&running).all(|(a, b)| a.is_same_as(b));
            if !same {
                *known = Arc::new(running);
            }
            !same
        });
    }

    /// Has those who follow studies let go of them.
    fn hide_studies(&self) {
        if !self.studies.borrow().is_empty() {
            self.studies.send_replace(Arc::default());
        }
    }

    /// The running configuration is another one.
    fn configuration_changed(&self) {
        self.reloads.set_configuration(self.members.hash());
        self.settings.send_modify(|settings| settings.changes += 1);
    }

    /// The handle of a servo that was added just now.
    async fn start(
        &self,
        config: &Arc<ServoConfig>,
        client: Arc<dyn OptimizerClient>,
    ) -> Result<ServoHandle, servo_assembly::AssemblyError> {
        let spec = self.spec(config, client.clone());
        let handle = self.tree.assembly().add(spec).await?;
        self.accompany(config, &client, &handle);
        Ok(handle)
    }

    /// Starts what goes on beside a servo for as long as it runs.
    fn accompany(
        &self,
        config: &Arc<ServoConfig>,
        client: &Arc<dyn OptimizerClient>,
        handle: &ServoHandle,
    ) {
        diagnostics::watch(&self.runtime, config, client, handle);
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("servos", &self.members.len())
            .field("reloads", &self.reloads)
            .finish_non_exhaustive()
    }
}

impl RunningStudy {
    /// Before an optimizer is exchanged for another, its studies are hidden.
    fn is_same_as(&self, other: &Self) -> bool {
        self.id == other.id
            && self.study == other.study
            && self.optimizer.database() == other.optimizer.database()
    }
}

impl ReloadRefused {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}
