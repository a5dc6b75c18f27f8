//! Servos that are removed and replaced while they do something (`spec/optimizer-protocol.md` §17).
//!
//! The clock is paused: it moves when everybody waits.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use servo_assembly::{Assembly, AssemblyError, Farewell, ServoSpec};
use servo_dispatch::{Message, SubscribeOptions};
use tokio::time::{Instant, pause};

use crate::{
    puppet::{Answer, Heard, Puppet, idle, measure, ok},
    stage::{Act, SECOND, SERVO, Scene, Setting},
};

/// One measurement of `takes`, by a servo that is at work on it.
async fn at_work(takes: Duration) -> (Arc<Puppet>, Scene) {
    let puppet = Puppet::with_commands(|before| match before {
        0 => measure("u1"),
        _ => idle(),
    });
    let scene = Setting::quiet()
        .unhurried()
        .act("a", "measure", Act::Late(takes))
        .with(puppet.clone())
        .await;
    scene
        .until("at work", |s| s.phase.name() == "executing")
        .await;
    (puppet, scene)
}

fn said(puppet: &Puppet) -> Vec<String> {
    let heard = puppet.heard().into_iter().filter(|h| !h.is_progress());
    heard
        .map(
            |h| match (&*h.event, &h.param["reason"], &h.param["status"]) {
                ("GOODBYE", reason, _) => format!("GOODBYE {}", reason.as_str().unwrap()),
                ("MEASUREMENT", _, status) => format!("MEASUREMENT {}", status.as_str().unwrap()),
                (event, ..) => event.to_owned(),
            },
        )
        .collect()
}

fn other(scene: &Scene, name: &str) -> (Arc<Puppet>, ServoSpec) {
    let puppet = Puppet::with_commands(|_| idle());
    let spec = ServoSpec {
        name: name.into(),
        optimizer: Some(puppet.clone()),
        ..scene.spec.clone()
    };
    (puppet, spec)
}

#[actix_rt::test]
async fn a_servo_that_is_removed_stops_its_command_and_tells_why() {
    pause();
    let (puppet, scene) = at_work(3600 * SECOND).await;
    let took = scene.end("reconfigured").await;
    assert!(took < SECOND, "{took:?}");
    assert_eq!(
        said(&puppet),
        ["HELLO", "WHATS_NEXT", "GOODBYE reconfigured"]
    );
    assert!(matches!(
        scene.assembly.remove(SERVO, "again").await,
        Err(AssemblyError::Unknown(name)) if name == SERVO
    ));
    assert!(scene.assembly.is_empty());
}

#[actix_rt::test]
async fn one_that_may_finish_does_and_takes_no_other_command() {
    pause();
    let (puppet, scene) = at_work(100 * SECOND).await;
    let began = Instant::now();
    let farewell = Farewell::new("reconfigured").finishing(600 * SECOND);
    scene.assembly.remove(SERVO, farewell).await.unwrap();
    assert!(began.elapsed() < 102 * SECOND, "{:?}", began.elapsed());
    assert_eq!(
        said(&puppet),
        [
            "HELLO",
            "WHATS_NEXT",
            "MEASUREMENT ok",
            "GOODBYE reconfigured"
        ]
    );
}

#[actix_rt::test]
async fn one_that_does_not_finish_in_time_is_cancelled() {
    pause();
    let (puppet, scene) = at_work(3600 * SECOND).await;
    let began = Instant::now();
    let farewell = Farewell::new("reconfigured").finishing(60 * SECOND);
    scene.assembly.remove(SERVO, farewell).await.unwrap();
    let took = began.elapsed();
    assert!((60 * SECOND..62 * SECOND).contains(&took), "{took:?}");
    assert_eq!(
        said(&puppet),
        ["HELLO", "WHATS_NEXT", "GOODBYE reconfigured"]
    );
}

#[actix_rt::test]
async fn one_that_may_finish_and_does_nothing_leaves_at_once() {
    pause();
    let puppet = Puppet::with_commands(|_| idle());
    let scene = Setting::quiet().unhurried().with(puppet.clone()).await;
    scene
        .until("asleep", |s| s.phase.name() == "sleeping")
        .await;
    let began = Instant::now();
    let farewell = Farewell::new("reconfigured").finishing(600 * SECOND);
    scene.assembly.remove(SERVO, farewell).await.unwrap();
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    assert_eq!(
        said(&puppet),
        ["HELLO", "WHATS_NEXT", "GOODBYE reconfigured"]
    );
}

