//! A connector that fails in every way: what the caller, the siblings and the next caller see of it.

use std::{
    cell::Cell,
    rc::Rc,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use servo_dispatch::{
    ConnectorPolicy, DispatchError, DispatchOptions, DispatchOutcome, DispatcherRef, HandlerError,
    Scope,
};
use servo_messages::{ErrorKind, EventError};
use servo_supervision::{Backoff, Intensity, State};

use crate::troupe::{
    Build, Play, Played, SECOND, Troupe, answer, eventually, fail, freezes, only, panics,
    panics_later, soon,
};

/// How long a typed error may take at most.
const AT_ONCE: Duration = Duration::from_millis(100);
/// What a sibling's round trip may take while another connector fails: half of them, and all of them on a machine
/// that has other work to do.
const UNAFFECTED: (Duration, Duration) = (Duration::from_millis(4), Duration::from_millis(100));

type Outcome = Result<DispatchOutcome<u64>, DispatchError>;

fn errors(outcome: Outcome) -> Vec<HandlerError> {
    match outcome {
        Err(DispatchError::Handlers(errors)) => errors,
        other => panic!("expected failed handlers, not {other:?}"),
    }
}

/// Runs `work` while a sibling is asked over and over, and looks at how long that took.
async fn beside<T>(dispatcher: &DispatcherRef, work: impl Future<Output = T>) -> T {
    let over = Rc::new(Cell::new(false));
    let (stop, dispatcher) = (over.clone(), dispatcher.clone());
    let sibling = actix_rt::spawn(async move {
        let mut took = Vec::new();
        while !stop.get() || took.len() < 20 {
            let asked = Instant::now();
            let outcome = dispatcher
                .dispatch(Play::new().on("b", answer(1)), only(&["b"]))
                .await;
            took.push(asked.elapsed());
            assert_eq!(outcome.unwrap().values().collect::<Vec<_>>(), [1]);
            tokio::task::yield_now().await;
        }
        took.sort();
        (took[took.len() / 2], took[took.len() - 1])
    });
    let result = work.await;
    over.set(true);
    let (half, all) = sibling.await.unwrap();
    assert!(
        half < UNAFFECTED.0 && all < UNAFFECTED.1,
        "{half:?} {all:?}"
    );
    result
}

async fn works_again(troupe: &Troupe) {
    let outcome = troupe
        .dispatcher
        .dispatch(Play::new().on("a", answer(7)), only(&["a"]))
        .await;
    assert_eq!(outcome.unwrap().values().collect::<Vec<_>>(), [7]);
}

#[actix_rt::test]
async fn an_error_is_that_connectors_and_nothing_restarts() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let play = Play::new().on("a", fail(EventError::measurement_failed("no signal")));
    let outcome = beside(
        &troupe.dispatcher,
        troupe.dispatcher.dispatch(play, only(&["a"])),
    )
    .await;
    let [error] = &errors(outcome)[..] else {
        panic!("one error")
    };
    assert_eq!(&*error.connector, "a");
    assert_eq!(error.error, EventError::measurement_failed("no signal"));
    assert_eq!(troupe.child("a").restarts, 0);
    works_again(&troupe).await;
}

async fn panicking(part: for<'a> fn(&'a servo_dispatch::HandlerContext) -> Played<'a>, told: &str) {
    let troupe = Troupe::of(&["a", "b"]).await;
    works_again(&troupe).await;
    let asked = Instant::now();
    let failing = async {
        let outcome = troupe
            .dispatcher
            .dispatch(Play::new().on("a", part), only(&["a"]))
            .await;
        (outcome, asked.elapsed())
    };
    let (outcome, took) = beside(&troupe.dispatcher, failing).await;
    let [error] = &errors(outcome)[..] else {
        panic!("one error")
    };
    assert_eq!(&*error.connector, "a");
    assert_eq!(error.error.kind, ErrorKind::Unclassified);
    assert_eq!(error.error.reason.as_deref(), Some("unknown"));
    assert!(error.error.message.contains(told), "{}", error.error);
    assert!(error.error.message.contains("on:play"), "{}", error.error);
    assert!(took < AT_ONCE, "{took:?}");
    works_again(&troupe).await;
    let a = troupe.child("a");
    assert_eq!(a.restarts, 1);
    assert!(a.last_exit.unwrap().contains(told));
    assert_eq!(troupe.child("b").restarts, 0);
    assert_eq!(troupe.child("dispatcher").restarts, 0);
}

