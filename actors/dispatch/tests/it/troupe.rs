//! A connector that does what the event tells it: answers, fails, panics, freezes, asks others.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::LocalBoxFuture};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use servo_dispatch::{
    After, Attach, Before, BeforeError, BoxError, Bus, Category, ConfiguredConnector, Connector,
    ConnectorContext, ConnectorPolicy, ConnectorType, Detach, DispatchOptions, Dispatcher,
    DispatcherRef, Event, EventName, EventResult, HandlerContext, JsonEvent, Metadata, Mount, On,
    Routes, Scope, Shutdown, Stage, Startup,
};
use servo_messages::EventError;
use servo_supervision::{Backoff, Intensity, Root, Snapshot, State, install_panic_hook};

use crate::around::Lit;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) type Played<'a> = LocalBoxFuture<'a, Result<Option<u64>, BeforeError>>;
type Part = Arc<dyn for<'a> Fn(&'a HandlerContext) -> Played<'a> + Send + Sync>;
type Review =
    Arc<dyn Fn(&[EventResult<u64>], &HandlerContext) -> Result<(), EventError> + Send + Sync>;

/// An event that carries what each connector is to do in which stage.
#[derive(Clone, Default)]
pub(crate) struct Play(Vec<(&'static str, Stage, Part)>);

/// The same, under another name.
#[derive(Clone, Debug)]
pub(crate) struct Encore(pub(crate) Play);

/// An event that has a JSON form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Double(pub(crate) u64);

/// Connectors called `a`, `b`, `c`, ... under one dispatcher.
pub(crate) struct Troupe {
    pub(crate) root: Root,
    pub(crate) dispatcher: DispatcherRef,
    pub(crate) world: Arc<World>,
}

/// What tests see of, and tell to, the connectors of one troupe.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) builds: AtomicUsize,
    pub(crate) happened: Mutex<Vec<String>>,
    pub(crate) review: Mutex<Option<Review>>,
    /// How the next builds of `a` fail.
    pub(crate) build: Mutex<Build>,
    pub(crate) startup: Mutex<Option<Part>>,
    /// What those do that attach, beside taking a note.
    pub(crate) attach: Mutex<Option<Part>>,
    /// Who has shut down and detached.
    pub(crate) farewells: Mutex<Vec<String>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Build {
    #[default]
    Works,
    Fails,
    Panics,
}

static WORLDS: LazyLock<Mutex<HashMap<u64, Arc<World>>>> = LazyLock::new(Mutex::default);

pub(crate) struct Actor {
    pub(crate) world: Arc<World>,
    name: Arc<str>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActorConfig {
    world: u64,
}

// === impl Play ===

impl Play {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn at(
        mut self,
        connector: &'static str,
        stage: Stage,
        part: impl for<'a> Fn(&'a HandlerContext) -> Played<'a> + Send + Sync + 'static,
    ) -> Self {
        self.0.push((connector, stage, Arc::new(part)));
        self
    }

    pub(crate) fn on(
        self,
        connector: &'static str,
        part: impl for<'a> Fn(&'a HandlerContext) -> Played<'a> + Send + Sync + 'static,
    ) -> Self {
        self.at(connector, Stage::On, part)
    }

    pub(crate) async fn perform(
        &self,
        cx: &HandlerContext,
        unless_told: Option<u64>,
    ) -> Result<Option<u64>, BeforeError> {
        let part = self
            .0
            .iter()
            .find(|(connector, stage, _)| *connector == cx.connector() && *stage == cx.stage());
        match part {
            Some((_, _, part)) => part(cx).await,
            None => Ok(unless_told),
        }
    }
}

impl fmt::Debug for Play {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Play({} parts)", self.0.len())
    }
}

impl Event for Play {
    type Output = u64;
    const NAME: &'static str = "play";
    const CATEGORY: Category = Category::Custom;
}

impl Event for Encore {
    type Output = u64;
    const NAME: &'static str = "encore";
    const CATEGORY: Category = Category::Custom;
}

impl Event for Double {
    type Output = u64;
    const NAME: &'static str = "double";
    const CATEGORY: Category = Category::Custom;
}

impl JsonEvent for Double {
    fn arguments(&self) -> Value {
        json!({"number": self.0})
    }

    fn from_arguments(arguments: Value) -> Result<Self, String> {
        let number = arguments.get("number").and_then(Value::as_u64);
        number
            .map(Self)
            .ok_or_else(|| format!("number: expected a natural number in {arguments}"))
    }

    fn output_value(output: &u64) -> Value {
        json!({"doubled": output})
    }
}

// === parts ===

pub(crate) fn answer(number: u64) -> impl for<'a> Fn(&'a HandlerContext) -> Played<'a> {
    move |_| async move { Ok(Some(number)) }.boxed_local()
}

pub(crate) fn fail(error: EventError) -> impl for<'a> Fn(&'a HandlerContext) -> Played<'a> {
    move |_| {
        let error = error.clone();
        async move { Err(error.into()) }.boxed_local()
    }
}

/// Panics before it awaits anything.
pub(crate) fn panics(_: &HandlerContext) -> Played<'_> {
    async { panic!("lost the thread") }.boxed_local()
}

