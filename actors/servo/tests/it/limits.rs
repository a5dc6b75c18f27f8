//! How long commands take, and how many at a time (`spec/optimizer-protocol.md` §9, §10, §13, §17).
//!
//! The clock is paused: it moves when everybody waits.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use servo_assembly::{CommandOutcome, Phase, ServoHandle, ServoObserver, ServoSpec};
use servo_messages::Status;
use servo_protocol::Operation;
use tokio::{
    sync::Semaphore,
    time::{Instant, pause},
};

use crate::{
    puppet::{Answer, Heard, Puppet, idle, measure, ok},
    stage::{Act, SECOND, Scene, Setting, eventually},
};

/// Counts what it is told.
#[derive(Default)]
struct Counting(Mutex<Vec<(Operation, CommandOutcome, Duration)>>);

impl ServoObserver for Counting {
    fn command(&self, operation: Operation, outcome: CommandOutcome, took: Duration) {
        self.0.lock().unwrap().push((operation, outcome, took));
    }
}

/// One measurement, then nothing to do.
fn one_measurement(control: serde_json::Value) -> Arc<Puppet> {
    Puppet::with_commands(move |before| match before {
        0 => Answer::Body(json!({
            "cmd": "MEASURE", "cmd_uid": "u1",
            "param": {"metrics": [], "control": control}
        })),
        _ => idle(),
    })
}

/// §10: `command_timeout`, which for MEASURE is added to what it asks for.
#[actix_rt::test]
async fn a_command_that_takes_longer_than_it_may_is_ended_and_told() {
    pause();
    let puppet = one_measurement(json!({"duration": 100, "warmup": 20, "delay": 3}));
    let scene = Setting::quiet()
        .unhurried()
        .policy(|p| p.command_timeout = Some(10 * SECOND))
        .act("a", "measure", Act::Report(Vec::new(), SECOND))
        .with(puppet.clone())
        .await;
    scene
        .until("at work", |s| s.phase.name() == "executing")
        .await;
    let began = Instant::now();
    scene.until("told", |s| s.finished == 1).await;
    let took = began.elapsed();
    assert!((133 * SECOND..135 * SECOND).contains(&took), "{took:?}");
    puppet.seen("WHATS_NEXT", 2).await;
    let completions: Vec<_> = puppet
        .heard()
        .into_iter()
        .filter(Heard::is_completion)
        .collect();
    assert_eq!(completions.len(), 1);
    assert_eq!(completions[0].param["status"], "failed");
    assert_eq!(completions[0].param["reason"], "timeout");
    // It stopped when it was told to: nobody was replaced, and the optimizer hears nothing of it.
    assert_eq!(scene.times("a heard"), 1);
    assert_eq!(puppet.times("HELLO").len(), 1);
}

/// §10: ADJUST and DESCRIBE.
#[actix_rt::test]
async fn other_commands_have_that_time_alone() {
    pause();
    for (command, event, settlement) in [
        (json!({"cmd": "DESCRIBE", "cmd_uid": "u1"}), "describe", 0),
        (
            json!({"cmd": "ADJUST", "cmd_uid": "u1", "param": {
                "state": {"application": {"components": {"a-web": {"settings": {"workers": {"value": 2}}}}}},
                "control": {"settlement": 60}}}),
            "adjust",
            60,
        ),
    ] {
        let puppet = Puppet::with_commands(move |before| match before {
            0 => Answer::Body(command.clone()),
            _ => idle(),
        });
        let scene = Setting::quiet()
            .unhurried()
            .policy(|p| p.command_timeout = Some(10 * SECOND))
            .act("a", event, Act::Report(Vec::new(), SECOND))
            .with(puppet.clone())
            .await;
        let status = scene.until("told", |s| s.finished == 1).await;
        let last = status.last.unwrap();
        assert_eq!(last.status, Status::Failed);
        let expected = SECOND * (10 + settlement);
        assert!(
            last.took >= expected && last.took < expected + 2 * SECOND,
            "{last:?}"
        );
        let (_, error) = status.last_error.unwrap();
        assert!(error.contains("did not end within"), "{error}");
    }
}

/// Acceptance 24.
#[actix_rt::test]
async fn a_silent_measurement_is_heard_of_each_interval() {
    pause();
    let puppet = one_measurement(json!({"duration": 5}));
    let scene = Setting::quiet()
        .unhurried()
        .policy(|p| p.progress_interval = SECOND)
        .act("a", "measure", Act::Late(5 * SECOND))
        .with(puppet.clone())
        .await;
    scene.until("done", |s| s.finished == 1).await;
    let reports: Vec<_> = puppet
        .heard()
        .into_iter()
        .filter(Heard::is_progress)
        .collect();
    assert!((3..=5).contains(&reports.len()), "{reports:?}");
    for report in reports {
        assert_eq!(report.param["cmd_uid"], "u1");
        assert_eq!(report.param["progress"], 0.0);
    }
}

