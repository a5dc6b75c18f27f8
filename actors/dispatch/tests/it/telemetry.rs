//! What connectors have the optimizer told, and that it goes with them (`spec/optimizer-protocol.md` §18,
//! `spec/events-and-checks.md` §3.3).

use std::time::Duration;

use futures_util::FutureExt;
use servo_dispatch::{
    Attach, Detach, DispatchOptions, HandlerContext, NewConnector, Shutdown, Startup, Telemetry,
    TelemetryRefused,
};
use servo_messages::EventError;
use servo_supervision::State;

use crate::troupe::{Play, Played, SECOND, Troupe, eventually, panics};

/// Each tells its version when it attaches.
async fn telling(names: &'static [&'static str]) -> Troupe {
    let troupe = Troupe::of(names).await;
    troupe.world.attach(|cx| {
        async move {
            cx.telemetry().set("version", " 1.30 ").unwrap();
            Ok(None)
        }
        .boxed_local()
    });
    troupe
}

async fn come_up(troupe: &Troupe) {
    let all = DispatchOptions::default;
    troupe.dispatcher.dispatch(Attach, all()).await.unwrap();
    troupe.dispatcher.dispatch(Startup, all()).await.unwrap();
}

/// Has `a` do this.
async fn does(
    troupe: &Troupe,
    part: impl for<'a> Fn(&'a HandlerContext) + Send + Sync + Copy + 'static,
) {
    let play = Play::new().on("a", move |cx| {
        async move {
            part(cx);
            Ok(Some(1))
        }
        .boxed_local()
    });
    let options = DispatchOptions::default();
    troupe.dispatcher.dispatch(play, options).await.unwrap();
}

fn told(troupe: &Troupe) -> Vec<String> {
    let told = troupe.dispatcher.telemetry().into_iter();
    told.map(|(key, value)| format!("{key}={value}")).collect()
}

#[actix_rt::test]
async fn an_entry_stands_under_the_name_of_its_connector_until_it_is_set_anew_or_removed() {
    let troupe = telling(&["a", "b"]).await;
    assert_eq!(told(&troupe), [""; 0]);
    come_up(&troupe).await;
    assert_eq!(told(&troupe), ["a.version=1.30", "b.version=1.30"]);
    does(&troupe, |cx| {
        let telemetry = cx.telemetry();
        telemetry.set("version", "1.31").unwrap();
        telemetry.set("platform", "linux/arm64").unwrap();
        assert!(telemetry.set("version", "two\nlines").is_err());
    })
    .await;
    assert_eq!(
        told(&troupe),
        ["a.platform=linux/arm64", "a.version=1.31", "b.version=1.30"]
    );
    does(&troupe, |cx| {
        assert!(cx.telemetry().remove("version"));
        assert!(!cx.telemetry().remove("version"));
    })
    .await;
    assert_eq!(told(&troupe), ["a.platform=linux/arm64", "b.version=1.30"]);
}

#[actix_rt::test]
async fn a_connector_has_so_many_entries_and_no_more() {
    let troupe = telling(&["a", "b"]).await;
    come_up(&troupe).await;
    does(&troupe, |cx| {
        let telemetry = cx.telemetry();
        for at in 1..Telemetry::MAX_ENTRIES {
            telemetry.set(&format!("key{at}"), "x").unwrap();
        }
        assert_eq!(
            telemetry.set("further", "x").unwrap_err().to_string(),
            "connector 'a' has 16 telemetry entries already, so 'further' is not told; remove one \
             first"
        );
        // One that is there can be changed still, and room can be made.
        telemetry.set("key1", "y").unwrap();
        assert!(telemetry.remove("key2"));
        telemetry.set("further", "z").unwrap();
    })
    .await;
    let told = told(&troupe);
    assert_eq!(told.len(), 17);
    for entry in ["a.key1=y", "a.further=z", "b.version=1.30"] {
        assert!(told.contains(&entry.to_owned()), "{entry} in {told:?}");
    }
}

#[actix_rt::test]
async fn nothing_is_left_when_the_servo_detaches_and_all_is_told_anew_when_it_attaches() {
    let troupe = telling(&["a", "b"]).await;
    let all = DispatchOptions::default;
    for _ in 0..2 {
        come_up(&troupe).await;
        assert_eq!(told(&troupe), ["a.version=1.30", "b.version=1.30"]);
        troupe.dispatcher.dispatch(Shutdown, all()).await.unwrap();
        troupe.dispatcher.dispatch(Detach, all()).await.unwrap();
        assert_eq!(told(&troupe), [""; 0]);
    }
    does(&troupe, |cx| {
        let late = cx.telemetry().set("version", "1.30").unwrap_err();
        assert_eq!(late, TelemetryRefused::Leaving("a".into()));
    })
    .await;
    assert_eq!(told(&troupe), [""; 0]);
}

