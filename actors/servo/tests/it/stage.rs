//! One servo, its optimizer, and connectors that behave as told.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Deref,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use servo_assembly::{Assembly, AssemblyError, ServoHandle, ServoPolicy, ServoSpec, ServoStatus};
use servo_dispatch::{
    Adjust, Attach, Before, BeforeError, BoxError, Connector, ConnectorContext, ConnectorPolicy,
    ConnectorType, Describe, Detach, HandlerContext, Measure, Metadata, On, Routes, Shutdown,
    Startup,
};
use servo_doubles::{Script, ScriptedOptimizer};
use servo_messages::{
    Component, DataPoint, Description, EventError, Measurement, Metric, RangeSetting, Reading, Unit,
};
use servo_protocol::{
    Budget, HttpOptimizer, OpsaniEndpoint, OptimizerClient, ProxyChoice, TokenSource, Transport,
    Trust,
};
use servo_supervision::{Backoff, Intensity, Root, install_panic_hook};
use tokio::time::Instant;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// How long anything may take on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(10);
/// The servo of a [`Scene`].
pub(crate) const SERVO: &str = "dev.opsani.com/app1";
const AGENT: &str = "github.com/example/servo v0.1.0";

/// What a connector does about an event.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Fail(EventError),
    /// The first time only.
    PanicOnce,
    /// Until told to stop, with these reports, the time in between.
    Report(Vec<f64>, Duration),
    /// After so long.
    Late(Duration),
    /// Hears nothing.
    Freeze,
    /// Measures this.
    Yield(Measurement),
    /// Describes itself so.
    Claim(Description),
    /// Has the optimizer told this under this key.
    Tell(&'static str, &'static str),
}

#[derive(Default)]
pub(crate) struct World {
    acts: Mutex<HashMap<(String, &'static str), Act>>,
    veto: Mutex<Option<String>>,
    happened: Mutex<Vec<String>>,
}

static WORLDS: LazyLock<Mutex<HashMap<u64, Arc<World>>>> = LazyLock::new(Mutex::default);

pub(crate) struct Probe {
    world: Arc<World>,
    name: Arc<str>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ProbeConfig {
    world: u64,
    adjusts: bool,
}

/// A servo whose connectors are `a` and `b`.
pub(crate) struct Scene {
    pub(crate) world: Arc<World>,
    pub(crate) handle: ServoHandle,
    pub(crate) root: Root,
    pub(crate) assembly: Assembly,
    pub(crate) spec: ServoSpec,
}

/// The same in conversation with an optimizer over HTTP.
pub(crate) struct Stage {
    pub(crate) optimizer: ScriptedOptimizer,
    scene: Scene,
}

impl Deref for Stage {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

/// How to set one up.
pub(crate) struct Setting {
    pub(crate) script: Script,
    pub(crate) policy: ServoPolicy,
    pub(crate) adjusts: bool,
    pub(crate) acts: Vec<(&'static str, &'static str, Act)>,
    pub(crate) veto: Option<&'static str>,
    pub(crate) before: fn(&ScriptedOptimizer),
}

// === impl Setting ===

impl Setting {
    pub(crate) fn of(script: Script) -> Self {
        Self {
            script,
            policy: quick(),
            adjusts: true,
            acts: Vec::new(),
            veto: None,
            before: |_| {},
        }
    }

    pub(crate) fn act(mut self, connector: &'static str, event: &'static str, act: Act) -> Self {
        self.acts.push((connector, event, act));
        self
    }

    /// What happens to the optimizer before the servo is there.
    pub(crate) fn before(mut self, arrange: fn(&ScriptedOptimizer)) -> Self {
        self.before = arrange;
        self
    }

    /// The times of production: for a clock that is paused.
    pub(crate) fn unhurried(mut self) -> Self {
        self.policy = ServoPolicy::default();
        self
    }

    pub(crate) fn policy(mut self, change: impl FnOnce(&mut ServoPolicy)) -> Self {
        change(&mut self.policy);
        self
    }

    /// Takes no script: the optimizer is `client`.
    pub(crate) fn quiet() -> Self {
        Self::of(Script::new())
    }

