//! One pass over the checks of a servo's connectors.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use servo_messages::EventError;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    check::{Check, FailureDetails},
    event::{CheckEvent, Sighting},
    narrate::Narrator,
    policy::CheckPolicy,
    report::ConnectorChecks,
    select::responders,
};
use crate::{
    dispatcher::DispatcherRef,
    options::{DispatchError, DispatchOptions, DispatchOutcome, ErrorPolicy, HandlerError, Scope},
};

/// How long nothing may be heard of any connector beyond the time that its check has. A connector that is being
/// restarted is waited for this long, too.
const SILENCE: Duration = Duration::from_secs(15);
/// A pass ends when its checks do, and each of them has a deadline; this one is for a broken clock.
const ENDLESS: Duration = Duration::from_secs(86_400);

/// The token fired.
#[derive(Debug)]
pub(crate) struct Cancelled;

/// What is heard of the connectors while the pass goes on, on their threads.
struct Ledger {
    /// None once the pass is over: what comes later does not count.
    narrator: Option<Narrator>,
    /// Whether to tell of each result at once.
    live: bool,
    heard: HashMap<Arc<str>, Heard>,
    timeout: Duration,
    /// Until when something more has to be heard.
    patience: Instant,
}

/// What was heard of one connector.
#[derive(Default)]
struct Heard {
    checks: Vec<Check>,
    done: bool,
}

/// The failures of connectors, as opposed to those of checks.
type Failures = Vec<(Arc<str>, FailureDetails)>;

/// Asks the connectors for their checks, and tells of the results.
///
/// # Errors
/// When the token fired.
pub(crate) async fn pass(
    dispatcher: &DispatcherRef,
    policy: &CheckPolicy,
    narrator: &mut Option<Narrator>,
    cancel: &CancellationToken,
) -> Result<Vec<ConnectorChecks>, Cancelled> {
    let mut own = narrator.take();
    if let Some(narrator) = &mut own {
        narrator.begin_pass();
    }
    let ledger = Arc::new(Mutex::new(Ledger {
        narrator: own,
        live: !policy.check_halting,
        heard: HashMap::new(),
        timeout: policy.timeout,
        patience: Instant::now() + policy.timeout.min(ENDLESS) + SILENCE,
    }));
    let (outcome, fell_silent) = dispatch(dispatcher, policy, &ledger, cancel).await;
    let mut heard = {
        let mut ledger = lock(&ledger);
        *narrator = ledger.narrator.take();
        std::mem::take(&mut ledger.heard)
    };
    if cancel.is_cancelled() {
        return Err(Cancelled);
    }
    let mut failures = Failures::new();
    let mut results: Vec<ConnectorChecks> = Vec::new();
    match outcome {
        Ok(outcome) => results = answers(outcome, &mut heard, &mut failures),
        Err(error) => {
            let silent = silent(dispatcher, policy, &heard);
            failures.extend(of_dispatch(error, fell_silent.then_some(silent)));
            let told = heard.into_iter().filter(|(_, h)| !h.checks.is_empty());
            results.extend(
                told.map(|(connector, Heard { checks, .. })| ConnectorChecks { connector, checks }),
            );
        }
    }
    for (connector, failure) in failures {
        let check = Check::of_failed_connector(&connector, failure);
        of_connector(&mut results, &connector).push(check);
    }
    results.retain(|of_one| !of_one.checks.is_empty());
    let order = dispatcher.bus().connectors();
    let place = |name: &Arc<str>| order.iter().position(|c| c == name).unwrap_or(usize::MAX);
    results.sort_by_cached_key(|of_one| place(&of_one.connector));
    if let Some(narrator) = narrator {
        if policy.check_halting {
            narrator.tell_until_failure(&results);
        } else {
            narrator.tell_rest(&results);
        }
    }
    Ok(results)
}

