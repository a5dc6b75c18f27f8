//! Optimizers that give no usable answer are kept off (`spec/optimizer-protocol.md` §11, §12).

use serde_json::json;
use servo_assembly::Phase;
use servo_doubles::{Fault, On, Script};

use crate::stage::{SECOND, Setting, Stage};

/// A hot loop would ask hundreds of times.
async fn is_kept_off(stage: &Stage) {
    stage.seen("WHATS_NEXT", 1).await;
    tokio::time::sleep(SECOND / 2).await;
    let asked = stage.count("WHATS_NEXT");
    assert!(asked <= 6, "{asked} times in half a second");
    assert_eq!(stage.restarts_of("optimizer"), 0);
    assert_eq!(stage.count("HELLO"), 1);
    // And goes on when the optimizer does.
    stage.optimizer.heal();
}

#[actix_rt::test]
async fn unusable_answers_are_no_reason_to_hurry() {
    for answer in [
        json!({"cmd": "DANCE", "param": {}}),
        json!({"status": "ok"}),
        json!({"status": "what"}),
        json!([1, 2]),
        json!({"cmd": "SLEEP", "param": {"duration": 0}}),
    ] {
        let stage = Setting::of(Script::new().idle(answer)).start().await;
        is_kept_off(&stage).await;
    }
}

#[actix_rt::test]
async fn neither_are_failures() {
    let arrangements: [fn(&servo_doubles::ScriptedOptimizer); 7] = [
        // Only the exact words mean that another deployment has taken its place (§13).
        |o| o.inject(On::event("WHATS_NEXT").always(), Fault::gone("moved away")),
        |o| o.inject(On::event("WHATS_NEXT").always(), Fault::status(401)),
        |o| o.inject(On::event("WHATS_NEXT").always(), Fault::status(500)),
        |o| {
            o.inject(
                On::event("WHATS_NEXT").always(),
                Fault::redirect("http://127.0.0.1:1/"),
            )
        },
        |o| o.inject(On::event("WHATS_NEXT").always(), Fault::html()),
        |o| o.inject(On::event("WHATS_NEXT").always(), Fault::Reset),
        |o| {
            o.inject(
                On::event("WHATS_NEXT").always(),
                Fault::NotHttp(b"nonsense\r\n\r\n".to_vec()),
            )
        },
    ];
    for arrange in arrangements {
        let stage = Setting::of(Script::new()).before(arrange).start().await;
        is_kept_off(&stage).await;
        assert_ne!(stage.status().phase, Phase::Deprovisioned);
    }
}

#[actix_rt::test]
async fn a_completion_outlives_a_bad_moment_of_the_optimizer() {
    let stage = Setting::of(Script::new().describe("u1"))
        .before(|o| o.inject(On::completion("DESCRIPTION").times(2), Fault::status(503)))
        .start()
        .await;
    stage.seen("WHATS_NEXT", 2).await;
    let completions = stage.completions("DESCRIPTION", 3).await;
    assert_eq!(completions.len(), 3);
    assert_eq!(completions[0], completions[2]);
    assert!(stage.optimizer.exhausted());
}

#[actix_rt::test]
async fn a_completion_with_a_strange_answer_counts_as_delivered() {
    for fault in [
        Fault::html(),
        Fault::empty(),
        Fault::unexpected_event(),
        Fault::RepeatCommand,
    ] {
        let stage = Setting::of(Script::new().describe("u1")).start().await;
        stage
            .optimizer
            .inject(On::completion("DESCRIPTION").although_applied(), fault);
        stage.seen("WHATS_NEXT", 2).await;
        assert_eq!(stage.completions("DESCRIPTION", 1).await.len(), 1);
        assert_eq!(stage.restarts_of("optimizer"), 0);
    }
}
