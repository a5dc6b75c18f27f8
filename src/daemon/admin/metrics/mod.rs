//! What the program counts and measures about itself, for Prometheus: names, units and labels as
//! operators know them from Prometheus, Vector and Alloy, with the prefix `servo_`.
//!
//! What happens is recorded here as it happens ([`Metrics`]); what stands is read when it is asked for
//! ([`Reading`]). The number of series is bounded: hosts, codes and servos beyond their limits are left
//! out or counted as `other`.

mod exposition;
mod labels;
mod process;
mod reading;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use prometheus_client::metrics::{counter::Counter, family::Family, histogram::Histogram};
use servo_assembly::{CommandOutcome, ServoObserver};
use servo_protocol::{
    EventName, HostLimits, Operation, RequestObserver, RequestOutcome, TransportKind,
};

pub(super) use exposition::Format;
use labels::{AdminRequest, Command, Event, Host, OfOperation, Request};
pub(super) use process::Process;
pub(super) use reading::{Arbiter, OfServo, Reading, Reloads, Requests};

/// Optimizers told apart by `host:port`; all others are `other`.
const HOSTS: usize = 20;

/// Seconds, from an answer in the same rack to a request that was given up.
const REQUEST_BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// Seconds, from a DESCRIBE to a night's measurement.
const COMMAND_BUCKETS: [f64; 12] = [
    0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 10_800.0, 43_200.0,
];

/// What happened so far. Recording takes no longer than a look into a table, and does not block.
#[derive(Debug)]
pub struct Metrics {
    commands: Family<Command, Counter>,
    command_duration: Family<OfOperation, Histogram, fn() -> Histogram>,
    requests: Family<Request, Counter>,
    request_duration: Family<Event, Histogram, fn() -> Histogram>,
    admin_requests: Family<AdminRequest, Counter>,
    admin_duration: Histogram,
    hosts: RwLock<BTreeSet<Arc<str>>>,
    /// The gates that requests to optimizers wait at.
    limits: HostLimits,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            commands: Family::default(),
            command_duration: Family::new_with_constructor(|| Histogram::new(COMMAND_BUCKETS)),
            requests: Family::default(),
            request_duration: Family::new_with_constructor(|| Histogram::new(REQUEST_BUCKETS)),
            admin_requests: Family::default(),
            admin_duration: Histogram::new(REQUEST_BUCKETS),
            hosts: RwLock::default(),
            limits: HostLimits::default(),
        }
    }
}

