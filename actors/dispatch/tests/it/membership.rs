//! Connectors that come and go while their servo runs (`spec/events-and-checks.md` §7, items 17 and 18).

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use servo_dispatch::{
    Attach, Detach, DispatchOptions, NewConnector, Shutdown, Startup, WhichConnector,
};
use servo_messages::EventError;
use servo_supervision::State;

use crate::troupe::{
    Encore, Play, Played, SECOND, Troupe, World, another, eventually, only, panics,
};

const LONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

async fn come_up(troupe: &Troupe) {
    let all = DispatchOptions::default;
    troupe.dispatcher.dispatch(Attach, all()).await.unwrap();
    troupe.dispatcher.dispatch(Startup, all()).await.unwrap();
    troupe.world.happened.lock().unwrap().clear();
}

fn new(troupe: &Troupe, name: &str) -> NewConnector {
    NewConnector::new(name, troupe.another())
}

/// Who answers an event.
async fn present(troupe: &Troupe) -> Vec<String> {
    let options = DispatchOptions::default();
    let outcome = troupe.dispatcher.dispatch(Encore(Play::new()), options);
    let results = outcome.await.unwrap().results;
    results.iter().map(|r| r.connector.to_string()).collect()
}

/// Fails what connectors of that name do.
fn fails_for(
    who: &'static str,
) -> impl for<'a> Fn(&'a servo_dispatch::HandlerContext) -> Played<'a> {
    move |cx| {
        let fails = cx.connector() == who;
        async move {
            if fails {
                return Err(EventError::failed("no room").into());
            }
            Ok(None)
        }
        .boxed_local()
    }
}

#[actix_rt::test]
async fn names_that_are_taken_or_break_a_rule_change_nothing() {
    let troupe = Troupe::of(&["a", "b"]).await;
    come_up(&troupe).await;
    for (name, told) in [
        (
            "a",
            "invalid name: a connector named 'a' already exists in the servo".to_owned(),
        ),
        (
            "theatre",
            "invalid name: a connector named 'theatre' already exists in the servo".to_owned(),
        ),
        (
            "cd",
            "invalid name \"cd\": names have 3 to 128 characters".to_owned(),
        ),
        (
            LONG,
            format!("invalid name {LONG:?}: names have 3 to 128 characters"),
        ),
        (
            "dispatcher",
            "invalid name \"dispatcher\": parts of the servo itself are called `dispatcher` and \
             `optimizer`"
                .to_owned(),
        ),
        (
            "a b",
            "invalid name \"a b\": names may only contain alphanumeric characters, hyphens, \
             slashes, periods, colons, and underscores"
                .to_owned(),
        ),
    ] {
        let error = troupe.dispatcher.add_connector(new(&troupe, name)).await;
        assert_eq!(error.unwrap_err().to_string(), told);
    }
    assert_eq!(present(&troupe).await, ["a", "b"]);
    assert_eq!(troupe.root.snapshot().children.len(), 3);
    assert_eq!(troupe.world.happened(), Vec::<String>::new());
    assert_eq!(troupe.child("a").restarts, 0);
}

#[actix_rt::test]
async fn on_a_running_servo_it_attaches_and_starts_and_answers() {
    let troupe = Troupe::of(&["a", "b"]).await;
    come_up(&troupe).await;
    troupe
        .dispatcher
        .add_connector(new(&troupe, "new:comer"))
        .await
        .unwrap();
    assert_eq!(
        troupe.world.happened(),
        ["new:comer attach", "new:comer startup"]
    );
    assert_eq!(present(&troupe).await, ["a", "b", "new:comer"]);
    assert_eq!(troupe.child("new:comer").state, State::Running);
    let again = troupe.dispatcher.add_connector(new(&troupe, "new:comer"));
    assert_eq!(
        again.await.unwrap_err().to_string(),
        "invalid name: a connector named 'new:comer' already exists in the servo"
    );
    // It shuts down with the others.
    let all = DispatchOptions::default;
    troupe.dispatcher.dispatch(Shutdown, all()).await.unwrap();
    troupe.dispatcher.dispatch(Detach, all()).await.unwrap();
    let farewells = troupe.world.farewells();
    assert!(farewells.contains(&"new:comer shutdown".to_owned()));
    assert!(farewells.contains(&"new:comer detach".to_owned()));
    let late = troupe.dispatcher.add_connector(new(&troupe, "late"));
    assert_eq!(
        late.await.unwrap_err().to_string(),
        "connector 'late' cannot be added: servo theatre is shutting down"
    );
    assert_eq!(present(&troupe).await, ["a", "b", "new:comer"]);
}

