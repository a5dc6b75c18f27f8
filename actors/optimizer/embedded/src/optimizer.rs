//! The optimizer's thread, which alone touches the trial file and runs the search, and the handle to it.
//!
//! A suggestion takes milliseconds of arithmetic and a commit waits for the disk; neither may hold up an
//! event loop. Requests go through a bounded queue and each has a deadline. A request whose sender has
//! given up by the time it is its turn is dropped unread: the servo will make it again.
//!
//! A panic while serving one optimizer id costs that id its memory, which is reloaded from the file with
//! its next request, and nobody else anything.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use jiff::Timestamp;
use servo_protocol::{Request, Response};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    engine::{Answer, Engine, Surroundings},
    notice::{Notice, TrialEvent},
    result::{StudyResult, StudyRow, TrialRow},
    store::{Claim, Store, StoreError},
    study::Studies,
};

/// How many requests may wait. One servo has one request on its way, so this is how many servos may speak
/// at once before one of them is told to come back later.
const QUEUE: usize = 256;

/// How many trial events an observer may lag behind before it misses the oldest.
const EVENTS: usize = 1024;

/// How many optimizer ids one process serves. Each costs the memory of its trials.
const MAX_OPTIMIZERS: usize = 10_000;

/// Why a request was not served. The servo may make it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// Its time was over.
    #[error(
        "the embedded optimizer did not answer within {deadline:?}; it is busy, or its disk is slow"
    )]
    Deadline {
        /// How long it was waited for.
        deadline: Duration,
    },
    /// The trial file refuses.
    #[error("{0}")]
    Store(Arc<str>),
    /// Another deployment of the servo has taken over.
    #[error("unexpected servo_uid: another deployment of this servo said HELLO")]
    Replaced,
    /// Too many ids.
    #[error(
        "the embedded optimizer serves {MAX_OPTIMIZERS} optimizer ids already and takes no further one"
    )]
    TooMany,
    /// A defect of the optimizer.
    #[error(
        "the embedded optimizer failed on this request ({0}); its state is reloaded from the trial file"
    )]
    Panicked(Arc<str>),
    /// It is shut down.
    #[error("the embedded optimizer is shut down")]
    Gone,
}

/// Why the optimizer could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The trial file cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No thread.
    #[error("cannot start the embedded optimizer's thread: {0}")]
    Thread(std::io::Error),
    /// It ended before it was ready.
    #[error("the embedded optimizer's thread ended before it was ready")]
    Died,
}

/// One study and its trials in order.
pub type StudyDetails = (StudyRow, Vec<TrialRow>);

enum Job {
    Serve {
        optimizer: String,
        request: Box<Request>,
        reply: oneshot::Sender<Result<Response, HandleError>>,
    },
    Studies {
        reply: oneshot::Sender<Result<Vec<StudyRow>, HandleError>>,
    },
    Trials {
        study: i64,
        reply: oneshot::Sender<Result<Option<StudyDetails>, HandleError>>,
    },
}

/// A handle to a running optimizer. Clones are handles to the same one; its thread ends after the request
/// it is at once the last of them is dropped.
#[derive(Debug, Clone)]
pub struct EmbeddedOptimizer {
    jobs: mpsc::Sender<Job>,
    trials: broadcast::Sender<TrialEvent>,
    finished: watch::Receiver<HashMap<String, Arc<StudyResult>>>,
    database: Arc<Path>,
    ended: CancellationToken,
}