#[actix_rt::test]
async fn a_panic_in_a_handler_is_an_error_at_once_and_the_connector_comes_back() {
    panicking(panics, "lost the thread").await;
}

#[actix_rt::test]
async fn a_panic_after_an_await_is_an_error_at_once_and_the_connector_comes_back() {
    panicking(panics_later, "lost the thread later").await;
}

#[actix_rt::test]
async fn other_requests_to_the_panicking_connector_get_the_same_error() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let waiting = troupe
        .dispatcher
        .dispatch(Play::new().on("a", freezes), only(&["a"]));
    let breaking = async {
        tokio::task::yield_now().await;
        troupe
            .dispatcher
            .dispatch(Play::new().on("a", panics_later), only(&["a"]))
            .await
    };
    let (waiting, breaking) = tokio::time::timeout(SECOND, async {
        futures_util::future::join(waiting, breaking).await
    })
    .await
    .unwrap();
    for outcome in [waiting, breaking] {
        assert!(
            errors(outcome)[0]
                .error
                .message
                .contains("lost the thread later")
        );
    }
    works_again(&troupe).await;
}

#[actix_rt::test]
async fn a_frozen_connector_is_replaced_when_deadline_and_grace_are_over() {
    let troupe = Troupe::of(&["a", "b"]).await;
    works_again(&troupe).await;
    let asked = Instant::now();
    let failing = async {
        let outcome = troupe
            .dispatcher
            .dispatch(Play::new().on("a", freezes), soon(60, 60))
            .await;
        (outcome, asked.elapsed())
    };
    let (outcome, took) = beside(&troupe.dispatcher, failing).await;
    let Err(error @ DispatchError::Deadline { .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        error.to_string(),
        "play did not end within 60ms; still at work: a"
    );
    assert!(
        took >= Duration::from_millis(115) && took < Duration::from_millis(300),
        "{took:?}"
    );
    works_again(&troupe).await;
    let exit = troupe.child("a").last_exit.unwrap();
    assert!(exit.starts_with("stuck: on:play"), "{exit}");
}

#[actix_rt::test]
async fn one_that_ignores_its_cancellation_is_replaced_after_the_grace() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let options = soon(60_000, 50);
    let cancel = options.cancel.clone();
    let dispatch = troupe
        .dispatcher
        .dispatch(Play::new().on("a", freezes), options);
    let calling_off = async {
        eventually("a at work", || !troupe.child("a").open_turns.is_empty()).await;
        cancel.cancel();
        Instant::now()
    };
    let (outcome, cancelled_at) = futures_util::future::join(dispatch, calling_off).await;
    assert!(
        matches!(outcome, Err(DispatchError::Cancelled { .. })),
        "{outcome:?}"
    );
    assert!(cancelled_at.elapsed() < Duration::from_millis(300));
    works_again(&troupe).await;
    let exit = troupe.child("a").last_exit.unwrap();
    assert!(exit.starts_with("stuck: on:play"), "{exit}");
}

#[actix_rt::test]
async fn a_slow_connector_slows_only_who_asks_it() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let slow = Play::new().on("a", |cx| {
        async {
            cx.sleep(Duration::from_millis(120)).await?;
            Ok(Some(3))
        }
        .boxed_local()
    });
    let outcome = beside(
        &troupe.dispatcher,
        troupe.dispatcher.dispatch(slow, only(&["a"])),
    )
    .await;
    assert_eq!(outcome.unwrap().values().collect::<Vec<_>>(), [3]);
}

