//! Connectors whose checks the test writes, under one dispatcher.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::LocalBoxFuture};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_dispatch::{
    Before, BeforeError, BoxError, Bus, Check, CheckEvent, CheckPolicy, CheckReport, CheckRun,
    CheckRunOutcome, Checks, Connector, ConnectorContext, ConnectorPolicy, ConnectorType,
    Dispatcher, DispatcherRef, HandlerContext, Metadata, Mount, On, Routes,
};
use servo_messages::EventError;
use servo_supervision::{Backoff, Intensity, Root, Snapshot, State, install_panic_hook};

use crate::troupe::{SECOND, eventually};

pub(crate) type Answered<'a> = LocalBoxFuture<'a, Result<Vec<Check>, EventError>>;
/// What a connector does when it is asked for its checks.
pub(crate) type Script =
    Arc<dyn for<'a> Fn(&'a CheckEvent, &'a HandlerContext) -> Answered<'a> + Send + Sync>;

/// A servo that is there to be checked.
pub(crate) struct Stage {
    pub(crate) root: Root,
    pub(crate) dispatcher: DispatcherRef,
}

/// What a run told, and when, in whole seconds since it began.
pub(crate) type Log = Arc<Mutex<Vec<(u64, String)>>>;

static SCRIPTS: LazyLock<Mutex<HashMap<u64, Script>>> = LazyLock::new(Mutex::default);

struct Checker(Script);

/// A connector without checks.
struct Silent;

