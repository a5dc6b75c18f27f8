//! Callers always get an answer, or the reason why there is none.

use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use servo_supervision::{AskError, ChildSpec, Exit, State, Supervised};

use crate::failing::{
    Do, SECOND, eventually, failing, fast, intensity, park, root_of, rules, slow,
};

#[actix_rt::test]
async fn a_reference_survives_restarts() {
    let (_root, child) = root_of(failing("child")).await;
    for restarts in 0..5 {
        child.wait_until_up(SECOND).await.unwrap();
        assert_eq!(child.ask(Do::Answer, SECOND).await.unwrap(), restarts);
        child.ask(Do::Panic, SECOND).await.unwrap_err();
    }
}

#[actix_rt::test]
async fn those_who_wait_for_a_dying_child_learn_it_at_once() {
    let (_root, child) = root_of(failing("child")).await;
    let held: Vec<_> = (0..40)
        .map(|_| {
            let child = child.clone();
            actix_rt::spawn(async move { child.ask(Do::Freeze, SECOND * 60).await })
        })
        .collect();
    eventually("all are in it", || child.status().state == State::Running).await;
    tokio::task::yield_now().await;
    let asked = Instant::now();
    child.ask(Do::Panic, SECOND * 60).await.unwrap_err();
    for request in held {
        let error = request.await.unwrap().unwrap_err();
        assert!(
            matches!(
                error,
                AskError::Died {
                    exit: Exit::Panicked { .. },
                    ..
                }
            ),
            "{error:?}"
        );
    }
    assert!(
        asked.elapsed() < Duration::from_millis(100),
        "{:?}",
        asked.elapsed()
    );
}

#[actix_rt::test]
async fn an_ask_from_another_thread_learns_the_cause_too() {
    let (_root, child) = root_of(failing("child")).await;
    for _ in 0..20 {
        child.wait_until_up(SECOND).await.unwrap();
        let asker = child.clone();
        let (tx, rx) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            let _ = tx.send(runtime.block_on(asker.ask(Do::Panic, SECOND)));
        });
        let error = rx.await.unwrap().unwrap_err();
        assert!(
            matches!(
                error,
                AskError::Died {
                    exit: Exit::Panicked { .. },
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

#[actix_rt::test]
async fn between_runs_an_ask_is_refused_at_once() {
    let (_root, child) = root_of(failing("child").backoff(slow())).await;
    child.ask(Do::Panic, SECOND).await.unwrap_err();
    let asked = Instant::now();
    let error = child.ask(Do::Answer, SECOND * 60).await.unwrap_err();
    assert!(asked.elapsed() < Duration::from_millis(100));
    let AskError::Restarting { path, last_exit } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(path, "app/child");
    assert!(matches!(last_exit, Some(Exit::Panicked { .. })));
    assert!(error.to_string().contains("lost in the handler"), "{error}");
    assert!(child.try_tell(Do::Answer).is_err());
}

#[actix_rt::test]
async fn a_parked_child_says_so() {
    let spec = failing("child")
        .intensity(intensity(0))
        .exhausted(park())
        .backoff(fast());
    let (_root, child) = root_of(spec).await;
    child.ask(Do::Error, SECOND).await.unwrap_err();
    eventually("parked", || {
        matches!(child.status().state, State::Parked { .. })
    })
    .await;
    let error = child.ask(Do::Answer, SECOND).await.unwrap_err();
    assert!(
        matches!(
            error,
            AskError::Parked {
                last_exit: Some(Exit::Failed(_)),
                ..
            }
        ),
        "{error:?}"
    );
}

#[actix_rt::test]
async fn a_late_answer_is_a_deadline() {
    tokio::time::pause();
    let (_root, child) = root_of(failing("child")).await;
    let error = child.ask(Do::Slow(SECOND * 5), SECOND).await.unwrap_err();
    assert!(
        matches!(error, AskError::Deadline { after, .. } if after == SECOND),
        "{error:?}"
    );
    assert_eq!(child.ask(Do::Answer, SECOND).await.unwrap(), 0);
}

#[actix_rt::test]
async fn a_full_mailbox_is_busy() {
    let (_root, child) = root_of(failing("child")).await;
    let told = (0..1000).map(|_| child.try_tell(Do::Answer));
    let error = told.filter_map(Result::err).next().unwrap();
    assert!(matches!(error, AskError::Busy { .. }), "{error:?}");
    let answer = child.ask(Do::Answer, SECOND).await;
    assert_eq!(answer.unwrap(), 0, "an ask waits for its turn");
}

#[actix_rt::test]
async fn a_child_admits_a_limited_number_of_asks() {
    tokio::time::pause();
    let (_root, child) = root_of(failing("child").max_asks(2)).await;
    let asks = (0..5).map(|_| child.ask(Do::Slow(SECOND), SECOND * 2));
    let answers = futures_util::future::join_all(asks).await;
    let refused: Vec<_> = answers
        .iter()
        .filter_map(|answer| answer.as_ref().err())
        .collect();
    assert_eq!(refused.len(), 3);
    assert!(
        refused
            .iter()
            .all(|error| matches!(error, AskError::Busy { .. })),
        "{refused:?}"
    );
    child.ask(Do::Answer, SECOND).await.unwrap();
}

#[actix_rt::test]
async fn a_child_never_started_or_stopped_is_gone() {
    tokio::time::pause();
    let child = failing("child").reference();
    assert!(
        matches!(child.ask(Do::Answer, SECOND).await, Err(AskError::Gone { path }) if path == "child")
    );

    let (root, child) = root_of(failing("child")).await;
    root.reference().stop_child("child", SECOND).await.unwrap();
    assert!(
        matches!(child.ask(Do::Answer, SECOND).await, Err(AskError::Gone { path }) if path == "app/child")
    );
    assert!(matches!(
        child.wait_until_up(SECOND).await,
        Err(AskError::Gone { .. })
    ));
    assert!(matches!(child.last_exit(), Some(Exit::Stopped)));
}

struct Detaching;

impl Actor for Detaching {
    type Context = Context<Self>;
}

impl Supervised for Detaching {}

#[derive(Message)]
#[rtype(result = "()")]
struct PanicDetached;

impl Handler<PanicDetached> for Detaching {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: PanicDetached, _: &mut Context<Self>) -> Self::Result {
        Box::pin(async { panic!("in a detached future, as this test intends") })
    }
}

#[actix_rt::test]
async fn a_panic_in_a_detached_future_leaves_the_request_unanswered() {
    let (_root, child) = root_of(rules(ChildSpec::new("child", |_| Ok(Detaching)))).await;
    let error = child.ask(PanicDetached, SECOND).await.unwrap_err();
    assert!(matches!(error, AskError::Unanswered { .. }), "{error:?}");
    assert_eq!(child.status().restarts, 0);
}
