//! The times and limits that a servo works by.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use servo_dispatch::ConnectorPolicy;
use servo_protocol::Budget;
use servo_supervision::Backoff;
use tokio::sync::Semaphore;

use crate::observer::ServoObserver;

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
    /// What a command may take, MEASURE beyond its warm-up, duration and delay, ADJUST beyond its
    /// settlement (§10). Without it the three below hold.
    pub command_timeout: Option<Duration>,
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
    /// Shutdown: what the connectors' `shutdown` and `detach` and the end of pub/sub have together (§16).
    pub stop_connectors: Duration,
    /// Delays between the restarts of a servo that failed (§17).
    pub restart: Backoff,
    /// How connectors' failures are met.
    pub connectors: ConnectorPolicy,
    /// Whether the optimizer is asked for commands.
    pub polling: Polling,
    /// One permit for each command that all servos that share it may carry out at the same time,
    /// first come, first served; none = no limit (§17).
    pub commands: Option<Arc<Semaphore>>,
    /// Is told of each command that is done with.
    pub observer: Option<Arc<dyn ServoObserver>>,
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

// === impl ServoPolicy ===

impl ServoPolicy {
    /// What a servo has to end, by default (§16): within the 30 s that a container is given.
    pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(25);

    /// The same, with a servo's end as a whole taking `grace` at most, and each part of it its
    /// usual share.
    #[must_use]
    pub fn ending_within(mut self, grace: Duration) -> Self {
        let usual = Self::default();
        let share =
            |of: Duration| of.mul_f64(grace.as_secs_f64() / Self::SHUTDOWN_GRACE.as_secs_f64());
        self.stop_command = share(usual.stop_command);
        self.finish_report = share(usual.finish_report);
        self.stop_connectors = share(usual.stop_connectors);
        self.goodbye.max_time = usual.goodbye.max_time.map(share);
        self.goodbye.attempt = share(usual.goodbye.attempt);
        self
    }

    /// Whether a servo could work by either of them.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        // Spelt out, so that a new field is not forgotten.
        let Self {
            connect,
            requests,
            progress,
            goodbye,
            cancel_grace,
            progress_interval,
            progress_spacing,
            command_timeout,
            describe_timeout,
            measure_slack,
            adjust_timeout,
            stop_command,
            finish_report,
            stop_connectors,
            restart,
            connectors,
            polling,
            commands,
            observer,
        } = self;
        let ConnectorPolicy {
            backoff,
            intensity,
            retry_every,
            shutdown,
        } = connectors;
        let same_polling = match (polling, &other.polling) {
            (Polling::Always, Polling::Always) | (Polling::Never, Polling::Never) => true,
            (Polling::WhenAllowed(one), Polling::WhenAllowed(another)) => Arc::ptr_eq(one, another),
            _ => false,
        };
        let same_commands = match (commands, &other.commands) {
            (Some(one), Some(another)) => Arc::ptr_eq(one, another),
            (one, another) => one.is_none() && another.is_none(),
        };
        let same_observer = match (observer, &other.observer) {
            (Some(one), Some(another)) => Arc::ptr_eq(one, another),
            (one, another) => one.is_none() && another.is_none(),
        };
        let budgets = [connect, requests, progress, goodbye];
        let times = [
            cancel_grace,
            progress_interval,
            progress_spacing,
            describe_timeout,
            measure_slack,
            adjust_timeout,
            stop_command,
            finish_report,
            stop_connectors,
            retry_every,
            shutdown,
        ];
        same_polling
            && same_commands
            && same_observer
            && budgets
                == [
                    &other.connect,
                    &other.requests,
                    &other.progress,
                    &other.goodbye,
                ]
            && *command_timeout == other.command_timeout
            && *restart == other.restart
            && *backoff == other.connectors.backoff
            && *intensity == other.connectors.intensity
            && times
                == [
                    &other.cancel_grace,
                    &other.progress_interval,
                    &other.progress_spacing,
                    &other.describe_timeout,
                    &other.measure_slack,
                    &other.adjust_timeout,
                    &other.stop_command,
                    &other.finish_report,
                    &other.stop_connectors,
                    &other.connectors.retry_every,
                    &other.connectors.shutdown,
                ]
    }

    /// What the end of a servo takes at most, from the stop to the answer to GOODBYE.
    pub fn shutdown_grace(&self) -> Duration {
        // A command is either carried out or reported.
        self.stop_command.max(self.finish_report)
            + self.stop_connectors
            + self.goodbye.max_time.unwrap_or(self.goodbye.attempt)
    }
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
            command_timeout: None,
            describe_timeout: Duration::from_secs(60),
            measure_slack: Duration::from_secs(300),
            adjust_timeout: Duration::from_secs(1800),
            stop_command: Duration::from_secs(10),
            finish_report: Duration::from_secs(3),
            stop_connectors: Duration::from_secs(10),
            restart: Backoff::try_new(
                Duration::from_secs(1),
                Duration::from_secs(300),
                Duration::from_secs(300),
            )
            .unwrap_or_default(),
            connectors: ConnectorPolicy::default(),
            polling: Polling::default(),
            commands: None,
            observer: None,
        }
    }
}
