//! before, on, after: vetoes, error policies, order, scopes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt;
use servo_dispatch::{
    BeforeError, DispatchError, DispatchOptions, ErrorPolicy, HandlerContext, ProgressUpdate,
    Scope, Stage, Stages,
};
use servo_messages::{ErrorKind, EventError};
use tokio_util::sync::CancellationToken;

use crate::troupe::{Encore, Play, Played, Troupe, answer, fail, obeys, only};

fn veto(_: &HandlerContext) -> Played<'_> {
    async { Err(BeforeError::veto("not today")) }.boxed_local()
}

#[actix_rt::test]
async fn a_veto_keeps_the_event_from_happening_and_names_who_said_so() {
    let troupe = Troupe::of(&["a", "b"]).await;
    troupe.world.review(|_, _| panic!("after a veto"));
    let play = Play::new()
        .at("b", Stage::Before, veto)
        .on("a", |_| panic!("on, after a veto"));
    let outcome = troupe
        .dispatcher
        .dispatch(play, DispatchOptions::default())
        .await
        .unwrap();
    let [veto] = &outcome.cancelled_by[..] else {
        panic!("{outcome:?}")
    };
    assert_eq!((&*veto.connector, &*veto.reason), ("b", "not today"));
    assert!(outcome.results.is_empty());
    assert_eq!(troupe.child("a").restarts, 0);
}

#[actix_rt::test]
async fn a_veto_wins_over_an_error_beside_it() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let play = Play::new()
        .at("a", Stage::Before, fail(EventError::failed("broken")))
        .at("b", Stage::Before, veto);
    let outcome = troupe
        .dispatcher
        .dispatch(play, DispatchOptions::default())
        .await;
    // `a` fails first and `b` is only run if it had begun; both may be seen, or the error alone.
    match outcome {
        Ok(outcome) => assert_eq!(&*outcome.cancelled_by[0].connector, "b"),
        Err(error) => assert_eq!(error.most_severe().message, "a: broken"),
    }
    // With `b` first there is no doubt.
    let play = Play::new()
        .at("b", Stage::Before, fail(EventError::failed("broken")))
        .at("a", Stage::Before, veto);
    let outcome = troupe
        .dispatcher
        .dispatch(play, DispatchOptions::default())
        .await
        .unwrap();
    assert_eq!(&*outcome.cancelled_by[0].connector, "a");
}

#[actix_rt::test]
async fn an_error_before_fails_the_event_under_either_policy() {
    let troupe = Troupe::of(&["a", "b"]).await;
    for on_error in [ErrorPolicy::FailFast, ErrorPolicy::Collect] {
        let play = Play::new()
            .at("a", Stage::Before, fail(EventError::failed("unprepared")))
            .on("b", |_| panic!("unprepared, and yet"));
        let options = DispatchOptions {
            on_error,
            ..DispatchOptions::default()
        };
        let error = troupe.dispatcher.dispatch(play, options).await.unwrap_err();
        assert_eq!(error.to_string(), "a: unprepared");
    }
}

#[actix_rt::test]
async fn failing_fast_cancels_the_siblings_and_waits_for_them() {
    let troupe = Troupe::of(&["a", "b", "c"]).await;
    let world = troupe.world.clone();
    let play = Play::new()
        .on("b", move |cx| {
            let world = world.clone();
            async move {
                cx.cancellation().cancelled().await;
                tokio::time::sleep(Duration::from_millis(30)).await;
                world.note("b has tidied up");
                Err(cx.cancelled().into())
            }
            .boxed_local()
        })
        .on("c", fail(EventError::aborted("slo-violation", "too slow")));
    let outcome = troupe
        .dispatcher
        .dispatch(play, DispatchOptions::default())
        .await;
    assert_eq!(troupe.world.happened(), ["b has tidied up"]);
    let Err(DispatchError::Handlers(errors)) = outcome else {
        panic!("{outcome:?}")
    };
    // Who stopped because it was told to has not failed.
    let [error] = &errors[..] else {
        panic!("{errors:?}")
    };
    assert_eq!((&*error.connector, error.stage), ("c", Stage::On));
    assert_eq!(error.error.kind, ErrorKind::Aborted);
}

#[actix_rt::test]
async fn collecting_runs_all_and_keeps_errors_in_their_places() {
    let troupe = Troupe::of(&["a", "b", "c"]).await;
    let play = Play::new()
        .on("a", after(20, 1))
        .on("b", fail(EventError::failed("no")))
        .on("c", answer(3));
    let options = DispatchOptions {
        on_error: ErrorPolicy::Collect,
        ..DispatchOptions::default()
    };
    let outcome = troupe.dispatcher.dispatch(play, options).await.unwrap();
    let told: Vec<String> = outcome
        .results
        .iter()
        .map(|r| match &r.value {
            Ok(value) => format!("{}={value}", r.connector),
            Err(error) => error.to_string(),
        })
        .collect();
    assert_eq!(told, ["a=1", "b: no", "c=3"]);
    assert!(outcome.results[2].created_at < outcome.results[0].created_at);
}

