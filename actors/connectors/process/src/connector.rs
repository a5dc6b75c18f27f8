//! The connector: a servo's events, answered by the keepers of its components.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use servo_dispatch::{
    Adjust, Before, BeforeError, BoxError, Check, CheckEvent, Components, ConfigProblem, Connector,
    ConnectorContext, Describe, Detach, HandlerContext, Maturity, Measure, Metadata, Metrics, On,
    Routes, Shutdown, Startup,
};
use servo_messages::{
    Adjustment, Component, Description, EventError, Measurement, Metric, Reading,
};

use tokio_util::sync::CancellationToken;

use crate::checks;
use crate::child::Pulse;
use crate::component::{Values, components};
use crate::config::ProcessConfig;
use crate::keeper::{Keeper, KeeperGone};
use crate::readiness;
use crate::tuner::{AdjustError, LastLines, StartError};
use crate::warden::WardenProgram;
use crate::window::{Ended, Names, record};

/// What a shutdown needs beyond the grace of the processes: to kill and collect what ignored it.
const STOP_RESERVE: Duration = Duration::from_secs(2);
/// What a cancelled handler leaves of its grace, so that it answers before it counts as stuck.
const ANSWER_RESERVE: Duration = Duration::from_secs(1);

/// A service with one setting, which reaches it as an environment variable.
const SAMPLE: &str = "\
description: Update the command and settings to match your service
components:
- name: app
  command:
  - ./service
  - --port
  - '8080'
  settings:
  - name: workers
    type: range
    min: 1
    max: 8
    step: 1
    value: 2
    env: WORKERS
";

/// Tunes local processes.
///
/// Each component is kept by a task of its own; the connector asks them. They start at `startup`, or at
/// the first `measure` or `adjust`, and end at `shutdown` or `detach`, or when the connector is dropped.
#[derive(Debug)]
pub struct Process {
    members: Vec<Member>,
    warden: WardenProgram,
}

#[derive(Debug)]
struct Member {
    keeper: Keeper,
    names: Names,
}

impl Connector for Process {
    type Config = ProcessConfig;

    const METADATA: Metadata = Metadata::new("process", "Process", env!("CARGO_PKG_VERSION"))
        .describe("Tunes local processes: settings become environment variables and arguments")
        .maturity(Maturity::Stable)
        .license("Apache 2.0");

    fn sample() -> &'static str {
        SAMPLE
    }

    fn validate(config: &ProcessConfig) -> Vec<ConfigProblem> {
        components(config).1
    }

    fn build(config: Arc<ProcessConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Self::new(&config, &WardenProgram::from_environment())
    }

    fn routes(_: &ProcessConfig, routes: &mut Routes<Self>) {
        routes
            .on::<Startup>()
            .on::<Shutdown>()
            .on::<Detach>()
            .on::<Describe>()
            .on::<Components>()
            .on::<Metrics>()
            .before::<Measure>()
            .on::<Measure>()
            .on::<Adjust>()
            .on::<CheckEvent>();
    }
}

impl Process {
    /// Makes the connector with this warden; no process is started yet. Must be called on a runtime.
    ///
    /// # Errors
    /// The configuration is wrong, or the client for readiness probes cannot be made.
    pub fn new(config: &ProcessConfig, warden: &WardenProgram) -> Result<Self, BoxError> {
        let (components, problems) = components(config);
        let errors: Vec<String> = problems
            .iter()
            .filter(|problem| !problem.warning)
            .map(ToString::to_string)
            .collect();
        if !errors.is_empty() {
            return Err(errors.join("; ").into());
        }
        let client = readiness::client()?;
        let alone = components.len() == 1;
        let members = components.into_iter().map(|component| Member {
            names: Names::new(component.name(), alone),
            keeper: Keeper::new(component, warden.clone(), client.clone()),
        });
        Ok(Self {
            members: members.collect(),
            warden: warden.clone(),
        })
    }

    fn components(&self) -> Vec<Component> {
        let describe = |member: &Member| {
            member
                .keeper
                .component()
                .describe(&member.keeper.standing().values)
        };
        self.members.iter().map(describe).collect()
    }

    fn metrics(&self) -> Vec<Metric> {
        self.members
            .iter()
            .flat_map(|member| member.names.all())
            .cloned()
            .collect()
    }

