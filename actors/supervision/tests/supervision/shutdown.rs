//! Shutdown is ordered and bounded.

use std::time::Duration;

use servo_supervision::{Exit, State, StopOrder, SuperviseError, Supervisor};
use tokio::time::Instant;

use crate::failing::{
    Do, Journal, Manners, SECOND, failing, failing_with, root_of, root_with, slow,
};

#[actix_rt::test]
async fn children_stop_one_by_one_last_started_first() {
    tokio::time::pause();
    let journal = Journal::default();
    let shared = journal.clone();
    let root = root_with(move |children| {
        children.start(failing_with("a", Manners::Obeys, &shared));
        let inner = shared.clone();
        children.start(Supervisor::spec("group", move |group| {
            group.start(failing_with("b", Manners::Takes(SECOND), &inner));
            group.start(failing_with("c", Manners::Takes(SECOND * 2), &inner));
            Ok(())
        }));
        children.start(failing_with("d", Manners::Takes(SECOND), &shared));
    });
    tokio::time::sleep(SECOND).await;
    journal.lock().unwrap().clear();
    root.shutdown(SECOND * 10).await.unwrap();
    assert_eq!(
        *journal.lock().unwrap(),
        [
            "d asked", "d down", "c asked", "c down", "b asked", "b down", "a asked", "a down"
        ]
    );
    assert!(matches!(root.ended().await, Exit::Stopped));
    assert_eq!(root.snapshot().state, State::Ended);
}

#[actix_rt::test]
async fn one_may_take_leave_ahead_of_those_started_after_it() {
    tokio::time::pause();
    let journal = Journal::default();
    let shared = journal.clone();
    let root = root_with(move |children| {
        children.stop_order(StopOrder::After("envoy"));
        children.start(failing_with("a", Manners::Obeys, &shared));
        children.start(failing_with("envoy", Manners::Takes(SECOND), &shared));
    });
    tokio::time::sleep(SECOND).await;
    let late = failing_with("late", Manners::Obeys, &journal);
    root.reference().start_child(late, SECOND).await.unwrap();
    tokio::time::sleep(SECOND).await;
    journal.lock().unwrap().clear();
    root.shutdown(SECOND * 10).await.unwrap();
    assert_eq!(
        *journal.lock().unwrap(),
        [
            "envoy asked",
            "envoy down",
            "late asked",
            "late down",
            "a asked",
            "a down"
        ]
    );
}

#[actix_rt::test]
async fn independent_children_may_stop_together() {
    tokio::time::pause();
    let root = root_with(|children| {
        children.stop_order(StopOrder::Together);
        for n in 0..100 {
            children.start(failing_with(
                &n.to_string(),
                Manners::Takes(SECOND),
                &Journal::default(),
            ));
        }
    });
    tokio::time::sleep(SECOND).await;
    let started = Instant::now();
    root.shutdown(SECOND * 10).await.unwrap();
    assert!(started.elapsed() < SECOND * 2);
}

#[actix_rt::test]
async fn one_that_refuses_is_killed_after_its_budget() {
    tokio::time::pause();
    let journal = Journal::default();
    let stubborn = failing_with("stubborn", Manners::Refuses, &journal).shutdown(SECOND * 3);
    let (root, child) = root_of(stubborn).await;
    let started = Instant::now();
    let exit = root
        .reference()
        .stop_child("stubborn", SECOND * 10)
        .await
        .unwrap();
    assert!(
        matches!(&exit, Exit::Stuck { doing, after } if doing == "stopping" && *after == SECOND * 3),
        "{exit}"
    );
    assert!(started.elapsed() < SECOND * 4);
    assert_eq!(journal.lock().unwrap().last().unwrap(), "stubborn down");
    assert!(!child.is_up());
}

#[actix_rt::test]
async fn refusing_children_do_not_hold_up_the_shutdown() {
    tokio::time::pause();
    let journal = Journal::default();
    let shared = journal.clone();
    let root = root_with(move |children| {
        children.start(failing_with("good", Manners::Obeys, &shared));
        let inner = shared.clone();
        children.start(Supervisor::spec("group", move |group| {
            for name in ["bad", "worse"] {
                group.start(failing_with(name, Manners::Refuses, &inner).shutdown(SECOND));
            }
            Ok(())
        }));
    });
    tokio::time::sleep(SECOND).await;
    let started = Instant::now();
    root.shutdown(SECOND * 10).await.unwrap();
    assert!(started.elapsed() < SECOND * 3, "{:?}", started.elapsed());
    assert_eq!(journal.lock().unwrap().last().unwrap(), "good down");
}

