//! Servos that take no commands, or only those that somebody allows (`spec/optimizer-protocol.md` §10).

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use servo_assembly::{Operator, Phase, Polling, Question};
use servo_doubles::Script;

use crate::stage::{Setting, eventually};

/// Allows the first steps, and none after them.
struct Allowing(Mutex<Vec<Question>>);

impl Operator for Allowing {
    fn allows<'a>(&'a self, _: &'a str, step: Question) -> BoxFuture<'a, bool> {
        let mut expected = self.0.lock().unwrap();
        let allowed = expected.first() == Some(&step);
        if allowed {
            expected.remove(0);
        }
        Box::pin(async move { allowed })
    }
}

fn allowing(steps: &[Question]) -> Setting {
    let operator = Arc::new(Allowing(Mutex::new(steps.to_vec())));
    Setting::of(Script::new().describe("d1"))
        .policy(|policy| policy.polling = Polling::WhenAllowed(operator))
}

#[actix_rt::test]
async fn connected_and_no_more() {
    let stage = Setting::of(Script::new().describe("d1"))
        .policy(|policy| policy.polling = Polling::Never)
        .start()
        .await;
    let status = stage.handle.status();
    eventually("idle", || status.borrow().phase == Phase::Idle).await;
    assert!(stage.world.happened().contains(&"a startup".to_owned()));
    stage.end("SIGTERM").await;
    assert_eq!(stage.optimizer.events(), ["HELLO", "GOODBYE"]);
}

#[actix_rt::test]
async fn a_servo_that_may_not_connect_ends() {
    let stage = allowing(&[]).start().await;
    let status = stage.handle.status();
    eventually("the end", || status.borrow().phase == Phase::Ended).await;
    assert!(stage.world.happened().contains(&"a detach".to_owned()));
    assert_eq!(stage.optimizer.events(), Vec::<String>::new());
}

#[actix_rt::test]
async fn each_command_is_allowed_by_itself() {
    let stage = allowing(&[Question::Connect, Question::Poll]).start().await;
    stage.completion("DESCRIPTION").await;
    let status = stage.handle.status();
    eventually("the second question", || {
        status.borrow().phase == Phase::Polling
    })
    .await;
    stage.end("SIGTERM").await;
    assert_eq!(stage.count("WHATS_NEXT"), 1);
}