    async fn stop(&self, cx: &HandlerContext) -> Result<(), EventError> {
        let budget = cx.deadline().saturating_duration_since(Instant::now());
        let limit = budget.saturating_sub(STOP_RESERVE);
        let stopped = join_all(self.members.iter().map(|member| member.keeper.stop(limit))).await;
        let errors: Vec<String> = stopped
            .into_iter()
            .filter_map(|outcome| match outcome {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                // A keeper that is gone has taken its process with it.
                Err(KeeperGone { .. }) => None,
            })
            .collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(EventError::failed(errors.join("; ")))
        }
    }

    /// The keepers whose values the adjustments change, with the new values. Adjustments of components
    /// that are not here belong to other connectors.
    fn plan(&self, adjustments: &[Adjustment]) -> Result<Vec<Change<'_>>, EventError> {
        let mut changes = Vec::new();
        let mut errors = Vec::new();
        for member in &self.members {
            let component = member.keeper.component();
            let wanted: BTreeMap<&str, _> = adjustments
                .iter()
                .filter(|adjustment| adjustment.component == component.name())
                .map(|adjustment| (adjustment.setting.as_str(), &adjustment.value))
                .collect();
            if wanted.is_empty() {
                continue;
            }
            let before = member.keeper.standing().values;
            match component.apply(&before, wanted) {
                Ok(after) => changes.push(Change {
                    keeper: &member.keeper,
                    before,
                    after,
                }),
                Err(refused) => errors.extend(refused.iter().map(ToString::to_string)),
            }
        }
        if errors.is_empty() {
            Ok(changes)
        } else {
            Err(EventError::adjustment_rejected(
                "invalid-value",
                errors.join("; "),
            ))
        }
    }
}

/// One component's part of an adjustment.
struct Change<'a> {
    keeper: &'a Keeper,
    before: Values,
    after: Values,
}

impl On<Startup> for Process {
    async fn on(&self, _: &Startup, cx: &HandlerContext) -> Result<(), EventError> {
        let cancel = cx.cancellation();
        let started = join_all(
            self.members
                .iter()
                .map(|member| member.keeper.ensure_running(cancel)),
        );
        let errors = started
            .await
            .into_iter()
            .filter_map(|outcome| match outcome {
                Ok(Ok(_)) => None,
                Ok(Err(StartError::Cancelled { .. })) => Some(cx.cancelled()),
                Ok(Err(error)) => {
                    Some(EventError::failed(error.to_string()).with_reason("start-failed"))
                }
                Err(error) => Some(gone(error)),
            });
        // Whoever corrects one component wants to know of the others.
        errors.reduce(both).map_or(Ok(()), Err)
    }
}

impl On<Shutdown> for Process {
    async fn on(&self, _: &Shutdown, cx: &HandlerContext) -> Result<(), EventError> {
        self.stop(cx).await
    }
}

impl On<Detach> for Process {
    async fn on(&self, _: &Detach, cx: &HandlerContext) -> Result<(), EventError> {
        self.stop(cx).await
    }
}

impl On<Describe> for Process {
    async fn on(&self, _: &Describe, _: &HandlerContext) -> Result<Description, EventError> {
        Ok(Description {
            components: self.components(),
            metrics: self.metrics(),
        })
    }
}

impl On<Components> for Process {
    async fn on(&self, _: &Components, _: &HandlerContext) -> Result<Vec<Component>, EventError> {
        Ok(self.components())
    }
}

impl On<CheckEvent> for Process {
    async fn on(&self, event: &CheckEvent, cx: &HandlerContext) -> Result<Vec<Check>, EventError> {
        let keepers = self.members.iter().map(|member| &member.keeper);
        checks::checks(keepers, &self.warden, event)
            .run(event, cx)
            .await
    }
}

impl On<Metrics> for Process {
    async fn on(&self, _: &Metrics, _: &HandlerContext) -> Result<Vec<Metric>, EventError> {
        Ok(self.metrics())
    }
}

/// What is not running yet is started ahead of the measurement, so that all connectors measure the
/// same window.
impl Before<Measure> for Process {
    async fn before(&self, _: &Measure, cx: &HandlerContext) -> Result<(), BeforeError> {
        let each = self.members.iter().map(|member| running(member, cx));
        futures_util::future::try_join_all(each).await?;
        Ok(())
    }
}

/// The process of a member, started if it is not running.
async fn running(member: &Member, cx: &HandlerContext) -> Result<Pulse, EventError> {
    let started = member
        .keeper
        .ensure_running(cx.cancellation())
        .await
        .map_err(gone)?;
    started.map_err(|error| match error {
        StartError::Cancelled { .. } => cx.cancelled(),
        error => EventError::measurement_failed(error.to_string()).with_reason("start-failed"),
    })
}

impl On<Measure> for Process {
    async fn on(&self, event: &Measure, cx: &HandlerContext) -> Result<Measurement, EventError> {
        let readings = tokio::select! {
            biased;
            readings = self.measure(event) => readings?,
            () = cx.cancellation().cancelled() => return Err(cx.cancelled()),
        };
        let wanted = |reading: &Reading| {
            let names = event.metrics.as_ref();
            names.is_none_or(|names| names.contains(&reading.metric().name))
        };
        Ok(Measurement::new(readings.into_iter().filter(wanted)))
    }
}

impl Process {
    /// All processes are watched, wanted or not: the death of one spoils what the others measure. None is
    /// started here: the load of the other connectors is on already.
    async fn measure(&self, event: &Measure) -> Result<Vec<Reading>, EventError> {
        let control = &event.control;
        let each = self.members.iter().map(|member| async move {
            let name = member.keeper.component().name();
            let failed = |text| EventError::measurement_failed(text).with_reason("died");
            let standing = member.keeper.standing();
            // What has ended meanwhile is recorded as such.
            let Some(pulse) = standing.pulse.or(standing.ended) else {
                return Err(failed(format!(
                    "`{name}` does not run any more: it was stopped, or did not start again"
                )));
            };
            let (warmup, duration) = (control.warmup.as_std(), control.duration.as_std());
            record(&pulse, &member.names, warmup, duration)
                .await
                .map_err(|ended| failed(died(name, &ended)))
        });
        let recorded = futures_util::future::try_join_all(each).await?;
        Ok(recorded.into_iter().flatten().collect())
    }
}

