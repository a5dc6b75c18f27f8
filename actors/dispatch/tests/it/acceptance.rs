//! Dispatches with the numbers and texts of `spec/events-and-checks.md` §7, items 1 to 14.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use servo_dispatch::{
    DispatchError, DispatchOptions, ErrorPolicy, HandlerContext, HandlerError, Scope, Stage,
};
use servo_messages::{ErrorKind, EventError};

use crate::{
    log,
    troupe::{Encore, Play, Played, SECOND, Troupe, World, answer, fail, soon},
};

const MILLI: Duration = Duration::from_millis(1);

/// Takes so long, or until it is told to stop, which it notes.
fn takes(
    world: &Arc<World>,
    time: Duration,
    number: u64,
) -> impl for<'a> Fn(&'a HandlerContext) -> Played<'a> + use<> {
    let world = world.clone();
    move |cx| {
        let world = world.clone();
        async move {
            let slept = cx.sleep(time).await;
            if slept.is_err() {
                world.note(format!("{} was told to stop", cx.connector()));
            }
            slept?;
            Ok(Some(number))
        }
        .boxed_local()
    }
}

fn fails_after(
    time: Duration,
    text: &'static str,
) -> impl for<'a> Fn(&'a HandlerContext) -> Played<'a> {
    move |cx| {
        async move {
            cx.sleep(time).await?;
            Err(EventError::failed(text).into())
        }
        .boxed_local()
    }
}

fn collecting() -> DispatchOptions {
    DispatchOptions {
        on_error: ErrorPolicy::Collect,
        ..DispatchOptions::default()
    }
}

/// Item 1.
#[actix_rt::test]
async fn three_connectors_answer_together_and_in_order() {
    let troupe = Troupe::of(&["a", "b", "c"]).await;
    let sleeping = |number| takes(&troupe.world, MILLI * 100, number);
    let play = Play::new()
        .on("a", sleeping(1))
        .on("b", sleeping(2))
        .on("c", sleeping(3));
    let began = Instant::now();
    let outcome = troupe.dispatcher.dispatch(play, DispatchOptions::default());
    let results = outcome.await.unwrap().results;
    assert!(began.elapsed() < MILLI * 200, "{:?}", began.elapsed());
    let told: Vec<_> = results
        .iter()
        .map(|r| (&*r.connector, *r.value.as_ref().unwrap()))
        .collect();
    assert_eq!(told, [("a", 1), ("b", 2), ("c", 3)]);
}

/// Item 3.
#[actix_rt::test]
async fn a_veto_is_one_warning_and_nothing_more_happens() {
    let troupe = Troupe::of(&["a", "veto.er"]).await;
    let reason = "the audience has left, item 3";
    let veto: fn(&HandlerContext) -> Played<'_> = |_| {
        async {
            Err(servo_dispatch::BeforeError::veto(
                "the audience has left, item 3",
            ))
        }
        .boxed_local()
    };
    let reviewed = Arc::<Mutex<usize>>::default();
    let reviews = reviewed.clone();
    troupe.world.review(move |_, _| {
        *reviews.lock().unwrap() += 1;
        Ok(())
    });
    let play = Play::new()
        .at("veto.er", Stage::Before, veto)
        .on("a", |_| panic!("on, after a veto"));
    let outcome = troupe.dispatcher.dispatch(play, DispatchOptions::default());
    let outcome = outcome.await.unwrap();
    let by: Vec<_> = outcome
        .cancelled_by
        .iter()
        .map(|v| (&*v.connector, &*v.reason))
        .collect();
    assert_eq!(by, [("veto.er", reason)]);
    assert!(outcome.results.is_empty());
    assert_eq!(*reviewed.lock().unwrap(), 0);
    let lines = log::written();
    let of_it: Vec<_> = lines
        .iter()
        .filter(|line| line.to_string().contains(reason))
        .collect();
    assert_eq!(of_it.len(), 1, "{of_it:?}");
    assert_eq!(of_it[0]["level"], "WARN");
    assert_eq!(
        of_it[0]["fields"]["message"],
        format!("event cancelled by before event handler on connector \"veto.er\": {reason}")
    );
}

