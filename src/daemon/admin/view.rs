//! What is told of servos, in JSON.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Serialize;
use servo_assembly::{CommandStatus, LastCommand, ServoHandle, ServoStatus};
use servo_protocol::{OpsaniEndpoint, TokenSource};
use servo_supervision::Snapshot;

use super::overview::{Overview, Part, word};
use crate::{
    config::{OptimizerConfig, ServoConfig},
    daemon::logging::RecentRecord,
};

/// The words of all states of servos, in the order of a servo's life.
pub(super) const STATES: [&str; 14] = [
    "starting",
    "attaching",
    "connecting",
    "idle",
    "polling",
    "executing",
    "reporting",
    "sleeping",
    "waiting",
    "deprovisioned",
    "parked",
    "backing_off",
    "shutting_down",
    "ended",
];

/// Errors of one servo that are told.
pub(super) const RECENT_ERRORS: usize = 20;

/// A servo in a list.
#[derive(Debug, Serialize)]
pub(super) struct ServoView {
    name: String,
    state: &'static str,
    detail: String,
    since_seconds: f64,
    command: Option<CommandView>,
    finished: u64,
    not_ok: u64,
    restarts: u64,
    last: Option<LastView>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct CommandView {
    operation: &'static str,
    uid: Option<String>,
    percent: f64,
    runtime_seconds: f64,
    message: Option<String>,
}

#[derive(Debug, Serialize)]
struct LastView {
    operation: &'static str,
    status: &'static str,
    message: Option<String>,
    took_seconds: f64,
    ended_seconds_ago: f64,
}

/// A servo by itself.
#[derive(Debug, Serialize)]
pub(super) struct ServoInFull {
    #[serde(flatten)]
    servo: ServoView,
    optimizer: OptimizerView,
    connectors: Vec<ConnectorView>,
    recent_errors: Vec<ErrorView>,
}

#[derive(Debug, Serialize)]
struct OptimizerView {
    url: Option<String>,
    outage_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct ConnectorView {
    name: String,
    #[serde(rename = "type")]
    kind: Option<&'static str>,
    state: &'static str,
    doing: Option<String>,
    restarts: u64,
    last_exit: Option<String>,
}

#[derive(Debug, Serialize)]
struct ErrorView {
    at: Timestamp,
    level: &'static str,
    text: String,
}

/// A node of the supervision tree.
#[derive(Debug, Serialize)]
pub(super) struct Node {
    name: String,
    state: &'static str,
    restarts: u64,
    last_exit: Option<String>,
    age_seconds: f64,
    doing: Option<String>,
    children: Vec<Node>,
}

/// The word of the state of `servo`.
pub(super) fn state(
    servo: &ServoHandle,
    status: &ServoStatus,
    overview: &Overview,
) -> &'static str {
    let held = overview.held(servo.name(), status.since);
    held.unwrap_or_else(|| status.phase.name())
}

/// What is, or last was, wrong with `servo`.
pub(super) fn error(
    servo: &ServoHandle,
    status: &ServoStatus,
    overview: &Overview,
) -> Option<String> {
    let error = status.start_failure.clone();
    let error = error.or_else(|| servo.outage_condition());
    let error = error.or_else(|| status.last_error.as_ref().map(|(_, text)| text.clone()));
    error.or_else(|| {
        overview.held(servo.name(), status.since)?;
        let exit = overview.servo(servo.name())?.last_exit.as_deref()?;
        Some(exit.to_owned())
    })
}

impl ServoView {
    pub(super) fn of(servo: &ServoHandle, overview: &Overview) -> Self {
        let status = servo.status().borrow().clone();
        let standing = overview.servo(servo.name());
        let state = state(servo, &status, overview);
        let held = standing.filter(|_| state != status.phase.name());
        let detail = held.map(|standing| standing.held_state().to_string());
        Self {
            name: servo.name().to_string(),
            state,
            detail: detail.unwrap_or_else(|| status.phase.to_string()),
            since_seconds: status.since.elapsed().as_secs_f64(),
            command: status.command.as_deref().map(CommandView::of),
            finished: status.finished,
            not_ok: status.not_ok,
            restarts: standing.map_or(0, |standing| standing.restarts()),
            last: status.last.as_deref().map(LastView::of),
            error: error(servo, &status, overview),
        }
    }
}

impl CommandView {
    fn of(command: &CommandStatus) -> Self {
        Self {
            operation: command.operation.as_str(),
            uid: command.uid.clone(),
            percent: command.percent_now(),
            runtime_seconds: command.started.elapsed().as_secs_f64(),
            message: command.message.clone(),
        }
    }
}

impl LastView {
    fn of(last: &LastCommand) -> Self {
        Self {
            operation: last.operation.as_str(),
            status: last.status.as_str(),
            message: last.message.clone(),
            took_seconds: last.took.as_secs_f64(),
            ended_seconds_ago: Instant::now()
                .saturating_duration_since(last.ended)
                .as_secs_f64(),
        }
    }
}

impl ServoInFull {
    pub(super) fn of(
        servo: &ServoHandle,
        config: Option<&ServoConfig>,
        overview: &Overview,
        errors: &[std::sync::Arc<RecentRecord>],
    ) -> Self {
        let parts = overview
            .servo(servo.name())
            .map(|standing| &*standing.parts);
        let part = |name: &str| {
            let mut parts = parts.into_iter().flatten();
            parts.find(|part| &*part.name == name)
        };
        let connectors = match config {
            Some(config) => config
                .connectors
                .iter()
                .map(|(name, connector)| {
                    let kind = connector.metadata().default_name;
                    ConnectorView::of(name, Some(kind), part(name))
                })
                .collect(),
            None => parts
                .into_iter()
                .flatten()
                .filter(|part| part.is_connector())
                .map(|part| ConnectorView::of(&part.name, None, Some(part)))
                .collect(),
        };
        Self {
            servo: ServoView::of(servo, overview),
            optimizer: OptimizerView {
                url: config.and_then(optimizer_url),
                outage_seconds: servo.outage().as_ref().map(Duration::as_secs_f64),
            },
            connectors,
            recent_errors: errors
                .iter()
                .map(|record| ErrorView {
                    at: record.time,
                    level: record.level.name(),
                    text: record.text.clone(),
                })
                .collect(),
        }
    }
}

impl ConnectorView {
    fn of(name: &str, kind: Option<&'static str>, part: Option<&Part>) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            state: part.map_or("starting", |part| word(part.state)),
            doing: part.and_then(|part| part.doing.as_deref().map(str::to_owned)),
            restarts: part.map_or(0, |part| part.restarts),
            last_exit: part.and_then(|part| part.last_exit.as_deref().map(str::to_owned)),
        }
    }
}