/// Panics in the middle.
pub(crate) fn panics_later(_: &HandlerContext) -> Played<'_> {
    async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        panic!("lost the thread later")
    }
    .boxed_local()
}

/// Never ends and hears nothing.
pub(crate) fn freezes(_: &HandlerContext) -> Played<'_> {
    std::future::pending().boxed_local()
}

/// Ends when told, and not before.
pub(crate) fn obeys(cx: &HandlerContext) -> Played<'_> {
    async move {
        cx.cancellation().cancelled().await;
        Err(cx.cancelled().into())
    }
    .boxed_local()
}

// === impl Troupe ===

impl Troupe {
    /// With connectors of these names, restarted almost at once when they end.
    pub(crate) async fn of(names: &'static [&'static str]) -> Self {
        let quickly = Duration::from_millis(20);
        Self::with(
            names,
            ConnectorPolicy {
                backoff: Backoff::try_new(Duration::from_millis(1), quickly, SECOND * 60).unwrap(),
                intensity: Intensity::try_new(5, SECOND * 60).unwrap(),
                retry_every: SECOND * 300,
                shutdown: SECOND,
            },
        )
        .await
    }

    pub(crate) async fn with(names: &'static [&'static str], policy: ConnectorPolicy) -> Self {
        install_panic_hook();
        crate::log::capture();
        let world = Arc::<World>::default();
        let (spec, dispatcher) = Dispatcher::spec("theatre".into(), Bus::default());
        dispatcher.bus().bridge::<Double>().unwrap();
        let (reference, config) = (dispatcher.clone(), config_of(&world));
        let root = Root::start("root", move |children| {
            children.start(spec.clone());
            for name in names {
                ConnectorType::of::<Actor>()
                    .parse(config.clone())?
                    .mount(Mount {
                        servo: "theatre".into(),
                        name: (*name).into(),
                        settings: std::sync::Arc::default(),
                        dispatcher: reference.clone(),
                        policy: policy.clone(),
                        children,
                    })?;
            }
            Ok(())
        });
        dispatcher.room_for_more(root.reference());
        eventually("all mounted", || {
            let is_up = |child: &Snapshot| child.state == State::Running;
            let children = root.snapshot().children;
            children.len() == names.len() + 1 && children.iter().all(is_up)
        })
        .await;
        Self {
            root,
            dispatcher,
            world,
        }
    }

    /// Another of the same kind.
    pub(crate) fn another(&self) -> Arc<dyn ConfiguredConnector> {
        another(&self.world)
    }

    pub(crate) fn has_child(&self, name: &str) -> bool {
        self.root.snapshot().find(&format!("root/{name}")).is_some()
    }

    pub(crate) fn child(&self, name: &str) -> Snapshot {
        self.root
            .snapshot()
            .find(&format!("root/{name}"))
            .unwrap_or_else(|| panic!("no {name} in\n{}", self.root.snapshot()))
            .clone()
    }
}

pub(crate) fn another(world: &Arc<World>) -> Arc<dyn ConfiguredConnector> {
    ConnectorType::of::<Actor>()
        .parse(config_of(world))
        .unwrap()
}

fn config_of(world: &Arc<World>) -> serde_yaml::Value {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    WORLDS.lock().unwrap().insert(id, world.clone());
    serde_yaml::to_value(ActorConfig { world: id }).unwrap()
}

impl World {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.happened.lock().unwrap().push(what.into());
    }

    pub(crate) fn happened(&self) -> Vec<String> {
        self.happened.lock().unwrap().clone()
    }

    pub(crate) fn review(
        &self,
        review: impl Fn(&[EventResult<u64>], &HandlerContext) -> Result<(), EventError>
        + Send
        + Sync
        + 'static,
    ) {
        *self.review.lock().unwrap() = Some(Arc::new(review));
    }

    /// The `attach` of each connector does this as well.
    pub(crate) fn attach(
        &self,
        part: impl for<'a> Fn(&'a HandlerContext) -> Played<'a> + Send + Sync + 'static,
    ) {
        *self.attach.lock().unwrap() = Some(Arc::new(part));
    }

    fn bids_farewell(&self, cx: &HandlerContext) -> Result<(), EventError> {
        let farewell = format!("{} {}", cx.connector(), cx.event());
        self.farewells.lock().unwrap().push(farewell);
        Ok(())
    }

    pub(crate) fn farewells(&self) -> Vec<String> {
        self.farewells.lock().unwrap().clone()
    }

    pub(crate) fn startup(
        &self,
        part: impl for<'a> Fn(&'a HandlerContext) -> Played<'a> + Send + Sync + 'static,
    ) {
        *self.startup.lock().unwrap() = Some(Arc::new(part));
    }
}

pub(crate) fn only(names: &[&str]) -> DispatchOptions {
    DispatchOptions {
        scope: Scope::Only(names.iter().map(|name| (*name).into()).collect()),
        ..DispatchOptions::default()
    }
}

/// Short times, so that what must end by a deadline does so soon.
pub(crate) fn soon(timeout: u64, grace: u64) -> DispatchOptions {
    DispatchOptions {
        timeout: Duration::from_millis(timeout),
        grace: Duration::from_millis(grace),
        ..DispatchOptions::default()
    }
}

pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let done = tokio::time::timeout(SECOND * 10, waiting).await;
    assert!(done.is_ok(), "{what}: not within 10 s");
}

// === impl Actor ===

impl Connector for Actor {
    type Config = ActorConfig;
    const METADATA: Metadata = Metadata::new("actor", "Actor", "0.0.0");

    fn build(config: Arc<ActorConfig>, cx: ConnectorContext) -> Result<Self, BoxError> {
        let world = WORLDS.lock().unwrap()[&config.world].clone();
        if &*cx.name == "a" {
            world.builds.fetch_add(1, Ordering::SeqCst);
            let build = *world.build.lock().unwrap();
            match build {
                Build::Works => {}
                Build::Fails => return Err("no stage to stand on".into()),
                Build::Panics => panic!("fell off the stage"),
            }
        }
        Ok(Self {
            world,
            name: cx.name,
        })
    }

    fn routes(_: &ActorConfig, routes: &mut Routes<Self>) {
        let name = |name| EventName::try_new(name).unwrap();
        routes
            .before::<Play>()
            .on::<Play>()
            .after::<Play>()
            .on::<Encore>()
            .on::<Attach>()
            .on::<Startup>()
            .on::<Shutdown>()
            .on::<Detach>()
            .on::<Double>()
            .before::<Lit>()
            .on::<Lit>()
            .after::<Lit>()
            .dynamic(name("whisper"), Stage::On, |actor, event, _| async move {
                Ok(Some(json!({"heard": event.args, "by": &*actor.name})))
            })
            .dynamic(name("whisper"), Stage::Before, |_, event, _| async move {
                match event.args.get("secret") {
                    Some(_) => Err(BeforeError::veto("walls have ears")),
                    None => Ok(None),
                }
            })
            .dynamic(
                name("whisper"),
                Stage::After,
                |actor, event, _| async move {
                    actor
                        .world
                        .note(format!("{} after: {}", actor.name, event.args));
                    Ok(None)
                },
            )
            .dynamic(
                name("double"),
                Stage::Before,
                |actor, event, _| async move {
                    actor
                        .world
                        .note(format!("{} before: {}", actor.name, event.args));
                    Ok(None)
                },
            )
            .dynamic(name("double"), Stage::After, |actor, event, _| async move {
                actor
                    .world
                    .note(format!("{} after: {}", actor.name, event.args));
                Ok(None)
            });
    }
}

impl Before<Play> for Actor {
    async fn before(&self, play: &Play, cx: &HandlerContext) -> Result<(), BeforeError> {
        play.perform(cx, None).await.map(drop)
    }
}

pub(crate) fn only_failures(error: BeforeError) -> EventError {
    match error {
        BeforeError::Failed(error) => error,
        BeforeError::Veto(reason) => panic!("no veto here: {reason}"),
    }
}

impl On<Play> for Actor {
    async fn on(&self, play: &Play, cx: &HandlerContext) -> Result<u64, EventError> {
        let number = play.perform(cx, Some(0)).await.map_err(only_failures)?;
        Ok(number.unwrap_or(0))
    }
}

impl After<Play> for Actor {
    async fn after(
        &self,
        results: &[EventResult<u64>],
        cx: &HandlerContext,
    ) -> Result<(), EventError> {
        let review = self.world.review.lock().unwrap().clone();
        review.map_or(Ok(()), |review| review(results, cx))
    }
}

impl On<Encore> for Actor {
    async fn on(&self, Encore(play): &Encore, cx: &HandlerContext) -> Result<u64, EventError> {
        let number = play.perform(cx, Some(0)).await.map_err(only_failures)?;
        Ok(number.unwrap_or(0))
    }
}

impl On<Double> for Actor {
    async fn on(&self, Double(number): &Double, _: &HandlerContext) -> Result<u64, EventError> {
        Ok(number * 2)
    }
}

impl On<Attach> for Actor {
    async fn on(&self, _: &Attach, cx: &HandlerContext) -> Result<(), EventError> {
        self.world.note(format!("{} {}", self.name, cx.event()));
        let part = self.world.attach.lock().unwrap().clone();
        match part {
            Some(part) => part(cx).await.map(drop).map_err(only_failures),
            None => Ok(()),
        }
    }
}

impl On<Startup> for Actor {
    async fn on(&self, _: &Startup, cx: &HandlerContext) -> Result<(), EventError> {
        self.world.note(format!("{} {}", self.name, cx.event()));
        let part = self.world.startup.lock().unwrap().clone();
        match part {
            Some(part) => part(cx).await.map(drop).map_err(only_failures),
            None => Ok(()),
        }
    }
}

impl On<Shutdown> for Actor {
    async fn on(&self, _: &Shutdown, cx: &HandlerContext) -> Result<(), EventError> {
        self.world.bids_farewell(cx)
    }
}

impl On<Detach> for Actor {
    async fn on(&self, _: &Detach, cx: &HandlerContext) -> Result<(), EventError> {
        self.world.bids_farewell(cx)
    }
}
