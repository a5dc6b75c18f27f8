//! The times and limits that a servo works by.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use servo_dispatch::ConnectorPolicy;
use servo_protocol::Budget;

/// The times and limits that a servo works by. Defaults as in `spec/optimizer-protocol.md`.
#[derive(Clone, Debug)]
pub struct ServoPolicy {
    /// How long HELLO is tried (§11, context `connect`).
    pub connect: Budget,
    /// How long every other event but progress is tried (§11, context `__default__`).
    pub requests: Budget,
    /// How long a progress report is tried (§9).
    pub progress: Budget,
    /// How long GOODBYE is tried (§16).
    pub goodbye: Budget,
    /// How long connectors may clean up after a command was cancelled (§13).
    pub cancel_grace: Duration,
    /// The longest silence while a command runs (§9).
    pub progress_interval: Duration,
    /// The shortest time between two progress reports.
    pub progress_spacing: Duration,
    /// What DESCRIBE may take, and each lifecycle event.
    pub describe_timeout: Duration,
    /// What MEASURE may take beyond warm-up, duration and delay.
    pub measure_slack: Duration,
    /// What ADJUST may take beyond its settlement.
    pub adjust_timeout: Duration,
    /// Shutdown: what the command in progress has to stop (§16).
    pub stop_command: Duration,
    /// Shutdown: what a completion that is already being sent has (§16).
    pub finish_report: Duration,
    /// Shutdown: what the connectors' `shutdown` and `detach` have, each half of it (§16).
    pub stop_connectors: Duration,
    /// How connectors' failures are met.
    pub connectors: ConnectorPolicy,
    /// Whether the optimizer is asked for commands.
    pub polling: Polling,
}

/// Whether a servo asks its optimizer for commands (`spec/optimizer-protocol.md` §10).
#[derive(Clone, Default)]
pub enum Polling {
    /// It does.
    #[default]
    Always,
    /// It says HELLO, and takes no commands until it is stopped.
    Never,
    /// When an operator agrees, each time anew.
    WhenAllowed(Arc<dyn Operator>),
}

/// Somebody who is asked before a servo talks to its optimizer.
pub trait Operator: Send + Sync {
    /// Whether `servo` may take `step`.
    fn allows<'a>(&'a self, servo: &'a str, step: Question) -> BoxFuture<'a, bool>;
}

/// What an operator is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Say HELLO? No ends the servo.
    Connect,
    /// Ask for the next command? No is asked again in a minute.
    Poll,
}

impl fmt::Debug for Polling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "Always",
            Self::Never => "Never",
            Self::WhenAllowed(_) => "WhenAllowed",
        })
    }
}

impl Default for ServoPolicy {
    fn default() -> Self {
        Self {
            connect: Budget::connect(),
            requests: Budget::standard(),
            progress: Budget::progress(),
            goodbye: Budget::goodbye(),
            cancel_grace: Duration::from_secs(30),
            progress_interval: Duration::from_secs(60),
            progress_spacing: Duration::from_secs(1),
            describe_timeout: Duration::from_secs(60),
            measure_slack: Duration::from_secs(300),
            adjust_timeout: Duration::from_secs(1800),
            stop_command: Duration::from_secs(10),
            finish_report: Duration::from_secs(3),
            stop_connectors: Duration::from_secs(10),
            connectors: ConnectorPolicy::default(),
            polling: Polling::default(),
        }
    }
}