/// The optimizer hears that the old one is gone before the new one is there; else it would take the
/// new one for gone.
#[actix_rt::test]
async fn a_servo_that_takes_the_place_of_another_waits_for_its_end() {
    pause();
    let (puppet, scene) = at_work(3600 * SECOND).await;
    let spec = scene.spec.clone();
    let handle = scene
        .assembly
        .replace(SERVO, spec, "reconfigured")
        .await
        .unwrap();
    puppet.seen("WHATS_NEXT", 2).await;
    assert_eq!(
        said(&puppet),
        [
            "HELLO",
            "WHATS_NEXT",
            "GOODBYE reconfigured",
            "HELLO",
            "WHATS_NEXT"
        ]
    );
    let mut status = handle.status();
    status
        .wait_for(|s| s.phase.name() == "sleeping")
        .await
        .unwrap();
    assert_eq!(scene.status().phase.name(), "ended");
    assert_eq!(scene.assembly.len(), 1);
    assert!(scene.assembly.servo(SERVO).is_some());
    let (_, stranger) = other(&scene, "stranger");
    let refused = scene
        .assembly
        .replace("nobody", stranger, "reconfigured")
        .await;
    assert!(matches!(refused, Err(AssemblyError::Unknown(_))));
}

/// A name can be used again as soon as its servo was told to go, wherever that one stands.
#[actix_rt::test]
async fn a_name_is_free_at_once() {
    pause();
    for stuck_in in ["attach", "startup", "measure", "shutdown"] {
        let puppet = Puppet::with_commands(|_| measure("u1"));
        let scene = Setting::quiet()
            .unhurried()
            .act("a", stuck_in, Act::Late(3600 * SECOND))
            .with(puppet.clone())
            .await;
        let at = format!("a {stuck_in}");
        if stuck_in == "shutdown" {
            scene
                .until("up", |s| s.phase.name() == "executing" || s.finished > 0)
                .await;
        } else {
            crate::stage::eventually(&at, || scene.times(&at) == 1).await;
        }
        let assembly: Assembly = scene.assembly.clone();
        let removing = tokio::spawn(async move { assembly.remove(SERVO, "reconfigured").await });
        tokio::task::yield_now().await;
        assert!(scene.assembly.servo(SERVO).is_none());
        let (next, spec) = other(&scene, SERVO);
        let spec = ServoSpec {
            connectors: Vec::new(),
            ..spec
        };
        scene.assembly.add(spec).await.unwrap();
        removing.await.unwrap().unwrap();
        next.seen("WHATS_NEXT", 1).await;
        let last = puppet.heard().pop();
        let first = &next.heard()[0];
        assert!(last.is_none_or(|last| last.at <= first.at), "{stuck_in}");
        assert_eq!(
            said(&puppet)
                .iter()
                .filter(|s| s.starts_with("GOODBYE"))
                .count(),
            usize::from(stuck_in != "attach"),
            "{stuck_in}"
        );
    }
}

/// Whoever asks for a change may be gone before it is made: it is made nevertheless.
#[actix_rt::test]
async fn a_change_is_gone_through_with_though_nobody_waits() {
    pause();
    let (puppet, scene) = at_work(3600 * SECOND).await;
    let (next, spec) = other(&scene, SERVO);
    {
        let replacing = scene.assembly.replace(SERVO, spec, "reconfigured");
        tokio::pin!(replacing);
        assert!(futures_util::poll!(&mut replacing).is_pending());
    }
    next.seen("WHATS_NEXT", 1).await;
    assert_eq!(said(&puppet).last().unwrap(), "GOODBYE reconfigured");
    assert!(scene.assembly.servo(SERVO).is_some());
}

#[test]
fn what_is_asked_of_an_assembly_can_be_awaited_on_any_thread() {
    fn is_send<T: Send>(_: T) {}
    fn all(assembly: &Assembly, spec: ServoSpec) {
        is_send(assembly.add(spec.clone()));
        is_send(assembly.remove("x", "reason"));
        is_send(assembly.replace("x", spec, "reason"));
    }
    let _ = all;
}