    pub(crate) async fn start(self) -> Stage {
        let optimizer = ScriptedOptimizer::start(self.script.clone());
        (self.before)(&optimizer);
        let client = Arc::new(client(&optimizer));
        Stage {
            scene: self.with(client).await,
            optimizer,
        }
    }

    /// Starts the servo in conversation with `client`.
    pub(crate) async fn with(self, client: Arc<dyn OptimizerClient>) -> Scene {
        install_panic_hook();
        let world = Arc::<World>::default();
        for (connector, event, act) in self.acts {
            world.act(connector, event, act);
        }
        *world.veto.lock().unwrap() = self.veto.map(str::to_owned);
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        WORLDS.lock().unwrap().insert(id, world.clone());
        let config = ProbeConfig {
            world: id,
            adjusts: self.adjusts,
        };
        let probe = ConnectorType::of::<Probe>()
            .parse(serde_yaml::to_value(config).unwrap())
            .unwrap();
        let spec = ServoSpec {
            name: SERVO.into(),
            servo_uid: Some("deployment-1".to_owned()),
            optimizer: Some(client),
            connectors: vec![("a".into(), probe.clone()), ("b".into(), probe)],
            settings: std::sync::Arc::default(),
            policy: self.policy,
            agent: AGENT.to_owned(),
            telemetry: BTreeMap::from([("servo.version".to_owned(), "0.1.0".to_owned())]),
        };
        let (assembly_spec, assembly) = Assembly::spec(None);
        let root = Root::start("root", |_| Ok(()));
        root.reference().wait_until_up(LONG).await.unwrap();
        root.reference()
            .start_child(assembly_spec, LONG)
            .await
            .unwrap();
        let handle = assembly.add(spec.clone()).await.unwrap();
        Scene {
            world,
            handle,
            root,
            assembly,
            spec,
        }
    }
}

fn client(optimizer: &ScriptedOptimizer) -> HttpOptimizer {
    let transport = Transport {
        proxy: ProxyChoice::Direct,
        trust: Trust::Anything,
        ..Transport::default()
    };
    let endpoint = OpsaniEndpoint::new(
        "dev.opsani.com/app1".parse().unwrap(),
        TokenSource::Inline("hush-hush".into()),
        Some(&optimizer.base_url()),
        None,
    );
    HttpOptimizer::new(transport.client().unwrap(), endpoint.unwrap(), AGENT)
}

/// The usual rules with short times.
pub(crate) fn quick() -> ServoPolicy {
    let millis = Duration::from_millis;
    ServoPolicy {
        cancel_grace: millis(300),
        progress_interval: LONG,
        progress_spacing: millis(5),
        describe_timeout: 5 * SECOND,
        measure_slack: 5 * SECOND,
        adjust_timeout: 5 * SECOND,
        stop_command: millis(500),
        finish_report: millis(300),
        stop_connectors: SECOND,
        goodbye: Budget {
            max_time: Some(SECOND),
            ..Budget::goodbye()
        },
        restart: Backoff::try_new(millis(1), millis(20), LONG).unwrap(),
        connectors: ConnectorPolicy {
            backoff: Backoff::try_new(millis(1), millis(20), LONG).unwrap(),
            intensity: Intensity::try_new(5, LONG).unwrap(),
            ..ConnectorPolicy::default()
        },
        ..ServoPolicy::default()
    }
}

// === impl Stage ===

impl Stage {
    /// The first completion on `event`.
    pub(crate) async fn completion(&self, event: &str) -> Value {
        self.completions(event, 1).await.remove(0)
    }

    /// So many completions on `event`.
    pub(crate) async fn completions(&self, event: &str, count: usize) -> Vec<Value> {
        let all = |received: &[servo_doubles::ReceivedEvent]| -> Vec<Value> {
            let of_event = received.iter().filter(|r| r.completes(event));
            of_event.map(|r| r.param.clone()).collect()
        };
        let there = self
            .optimizer
            .until(LONG, |received| all(received).len() >= count)
            .await;
        there.unwrap_or_else(|e| panic!("{e}\n{}", self.root.snapshot()));
        all(&self.optimizer.received())
    }

