//! What stands at the moment when the metrics are asked for.

use std::{collections::BTreeMap, fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, info::Info},
    registry::{Registry, Unit},
};

use servo_supervision::RestartCounts;

use super::{Metrics, Process};

/// What stands at one moment.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Reading {
    /// Product version and source revision.
    pub(in super::super) build: (&'static str, &'static str),
    pub(in super::super) ready: bool,
    pub(in super::super) reloads: Reloads,
    /// Servos by the word of their state; each state is there.
    pub(in super::super) states: BTreeMap<&'static str, u64>,
    /// Servos whose optimizers do not answer.
    pub(in super::super) outages: u64,
    /// Requests to optimizers by host.
    pub(in super::super) requests: BTreeMap<Arc<str>, Requests>,
    /// Restarts of actors, by cause.
    pub(in super::super) restarts: RestartCounts,
    /// Connectors by the word of their state in the tree.
    pub(in super::super) connectors: BTreeMap<&'static str, u64>,
    /// Restarts of connectors, of those that are gone too.
    pub(in super::super) connector_restarts: u64,
    pub(in super::super) arbiters: Vec<Arbiter>,
    /// Connections to the admin server.
    pub(in super::super) connections: u64,
    /// One entry for each servo, unless there are too many.
    pub(in super::super) servos: Vec<OfServo>,
    pub(in super::super) process: Process,
}

/// What came of reloads.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct Reloads {
    pub(in super::super) succeeded: u64,
    pub(in super::super) refused: u64,
    /// Whether the last one was, the first load included.
    pub(in super::super) last_successful: bool,
    /// Seconds since 1970 of the last one that was.
    pub(in super::super) last_success_seconds: f64,
    /// 48 bits of the running configuration's hash, which a float holds.
    pub(in super::super) hash: u64,
    /// Keys of `servo.toml` that count with the next start only.
    pub(in super::super) needs_restart: u64,
}

/// Requests to one host.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct Requests {
    pub(in super::super) in_flight: u64,
    /// For one of those in flight to be done.
    pub(in super::super) waiting: u64,
}

/// One thread for servos.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Arbiter {
    pub(in super::super) servos: u64,
}