#[actix_rt::test]
async fn what_one_that_failed_has_told_goes_with_it_and_its_next_run_tells_anew() {
    let troupe = telling(&["a", "b"]).await;
    come_up(&troupe).await;
    does(&troupe, |cx| cx.telemetry().set("passing", "1").unwrap()).await;
    troupe.world.attach(|cx| {
        async move {
            cx.telemetry().set("version", "1.31").unwrap();
            Ok(None)
        }
        .boxed_local()
    });
    let play = Play::new().on("a", panics);
    let options = DispatchOptions::default();
    troupe.dispatcher.dispatch(play, options).await.unwrap_err();
    troupe.dispatcher.telemetry_settled(SECOND * 10).await;
    // It was built anew, and what its former run alone told is gone.
    assert_eq!(told(&troupe), ["a.version=1.31", "b.version=1.30"]);
}

#[actix_rt::test]
async fn one_that_was_given_up_has_nothing_told() {
    let troupe = telling(&["a", "b"]).await;
    come_up(&troupe).await;
    // It cannot catch up with its servo any more.
    troupe.world.attach(|cx| {
        async move {
            cx.telemetry().set("version", "1.31").unwrap();
            Err(EventError::failed("no room").into())
        }
        .boxed_local()
    });
    let play = Play::new().on("a", panics);
    let options = DispatchOptions::default();
    troupe.dispatcher.dispatch(play, options).await.unwrap_err();
    eventually("a is parked", || {
        matches!(troupe.child("a").state, State::Parked { .. })
    })
    .await;
    assert_eq!(told(&troupe), ["b.version=1.30"]);
    // It is waited for once, and so long only.
    let brief = Duration::from_millis(5);
    troupe.dispatcher.telemetry_settled(brief).await;
    let again = troupe.dispatcher.telemetry_settled(SECOND * 3600);
    tokio::time::timeout(SECOND, again).await.unwrap();
    assert_eq!(told(&troupe), ["b.version=1.30"]);
}

fn fails_once_told(cx: &HandlerContext) -> Played<'_> {
    async move {
        cx.telemetry().set("version", "1.30").unwrap();
        Err(EventError::failed("no room").into())
    }
    .boxed_local()
}

/// Cannot stop telling.
fn babbles(cx: &HandlerContext) -> Played<'_> {
    async move {
        loop {
            let _ = cx.telemetry().set("version", "1.32");
            tokio::task::yield_now().await;
        }
    }
    .boxed_local()
}

#[actix_rt::test]
async fn one_that_leaves_or_does_not_come_in_leaves_nothing() {
    let troupe = telling(&["a"]).await;
    come_up(&troupe).await;
    let new = || NewConnector::new("newcomer", troupe.another());
    troupe.dispatcher.add_connector(new()).await.unwrap();
    assert_eq!(told(&troupe), ["a.version=1.30", "newcomer.version=1.30"]);
    let removed = troupe.dispatcher.remove_connector("newcomer");
    removed.await.unwrap();
    assert_eq!(told(&troupe), ["a.version=1.30"]);

    troupe.world.attach(fails_once_told);
    let added = troupe.dispatcher.add_connector(new()).await;
    added.unwrap_err();
    assert_eq!(told(&troupe), ["a.version=1.30"]);
}

#[actix_rt::test]
async fn one_that_is_at_work_when_it_is_removed_has_nothing_more_to_tell() {
    let troupe = telling(&["a", "b"]).await;
    come_up(&troupe).await;
    let dispatcher = troupe.dispatcher.clone();
    let work = actix_rt::spawn(async move {
        let play = Play::new().on("a", babbles);
        dispatcher.dispatch(play, DispatchOptions::default()).await
    });
    eventually("it tells", || {
        told(&troupe).contains(&"a.version=1.32".to_owned())
    })
    .await;
    let removed = troupe.dispatcher.remove_connector("a");
    removed.await.unwrap();
    assert_eq!(told(&troupe), ["b.version=1.30"]);
    work.await.unwrap().unwrap_err();
    assert_eq!(told(&troupe), ["b.version=1.30"]);
}