    /// Waits until so many requests of this event have come in.
    pub(crate) async fn seen(&self, event: &str, count: usize) {
        let there = self.optimizer.until(LONG, |received| {
            received.iter().filter(|r| r.event == event).count() >= count
        });
        there
            .await
            .unwrap_or_else(|e| panic!("{e}\n{}", self.root.snapshot()));
    }

    pub(crate) fn count(&self, event: &str) -> usize {
        let events = self.optimizer.events();
        events.iter().filter(|e| *e == event).count()
    }

    /// Adds a servo without connectors, which converses with `optimizer`.
    pub(crate) async fn add(
        &self,
        name: &str,
        optimizer: &ScriptedOptimizer,
    ) -> Result<ServoHandle, AssemblyError> {
        let spec = ServoSpec {
            name: name.into(),
            servo_uid: None,
            optimizer: Some(Arc::new(client(optimizer))),
            connectors: Vec::new(),
            settings: Arc::default(),
            policy: quick(),
            agent: AGENT.to_owned(),
            telemetry: BTreeMap::new(),
        };
        self.assembly.add(spec).await
    }

    /// What the GOODBYE said.
    pub(crate) async fn goodbye(&self) -> String {
        self.seen("GOODBYE", 1).await;
        let received = self.optimizer.received();
        let goodbye = received.iter().find(|r| r.event == "GOODBYE").unwrap();
        goodbye.param["reason"].as_str().unwrap().to_owned()
    }
}

// === impl Scene ===

impl Scene {
    /// Ends the servo; returns how long that took.
    pub(crate) async fn end(&self, reason: &str) -> Duration {
        let began = Instant::now();
        self.assembly.remove(SERVO, reason).await.unwrap();
        began.elapsed()
    }

    pub(crate) fn restarts_of(&self, connector: &str) -> u64 {
        let snapshot = self.root.snapshot();
        let path = format!("root/assembly/{SERVO}/{connector}");
        snapshot.find(&path).map_or(0, |child| child.restarts)
    }

    pub(crate) fn status(&self) -> ServoStatus {
        self.handle.status().borrow().clone()
    }

    /// Waits until this is true of the servo.
    pub(crate) async fn until(
        &self,
        what: &str,
        is_true: impl Fn(&ServoStatus) -> bool,
    ) -> ServoStatus {
        let mut status = self.handle.status();
        let there = status.wait_for(|status| is_true(status));
        match tokio::time::timeout(86_400 * SECOND, there).await {
            Ok(Ok(status)) => status.clone(),
            _ => panic!("{what}: not in time, but {:?}", self.status()),
        }
    }

    /// How often this happened.
    pub(crate) fn times(&self, what: &str) -> usize {
        let happened = self.world.happened();
        happened.iter().filter(|h| *h == what).count()
    }

    /// Where in the order of things this happened first.
    pub(crate) fn position(&self, what: &str) -> usize {
        let happened = self.world.happened();
        happened
            .iter()
            .position(|h| h == what)
            .unwrap_or_else(|| panic!("no {what:?} in {happened:?}"))
    }
}

// === impl World ===

impl World {
    pub(crate) fn act(&self, connector: &str, event: &'static str, act: Act) {
        self.acts
            .lock()
            .unwrap()
            .insert((connector.to_owned(), event), act);
    }

    pub(crate) fn happened(&self) -> Vec<String> {
        self.happened.lock().unwrap().clone()
    }

    fn note(&self, what: String) {
        self.happened.lock().unwrap().push(what);
    }
}

pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let done = tokio::time::timeout(LONG, waiting).await;
    assert!(done.is_ok(), "{what}: not in time");
}

// === impl Probe ===

impl Probe {
    async fn act(&self, cx: &HandlerContext, event: &'static str) -> Result<(), EventError> {
        self.world.note(format!("{} {event}", self.name));
        let key = (self.name.to_string(), event);
        match self.told(event) {
            None => Ok(()),
            Some(Act::Fail(error)) => Err(error),
            Some(Act::PanicOnce) => {
                self.world.acts.lock().unwrap().remove(&key);
                tokio::time::sleep(Duration::from_millis(2)).await;
                panic!("lost my way")
            }
            Some(Act::Report(percents, between)) => {
                for percent in percents {
                    cx.progress(percent, Some(format!("{} at {percent}", self.name)));
                    cx.sleep(between).await?;
                }
                cx.cancellation().cancelled().await;
                self.world.note(format!("{} heard", self.name));
                Err(cx.cancelled())
            }
            Some(Act::Late(duration)) => cx.sleep(duration).await,
            Some(Act::Freeze) => std::future::pending().await,
            Some(Act::Tell(key, value)) => {
                cx.telemetry().set(key, value).unwrap();
                Ok(())
            }
            Some(Act::Yield(_) | Act::Claim(_)) => Ok(()),
        }
    }

