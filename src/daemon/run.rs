//! `servo run`: servos until a signal, or until the studies of embedded optimizers are over.

mod studies;

use std::{
    collections::HashSet, convert::Infallible, fmt, num::NonZeroUsize, sync::Arc, thread,
    time::Duration,
};

use futures_util::{StreamExt, future, stream::FuturesUnordered};
use servo_assembly::{AssemblyError, Phase, Polling, ServoHandle, ServoStatus};
use servo_dispatch::Registry;
use servo_embedded::{StudyResult, TrialEvent};
use servo_protocol::HostLimits;
use servo_supervision::Exit;
use thiserror::Error;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    admin::{self, AdminError, Bound, Metrics},
    fleet::{ConfigurationSource, Fleet, Outfit, Setup, Trigger},
    logging, open_files,
    operator::Person,
    optimizers::{OptimizerError, Optimizers},
    signals::{Asked, Requests, Signal, Signals},
    tree::{StartError, Tree},
    watch,
};
use crate::config::{DaemonConfig, OptimizerConfig, ServoConfig};

/// Signals that come closer together than this are one: wrappers such as `timeout` send theirs to the process
/// and to its group.
const ONE_SIGNAL: Duration = Duration::from_millis(300);

/// What a trial file has to be closed.
const CLOSE: Duration = Duration::from_secs(5);

/// What happens to the studies of a run.
pub enum Study {
    /// A trial got its verdict.
    Trial(Box<TrialEvent>),
    /// A study is over.
    Finished(Arc<StudyResult>),
}

/// How servos are run.
#[derive(Clone, Default)]
pub struct Plan {
    /// What `servo.toml` says.
    pub daemon: DaemonConfig,
    /// When optimizers are asked for commands.
    pub polls: Polls,
    /// Whether the first failure ends it all.
    pub debug: bool,
    /// One permit for each command that may be carried out at a time; none = no limit.
    pub commands: Option<Arc<Semaphore>>,
    /// Where the configuration is read again; without one there are no reloads.
    pub source: Option<Arc<dyn ConfigurationSource>>,
    /// Servos of the configuration that cannot run, as has been told.
    pub unfit: HashSet<Arc<str>>,
    /// The connectors that the program knows.
    pub registry: Registry,
}

/// When optimizers are asked for commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Polls {
    /// All the time.
    #[default]
    Always,
    /// Never: servos connect, and stay.
    Never,
    /// When somebody at stdin agrees.
    Asking,
}

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// All studies are over.
    Finished(Vec<Arc<StudyResult>>),
    /// Whoever was asked wants no servo to run, or is gone.
    Declined,
    /// As was asked for over HTTP, or by a program that has it as a library.
    Quit,
    /// By a signal; `unfinished` when it was to end by itself and has not.
    Signal {
        /// Which.
        signal: Signal,
        /// Whether studies are left to be resumed.
        unfinished: bool,
    },
}

