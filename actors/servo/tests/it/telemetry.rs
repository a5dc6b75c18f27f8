//! What HELLO tells of the connectors (`spec/optimizer-protocol.md` §18).

use std::sync::Arc;

use serde_json::{Value, json};
use servo_assembly::Phase;
use servo_dispatch::NewConnector;
use servo_doubles::Script;
use tokio::time::pause;

use crate::{
    puppet::{Answer, Heard, Puppet, idle, measure, ok},
    stage::{Act, SECOND, Scene, Setting},
};

/// What each HELLO has told.
fn told(puppet: &Puppet) -> Vec<Value> {
    let hellos = puppet.heard().into_iter().filter(|h| h.event == "HELLO");
    hellos
        .map(|hello| hello.param["telemetry"].clone())
        .collect()
}

/// Says after each of the first HELLOs that another deployment has its place, so that it comes again
/// in an hour.
fn forgetful(hellos: usize) -> Arc<Puppet> {
    Puppet::with_commands(move |before| match before {
        _ if before < hellos => Answer::Replaced,
        _ => idle(),
    })
}

async fn rests(scene: &Scene) {
    let deprovisioned = scene.until("at rest", |s| s.phase == Phase::Deprovisioned);
    deprovisioned.await;
}

#[actix_rt::test]
async fn hello_tells_what_connectors_found_when_they_attached() {
    let stage = Setting::of(Script::new())
        .act("a", "attach", Act::Tell("version", "1.30"))
        .act("b", "attach", Act::Tell("platform", "linux/arm64"))
        .start()
        .await;
    stage.seen("WHATS_NEXT", 1).await;
    let received = stage.optimizer.received();
    assert_eq!(
        received[0].param["telemetry"],
        json!({"servo.version": "0.1.0", "a.version": "1.30", "b.platform": "linux/arm64"})
    );
    assert_eq!(stage.optimizer.violations(), Vec::<String>::new());
    let dispatcher = stage.handle.dispatcher().unwrap();
    assert_eq!(dispatcher.telemetry().len(), 2);
    stage.end("bye").await;
    assert!(dispatcher.telemetry().is_empty());
}

#[actix_rt::test]
async fn each_later_hello_tells_what_stands_then() {
    pause();
    let puppet = forgetful(2);
    let scene = Setting::quiet()
        .unhurried()
        .act("a", "attach", Act::Tell("version", "1.30"))
        // HELLO comes ahead of `startup`.
        .act("b", "startup", Act::Tell("platform", "linux/arm64"))
        .act("servo", "attach", Act::Tell("version", "mine"))
        .with(puppet.clone())
        .await;
    rests(&scene).await;
    puppet.seen("HELLO", 2).await;
    rests(&scene).await;
    // What the servo tells of itself is not for a connector to say, whatever its name.
    let probe = scene.spec.connectors[0].1.clone();
    let impostor = NewConnector::new("servo", probe);
    scene.handle.add_connector(impostor).await.unwrap();
    let dispatcher = scene.handle.dispatcher().unwrap();
    assert_eq!(dispatcher.telemetry()["servo.version"], "mine");
    scene.handle.remove_connector("a").await.unwrap();
    puppet.seen("HELLO", 3).await;
    assert_eq!(
        told(&puppet),
        [
            json!({"servo.version": "0.1.0", "a.version": "1.30"}),
            json!({"servo.version": "0.1.0", "a.version": "1.30", "b.platform": "linux/arm64"}),
            json!({"servo.version": "0.1.0", "b.platform": "linux/arm64"}),
        ]
    );
}

/// §13: the optimizer is greeted anew once a connector had to be replaced.
#[actix_rt::test]
async fn hello_waits_for_a_connector_that_was_replaced_and_had_something_to_tell() {
    pause();
    let puppet = Puppet::new(|heard: &Heard, before| match (&*heard.event, before) {
        ("WHATS_NEXT", 0) => measure("u1"),
        ("WHATS_NEXT", _) => idle(),
        _ if heard.is_progress() => Answer::Body(json!({"status": "cancel", "reason": "enough"})),
        _ => ok(),
    });
    let scene = Setting::quiet()
        .unhurried()
        .act("a", "attach", Act::Tell("version", "1.30"))
        .act("b", "attach", Act::Tell("version", "7"))
        .act("a", "measure", Act::Report(vec![1.0], SECOND))
        .act("b", "measure", Act::Freeze)
        .with(puppet.clone())
        .await;
    puppet.seen("WHATS_NEXT", 2).await;
    let all = json!({"servo.version": "0.1.0", "a.version": "1.30", "b.version": "7"});
    assert_eq!(told(&puppet), [all.clone(), all]);
    assert_eq!(scene.restarts_of("b"), 1);
}