impl EmbeddedOptimizer {
    /// Opens the trial file and starts the thread.
    ///
    /// # Errors
    /// When the file cannot be used, or there is no thread to be had.
    pub async fn start(database: impl Into<PathBuf>, studies: Studies) -> Result<Self, StartError> {
        let database: PathBuf = database.into();
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (trials, _) = broadcast::channel(EVENTS);
        let (finished_sender, finished) = watch::channel(HashMap::new());
        let (ready, opened) = oneshot::channel();
        let ended = CancellationToken::new();
        let worker_trials = trials.clone();
        let path = database.clone();
        let guard = ended.clone().drop_guard();
        thread::Builder::new()
            .name("servo-optimizer".to_owned())
            .spawn(move || {
                // The file first: what is wrong with it says more than what is wrong beside it.
                let opened = Store::open(&path).and_then(|store| Ok((Claim::take(&path)?, store)));
                let (claim, store) = match opened {
                    Ok(opened) => opened,
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                if ready.send(Ok(())).is_err() {
                    return;
                }
                let worker = Worker {
                    store,
                    _claim: claim,
                    studies,
                    engines: HashMap::new(),
                    trials: worker_trials,
                    finished: finished_sender,
                    _ended: guard,
                };
                worker.run(queue);
            })
            .map_err(StartError::Thread)?;
        opened.await.map_err(|_| StartError::Died)??;
        Ok(Self {
            jobs,
            trials,
            finished,
            database: database.into(),
            ended,
        })
    }

    /// The trial file.
    #[must_use]
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// Serves one request of the servo with this optimizer id.
    ///
    /// # Errors
    /// [`HandleError`] says why not; the request may be made again, unless the servo was replaced.
    pub async fn serve(
        &self,
        optimizer: &str,
        request: Request,
        deadline: Duration,
    ) -> Result<Response, HandleError> {
        let (reply, answer) = oneshot::channel();
        let job = Job::Serve {
            optimizer: optimizer.to_owned(),
            request: Box::new(request),
            reply,
        };
        self.ask(job, answer, deadline).await
    }

    /// The studies of the trial file, the most recently active last.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub async fn studies(&self, deadline: Duration) -> Result<Vec<StudyRow>, HandleError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Job::Studies { reply }, answer, deadline).await
    }

    /// One study of the trial file and its trials; `None` if there is no such study.
    ///
    /// # Errors
    /// As [`Self::serve`].
    pub async fn study(
        &self,
        study: i64,
        deadline: Duration,
    ) -> Result<Option<StudyDetails>, HandleError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Job::Trials { study, reply }, answer, deadline)
            .await
    }

    async fn ask<T>(
        &self,
        job: Job,
        answer: oneshot::Receiver<Result<T, HandleError>>,
        deadline: Duration,
    ) -> Result<T, HandleError> {
        let asked = async {
            self.jobs.send(job).await.map_err(|_| HandleError::Gone)?;
            answer.await.map_err(|_| HandleError::Gone)?
        };
        tokio::time::timeout(deadline, asked)
            .await
            .unwrap_or(Err(HandleError::Deadline { deadline }))
    }

    /// The verdict of each trial from now on, of every optimizer id. An observer that lags more than 1024
    /// trials behind misses the oldest and is told how many.
    #[must_use]
    pub fn trials(&self) -> broadcast::Receiver<TrialEvent> {
        self.trials.subscribe()
    }

    /// Waits until the study of `optimizer` has ended in this process, or cannot go on
    /// ([`crate::Verdict::Stopped`]). At once when it already has.
    ///
    /// There is no deadline: a study takes as long as its measurements. Drop the future to stop waiting.
    ///
    /// # Errors
    /// When the optimizer is shut down first.
    pub async fn finished(&self, optimizer: &str) -> Result<Arc<StudyResult>, HandleError> {
        let mut finished = self.finished.clone();
        let found = finished
            .wait_for(|results| results.contains_key(optimizer))
            .await;
        found
            .ok()
            .and_then(|results| results.get(optimizer).cloned())
            .ok_or(HandleError::Gone)
    }

    /// Waits until the thread has ended and the trial file is closed. Drop every other handle, and every
    /// client, before; this one is given up by the call.
    pub async fn closed(self) {
        let Self {
            jobs,
            trials,
            finished,
            database: _,
            ended,
        } = self;
        drop((jobs, trials, finished));
        ended.cancelled().await;
    }
}

