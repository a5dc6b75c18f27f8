//! What the daemon answers, as far as commands for people need it. What is not known here is let
//! through to programs as it is.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// `GET /api/v1/servos`
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct ServoPage {
    pub(in crate::cli) matched: usize,
    pub(in crate::cli) servos: Vec<Value>,
}

/// A servo.
#[derive(Clone, Debug, Default, Deserialize)]
pub(in crate::cli) struct Servo {
    pub(in crate::cli) name: String,
    pub(in crate::cli) state: String,
    #[serde(default)]
    pub(in crate::cli) detail: Option<String>,
    #[serde(default)]
    pub(in crate::cli) since_seconds: f64,
    #[serde(default)]
    pub(in crate::cli) command: Option<Command>,
    #[serde(default)]
    pub(in crate::cli) finished: u64,
    #[serde(default)]
    pub(in crate::cli) not_ok: u64,
    #[serde(default)]
    pub(in crate::cli) restarts: u64,
    #[serde(default)]
    pub(in crate::cli) last: Option<Last>,
    #[serde(default)]
    pub(in crate::cli) error: Option<String>,
}

/// The command that a servo carries out.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct Command {
    pub(in crate::cli) operation: String,
    #[serde(default)]
    pub(in crate::cli) uid: Option<String>,
    #[serde(default)]
    pub(in crate::cli) percent: Option<f64>,
    #[serde(default)]
    pub(in crate::cli) runtime_seconds: f64,
    #[serde(default)]
    pub(in crate::cli) message: Option<String>,
}

/// What came of the last command.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct Last {
    pub(in crate::cli) operation: String,
    pub(in crate::cli) status: String,
    #[serde(default)]
    pub(in crate::cli) message: Option<String>,
    #[serde(default)]
    pub(in crate::cli) took_seconds: f64,
    #[serde(default)]
    pub(in crate::cli) ended_seconds_ago: f64,
}

/// `GET /api/v1/servos/{name}`
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct ServoInFull {
    #[serde(flatten)]
    pub(in crate::cli) servo: Servo,
    #[serde(default)]
    pub(in crate::cli) optimizer: Optimizer,
    #[serde(default)]
    pub(in crate::cli) connectors: Vec<Connector>,
    #[serde(default)]
    pub(in crate::cli) recent_errors: Vec<LoggedError>,
}

/// Who gives a servo its commands.
#[derive(Debug, Default, Deserialize)]
pub(in crate::cli) struct Optimizer {
    #[serde(default)]
    pub(in crate::cli) url: Option<String>,
    #[serde(default)]
    pub(in crate::cli) outage_seconds: Option<f64>,
}

/// A connector of a servo.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Connector {
    pub(in crate::cli) name: String,
    #[serde(default, rename = "type")]
    pub(in crate::cli) kind: Option<String>,
    pub(in crate::cli) state: String,
    #[serde(default)]
    pub(in crate::cli) doing: Option<String>,
    #[serde(default)]
    pub(in crate::cli) restarts: u64,
    #[serde(default)]
    pub(in crate::cli) last_exit: Option<String>,
}

/// A line of the log.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct LoggedError {
    pub(in crate::cli) at: String,
    #[serde(default)]
    pub(in crate::cli) level: String,
    pub(in crate::cli) text: String,
}

/// `GET /api/v1/status`
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct Daemon {
    pub(in crate::cli) version: String,
    #[serde(default)]
    pub(in crate::cli) uptime_seconds: f64,
    pub(in crate::cli) ready: bool,
    pub(in crate::cli) servos: Counts,
    #[serde(default)]
    pub(in crate::cli) reloads: Reloads,
    #[serde(default)]
    pub(in crate::cli) memory_bytes: Option<u64>,
}

/// Servos by state.
#[derive(Clone, Debug, Default, Deserialize)]
pub(in crate::cli) struct Counts {
    pub(in crate::cli) total: u64,
    #[serde(default)]
    pub(in crate::cli) states: BTreeMap<String, u64>,
    /// Those whose optimizers do not answer.
    #[serde(default)]
    pub(in crate::cli) outages: u64,
}

/// How reloads went.
#[derive(Clone, Debug, Default, Deserialize)]
pub(in crate::cli) struct Reloads {
    #[serde(default)]
    pub(in crate::cli) last: Option<LastReload>,
}

/// How the last reload went.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct LastReload {
    pub(in crate::cli) at: String,
    pub(in crate::cli) text: String,
}

/// `GET /api/v1/tree`: an actor and those that it supervises.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Node {
    pub(in crate::cli) name: String,
    pub(in crate::cli) state: String,
    #[serde(default)]
    pub(in crate::cli) restarts: u64,
    #[serde(default)]
    pub(in crate::cli) last_exit: Option<String>,
    #[serde(default)]
    pub(in crate::cli) age_seconds: f64,
    #[serde(default)]
    pub(in crate::cli) doing: Option<String>,
    #[serde(default)]
    pub(in crate::cli) children: Vec<Node>,
}
