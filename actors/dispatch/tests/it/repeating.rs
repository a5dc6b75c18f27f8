//! What connectors do beside handling events, as it is seen from outside.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_dispatch::{
    Attach, BoxError, Bus, Connector, ConnectorContext, ConnectorPolicy, ConnectorType, Detach,
    DispatchOptions, Dispatcher, DispatcherRef, Every, HandlerContext, Message, Metadata, Mount,
    On, Routes, Shutdown, StartError, Startup, SubscribeOptions, Subscription, TaskHandle,
    TaskKind, Tasks, current_message,
};
use servo_messages::EventError;
use servo_supervision::{Backoff, Intensity, Root};
use tokio::time::{Instant, sleep};

use crate::troupe::{SECOND, eventually, only};

const MILLI: Duration = Duration::from_millis(1);

/// A connector that notes the time of all that it does.
struct Busy {
    world: Arc<World>,
    runs: RefCell<u32>,
    _tasks: Tasks,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
struct BusyConfig {
    #[serde(skip)]
    #[schemars(skip)]
    world: Arc<World>,
}

type Ask = Box<dyn FnOnce(&HandlerContext) + Send>;
type AtBuild = Box<dyn Fn(&Tasks) + Send>;

#[derive(Default)]
struct World {
    happened: Mutex<Vec<(&'static str, Instant)>>,
    heard: Mutex<Vec<String>>,
    /// What the next handler of `attach` does.
    ask: Mutex<Option<Ask>>,
    at_build: Mutex<Option<AtBuild>>,
    panics: Mutex<bool>,
    builds: Mutex<u32>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}

impl World {
    fn note(&self, what: &'static str) {
        self.happened.lock().unwrap().push((what, Instant::now()));
    }

    fn count(&self, what: &str) -> usize {
        let happened = self.happened.lock().unwrap();
        happened.iter().filter(|(w, _)| *w == what).count()
    }

