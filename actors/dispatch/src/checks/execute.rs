//! Running the checks of one connector (`spec/events-and-checks.md` §6.4, §6.8).

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    panic::AssertUnwindSafe,
    time::Duration,
};

use futures_util::FutureExt;
use jiff::Timestamp;
use servo_messages::{EventError, Severity};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    check::{Check, CheckId, CheckResult, FailureDetails, Tag, Timing},
    declare::{Body, Checks, Items, Search, Source, Traits},
    event::{CheckEvent, Sighting},
    outcome::{CheckFailure, CheckOutcome},
    remedy::panic_text,
};
use crate::context::HandlerContext;

/// What is known of a check before it runs.
struct Plan {
    name: String,
    id: CheckId,
    traits: Traits,
    tags: BTreeSet<Tag>,
}

type Planned<'a> = (Plan, Body<'a>);

/// A place in the order of checks.
enum Entry<'a> {
    Check(Plan, Body<'a>),
    /// A group whose items are not known yet.
    Sought {
        plan: Plan,
        search: Search<'a>,
        /// Whether the items' ids are made of that of the group.
        has_id: bool,
    },
}

/// The ids that are taken.
#[derive(Default)]
struct Ids {
    taken: HashSet<CheckId>,
    /// The number that was last added to an id that is taken.
    numbers: HashMap<CheckId, usize>,
}

/// One run of the checks of one connector.
struct Execution<'e> {
    event: &'e CheckEvent,
    connector: &'e str,
    stop: &'e CancellationToken,
    ids: Ids,
    /// The failed check that keeps the rest from being run.
    halted_by: Option<CheckId>,
    results: Vec<Check>,
}

/// The token fired.
struct Stopped;

// === impl Checks ===

impl<'a> Checks<'a> {
    /// Runs the checks that `event` asks for, one after the other, and tells how each ended. Those that were not run
    /// because an earlier one failed are there too, as skipped.
    ///
    /// No check can do harm to the others: a panic is a failure, and so is one that is not done when its time is up.
    ///
    /// # Errors
    /// When the checks are declared wrongly (an invalid or repeated id, an invalid tag); when the handler is to stop.
    pub async fn run(
        self,
        event: &CheckEvent,
        cx: &HandlerContext,
    ) -> Result<Vec<Check>, EventError> {
        self.run_until(event, cx.connector(), cx.cancellation())
            .await
    }

    /// As [`Checks::run`], outside of any handler: for tests.
    ///
    /// # Errors
    /// When the checks are declared wrongly.
    pub async fn run_alone(self, event: &CheckEvent) -> Result<Vec<Check>, EventError> {
        self.run_until(event, "", &CancellationToken::new()).await
    }

    async fn run_until(
        self,
        event: &CheckEvent,
        connector: &str,
        stop: &CancellationToken,
    ) -> Result<Vec<Check>, EventError> {
        let mut execution = Execution {
            event,
            connector,
            stop,
            ids: Ids::default(),
            halted_by: None,
            results: Vec::with_capacity(self.0.len()),
        };
        let entries = execution.entries(self).map_err(EventError::failed)?;
        execution
            .all(entries)
            .await
            .map_err(|Stopped| EventError::cancelled("the checks were cancelled"))?;
        execution.see(Sighting::Done);
        Ok(execution.results)
    }
}

// === impl Execution ===