/// Acceptance 23.
#[actix_rt::test]
async fn progress_rises_and_ends_with_the_outcome() {
    pause();
    let puppet = one_measurement(json!({"duration": 3}));
    let scene = Setting::quiet()
        .unhurried()
        .policy(|p| p.command_timeout = Some(SECOND))
        .act("a", "measure", Act::Report(vec![33.3, 66.6, 100.0], SECOND))
        .with(puppet.clone())
        .await;
    scene
        .until("half way", |s| {
            s.command
                .as_ref()
                .is_some_and(|c| c.percent == 66.6 && c.message.as_deref() == Some("a at 66.6"))
        })
        .await;
    puppet.seen("WHATS_NEXT", 2).await;
    let heard = puppet.heard();
    let outcome = heard.iter().position(Heard::is_completion).unwrap();
    let last = heard.iter().rposition(Heard::is_progress).unwrap();
    assert!(last < outcome);
    let reports: Vec<_> = heard.iter().filter(|h| h.is_progress()).collect();
    let percents: Vec<f64> = reports
        .iter()
        .map(|r| r.param["progress"].as_f64().unwrap())
        .collect();
    assert!(percents.len() >= 2 && percents.is_sorted(), "{percents:?}");
    assert!(percents.iter().all(|p| *p < 100.0), "{percents:?}");
    for report in reports {
        assert!(report.param["runtime"].is_number());
        assert_eq!(report.param["cmd_uid"], "u1");
        let message = report.param["message"].as_str().unwrap();
        assert!(
            message.starts_with("a at ") && !message.contains('\n'),
            "{message}"
        );
    }
}

/// §13: the connector that does not stop is restarted, and the optimizer hears `restarting` and
/// HELLO; in no other case.
#[actix_rt::test]
async fn a_connector_that_does_not_stop_is_replaced_and_the_optimizer_is_told() {
    pause();
    for (answer, outcome) in [
        (json!({"status": "cancel", "reason": "enough"}), true),
        (json!({"status": "unexpected-event"}), false),
        (
            json!({"status": "invalid", "reason": "unexpected cmd_uid"}),
            false,
        ),
    ] {
        let puppet = Puppet::new(move |heard: &Heard, before| match (&*heard.event, before) {
            ("WHATS_NEXT", 0) => measure("u1"),
            ("WHATS_NEXT", _) => idle(),
            _ if heard.is_progress() => Answer::Body(answer.clone()),
            _ => ok(),
        });
        let scene = Setting::quiet()
            .unhurried()
            .act("a", "measure", Act::Report(vec![1.0], SECOND))
            .act("b", "measure", Act::Freeze)
            .with(puppet.clone())
            .await;
        puppet.seen("WHATS_NEXT", 2).await;
        let said: Vec<String> = puppet
            .heard()
            .into_iter()
            .filter(|h| !h.is_progress())
            .map(|h| match h.event.as_str() {
                "GOODBYE" => format!("GOODBYE {}", h.param["reason"].as_str().unwrap()),
                "MEASUREMENT" => format!("MEASUREMENT {}", h.param["status"].as_str().unwrap()),
                event => event.to_owned(),
            })
            .collect();
        let mut expected = vec!["HELLO", "WHATS_NEXT"];
        if outcome {
            expected.push("MEASUREMENT cancelled");
        }
        expected.extend(["GOODBYE restarting", "HELLO", "WHATS_NEXT"]);
        assert_eq!(said, expected);
        eventually("b replaced", || scene.times("b startup") == 2).await;
        assert_eq!((scene.restarts_of("a"), scene.restarts_of("b")), (0, 1));
        // It goes through what its servo has gone through; the others go through nothing.
        let counts = [
            "a attach",
            "a startup",
            "a shutdown",
            "b attach",
            "b startup",
        ];
        let counts = counts.map(|what| scene.times(what));
        assert_eq!(counts, [1, 1, 0, 2, 2]);
        assert_eq!(scene.restarts_of("optimizer"), 0);
    }
}

/// Servos of one scene, of which each measures for two seconds.
async fn crowd(limit: usize, servos: usize) -> (Scene, Vec<(Arc<Puppet>, ServoHandle)>) {
    let commands = Arc::new(Semaphore::new(limit));
    let first = Puppet::with_commands(|_| idle());
    let scene = Setting::quiet()
        .unhurried()
        .policy(|p| {
            p.commands = Some(commands);
            p.progress_interval = SECOND / 2;
        })
        .act("a", "measure", Act::Late(2 * SECOND))
        .with(first)
        .await;
    let mut all = Vec::new();
    for number in 0..servos {
        let puppet = Puppet::with_commands(|before| match before {
            0 | 1 => measure("u1"),
            _ => idle(),
        });
        let spec = ServoSpec {
            name: format!("servo {number}").into(),
            optimizer: Some(puppet.clone()),
            ..scene.spec.clone()
        };
        all.push((puppet, scene.assembly.add(spec).await.unwrap()));
    }
    (scene, all)
}