#[actix_rt::test]
async fn one_that_comes_ahead_of_its_servo_attaches_with_the_others() {
    let troupe = Troupe::of(&["a"]).await;
    let added = troupe.dispatcher.add_connector(new(&troupe, "early"));
    added.await.unwrap();
    assert_eq!(troupe.world.happened(), Vec::<String>::new());
    let all = DispatchOptions::default;
    troupe.dispatcher.dispatch(Attach, all()).await.unwrap();
    let happened = troupe.world.happened();
    assert_eq!(happened.len(), 2);
    assert!(
        happened.contains(&"early attach".to_owned()),
        "{happened:?}"
    );
    let added = troupe.dispatcher.add_connector(new(&troupe, "attached"));
    added.await.unwrap();
    assert_eq!(troupe.world.happened()[2..], ["attached attach"]);
}

#[actix_rt::test]
async fn one_that_cannot_attach_or_start_is_gone_again() {
    let troupe = Troupe::of(&["a"]).await;
    come_up(&troupe).await;
    troupe.world.attach(fails_for("newcomer"));
    let added = troupe.dispatcher.add_connector(new(&troupe, "newcomer"));
    assert_eq!(
        added.await.unwrap_err().to_string(),
        "connector 'newcomer' was not added, because its attach failed: newcomer: no room"
    );
    assert_eq!(present(&troupe).await, ["a"]);
    assert!(!troupe.has_child("newcomer") && !troupe.has_child("parent:child"));

    *troupe.world.attach.lock().unwrap() = None;
    troupe.world.farewells.lock().unwrap().clear();
    troupe.world.startup(fails_for("newcomer"));
    let added = troupe.dispatcher.add_connector(new(&troupe, "newcomer"));
    assert_eq!(
        added.await.unwrap_err().to_string(),
        "connector 'newcomer' was not added, because its startup failed: newcomer: no room"
    );
    assert_eq!(
        troupe.world.farewells(),
        ["newcomer shutdown", "newcomer detach"]
    );
    assert_eq!(present(&troupe).await, ["a"]);
    assert!(!troupe.has_child("newcomer") && !troupe.has_child("parent:child"));

    // The name is free, and `a` has never noticed.
    *troupe.world.startup.lock().unwrap() = None;
    let added = troupe.dispatcher.add_connector(new(&troupe, "newcomer"));
    added.await.unwrap();
    assert_eq!(present(&troupe).await, ["a", "newcomer"]);
    assert_eq!(troupe.child("a").restarts, 0);
}

#[actix_rt::test]
async fn one_that_is_given_up_half_way_is_gone_again() {
    let troupe = Troupe::of(&["a"]).await;
    come_up(&troupe).await;
    troupe.world.attach(|cx| {
        async move {
            cx.cancellation().cancelled().await;
            Err(cx.cancelled().into())
        }
        .boxed_local()
    });
    let added = troupe.dispatcher.add_connector(new(&troupe, "newcomer"));
    let given_up = tokio::time::timeout(Duration::from_millis(50), added).await;
    assert!(given_up.is_err());
    assert_eq!(troupe.dispatcher.bus().connectors(), ["a".into()]);
    eventually("the newcomer has ended", || !troupe.has_child("newcomer")).await;
}

#[actix_rt::test]
async fn a_newcomer_that_fails_comes_back_like_any_other() {
    let troupe = Troupe::of(&["a"]).await;
    come_up(&troupe).await;
    let mut newcomer = new(&troupe, "newcomer");
    newcomer.policy.backoff =
        servo_supervision::Backoff::try_new(SECOND / 1000, SECOND / 100, SECOND * 60).unwrap();
    troupe.dispatcher.add_connector(newcomer).await.unwrap();
    troupe.world.happened.lock().unwrap().clear();
    let play = Play::new().on("newcomer", panics);
    let outcome = troupe.dispatcher.dispatch(play, only(&["newcomer"])).await;
    assert!(outcome.unwrap_err().to_string().contains("lost the thread"));
    assert_eq!(present(&troupe).await, ["a", "newcomer"]);
    assert_eq!(
        troupe.world.happened(),
        ["newcomer attach", "newcomer startup"]
    );
}

#[actix_rt::test]
async fn who_is_removed_takes_its_leave_and_part_in_nothing_more() {
    let troupe = Troupe::of(&["a", "b"]).await;
    come_up(&troupe).await;
    let handle = troupe
        .dispatcher
        .add_connector(new(&troupe, "newcomer"))
        .await
        .unwrap();
    assert_eq!(&**handle.name(), "newcomer");
    troupe.dispatcher.remove_connector(&handle).await.unwrap();
    assert_eq!(
        troupe.world.farewells(),
        ["newcomer shutdown", "newcomer detach"]
    );
    assert_eq!(present(&troupe).await, ["a", "b"]);
    assert!(!troupe.has_child("newcomer") && !troupe.has_child("parent:child"));

    // One that the servo began with, too. It does not come back.
    troupe.dispatcher.remove_connector("a").await.unwrap();
    assert_eq!(present(&troupe).await, ["b"]);
    assert_eq!(troupe.world.farewells()[2..], ["a shutdown", "a detach"]);
    eventually("a has ended", || {
        troupe.root.snapshot().find("root/a").is_none()
    })
    .await;

    for unknown in ["a", "newcomer", "theatre", "nobody"] {
        assert_eq!(
            troupe
                .dispatcher
                .remove_connector(unknown)
                .await
                .unwrap_err()
                .to_string(),
            format!("invalid connector: a connector named '{unknown}' does not exist in the servo")
        );
    }
    // Another one under the same name is another one.
    let second = troupe.dispatcher.add_connector(new(&troupe, "newcomer"));
    let second = second.await.unwrap();
    assert_eq!(
        troupe
            .dispatcher
            .remove_connector(&handle)
            .await
            .unwrap_err()
            .to_string(),
        "invalid connector: a connector named 'newcomer' does not exist in the servo"
    );
    troupe
        .dispatcher
        .remove_connector(WhichConnector::This(second))
        .await
        .unwrap();
    assert_eq!(present(&troupe).await, ["b"]);
    assert_eq!(troupe.child("b").restarts, 0);
}