/// Answers after so many milliseconds.
fn after(millis: u64, number: u64) -> impl for<'a> Fn(&'a HandlerContext) -> Played<'a> {
    move |_| {
        async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Ok(Some(number))
        }
        .boxed_local()
    }
}

#[actix_rt::test]
async fn results_are_in_bus_order_whoever_is_first() {
    let troupe = Troupe::of(&["a", "b", "c"]).await;
    let play = Play::new()
        .on("a", after(20, 1))
        .on("b", after(1, 2))
        .on("c", after(10, 3));
    let outcome = troupe
        .dispatcher
        .dispatch(play, DispatchOptions::default())
        .await;
    assert_eq!(outcome.unwrap().values().collect::<Vec<_>>(), [1, 2, 3]);
}

#[actix_rt::test]
async fn after_sees_all_results_and_its_failure_is_the_events() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let world = troupe.world.clone();
    troupe.world.review(move |results, cx| {
        let sum: u64 = results.iter().filter_map(|r| r.value.as_ref().ok()).sum();
        world.note(format!("{} {} sees {sum}", cx.connector(), cx.stage()));
        match cx.connector() {
            "b" => Err(EventError::failed("I do not like it")),
            _ => Ok(()),
        }
    });
    let play = Play::new().on("a", answer(1)).on("b", answer(2));
    let error = troupe
        .dispatcher
        .dispatch(play.clone(), DispatchOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "b: I do not like it");
    assert_eq!(
        troupe.world.happened(),
        ["a after sees 3", "b after sees 3"]
    );
    // The stage can be left out.
    let options = DispatchOptions {
        stages: Stages {
            after: false,
            ..Stages::default()
        },
        ..DispatchOptions::default()
    };
    let outcome = troupe.dispatcher.dispatch(play, options).await;
    assert_eq!(outcome.unwrap().results.len(), 2);
}