/// One servo.
#[derive(Debug, Clone)]
pub(in super::super) struct OfServo {
    pub(in super::super) name: String,
    pub(in super::super) state: &'static str,
    pub(in super::super) ok: u64,
    pub(in super::super) not_ok: u64,
    pub(in super::super) restarts: u64,
    pub(in super::super) outage_seconds: f64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Build {
    version: &'static str,
    revision: &'static str,
}

/// A family whose values are known.
struct Values<V> {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    series: Vec<(Vec<(&'static str, String)>, V)>,
}

impl<V> fmt::Debug for Values<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<V: Constant> Collector for Values<V> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let unit = self.unit.as_ref();
        let mut family = encoder.encode_descriptor(self.name, self.help, unit, V::TYPE)?;
        for (labels, value) in &self.series {
            if labels.is_empty() {
                return value.metric().encode(family);
            }
            value.metric().encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }
}

/// A value that knows what kind of metric it is: floats are gauges, integers counters.
trait Constant: Copy + Send + Sync + 'static {
    const TYPE: MetricType;
    fn metric(self) -> impl EncodeMetric;
}

impl Constant for f64 {
    const TYPE: MetricType = MetricType::Gauge;
    fn metric(self) -> impl EncodeMetric {
        ConstGauge::new(self)
    }
}

impl Constant for u64 {
    const TYPE: MetricType = MetricType::Counter;
    fn metric(self) -> impl EncodeMetric {
        ConstCounter::new(self)
    }
}

/// Seconds on processors are counted, not gauged.
#[derive(Clone, Copy)]
struct Counted(f64);

impl Constant for Counted {
    const TYPE: MetricType = MetricType::Counter;
    fn metric(self) -> impl EncodeMetric {
        ConstCounter::new(self.0)
    }
}

/// Everything that is told, in a registry made for one telling.
pub(super) fn registry(metrics: &Metrics, reading: &Reading) -> Registry {
    let mut registry = Registry::default();
    process(&mut registry, reading.process);
    let servo = registry.sub_registry_with_prefix("servo");
    let (version, revision) = reading.build;
    servo.register(
        "build",
        "What was built, and of which source",
        Info::new(Build { version, revision }),
    );
    happened(servo, metrics);
    stands(servo, reading);
    registry
}

fn happened(servo: &mut Registry, metrics: &Metrics) {
    let Metrics {
        commands,
        command_duration,
        requests,
        request_duration,
        admin_requests,
        admin_duration,
        hosts: _,
        limits: _,
    } = metrics;
    servo.register(
        "commands",
        "Commands of optimizers that ended, by how",
        commands.clone(),
    );
    servo.register_with_unit(
        "command_duration",
        "What commands took, from their arrival to their answer",
        Unit::Seconds,
        command_duration.clone(),
    );
    servo.register(
        "optimizer_requests",
        "Requests to optimizers, by HTTP status or what kept them from one",
        requests.clone(),
    );
    servo.register_with_unit(
        "optimizer_request_duration",
        "What requests to optimizers took",
        Unit::Seconds,
        request_duration.clone(),
    );
    servo.register(
        "admin_requests",
        "Requests to this admin server that were answered before this one",
        admin_requests.clone(),
    );
    servo.register_with_unit(
        "admin_request_duration",
        "What requests to this admin server took",
        Unit::Seconds,
        admin_duration.clone(),
    );
}

fn stands(servo: &mut Registry, reading: &Reading) {
    let flag = |yes: bool| if yes { 1.0 } else { 0.0 };
    let reloads = reading.reloads;
    gauge(
        servo,
        "ready",
        "Whether the program is ready",
        flag(reading.ready),
    );
    gauge(
        servo,
        "config_last_reload_successful",
        "Whether the last load of the configuration was applied",
        flag(reloads.last_successful),
    );
    values(
        servo,
        "config_last_reload_success_timestamp",
        "When a configuration was applied last, since 1970",
        Some(Unit::Seconds),
        vec![(Vec::new(), reloads.last_success_seconds)],
    );
    gauge(
        servo,
        "config_hash",
        "48 bits of the hash of the running configuration",
        reloads.hash as f64,
    );
    gauge(
        servo,
        "config_needs_restart",
        "Keys of servo.toml that have changed and count with the next start only",
        reloads.needs_restart as f64,
    );
    labelled(
        servo,
        "reloads",
        "Reloads of the configuration since the start, by outcome",
        "outcome",
        [
            ("succeeded", reloads.succeeded),
            ("refused", reloads.refused),
        ],
    );
    labelled(
        servo,
        "servos",
        "Servos by state",
        "state",
        reading.states.iter().map(|(s, n)| (*s, *n as f64)),
    );
    gauge(
        servo,
        "optimizer_outage_servos",
        "Servos whose optimizers do not answer",
        reading.outages as f64,
    );
    requests(servo, reading);
    let restarts = reading.restarts;
    labelled(
        servo,
        "restarts",
        "Restarts of actors, by what ended them",
        "cause",
        [
            ("normal", restarts.normal),
            ("failed", restarts.failed),
            ("panicked", restarts.panicked),
            ("stuck", restarts.stuck),
            ("asked", restarts.asked),
        ],
    );
    values(
        servo,
        "parkings",
        "How often an actor was set aside, as it needed too many restarts",
        None,
        vec![(Vec::new(), restarts.parked)],
    );
    values(
        servo,
        "escalations",
        "How often a supervisor gave itself up over an actor",
        None,
        vec![(Vec::new(), restarts.escalated)],
    );
    labelled(
        servo,
        "connectors",
        "Connectors by state",
        "state",
        reading.connectors.iter().map(|(s, n)| (*s, *n as f64)),
    );
    values(
        servo,
        "connector_restarts",
        "Restarts of connectors that were seen by who asked for metrics or states",
        None,
        vec![(Vec::new(), reading.connector_restarts)],
    );
    let arbiters = reading.arbiters.iter().enumerate();
    labelled(
        servo,
        "arbiter_servos",
        "Servos on each thread for servos",
        "arbiter",
        arbiters.map(|(n, arbiter)| (n.to_string(), arbiter.servos as f64)),
    );
    gauge(
        servo,
        "admin_connections",
        "Open connections to this admin server",
        reading.connections as f64,
    );
    of_servos(servo, reading);
}

fn requests(servo: &mut Registry, reading: &Reading) {
    let by_host = |of: fn(&Requests) -> u64| {
        let hosts = reading.requests.iter();
        hosts.map(move |(host, requests)| (host.to_string(), of(requests) as f64))
    };
    labelled(
        servo,
        "optimizer_requests_in_flight",
        "Requests to optimizers that are on the way",
        "host",
        by_host(|requests| requests.in_flight),
    );
    labelled(
        servo,
        "optimizer_requests_waiting",
        "Requests to optimizers that wait, as optimizer.max_concurrent_requests to their host are on the way",
        "host",
        by_host(|requests| requests.waiting),
    );
}

fn of_servos(servo: &mut Registry, reading: &Reading) {
    let servos = &reading.servos;
    if servos.is_empty() {
        return;
    }
    let each = |of: &OfServo| vec![("servo", of.name.clone())];
    let states = servos.iter().flat_map(|of| {
        reading.states.keys().map(move |state| {
            let labels = vec![("servo", of.name.clone()), ("state", (*state).to_owned())];
            (labels, if *state == of.state { 1.0 } else { 0.0 })
        })
    });
    values(
        servo,
        "servo_state",
        "The state of each servo: 1 for the one it is in",
        None,
        states.collect::<Vec<(_, f64)>>(),
    );
    let commands = servos.iter().flat_map(|of| {
        [("ok", of.ok), ("not_ok", of.not_ok)].map(|(outcome, count)| {
            let labels = vec![("servo", of.name.clone()), ("outcome", outcome.to_owned())];
            (labels, count)
        })
    });
    values(
        servo,
        "servo_commands",
        "Commands that each servo finished",
        None,
        commands.collect::<Vec<(_, u64)>>(),
    );
    let restarts = servos.iter().map(|of| (each(of), of.restarts));
    values(
        servo,
        "servo_restarts",
        "Restarts of each servo and its parts",
        None,
        restarts.collect::<Vec<(_, u64)>>(),
    );
    let outages = servos.iter().map(|of| (each(of), of.outage_seconds));
    values(
        servo,
        "servo_optimizer_outage",
        "For how long the optimizer of each servo has not answered",
        Some(Unit::Seconds),
        outages.collect::<Vec<(_, f64)>>(),
    );
}

fn process(registry: &mut Registry, process: Process) {
    let registry = registry.sub_registry_with_prefix("process");
    let gauges = [
        (
            "resident_memory",
            "Memory in RAM",
            Some(Unit::Bytes),
            process.resident_bytes,
        ),
        (
            "virtual_memory",
            "Address space",
            Some(Unit::Bytes),
            process.virtual_bytes,
        ),
        ("open_fds", "Open file descriptors", None, process.open_fds),
        (
            "max_fds",
            "How many file descriptors may be open",
            None,
            process.max_fds,
        ),
        ("threads", "Threads of the process", None, process.threads),
    ];
    for (name, help, unit, value) in gauges {
        if let Some(value) = value {
            values(registry, name, help, unit, vec![(Vec::new(), value as f64)]);
        }
    }
    if let Some(start) = process.start_seconds {
        let series = vec![(Vec::new(), start)];
        let help = "When the process started, since 1970";
        values(registry, "start_time", help, Some(Unit::Seconds), series);
    }
    if let Some(cpu) = process.cpu_seconds {
        let series = vec![(Vec::new(), Counted(cpu))];
        let help = "Time on processors, in user and system mode";
        values(registry, "cpu", help, Some(Unit::Seconds), series);
    }
}

fn gauge(registry: &mut Registry, name: &'static str, help: &'static str, value: f64) {
    values(registry, name, help, None, vec![(Vec::new(), value)]);
}

fn labelled<L: Into<String>, V: Constant>(
    registry: &mut Registry,
    name: &'static str,
    help: &'static str,
    label: &'static str,
    series: impl IntoIterator<Item = (L, V)>,
) {
    let series = series.into_iter();
    let series = series.map(|(value, count)| (vec![(label, value.into())], count));
    values(registry, name, help, None, series.collect());
}

fn values<V: Constant>(
    registry: &mut Registry,
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    series: Vec<(Vec<(&'static str, String)>, V)>,
) {
    registry.register_collector(Box::new(Values {
        name,
        help,
        unit,
        series,
    }));
}