/// A connector that does not let anybody be checked.
struct Objector;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CheckerConfig {
    script: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoConfig {}

/// Runs the checks that `declare` declares.
pub(crate) fn declares(declare: impl Fn(&mut Checks<'static>) + Send + Sync + 'static) -> Script {
    Arc::new(move |event, cx| {
        let mut checks = Checks::new();
        declare(&mut checks);
        checks.run(event, cx).boxed_local()
    })
}

/// One check that does this.
pub(crate) fn one(
    name: &'static str,
    code: impl Fn() -> LocalBoxFuture<'static, bool> + Clone + Send + Sync + 'static,
) -> Script {
    declares(move |checks| {
        let code = code.clone();
        checks.check(name, async move || code().await);
    })
}

/// One check that succeeds from the `n`th time on, counted from 1.
pub(crate) fn one_from(name: &'static str, n: u64) -> Script {
    let times = Arc::new(AtomicU64::new(0));
    one(name, move || {
        let now = times.fetch_add(1, Ordering::SeqCst) + 1;
        async move { now >= n }.boxed_local()
    })
}

impl Stage {
    /// With connectors that follow these scripts; `silent` has no checks, `objector` is against them.
    pub(crate) async fn of(connectors: Vec<(&'static str, Script)>) -> Self {
        install_panic_hook();
        crate::log::capture();
        let policy = ConnectorPolicy {
            backoff: Backoff::try_new(Duration::from_millis(1), SECOND, SECOND * 60).unwrap(),
            intensity: Intensity::try_new(5, SECOND * 60).unwrap(),
            retry_every: SECOND * 300,
            shutdown: SECOND,
        };
        let (spec, dispatcher) = Dispatcher::spec("house".into(), Bus::with_standard_events());
        let reference = dispatcher.clone();
        let count = connectors.len();
        let types: Vec<_> = connectors
            .into_iter()
            .map(|(name, script)| (name, connector(name, script)))
            .collect();
        let root = Root::start("root", move |children| {
            children.start(spec.clone());
            for (name, (connector, config)) in &types {
                connector.parse(config.clone())?.mount(Mount {
                    servo: "house".into(),
                    name: (*name).into(),
                    settings: std::sync::Arc::default(),
                    dispatcher: reference.clone(),
                    policy: policy.clone(),
                    children,
                })?;
            }
            Ok(())
        });
        eventually("all mounted", || {
            let is_up = |child: &Snapshot| child.state == State::Running;
            let children = root.snapshot().children;
            children.len() == count + 1 && children.iter().all(is_up)
        })
        .await;
        // The first dispatch of all, before the clock stands still.
        let _ = dispatcher
            .dispatch(servo_dispatch::Components, Default::default())
            .await
            .unwrap();
        Self { root, dispatcher }
    }

    /// A run, and what it will have told.
    pub(crate) fn run(&self, policy: CheckPolicy) -> (CheckRun, Log) {
        let log = Log::default();
        let (told, began) = (log.clone(), tokio::time::Instant::now());
        let run = CheckRun::new(self.dispatcher.clone(), policy).unwrap();
        let run = run.report_to(move |report| {
            report.log("house");
            if !matches!(report, CheckReport::PassEnded { .. }) {
                let seconds = began.elapsed().as_secs();
                told.lock().unwrap().push((seconds, report.to_string()));
            }
        });
        (run, log)
    }

    /// Runs, and gives what was told with the time of each.
    pub(crate) async fn ran(&self, policy: CheckPolicy) -> (CheckRunOutcome, Vec<(u64, String)>) {
        let (run, log) = self.run(policy);
        let outcome = run.run().await;
        let log = log.lock().unwrap().clone();
        (outcome, log)
    }
}

fn connector(name: &str, script: Script) -> (ConnectorType, serde_yaml::Value) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let nothing = serde_yaml::to_value(NoConfig {}).unwrap();
    match name {
        "silent" => (ConnectorType::of::<Silent>(), nothing),
        "objector" => (ConnectorType::of::<Objector>(), nothing),
        _ => {
            let id = NEXT.fetch_add(1, Ordering::Relaxed);
            SCRIPTS.lock().unwrap().insert(id, script);
            let config = serde_yaml::to_value(CheckerConfig { script: id }).unwrap();
            (ConnectorType::of::<Checker>(), config)
        }
    }
}

/// The results as `connector: Name FAILED (skipped)`, failures in capitals and skipped ones in brackets.
pub(crate) fn told(outcome: &CheckRunOutcome) -> Vec<String> {
    let of_one = |checks: &[Check]| {
        let told = checks.iter().map(|check| match check.success() {
            Some(true) => check.name.clone(),
            Some(false) => check.name.to_uppercase(),
            None => format!("({})", check.name),
        });
        told.collect::<Vec<_>>().join(" ")
    };
    let connectors = outcome.connectors.iter();
    connectors
        .map(|c| format!("{}: {}", c.connector, of_one(&c.checks)))
        .collect()
}

impl Connector for Checker {
    type Config = CheckerConfig;
    const METADATA: Metadata = Metadata::new("checker", "Checker", "0.0.0");

    fn build(config: Arc<CheckerConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Ok(Self(SCRIPTS.lock().unwrap()[&config.script].clone()))
    }

    fn routes(_: &CheckerConfig, routes: &mut Routes<Self>) {
        routes.on::<CheckEvent>();
    }
}

impl On<CheckEvent> for Checker {
    async fn on(&self, event: &CheckEvent, cx: &HandlerContext) -> Result<Vec<Check>, EventError> {
        (self.0)(event, cx).await
    }
}

impl Connector for Silent {
    type Config = NoConfig;
    const METADATA: Metadata = Metadata::new("silent", "Silent", "0.0.0");

    fn build(_: Arc<NoConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Ok(Self)
    }

    fn routes(_: &NoConfig, _: &mut Routes<Self>) {}
}

impl Connector for Objector {
    type Config = NoConfig;
    const METADATA: Metadata = Metadata::new("objector", "Objector", "0.0.0");

    fn build(_: Arc<NoConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Ok(Self)
    }

    fn routes(_: &NoConfig, routes: &mut Routes<Self>) {
        routes.before::<CheckEvent>();
    }
}

impl Before<CheckEvent> for Objector {
    async fn before(&self, _: &CheckEvent, _: &HandlerContext) -> Result<(), BeforeError> {
        Err(BeforeError::veto("not today"))
    }
}