#[actix_rt::test]
async fn past_the_whole_budget_the_rest_is_killed_and_named() {
    tokio::time::pause();
    let journal = Journal::default();
    let shared = journal.clone();
    let root = root_with(move |children| {
        let inner = shared.clone();
        children.start(Supervisor::spec("group", move |group| {
            group.start(failing_with("stubborn", Manners::Refuses, &inner).shutdown(SECOND * 100));
            Ok(())
        }));
        children.start(failing_with("good", Manners::Obeys, &shared));
    });
    tokio::time::sleep(SECOND).await;
    let overrun = root.shutdown(SECOND).await.unwrap_err();
    assert_eq!(
        overrun.unfinished,
        ["app/group/stubborn", "app/group", "app"]
    );
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(journal.lock().unwrap().last().unwrap(), "stubborn down");
}

#[actix_rt::test]
async fn a_frozen_child_is_stopped_too() {
    tokio::time::pause();
    let (root, child) = root_of(failing("child")).await;
    actix_rt::spawn(async move { child.ask(Do::Freeze, SECOND * 100).await });
    tokio::time::sleep(SECOND).await;
    root.shutdown(SECOND).await.unwrap();
}

#[actix_rt::test]
async fn a_stop_during_a_restart_on_demand_wins() {
    tokio::time::pause();
    let (root, child) = root_of(failing_with(
        "child",
        Manners::Takes(SECOND),
        &Journal::default(),
    ))
    .await;
    let supervisor = root.reference();
    let restart = supervisor.restart_child("child", SECOND * 3);
    let stop = async {
        tokio::time::sleep(SECOND / 2).await;
        supervisor.stop_child("child", SECOND * 3).await
    };
    let (restarted, stopped) = futures_util::join!(restart, stop);
    assert!(restarted.is_err());
    assert!(matches!(stopped.unwrap(), Exit::Stopped));
    assert_eq!(child.status().state, State::Ended);
}

#[actix_rt::test]
async fn nothing_starts_during_a_shutdown() {
    tokio::time::pause();
    let hours = SECOND * 7200;
    let journal = Journal::default();
    let shared = journal.clone();
    let root = root_with(move |children| {
        children.start(failing_with("first", Manners::Obeys, &shared).backoff(slow()));
        let lingering = failing_with("lingering", Manners::Takes(hours), &Journal::default());
        children.start(lingering.shutdown(hours * 2));
    });
    let supervisor = root.reference();
    tokio::time::sleep(SECOND).await;
    let late = failing("late");
    journal.lock().unwrap().clear();
    let shutdown = root.shutdown(hours * 3);
    let meanwhile = async {
        tokio::task::yield_now().await;
        let refused = supervisor.start_child(late, SECOND).await.unwrap_err();
        assert!(
            matches!(refused, SuperviseError::Stopping { .. }),
            "{refused}"
        );
        let refused = supervisor.restart_child("first", SECOND).await.unwrap_err();
        assert!(
            matches!(refused, SuperviseError::Stopping { .. }),
            "{refused}"
        );
    };
    let (shutdown, ()) = futures_util::join!(shutdown, meanwhile);
    shutdown.unwrap();
    assert_eq!(*journal.lock().unwrap(), ["first asked", "first down"]);
}

#[actix_rt::test]
async fn a_backoff_that_ends_during_a_shutdown_starts_nothing() {
    tokio::time::pause();
    let hours = SECOND * 7200;
    let journal = Journal::default();
    let broken = failing_with("broken", Manners::Obeys, &journal).backoff(slow());
    let to_broken = broken.reference();
    let root = root_with(move |children| {
        children.start(broken.clone());
        let lingering = failing_with("lingering", Manners::Takes(hours), &Journal::default());
        children.start(lingering.shutdown(hours * 2));
    });
    to_broken.wait_until_up(SECOND).await.unwrap();
    to_broken.ask(Do::Panic, SECOND).await.unwrap_err();
    root.shutdown(hours * 3).await.unwrap();
    assert_eq!(*journal.lock().unwrap(), ["broken up", "broken down"]);
}