#[actix_rt::test]
async fn scopes_choose_and_a_wrong_name_is_told_with_the_right_ones() {
    let troupe = Troupe::of(&["a", "b", "c"]).await;
    let who = async |scope: Scope| {
        let options = DispatchOptions {
            scope,
            ..DispatchOptions::default()
        };
        let outcome = troupe.dispatcher.dispatch(Play::new(), options).await;
        outcome.map(|o| {
            o.results
                .iter()
                .map(|r| r.connector.to_string())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(
        who(Scope::Only(vec!["c".into(), "a".into()]))
            .await
            .unwrap(),
        ["a", "c"]
    );
    assert_eq!(
        who(Scope::Except(vec!["b".into()])).await.unwrap(),
        ["a", "c"]
    );
    assert!(who(Scope::Only(Vec::new())).await.unwrap().is_empty());
    for scope in [
        Scope::Only(vec!["a".into(), "bb".into()]),
        Scope::Except(vec!["bb".into()]),
    ] {
        assert_eq!(
            who(scope).await.unwrap_err().to_string(),
            "no connector found named 'bb': the servo has a, b, c"
        );
    }
}

#[actix_rt::test]
async fn the_first_that_answers_is_enough() {
    let troupe = Troupe::of(&["a", "b", "c"]).await;
    let play = Play::new()
        .on("a", answer(1))
        .on("b", |_| panic!("asked although `a` has answered"));
    let first = troupe
        .dispatcher
        .dispatch_first(play, DispatchOptions::default())
        .await
        .unwrap()
        .unwrap();
    assert_eq!((&*first.connector, first.value.unwrap()), ("a", 1));
    let nobody = troupe
        .dispatcher
        .dispatch_first(Play::new(), only(&[]))
        .await;
    assert!(nobody.unwrap().is_none());
    let vetoed = Play::new().at("a", Stage::Before, veto);
    let outcome = troupe
        .dispatcher
        .dispatch_first(vetoed, DispatchOptions::default())
        .await;
    assert!(outcome.unwrap().is_none());
    let failing = Play::new().on("a", fail(EventError::failed("no")));
    let error = troupe
        .dispatcher
        .dispatch_first(failing, DispatchOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "a: no");
}

#[actix_rt::test]
async fn only_before_may_cancel() {
    let troupe = Troupe::of(&["a"]).await;
    let play = Play::new().on("a", fail(EventError::cancelled("I would rather not")));
    let error = troupe
        .dispatcher
        .dispatch(play, DispatchOptions::default())
        .await
        .unwrap_err()
        .most_severe();
    assert_eq!(error.kind, ErrorKind::Failed);
    assert_eq!(
        error.message,
        "a: Cannot cancel an event from an on handler: I would rather not"
    );
}

#[actix_rt::test]
async fn one_that_is_cancelled_before_it_begins_is_no_success() {
    let troupe = Troupe::of(&["a"]).await;
    let options = DispatchOptions::default();
    options.cancel.cancel();
    let play = Play::new().on("a", |_| panic!("began although cancelled"));
    let outcome = troupe.dispatcher.dispatch(play, options).await;
    assert!(
        matches!(outcome, Err(DispatchError::Cancelled { .. })),
        "{outcome:?}"
    );
    // Nor is one that is cancelled between two stages.
    let options = DispatchOptions::default();
    let cancel = options.cancel.clone();
    let play = Play::new()
        .at("a", Stage::Before, move |_| {
            let cancel = cancel.clone();
            async move {
                cancel.cancel();
                Ok(None)
            }
            .boxed_local()
        })
        .on("a", |_| panic!("went on although cancelled"));
    let outcome = troupe.dispatcher.dispatch(play, options).await;
    assert!(
        matches!(outcome, Err(DispatchError::Cancelled { .. })),
        "{outcome:?}"
    );
}

#[actix_rt::test]
async fn the_callers_cancel_reaches_the_handlers_and_is_waited_for() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let cancel = CancellationToken::new();
    let options = DispatchOptions {
        cancel: cancel.clone(),
        ..DispatchOptions::default()
    };
    let world = troupe.world.clone();
    let play = Play::new().on("a", obeys).on("b", move |cx| {
        let world = world.clone();
        async move {
            let slept = cx.sleep(Duration::from_secs(3600)).await;
            world.note("b heard");
            slept?;
            Ok(None)
        }
        .boxed_local()
    });
    let dispatch = troupe.dispatcher.dispatch(play, options);
    let calling_off = async {
        crate::troupe::eventually("b at work", || !troupe.child("b").open_turns.is_empty()).await;
        cancel.cancel();
    };
    let (outcome, ()) = futures_util::future::join(dispatch, calling_off).await;
    assert_eq!(outcome.unwrap_err().to_string(), "play was cancelled");
    assert_eq!(troupe.world.happened(), ["b heard"]);
    assert_eq!(troupe.child("a").restarts, 0);
}

#[actix_rt::test]
async fn progress_comes_with_its_connector() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let reports: Arc<Mutex<Vec<ProgressUpdate>>> = Arc::default();
    let sink = reports.clone();
    let options = DispatchOptions {
        progress: Some(Arc::new(move |update| sink.lock().unwrap().push(update))),
        ..DispatchOptions::default()
    };
    let play = Play::new().on("a", |cx| {
        async {
            cx.progress(25.0, Some("a quarter".to_owned()));
            cx.progress(f64::NAN, None);
            cx.progress(250.0, None);
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(None)
        }
        .boxed_local()
    });
    troupe.dispatcher.dispatch(play, options).await.unwrap();
    let reports = reports.lock().unwrap();
    let of = |connector: &str| -> Vec<f64> {
        let of_it = reports.iter().filter(|r| &*r.connector == connector);
        of_it.map(|r| r.percent).collect()
    };
    assert_eq!(of("a"), [25.0, 0.0, 100.0, 100.0]);
    assert_eq!(of("b"), [100.0]);
    let quarter = reports.iter().find(|r| r.percent == 25.0).unwrap();
    assert_eq!(quarter.message.as_deref(), Some("a quarter"));
}

#[actix_rt::test]
async fn who_joins_or_leaves_counts_for_the_next_dispatch() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let play = Play::new().on("a", after(30, 1));
    let running = troupe.dispatcher.dispatch(play, DispatchOptions::default());
    let leaving = async {
        crate::troupe::eventually("a at work", || !troupe.child("a").open_turns.is_empty()).await;
        assert!(troupe.dispatcher.bus().leave("a"));
        assert!(!troupe.dispatcher.bus().leave("a"));
    };
    let (outcome, ()) = futures_util::future::join(running, leaving).await;
    assert_eq!(outcome.unwrap().results.len(), 2);
    let next = troupe
        .dispatcher
        .dispatch(Encore(Play::new()), DispatchOptions::default())
        .await
        .unwrap();
    let who: Vec<_> = next.results.iter().map(|r| &*r.connector).collect();
    assert_eq!(who, ["b"]);
    assert_eq!(troupe.dispatcher.bus().connectors(), ["b".into()]);
    assert!(
        troupe
            .dispatcher
            .bus()
            .routes()
            .iter()
            .all(|r| &*r.connector == "b")
    );
}
