//! Connectors that come and go while their servo runs (`spec/events-and-checks.md` §7, items 17 to 19).

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use servo_dispatch::{
    BoxError, Connector, ConnectorContext, ConnectorType, DispatchOptions, Every, Message,
    Metadata, Metrics, NewConnector, Routes, SubscribeOptions, Subscription,
};
use servo_doubles::{Script, ScriptedOptimizer};
use servo_messages::EventError;

use crate::stage::{Act, SERVO, Setting, Stage, eventually};

fn probe(stage: &Stage, name: &str) -> NewConnector {
    NewConnector::new(name, stage.spec.connectors[0].1.clone())
}

/// Has nothing to do, and is asked again and again.
fn polled() -> Script {
    Script::new().idle(json!({"cmd": "SLEEP", "param": {"duration": "10ms"}}))
}

async fn running() -> Stage {
    let stage = Setting::of(polled()).start().await;
    stage.seen("WHATS_NEXT", 1).await;
    stage
}

fn connectors(stage: &Stage) -> Vec<String> {
    let dispatcher = stage.handle.dispatcher().unwrap();
    let names = dispatcher.bus().connectors();
    names.iter().map(ToString::to_string).collect()
}

fn children(stage: &Stage) -> Vec<String> {
    let tree = stage.root.snapshot();
    let servo = tree.find(&format!("root/assembly/{SERVO}")).unwrap();
    let paths = servo.children.iter().map(|child| &child.path);
    paths
        .map(|path| path.rsplit('/').next().unwrap().to_owned())
        .collect()
}

#[actix_rt::test]
async fn who_came_stays_and_who_left_stays_away_when_the_servo_is_restarted() {
    let stage = running().await;
    for name in ["newcomer", "passing"] {
        let added = stage.handle.add_connector(probe(&stage, name)).await;
        added.unwrap();
    }
    for name in ["a", "passing"] {
        stage.handle.remove_connector(name).await.unwrap();
    }
    assert_eq!(connectors(&stage), ["b", "newcomer"]);
    for restarts in 1..=2 {
        let tree = stage.root.reference();
        let restarted = tree.restart_child("assembly", crate::stage::LONG).await;
        restarted.unwrap();
        stage.seen("HELLO", restarts + 1).await;
        eventually("both are back", || {
            connectors(&stage) == ["b", "newcomer"]
                && stage.times("newcomer startup") == restarts + 1
        })
        .await;
        assert_eq!(stage.times("newcomer detach"), restarts);
        assert_eq!(stage.times("a attach"), 1);
    }
    // It can be told to leave still.
    stage.handle.remove_connector("newcomer").await.unwrap();
    assert_eq!(connectors(&stage), ["b"]);
    assert_eq!(children(&stage), ["dispatcher", "b", "optimizer"]);
}

#[actix_rt::test]
async fn one_that_joins_attaches_starts_and_answers() {
    let stage = running().await;
    for taken in ["a", SERVO] {
        let refused = stage.handle.add_connector(probe(&stage, taken)).await;
        assert_eq!(
            refused.unwrap_err().to_string(),
            format!("invalid name: a connector named '{taken}' already exists in the servo")
        );
    }
    assert_eq!(connectors(&stage), ["a", "b"]);
    stage
        .handle
        .add_connector(probe(&stage, "newcomer"))
        .await
        .unwrap();
    assert!(stage.position("newcomer attach") < stage.position("newcomer startup"));
    assert_eq!(stage.times("a attach"), 1);
    // It is one of the servo's children, for `servo tree` as well.
    assert_eq!(
        children(&stage),
        ["dispatcher", "a", "b", "optimizer", "newcomer"]
    );
    stage.end("bye").await;
    // It takes its leave with the others, ahead of GOODBYE.
    assert_eq!(stage.times("newcomer shutdown"), 1);
    assert_eq!(stage.times("newcomer detach"), 1);
    let shutdowns = ["a shutdown", "b shutdown", "newcomer shutdown"];
    let detaches = ["a detach", "b detach", "newcomer detach"];
    let last = shutdowns.map(|s| stage.position(s)).into_iter().max();
    let first = detaches.map(|d| stage.position(d)).into_iter().min();
    assert!(last < first, "{:?}", stage.world.happened());
    assert_eq!(stage.goodbye().await, "bye");
}

