//! Servos that are stopped, and servos that do not come up (`spec/optimizer-protocol.md` §12, §16).

use std::time::Duration;

use serde_json::json;
use servo_doubles::{Fault, On, Script, ScriptedOptimizer};
use servo_messages::EventError;

use crate::stage::{Act, LONG, SECOND, Setting, eventually};

fn long_measure() -> Script {
    Script::new().measure("u1", &[], json!({"duration": "1h"}))
}

#[actix_rt::test]
async fn a_stop_in_the_middle_of_a_measurement_undoes_everything_in_order() {
    let stage = Setting::of(long_measure())
        .act("a", "measure", Act::Report(vec![1.0], SECOND))
        .act("b", "measure", Act::Report(Vec::new(), SECOND))
        .start()
        .await;
    eventually("b at work", || {
        stage.world.happened().contains(&"b measure".to_owned())
    })
    .await;
    let took = stage.end("SIGINT").await;
    assert!(took < SECOND, "{took:?}");
    assert_eq!(stage.goodbye().await, "SIGINT");
    for connector in ["a", "b"] {
        let shut_down = stage.position(&format!("{connector} shutdown"));
        assert!(shut_down < stage.position(&format!("{connector} detach")));
    }
    assert!(stage.position("b heard") < stage.position("b shutdown"));
    let received = stage.optimizer.received();
    assert!(!received.iter().any(|r| r.completes("MEASUREMENT")));
    assert_eq!(received.last().unwrap().event, "GOODBYE");
}

#[actix_rt::test]
async fn a_stop_is_bounded_whatever_the_connectors_and_the_optimizer_do() {
    let stage = Setting::of(long_measure())
        .act("a", "measure", Act::Freeze)
        .act("a", "shutdown", Act::Freeze)
        .act("b", "detach", Act::Freeze)
        .before(|o| o.inject(On::event("GOODBYE").always(), Fault::Stall))
        .start()
        .await;
    eventually("a at work", || {
        stage.world.happened().contains(&"a measure".to_owned())
    })
    .await;
    let took = stage.end("SIGTERM").await;
    // 0.5 s for the command, 1 s for the connectors, 1 s for GOODBYE, and what enforcing it takes.
    assert!(took < Duration::from_secs(5), "{took:?}");
    stage.position("b shutdown");
}

#[actix_rt::test]
async fn a_stop_while_sleeping_or_waiting_is_at_once() {
    for script in [Script::new(), Script::new().idle(json!({"status": "ok"}))] {
        let stage = Setting::of(script).start().await;
        stage.seen("WHATS_NEXT", 1).await;
        let took = stage.end("SIGTERM").await;
        assert!(took < SECOND, "{took:?}");
        assert_eq!(stage.goodbye().await, "SIGTERM");
    }
}

/// `spec/events-and-checks.md` §7.19.
#[actix_rt::test]
async fn servos_come_and_go_while_others_run() {
    let stage = Setting::of(Script::new()).start().await;
    stage.seen("WHATS_NEXT", 1).await;
    let idle = json!({"cmd": "SLEEP", "param": {"duration": "10ms"}});
    let second = ScriptedOptimizer::start(Script::new().idle(idle));
    let taken = stage.add("dev.opsani.com/app1", &second).await;
    assert!(taken.is_err_and(|e| e.to_string().contains("dev.opsani.com/app1")));
    assert_eq!(second.events(), Vec::<String>::new());
    stage.add("second", &second).await.unwrap();
    let polls = |at_least: usize| {
        second.until(LONG, move |received| {
            received.iter().filter(|r| r.event == "WHATS_NEXT").count() >= at_least
        })
    };
    polls(1).await.unwrap();
    assert_eq!(second.events()[..2], ["HELLO", "WHATS_NEXT"]);
    stage.end("replaced").await;
    assert_eq!(stage.goodbye().await, "replaced");
    polls(second.events().len() + 1).await.unwrap();
    assert!(!second.events().contains(&"GOODBYE".to_owned()));
    // Its name is free.
    let third = ScriptedOptimizer::start(Script::new());
    stage.add("dev.opsani.com/app1", &third).await.unwrap();
    let greeted = third.until(LONG, |received| received.iter().any(|r| r.event == "HELLO"));
    greeted.await.unwrap();
}

#[actix_rt::test]
async fn one_that_cannot_attach_says_no_hello() {
    let stage = Setting::of(Script::new())
        .act("b", "attach", Act::Fail(EventError::failed("no such host")))
        .start()
        .await;
    eventually("told", || {
        stage.handle.status().borrow().start_failure.is_some()
    })
    .await;
    let failure = stage
        .handle
        .status()
        .borrow()
        .start_failure
        .clone()
        .unwrap();
    assert!(failure.contains("b: no such host"), "{failure}");
    assert_eq!(stage.count("HELLO") + stage.count("GOODBYE"), 0);
    stage.position("a detach");
}

#[actix_rt::test]
async fn one_that_cannot_start_up_takes_its_leave() {
    let stage = Setting::of(Script::new())
        .act("b", "startup", Act::Fail(EventError::failed("port taken")))
        .start()
        .await;
    assert_eq!(stage.goodbye().await, "startup failed");
    stage.position("a shutdown");
    stage.position("a detach");
    eventually("told", || {
        stage.handle.status().borrow().start_failure.is_some()
    })
    .await;
    let failure = stage
        .handle
        .status()
        .borrow()
        .start_failure
        .clone()
        .unwrap();
    assert_eq!(failure, "startup failed: b: port taken");
    assert_eq!(stage.count("WHATS_NEXT"), 0);
}

#[actix_rt::test]
async fn hello_is_said_until_it_is_welcome() {
    let stage = Setting::of(Script::new())
        .before(|o| {
            o.inject(
                On::event("HELLO"),
                Fault::Answer(json!({"status": "invalid", "reason": "not yet"})),
            );
            o.inject(On::event("HELLO"), Fault::status(503));
        })
        .start()
        .await;
    stage.seen("WHATS_NEXT", 1).await;
    assert_eq!(stage.count("HELLO"), 3);
}
