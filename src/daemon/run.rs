//! `servo run`: servos until a signal, or until the studies of embedded optimizers are over.

use std::{
    collections::BTreeMap, convert::Infallible, num::NonZeroUsize, sync::Arc, thread,
    time::Duration,
};

use futures_util::{StreamExt, future, stream::FuturesUnordered};
use servo_assembly::{AssemblyError, Phase, Polling, ServoHandle, ServoStatus};
use servo_embedded::{EmbeddedOptimizer, StudyResult, TrialEvent};
use servo_supervision::Exit;
use thiserror::Error;
use tokio::{sync::broadcast::error::RecvError, time::Instant};

use super::{
    operator::Person,
    optimizers::{OptimizerError, Optimizers},
    signals::{Request, Requests, Signal, Signals},
    tree::{StartError, Tree, servo_spec},
};
use crate::config::{OptimizerConfig, ServoConfig};

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
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// Threads for servos; one for each processor by default.
    pub arbiters: Option<NonZeroUsize>,
    /// When optimizers are asked for commands.
    pub polls: Polls,
    /// Whether the first failure ends it all.
    pub debug: bool,
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
    mut observe: impl FnMut(Study),
) -> Result<Ended, RunError> {
    let mut signals = Signals::listen()?;
    let mut requests = Requests::listen()?;
    let (servos, mut optimizers) = with_optimizers(servos).await?;
    let studies: Vec<_> = servos
        .iter()
        .filter_map(|s| optimizers.embedded(s))
        .collect();
    // A run is finite when each servo has a study that ends, and is asked about it.
    let finite = studies.len() == servos.len()
        && studies.iter().all(|(_, _, keep)| !keep)
        && plan.polls != Polls::Never;
    let operator = match plan.polls {
        Polls::Asking => Some(Person::at_stdin()?),
        Polls::Always | Polls::Never => None,
    };
    let polling = match (&operator, plan.polls) {
        (Some(person), _) => Polling::WhenAllowed(Arc::new(person.clone())),
        (None, Polls::Never) => Polling::Never,
        (None, _) => Polling::Always,
    };
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = plan
        .arbiters
        .map_or(processors, NonZeroUsize::get)
        .min(servos.len());
    let tree = Tree::start(threads).await?;
    let mut handles = Vec::new();
    let alone = servos.len() == 1;
    let count = servos.len();
    for servo in servos {
        let name = servo.name.clone();
        match add(servo, &mut optimizers, &polling, &tree).await {
            Ok(handle) => handles.push(handle),
            Err(error) if alone => return Err(error),
            Err(error) => tracing::error!(servo = %name, "{error}"),
        }
    }
    if handles.is_empty() {
        tree.shutdown().await;
        return Err(RunError::Nobody(count));
    }
    let ended = {
        let finished = async {
            let results = finished(&studies, &mut observe).await;
            if finite {
                results
            } else {
                future::pending().await
            }
        };
        tokio::select! {
            results = finished => Ok(Ended::Finished(results)),
            signal = signals.next() => Ok(Ended::Signal { signal, unfinished: finite }),
            failed = cannot_start(&handles) => Err(failed),
            failed = first_failure(&handles), if plan.debug => Err(failed),
            () = declined(operator.as_ref(), &handles) => Ok(Ended::Declined),
            exit = tree.ended() => Err(RunError::Tree(exit)),
            never = answer(&mut requests, &tree) => match never {},
        }
    };
    let ending = Instant::now();
    let reason = match &ended {
        Ok(Ended::Signal { signal, .. }) => signal.name(),
        _ => "shutdown",
    };
    tree.assembly().set_goodbye_reason(reason);
    tokio::select! {
        () = tree.shutdown() => {}
        second = another(&mut signals, ending) => {
            tracing::warn!("second {}: not waiting for the end of the shutdown", second.name());
            return Ok(Ended::Signal { signal: second, unfinished: true });
        }
    }
    drop((tree, handles, studies));
    // Servos hold clients; those of one that did not end in time keep the file open, which loses
    // nothing: every trial is on disk before it counts.
    let _ = tokio::time::timeout(CLOSE, optimizers.close()).await;
    ended
}