impl On<Adjust> for Process {
    async fn on(&self, event: &Adjust, cx: &HandlerContext) -> Result<Description, EventError> {
        let changes = self.plan(&event.adjustments)?;
        let cancelled_for_long = async {
            cx.cancellation().cancelled().await;
            tokio::time::sleep(cx.grace().saturating_sub(ANSWER_RESERVE)).await;
        };
        tokio::select! {
            biased;
            outcome = carry_out(&changes, event, cx) => outcome?,
            () = cancelled_for_long => {
                for change in &changes {
                    change.keeper.adjust_later(change.before.clone());
                }
                let mut error = cx.cancelled();
                error.message.push_str("; the last good values are being restored");
                return Err(error);
            }
        }
        Ok(Description {
            components: self.components(),
            metrics: Vec::new(),
        })
    }
}

/// All components change, or none.
async fn carry_out(
    changes: &[Change<'_>],
    event: &Adjust,
    cx: &HandlerContext,
) -> Result<(), EventError> {
    let mut error = match change_all(changes, cx).await {
        Ok(()) => match settle(changes, event.control.settlement, cx).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        },
        // A component that did not start has gone back by itself.
        Err(error) if changes.len() == 1 => return Err(error),
        Err(error) => error,
    };
    let back = changes.iter().map(|change| async move {
        match change
            .keeper
            .adjust(change.before.clone(), &CancellationToken::new())
            .await
        {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        }
    });
    let failed: Vec<String> = join_all(back).await.into_iter().flatten().collect();
    error.message.push_str(&match failed.as_slice() {
        [] => "; the last good values are back everywhere".to_owned(),
        failed => format!("; not all could be restored: {}", failed.join("; ")),
    });
    Err(error)
}

async fn change_all(changes: &[Change<'_>], cx: &HandlerContext) -> Result<(), EventError> {
    let asked = changes.iter().map(|change| {
        change
            .keeper
            .adjust(change.after.clone(), cx.cancellation())
    });
    let errors = join_all(asked)
        .await
        .into_iter()
        .filter_map(|outcome| match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(adjust_error(&error, cx)),
            Err(error) => Some(gone(error)),
        });
    match errors.reduce(both) {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// Watches the new processes for a while.
async fn settle(
    changes: &[Change<'_>],
    settlement: Option<servo_messages::Duration>,
    cx: &HandlerContext,
) -> Result<(), EventError> {
    let Some(settlement) = settlement.filter(|_| !changes.is_empty()) else {
        return Ok(());
    };
    let deaths = changes.iter().map(|change| async move {
        let name = change.keeper.component().name();
        match change.keeper.standing().pulse {
            Some(pulse) => {
                let exit = pulse.ended().await;
                died(
                    name,
                    &Ended {
                        pid: pulse.pid,
                        exit,
                        last_lines: pulse.last_lines(),
                    },
                )
            }
            None => format!("`{name}` ended while it settled"),
        }
    });
    tokio::select! {
        biased;
        (message, _, _) = futures_util::future::select_all(deaths.map(Box::pin)) => {
            Err(EventError::adjustment_rejected("unstable", message))
        }
        settled = cx.sleep(settlement.as_std()) => settled,
    }
}

/// The more severe of two errors, with the text of both.
fn both(first: EventError, second: EventError) -> EventError {
    let message = format!("{}; {}", first.message, second.message);
    let worse = if second.kind.priority() > first.kind.priority() {
        second
    } else {
        first
    };
    EventError { message, ..worse }
}

fn gone(error: KeeperGone) -> EventError {
    EventError::failed(error.to_string())
}

fn died(component: &str, ended: &Ended) -> String {
    let Ended {
        pid,
        exit,
        last_lines,
    } = ended;
    format!(
        "`{component}` (process {pid}) ended with {exit} in the meantime{}",
        LastLines(last_lines.clone())
    )
}

/// What failed for want of the machine may work later; what failed with these values will again.
fn adjust_error(error: &AdjustError, cx: &HandlerContext) -> EventError {
    match error {
        AdjustError::Values(_) => {
            EventError::adjustment_rejected("invalid-value", error.to_string())
        }
        AdjustError::Start {
            cause, restored, ..
        } => match **cause {
            StartError::Cancelled { .. } => {
                let mut cancelled = cx.cancelled();
                cancelled.message.push_str(&format!("; {restored}"));
                cancelled
            }
            _ if cause.blames_values() => {
                EventError::adjustment_rejected("start-failed", error.to_string())
            }
            _ => EventError::adjustment_failed(error.to_string()).with_reason("start-failed"),
        },
    }
}