/// Acceptance 41: and those who wait keep their optimizers informed, and come to their turn.
#[actix_rt::test]
async fn no_more_commands_are_carried_out_at_a_time_than_may_be() {
    pause();
    let began = Instant::now();
    let (scene, servos) = crowd(1, 3).await;
    for (_, handle) in &servos {
        let mut status = handle.status();
        status.wait_for(|s| s.finished == 2).await.unwrap();
    }
    // Six measurements of two seconds, one after the other.
    assert!(began.elapsed() >= 12 * SECOND, "{:?}", began.elapsed());
    assert_eq!(scene.times("a measure"), 6);
    for (puppet, _) in &servos {
        let heard = puppet.heard();
        assert_eq!(heard.iter().filter(|h| h.is_completion()).count(), 2);
        assert!(
            heard
                .iter()
                .filter(|h| h.is_completion())
                .all(|h| h.param["status"] == "ok")
        );
    }
    let waited = servos.iter().flat_map(|(puppet, _)| puppet.heard());
    let waited = waited.filter(|h| h.is_progress() && h.param["message"] == "waiting for its turn");
    let waited: Vec<_> = waited.collect();
    assert!(waited.len() >= 6, "{}", waited.len());
    assert!(waited.iter().all(|h| h.param["progress"] == 0.0));
}

/// §17: a command that waits for its turn can be cancelled, and its servo stopped.
#[actix_rt::test]
async fn whoever_waits_for_a_turn_hears_a_cancel_and_a_stop() {
    pause();
    let commands = Arc::new(Semaphore::new(0));
    let puppet = Puppet::new(move |heard: &Heard, before| match (&*heard.event, before) {
        ("WHATS_NEXT", 0 | 1) => measure("u1"),
        ("MEASUREMENT", 0) => Answer::Body(json!({"status": "cancel"})),
        _ => ok(),
    });
    let counting = Arc::<Counting>::default();
    let scene = Setting::quiet()
        .unhurried()
        .policy(|p| {
            p.commands = Some(commands);
            p.observer = Some(counting.clone());
        })
        .with(puppet.clone())
        .await;
    scene.until("cancelled", |s| s.finished == 1).await;
    let outcome = puppet.heard().into_iter().find(Heard::is_completion);
    puppet.seen("WHATS_NEXT", 2).await;
    let outcome = outcome
        .or_else(|| puppet.heard().into_iter().find(Heard::is_completion))
        .unwrap();
    assert_eq!(outcome.param["status"], "cancelled");
    assert_eq!(outcome.param["message"], "Command cancelled");
    let status = scene
        .until("the next", |s| {
            s.phase == Phase::Executing(Operation::Measure)
                && s.command.as_ref().is_some_and(|c| c.message.is_some())
        })
        .await;
    assert_eq!(
        status.command.unwrap().message.as_deref(),
        Some("waiting for its turn")
    );
    assert!(scene.end("SIGTERM").await < SECOND);
    assert_eq!(scene.times("a measure"), 0);
    let told: Vec<_> = counting
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|(operation, outcome, _)| (*operation, *outcome))
        .collect();
    assert_eq!(
        told,
        [
            (
                Operation::Measure,
                CommandOutcome::Completed(Status::Cancelled)
            ),
            (Operation::Measure, CommandOutcome::Stopped)
        ]
    );
}

/// What observers are told.
#[actix_rt::test]
async fn each_command_is_told_once_it_is_done_with() {
    pause();
    let puppet = Puppet::new(move |heard: &Heard, before| match (&*heard.event, before) {
        ("WHATS_NEXT", 0) => Answer::Body(json!({"cmd": "DESCRIBE", "cmd_uid": "u0"})),
        ("WHATS_NEXT", 1) => measure("u1"),
        ("WHATS_NEXT", 2) => Answer::Body(json!({"cmd": "ADJUST", "cmd_uid": "u2", "param": {}})),
        ("WHATS_NEXT", _) => idle(),
        _ if heard.is_progress() => Answer::Body(json!({"status": "unexpected-event"})),
        _ => ok(),
    });
    let counting = Arc::<Counting>::default();
    let scene = Setting::quiet()
        .unhurried()
        .policy(|p| p.observer = Some(counting.clone()))
        .act("a", "measure", Act::Report(vec![1.0], SECOND))
        .with(puppet.clone())
        .await;
    puppet.seen("WHATS_NEXT", 4).await;
    let told: Vec<_> = counting
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|(operation, outcome, _)| (*operation, *outcome))
        .collect();
    assert_eq!(
        told,
        [
            (Operation::Describe, CommandOutcome::Completed(Status::Ok)),
            (Operation::Measure, CommandOutcome::Abandoned),
            (Operation::Adjust, CommandOutcome::Completed(Status::Failed))
        ]
    );
    let status = scene
        .until("asleep", |s| s.phase.name() == "sleeping")
        .await;
    assert_eq!((status.finished, status.not_ok), (2, 1));
    // Acceptance 14.
    let refused = puppet
        .heard()
        .into_iter()
        .rfind(Heard::is_completion)
        .unwrap();
    assert_eq!(refused.param["reason"], "invalid-command");
    assert_eq!(refused.param["cmd_uid"], "u2");
    assert!(status.last.unwrap().ended <= std::time::Instant::now());
}
