//! What checks cost beside their own work: in runs of 100 and more, and of 500 servos at a time, with an eye on whether
//! anything else that lives on the thread is held up.
//!
//! Checks per CPU second are of this thread alone, which does all the work.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod beside;

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_dispatch::{
    BoxError, Bus, Check, CheckEvent, CheckPolicy, CheckRun, Checks, Connector, ConnectorContext,
    ConnectorPolicy, ConnectorType, Dispatcher, DispatcherRef, HandlerContext, Metadata, Mount, On,
    Routes,
};
use servo_messages::EventError;
use servo_supervision::{Root, install_panic_hook};

const SECOND: Duration = Duration::from_secs(1);
const SERVOS: usize = 500;
const EACH: usize = 100;

/// Has so many checks, which have nothing to do.
struct Checked(usize);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct CheckedConfig {
    checks: usize,
}

impl Connector for Checked {
    type Config = CheckedConfig;
    const METADATA: Metadata = Metadata::new("checked", "Checked", "0.0.0");

    fn build(config: Arc<CheckedConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Ok(Self(config.checks))
    }

    fn routes(_: &CheckedConfig, routes: &mut Routes<Self>) {
        routes.on::<CheckEvent>();
    }
}

impl On<CheckEvent> for Checked {
    async fn on(&self, event: &CheckEvent, cx: &HandlerContext) -> Result<Vec<Check>, EventError> {
        let mut checks = Checks::new();
        for i in 0..self.0 {
            checks.check(format!("Check {i}"), async move || i < usize::MAX);
        }
        checks.run(event, cx).await
    }
}

/// A servo's dispatcher with one connector, without the rest of the servo.
fn servo(name: String, checks: usize) -> (Root, DispatcherRef) {
    let name: Arc<str> = name.into();
    let (spec, dispatcher) = Dispatcher::spec(name.clone(), Bus::with_standard_events());
    let reference = dispatcher.clone();
    let root = Root::start(name.clone(), move |children| {
        children.start(spec.clone());
        let checked = ConnectorType::configured::<Checked>(CheckedConfig { checks });
        checked.mount(Mount {
            servo: name.clone(),
            name: "checked".into(),
            settings: Arc::default(),
            dispatcher: dispatcher.clone(),
            policy: ConnectorPolicy::default(),
            children,
        })?;
        Ok(())
    });
    (root, reference)
}

/// Makes one run, and expects so many results.
async fn run(dispatcher: &DispatcherRef, checks: usize) {
    let run = CheckRun::new(dispatcher.clone(), CheckPolicy::default()).unwrap();
    let outcome = run.run().await;
    assert!(outcome.ready(), "{outcome:?}");
    assert_eq!(outcome.connectors[0].checks.len(), checks);
}

async fn until_up(dispatcher: &DispatcherRef) {
    let up = dispatcher.dispatch(servo_dispatch::Components, Default::default());
    up.await.unwrap();
    while dispatcher.bus().connectors().is_empty() {
        tokio::task::yield_now().await;
    }
}

/// On-CPU time of this thread.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

/// How the cost of a check grows with their number.
async fn growth() {
    for checks in [1, 10, 100, 1_000, 10_000] {
        let (root, dispatcher) = servo("bench".to_owned(), checks);
        until_up(&dispatcher).await;
        run(&dispatcher, checks).await;
        let (began, cpu_before, mut runs) = (Instant::now(), cpu(), 0);
        while began.elapsed() < SECOND {
            run(&dispatcher, checks).await;
            runs += 1;
        }
        let (wall, cpu) = (began.elapsed(), cpu() - cpu_before);
        let count = (runs * checks) as f64;
        println!(
            "runs of {checks:>6} checks {:>10.0} checks/s {:>10.0} checks/CPU s {:>8.2} CPU µs a check {:>10.3} ms a run",
            count / wall.as_secs_f64(),
            count / cpu.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / count,
            wall.as_secs_f64() * 1e3 / f64::from(runs as u32),
        );
        root.shutdown(SECOND).await.unwrap();
    }
}

/// All servos at the same time on one thread, beside something that wants to be woken every millisecond.
async fn at_once() {
    let servos: Vec<_> = (0..SERVOS)
        .map(|i| servo(format!("servo{i}"), EACH))
        .collect();
    for (_, dispatcher) in &servos {
        until_up(dispatcher).await;
    }
    let over = Rc::new(Cell::new(false));
    let until = over.clone();
    let beat = actix_rt::spawn(async move {
        let mut late = Vec::new();
        while !until.get() {
            let due = Instant::now() + Duration::from_millis(1);
            tokio::time::sleep_until(due.into()).await;
            late.push(due.elapsed());
        }
        late.sort();
        late
    });
    let (began, cpu_before) = (Instant::now(), cpu());
    let runs: Vec<_> = servos
        .iter()
        .map(|(_, dispatcher)| {
            let dispatcher = dispatcher.clone();
            actix_rt::spawn(async move { run(&dispatcher, EACH).await })
        })
        .collect();
    for run in runs {
        run.await.unwrap();
    }
    let (wall, cpu) = (began.elapsed(), cpu() - cpu_before);
    over.set(true);
    let late = beat.await.unwrap();
    println!(
        "{SERVOS} servos x {EACH} checks at once: {wall:.2?}, {:.0} checks/CPU s; what else lives on the thread is late by {:.2?} (median), {:.2?} (worst of {})",
        (SERVOS * EACH) as f64 / cpu.as_secs_f64(),
        late[late.len() / 2],
        late[late.len() - 1],
        late.len(),
    );
    for (root, _) in servos {
        root.shutdown(SECOND).await.unwrap();
    }
}

fn main() {
    install_panic_hook();
    // As a task among others, like everything that asks in the daemon.
    let all = async {
        growth().await;
        at_once().await;
    };
    actix_rt::System::new().block_on(async { actix_rt::spawn(all).await.unwrap() });
    beside::servox("checks");
}
