//! Servos that fail, and those beside them (`spec/optimizer-protocol.md` §12, §17).
//!
//! The clock is paused: it moves when everybody waits.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::json;
use servo_assembly::{Phase, ServoHandle, ServoSpec};
use servo_messages::EventError;
use servo_supervision::State;
use tokio::time::{Instant, pause};

use crate::{
    puppet::{Answer, Heard, Puppet, idle, measure, ok},
    stage::{Act, SECOND, SERVO, Scene, Setting, eventually},
};

/// A servo beside that of the scene, which describes itself each second.
async fn neighbour(scene: &Scene, name: &str) -> (Arc<Puppet>, ServoHandle) {
    let puppet = Puppet::with_commands(|before| {
        Answer::Body(match before % 2 {
            0 => json!({"cmd": "DESCRIBE", "cmd_uid": before}),
            _ => json!({"cmd": "SLEEP", "param": {"duration": 1}}),
        })
    });
    let spec = ServoSpec {
        name: name.into(),
        optimizer: Some(puppet.clone()),
        servo_uid: Some(format!("uid of {name}")),
        ..scene.spec.clone()
    };
    let handle = scene.assembly.add(spec).await.unwrap();
    (puppet, handle)
}

/// A neighbour has not noticed anything: it said HELLO once, and goes on.
async fn is_undisturbed((puppet, handle): &(Arc<Puppet>, ServoHandle)) {
    let so_far = puppet.times("DESCRIPTION").len();
    puppet.seen("DESCRIPTION", so_far + 3).await;
    assert_eq!(puppet.times("HELLO").len(), 1);
    assert_eq!(puppet.times("GOODBYE").len(), 0);
    assert_eq!(handle.status().borrow().not_ok, 0);
}

/// §17: what the servo itself breaks on is undone and told, and it begins anew, after a while.
#[actix_rt::test]
async fn a_servo_that_breaks_takes_its_leave_and_begins_anew() {
    pause();
    let puppet = Puppet::with_commands(|before| match before {
        0 => Answer::Panic,
        _ => idle(),
    });
    let scene = Setting::quiet().unhurried().with(puppet.clone()).await;
    let beside = neighbour(&scene, "beside").await;
    puppet.seen("WHATS_NEXT", 2).await;
    let heard = puppet.heard();
    let said: Vec<&str> = heard.iter().map(|h| &*h.event).collect();
    assert_eq!(
        said,
        ["HELLO", "WHATS_NEXT", "GOODBYE", "HELLO", "WHATS_NEXT"]
    );
    assert_eq!(heard[2].param, json!({"reason": "error"}));
    // Its connectors end what they began before they begin again.
    let happened = scene.world.happened();
    let of_a: Vec<&str> = happened
        .iter()
        .filter_map(|h| h.strip_prefix("a "))
        .collect();
    let events = [
        "attach", "startup", "shutdown", "detach", "attach", "startup",
    ];
    // Those of the neighbour, which has connectors of the same names, are among them.
    let mut rest = of_a.iter();
    assert!(events.iter().all(|e| rest.any(|h| h == e)), "{of_a:?}");
    is_undisturbed(&beside).await;
    assert_eq!(scene.restarts_of("optimizer"), 1);
    let path = "root/assembly/beside/optimizer";
    assert_eq!(scene.root.snapshot().find(path).unwrap().restarts, 0);
}

/// §17: restarts come after 1 s at first, after 5 min at last; a servo that cannot be kept alive is
/// set aside, visibly, and tried again.
#[actix_rt::test]
async fn a_servo_that_cannot_be_kept_alive_is_set_aside_and_tried_again() {
    pause();
    let puppet = Puppet::new(|heard: &Heard, before| match (&*heard.event, before) {
        ("WHATS_NEXT", 0..100) => Answer::Panic,
        ("WHATS_NEXT", _) => idle(),
        _ => ok(),
    });
    let scene = Setting::quiet().unhurried().with(puppet.clone()).await;
    let beside = neighbour(&scene, "beside").await;
    let state = || {
        let path = format!("root/assembly/{SERVO}");
        let tree = scene.root.snapshot();
        tree.find(&path).map(|servo| servo.state)
    };
    let parked = async {
        while !matches!(state(), Some(State::Parked { .. })) {
            tokio::time::sleep(SECOND).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3600), parked)
        .await
        .expect("parked");
    let tries = puppet.times("WHATS_NEXT").len();
    is_undisturbed(&beside).await;
    puppet.seen("WHATS_NEXT", tries + 2).await;
    let again = puppet.times("WHATS_NEXT");
    let rest = again[tries] - again[tries - 1];
    assert!((200 * SECOND..=400 * SECOND).contains(&rest), "{rest:?}");
    let before_long: Vec<Duration> = again.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        before_long.iter().all(|gap| *gap <= 400 * SECOND),
        "{before_long:?}"
    );
    // One that is to go, goes at once.
    assert!(scene.end("SIGTERM").await < 26 * SECOND);
    is_undisturbed(&beside).await;
}

/// §12: HELLO that fails for longer than it may, with several servos.
#[actix_rt::test]
async fn a_servo_that_is_not_welcome_tries_again_beside_those_that_are() {
    pause();
    let puppet = Puppet::new(|heard: &Heard, before| match (&*heard.event, before) {
        ("HELLO", 0..200) => Answer::Status(500),
        ("WHATS_NEXT", _) => idle(),
        _ => ok(),
    });
    let scene = Setting::quiet()
        .unhurried()
        .policy(|p| p.connect.max_time = Some(3 * SECOND))
        .with(puppet.clone())
        .await;
    let beside = neighbour(&scene, "beside").await;
    let status = scene.until("told", |s| s.start_failure.is_some()).await;
    assert!(status.last_error.unwrap().1.contains("cannot connect"));
    scene
        .until("asleep", |s| s.phase.name() == "sleeping")
        .await;
    assert_eq!(scene.status().start_failure, None);
    assert_eq!(puppet.times("GOODBYE").len(), 0);
    is_undisturbed(&beside).await;
}