impl Execution<'_> {
    /// The declared checks in order, groups with known items expanded.
    fn entries<'a>(&mut self, checks: Checks<'a>) -> Result<Vec<Entry<'a>>, String> {
        let mut explicit = Vec::with_capacity(checks.0.len());
        for declared in &checks.0 {
            let place = |problem: &dyn std::fmt::Display| {
                format!(
                    "the check {:?} is declared wrongly: {problem}",
                    declared.name
                )
            };
            let id = declared.id.clone().map(CheckId::try_new).transpose();
            let id = id.map_err(|e| place(&e))?;
            if let Some(id) = &id
                && !self.ids.taken.insert(id.clone())
            {
                return Err(place(&format_args!("another check has the id '{id}', too")));
            }
            let tags = declared.traits.tags.iter().map(|tag| Tag::try_new(tag));
            let tags: BTreeSet<Tag> = tags.collect::<Result<_, _>>().map_err(|e| place(&e))?;
            explicit.push((id, tags));
        }
        let mut entries = Vec::with_capacity(checks.0.len());
        for (declared, (id, tags)) in checks.0.into_iter().zip(explicit) {
            let has_id = id.is_some();
            let mut plan = |id: Option<CheckId>| Plan {
                id: id.unwrap_or_else(|| self.ids.free(CheckId::generated(&declared.name))),
                name: declared.name.clone(),
                traits: declared.traits.clone(),
                tags: tags.clone(),
            };
            match declared.source {
                Source::One(body) => entries.push(Entry::Check(plan(id), body)),
                Source::Group(items) => {
                    // Its id is that of none of its checks, so that none has to be generated.
                    let group = Plan {
                        id: id.unwrap_or_else(|| CheckId::generated("")),
                        name: declared.name,
                        traits: declared.traits,
                        tags,
                    };
                    let items = self.expanded(&group, items, has_id);
                    entries.extend(
                        items
                            .into_iter()
                            .map(|(plan, body)| Entry::Check(plan, body)),
                    );
                }
                Source::Sought(search) => entries.push(Entry::Sought {
                    plan: plan(id),
                    search,
                    has_id,
                }),
            }
        }
        Ok(entries)
    }

    fn expanded<'a>(&mut self, group: &Plan, items: Items<'a>, has_id: bool) -> Vec<Planned<'a>> {
        items
            .into_iter()
            .enumerate()
            .map(|(index, (name, body))| {
                let id = if has_id {
                    group.id.item(index)
                } else {
                    CheckId::generated(&name)
                };
                let plan = Plan {
                    name,
                    id: self.ids.free(id),
                    traits: group.traits.clone(),
                    tags: group.tags.clone(),
                };
                (plan, body)
            })
            .collect()
    }

    async fn all(&mut self, entries: Vec<Entry<'_>>) -> Result<(), Stopped> {
        let filter = &self.event.matching;
        if filter.is_empty() {
            for entry in entries {
                self.entry(entry).await?;
            }
            return Ok(());
        }
        // What a filter selects depends on the names of all, so all items are found first.
        let mut known = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry {
                Entry::Check(plan, body) => known.push((plan, body)),
                Entry::Sought {
                    plan,
                    search,
                    has_id,
                } => {
                    let id = has_id.then_some(&plan.id);
                    if plan.traits.severity == Severity::Critical
                        || filter.may_match_in_group(id, &plan.tags)
                    {
                        known.extend(self.found(plan, search, has_id).await?);
                    }
                }
            }
        }
        let selection = filter.selection(
            known
                .iter()
                .map(|(p, _)| (p.name.as_str(), &p.id, &p.tags, p.traits.severity)),
        );
        for ((plan, body), wanted) in known.into_iter().zip(selection) {
            if wanted {
                self.check(plan, body).await?;
            }
        }
        Ok(())
    }

    async fn entry(&mut self, entry: Entry<'_>) -> Result<(), Stopped> {
        match entry {
            Entry::Check(plan, body) => self.check(plan, body).await,
            Entry::Sought { plan, .. } if self.halted_by.is_some() => {
                self.skip(plan);
                Ok(())
            }
            Entry::Sought {
                plan,
                search,
                has_id,
            } => {
                for (plan, body) in self.found(plan, search, has_id).await? {
                    self.check(plan, body).await?;
                }
                Ok(())
            }
        }
    }

    /// The checks of a group, or the failed one that stands for them.
    async fn found<'a>(
        &mut self,
        plan: Plan,
        search: Search<'a>,
        has_id: bool,
    ) -> Result<Vec<Planned<'a>>, Stopped> {
        let items = self.guarded(&plan, search()).await?;
        match items.and_then(|items| items) {
            Ok(items) => Ok(self.expanded(&plan, items, has_id)),
            Err(failure) => {
                let body: Body<'a> =
                    Box::new(move || Box::pin(async { CheckOutcome::Failure(failure) }));
                Ok(vec![(plan, body)])
            }
        }
    }

    fn skip(&mut self, plan: Plan) {
        if let Some(blocked_by) = self.halted_by.clone() {
            self.end(plan, CheckResult::Skipped { blocked_by });
        }
    }

    async fn check(&mut self, plan: Plan, body: Body<'_>) -> Result<(), Stopped> {
        if self.halted_by.is_some() {
            self.skip(plan);
            return Ok(());
        }
        let run_at = Timestamp::now();
        let began = Instant::now();
        let outcome = match self.guarded(&plan, body()).await? {
            Ok(outcome) => outcome,
            Err(failure) => CheckOutcome::Failure(failure),
        };
        let timing = Timing {
            run_at,
            runtime: began.elapsed(),
        };
        let result = match outcome {
            CheckOutcome::Success { message } => CheckResult::Succeeded { message, timing },
            CheckOutcome::Failure(CheckFailure(failure)) => {
                if self.event.halt_on.stops_at(plan.traits.severity) {
                    self.halted_by = Some(plan.id.clone());
                }
                let failure = FailureDetails {
                    hint: failure.hint.or_else(|| plan.traits.hint.clone()),
                    remedy: failure.remedy.or_else(|| plan.traits.remedy.clone()),
                    ..failure
                };
                CheckResult::Failed { failure, timing }
            }
        };
        self.end(plan, result);
        // Many checks that wait for nothing must not hold up the connector's thread.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Runs a part of a check so that neither a panic nor its taking too long does harm.
    async fn guarded<T>(
        &self,
        plan: &Plan,
        part: impl Future<Output = T>,
    ) -> Result<Result<T, CheckFailure>, Stopped> {
        let limit = plan.traits.limit.unwrap_or(self.event.timeout);
        self.see(Sighting::Begins { limit });
        let began = Instant::now();
        let part = timeout(limit, AssertUnwindSafe(part).catch_unwind());
        let ended = self.stop.run_until_cancelled(part).await.ok_or(Stopped)?;
        let problem = match ended {
            // One that kept its thread busy ends late and is not found out by the timer.
            Ok(Ok(_)) if began.elapsed() > limit => timed_out(limit),
            Ok(Ok(value)) => return Ok(Ok(value)),
            Ok(Err(payload)) => panic_text(&*payload),
            Err(_) => timed_out(limit),
        };
        Ok(Err(CheckFailure::new(problem)))
    }

    fn end(&mut self, plan: Plan, result: CheckResult) {
        let created_at = match &result {
            CheckResult::Succeeded { timing, .. } | CheckResult::Failed { timing, .. } => {
                timing.run_at
            }
            CheckResult::Skipped { .. } => Timestamp::now(),
        };
        let check = Check {
            name: plan.name,
            id: plan.id,
            description: plan.traits.description,
            severity: plan.traits.severity,
            tags: plan.tags,
            created_at,
            result,
        };
        self.see(Sighting::Ends(&check));
        self.results.push(check);
    }

    fn see(&self, sighting: Sighting<'_>) {
        if let Some(watch) = &self.event.watch {
            watch(self.connector, sighting);
        }
    }
}

fn timed_out(limit: Duration) -> String {
    format!("timed out after {}", servo_messages::Duration::from(limit))
}

// === impl Ids ===

impl Ids {
    /// `id`, or if it is taken, the next one with a number that is not.
    fn free(&mut self, id: CheckId) -> CheckId {
        if self.taken.insert(id.clone()) {
            return id;
        }
        let number = self.numbers.entry(id.clone()).or_insert(1);
        loop {
            *number += 1;
            let next = id.again(*number);
            if self.taken.insert(next.clone()) {
                return next;
            }
        }
    }
}