/// Dispatches the event; gives up when nothing has been heard for too long, and says so.
async fn dispatch(
    dispatcher: &DispatcherRef,
    policy: &CheckPolicy,
    ledger: &Arc<Mutex<Ledger>>,
    cancel: &CancellationToken,
) -> (Result<DispatchOutcome<Vec<Check>>, DispatchError>, bool) {
    let watched = ledger.clone();
    let event = CheckEvent {
        matching: policy.filter.clone(),
        halt_on: policy.halt_on,
        timeout: policy.timeout,
        watch: Some(Arc::new(move |connector: &str, sighting: Sighting<'_>| {
            lock(&watched).see(connector, sighting);
        })),
    };
    let stop = cancel.child_token();
    // If the run is dropped, nobody is interested any more.
    let _stop_when_dropped = stop.clone().drop_guard();
    let options = DispatchOptions {
        scope: match &policy.connectors {
            Some(names) => Scope::Only(names.clone()),
            None => Scope::All,
        },
        on_error: ErrorPolicy::Collect,
        timeout: ENDLESS,
        cancel: stop.clone(),
        ..DispatchOptions::default()
    };
    let dispatch = dispatcher.dispatch(event, options);
    tokio::pin!(dispatch);
    loop {
        let patience = lock(ledger).patience;
        tokio::select! {
            biased;
            outcome = &mut dispatch => return (outcome, false),
            () = sleep_until(patience) => {
                if lock(ledger).patience <= Instant::now() {
                    stop.cancel();
                    return (dispatch.await, true);
                }
            }
        }
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    fn see(&mut self, connector: &str, sighting: Sighting<'_>) {
        let Some(narrator) = &mut self.narrator else {
            return;
        };
        let name = match self.heard.get_key_value(connector) {
            Some((name, _)) => name.clone(),
            None => Arc::from(connector),
        };
        let heard = self.heard.entry(name.clone()).or_default();
        let limit = match sighting {
            Sighting::Begins { limit } => limit,
            Sighting::Ends(check) => {
                if self.live {
                    narrator.tell(&name, check);
                }
                heard.checks.push(check.clone());
                self.timeout
            }
            Sighting::Done => {
                heard.done = true;
                self.timeout
            }
        };
        let patience = Instant::now() + limit.min(ENDLESS) + SILENCE;
        self.patience = self.patience.max(patience);
    }
}

/// What the connectors answered. Of one that failed in the end, there is what was heard of it before.
fn answers(
    outcome: DispatchOutcome<Vec<Check>>,
    heard: &mut HashMap<Arc<str>, Heard>,
    failures: &mut Failures,
) -> Vec<ConnectorChecks> {
    let mut results = Vec::with_capacity(outcome.results.len());
    for veto in outcome.cancelled_by {
        let message = format!("the checks were called off: {}", veto.reason);
        failures.push((veto.connector, failed(message)));
    }
    for result in outcome.results {
        let checks = match result.value {
            Ok(checks) => checks,
            Err(error) => {
                failures.push((error.connector.clone(), of_error(&error.error)));
                heard.remove(&result.connector).unwrap_or_default().checks
            }
        };
        of_connector(&mut results, &result.connector).extend(checks);
    }
    results
}

fn of_connector<'r>(
    results: &'r mut Vec<ConnectorChecks>,
    connector: &Arc<str>,
) -> &'r mut Vec<Check> {
    let place = results.iter().position(|r| r.connector == *connector);
    let place = place.unwrap_or_else(|| {
        results.push(ConnectorChecks {
            connector: connector.clone(),
            checks: Vec::new(),
        });
        results.len() - 1
    });
    &mut results[place].checks
}

/// The connectors that were asked and have not answered.
fn silent(
    dispatcher: &DispatcherRef,
    policy: &CheckPolicy,
    heard: &HashMap<Arc<str>, Heard>,
) -> Vec<Arc<str>> {
    let asked = |name: &Arc<str>| match &policy.connectors {
        Some(names) => names.contains(name),
        None => true,
    };
    responders(dispatcher.bus())
        .into_iter()
        .filter(|name| asked(name) && !heard.get(name).is_some_and(|h| h.done))
        .collect()
}

fn of_dispatch(error: DispatchError, silent: Option<Vec<Arc<str>>>) -> Failures {
    match (error, silent) {
        (DispatchError::Handlers(errors), _) => errors
            .into_iter()
            .map(
                |HandlerError {
                     connector, error, ..
                 }| (connector, of_error(&error)),
            )
            .collect(),
        (DispatchError::Deadline { waiting_for, .. }, _) => waiting_for
            .into_iter()
            .map(|connector| (connector.into(), failed(NO_ANSWER.to_owned())))
            .collect(),
        (DispatchError::Cancelled { .. }, Some(silent)) => silent
            .into_iter()
            .map(|connector| (connector, failed(NO_ANSWER.to_owned())))
            .collect(),
        (other, _) => vec![("dispatcher".into(), failed(other.to_string()))],
    }
}

const NO_ANSWER: &str = "timed out: the connector did not answer";

fn failed(message: String) -> FailureDetails {
    FailureDetails {
        message: Some(message),
        ..FailureDetails::default()
    }
}

fn of_error(error: &EventError) -> FailureDetails {
    FailureDetails {
        exception: Some(format!("{error:?}")),
        ..failed(error.to_string())
    }
}
