//! When an optimizer is asked, and when it is left alone (`spec/optimizer-protocol.md` §6.4, §11, §12).
//!
//! The clock is paused: it moves when everybody waits.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use servo_assembly::Phase;
use servo_protocol::Budget;
use tokio::time::{Instant, pause};

use crate::{
    puppet::{Answer, Heard, Puppet, idle, measure, ok},
    stage::{Act, SECOND, Setting},
};

/// The times between requests of this event.
fn gaps(puppet: &Puppet, event: &str) -> Vec<Duration> {
    let times = puppet.times(event);
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Acceptance 17.
#[actix_rt::test]
async fn a_sleep_lasts_as_long_as_it_is_told_to() {
    pause();
    let puppet = Puppet::with_commands(|before| {
        Answer::Body(match before {
            0 => json!({"cmd": "SLEEP", "param": {}}),
            1 => json!({"cmd": "SLEEP"}),
            2 => json!({"cmd": "SLEEP", "param": {"duration": -5}}),
            3 => json!({"cmd": "SLEEP", "param": {"duration": "2s"}}),
            _ => json!({"cmd": "SLEEP", "param": {"duration": 3600}}),
        })
    });
    Setting::quiet().unhurried().with(puppet.clone()).await;
    puppet.seen("WHATS_NEXT", 5).await;
    let slept: Vec<f64> = gaps(&puppet, "WHATS_NEXT")
        .iter()
        .map(|gap| gap.as_secs_f64().round())
        .collect();
    assert_eq!(slept, [120.0, 120.0, 0.0, 2.0]);
}

/// Acceptance 18 and 19: nothing that is no command is a reason to hurry, or to end.
#[actix_rt::test]
async fn answers_that_are_no_commands_are_met_with_patience() {
    pause();
    for answer in [
        json!({"cmd": "DANCE", "param": {}}),
        json!({"status": "ok"}),
        json!({"status": "what"}),
        json!([]),
        json!({"cmd": "MEASURE", "param": {"metrics": 5}}),
    ] {
        let said = answer.clone();
        let puppet = Puppet::with_commands(move |before| match before {
            0..20 => Answer::Body(said.clone()),
            _ => idle(),
        });
        let scene = Setting::quiet().unhurried().with(puppet.clone()).await;
        puppet.seen("WHATS_NEXT", 1).await;
        let first = Instant::now();
        puppet.seen("WHATS_NEXT", 21).await;
        let polls = puppet.times("WHATS_NEXT");
        let hasty = polls.iter().filter(|at| **at - first <= 10 * SECOND);
        assert!(hasty.count() <= 6, "{answer}: {polls:?}");
        let longest = gaps(&puppet, "WHATS_NEXT").into_iter().max().unwrap();
        assert!(longest <= 61 * SECOND, "{answer}: {longest:?}");
        scene
            .until("asleep", |s| matches!(s.phase, Phase::Sleeping { .. }))
            .await;
        assert_eq!(puppet.times("HELLO").len(), 1);
    }
}

/// Acceptance 28, and §11's word on other fatal statuses.
#[actix_rt::test]
async fn a_refused_servo_asks_seldom_and_works_on_when_it_is_let_in() {
    pause();
    for status in [401, 403, 400, 302] {
        static REFUSES: AtomicBool = AtomicBool::new(true);
        REFUSES.store(true, Ordering::Relaxed);
        let puppet = Puppet::with_commands(move |_| match REFUSES.load(Ordering::Relaxed) {
            true => Answer::Status(status),
            false => idle(),
        });
        let scene = Setting::quiet().unhurried().with(puppet.clone()).await;
        puppet.seen("WHATS_NEXT", 1).await;
        let first = Instant::now();
        puppet.seen("WHATS_NEXT", 15).await;
        let polls = puppet.times("WHATS_NEXT");
        let hasty = polls
            .iter()
            .filter(|at| **at - first <= 30 * SECOND)
            .count();
        assert!(hasty < 10, "{status}: {hasty}");
        let longest = gaps(&puppet, "WHATS_NEXT").into_iter().max().unwrap();
        assert!(
            (60 * SECOND..=300 * SECOND).contains(&longest),
            "{longest:?}"
        );
        assert!(scene.handle.outage().is_some());
        REFUSES.store(false, Ordering::Relaxed);
        scene
            .until("asleep", |s| matches!(s.phase, Phase::Sleeping { .. }))
            .await;
        assert_eq!(scene.handle.outage(), None);
        assert_eq!(puppet.times("HELLO").len(), 1);
    }
}

/// Acceptance 30.
#[actix_rt::test]
async fn nothing_is_asked_while_an_outcome_is_on_its_way() {
    pause();
    let puppet = Puppet::new(|heard: &Heard, before| match (&*heard.event, before) {
        ("WHATS_NEXT", 0) => Answer::Body(json!({"cmd": "DESCRIBE", "cmd_uid": 7, "param": null})),
        ("WHATS_NEXT", _) => idle(),
        ("DESCRIPTION", 0..3) => Answer::Status(503),
        _ => ok(),
    });
    Setting::quiet().unhurried().with(puppet.clone()).await;
    puppet.seen("WHATS_NEXT", 2).await;
    assert_eq!(
        puppet.events(),
        [
            "HELLO",
            "WHATS_NEXT",
            "DESCRIPTION",
            "DESCRIPTION",
            "DESCRIPTION",
            "DESCRIPTION",
            "WHATS_NEXT"
        ]
    );
    let heard = puppet.heard();
    assert!(heard[3..6].iter().all(|h| h.param == heard[2].param));
    // A number is echoed as text (§4).
    assert_eq!(heard[2].param["cmd_uid"], "7");
}

/// Acceptance 31, and §11: an outcome is not lost lightly, but not waited for without end.
#[actix_rt::test]
async fn an_optimizer_that_is_gone_for_long_is_waited_for() {
    pause();
    let puppet = Puppet::new(|heard: &Heard, before| match (&*heard.event, before) {
        ("WHATS_NEXT", 0) => Answer::Body(json!({"cmd": "DESCRIBE", "cmd_uid": "u1"})),
        ("WHATS_NEXT", 1..30) | ("DESCRIPTION", _) => Answer::Refuse,
        ("WHATS_NEXT", _) => idle(),
        _ => ok(),
    });
    let scene = Setting::quiet()
        .unhurried()
        .policy(|p| p.requests.max_time = Some(5 * SECOND))
        .with(puppet.clone())
        .await;
    let status = scene
        .until("a lost outcome", |s| s.last_error.is_some())
        .await;
    let (_, error) = status.last_error.unwrap();
    assert!(
        error.contains("the outcome of DESCRIBE could not be delivered"),
        "{error}"
    );
    scene
        .until("asleep", |s| matches!(s.phase, Phase::Sleeping { .. }))
        .await;
    assert_eq!(puppet.times("HELLO").len(), 1);
    // Once the budget is spent it is asked at a pace that is capped.
    let longest = gaps(&puppet, "WHATS_NEXT").into_iter().max().unwrap();
    assert!(longest <= 66 * SECOND, "{longest:?}");
}

/// Acceptance 32.
#[actix_rt::test]
async fn an_optimizer_that_never_answers_is_asked_again() {
    pause();
    let puppet = Puppet::with_commands(|before| match before {
        0 => Answer::Hang,
        _ => idle(),
    });
    let scene = Setting::quiet()
        .unhurried()
        .policy(|p| {
            p.requests = Budget {
                attempt: 2 * SECOND,
                ..Budget::standard()
            };
        })
        .with(puppet.clone())
        .await;
    scene
        .until("asleep", |s| matches!(s.phase, Phase::Sleeping { .. }))
        .await;
    let again = gaps(&puppet, "WHATS_NEXT")[0];
    assert!(
        (2 * SECOND..=3 * SECOND + SECOND / 10).contains(&again),
        "{again:?}"
    );
}

fn unwelcome() -> Value {
    json!({"status": "invalid", "reason": "go away"})
}

/// Acceptance 33: one budget, whatever keeps the servo from being welcome.
#[actix_rt::test]
async fn a_servo_that_is_not_welcome_gives_up_once_its_time_is_over() {
    pause();
    type Refusal = fn(usize) -> Answer;
    let refusals: [Refusal; 4] = [
        |_| Answer::Status(500),
        |_| Answer::Refuse,
        |_| Answer::Body(unwelcome()),
        |before| match before % 2 {
            0 => Answer::Status(500),
            _ => Answer::Body(unwelcome()),
        },
    ];
    for refuse in refusals {
        let puppet = Puppet::new(move |_, before| refuse(before));
        let began = Instant::now();
        let scene = Setting::quiet()
            .unhurried()
            .policy(|p| p.connect.max_time = Some(3 * SECOND))
            .with(puppet.clone())
            .await;
        let status = scene.until("given up", |s| s.start_failure.is_some()).await;
        let took = began.elapsed();
        assert!(
            took >= 3 * SECOND - SECOND / 100 && took <= 5 * SECOND,
            "{took:?}"
        );
        assert!(
            status
                .start_failure
                .unwrap()
                .contains("cannot connect to the optimizer")
        );
        // Acceptance 34; and who was never welcome does not take leave.
        let events = puppet.events();
        assert!(events.iter().all(|e| e == "HELLO"), "{events:?}");
        scene.end("over").await;
    }
}

/// Acceptance 33: the number of tries is one for both kinds of refusal, too.
#[actix_rt::test]
async fn tries_are_counted_over_all_that_goes_wrong() {
    pause();
    let puppet = Puppet::new(move |_, before| match before % 2 {
        0 => Answer::Body(unwelcome()),
        _ => Answer::Status(500),
    });
    let scene = Setting::quiet()
        .unhurried()
        .policy(|p| p.connect.max_tries = Some(4))
        .with(puppet.clone())
        .await;
    scene.until("given up", |s| s.start_failure.is_some()).await;
    assert_eq!(puppet.events().len(), 4);
    scene.end("over").await;
}

/// Acceptance 33: `max_time: null`.
#[actix_rt::test]
async fn without_limits_hello_is_said_for_days() {
    pause();
    let puppet = Puppet::new(|heard: &Heard, before| match (&*heard.event, before) {
        ("HELLO", 0..2_000) => Answer::Status(503),
        ("WHATS_NEXT", _) => idle(),
        _ => ok(),
    });
    let scene = Setting::quiet()
        .unhurried()
        .policy(|p| p.connect.max_time = None)
        .with(puppet.clone())
        .await;
    scene
        .until("asleep", |s| matches!(s.phase, Phase::Sleeping { .. }))
        .await;
    assert_eq!(puppet.times("HELLO").len(), 2_001);
}

/// Acceptance 34: the reason is told.
#[actix_rt::test]
async fn hello_that_is_refused_is_no_connection() {
    pause();
    let puppet = Puppet::new(|heard: &Heard, before| match (&*heard.event, before) {
        ("HELLO", 0..3) => Answer::Body(unwelcome()),
        ("WHATS_NEXT", _) => idle(),
        _ => ok(),
    });
    let scene = Setting::quiet().unhurried().with(puppet.clone()).await;
    let status = scene.until("refused", |s| s.last_error.is_some()).await;
    assert_eq!(status.phase, Phase::Connecting);
    assert_eq!(
        status.last_error.unwrap().1,
        "HELLO was answered invalid: go away"
    );
    assert_eq!(scene.times("a startup"), 0);
    scene
        .until("asleep", |s| matches!(s.phase, Phase::Sleeping { .. }))
        .await;
    assert_eq!(
        puppet.events()[..5],
        ["HELLO", "HELLO", "HELLO", "HELLO", "WHATS_NEXT"]
    );
}

/// Acceptance 27: replaced servos keep quiet for an hour, whichever request tells them, and can be
/// stopped meanwhile; then their GOODBYE would be taken for the other deployment's.
#[actix_rt::test]
async fn a_servo_whose_place_is_taken_keeps_quiet_for_an_hour() {
    pause();
    for told_at in ["HELLO", "WHATS_NEXT", "progress", "completion"] {
        let puppet = Puppet::new(move |heard: &Heard, before| {
            let here = match told_at {
                "progress" => heard.is_progress(),
                "completion" => heard.is_completion(),
                event => heard.event == event && before % 2 == 0,
            };
            match (&*heard.event, told_at) {
                _ if here => Answer::Replaced,
                ("WHATS_NEXT", "completion") => Answer::Body(json!({"cmd": "DESCRIBE"})),
                ("WHATS_NEXT", "progress") => measure("u1"),
                ("WHATS_NEXT", _) => idle(),
                _ => ok(),
            }
        });
        let scene = Setting::quiet()
            .unhurried()
            .act("a", "measure", Act::Report(vec![1.0], SECOND))
            .with(puppet.clone())
            .await;
        scene
            .until("replaced", |s| s.phase == Phase::Deprovisioned)
            .await;
        let (since, before) = (Instant::now(), puppet.events().len());
        puppet
            .until("a HELLO later", |heard| heard.len() > before)
            .await;
        assert_eq!(puppet.events()[before], "HELLO", "{told_at}");
        assert!(since.elapsed() >= 3600 * SECOND, "{told_at}");
        // And again; this time it is stopped.
        if told_at == "HELLO" {
            continue;
        }
        scene
            .until("replaced", |s| s.phase == Phase::Deprovisioned)
            .await;
        let took = scene.end("SIGTERM").await;
        assert!(took < SECOND, "{told_at}: {took:?}");
        assert!(
            !puppet.events().contains(&"GOODBYE".to_owned()),
            "{told_at}"
        );
        assert_eq!(scene.times("a detach"), 1);
    }
}

/// Acceptance 36 and 37: with an optimizer that is gone, the end takes no longer than it may.
#[actix_rt::test]
async fn the_end_is_in_time_though_nobody_hears_goodbye() {
    pause();
    let puppet = Puppet::new(|heard: &Heard, _| match &*heard.event {
        "HELLO" => ok(),
        "WHATS_NEXT" => measure("u1"),
        _ => Answer::Hang,
    });
    let scene = Setting::quiet()
        .unhurried()
        .act("a", "measure", Act::Freeze)
        .act("b", "shutdown", Act::Freeze)
        .act("b", "detach", Act::Freeze)
        .with(puppet.clone())
        .await;
    scene
        .until("at work", |s| s.phase.name() == "executing")
        .await;
    let took = scene.end("SIGTERM").await;
    assert!(took <= 26 * SECOND, "{took:?}");
    assert_eq!(
        puppet.heard().last().unwrap().param,
        json!({"reason": "SIGTERM"})
    );
    assert!(!puppet.heard().iter().any(Heard::is_completion));
}

/// §22: `settings.shutdown_grace` bounds all of it.
#[actix_rt::test]
async fn the_end_takes_no_longer_than_it_is_given() {
    pause();
    let puppet = Puppet::new(|heard: &Heard, _| match &*heard.event {
        "HELLO" => ok(),
        "WHATS_NEXT" => measure("u1"),
        _ => Answer::Hang,
    });
    let scene = Setting::quiet()
        .unhurried()
        .policy(|p| *p = p.clone().ending_within(5 * SECOND))
        .act("a", "measure", Act::Freeze)
        .act("b", "shutdown", Act::Freeze)
        .act("b", "detach", Act::Freeze)
        .with(puppet.clone())
        .await;
    assert_eq!(scene.spec.policy.shutdown_grace(), 5 * SECOND);
    assert_eq!(scene.assembly.shutdown_grace(), 5 * SECOND);
    scene
        .until("at work", |s| s.phase.name() == "executing")
        .await;
    let took = scene.end("SIGTERM").await;
    assert!(took <= 6 * SECOND, "{took:?}");
    assert_eq!(puppet.heard().last().unwrap().event, "GOODBYE");
}

/// §11, §12: commands come as fast as their outcomes are taken. Where none is, or where the same is handed out without
/// end, the servo keeps off the optimizer as where it gives no command at all.
#[actix_rt::test]
async fn an_optimizer_that_does_not_get_on_is_not_hurried() {
    pause();
    type Refusal = fn() -> Answer;
    let refusals: [(Refusal, u64); 7] = [
        (|| Answer::Status(401), 300),
        (|| Answer::Status(413), 300),
        (|| Answer::Body(json!({"status": "unexpected-event"})), 60),
        (|| Answer::Body(json!({"status": "invalid"})), 60),
        (|| Answer::Body(json!({"status": "cancel"})), 60),
        (|| Answer::Body(json!("taken")), 60),
        // Taken, and handed out again.
        (ok, 60),
    ];
    for (refusal, longest) in refusals {
        let puppet = Puppet::new(move |heard: &Heard, before| match (&*heard.event, before) {
            ("WHATS_NEXT", 0..15) => Answer::Body(json!({"cmd": "DESCRIBE", "cmd_uid": "same"})),
            ("WHATS_NEXT", 15..20) => Answer::Body(json!({"cmd": "DESCRIBE", "cmd_uid": before})),
            ("WHATS_NEXT", _) => idle(),
            ("DESCRIPTION", 0..15) => refusal(),
            _ => ok(),
        });
        let scene = Setting::quiet().unhurried().with(puppet.clone()).await;
        scene
            .until("asleep", |s| matches!(s.phase, Phase::Sleeping { .. }))
            .await;
        let between = gaps(&puppet, "WHATS_NEXT");
        // The first may be a misunderstanding.
        assert!(between[0] < SECOND / 10, "{between:?}");
        assert!(
            between[2..15].iter().all(|gap| *gap >= SECOND),
            "{between:?}"
        );
        let longest = Duration::from_secs(longest);
        assert!(
            between.iter().all(|gap| *gap <= longest + SECOND),
            "{between:?}"
        );
        assert!(between[14] >= longest / 3, "{between:?}");
        // It gets on: there is nothing to wait for any more.
        assert!(
            between[15..19].iter().all(|gap| *gap < SECOND / 10),
            "{between:?}"
        );
        assert_eq!(puppet.times("HELLO").len(), 1);
    }
}
