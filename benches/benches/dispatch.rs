//! What one event costs: through `before`, `on` and `after`; through a reference that survives restarts; and how long
//! a connector is away after a panic.
//!
//! Events per CPU second are of this thread alone, which does all the work.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod beside;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_dispatch::{
    After, Before, BeforeError, BoxError, Bus, Category, Connector, ConnectorContext,
    ConnectorPolicy, ConnectorType, DispatchOptions, Dispatcher, DispatcherRef, Event, EventResult,
    HandlerContext, Metadata, Mount, On, Routes,
};
use servo_messages::EventError;
use servo_supervision::{Backoff, ChildRef, Intensity, Root, install_panic_hook};

const ROUND: Duration = Duration::from_millis(1500);
const SECOND: Duration = Duration::from_secs(1);

/// All three stages have a handler.
#[derive(Debug)]
struct Work;

impl Event for Work {
    type Output = u64;
    const NAME: &'static str = "work";
    const CATEGORY: Category = Category::Custom;
}

/// Only `on` has a handler: a request to connectors.
#[derive(Debug)]
struct Ask;

impl Event for Ask {
    type Output = u64;
    const NAME: &'static str = "ask";
    const CATEGORY: Category = Category::Custom;
}

#[derive(Debug)]
struct Break;

impl Event for Break {
    type Output = ();
    const NAME: &'static str = "break";
    const CATEGORY: Category = Category::Custom;
}

struct Worker;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct WorkerConfig {}

impl Connector for Worker {
    type Config = WorkerConfig;
    const METADATA: Metadata = Metadata::new("worker", "Worker", "0.0.0");

    fn build(_: Arc<WorkerConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Ok(Self)
    }

    fn routes(_: &WorkerConfig, routes: &mut Routes<Self>) {
        routes
            .before::<Work>()
            .on::<Work>()
            .after::<Work>()
            .on::<Ask>()
            .on::<Break>();
    }
}

impl Before<Work> for Worker {
    async fn before(&self, _: &Work, _: &HandlerContext) -> Result<(), BeforeError> {
        Ok(())
    }
}

impl On<Work> for Worker {
    async fn on(&self, _: &Work, _: &HandlerContext) -> Result<u64, EventError> {
        Ok(1)
    }
}

impl After<Work> for Worker {
    async fn after(
        &self,
        results: &[EventResult<u64>],
        _: &HandlerContext,
    ) -> Result<(), EventError> {
        std::hint::black_box(results);
        Ok(())
    }
}

impl On<Ask> for Worker {
    async fn on(&self, _: &Ask, _: &HandlerContext) -> Result<u64, EventError> {
        Ok(1)
    }
}

impl On<Break> for Worker {
    async fn on(&self, _: &Break, _: &HandlerContext) -> Result<(), EventError> {
        panic!("as ordered")
    }
}

/// A servo's dispatcher with so many connectors, without the rest of the servo.
fn servo(connectors: usize) -> (Root, DispatcherRef) {
    let (spec, dispatcher) = Dispatcher::spec("bench".into(), Bus::default());
    let reference = dispatcher.clone();
    let policy = ConnectorPolicy {
        // The minimum that back-off can be: the figure is the machinery's own.
        backoff: Backoff::try_new(Duration::from_nanos(1), Duration::from_nanos(1), SECOND)
            .unwrap(),
        intensity: Intensity::try_new(1_000_000, SECOND).unwrap(),
        ..ConnectorPolicy::default()
    };
    let root = Root::start("bench", move |children| {
        children.start(spec.clone());
        let worker = ConnectorType::of::<Worker>()
            .parse(serde_yaml::Value::Mapping(serde_yaml::Mapping::new()))?;
        for i in 0..connectors {
            worker.mount(Mount {
                servo: "bench".into(),
                name: format!("worker{i}").into(),
                settings: std::sync::Arc::default(),
                dispatcher: dispatcher.clone(),
                policy: policy.clone(),
                children,
            })?;
        }
        Ok(())
    });
    (root, reference)
}

/// On-CPU time of this thread.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

struct Figures {
    count: u64,
    wall: Duration,
    cpu: Duration,
}