/// Item 4.
#[actix_rt::test]
async fn an_error_before_the_event_is_named_and_the_end() {
    let troupe = Troupe::of(&["a", "b"]).await;
    troupe
        .world
        .review(|_, _| panic!("after, without the event"));
    for options in [DispatchOptions::default(), collecting()] {
        let play = Play::new()
            .at("a", Stage::Before, fail(EventError::failed("unprepared")))
            .on("a", |_| panic!("on, unprepared"))
            .on("b", |_| panic!("on, unprepared"));
        let error = troupe.dispatcher.dispatch(play, options).await.unwrap_err();
        let DispatchError::Handlers(errors) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(errors.len(), 1);
        assert_eq!(
            (&*errors[0].connector, errors[0].stage),
            ("a", Stage::Before)
        );
        assert_eq!(error.to_string(), "a: unprepared");
    }
    assert_eq!(troupe.child("a").restarts + troupe.child("b").restarts, 0);
}

/// Item 5.
#[actix_rt::test]
async fn the_first_error_ends_the_others_and_the_event() {
    let troupe = Troupe::of(&["a", "b"]).await;
    troupe
        .world
        .review(|_, _| panic!("after, although it failed"));
    let play = Play::new()
        .on("a", fails_after(MILLI * 10, "no"))
        .on("b", takes(&troupe.world, SECOND * 10, 2));
    let began = Instant::now();
    let outcome = troupe.dispatcher.dispatch(play, DispatchOptions::default());
    assert_eq!(outcome.await.unwrap_err().to_string(), "a: no");
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    assert_eq!(troupe.world.happened(), ["b was told to stop"]);
    assert_eq!(troupe.child("a").restarts + troupe.child("b").restarts, 0);
}

/// Item 6.
#[actix_rt::test]
async fn collected_an_error_is_a_result_in_its_place() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let sees = seen.clone();
    troupe.world.review(move |results, cx| {
        let told: Vec<String> = results
            .iter()
            .map(|r| format!("{}={}", r.connector, r.value.is_ok()))
            .collect();
        let line = format!("{} sees {}", cx.connector(), told.join(" "));
        sees.lock().unwrap().push(line);
        Ok(())
    });
    let play = Play::new()
        .on("a", fails_after(MILLI * 10, "no"))
        .on("b", takes(&troupe.world, MILLI * 50, 2));
    let outcome = troupe
        .dispatcher
        .dispatch(play, collecting())
        .await
        .unwrap();
    let [a, b] = &outcome.results[..] else {
        panic!("{outcome:?}")
    };
    assert_eq!((&*a.connector, &*b.connector), ("a", "b"));
    assert_eq!(a.value.as_ref().unwrap_err().to_string(), "a: no");
    assert_eq!(*b.value.as_ref().unwrap(), 2);
    assert!(troupe.world.happened().is_empty(), "nobody is told to stop");
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    assert_eq!(seen, ["a sees a=false b=true", "b sees a=false b=true"]);
}

/// Item 7.
#[actix_rt::test]
async fn an_error_after_the_event_fails_it_even_when_collecting() {
    let troupe = Troupe::of(&["a", "b"]).await;
    troupe.world.review(|_, cx| match cx.connector() {
        "b" => Err(EventError::failed("a bad review")),
        _ => Ok(()),
    });
    let play = Play::new().on("a", answer(1)).on("b", answer(2));
    let outcome = troupe.dispatcher.dispatch(play, collecting()).await;
    assert_eq!(outcome.unwrap_err().to_string(), "b: a bad review");
}

/// Item 8.
#[actix_rt::test]
async fn of_two_that_could_answer_the_first_does() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let first = |play| {
        let options = DispatchOptions::default();
        troupe.dispatcher.dispatch_first(play, options)
    };
    let play = Play::new()
        .on("a", answer(1))
        .on("b", |_| panic!("not needed"));
    let answer = first(play).await.unwrap().unwrap();
    assert_eq!((&*answer.connector, answer.value.unwrap()), ("a", 1));
    assert!(troupe.dispatcher.bus().leave("a"));
    assert!(troupe.dispatcher.bus().leave("b"));
    let nobody = troupe
        .dispatcher
        .dispatch_first(Encore(Play::new()), DispatchOptions::default());
    assert!(nobody.await.unwrap().is_none());
}

