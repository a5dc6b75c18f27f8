//! `servo run`: servos until a signal, or until the studies of embedded optimizers are over.

use std::{convert::Infallible, num::NonZeroUsize, sync::Arc, thread, time::Duration};

use futures_util::{StreamExt, future, stream::FuturesUnordered};
use servo_assembly::{AssemblyError, ServoHandle};
use servo_embedded::{EmbeddedOptimizer, StudyResult, TrialEvent};
use servo_supervision::Exit;
use thiserror::Error;
use tokio::{sync::broadcast::error::RecvError, time::Instant};

use super::{
    optimizers::{OptimizerError, Optimizers},
    signals::{Request, Requests, Signal, Signals},
    tree::{StartError, Tree, servo_spec},
};
use crate::config::ServoConfig;

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

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// All studies are over.
    Finished(Vec<Arc<StudyResult>>),
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
    /// The whole tree ended.
    #[error("the supervision tree ended: {0}")]
    Tree(Exit),
    /// Signals cannot be listened to.
    #[error("cannot listen to signals: {0}")]
    Signals(#[from] std::io::Error),
}

/// Runs servos until a signal, or until all have finished their studies. `observe` is told of
/// trials as they end.
///
/// # Errors
/// When they cannot be started; for a servo that is alone, also when it fails to come up.
pub async fn run(
    servos: Vec<ServoConfig>,
    arbiters: Option<NonZeroUsize>,
    mut observe: impl FnMut(Study),
) -> Result<Ended, RunError> {
    let mut signals = Signals::listen()?;
    let mut requests = Requests::listen()?;
    let mut optimizers = Optimizers::start(&servos).await?;
    let studies: Vec<_> = servos
        .iter()
        .filter_map(|s| optimizers.embedded(s))
        .collect();
    // A run is finite when each servo has a study that ends.
    let finite = studies.len() == servos.len() && studies.iter().all(|(_, _, keep)| !keep);
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = arbiters
        .map_or(processors, NonZeroUsize::get)
        .min(servos.len());
    let tree = Tree::start(threads).await?;
    let mut handles = Vec::new();
    for servo in servos {
        let client = optimizers.client(&servo)?;
        handles.push(tree.assembly().add(servo_spec(servo, Some(client))).await?);
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

/// Why the only servo did not come up; never, when there are several: these are tried again.
async fn cannot_start(handles: &[ServoHandle]) -> RunError {
    let [only] = handles else {
        return future::pending().await;
    };
    let mut status = only.status();
    match status.wait_for(|s| s.start_failure.is_some()).await {
        Ok(failed) => RunError::Servo {
            servo: only.name().clone(),
            cause: failed.start_failure.clone().unwrap_or_default(),
        },
        Err(_) => future::pending().await,
    }
}