/// Does what signals ask for while the servos run.
async fn answer(requests: &mut Requests, tree: &Tree) -> Infallible {
    loop {
        match requests.next().await {
            Request::Tree => tracing::info!("supervision tree:\n{}", tree.snapshot()),
            Request::Reload => tracing::warn!(
                "SIGHUP: this build cannot reload its configuration; nothing was changed, restart it to apply changes"
            ),
        }
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

/// The results of all studies, once all are over; tells of trials and results on the way. Never
/// ends when there are none.
async fn finished(
    studies: &[(EmbeddedOptimizer, String, bool)],
    observe: &mut impl FnMut(Study),
) -> Vec<Arc<StudyResult>> {
    if studies.is_empty() {
        return future::pending().await;
    }
    let mut trials = futures_util::stream::select_all(
        studies
            .iter()
            .fold(
                Vec::<&EmbeddedOptimizer>::new(),
                |mut all, (optimizer, _, _)| {
                    if all.iter().all(|o| o.database() != optimizer.database()) {
                        all.push(optimizer);
                    }
                    all
                },
            )
            .into_iter()
            .map(|optimizer| {
                Box::pin(futures_util::stream::unfold(
                    optimizer.trials(),
                    |mut receiver| async move {
                        loop {
                            match receiver.recv().await {
                                Ok(event) => return Some((event, receiver)),
                                Err(RecvError::Lagged(missed)) => {
                                    tracing::warn!(
                                        missed,
                                        "trials ended faster than they could be told"
                                    );
                                }
                                Err(RecvError::Closed) => return None,
                            }
                        }
                    },
                ))
            }),
    );
    let mut ends: FuturesUnordered<_> = studies
        .iter()
        .map(|(optimizer, id, _)| optimizer.finished(id))
        .collect();
    let mut results = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some(event) = trials.next() => observe(Study::Trial(Box::new(event))),
            end = ends.next() => match end {
                Some(Ok(result)) => {
                    observe(Study::Finished(result.clone()));
                    results.push(result);
                }
                Some(Err(error)) => tracing::error!("{error}"),
                None => return results,
            }
        }
    }
}

/// The servos whose optimizers can be had, and these. What ails the others is logged.
///
/// # Errors
/// When none can.
async fn with_optimizers(
    servos: Vec<ServoConfig>,
) -> Result<(Vec<ServoConfig>, Optimizers), OptimizerError> {
    let error = match Optimizers::start(&servos).await {
        Ok(optimizers) => return Ok((servos, optimizers)),
        Err(error) if servos.len() == 1 => return Err(error),
        Err(error) => error,
    };
    // Servos share a file of trials, and what is wrong with it.
    let file = |servo: &ServoConfig| match &servo.optimizer {
        Some(OptimizerConfig::Embedded(config)) => Some(config.database.clone()),
        _ => None,
    };
    let mut sound = Vec::new();
    let mut groups: BTreeMap<_, Vec<ServoConfig>> = BTreeMap::new();
    for servo in servos {
        match file(&servo) {
            Some(file) => groups.entry(file).or_default().push(servo),
            None => sound.push(servo),
        }
    }
    for group in groups.into_values() {
        match Optimizers::start(&group).await {
            Ok(optimizers) => {
                optimizers.close().await;
                sound.extend(group);
            }
            Err(error) => {
                for servo in group {
                    tracing::error!(servo = %servo.name, "{error}");
                }
            }
        }
    }
    if sound.is_empty() {
        return Err(error);
    }
    let optimizers = Optimizers::start(&sound).await?;
    Ok((sound, optimizers))
}

async fn add(
    servo: ServoConfig,
    optimizers: &mut Optimizers,
    polling: &Polling,
    tree: &Tree,
) -> Result<ServoHandle, RunError> {
    let client = optimizers.client(&servo)?;
    let mut spec = servo_spec(servo, Some(client));
    spec.policy.polling = polling.clone();
    Ok(tree.assembly().add(spec).await?)
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
