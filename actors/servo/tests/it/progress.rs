//! Progress, and what its answers do to a command (`spec/optimizer-protocol.md` §9, §13).

use std::time::Duration;

use serde_json::{Value, json};
use servo_doubles::{Fault, On, Script};
use servo_messages::Status;

use crate::stage::{Act, SECOND, Setting, Stage, eventually};

const SOON: Duration = Duration::from_millis(20);

fn long_measure() -> Script {
    Script::new().measure("u1", &[], json!({"duration": "1h"}))
}

fn reports(stage: &Stage) -> Vec<Value> {
    let received = stage.optimizer.received();
    let progress = received.iter().filter(|r| r.progresses("MEASUREMENT"));
    progress.map(|r| r.param.clone()).collect()
}

#[actix_rt::test]
async fn a_silent_command_has_a_heartbeat() {
    let stage = Setting::of(long_measure())
        .act("a", "measure", Act::Report(Vec::new(), SOON))
        .policy(|p| p.progress_interval = SOON)
        .start()
        .await;
    stage.seen("MEASUREMENT", 3).await;
    for report in &reports(&stage)[..3] {
        assert_eq!(report["progress"], 0.0);
        assert_eq!(report["cmd_uid"], "u1");
        assert!(report["runtime"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(stage.optimizer.violations(), Vec::<String>::new());
}

#[actix_rt::test]
async fn the_slowest_connector_counts_and_nothing_goes_back() {
    let script = Script::new().measure("u1", &[], json!({"duration": 0}));
    let stage = Setting::of(script)
        .act(
            "a",
            "measure",
            Act::Report(vec![10.0, 50.0, 20.0, 90.0], SOON),
        )
        .act(
            "b",
            "measure",
            Act::Report(vec![5.0, 30.0, 40.0, 60.0], SOON),
        )
        .policy(|p| p.measure_slack = SECOND / 2)
        .start()
        .await;
    let completion = stage.completion("MEASUREMENT").await;
    assert_eq!(completion["reason"], "timeout");
    let percents: Vec<f64> = reports(&stage)
        .iter()
        .map(|r| r["progress"].as_f64().unwrap())
        .collect();
    assert!(percents.is_sorted(), "{percents:?}");
    assert_eq!(percents.last(), Some(&60.0));
    assert!(reports(&stage).iter().any(|r| r["message"] == "b at 60"));
    stage.seen("WHATS_NEXT", 2).await;
    // None that goes back, none after the completion.
    assert_eq!(stage.optimizer.violations(), Vec::<String>::new());
}

async fn interrupted(fault: Fault) -> Stage {
    let stage = Setting::of(long_measure().sleep(json!(60)))
        .act("a", "measure", Act::Report(vec![1.0, 2.0, 3.0], SOON))
        .act("b", "measure", Act::Report(Vec::new(), SOON))
        .start()
        .await;
    stage.optimizer.inject(
        On::progress("MEASUREMENT").always().and_drop_command(),
        fault,
    );
    stage.seen("WHATS_NEXT", 2).await;
    stage
}

#[actix_rt::test]
async fn a_cancelled_command_is_told_as_such_once_its_handlers_have_stopped() {
    let stage = interrupted(Fault::cancel("enough seen")).await;
    let heard = stage.world.happened();
    assert!(heard.contains(&"b heard".to_owned()), "{heard:?}");
    let completions = stage.completions("MEASUREMENT", 1).await;
    assert_eq!(completions.len(), 1);
    assert_eq!(completions[0]["status"], "cancelled");
    assert_eq!(completions[0]["message"], "enough seen");
    assert_eq!(completions[0]["cmd_uid"], "u1");
    let last = stage.handle.status().borrow().last.clone().unwrap();
    assert_eq!(last.status, Status::Cancelled);
    assert_eq!(stage.count("HELLO"), 1);
}

#[actix_rt::test]
async fn one_that_does_not_hear_a_cancel_is_replaced_and_the_answer_is_given() {
    let stage = Setting::of(long_measure().sleep(json!(60)))
        .act("a", "measure", Act::Report(vec![1.0], SOON))
        .act("b", "measure", Act::Freeze)
        .start()
        .await;
    stage
        .optimizer
        .inject(On::progress("MEASUREMENT"), Fault::cancel("enough"));
    let completion = stage.completion("MEASUREMENT").await;
    assert_eq!(completion["status"], "cancelled");
    eventually("b replaced", || stage.restarts_of("b") == 1).await;
    assert_eq!(stage.restarts_of("a"), 0);
}

#[actix_rt::test]
async fn a_command_that_the_optimizer_lost_is_dropped_without_a_word() {
    for fault in [Fault::unexpected_event(), Fault::unexpected_cmd_uid()] {
        let stage = interrupted(fault).await;
        let heard = stage.world.happened();
        assert!(heard.contains(&"b heard".to_owned()), "{heard:?}");
        let received = stage.optimizer.received();
        assert!(!received.iter().any(|r| r.completes("MEASUREMENT")));
        assert_eq!(stage.count("HELLO"), 1);
    }
}

#[actix_rt::test]
async fn another_reason_to_be_invalid_stops_nothing() {
    let stage = Setting::of(long_measure())
        .act("a", "measure", Act::Report(vec![1.0, 2.0, 3.0, 4.0], SOON))
        .start()
        .await;
    let fault = Fault::Answer(json!({"status": "invalid", "reason": "do not like it"}));
    stage
        .optimizer
        .inject(On::progress("MEASUREMENT").times(2), fault);
    stage.seen("MEASUREMENT", 4).await;
    assert_eq!(stage.count("WHATS_NEXT"), 1);
}

#[actix_rt::test]
async fn a_servo_that_was_replaced_falls_silent() {
    let stage = Setting::of(long_measure())
        .act("a", "measure", Act::Report(vec![1.0], SOON))
        .act("b", "measure", Act::Report(Vec::new(), SOON))
        .start()
        .await;
    stage.optimizer.inject(
        On::any().after(2).always(),
        Fault::gone("unexpected servo_uid"),
    );
    eventually("deprovisioned", || {
        stage.handle.status().borrow().phase == servo_assembly::Phase::Deprovisioned
    })
    .await;
    assert!(stage.world.happened().contains(&"b heard".to_owned()));
    let before = stage.optimizer.events().len();
    tokio::time::sleep(SECOND / 5).await;
    assert_eq!(stage.optimizer.events().len(), before);
}
