//! From HELLO to GOODBYE, word by word (`spec/optimizer-protocol.md` §5-§7).

use serde_json::{Value, json};
use servo_doubles::Script;

use crate::stage::Setting;

#[actix_rt::test]
async fn a_session_word_by_word() {
    let script = Script::new()
        .describe("u1")
        .measure("u2", &["a_rate"], json!({"duration": 0}))
        .adjust("u3", "a-web", "workers", json!(4))
        .sleep(json!("20ms"));
    let stage = Setting::of(script).start().await;
    stage.seen("WHATS_NEXT", 5).await;
    stage.end("SIGTERM").await;
    let spoken: Vec<(String, Value)> = stage
        .optimizer
        .received()
        .into_iter()
        .map(|r| (r.event, r.param))
        .collect();
    let events: Vec<&str> = spoken.iter().map(|(event, _)| event.as_str()).collect();
    assert_eq!(
        events,
        [
            "HELLO",
            "WHATS_NEXT",
            "DESCRIPTION",
            "WHATS_NEXT",
            "MEASUREMENT",
            "WHATS_NEXT",
            "ADJUSTMENT",
            "WHATS_NEXT",
            "WHATS_NEXT",
            "GOODBYE"
        ]
    );
    let setting = |value: i64| {
        json!({"settings": {"workers":
            {"type": "range", "min": 1, "max": 8, "step": 1, "pinned": false, "value": value}}})
    };
    let described = json!({
        "application": {"components": {"a-web": setting(2), "b-web": setting(2)}},
        "measurement": {"metrics": {"a_rate": {"unit": "rps"}, "b_rate": {"unit": "rps"}}}
    });
    let param = |at: usize| &spoken[at].1;
    assert_eq!(
        param(0),
        &json!({"agent": "github.com/example/servo v0.1.0", "telemetry": {"servo.version": "0.1.0"}})
    );
    assert_eq!(param(1), &Value::Null);
    assert_eq!(param(2)["status"], "ok");
    assert_eq!(param(2)["cmd_uid"], "u1");
    assert_eq!(param(2)["descriptor"], described);
    assert_eq!(param(4)["status"], "ok");
    assert_eq!(param(4)["cmd_uid"], "u2");
    let metrics = param(4)["metrics"].as_object().unwrap();
    assert_eq!(metrics.keys().collect::<Vec<_>>(), ["a_rate", "b_rate"]);
    assert_eq!(metrics["a_rate"], json!({"unit": "rps", "value": 12.5}));
    assert_eq!(param(6)["status"], "ok");
    assert_eq!(param(6)["cmd_uid"], "u3");
    assert_eq!(
        param(6)["state"]["application"]["components"]["a-web"],
        setting(4)
    );
    assert_eq!(param(9), &json!({"reason": "SIGTERM"}));
    for request in stage.optimizer.received() {
        assert_eq!(request.json["servo_uid"], "deployment-1");
        assert_eq!(request.header("authorization"), Some("Bearer hush-hush"));
        assert_eq!(
            request.header("user-agent"),
            Some("github.com/example/servo v0.1.0")
        );
    }
    assert_eq!(stage.optimizer.violations(), Vec::<String>::new());
    assert!(
        stage
            .world
            .happened()
            .contains(&"a sets a-web.workers=4".to_owned())
    );
}

#[actix_rt::test]
async fn attach_comes_before_hello_and_startup_after_it() {
    let stage = Setting::of(Script::new()).start().await;
    stage.seen("WHATS_NEXT", 1).await;
    let mut happened = stage.world.happened();
    assert_eq!(happened.len(), 4);
    happened[..2].sort();
    happened[2..].sort();
    assert_eq!(happened, ["a attach", "b attach", "a startup", "b startup"]);
}
