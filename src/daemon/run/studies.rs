//! What comes of the studies of embedded optimizers.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
};

use futures_util::{StreamExt, future, stream::FuturesUnordered};
use servo_embedded::{StudyResult, TrialEvent, study::StudyConfig};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::Study;
use crate::daemon::fleet::{Fleet, RunningStudy};

/// Names a study in all trial files.
type StudyId = (PathBuf, String);

/// What came of studies so far.
#[derive(Default)]
struct Results {
    /// In the order of their ends.
    all: Vec<(StudyId, Arc<StudyResult>)>,
    /// What was asked of those that are over.
    over: HashMap<StudyId, StudyConfig>,
}

/// The results of all studies, once all are over; tells of trials and results on the way. Never ends
/// where a servo has no study that ends, or where none is asked about its study.
pub(super) async fn finished(
    fleet: &Fleet,
    asked: bool,
    observe: &mut impl FnMut(Study),
) -> Vec<Arc<StudyResult>> {
    let mut changes = fleet.studies();
    let mut results = Results::default();
    loop {
        let studies = changes.borrow_and_update().clone();
        tokio::select! {
            () = follow(&studies, &mut results, observe) => {
                let finite = asked && !studies.is_empty() && fleet.is_finite();
                // With nothing to follow there may be something to come.
                if finite && changes.has_changed().is_ok_and(|changed| !changed) {
                    return results.of(&studies);
                }
                drop(studies);
                if changes.changed().await.is_err() {
                    return future::pending().await;
                }
            }
            _ = changes.changed() => {}
        }
    }
}

/// Until all `studies` are over.
async fn follow(studies: &[RunningStudy], results: &mut Results, observe: &mut impl FnMut(Study)) {
    let mut files = HashSet::new();
    let receivers = studies
        .iter()
        .filter(|study| files.insert(study.optimizer.database().to_owned()))
        .map(|study| Box::pin(trials(study.optimizer.trials())));
    let mut trials = futures_util::stream::select_all(receivers);
    let mut ends: FuturesUnordered<_> = studies
        .iter()
        .filter(|study| results.over.get(&study_id(study)) != Some(&study.study))
        .map(async |study| (study, study.optimizer.finished(&study.id).await))
        .collect();
    loop {
        tokio::select! {
            biased;
            Some(event) = trials.next() => observe(Study::Trial(Box::new(event))),
            end = ends.next() => match end {
                Some((study, Ok(result))) => {
                    observe(Study::Finished(result.clone()));
                    results.note(study, result);
                }
                Some((_, Err(error))) => tracing::debug!("{error}"),
                None => return,
            }
        }
    }
}

fn trials(receiver: Receiver<TrialEvent>) -> impl futures_util::Stream<Item = TrialEvent> {
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        loop {
            match receiver.recv().await {
                Ok(event) => return Some((event, receiver)),
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "trials ended faster than they could be told");
                }
                Err(RecvError::Closed) => return None,
            }
        }
    })
}

fn study_id(study: &RunningStudy) -> StudyId {
    (study.optimizer.database().to_owned(), study.id.clone())
}

impl Results {
    fn note(&mut self, study: &RunningStudy, result: Arc<StudyResult>) {
        let id = study_id(study);
        self.all.retain(|(known, _)| *known != id);
        self.all.push((id.clone(), result));
        self.over.insert(id, study.study.clone());
    }

    /// Those of `studies`.
    fn of(&self, studies: &[RunningStudy]) -> Vec<Arc<StudyResult>> {
        let wanted: HashSet<StudyId> = studies.iter().map(study_id).collect();
        let of_these = self.all.iter().filter(|(id, _)| wanted.contains(id));
        of_these.map(|(_, result)| result.clone()).collect()
    }
}