async fn rate(mut one: impl AsyncFnMut()) -> Figures {
    let warm = Instant::now();
    while warm.elapsed() < ROUND / 5 {
        one().await;
    }
    let (began, cpu_before, mut count) = (Instant::now(), cpu(), 0);
    while began.elapsed() < ROUND {
        for _ in 0..64 {
            one().await;
        }
        count += 64;
    }
    Figures {
        count,
        wall: began.elapsed(),
        cpu: cpu() - cpu_before,
    }
}

fn row(what: &str, figures: &Figures) {
    println!(
        "{what:<58} {:>10.0} /s {:>10.0} /CPU s {:>8.2} CPU µs each",
        figures.count as f64 / figures.wall.as_secs_f64(),
        figures.count as f64 / figures.cpu.as_secs_f64(),
        figures.cpu.as_secs_f64() * 1e6 / figures.count as f64,
    );
}

async fn events(logging: &str) {
    for connectors in [1, 3] {
        let (root, dispatcher) = servo(connectors);
        dispatcher
            .dispatch(Ask, DispatchOptions::default())
            .await
            .unwrap();
        let figures = rate(async || {
            let outcome = dispatcher
                .dispatch(Work, DispatchOptions::default())
                .await
                .unwrap();
            assert_eq!(outcome.results.len(), connectors);
        })
        .await;
        row(
            &format!("before+on+after, {connectors} connector(s), {logging}"),
            &figures,
        );
        let figures = rate(async || {
            dispatcher
                .dispatch(Ask, DispatchOptions::default())
                .await
                .unwrap();
        })
        .await;
        row(
            &format!("on alone, {connectors} connector(s), {logging}"),
            &figures,
        );
        root.shutdown(SECOND).await.unwrap();
    }
}

/// A bare supervised actor, to know what a request costs below the dispatcher.
mod bare {
    use actix::{Actor, Context, Handler, Message};
    use servo_supervision::Supervised;

    pub(super) struct Echo;

    #[derive(Message)]
    #[rtype(result = "u64")]
    pub(super) struct Say(pub(super) u64);

    impl Actor for Echo {
        type Context = Context<Self>;
    }

    impl Supervised for Echo {}

    impl Handler<Say> for Echo {
        type Result = u64;

        fn handle(&mut self, Say(number): Say, _: &mut Self::Context) -> u64 {
            number
        }
    }
}

async fn reference() {
    let spec = servo_supervision::ChildSpec::new("echo", |_| Ok(bare::Echo));
    let echo: ChildRef<bare::Echo> = spec.reference();
    let root = Root::start("bench", move |children| {
        children.start(spec.clone());
        Ok(())
    });
    echo.wait_until_up(SECOND).await.unwrap();
    let figures = rate(async || {
        assert_eq!(echo.ask(bare::Say(1), SECOND).await.unwrap(), 1);
    })
    .await;
    row(
        "request to an actor through a surviving reference",
        &figures,
    );
    root.shutdown(SECOND).await.unwrap();
}

async fn restarts() {
    let (root, dispatcher) = servo(1);
    dispatcher
        .dispatch(Ask, DispatchOptions::default())
        .await
        .unwrap();
    let mut latencies = Vec::new();
    for _ in 0..500 {
        let began = Instant::now();
        dispatcher
            .dispatch(Break, DispatchOptions::default())
            .await
            .unwrap_err();
        let told = began.elapsed();
        dispatcher
            .dispatch(Ask, DispatchOptions::default())
            .await
            .unwrap();
        latencies.push((began.elapsed(), told));
    }
    latencies.sort();
    let at = |part: f64| latencies[(latencies.len() as f64 * part) as usize];
    println!(
        "panic to typed error {:?} (median), to the next answer of the same connector: median {:?}, p99 {:?}, of {}",
        at(0.5).1,
        at(0.5).0,
        at(0.99).0,
        latencies.len()
    );
    root.shutdown(SECOND).await.unwrap();
}

fn main() {
    install_panic_hook();
    // As a task among others, like everything that asks in the daemon: waking the outermost future of a thread costs a
    // system call.
    let all = async {
        reference().await;
        events("not logging").await;
        restarts().await;
        // As the daemon logs by default: INFO and above, so that every handler's span exists.
        tracing_subscriber::fmt().with_writer(std::io::sink).init();
        events("logging at INFO").await;
    };
    actix_rt::System::new().block_on(async { actix_rt::spawn(all).await.unwrap() });
    beside::servox("dispatch");
}
