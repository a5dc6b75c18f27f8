//! What connectors do to a command, and what the optimizer is told (`spec/optimizer-protocol.md` §8).

use serde_json::{Value, json};
use servo_doubles::Script;
use servo_messages::{ErrorKind, EventError};

use crate::stage::{Act, SECOND, Setting};

fn measure() -> Script {
    Script::new().measure("u1", &[], json!({"duration": 0}))
}

async fn told(act: Act) -> Value {
    let stage = Setting::of(measure())
        .act("a", "measure", act)
        .start()
        .await;
    stage.completion("MEASUREMENT").await
}

#[actix_rt::test]
async fn the_kind_of_an_error_decides_the_status() {
    for (error, status, reason) in [
        (
            EventError::aborted("slo-violation", "too slow"),
            "aborted",
            json!("slo-violation"),
        ),
        (
            EventError::adjustment_rejected("start-failed", "too slow"),
            "rejected",
            json!("start-failed"),
        ),
        (
            EventError::adjustment_failed("too slow"),
            "failed",
            Value::Null,
        ),
        (
            EventError::measurement_failed("too slow"),
            "failed",
            Value::Null,
        ),
        (
            EventError::failed("too slow").with_reason("unstable"),
            "failed",
            json!("unstable"),
        ),
        (
            EventError::new(ErrorKind::Unclassified, "too slow").with_reason("unknown"),
            "failed",
            json!("unknown"),
        ),
    ] {
        let completion = told(Act::Fail(error.clone())).await;
        assert_eq!(completion["status"], status, "{error:?}");
        // Optimizers read word for word why something was given up early.
        let message = match status {
            "aborted" => "too slow",
            _ => "a: too slow",
        };
        assert_eq!(completion["message"], message);
        assert_eq!(completion["reason"], reason, "{error:?}");
        assert_eq!(completion["cmd_uid"], "u1");
    }
}

#[actix_rt::test]
async fn of_several_errors_the_most_severe_is_told_with_the_others_beside_it() {
    let stage = Setting::of(Script::new().adjust("u1", "a-web", "workers", json!(3)))
        .act(
            "a",
            "adjust",
            Act::Fail(EventError::adjustment_failed("try again")),
        )
        .act(
            "b",
            "adjust",
            Act::Fail(EventError::adjustment_rejected("unstable", "never")),
        )
        .start()
        .await;
    let completion = stage.completion("ADJUSTMENT").await;
    // Both fail at once; if `a` is heard first, `b` may not have begun.
    if completion["status"] == "rejected" {
        assert_eq!(completion["message"], "b: never");
        assert_eq!(completion["other_messages"], json!(["a: try again"]));
    } else {
        assert_eq!(completion["message"], "a: try again");
    }
}

#[actix_rt::test]
async fn a_panic_is_a_failed_command_and_the_next_one_works() {
    let script = measure().measure("u2", &[], json!({"duration": 0}));
    let stage = Setting::of(script)
        .act("a", "measure", Act::PanicOnce)
        .start()
        .await;
    let completions = stage.completions("MEASUREMENT", 2).await;
    assert_eq!(completions[0]["status"], "failed");
    assert_eq!(completions[0]["reason"], "unknown");
    let message = completions[0]["message"].as_str().unwrap();
    assert!(
        message.starts_with("a: ") && message.contains("lost my way"),
        "{message}"
    );
    assert_eq!(completions[1]["status"], "ok", "{}", completions[1]);
    assert_eq!(completions[1]["metrics"].as_object().unwrap().len(), 2);
    assert_eq!((stage.restarts_of("a"), stage.restarts_of("b")), (1, 0));
    assert_eq!(stage.restarts_of("optimizer"), 0);
    // It has gone through what its servo had gone through.
    let of_a: Vec<String> = stage.world.happened();
    let startups = of_a.iter().filter(|h| *h == "a startup").count();
    assert_eq!(startups, 2);
    assert_eq!(stage.count("HELLO"), 1);
}

#[actix_rt::test]
async fn a_veto_is_told_as_cancelled_and_never_as_an_empty_result() {
    let mut setting = Setting::of(measure());
    setting.veto = Some("market is closed");
    let stage = setting.start().await;
    let completion = stage.completion("MEASUREMENT").await;
    assert_eq!(completion["status"], "cancelled");
    assert_eq!(completion["message"], "b: market is closed");
    assert_eq!(completion.get("metrics"), None);
}

#[actix_rt::test]
async fn an_adjustment_that_nobody_carries_out_is_failed() {
    let mut setting = Setting::of(Script::new().adjust("u1", "a-web", "workers", json!(3)));
    setting.adjusts = false;
    let stage = setting.start().await;
    let completion = stage.completion("ADJUSTMENT").await;
    assert_eq!(completion["status"], "failed");
    let message = completion["message"].as_str().unwrap();
    assert!(message.contains("no connector handled"), "{message}");
}

#[actix_rt::test]
async fn one_that_never_ends_is_ended_by_the_time_it_has() {
    let script = measure().measure("u2", &[], json!({"duration": 0}));
    let stage = Setting::of(script)
        .act("a", "measure", Act::Freeze)
        .policy(|p| {
            p.measure_slack = SECOND / 10;
            p.cancel_grace = SECOND / 10;
        })
        .start()
        .await;
    let completion = stage.completion("MEASUREMENT").await;
    assert_eq!(
        (&completion["status"], &completion["reason"]),
        (&json!("failed"), &json!("timeout"))
    );
    let message = completion["message"].as_str().unwrap();
    assert!(message.contains("still at work: a"), "{message}");
    stage.world.act("a", "measure", Act::Late(SECOND / 1000));
    let completions = stage.completions("MEASUREMENT", 2).await;
    assert_eq!(stage.restarts_of("a"), 1);
    assert_eq!(completions[1]["status"], "ok", "{}", completions[1]);
}

#[actix_rt::test]
async fn the_longest_measurement_that_can_be_told_is_no_panic() {
    let stage = Setting::of(Script::new().measure(
        "u1",
        &[],
        json!({"duration": 1.8e19, "warmup": 1.8e19}),
    ))
    .start()
    .await;
    assert_eq!(stage.completion("MEASUREMENT").await["status"], "ok");
    assert_eq!(stage.restarts_of("optimizer"), 0);
}

#[actix_rt::test]
async fn a_command_that_makes_no_sense_is_answered_and_not_without_end() {
    let senseless = json!({"cmd": "MEASURE", "cmd_uid": "u1", "param": {"metrics": "all", "control": {"duration": "soon"}}});
    let stage = Setting::of(Script::new().then(senseless.clone()).idle(senseless))
        .start()
        .await;
    let completion = stage.completion("MEASUREMENT").await;
    assert_eq!(completion["status"], "failed");
    assert_eq!(completion["reason"], "invalid-command");
    assert_eq!(completion["cmd_uid"], "u1");
    tokio::time::sleep(SECOND / 2).await;
    let polls = stage.count("WHATS_NEXT");
    assert!(polls <= 3, "{polls} times in half a second");
}