#[actix_rt::test]
async fn two_that_remove_the_same_one_remove_it_once() {
    let troupe = Troupe::of(&["a", "b"]).await;
    come_up(&troupe).await;
    let (one, other) = futures_util::future::join(
        troupe.dispatcher.remove_connector("a"),
        troupe.dispatcher.remove_connector("a"),
    )
    .await;
    assert!(one.is_ok() != other.is_ok());
    assert_eq!(troupe.world.farewells(), ["a shutdown", "a detach"]);
}

/// Has connectors called `parent` add a child each time they attach.
fn adds_a_child(world: &Arc<World>) {
    let weak = Arc::downgrade(world);
    world.attach(move |cx| {
        let child = weak.upgrade().map(|world| another(&world));
        async move {
            if cx.connector() == "parent" {
                let child = NewConnector::new("parent:child", child.unwrap());
                cx.add_connector(child).await.unwrap();
                assert_eq!(cx.connector(), "parent");
            }
            Ok(None)
        }
        .boxed_local()
    });
}

#[actix_rt::test]
async fn children_come_and_go_with_their_parent() {
    let troupe = Troupe::of(&["a"]).await;
    come_up(&troupe).await;
    adds_a_child(&troupe.world);
    let mut parent = new(&troupe, "parent");
    parent.policy.backoff =
        servo_supervision::Backoff::try_new(SECOND / 1000, SECOND / 100, SECOND * 60).unwrap();
    troupe.dispatcher.add_connector(parent).await.unwrap();
    assert_eq!(
        troupe.world.happened(),
        [
            "parent attach",
            "parent:child attach",
            "parent:child startup",
            "parent startup"
        ]
    );
    assert_eq!(present(&troupe).await, ["a", "parent", "parent:child"]);
    // A parent that is built anew attaches anew, and has one child again.
    let play = Play::new().on("parent", panics);
    let outcome = troupe.dispatcher.dispatch(play, only(&["parent"])).await;
    outcome.unwrap_err();
    assert_eq!(present(&troupe).await, ["a", "parent", "parent:child"]);
    troupe.world.farewells.lock().unwrap().clear();
    troupe.dispatcher.remove_connector("parent").await.unwrap();
    assert_eq!(
        troupe.world.farewells(),
        [
            "parent:child shutdown",
            "parent:child detach",
            "parent shutdown",
            "parent detach"
        ]
    );
    assert_eq!(present(&troupe).await, ["a"]);
    // With a parent that fails behind them, they are gone as well.
    troupe.world.startup(fails_for("parent"));
    let added = troupe.dispatcher.add_connector(new(&troupe, "parent"));
    added.await.unwrap_err();
    assert_eq!(present(&troupe).await, ["a"]);
    assert!(!troupe.has_child("newcomer") && !troupe.has_child("parent:child"));
}

#[actix_rt::test]
async fn children_of_one_that_attaches_with_its_servo_attach_and_start_once() {
    let troupe = Troupe::of(&["a", "parent"]).await;
    adds_a_child(&troupe.world);
    let all = DispatchOptions::default;
    troupe.dispatcher.dispatch(Attach, all()).await.unwrap();
    troupe.dispatcher.dispatch(Startup, all()).await.unwrap();
    let happened = troupe.world.happened();
    let of_child: Vec<&String> = happened.iter().filter(|h| h.contains("child")).collect();
    assert_eq!(of_child, ["parent:child attach", "parent:child startup"]);
}

#[actix_rt::test]
async fn newcomers_end_with_their_servo() {
    let troupe = Troupe::of(&["a"]).await;
    come_up(&troupe).await;
    let added = troupe.dispatcher.add_connector(new(&troupe, "newcomer"));
    added.await.unwrap();
    troupe.root.shutdown(SECOND * 10).await.unwrap();
    assert!(!troupe.has_child("newcomer"));
    let late = troupe.dispatcher.add_connector(new(&troupe, "late"));
    assert!(late.await.is_err());
    assert_eq!(
        troupe.dispatcher.bus().connectors(),
        ["a", "newcomer"].map(Arc::from)
    );
}