/// Why a run failed.
#[derive(Debug, Error)]
pub enum RunError {
    /// No tree.
    #[error(transparent)]
    Start(#[from] StartError),
    /// An optimizer cannot be had.
    #[error(transparent)]
    Optimizer(#[from] OptimizerError),
    /// Nor can the admin server.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The files that the configuration names cannot be read.
    #[error("{0}")]
    Configuration(String),
    /// A servo cannot be added.
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    /// The only servo cannot start.
    #[error("servo \"{servo}\" cannot start: {cause}")]
    Servo {
        /// Which.
        servo: Arc<str>,
        /// Why.
        cause: String,
    },
    /// None of several can.
    #[error("none of {0} servos can start: the log says why")]
    Nobody(usize),
    /// A command failed, and that was to end the run.
    #[error("servo \"{servo}\" failed: {cause}")]
    Failure {
        /// Which.
        servo: Arc<str>,
        /// Why.
        cause: String,
    },
    /// The whole tree ended.
    #[error("the supervision tree ended: {0}")]
    Tree(Exit),
    /// Signals cannot be listened to.
    #[error("cannot listen to signals: {0}")]
    Signals(#[from] std::io::Error),
}

/// Runs servos until a signal, or until all have finished their studies. `observe` is told of
/// trials as they end. A servo that cannot run does not keep the others from it.
///
/// # Errors
/// When none can be started; for a servo that is alone, also when it fails to come up.
pub async fn run(
    servos: Vec<ServoConfig>,
    plan: Plan,
    requests: Requests,
    mut observe: impl FnMut(Study),
) -> Result<Ended, RunError> {
    let mut signals = Signals::listen()?;
    open_files::allow(plan.daemon.optimizer.max_concurrent_requests.get());
    let Requests {
        mut reload,
        mut tree,
    } = requests;
    let operator = match plan.polls {
        Polls::Asking => Some(Person::at_stdin()?),
        Polls::Always | Polls::Never => None,
    };
    let fleet = fleet(&servos, &plan, operator.as_ref()).await?;
    let ended = {
        let work = work(&fleet, servos, &plan, operator.as_ref(), &mut observe);
        tokio::select! {
            ended = work => ended,
            signal = signals.next() => Ok(Ended::Signal {
                signal,
                unfinished: plan.polls != Polls::Never && fleet.is_finite(),
            }),
            () = fleet.quitting() => Ok(Ended::Quit),
            exit = fleet.supervision().ended() => Err(RunError::Tree(exit)),
            never = reload_when(&mut reload, &fleet) => match never {},
            never = dump_tree(&mut tree, &fleet) => match never {},
            never = watch::watch(&fleet) => match never {},
            never = live(&fleet) => match never {},
        }
    };
    let ending = Instant::now();
    let reason = match &ended {
        Ok(Ended::Signal { signal, .. }) => signal.name(),
        _ => "shutdown",
    };
    fleet.quit();
    let goodbyes = Goodbyes::of(&fleet).to_string();
    let by = match &ended {
        Ok(Ended::Signal { signal, .. }) => Some(signal.name()),
        Ok(Ended::Quit) => Some("asked to over HTTP"),
        _ => None,
    };
    if let Some(by) = by {
        tracing::info!("shutting down ({by}): {goodbyes}");
    }
    fleet.service().stopping(&format!("{reason}: {goodbyes}"));
    fleet.assembly().set_goodbye_reason(reason);
    tokio::select! {
        () = fleet.supervision().shutdown() => {}
        second = another(&mut signals, ending) => {
            tracing::warn!("second {}: not waiting for the end of the shutdown", second.name());
            return Ok(Ended::Signal { signal: second, unfinished: true });
        }
        // The service manager waits for this end as it waits for everything else.
        never = live(&fleet) => match never {},
    }
    // Servos hold clients; those of one that did not end in time keep the file open, which loses
    // nothing: every trial is on disk before it counts.
    let _ = tokio::time::timeout(CLOSE, fleet.close()).await;
    if by.is_some() {
        tracing::info!("shut down in {:.1}s", ending.elapsed().as_secs_f64());
    }
    ended
}

/// How many servos have an optimizer that expects a GOODBYE.
#[derive(Clone, Copy, Debug)]
struct Goodbyes {
    connected: usize,
    of: usize,
}

impl Goodbyes {
    fn of(fleet: &Fleet) -> Self {
        let servos = fleet.assembly().servos();
        let connected = |handle: &&ServoHandle| {
            !matches!(
                handle.status().borrow().phase,
                Phase::Starting
                    | Phase::Attaching
                    | Phase::Connecting
                    | Phase::Deprovisioned
                    | Phase::Ended
            )
        };
        Self {
            connected: servos.iter().filter(connected).count(),
            of: servos.len(),
        }
    }
}

impl fmt::Display for Goodbyes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.connected, self.of) {
            (1, 1) => f.write_str("1 servo says GOODBYE"),
            (0, 0) => f.write_str("there are no servos"),
            (0, of) => write!(f, "no GOODBYE, none of {of} is connected"),
            (all, of) if all == of => write!(f, "{all} servos say GOODBYE"),
            (some, of) => {
                let verb = if some == 1 { "says" } else { "say" };
                write!(
                    f,
                    "{some} of {of} servos {verb} GOODBYE, the others are not connected"
                )
            }
        }
    }
}

/// The fleet that is to take up `servos`.
async fn fleet(
    servos: &[ServoConfig],
    plan: &Plan,
    operator: Option<&Person>,
) -> Result<Fleet, RunError> {
    let polling = match (operator, plan.polls) {
        (Some(person), _) => Polling::WhenAllowed(Arc::new(person.clone())),
        (None, Polls::Never) => Polling::Never,
        (None, _) => Polling::Always,
    };
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    // There may be more servos later, but not where all is to end with the studies of these.
    let most = if servos.iter().all(is_finite) {
        servos.len()
    } else {
        usize::MAX
    };
    let threads = plan
        .daemon
        .arbiters
        .map_or(processors, NonZeroUsize::get)
        .min(most);
    let limits = HostLimits::new(plan.daemon.optimizer.max_concurrent_requests);
    let metrics = Arc::new(Metrics::of(limits.clone()));
    let bound = Bound::of(&plan.daemon.admin)?;
    let setup = Setup {
        daemon: plan.daemon.clone(),
        source: plan.source.clone(),
        unfit: plan.unfit.clone(),
        optimizers: Optimizers::default()
            .limited(limits)
            .observed(metrics.clone()),
        outfit: Outfit {
            polling,
            commands: plan.commands.clone(),
            observer: Some(metrics.clone()),
        },
    };
    let Some(bound) = bound else {
        return Ok(Fleet::new(Tree::start(threads).await?, setup));
    };
    let room = admin::Room::new();
    let tree = Tree::start_after(Some(room.spec()), threads).await?;
    let arbiters = (tree.arbiters().clone(), threads.max(1));
    let fleet = Fleet::new(tree, setup);
    let parts = admin::Parts {
        fleet: fleet.clone(),
        arbiters,
        metrics,
        log: logging::recent().clone(),
        registry: plan.registry.clone(),
    };
    room.open(bound, parts).await?;
    Ok(fleet)
}