    /// When it happened, in hundredths of seconds since `began`: timers may be a millisecond late.
    fn times(&self, what: &str, began: Instant) -> Vec<u128> {
        let happened = self.happened.lock().unwrap();
        let of_it = happened.iter().filter(|(w, _)| *w == what);
        of_it
            .map(|(_, at)| (*at - began).as_millis() / 10)
            .collect()
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

impl Connector for Busy {
    type Config = BusyConfig;
    const METADATA: Metadata = Metadata::new("busy", "Busy", "0.0.0");

    fn build(config: Arc<BusyConfig>, cx: ConnectorContext) -> Result<Self, BoxError> {
        *config.world.builds.lock().unwrap() += 1;
        if let Some(begin) = &*config.world.at_build.lock().unwrap() {
            begin(&cx.tasks);
        }
        Ok(Self {
            world: config.world.clone(),
            runs: RefCell::new(0),
            _tasks: cx.tasks,
        })
    }

    fn routes(_: &BusyConfig, routes: &mut Routes<Self>) {
        routes
            .on::<Attach>()
            .every("declared", SECOND, |busy: Rc<Self>, _| async move {
                busy.world.note("declared");
                if std::mem::take(&mut *busy.world.panics.lock().unwrap()) {
                    panic!("fell over");
                }
                Ok(())
            })
            .publish_every(
                "pulse",
                ["pulse.a".parse().unwrap(), "pulse.b".parse().unwrap()],
                SECOND * 10,
                |busy, _| async move {
                    let mut runs = busy.runs.borrow_mut();
                    *runs += 1;
                    Ok(Some(Message::text_of(runs.to_string())))
                },
            )
            .subscribe(
                "ears",
                "told.*".parse().unwrap(),
                SubscribeOptions::default,
                |busy, delivery, cx| async move {
                    let current = current_message().unwrap();
                    assert_eq!(current.channel(), delivery.channel());
                    match delivery.text().unwrap() {
                        "fail" => return Err(EventError::failed("cannot hear that")),
                        "panic" => panic!("deafened"),
                        _ => {}
                    }
                    let heard = format!("{} of {}", delivery.text().unwrap(), cx.connector());
                    busy.world.heard.lock().unwrap().push(heard);
                    Ok(())
                },
            );
    }
}

impl On<Attach> for Busy {
    async fn on(&self, _: &Attach, cx: &HandlerContext) -> Result<(), EventError> {
        assert!(current_message().is_none());
        let ask = self.world.ask.lock().unwrap().take();
        if let Some(ask) = ask {
            ask(cx);
        }
        Ok(())
    }
}

/// One servo with the connectors `a` and `b`.
struct Stage {
    root: Root,
    dispatcher: DispatcherRef,
    worlds: [Arc<World>; 2],
}

impl Stage {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(prepare: impl FnOnce(&World)) -> Self {
        servo_supervision::install_panic_hook();
        crate::log::capture();
        let worlds = [Arc::<World>::default(), Arc::default()];
        prepare(&worlds[0]);
        let (spec, dispatcher) = Dispatcher::spec("servo".into(), Bus::default());
        let (reference, shared) = (dispatcher.clone(), worlds.clone());
        let policy = ConnectorPolicy {
            backoff: Backoff::try_new(MILLI, MILLI * 20, SECOND * 60).unwrap(),
            intensity: Intensity::try_new(5, SECOND * 60).unwrap(),
            ..ConnectorPolicy::default()
        };
        let root = Root::start("root", move |children| {
            children.start(spec.clone());
            for (name, world) in ["a", "b"].into_iter().zip(&shared) {
                let world = world.clone();
                ConnectorType::configured::<Busy>(BusyConfig { world }).mount(Mount {
                    servo: "servo".into(),
                    name: name.into(),
                    settings: Arc::default(),
                    dispatcher: reference.clone(),
                    policy: policy.clone(),
                    children,
                })?;
            }
            Ok(())
        });
        let stage = Self {
            root,
            dispatcher,
            worlds,
        };
        stage.attach(|_| {}).await;
        tokio::time::pause();
        stage
    }

    /// Has connector `a` do something from within a handler.
    async fn attach(&self, ask: impl FnOnce(&HandlerContext) + Send + 'static) {
        *self.worlds[0].ask.lock().unwrap() = Some(Box::new(ask));
        let outcome = self.dispatcher.dispatch(Attach, DispatchOptions::default());
        outcome.await.unwrap();
    }

    async fn begin<T: Send + 'static>(
        &self,
        begin: impl FnOnce(&HandlerContext) -> T + Send + 'static,
    ) -> T {
        let (tell, told) = std::sync::mpsc::channel();
        self.attach(move |cx| tell.send(begin(cx)).unwrap()).await;
        told.recv().unwrap()
    }

    async fn start_up(&self) {
        let outcome = self
            .dispatcher
            .dispatch(Startup, DispatchOptions::default());
        outcome.await.unwrap();
    }

    fn subscribe(&self, selector: &str) -> Subscription {
        let exchange = self.dispatcher.exchange();
        exchange
            .subscribe(selector, SubscribeOptions::default())
            .unwrap()
    }

    async fn tell(&self, text: &str) {
        let channel = self.dispatcher.exchange().channel("told.you").unwrap();
        channel.publish(Message::text_of(text)).await.unwrap();
        sleep(MILLI).await;
    }
}

/// Begins a task in connector `a` that takes `takes` each time, and fails as `fails` says.
fn task(
    world: &Arc<World>,
    every: Every,
    takes: Duration,
    fails: impl Fn(usize) -> bool + Send + Clone + 'static,
) -> impl FnOnce(&HandlerContext) -> Result<TaskHandle, StartError> + Send + 'static {
    let world = world.clone();
    move |cx| {
        cx.tasks().every("task", every, move |cx| {
            let (world, fails) = (world.clone(), fails.clone());
            async move {
                assert_eq!(cx.event(), "task:task");
                world.note("begin");
                sleep(takes).await;
                world.note("end");
                match fails(world.count("begin")) {
                    true => Err(EventError::failed("out of order")),
                    false => Ok(()),
                }
            }
        })
    }
}

#[actix_rt::test]
async fn a_task_runs_at_once_and_again_after_each_run() {
    let stage = Stage::new().await;
    let world = stage.worlds[0].clone();
    let began = Instant::now();
    let every = Every::new(MILLI * 100);
    let handle = stage
        .begin(task(&world, every, MILLI * 50, |n| n == 2))
        .await
        .unwrap();
    sleep(MILLI * 500).await;
    assert_eq!(world.times("begin", began), [0, 15, 30, 45]);
    assert_eq!((handle.runs(), handle.failures()), (4, 1));
    let told = super::log::written();
    let told = told.iter().find(|line| line["level"] == "ERROR").unwrap();
    let text = told["fields"]["message"].as_str().unwrap();
    assert!(text.contains("a:task (repeating every 100ms)"), "{text}");
    assert_eq!(told["fields"]["connector"], "a");
}

#[actix_rt::test]
async fn at_a_fixed_rate_ticks_are_kept_and_missed_ones_skipped() {
    let stage = Stage::new().await;
    let world = stage.worlds[0].clone();
    let began = Instant::now();
    let every = Every::new(MILLI * 100).fixed_rate();
    let handle = stage
        .begin(task(&world, every, MILLI * 50, |_| false))
        .await
        .unwrap();
    sleep(SECOND - MILLI).await;
    assert_eq!(world.count("begin"), 10);
    handle.cancel();
    handle.done().await;

    world.happened.lock().unwrap().clear();
    let began_again = Instant::now();
    let slow = task(&world, every, MILLI * 250, |_| false);
    let handle = stage.begin(slow).await.unwrap();
    sleep(SECOND - MILLI).await;
    assert_eq!(world.times("begin", began_again), [0, 30, 60, 90]);
    assert!(began < began_again);
    handle.cancel();
}

#[actix_rt::test]
async fn a_task_that_keeps_failing_slows_down_and_recovers() {
    let stage = Stage::new().await;
    let world = stage.worlds[0].clone();
    let began = Instant::now();
    let every = Every::new(MILLI * 100);
    let failing = task(&world, every, Duration::ZERO, |n| n <= 7);
    stage.begin(failing).await.unwrap();
    sleep(SECOND * 8).await;
    let times = world.times("begin", began);
    let gaps: Vec<_> = times.windows(2).map(|w| (w[1] - w[0]) / 10).collect();
    assert_eq!(gaps[..9], [1, 1, 1, 1, 10, 20, 40, 1, 1]);
}

#[actix_rt::test]
async fn names_are_taken_by_live_tasks_only() {
    let stage = Stage::new().await;
    let world = stage.worlds[0].clone();
    let every = Every::new(SECOND);
    let hour = SECOND * 3600;
    let first = stage
        .begin(task(&world, every.limit(hour), hour, |_| false))
        .await
        .unwrap();
    let error = stage
        .begin(task(&world, every, MILLI, |_| false))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "repeating task already exists named 'task'"
    );
    sleep(SECOND * 10).await;
    assert_eq!(world.count("begin"), 1);

