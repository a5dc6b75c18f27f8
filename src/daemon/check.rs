//! The checks of servos, without connecting these to their optimizers
//! (`spec/events-and-checks.md` §6.13).

use std::{num::NonZeroUsize, sync::Arc, thread};

use futures_util::future::join_all;
use servo_assembly::ServoSpec;
use servo_dispatch::{
    Attach, CheckPolicy, CheckReport, CheckRun, CheckRunOutcome, DispatchOptions,
};
use servo_protocol::{Event, Hello, Request};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::{
    detach::detach,
    optimizers::{OptimizerError, Optimizers},
    own_check::{Replaced, Subject, own_check},
    signals::{Signal, Signals},
    tree::{StartError, Tree, servo_spec},
};
use crate::config::{OptimizerConfig, ServoConfig};

/// A servo whose checks are wanted.
pub struct ToCheck {
    /// The servo.
    pub servo: ServoConfig,
    /// Which checks, and how.
    pub policy: CheckPolicy,
    /// Whether it is to run when they pass.
    pub then_run: bool,
}

/// What came of the checks of one servo.
#[derive(Debug)]
pub struct ServoChecks {
    /// Its name.
    pub servo: Arc<str>,
    /// The results; or why there are none.
    pub outcome: Result<CheckRunOutcome, String>,
}

/// How the checks of all servos ended.
#[derive(Debug)]
pub enum Checked {
    /// All have run.
    Done(Vec<ServoChecks>),
    /// Somebody did not want to wait for it.
    Signal(Signal),
}

/// Why checks cannot be run.
#[derive(Debug, Error)]
pub enum CheckError {
    /// No tree.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Signals cannot be listened to.
    #[error("cannot listen to signals: {0}")]
    Signals(#[from] std::io::Error),
}

/// Told of what happens, with the name of the servo. It must not block.
pub type Teller = Arc<dyn Fn(&str, &CheckReport<'_>) + Send + Sync>;

/// Runs the checks of all servos at the same time. One that cannot be checked is not ready, and
/// keeps no other from it.
///
/// # Errors
/// When nothing can be started at all.
pub async fn check(
    servos: Vec<ToCheck>,
    arbiters: Option<NonZeroUsize>,
    teller: Teller,
) -> Result<Checked, CheckError> {
    let mut signals = Signals::listen()?;
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = arbiters
        .map_or(processors, NonZeroUsize::get)
        .min(servos.len());
    let tree = Tree::start(threads).await?;
    let cancel = CancellationToken::new();
    let mut optimizers = Optimizers::default();
    let prepared: Vec<_> = servos
        .into_iter()
        .map(|wanted| {
            let name = wanted.servo.name.clone();
            (name, Prepared::of(wanted, &mut optimizers))
        })
        .collect();
    let work = join_all(prepared.into_iter().map(async |(servo, prepared)| {
        let outcome = match prepared {
            Ok(prepared) => prepared.check(&tree, &cancel, &teller).await,
            Err(error) => Err(error.to_string()),
        };
        ServoChecks { servo, outcome }
    }));
    tokio::pin!(work);
    let checked = tokio::select! {
        all = &mut work => Checked::Done(all),
        first = signals.next() => {
            cancel.cancel();
            tokio::select! {
                _ = work => Checked::Signal(first),
                second = signals.next() => return Ok(Checked::Signal(second)),
            }
        }
    };
    tree.shutdown().await;
    Ok(checked)
}

/// A servo without its optimizer loop, and with its own check in front.
struct Prepared {
    spec: ServoSpec,
    policy: CheckPolicy,
    /// Fires when another deployment has taken its place, unless it waits for its end.
    replaced: CancellationToken,
}

impl Prepared {
    fn of(wanted: ToCheck, optimizers: &mut Optimizers) -> Result<Self, OptimizerError> {
        let ToCheck {
            servo,
            mut policy,
            then_run,
        } = wanted;
        let file = match &servo.optimizer {
            Some(OptimizerConfig::Embedded(config)) => Some(config.database.clone()),
            _ => None,
        };
        let client = match file {
            Some(_) => None,
            None => Some(optimizers.client(&servo)?),
        };
        let mut spec = servo_spec(servo, None);
        let replaced = CancellationToken::new();
        let subject = match client {
            Some(client) => Some(Subject::Connection {
                client,
                // It says nothing about the servo: no connection follows (`spec/events-and-checks.md` §6.10).
                hello: Request {
                    event: Event::Hello(Hello::default()),
                    servo_uid: spec.servo_uid.clone(),
                },
                patience: spec.policy.connect.attempt,
                replaced: if then_run {
                    Replaced::Wait
                } else {
                    Replaced::Tell(replaced.clone())
                },
            }),
            None => file.map(Subject::TrialFile),
        };
        // It stands under the servo's name, and can be asked for by the name of its type, which no
        // connector can have.
        let is_taken = spec.connectors.iter().any(|(name, _)| *name == spec.name);
        let own: Arc<str> = if is_taken {
            "servo".into()
        } else {
            spec.name.clone()
        };
        for name in policy.connectors.iter_mut().flatten() {
            if **name == *"servo" {
                name.clone_from(&own);
            }
        }
        if let Some(subject) = subject {
            spec.connectors.insert(0, (own, own_check(subject)));
        }
        Ok(Self {
            spec,
            policy,
            replaced,
        })
    }

    async fn check(
        self,
        tree: &Tree,
        cancel: &CancellationToken,
        teller: &Teller,
    ) -> Result<CheckRunOutcome, String> {
        let Self {
            spec,
            policy,
            replaced,
        } = self;
        let servo = spec.name.clone();
        let started = async {
            let handle = tree.assembly().add(spec).await.map_err(|e| e.to_string())?;
            handle.started().await.map_err(|e| e.to_string())
        };
        let dispatcher = cancel
            .run_until_cancelled(started)
            .await
            .unwrap_or_else(|| Err("interrupted".to_owned()))?;
        let options = DispatchOptions {
            cancel: cancel.clone(),
            ..DispatchOptions::default()
        };
        let outcome = match dispatcher.dispatch(Attach, options).await {
            Err(error) => Err(format!("the connectors could not be attached: {error}")),
            Ok(_) => match CheckRun::new(dispatcher.clone(), policy) {
                Err(error) => Err(error.to_string()),
                Ok(run) => {
                    let teller = teller.clone();
                    let stop = cancel.child_token();
                    let ended = stop.clone();
                    let run = run.report_to(move |report| {
                        if ended.is_cancelled() {
                            return;
                        }
                        teller(&servo, report);
                        // No pass after this one would end otherwise.
                        if matches!(report, CheckReport::PassEnded { .. })
                            && replaced.is_cancelled()
                        {
                            ended.cancel();
                        }
                    });
                    Ok(run.cancelled_by(stop).run().await)
                }
            },
        };
        detach(&dispatcher).await;
        outcome
    }
}