/// Takes up the servos, and waits until there is nothing left for them to do.
async fn work(
    fleet: &Fleet,
    servos: Vec<ServoConfig>,
    plan: &Plan,
    operator: Option<&Person>,
    observe: &mut impl FnMut(Study),
) -> Result<Ended, RunError> {
    let handles = fleet.take_up(servos).await?;
    // What holds of the first servos does not of those that come later: that one of these fails is
    // told in the log, and no reason to end.
    let first = async {
        tokio::select! {
            failed = cannot_start(&handles) => Err(failed),
            failed = first_failure(&handles), if plan.debug => Err(failed),
            () = declined(operator, &handles) => Ok(Ended::Declined),
        }
    };
    let first = async {
        tokio::select! {
            ended = first => ended,
            () = fleet.changed() => future::pending().await,
        }
    };
    tokio::select! {
        results = studies::finished(fleet, plan.polls != Polls::Never, observe) => {
            Ok(Ended::Finished(results))
        }
        ended = first => ended,
    }
}

/// Whether the servo ends by itself.
fn is_finite(servo: &ServoConfig) -> bool {
    matches!(&servo.optimizer, Some(OptimizerConfig::Embedded(e)) if !e.keep_running)
}

/// Reads the configuration again whenever SIGHUP asks for it. One that comes meanwhile is remembered.
async fn reload_when(asked: &mut Asked, fleet: &Fleet) -> Infallible {
    loop {
        asked.next().await;
        // It has told how it went.
        let _ = fleet.reload(Trigger::Signal).await;
    }
}

/// Logs the supervision tree whenever SIGUSR1 asks for it.
async fn dump_tree(asked: &mut Asked, fleet: &Fleet) -> Infallible {
    loop {
        asked.next().await;
        let fleet = fleet.clone();
        // With thousands of servos it takes its time.
        let dump = tokio::task::spawn_blocking(move || fleet.supervision().log());
        let _ = dump.await;
    }
}

/// Tells the service manager that this thread does its work.
async fn live(fleet: &Fleet) -> Infallible {
    let service = fleet.service();
    let Some(every) = service.heartbeat() else {
        return future::pending().await;
    };
    let mut beats = tokio::time::interval(every);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        service.alive();
    }
}

/// The next signal that somebody meant as another one.
async fn another(signals: &mut Signals, ending: Instant) -> Signal {
    loop {
        let signal = signals.next().await;
        if ending.elapsed() >= ONE_SIGNAL {
            return signal;
        }
    }
}

/// Why no servo came up; never, as long as one has. Each is tried again, unless it is alone.
async fn cannot_start(handles: &[ServoHandle]) -> RunError {
    let mut all: Vec<_> = handles.iter().map(ServoHandle::status).collect();
    loop {
        for status in &mut all {
            if status
                .wait_for(|s| s.start_failure.is_some())
                .await
                .is_err()
            {
                return future::pending().await;
            }
        }
        // The first may have come up while the last was waited for.
        if all.iter().all(|s| s.borrow().start_failure.is_some()) {
            break;
        }
    }
    match (handles, all.as_slice()) {
        ([only], [status]) => RunError::Servo {
            servo: only.name().clone(),
            cause: status.borrow().start_failure.clone().unwrap_or_default(),
        },
        _ => RunError::Nobody(handles.len()),
    }
}

/// The first command that fails, or servo that does not come up.
async fn first_failure(handles: &[ServoHandle]) -> RunError {
    let mut all: FuturesUnordered<_> = handles
        .iter()
        .map(async |handle| {
            let mut status = handle.status();
            let failed = status.wait_for(|s| s.not_ok > 0 || s.start_failure.is_some());
            let status = failed.await.ok()?.clone();
            let last = status.last.as_ref();
            let of_command = last.map(|last| {
                let message = last.message.as_deref().unwrap_or_default();
                format!(
                    "{} answered {}: {message}",
                    last.operation,
                    last.status.as_str()
                )
            });
            Some(RunError::Failure {
                servo: handle.name().clone(),
                cause: status.start_failure.or(of_command).unwrap_or_default(),
            })
        })
        .collect();
    while let Some(failure) = all.next().await {
        if let Some(failure) = failure {
            return failure;
        }
    }
    future::pending().await
}

/// Completes when somebody was asked and is gone, or wants none of the servos to run.
async fn declined(operator: Option<&Person>, handles: &[ServoHandle]) {
    let Some(person) = operator else {
        return future::pending().await;
    };
    let all = future::join_all(handles.iter().map(async |handle| {
        let mut status = handle.status();
        let over = |s: &ServoStatus| s.phase == Phase::Ended && s.start_failure.is_none();
        if status.wait_for(over).await.is_err() {
            future::pending::<()>().await;
        }
    }));
    tokio::select! {
        () = person.gone() => tracing::info!("nobody answers any more"),
        _ = all => tracing::info!("no servo is to run"),
    }
}