    fn told(&self, event: &'static str) -> Option<Act> {
        let acts = self.world.acts.lock().unwrap();
        acts.get(&(self.name.to_string(), event)).cloned()
    }

    fn description(&self, value: i64) -> Description {
        Description {
            components: vec![Component::new(
                format!("{}-web", self.name),
                [RangeSetting {
                    value: Some(value.into()),
                    ..RangeSetting::new("workers", 1, 8, 1)
                }
                .into()],
            )],
            metrics: vec![Metric::new(
                format!("{}_rate", self.name),
                Unit::RequestsPerSecond,
            )],
        }
    }
}

impl Connector for Probe {
    type Config = ProbeConfig;
    const METADATA: Metadata = Metadata::new("probe", "Probe", "0.0.0");

    fn build(config: Arc<ProbeConfig>, cx: ConnectorContext) -> Result<Self, BoxError> {
        Ok(Self {
            world: WORLDS.lock().unwrap()[&config.world].clone(),
            name: cx.name,
        })
    }

    fn routes(config: &ProbeConfig, routes: &mut Routes<Self>) {
        routes
            .on::<Attach>()
            .on::<Startup>()
            .on::<Describe>()
            .before::<Measure>()
            .on::<Measure>()
            .on::<Shutdown>()
            .on::<Detach>();
        if config.adjusts {
            routes.on::<Adjust>();
        }
    }
}

macro_rules! lifecycle {
    ($($event:ident $name:literal),*) => {$(
        impl On<$event> for Probe {
            async fn on(&self, _: &$event, cx: &HandlerContext) -> Result<(), EventError> {
                self.act(cx, $name).await
            }
        }
    )*};
}

lifecycle!(Attach "attach", Startup "startup", Shutdown "shutdown", Detach "detach");

impl On<Describe> for Probe {
    async fn on(&self, _: &Describe, cx: &HandlerContext) -> Result<Description, EventError> {
        self.act(cx, "describe").await?;
        Ok(match self.told("describe") {
            Some(Act::Claim(description)) => description,
            _ => self.description(2),
        })
    }
}

impl Before<Measure> for Probe {
    async fn before(&self, _: &Measure, _: &HandlerContext) -> Result<(), BeforeError> {
        match self.world.veto.lock().unwrap().clone() {
            Some(reason) if &*self.name == "b" => Err(BeforeError::Veto(reason)),
            _ => Ok(()),
        }
    }
}

impl On<Measure> for Probe {
    async fn on(&self, measure: &Measure, cx: &HandlerContext) -> Result<Measurement, EventError> {
        self.act(cx, "measure").await?;
        let names = measure.metrics.as_deref().map(|names| names.join(","));
        self.world.note(format!("{} measures {names:?}", self.name));
        if let Some(Act::Yield(measurement)) = self.told("measure") {
            return Ok(measurement);
        }
        let metric = Metric::new(format!("{}_rate", self.name), Unit::RequestsPerSecond);
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        let point = DataPoint::new(metric, at, 12.5).unwrap();
        Ok(Measurement::new([Reading::Point(point)]))
    }
}

impl On<Adjust> for Probe {
    async fn on(&self, adjust: &Adjust, cx: &HandlerContext) -> Result<Description, EventError> {
        self.act(cx, "adjust").await?;
        for adjustment in &adjust.adjustments {
            self.world.note(format!("{} sets {adjustment}", self.name));
            self.world
                .note(format!("{} sets {:?}", self.name, adjustment.value));
        }
        Ok(self.description(4))
    }
}