#[actix_rt::test]
async fn one_whose_attach_fails_is_gone_and_the_servo_goes_on() {
    let stage = running().await;
    let no_room = EventError::failed("no room");
    stage.world.act("newcomer", "attach", Act::Fail(no_room));
    let refused = stage.handle.add_connector(probe(&stage, "newcomer")).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "connector 'newcomer' was not added, because its attach failed: newcomer: no room"
    );
    assert_eq!(connectors(&stage), ["a", "b"]);
    let polls = stage.count("WHATS_NEXT");
    stage.seen("WHATS_NEXT", polls + 1).await;
    assert_eq!((stage.restarts_of("a"), stage.restarts_of("b")), (0, 0));
}

#[actix_rt::test]
async fn one_that_leaves_shuts_down_and_detaches_and_the_servo_goes_on() {
    let stage = running().await;
    stage.handle.remove_connector("a").await.unwrap();
    assert!(stage.position("a shutdown") < stage.position("a detach"));
    assert_eq!(connectors(&stage), ["b"]);
    for unknown in ["a", SERVO] {
        let refused = stage.handle.remove_connector(unknown).await;
        assert_eq!(
            refused.unwrap_err().to_string(),
            format!("invalid connector: a connector named '{unknown}' does not exist in the servo")
        );
    }
    // It is not asked, not restarted, and takes no part in the end.
    let happened = stage.world.happened().len();
    let dispatcher = stage.handle.dispatcher().unwrap();
    let outcome = dispatcher.dispatch(Metrics, DispatchOptions::default());
    outcome.await.unwrap();
    let polls = stage.count("WHATS_NEXT");
    stage.seen("WHATS_NEXT", polls + 1).await;
    stage.end("bye").await;
    let after = stage.world.happened().split_off(happened);
    assert!(after.iter().all(|h| h.starts_with("b ")), "{after:?}");
    let handle = stage.assembly.add(stage.spec.clone()).await.unwrap();
    assert_eq!(handle.started().await.unwrap().bus().connectors().len(), 2);
}

/// Publishes all the time.
struct Pulse;

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
struct PulseConfig {}

impl Connector for Pulse {
    type Config = PulseConfig;
    const METADATA: Metadata = Metadata::new("pulse", "Pulse", "0.0.0");

    fn build(_: Arc<PulseConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Ok(Self)
    }

    fn routes(_: &PulseConfig, routes: &mut Routes<Self>) {
        routes.publish_every(
            "beat",
            ["pulse".parse().expect("a name")],
            Every::new(Duration::from_millis(5)).fixed_rate(),
            |_, _| async { Ok(Some(Message::text_of("beat"))) },
        );
    }
}

async fn beats(pulses: &mut Subscription, count: usize) {
    for _ in 0..count {
        let beat = tokio::time::timeout(crate::stage::LONG, pulses.next()).await;
        assert!(matches!(beat, Ok(Some(_))), "the pulse has stopped");
    }
}

#[actix_rt::test]
async fn what_a_servo_publishes_goes_on_when_another_leaves() {
    let stage = running().await;
    let second_optimizer = ScriptedOptimizer::start(polled());
    let second = stage.add("second", &second_optimizer).await.unwrap();
    let there = second_optimizer.until(crate::stage::LONG, |received| {
        received.iter().any(|r| r.event == "WHATS_NEXT")
    });
    there.await.unwrap();
    let mut pulses = Vec::new();
    for handle in [&stage.handle, &second] {
        let pulse = ConnectorType::configured::<Pulse>(PulseConfig {});
        handle
            .add_connector(NewConnector::new("pulse", pulse))
            .await
            .unwrap();
        let dispatcher = handle.dispatcher().unwrap();
        let exchange = dispatcher.exchange();
        let pulse = exchange.subscribe("pulse", SubscribeOptions::default());
        pulses.push(pulse.unwrap());
    }
    let [of_first, of_second] = &mut pulses[..] else {
        unreachable!()
    };
    beats(of_first, 3).await;
    beats(of_second, 3).await;
    stage.end("making room").await;
    assert_eq!(stage.goodbye().await, "making room");
    // The first one's ends with it; the second one's never falters, and its polling neither.
    let ended = async { while of_first.next().await.is_some() {} };
    tokio::time::timeout(crate::stage::LONG, ended)
        .await
        .unwrap();
    let lost = of_second.lost();
    while of_second.try_next().is_some() {}
    beats(of_second, 20).await;
    assert_eq!(of_second.lost(), lost);
    let polls = |optimizer: &ScriptedOptimizer| {
        let events = optimizer.events();
        events.iter().filter(|e| *e == "WHATS_NEXT").count()
    };
    let before = polls(&second_optimizer);
    let more = second_optimizer.until(crate::stage::LONG, |received| {
        received.iter().filter(|r| r.event == "WHATS_NEXT").count() > before
    });
    more.await.unwrap();
    assert!(!second_optimizer.events().contains(&"GOODBYE".to_owned()));
}