impl Node {
    /// `tree` with what is below it, `depth` levels deep.
    pub(super) fn of(tree: Snapshot, depth: usize) -> Self {
        let children = match depth.checked_sub(1) {
            Some(below) => tree
                .children
                .into_iter()
                .map(|c| Self::of(c, below))
                .collect(),
            None => Vec::new(),
        };
        Self {
            name: tree.name,
            state: word(tree.state),
            restarts: tree.restarts,
            last_exit: tree.last_exit,
            age_seconds: tree.age.as_secs_f64(),
            doing: tree.doing.or_else(|| {
                let turns = tree.open_turns;
                (!turns.is_empty()).then(|| turns.join(", "))
            }),
            children,
        }
    }
}

/// Where the optimizer of a servo is, without anything secret.
fn optimizer_url(config: &ServoConfig) -> Option<String> {
    let mut url = match config.optimizer.as_ref()? {
        OptimizerConfig::Embedded(config) => {
            return Some(format!("embedded:{}", config.database.display()));
        }
        OptimizerConfig::Opsani(config) => {
            // The address is computed without a look at the real token, which may be in a file.
            let token = TokenSource::Inline(SecretString::from("none"));
            let (base, url) = (config.base_url.as_deref(), config.url.as_deref());
            let endpoint = OpsaniEndpoint::new(config.id.parse().ok()?, token, base, url);
            endpoint.ok()?.url().clone()
        }
        OptimizerConfig::Appdynamics(config) => config.endpoint.url()?.clone(),
    };
    // A URL that these cannot be taken from has none.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    url.set_query(None);
    Some(url.into())
}