/// Item 9.
#[actix_rt::test]
async fn scopes_that_name_nobody_reach_nobody() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
    let without = |only: &[&str], except: &[&str]| Scope::Without {
        only: names(only),
        except: names(except),
    };
    let dispatch = async |scope: Scope| {
        let play = Play::new()
            .at("a", Stage::Before, |_| panic!("before"))
            .on("a", |_| panic!("on"));
        let options = DispatchOptions {
            scope,
            ..DispatchOptions::default()
        };
        let outcome = troupe.dispatcher.dispatch(play, options).await;
        outcome
            .map(|o| o.results.len())
            .map_err(|error| error.to_string())
    };
    assert_eq!(dispatch(Scope::Only(Vec::new())).await, Ok(0));
    assert_eq!(dispatch(without(&["a"], &["a"])).await, Ok(0));
    assert_eq!(dispatch(without(&["a", "b"], &["a"])).await, Ok(1));
    for scope in [
        Scope::Only(names(&["nope"])),
        Scope::Except(names(&["nope"])),
        without(&["b"], &["nope"]),
        without(&["nope"], &[]),
    ] {
        assert_eq!(
            dispatch(scope).await,
            Err("no connector found named 'nope': the servo has a, b".to_owned())
        );
    }
    assert_eq!(troupe.child("a").restarts, 0);
}

/// Item 13: told in time by name, while others are served.
#[actix_rt::test]
async fn a_handler_past_its_deadline_is_named_in_time() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let hangs = Play::new().on("a", |_| std::future::pending().boxed_local());
    let began = Instant::now();
    let hanging = troupe.dispatcher.dispatch(hangs, soon(200, 100));
    let meanwhile = async {
        let mut served = 0;
        while began.elapsed() < MILLI * 200 {
            let only_b = DispatchOptions {
                scope: Scope::Only(vec!["b".into()]),
                ..DispatchOptions::default()
            };
            let play = Play::new().on("b", answer(1));
            troupe.dispatcher.dispatch(play, only_b).await.unwrap();
            served += 1;
            tokio::time::sleep(MILLI * 5).await;
        }
        served
    };
    let (outcome, served) = futures_util::future::join(hanging, meanwhile).await;
    assert!(began.elapsed() < SECOND * 10, "{:?}", began.elapsed());
    assert!(served > 5, "{served}");
    let error = outcome.unwrap_err();
    assert_eq!(
        error.to_string(),
        "play did not end within 200ms; still at work: a"
    );
    assert_eq!(error.most_severe().kind, ErrorKind::TimedOut);
}

/// Item 14, of the errors of one dispatch; a nested one is among the events within events.
#[test]
fn the_most_severe_error_is_told_first_and_no_other_is_lost() {
    let of = |connector: &str, error: EventError| HandlerError {
        connector: connector.into(),
        event: "adjust".into(),
        stage: Stage::On,
        error,
    };
    let io = std::io::Error::other("broken pipe");
    let error = DispatchError::Handlers(vec![
        of("prom", EventError::measurement_failed("no data")),
        of(
            "kubernetes",
            EventError::adjustment_rejected("start-failed", "the pod did not start"),
        ),
        of("files", EventError::failed(io.to_string())),
    ]);
    let told = error.most_severe();
    assert_eq!(told.kind, ErrorKind::AdjustmentRejected);
    assert_eq!(told.reason.as_deref(), Some("start-failed"));
    assert_eq!(told.message, "kubernetes: the pod did not start");
    assert_eq!(
        error.other_messages(),
        ["prom: no data", "files: broken pipe"]
    );
    // All three are in the text of the whole.
    assert_eq!(
        error.to_string(),
        "prom: no data; kubernetes: the pod did not start; files: broken pipe"
    );
}

#[actix_rt::test]
async fn what_fails_beside_a_handler_that_takes_too_long_is_logged() {
    let troupe = Troupe::of(&["a", "b", "c"]).await;
    let play = Play::new()
        .on("a", fail(EventError::failed("could not sweep the stage")))
        .on("b", takes(&troupe.world, SECOND * 10, 2))
        .on("c", answer(3));
    let options = DispatchOptions {
        on_error: ErrorPolicy::Collect,
        ..soon(50, 1000)
    };
    let error = troupe.dispatcher.dispatch(play, options).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "play did not end within 50ms; still at work: b"
    );
    let lines = log::written();
    let of_it: Vec<_> = lines
        .iter()
        .filter(|line| line["level"] == "ERROR")
        .collect();
    assert_eq!(of_it.len(), 1, "{of_it:?}");
    let fields = &of_it[0]["fields"];
    assert_eq!(fields["message"], "play failed: could not sweep the stage");
    assert_eq!(fields["connector"], "a");
}