/// §16, step 5: what was published is taken before GOODBYE is said, and nothing after it.
#[actix_rt::test]
async fn subscribers_have_had_their_turn_before_goodbye() {
    pause();
    let puppet = Puppet::new(|heard: &Heard, _| match &*heard.event {
        "WHATS_NEXT" => idle(),
        _ => ok(),
    });
    let scene = Setting::quiet().unhurried().with(puppet.clone()).await;
    scene
        .until("asleep", |s| s.phase.name() == "sleeping")
        .await;
    let exchange = scene.handle.dispatcher().unwrap().exchange().clone();
    let mut subscription = exchange
        .subscribe("news", SubscribeOptions::default())
        .unwrap();
    let news = exchange.channel("news").unwrap();
    news.publish(Message::text_of("hear, hear")).await.unwrap();
    let listening = actix_rt::spawn(async move {
        tokio::time::sleep(2 * SECOND).await;
        let taken = subscription.next().await.is_some();
        (taken, Instant::now(), subscription.next().await.is_none())
    });
    scene.end("SIGTERM").await;
    let (taken, at, over) = listening.await.unwrap();
    assert!(taken && over);
    let goodbye = puppet.heard().pop().unwrap();
    assert_eq!(goodbye.event, "GOODBYE");
    assert!(at <= goodbye.at);
    assert!(!exchange.is_running());
}

/// Acceptance 36: the order of the end, while a command is carried out.
#[actix_rt::test]
async fn the_connectors_hear_cancel_shutdown_and_detach_before_goodbye() {
    pause();
    let puppet = Puppet::with_commands(|_| measure("u1"));
    let scene = Setting::quiet()
        .unhurried()
        .act("a", "measure", Act::Report(Vec::new(), SECOND))
        .act("a", "detach", Act::Late(2 * SECOND))
        .with(puppet.clone())
        .await;
    scene
        .until("at work", |s| s.phase.name() == "executing")
        .await;
    let began = Instant::now();
    scene.end("SIGINT").await;
    let order = ["a heard", "a shutdown", "a detach"].map(|what| scene.position(what));
    assert!(order.is_sorted(), "{order:?}");
    let goodbye = puppet.heard().pop().unwrap();
    assert_eq!(goodbye.param, json!({"reason": "SIGINT"}));
    assert!(goodbye.at >= began + 2 * SECOND);
}

/// §16: the end has its own, shorter times, also when it comes amid a cancelled command's grace.
#[actix_rt::test]
async fn a_stop_does_not_wait_for_the_grace_of_a_cancelled_command() {
    pause();
    let puppet = Puppet::new(|heard: &Heard, _| match &*heard.event {
        "WHATS_NEXT" => measure("u1"),
        _ if heard.is_progress() => Answer::Body(json!({"status": "cancel"})),
        _ => ok(),
    });
    let scene = Setting::quiet()
        .unhurried()
        .policy(|p| p.cancel_grace = 300 * SECOND)
        .act("a", "measure", Act::Report(vec![1.0], SECOND))
        .act("b", "measure", Act::Freeze)
        .with(puppet.clone())
        .await;
    puppet.seen("MEASUREMENT", 1).await;
    crate::stage::eventually("a cancelled", || scene.times("a heard") == 1).await;
    let took = scene.end("SIGTERM").await;
    assert!((9 * SECOND..26 * SECOND).contains(&took), "{took:?}");
    let said = said(&puppet);
    assert_eq!(said, ["HELLO", "WHATS_NEXT", "GOODBYE SIGTERM"]);
    assert_eq!(scene.times("a detach"), 1);
}

/// Acceptance 43 in time: nothing is asked, for as long as one looks.
#[actix_rt::test]
async fn a_servo_that_is_not_to_poll_does_not() {
    pause();
    let puppet = Puppet::with_commands(|_| Answer::Hang);
    let scene = Setting::quiet()
        .unhurried()
        .policy(|p| p.polling = servo_assembly::Polling::Never)
        .with(puppet.clone())
        .await;
    scene.until("idle", |s| s.phase.name() == "idle").await;
    tokio::time::sleep(3600 * SECOND).await;
    scene.end("SIGTERM").await;
    assert_eq!(said(&puppet), ["HELLO", "GOODBYE SIGTERM"]);
}
