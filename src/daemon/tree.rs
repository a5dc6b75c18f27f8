//! The supervision tree of the program.

use std::{collections::BTreeMap, future::Future, io, sync::Arc, time::Duration};

use servo_assembly::{Assembly, ServoPolicy, ServoSpec};
use servo_messages::CommonConfig;
use servo_protocol::{Budget, OptimizerClient};
use servo_supervision::{
    Arbiters, ChildSpec, Exit, Root, Snapshot, SuperviseError, Supervisor, install_panic_hook,
};
use thiserror::Error;

use super::AGENT;
use crate::config::ServoConfig;

/// What the root has for taking up the assembly.
const START: Duration = Duration::from_secs(10);
/// What the whole tree has to end; the parts have less, and are killed on their own.
const SHUTDOWN: Duration = Duration::from_secs(28);
/// What it has beyond what `settings` give to the servos.
const SLACK: Duration = Duration::from_secs(3);
/// A tree of so many nodes is one record of the log.
const ONE_RECORD: usize = 500;

/// Why the tree cannot be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// No threads.
    #[error("cannot start the threads that servos run on: {0}")]
    Threads(io::Error),
    /// The root does not take the assembly.
    #[error("cannot start the assembly: {0}")]
    Assembly(#[from] SuperviseError),
}

/// The supervision tree: a root with the assembly below it.
#[derive(Debug)]
pub struct Tree {
    root: Root,
    assembly: Assembly,
    arbiters: Arbiters,
}

impl Tree {
    /// Starts the tree on the current actor system, with `arbiters` threads for servos.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub async fn start(arbiters: usize) -> Result<Self, StartError> {
        Self::start_after(None, arbiters).await
    }

    /// As [`Tree::start`], with `first` started before the assembly and so stopped after it.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub async fn start_after(
        first: Option<ChildSpec<Supervisor>>,
        arbiters: usize,
    ) -> Result<Self, StartError> {
        install_panic_hook();
        let arbiters = Arbiters::new(arbiters.max(1)).map_err(StartError::Threads)?;
        let (spec, assembly) = Assembly::spec(Some(arbiters.clone()));
        let root = Root::start("servo", |_| Ok(()));
        let reference = root.reference();
        reference
            .wait_until_up(START)
            .await
            .map_err(SuperviseError::from)?;
        if let Some(first) = first {
            reference.start_child(first, START).await?;
        }
        let assembly_ref = reference.start_child(spec, START).await?;
        assembly_ref
            .wait_until_up(START)
            .await
            .map_err(SuperviseError::from)?;
        Ok(Self {
            root,
            assembly,
            arbiters,
        })
    }

    /// The servos.
    pub fn assembly(&self) -> &Assembly {
        &self.assembly
    }

    /// The threads that servos live on.
    pub fn arbiters(&self) -> &Arbiters {
        &self.arbiters
    }

    /// The tree as it stands now.
    pub fn snapshot(&self) -> Snapshot {
        self.root.snapshot()
    }

    /// Completes when the tree has ended by itself.
    pub async fn ended(&self) -> Exit {
        self.root.ended().await
    }

    /// Logs the tree as it stands now. A large one takes a record for each servo, and its time: not on a
    /// thread that others wait for.
    pub fn log(&self) {
        log(&self.snapshot());
    }

    /// Ends everything in order, within a bounded time.
    pub async fn shutdown(&self) {
        let budget = SHUTDOWN.max(self.assembly.shutdown_grace() + SLACK);
        if let Err(overrun) = self.root.shutdown(budget).await {
            tracing::error!("{overrun}");
        }
    }
}

/// One record for a small tree; else one for each branch of the assembly and one for the rest.
fn log(tree: &Snapshot) {
    if size(tree) <= ONE_RECORD {
        tracing::info!("supervision tree:\n{tree}");
        return;
    }
    let mut trunk = tree.clone();
    let mut servos = Vec::new();
    for child in &mut trunk.children {
        if size(child) > ONE_RECORD {
            servos.append(&mut child.children);
        }
    }
    let count = servos.len();
    tracing::info!("supervision tree, with {count} servos in records of their own:\n{trunk}");
    for servo in &servos {
        tracing::info!("{servo}");
    }
    tracing::info!("the end of the supervision tree");
}

fn size(tree: &Snapshot) -> usize {
    1 + tree.children.iter().map(size).sum::<usize>()
}

/// Runs `work` on an actor system of its own, on this thread.
///
/// # Errors
/// When the system cannot be started.
pub fn block_on<F: Future>(work: F) -> io::Result<F::Output> {
    // As actix makes its own, but failing with an error instead of a panic.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut runtime = Some(runtime);
    let system = actix_rt::System::with_tokio_rt(|| {
        #[expect(clippy::expect_used, reason = "it is asked for once, on this line")]
        runtime.take().expect("asked for once")
    });
    Ok(system.block_on(work))
}

/// What makes a servo of its configuration.
pub fn servo_spec(config: ServoConfig, optimizer: Option<Arc<dyn OptimizerClient>>) -> ServoSpec {
    // Under ServoX's names, which optimizers know (`spec/optimizer-protocol.md` §18).
    let mut telemetry = BTreeMap::from([
        (
            "servox.version".to_owned(),
            env!("CARGO_PKG_VERSION").to_owned(),
        ),
        (
            "servox.platform".to_owned(),
            format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
        ),
    ]);
    if let Ok(namespace) = std::env::var("POD_NAMESPACE") {
        telemetry.insert("servox.namespace".to_owned(), namespace);
    }
    ServoSpec {
        name: config.name,
        servo_uid: config.servo_uid,
        optimizer,
        connectors: config.connectors,
        policy: policy(&config.settings),
        settings: config.settings,
        agent: AGENT.to_owned(),
        telemetry,
    }
}

/// The times that the `settings` stanza gives (`spec/optimizer-protocol.md` §22).
fn policy(settings: &CommonConfig) -> ServoPolicy {
    let policy = ServoPolicy::default().ending_within(settings.shutdown_grace.as_std());
    ServoPolicy {
        connect: Budget::connect_of(settings),
        requests: Budget::standard_of(settings),
        progress: policy.progress.within(settings),
        goodbye: policy.goodbye.within(settings),
        cancel_grace: settings.cancel_grace.as_std(),
        progress_interval: settings.progress_interval.as_std(),
        command_timeout: settings
            .command_timeout
            .map(servo_messages::Duration::as_std),
        ..policy
    }
}