/// Acceptance 47 (the exit code is the program's), §12: those that started shut down, the one that
/// did not does not.
#[actix_rt::test]
async fn those_that_started_shut_down_when_another_could_not_start() {
    pause();
    let puppet = Puppet::with_commands(|_| idle());
    let scene = Setting::quiet()
        .unhurried()
        .act("a", "startup", Act::Late(SECOND))
        .act("b", "startup", Act::Fail(EventError::failed("port taken")))
        .with(puppet.clone())
        .await;
    let status = scene.until("told", |s| s.start_failure.is_some()).await;
    let failure = status.start_failure.unwrap();
    assert!(
        failure.starts_with("startup failed: b: port taken"),
        "{failure}"
    );
    assert_eq!(status.phase, Phase::Ended);
    let heard = puppet.heard();
    let said: Vec<&str> = heard.iter().map(|h| &*h.event).collect();
    assert_eq!(said, ["HELLO", "GOODBYE"]);
    assert_eq!(heard[1].param, json!({"reason": "startup failed"}));
    // `a` was on its way up; `b` has undone what it did by itself.
    assert_eq!(
        (scene.times("a shutdown"), scene.times("b shutdown")),
        (1, 0)
    );
    assert_eq!((scene.times("a detach"), scene.times("b detach")), (1, 1));
    assert!(scene.position("a shutdown") < scene.position("a detach"));
    // It is tried again, from the beginning.
    scene.world.act("b", "startup", Act::Late(SECOND));
    scene.until("up", |s| s.phase.name() == "sleeping").await;
    assert_eq!(scene.times("a attach"), 2);
    assert_eq!(puppet.times("HELLO").len(), 2);
}

/// Acceptance 38: each optimizer hears of its own commands, from its own servo.
#[actix_rt::test]
async fn servos_keep_their_conversations_apart() {
    pause();
    let talk = |uid: &'static str| {
        Puppet::with_commands(move |before| match before {
            0 => measure(uid),
            _ => idle(),
        })
    };
    let (left, right) = (talk("left 1"), talk("right 1"));
    let scene = Setting::quiet()
        .unhurried()
        .policy(|p| {
            p.progress_interval = SECOND;
            p.command_timeout = Some(SECOND);
        })
        .act("a", "measure", Act::Late(30 * SECOND))
        .with(left.clone())
        .await;
    let spec = ServoSpec {
        name: "right".into(),
        servo_uid: Some("deployment-2".to_owned()),
        optimizer: Some(right.clone()),
        ..scene.spec.clone()
    };
    scene.assembly.add(spec).await.unwrap();
    for puppet in [&left, &right] {
        puppet.seen("WHATS_NEXT", 2).await;
    }
    for (puppet, uid, servo_uid) in [
        (left, "left 1", "deployment-1"),
        (right, "right 1", "deployment-2"),
    ] {
        let heard = puppet.heard();
        assert!(heard.iter().all(|h| h.servo_uid == servo_uid));
        let reports: Vec<_> = heard.iter().filter(|h| h.event == "MEASUREMENT").collect();
        assert!(reports.len() > 20, "{}", reports.len());
        assert!(reports.iter().all(|h| h.param["cmd_uid"] == uid));
    }
}

/// Acceptance 39 and 25: neither garbage nor a cancel of one is anything to the other.
#[actix_rt::test]
async fn what_one_optimizer_does_is_nothing_to_the_others() {
    pause();
    for answer in [json!("garbage"), json!({"status": "cancel"})] {
        let puppet = Puppet::new(move |heard: &Heard, before| match (&*heard.event, before) {
            ("WHATS_NEXT", 0) => measure("u1"),
            ("HELLO", _) => ok(),
            _ => Answer::Body(answer.clone()),
        });
        let scene = Setting::quiet()
            .unhurried()
            .policy(|p| p.progress_interval = SECOND)
            .act("a", "measure", Act::Late(10 * SECOND))
            .with(puppet.clone())
            .await;
        let beside = neighbour(&scene, "beside").await;
        scene.until("done", |s| s.finished == 1).await;
        is_undisturbed(&beside).await;
        assert_eq!(scene.restarts_of("optimizer"), 0);
    }
}

/// §17: 300 servos that start together say HELLO soon, and not in one instant.
#[actix_rt::test]
async fn many_servos_do_not_say_hello_in_one_instant() {
    pause();
    let puppet = Puppet::with_commands(|_| idle());
    let scene = Setting::quiet().unhurried().with(puppet.clone()).await;
    let began = Instant::now();
    let adding = (0..300).map(|number| {
        let spec = ServoSpec {
            name: format!("servo {number}").into(),
            connectors: Vec::new(),
            telemetry: BTreeMap::new(),
            ..scene.spec.clone()
        };
        scene.assembly.add(spec)
    });
    let added = futures_util::future::join_all(adding).await;
    assert!(added.iter().all(Result::is_ok));
    assert_eq!(scene.assembly.len(), 301);
    puppet.seen("HELLO", 301).await;
    assert!(began.elapsed() < SECOND / 10, "{:?}", began.elapsed());
    let mut instants = puppet.times("HELLO");
    instants.sort();
    instants.dedup();
    // The clock of the tests has milliseconds: 30 of them, if they are spread.
    assert!(instants.len() >= 10, "{}", instants.len());
    eventually("all asleep", || {
        let all = scene.assembly.servos();
        all.iter()
            .all(|s| s.status().borrow().phase.name() == "sleeping")
    })
    .await;
}