impl Metrics {
    /// Nothing yet, with requests to optimizers that go through the gates of `limits`.
    pub fn of(limits: HostLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// The requests to optimizers that are on the way or wait now, by the label of their host.
    pub(super) fn requests(&self) -> BTreeMap<Arc<str>, Requests> {
        let mut by_host = BTreeMap::<_, Requests>::new();
        for traffic in self.limits.traffic() {
            let of = by_host.entry(self.host(&traffic.host)).or_default();
            of.in_flight += traffic.in_flight as u64;
            of.waiting += traffic.waiting as u64;
        }
        by_host
    }

    /// A request to the admin server was answered. `path` is a route, not what somebody asked for.
    pub(super) fn admin_request(
        &self,
        method: &'static str,
        path: &'static str,
        code: u16,
        took: Duration,
    ) {
        let request = AdminRequest {
            method,
            path,
            code: labels::code(code),
        };
        self.admin_requests.get_or_create(&request).inc();
        self.admin_duration.observe(took.as_secs_f64());
    }

    /// Everything, with what stands as `reading` says.
    pub(super) fn text(&self, reading: &Reading, format: Format) -> String {
        exposition::text(&reading::registry(self, reading), format)
    }

    /// The label of `host`, as long as there are not too many.
    fn host(&self, host: &str) -> Arc<str> {
        let known = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = known.get(host) {
            return host.clone();
        }
        let full = known.len() >= HOSTS;
        drop(known);
        if full {
            return "other".into();
        }
        let mut known = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= HOSTS && !known.contains(host) {
            return "other".into();
        }
        let host: Arc<str> = host.chars().take(200).collect::<String>().into();
        known.insert(host.clone());
        host
    }
}

impl RequestObserver for Metrics {
    fn request(&self, host: &str, event: EventName, outcome: RequestOutcome, took: Duration) {
        let code = match outcome {
            RequestOutcome::Status(status) => labels::code(status),
            RequestOutcome::Error(TransportKind::Connect) => "connect",
            RequestOutcome::Error(TransportKind::Tls) => "tls",
            RequestOutcome::Error(TransportKind::Timeout) => "timeout",
            RequestOutcome::Error(TransportKind::Broken) => "broken",
        };
        let host = Host(self.host(host));
        let event = event.as_str();
        let request = Request { event, code, host };
        self.requests.get_or_create(&request).inc();
        let duration = self.request_duration.get_or_create(&Event { event });
        duration.observe(took.as_secs_f64());
    }
}

impl ServoObserver for Metrics {
    fn command(&self, operation: Operation, outcome: CommandOutcome, took: Duration) {
        let status = match outcome {
            CommandOutcome::Completed(status) => status.as_str(),
            CommandOutcome::Abandoned => "abandoned",
            CommandOutcome::Stopped => "stopped",
        };
        let operation = word(operation);
        let command = Command { operation, status };
        self.commands.get_or_create(&command).inc();
        let duration = self
            .command_duration
            .get_or_create(&OfOperation { operation });
        duration.observe(took.as_secs_f64());
    }
}

fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Describe => "describe",
        Operation::Measure => "measure",
        Operation::Adjust => "adjust",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use servo_messages::Status;

    use super::*;

    fn text(metrics: &Metrics) -> String {
        metrics.text(&Reading::default(), Format::OpenMetrics)
    }

    #[test]
    fn what_was_recorded_is_told() {
        let metrics = Metrics::default();
        let second = Duration::from_secs(1);
        let ok = CommandOutcome::Completed(Status::Ok);
        metrics.command(Operation::Measure, ok, second * 2);
        metrics.command(Operation::Measure, ok, second * 200);
        metrics.command(Operation::Adjust, CommandOutcome::Abandoned, second);
        metrics.request(
            "opt:443",
            EventName::WhatsNext,
            RequestOutcome::Status(502),
            second / 4,
        );
        metrics.request(
            "opt:443",
            EventName::Hello,
            RequestOutcome::Error(TransportKind::Connect),
            second,
        );
        let text = text(&metrics);
        for line in [
            r#"servo_commands_total{operation="measure",status="ok"} 2"#,
            r#"servo_commands_total{operation="adjust",status="abandoned"} 1"#,
            r#"servo_command_duration_seconds_bucket{le="5.0",operation="measure"} 1"#,
            r#"servo_command_duration_seconds_sum{operation="measure"} 202.0"#,
            r#"servo_optimizer_requests_total{event="WHATS_NEXT",code="502",host="opt:443"} 1"#,
            r#"servo_optimizer_requests_total{event="HELLO",code="connect",host="opt:443"} 1"#,
            r#"servo_optimizer_request_duration_seconds_count{event="HELLO"} 1"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn hosts_and_codes_are_bounded() {
        let metrics = Metrics::default();
        for host in 0..500 {
            for code in 0..1000 {
                metrics.request(
                    &format!("h{host}:1"),
                    EventName::Hello,
                    RequestOutcome::Status(code),
                    Duration::ZERO,
                );
            }
        }
        let text = text(&metrics);
        let series = text
            .lines()
            .filter(|l| l.starts_with("servo_optimizer_requests_total"));
        assert!(series.count() <= (HOSTS + 1) * 40);
        assert!(text.contains(r#"host="other""#));
        assert!(text.contains(r#"host="h0:1""#) && !text.contains(r#"host="h21:1""#));
    }
}