#[actix_rt::test]
async fn a_sibling_that_is_killed_for_ignoring_its_token_is_not_the_reported_cause() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let play = Play::new().on("a", freezes).on("b", |_| {
        async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Err(EventError::failed("the cause").into())
        }
        .boxed_local()
    });
    let outcome = troupe.dispatcher.dispatch(play, soon(60_000, 40)).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.most_severe().message, "b: the cause");
    assert!(error.other_messages()[0].contains("a: the connector ended"));
}

#[actix_rt::test]
async fn a_build_that_fails_or_panics_is_told_and_tried_again() {
    for (build, told) in [
        (Build::Fails, "no stage to stand on"),
        (Build::Panics, "fell off the stage"),
    ] {
        let troupe = Troupe::of(&["a", "b"]).await;
        works_again(&troupe).await;
        *troupe.world.build.lock().unwrap() = build;
        let broken = troupe
            .dispatcher
            .dispatch(Play::new().on("a", panics), only(&["a"]))
            .await;
        assert_eq!(errors(broken).len(), 1);
        let ask = troupe
            .dispatcher
            .dispatch(Play::new().on("a", answer(1)), only(&["a"]));
        let outcome = beside(&troupe.dispatcher, ask).await;
        let error = errors(outcome).remove(0).error;
        assert!(error.message.contains("parked"), "{error}");
        assert!(error.message.contains(told), "{error}");
    }
}

#[actix_rt::test]
async fn a_request_waits_for_a_connector_that_is_being_restarted() {
    let troupe = Troupe::of(&["a", "b"]).await;
    *troupe.world.build.lock().unwrap() = Build::Fails;
    let broken = troupe
        .dispatcher
        .dispatch(Play::new().on("a", panics), only(&["a"]));
    assert_eq!(errors(broken.await).len(), 1);
    let ask = troupe
        .dispatcher
        .dispatch(Play::new().on("a", answer(5)), only(&["a"]));
    let healing = async {
        eventually("two more builds", || {
            troupe.world.builds.load(Ordering::SeqCst) >= 3
        })
        .await;
        *troupe.world.build.lock().unwrap() = Build::Works;
    };
    let (outcome, ()) = futures_util::future::join(ask, healing).await;
    assert_eq!(outcome.unwrap().values().collect::<Vec<_>>(), [5]);
}

#[actix_rt::test]
async fn a_restart_storm_ends_parked_and_not_spinning() {
    const RESTARTS: u32 = 5;
    let troupe = Troupe::with(
        &["a", "b"],
        ConnectorPolicy {
            backoff: Backoff::try_new(Duration::from_millis(1), Duration::from_millis(2), SECOND)
                .unwrap(),
            intensity: Intensity::try_new(RESTARTS, SECOND * 60).unwrap(),
            retry_every: SECOND * 300,
            shutdown: SECOND,
        },
    )
    .await;
    let storm = async {
        loop {
            let outcome = troupe
                .dispatcher
                .dispatch(Play::new().on("a", panics), only(&["a"]))
                .await;
            if errors(outcome)[0].error.message.contains("parked") {
                break;
            }
        }
    };
    beside(&troupe.dispatcher, storm).await;
    let builds = troupe.world.builds.load(Ordering::SeqCst);
    assert_eq!(builds, 1 + RESTARTS as usize);
    // Asking on does not wake it, and costs nothing.
    for _ in 0..50 {
        let asked = Instant::now();
        let outcome = troupe
            .dispatcher
            .dispatch(Play::new(), DispatchOptions::default())
            .await;
        let error = errors(outcome).remove(0);
        assert_eq!(
            (&*error.connector, error.error.kind),
            ("a", ErrorKind::Unclassified)
        );
        assert!(error.error.message.contains("lost the thread"), "{error}");
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
    }
    assert!(matches!(troupe.child("a").state, State::Parked { .. }));
    assert_eq!(troupe.world.builds.load(Ordering::SeqCst), builds);
    // The rest of the servo goes on without it.
    let without = DispatchOptions {
        scope: Scope::Except(vec!["a".into()]),
        ..DispatchOptions::default()
    };
    let outcome = troupe
        .dispatcher
        .dispatch(Play::new().on("b", answer(2)), without);
    assert_eq!(outcome.await.unwrap().values().collect::<Vec<_>>(), [2]);
}
