//! A run of the checks of a servo: pass after pass, until all is well or the time is up
//! (`spec/events-and-checks.md` §6.13).

use std::{fmt, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    check::Check,
    narrate::Narrator,
    pass::{Cancelled, pass},
    policy::CheckPolicy,
    remedy::{Remedy, panic_text},
    report::{CheckOf, CheckReport, ConnectorChecks, Reporter},
    select::{CheckSelectionError, select},
};
use crate::dispatcher::DispatcherRef;

/// The shortest pause between two passes, so that a delay of nothing does not keep everybody busy.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// A run of the checks of one servo.
///
/// It is a future, which ends by its own deadlines, when its token fires, or when it is dropped; the checks end with
/// it. [`CheckRun::child`] makes it an actor of the servo's.
pub struct CheckRun {
    dispatcher: DispatcherRef,
    policy: CheckPolicy,
    reporter: Reporter,
    cancel: CancellationToken,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct CheckRunOutcome {
    /// How it ended.
    pub end: CheckRunEnd,
    /// How many passes there were, not counting one that was cancelled.
    pub passes: u32,
    /// The results of the last pass by connector, in bus order. Connectors without checks are left out.
    pub connectors: Vec<ConnectorChecks>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckRunEnd {
    /// All checks passed.
    Ready,
    /// The only pass was not enough.
    Failed,
    /// Neither was the last of several, and the time was up.
    TimedOut,
    /// The filter selected no check.
    NothingMatched,
    /// The token fired.
    Cancelled,
}

// === impl CheckRun ===

impl CheckRun {
    /// A run over the connectors that `dispatcher` knows.
    ///
    /// # Errors
    /// When the policy names a connector that is not there, or when there is nobody to ask.
    pub fn new(
        dispatcher: DispatcherRef,
        policy: CheckPolicy,
    ) -> Result<Self, CheckSelectionError> {
        let found = select(&[dispatcher.bus()], policy.connectors.as_deref())?;
        debug_assert_eq!(found, [true]);
        Ok(Self::over(dispatcher, policy))
    }

    /// One run for each servo of an assembly, in their order; none for a servo that has none of the connectors that the
    /// policy names.
    ///
    /// # Errors
    /// When no servo has a connector that the policy names, or when there is nobody to ask in any.
    pub fn of_all(
        dispatchers: &[DispatcherRef],
        policy: &CheckPolicy,
    ) -> Result<Vec<Option<Self>>, CheckSelectionError> {
        let buses: Vec<_> = dispatchers.iter().map(DispatcherRef::bus).collect();
        let found = select(&buses, policy.connectors.as_deref())?;
        let runs = dispatchers.iter().zip(found);
        Ok(runs
            .map(|(dispatcher, found)| {
                found.then(|| Self::over(dispatcher.clone(), policy.clone()))
            })
            .collect())
    }

    /// Over those of the named connectors that are there: the others belong to other servos.
    fn over(dispatcher: DispatcherRef, mut policy: CheckPolicy) -> Self {
        let connectors = dispatcher.bus().connectors();
        if let Some(names) = &mut policy.connectors {
            names.retain(|name| connectors.contains(name));
        }
        Self {
            dispatcher,
            policy,
            reporter: Arc::new(|_| {}),
            cancel: CancellationToken::new(),
        }
    }

    /// Has `reporter` told what happens, when it happens. It is called on the threads of the connectors, so it must not
    /// block. [`CheckReport::log`] is one.
    #[must_use]
    pub fn report_to(self, reporter: impl Fn(&CheckReport<'_>) + Send + Sync + 'static) -> Self {
        Self {
            reporter: Arc::new(reporter),
            ..self
        }
    }

    /// Has `token` end it early.
    #[must_use]
    pub fn cancelled_by(self, token: CancellationToken) -> Self {
        Self {
            // Its own end must not be that of others.
            cancel: token.child_token(),
            ..self
        }
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Runs the checks.
    pub async fn run(self) -> CheckRunOutcome {
        let mut outcome = CheckRunOutcome {
            end: CheckRunEnd::Cancelled,
            passes: 0,
            connectors: Vec::new(),
        };
        // A token that fires means Cancelled, which is there already.
        if let Ok(end) = self.passes(&mut outcome).await {
            outcome.end = end;
        }
        outcome
    }

    async fn passes(&self, outcome: &mut CheckRunOutcome) -> Result<CheckRunEnd, Cancelled> {
        let policy = &self.policy;
        let began = Instant::now();
        let mut narrator = Some(Narrator::new(self.reporter.clone()));
        if !policy.wait.is_zero() {
            self.report(CheckReport::Began {
                wait: policy.wait,
                delay: policy.delay,
                progressive: policy.progressive,
            });
        }
        loop {
            let results = pass(&self.dispatcher, policy, &mut narrator, &self.cancel).await?;
            outcome.connectors = results;
            outcome.passes += 1;
            let results = &outcome.connectors;
            if policy.remedy {
                self.remedies(results).await?;
            }
            self.report(CheckReport::PassEnded { results });
            if results.is_empty() && !policy.filter.is_empty() {
                self.report(CheckReport::NothingMatched);
                return Ok(CheckRunEnd::NothingMatched);
            }
            if results.iter().all(ConnectorChecks::passed) {
                self.report(CheckReport::AllPassed);
                return Ok(CheckRunEnd::Ready);
            }
            if policy.wait.is_zero() {
                return Ok(CheckRunEnd::Failed);
            }
            let left = policy.wait.saturating_sub(began.elapsed());
            if left.is_zero() {
                self.report(CheckReport::GaveUp { wait: policy.wait });
                return Ok(CheckRunEnd::TimedOut);
            }
            let pause = policy.delay.after(outcome.passes - 1).as_std();
            let pause = pause.max(LEAST_PAUSE).min(left);
            self.report(CheckReport::Waiting { pause });
            self.unless_cancelled(sleep(pause)).await?;
        }
    }

    fn report(&self, report: CheckReport<'_>) {
        (self.reporter)(&report);
    }

    async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, Cancelled> {
        self.cancel.run_until_cancelled(work).await.ok_or(Cancelled)
    }

    /// Tries the remedies of all failed checks at once; with `check_halting`, that of the first.
    async fn remedies(&self, results: &[ConnectorChecks]) -> Result<(), Cancelled> {
        let mut attempts = FuturesUnordered::new();
        'all: for ConnectorChecks { connector, checks } in results {
            for check in checks {
                if let Some(remedy) = check.remedy() {
                    attempts.push(self.remedy(CheckOf { connector, check }, remedy));
                }
                if self.policy.check_halting && check.failed() {
                    break 'all;
                }
            }
        }
        self.unless_cancelled(async { while attempts.next().await.is_some() {} })
            .await
    }

    async fn remedy(&self, of: CheckOf<'_>, remedy: &Remedy) {
        let limit = remedy.limit().unwrap_or(self.policy.remedy_timeout);
        self.report(CheckReport::RemedyBegins(of));
        // The attempt is made inside, for it is foreign code as well.
        let attempt = AssertUnwindSafe(async { remedy.attempt().await }).catch_unwind();
        let error = match timeout(limit, attempt).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(payload)) => panic_text(&*payload),
            Err(_) => return self.report(CheckReport::RemedyTimedOut { of, limit }),
        };
        let error = error.as_str();
        self.report(CheckReport::RemedyFailed { of, error });
    }
}

impl fmt::Debug for CheckRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckRun")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

// === impl CheckRunOutcome ===

impl CheckRunOutcome {
    /// Whether the servo may go to work.
    pub fn ready(&self) -> bool {
        self.end == CheckRunEnd::Ready
    }

    /// Whether all servos of an assembly may go to work. One in which the filter selects nothing stands in nobody's way,
    /// as long as it selects something in another.
    pub fn all_ready<'o>(outcomes: impl IntoIterator<Item = &'o Self>) -> bool {
        let mut some = false;
        let all = outcomes.into_iter().all(|outcome| {
            some |= outcome.ready();
            outcome.ready() || outcome.end == CheckRunEnd::NothingMatched
        });
        all && some
    }
}

impl ConnectorChecks {
    /// Whether all its checks ran, and none stands in anybody's way.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(Check::passed)
    }
}