    // Cancelled and begun anew in one go: the new one does not overlap with the old one.
    let restart = task(&world, every, MILLI, |_| false);
    let second = stage
        .begin(|cx| {
            assert!(cx.tasks().cancel("unheard-of").is_none());
            assert!(!cx.tasks().cancel("task").unwrap().is_live());
            assert!(!cx.tasks().cancel("task").unwrap().is_live());
            restart(cx)
        })
        .await
        .unwrap();
    first.done().await;
    sleep(SECOND).await;
    assert_eq!(world.count("end"), 1);
    assert!(second.is_live());
    let all = stage.begin(|cx| cx.tasks().cancel_all()).await;
    assert_eq!(all.keys().map(|k| &**k).collect::<Vec<_>>(), ["task"]);
    let before = world.count("begin");
    sleep(SECOND * 10).await;
    assert_eq!(world.count("begin"), before);
}

#[actix_rt::test]
async fn a_run_that_takes_too_long_is_ended_and_has_failed() {
    let stage = Stage::new().await;
    let world = stage.worlds[0].clone();
    let every = Every::new(SECOND).limit(SECOND * 5);
    let handle = stage
        .begin(task(&world, every, SECOND * 3600, |_| false))
        .await
        .unwrap();
    sleep(SECOND * 13).await;
    assert_eq!((handle.runs(), handle.failures()), (3, 2));
    assert_eq!(*world.builds.lock().unwrap(), 1);
}

#[actix_rt::test]
async fn what_is_declared_goes_on_from_startup_to_shutdown() {
    let stage = Stage::new().await;
    let [a, b] = &stage.worlds;
    let mut pulse = stage.subscribe("pulse.*");
    sleep(SECOND * 10).await;
    assert_eq!(a.count("declared"), 0);
    stage.start_up().await;
    stage.tell("hello").await;
    sleep(SECOND * 9 + MILLI * 500).await;
    assert_eq!(a.count("declared"), 10);
    assert_eq!(a.heard(), ["hello of a"]);
    assert_eq!(b.heard(), ["hello of b"]);
    for channel in ["pulse.a", "pulse.b"] {
        for _ in ["a", "b"] {
            let delivery = pulse.next().await.unwrap();
            assert!(delivery.metadata("connector").is_some());
            assert_eq!(delivery.text().unwrap(), "1", "{channel}");
        }
    }
    // One of them goes: the other stays at work.
    stage
        .dispatcher
        .dispatch(Shutdown, only(&["a"]))
        .await
        .unwrap();
    let before = a.count("declared");
    stage.tell("are you there?").await;
    sleep(SECOND * 5).await;
    assert_eq!(a.count("declared"), before);
    assert_eq!(a.heard().len(), 2);
    assert!(b.count("declared") > before);
    stage
        .dispatcher
        .dispatch(Detach, only(&["a"]))
        .await
        .unwrap();
    stage.tell("still there?").await;
    assert_eq!(a.heard().len(), 2);
    assert_eq!(b.heard().len(), 3);
}

#[actix_rt::test]
async fn a_failing_subscriber_goes_on_and_leaves_the_others_alone() {
    let stage = Stage::new().await;
    stage.start_up().await;
    for told in ["fail", "one", "fail", "two"] {
        stage.tell(told).await;
    }
    assert_eq!(stage.worlds[0].heard(), ["one of a", "two of a"]);
    let told = super::log::written();
    let raised = |line: &&serde_json::Value| {
        let text = line["fields"]["message"].as_str().unwrap();
        line["level"] == "ERROR" && text.starts_with("Subscriber raised exception")
    };
    assert_eq!(told.iter().filter(raised).count(), 4);
}

#[actix_rt::test]
async fn a_panic_is_the_connectors_and_what_is_declared_begins_anew_once() {
    let stage = Stage::new().await;
    let [a, b] = &stage.worlds;
    stage.start_up().await;
    sleep(MILLI * 500).await;
    *a.panics.lock().unwrap() = true;
    sleep(SECOND).await;
    eventually("built anew", || *a.builds.lock().unwrap() == 2).await;
    let path = stage.root.snapshot();
    let exit = path
        .find("root/a")
        .unwrap()
        .last_exit
        .clone()
        .unwrap()
        .to_string();
    assert!(exit.contains("fell over"), "{exit}");
    sleep(MILLI * 100).await;
    let before = (a.count("declared"), b.count("declared"));
    sleep(SECOND * 10).await;
    assert_eq!(a.count("declared") - before.0, 10);
    assert_eq!(b.count("declared") - before.1, 10);
    stage.tell("once").await;
    assert_eq!(a.heard(), ["once of a"]);
    // Those of the former run are gone: two connectors, and nobody else.
    assert_eq!(stage.dispatcher.exchange().status().subscribers, 2);
    assert_eq!(stage.dispatcher.exchange().status().publishers, 2);

    stage.tell("panic").await;
    eventually("both built anew", || {
        *a.builds.lock().unwrap() == 3 && *b.builds.lock().unwrap() == 2
    })
    .await;
    sleep(MILLI * 100).await;
    stage.tell("again").await;
    assert_eq!(a.heard(), ["once of a", "again of a"]);
}

#[actix_rt::test]
async fn a_task_can_be_begun_where_the_connector_is_built() {
    let stage = Stage::with(|world| {
        *world.at_build.lock().unwrap() = Some(Box::new(|tasks| {
            for i in 0..40 {
                let name = format!("task{i}");
                let task = tasks.every(&name, SECOND, |_| async { Ok(()) });
                task.unwrap();
            }
        }));
    })
    .await;
    sleep(SECOND * 2 + MILLI * 500).await;
    let all = stage.begin(|cx| cx.tasks().all(TaskKind::Repeating)).await;
    assert_eq!(all.len(), 40);
    assert!(all.values().all(|handle| handle.runs() == 3), "{all:?}");
}

#[actix_rt::test]
async fn a_publisher_that_fails_is_called_again_and_its_name_is_its_own() {
    let stage = Stage::new().await;
    let mut out = stage.subscribe("out");
    let handle = stage
        .begin(|cx| {
            let mut calls = 0;
            let tasks = cx.tasks();
            let publisher = tasks.publish_every("p", ["out"], SECOND, move |_| {
                calls += 1;
                let call = calls;
                async move {
                    match call {
                        1 => Err(EventError::failed("not ready")),
                        2 => Ok(None),
                        _ => Ok(Some(Message::text_of(call.to_string()))),
                    }
                }
            });
            let again = tasks.publish_every("p", ["out"], SECOND, |_| async { Ok(None) });
            let told = again.unwrap_err().to_string();
            assert_eq!(told, "a Publisher named 'p' already exists");
            let nowhere = tasks.publish_every("q", ["-"], SECOND, |_| async { Ok(None) });
            assert!(matches!(nowhere, Err(StartError::Channel(_))));
            publisher.unwrap()
        })
        .await;
    assert_eq!(out.next().await.unwrap().text().unwrap(), "3");
    assert_eq!(out.next().await.unwrap().text().unwrap(), "4");
    assert_eq!(handle.failures(), 1);
    let cancelled = stage.begin(|cx| {
        let tasks = cx.tasks();
        let error = tasks.cancel_publishers(&["p", "nobody"]).unwrap_err();
        assert_eq!(error.to_string(), "no publisher named 'nobody'");
        tasks.cancel_subscribers(&[])
    });
    cancelled.await.unwrap();
    handle.done().await;
    sleep(SECOND * 10).await;
    assert!(out.try_next().is_none());
    assert_eq!(stage.dispatcher.exchange().status().publishers, 0);
}

#[actix_rt::test]
async fn a_publisher_without_a_pause_leaves_the_others_their_turn() {
    let stage = Stage::new().await;
    let handle = stage
        .begin(|cx| {
            let busy = cx
                .tasks()
                .publish_every("p", ["out"], Duration::ZERO, |_| async {
                    Ok(Some(Message::text_of("x")))
                });
            busy.unwrap()
        })
        .await;
    sleep(SECOND).await;
    assert!((450..=1001).contains(&handle.runs()), "{handle:?}");
}

#[actix_rt::test]
async fn subscribers_of_a_connector_are_named_and_end() {
    let stage = Stage::new().await;
    let world = stage.worlds[0].clone();
    let handle = stage
        .begin(move |cx| {
            let tasks = cx.tasks();
            let listen = |world: Arc<World>| {
                tasks.subscribe(
                    "s",
                    "told.*",
                    SubscribeOptions::default(),
                    move |delivery, _| {
                        let world = world.clone();
                        async move {
                            let text = delivery.text().unwrap().to_owned();
                            world.heard.lock().unwrap().push(text);
                            Ok(())
                        }
                    },
                )
            };
            let handle = listen(world.clone()).unwrap();
            let again = listen(world.clone()).unwrap_err();
            assert_eq!(again.to_string(), "a Subscriber named 's' already exists");
            let wrong = tasks.subscribe("t", "/(/", SubscribeOptions::default(), |_, _| async {
                Ok(())
            });
            assert!(wrong.unwrap_err().to_string().contains("/(/"));
            handle
        })
        .await;
    stage.tell("one").await;
    stage
        .begin(|cx| cx.tasks().cancel_subscribers(&["s"]))
        .await
        .unwrap();
    handle.done().await;
    stage.tell("two").await;
    assert_eq!(stage.worlds[0].heard(), ["one"]);
    assert_eq!(stage.dispatcher.exchange().status().subscribers, 0);
}

#[actix_rt::test]
async fn the_exchange_ends_with_its_servo() {
    let stage = Stage::new().await;
    let mut outside = stage.subscribe("*");
    stage.start_up().await;
    let exchange = stage.dispatcher.exchange().clone();
    let reading = actix_rt::spawn(async move {
        let mut read = 0;
        while outside.next().await.is_some() {
            read += 1;
        }
        read
    });
    stage.tell("last").await;
    stage.root.shutdown(SECOND * 30).await.unwrap();
    assert_eq!(reading.await.unwrap(), 5);
    assert!(!exchange.is_running());
    let error = exchange.publish("told.you", Message::text_of("?")).await;
    assert!(error.is_err());
}

#[actix_rt::test]
async fn of_a_connector_that_is_removed_nothing_goes_on() {
    let stage = Stage::new().await;
    stage
        .begin(|cx| {
            cx.tasks()
                .publish_every("told", ["pulse.c"], SECOND, |_| async {
                    Ok(Some(Message::text_of("c")))
                })
                .map(drop)
        })
        .await
        .unwrap();
    stage.start_up().await;
    let mut pulses = stage.subscribe("pulse.*");
    sleep(SECOND * 5).await;
    stage.tell("before").await;
    let [a, b] = &stage.worlds;
    assert!(a.count("declared") >= 5);
    assert_eq!((a.heard().len(), b.heard().len()), (1, 1));
    assert!(pulses.try_next().is_some());

    stage.dispatcher.remove_connector("a").await.unwrap();
    while pulses.try_next().is_some() {}
    let (before_a, before_b) = (a.count("declared"), b.count("declared"));
    sleep(SECOND * 30).await;
    stage.tell("after").await;
    assert_eq!(a.count("declared"), before_a);
    assert_eq!((a.heard().len(), b.heard().len()), (1, 2));
    // What `b` does goes on.
    assert!(b.count("declared") >= before_b + 29);
    let mut from = Vec::new();
    while let Some(pulse) = pulses.try_next() {
        from.push(pulse.metadata("connector").unwrap().to_owned());
    }
    assert!(
        !from.is_empty() && from.iter().all(|from| from == "b"),
        "{from:?}"
    );
}
