//! Events within events.

use std::time::Duration;

use futures_util::{FutureExt, future::LocalBoxFuture};
use servo_dispatch::{Chain, DispatchError, DispatchOptions, HandlerContext};
use servo_messages::{ErrorKind, EventError};
use tokio_util::sync::CancellationToken;

use crate::troupe::{Encore, Play, Played, SECOND, Troupe, answer, freezes, obeys, only, soon};

fn told(error: DispatchError) -> servo_dispatch::BeforeError {
    error.most_severe().into()
}

/// Asks all the others, and answers with the sum.
fn asks_the_others(cx: &HandlerContext) -> Played<'_> {
    async {
        let play = Play::new()
            .on("a", asks_the_others)
            .on("b", asks_the_others)
            .on("c", answer(1));
        let outcome = cx.dispatch(play, DispatchOptions::default()).await;
        let sum: u64 = outcome.map_err(told)?.values().sum();
        Ok(Some(sum + 10))
    }
    .boxed_local()
}

#[actix_rt::test]
async fn who_is_at_work_on_an_event_is_not_asked_again() {
    let troupe = Troupe::of(&["a", "b", "c"]).await;
    let play = Play::new().on("a", asks_the_others);
    let dispatch = troupe.dispatcher.dispatch(play, only(&["a"]));
    let outcome = tokio::time::timeout(SECOND, dispatch).await.unwrap();
    // a asks b and c; b asks c: (1 + 10) + 1 + 10.
    assert_eq!(outcome.unwrap().values().collect::<Vec<_>>(), [22]);
}

#[actix_rt::test]
async fn asking_for_oneself_is_a_cycle_and_says_so() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let play = Play::new().on("a", |cx| {
        async {
            let outcome = cx.dispatch(Play::new(), only(&["a"])).await;
            let Err(error @ DispatchError::Cycle { .. }) = outcome else {
                panic!("{outcome:?}")
            };
            Err(EventError::failed(error.to_string()).into())
        }
        .boxed_local()
    });
    let error = troupe
        .dispatcher
        .dispatch(play, only(&["a"]))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "a: play cannot be dispatched again from within itself: a[play]"
    );
}

#[actix_rt::test]
async fn two_events_that_ask_each_other_come_to_an_end() {
    fn ping(
        cx: &HandlerContext,
    ) -> LocalBoxFuture<'_, Result<Option<u64>, servo_dispatch::BeforeError>> {
        async {
            let play = Play::new().on("a", ping).on("b", ping);
            let outcome = cx.dispatch(Encore(play), DispatchOptions::default()).await;
            Ok(Some(1 + outcome.map_err(told)?.values().sum::<u64>()))
        }
        .boxed_local()
    }
    let troupe = Troupe::of(&["a", "b"]).await;
    let play = Play::new().on("a", ping).on("b", ping);
    let dispatch = troupe.dispatcher.dispatch(play, DispatchOptions::default());
    let outcome = tokio::time::timeout(SECOND, dispatch).await.unwrap();
    assert_eq!(outcome.unwrap().results.len(), 2);
    assert_eq!(troupe.child("a").restarts, 0);
    const { assert!(Chain::MAX_DEPTH >= 8) };
}

#[actix_rt::test]
async fn a_nested_dispatch_ends_with_its_parent_and_only_the_stuck_one_is_replaced() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let play = Play::new().on("a", |cx| {
        async {
            let play = Encore(Play::new().on("b", freezes));
            cx.dispatch(play, only(&["b"])).await.map_err(told)?;
            Ok(None)
        }
        .boxed_local()
    });
    let outcome = troupe.dispatcher.dispatch(play, soon(50, 150)).await;
    let Err(DispatchError::Deadline { waiting_for, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(waiting_for, ["a", "b"].map(str::to_owned)[..1]);
    crate::troupe::eventually("b replaced", || troupe.child("b").restarts == 1).await;
    assert_eq!(
        troupe.child("a").restarts,
        0,
        "{:?}",
        troupe.child("a").last_exit
    );
}

#[actix_rt::test]
async fn a_handler_can_call_off_what_it_asked_for_and_go_on() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let play = Play::new().on("a", |cx| {
        async {
            let cancel = CancellationToken::new();
            let options = DispatchOptions {
                cancel: cancel.clone(),
                ..only(&["b"])
            };
            let enough = async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                cancel.cancel();
            };
            let asked = cx.dispatch(Encore(Play::new().on("b", obeys)), options);
            let (outcome, ()) = futures_util::future::join(asked, enough).await;
            assert!(
                matches!(outcome, Err(DispatchError::Cancelled { .. })),
                "{outcome:?}"
            );
            assert!(!cx.is_cancelled());
            Ok(Some(4))
        }
        .boxed_local()
    });
    let dispatch = troupe.dispatcher.dispatch(play, only(&["a"]));
    let outcome = tokio::time::timeout(SECOND, dispatch).await.unwrap();
    assert_eq!(outcome.unwrap().values().collect::<Vec<_>>(), [4]);
}