struct Worker {
    store: Store,
    /// After the store, so that the file is closed when the next process may have it.
    _claim: Claim,
    studies: Studies,
    engines: HashMap<String, Engine>,
    trials: broadcast::Sender<TrialEvent>,
    finished: watch::Sender<HashMap<String, Arc<StudyResult>>>,
    /// Last, so that the file is closed when the end is told.
    _ended: DropGuard,
}

impl Worker {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(job) = queue.blocking_recv() {
            match job {
                Job::Serve { reply, .. } if reply.is_closed() => {}
                Job::Serve {
                    optimizer,
                    request,
                    reply,
                } => {
                    let answer = self.serve_guarded(&optimizer, &request);
                    let _ = reply.send(answer);
                }
                Job::Studies { reply } => {
                    let _ = reply.send(list(&self.store).map_err(refused));
                }
                Job::Trials { study, reply } => {
                    let _ = reply.send(one(&self.store, study).map_err(refused));
                }
            }
        }
    }

    fn serve_guarded(
        &mut self,
        optimizer: &str,
        request: &Request,
    ) -> Result<Response, HandleError> {
        match catch_unwind(AssertUnwindSafe(|| self.serve(optimizer, request))) {
            Ok(answer) => answer,
            Err(panic) => {
                let text = panic
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "no message".to_owned());
                tracing::error!(optimizer, event = %request.event.name(), "the optimizer panicked: {text}");
                self.engines.remove(optimizer);
                Err(HandleError::Panicked(text.into()))
            }
        }
    }

    fn serve(&mut self, optimizer: &str, request: &Request) -> Result<Response, HandleError> {
        if !self.engines.contains_key(optimizer) {
            if self.engines.len() >= MAX_OPTIMIZERS {
                return Err(HandleError::TooMany);
            }
            let config = self.studies.get(optimizer).cloned();
            let engine = Engine::load(optimizer, config, &self.store).map_err(refused)?;
            self.engines.insert(optimizer.to_owned(), engine);
        }
        let Some(engine) = self.engines.get_mut(optimizer) else {
            return Err(HandleError::Gone);
        };
        let mut notices = Vec::new();
        let mut at = Surroundings {
            store: &mut self.store,
            notices: &mut notices,
            now: Timestamp::now(),
        };
        let answer = engine.handle(request, &mut at);
        for notice in notices {
            match notice {
                Notice::Begun { optimizer } => {
                    self.finished
                        .send_modify(|results| drop(results.remove(&optimizer)));
                }
                // Nobody may be listening.
                Notice::Trial(event) => drop(self.trials.send(*event)),
                Notice::Finished(result) => self.finished.send_modify(|results| {
                    results.insert(result.optimizer.clone(), Arc::from(result));
                }),
            }
        }
        match answer {
            Ok(Answer::Respond(response)) => Ok(*response),
            Ok(Answer::Replaced) => Err(HandleError::Replaced),
            Err(error) => {
                tracing::error!(optimizer, event = %request.event.name(), "{error}");
                Err(refused(error))
            }
        }
    }
}

fn refused(error: StoreError) -> HandleError {
    HandleError::Store(error.to_string().into())
}

/// The studies of a trial file, the most recently active last.
///
/// # Errors
/// When the file cannot be read.
pub fn list(store: &Store) -> Result<Vec<StudyRow>, StoreError> {
    store
        .studies()?
        .iter()
        .map(|study| Ok(StudyRow::of(study, &store.trials(study.id)?)))
        .collect()
}

/// One study of a trial file and its trials.
///
/// # Errors
/// When the file cannot be read.
pub fn one(store: &Store, study: i64) -> Result<Option<StudyDetails>, StoreError> {
    let Some(record) = store.study(study)? else {
        return Ok(None);
    };
    let trials = store.trials(study)?;
    let row = StudyRow::of(&record, &trials);
    Ok(Some((
        row,
        trials.into_iter().map(TrialRow::from).collect(),
    )))
}

#[cfg(test)]
mod tests;