#[actix_rt::test]
async fn command_and_progress_go_along() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let reports: std::sync::Arc<std::sync::Mutex<Vec<String>>> = Default::default();
    let sink = reports.clone();
    let options = DispatchOptions {
        command_uid: Some("c-1".into()),
        progress: Some(std::sync::Arc::new(move |update| {
            sink.lock()
                .unwrap()
                .push(format!("{} {}", update.connector, update.percent));
        })),
        ..only(&["a"])
    };
    let play = Play::new().on("a", |cx| {
        async {
            let inner = Encore(Play::new().on("b", |cx| {
                async {
                    cx.progress(40.0, None);
                    assert_eq!(cx.command_uid(), Some("c-1"));
                    Ok(None)
                }
                .boxed_local()
            }));
            cx.dispatch(inner, only(&["b"])).await.map_err(told)?;
            Ok(None)
        }
        .boxed_local()
    });
    troupe.dispatcher.dispatch(play, options).await.unwrap();
    assert_eq!(reports.lock().unwrap()[0], "b 40");
}

#[actix_rt::test]
async fn a_handler_can_ask_for_the_first_answer_and_by_name() {
    let troupe = Troupe::of(&["a", "b", "c"]).await;
    let play = Play::new().on("a", |cx| {
        async {
            let inner = Play::new()
                .on("a", |_| panic!("asked itself"))
                .on("b", answer(5))
                .on("c", |_| panic!("asked although `b` has answered"));
            let first = cx.dispatch_first(inner, DispatchOptions::default()).await;
            let first = first.map_err(told)?.unwrap();
            assert_eq!(&*first.connector, "b");
            let args = serde_json::json!({"number": 4});
            let named = cx.dispatch_named("double", args, only(&["c"])).await;
            let doubled = named.map_err(told)?.values().next().unwrap()["doubled"].as_u64();
            Ok(Some(first.value.unwrap() * 10 + doubled.unwrap()))
        }
        .boxed_local()
    });
    let outcome = troupe.dispatcher.dispatch(play, only(&["a"])).await;
    assert_eq!(outcome.unwrap().values().collect::<Vec<_>>(), [58]);
}

#[actix_rt::test]
async fn by_name_too_a_circle_is_a_circle() {
    let troupe = Troupe::of(&["a"]).await;
    let bus = troupe.dispatcher.bus();
    bus.bridge::<crate::troupe::Double>().unwrap();
    let play = Play::new().on("a", |cx| {
        async {
            let args = serde_json::json!({"number": 1});
            let whisper = cx.dispatch_named("whisper", args, only(&["a"])).await;
            // Another event of the same connector is no circle.
            assert_eq!(whisper.map_err(told)?.results.len(), 1);
            let unknown = cx.dispatch_named("shout", serde_json::Value::Null, only(&["a"]));
            let Err(error @ DispatchError::UnknownEvent { .. }) = unknown.await else {
                panic!("an event that nobody knows")
            };
            Err(EventError::failed(error.to_string()).into())
        }
        .boxed_local()
    });
    let error = troupe.dispatcher.dispatch(play, only(&["a"])).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("Unknown event 'shout'"), "{error}");
}

/// Item 14.
#[actix_rt::test]
async fn what_failed_within_is_told_whole() {
    let troupe = Troupe::of(&["outer", "inner", "files", "prom"]).await;
    let started = || EventError::adjustment_rejected("start-failed", "the pod did not start");
    let broken = || EventError::failed("broken pipe");
    let play = Play::new()
        .on("prom", |cx| {
            async {
                obeys(cx).await.unwrap_err();
                Err(EventError::measurement_failed("no data").into())
            }
            .boxed_local()
        })
        .on("outer", move |cx| {
            async move {
                let both = Encore(Play::new().on("inner", crate::troupe::fail(started())).on(
                    "files",
                    move |cx| {
                        async move {
                            obeys(cx).await.unwrap_err();
                            Err(broken().into())
                        }
                        .boxed_local()
                    },
                ));
                let asked = cx.dispatch(both, only(&["inner", "files"])).await;
                Err(asked.map_err(told).unwrap_err())
            }
            .boxed_local()
        });
    let dispatch = troupe.dispatcher.dispatch(play, only(&["prom", "outer"]));
    let error = dispatch.await.unwrap_err();
    let told = error.most_severe();
    assert_eq!(told.kind, ErrorKind::AdjustmentRejected);
    assert_eq!(told.reason.as_deref(), Some("start-failed"));
    assert_eq!(told.message, "outer: inner: the pod did not start");
    assert_eq!(
        error.other_messages(),
        ["files: broken pipe", "prom: no data"]
    );
    let each = error.each();
    let kinds: Vec<ErrorKind> = each.iter().map(|error| error.kind).collect();
    assert_eq!(
        kinds,
        [
            ErrorKind::AdjustmentRejected,
            ErrorKind::Failed,
            ErrorKind::MeasurementFailed
        ]
    );
    assert!(each.iter().all(|error| error.others.is_empty()));
}
