//! Policies as seen from outside; parking; escalation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use servo_supervision::{AskError, Exhausted, Exit, Restart, State, SuperviseError, Supervisor};

use crate::failing::{
    Do, Journal, Manners, SECOND, eventually, failing, failing_with, fast, intensity, park,
    root_of, root_with, slow,
};

#[actix_rt::test]
async fn a_transient_child_ends_for_good_when_it_ends_well() {
    let (root, child) = root_of(failing("child").restart(Restart::Transient)).await;
    child.ask(Do::Panic, SECOND).await.unwrap_err();
    child.wait_until_up(SECOND).await.unwrap();
    child.ask(Do::StopByItself, SECOND).await.unwrap_err();
    eventually("ended", || child.status().state == State::Ended).await;
    assert_eq!(root.snapshot().children.len(), 0, "it left the tree");
    assert!(matches!(child.last_exit(), Some(Exit::Normal)));
}

#[actix_rt::test]
async fn a_temporary_child_is_never_restarted() {
    let (root, child) = root_of(failing("child").restart(Restart::Temporary)).await;
    child.ask(Do::Panic, SECOND).await.unwrap_err();
    eventually("ended", || child.status().state == State::Ended).await;
    let again = root
        .reference()
        .start_child(failing("child"), SECOND)
        .await
        .unwrap();
    again.wait_until_up(SECOND).await.unwrap();
}

#[actix_rt::test]
async fn a_restart_storm_ends_parked_and_not_spinning() {
    tokio::time::pause();
    let starts = Arc::new(AtomicU64::new(0));
    let counted = starts.clone();
    let spec =
        servo_supervision::ChildSpec::<crate::failing::FailingActor>::new("child", move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Err("never works".into())
        });
    let spec = spec
        .backoff(fast())
        .intensity(intensity(4))
        .exhausted(park());
    let (_root, child) = root_of(spec).await;
    eventually("parked", || {
        matches!(child.status().state, State::Parked { .. })
    })
    .await;
    assert_eq!(
        starts.load(Ordering::SeqCst),
        5,
        "one start and four restarts"
    );
    tokio::time::sleep(SECOND * 6000).await;
    let retries = starts.load(Ordering::SeqCst) - 5;
    assert!(
        (8..=13).contains(&retries),
        "every 600 s, give or take a quarter: {retries}"
    );
    assert!(matches!(child.status().state, State::Parked { .. }));
}

#[actix_rt::test]
async fn a_parked_child_comes_back_by_itself_and_on_demand() {
    tokio::time::pause();
    let spec = failing("child").intensity(intensity(0)).exhausted(park());
    let (root, child) = root_of(spec).await;
    child.ask(Do::Error, SECOND).await.unwrap_err();
    child.wait_until_up(SECOND * 900).await.unwrap();
    assert_eq!(child.ask(Do::Answer, SECOND).await.unwrap(), 1);

    child.ask(Do::Error, SECOND).await.unwrap_err();
    eventually("parked", || {
        matches!(child.status().state, State::Parked { .. })
    })
    .await;
    root.reference()
        .restart_child("child", SECOND)
        .await
        .unwrap();
    assert_eq!(child.ask(Do::Answer, SECOND).await.unwrap(), 2);
}

#[actix_rt::test]
async fn too_many_restarts_escalate_level_by_level() {
    let journal = Journal::default();
    let sibling = failing_with("sibling", Manners::Obeys, &journal);
    let broken = failing("broken").intensity(intensity(1));
    let (to_broken, to_sibling) = (broken.reference(), sibling.reference());
    let inner = Supervisor::spec("inner", move |children| {
        children.start(sibling.clone());
        children.start(broken.clone());
        Ok(())
    });
    let outer = Supervisor::spec("outer", move |children| {
        children.start(inner.clone().backoff(fast()).intensity(intensity(0)));
        Ok(())
    });
    let root = root_with(move |children| {
        children.start(outer.clone().backoff(fast()).intensity(intensity(1)));
    });

    for _ in 0..2 {
        to_broken.wait_until_up(SECOND).await.unwrap();
        to_broken.ask(Do::Panic, SECOND).await.unwrap_err();
    }
    // `inner` gave up, `outer` allows it no restart, and the root restarted `outer` with all below.
    eventually("outer restarted", || {
        root.snapshot()
            .find("app/outer")
            .is_some_and(|outer| outer.restarts == 1 && outer.state == State::Running)
    })
    .await;
    to_broken.wait_until_up(SECOND).await.unwrap();
    to_sibling.wait_until_up(SECOND).await.unwrap();
    assert_eq!(
        *journal.lock().unwrap(),
        ["sibling up", "sibling asked", "sibling down", "sibling up"]
    );
    let snapshot = root.snapshot();
    let cause = snapshot
        .find("app/outer")
        .unwrap()
        .last_exit
        .clone()
        .unwrap();
    assert!(
        cause.contains("app/outer/inner/broken") && cause.contains("lost in the handler"),
        "{cause}"
    );

    for _ in 0..2 {
        to_broken.wait_until_up(SECOND).await.unwrap();
        to_broken.ask(Do::Panic, SECOND).await.unwrap_err();
    }
    let exit = tokio::time::timeout(SECOND, root.ended()).await.unwrap();
    assert!(
        matches!(&exit, Exit::Failed(error) if error.to_string().contains("app/outer")),
        "{exit}"
    );
}

#[actix_rt::test]
async fn a_parked_supervisor_comes_back_with_its_children() {
    tokio::time::pause();
    let broken = failing("broken").intensity(intensity(0));
    let to_broken = broken.reference();
    let servo = Supervisor::spec("group", move |children| {
        children.start(broken.clone());
        Ok(())
    });
    let (root, group) = root_of(servo.intensity(intensity(0)).exhausted(park())).await;
    to_broken.wait_until_up(SECOND).await.unwrap();
    to_broken.ask(Do::Panic, SECOND).await.unwrap_err();
    eventually("parked", || {
        matches!(group.status().state, State::Parked { .. })
    })
    .await;
    assert_eq!(root.snapshot().find("app").unwrap().state, State::Running);
    eventually("back", || to_broken.is_up()).await;
}

#[actix_rt::test]
async fn a_child_is_restarted_on_demand_in_order() {
    let journal = Journal::default();
    let (root, child) =
        root_of(failing_with("child", Manners::Obeys, &journal).intensity(intensity(0))).await;
    root.reference()
        .restart_child("child", SECOND)
        .await
        .unwrap();
    assert_eq!(child.ask(Do::Answer, SECOND).await.unwrap(), 1);
    assert_eq!(
        *journal.lock().unwrap(),
        ["child up", "child asked", "child down", "child up"]
    );
}

#[actix_rt::test]
async fn children_come_and_go_at_run_time() {
    let (root, _) = root_of(failing("first")).await;
    let supervisor = root.reference();
    let second = supervisor
        .start_child(failing("second"), SECOND)
        .await
        .unwrap();
    second.wait_until_up(SECOND).await.unwrap();
    let error = supervisor
        .start_child(failing("second"), SECOND)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, SuperviseError::Duplicate { name, .. } if name == "second"),
        "{error}"
    );
    assert_eq!(
        second.ask(Do::Answer, SECOND).await.unwrap(),
        0,
        "the living one is untouched"
    );

    assert!(matches!(
        supervisor.stop_child("second", SECOND).await.unwrap(),
        Exit::Stopped
    ));
    let error = supervisor.stop_child("second", SECOND).await.unwrap_err();
    assert!(matches!(&error, SuperviseError::Unknown { .. }), "{error}");
    supervisor
        .start_child(failing("second"), SECOND)
        .await
        .unwrap();
    let names: Vec<_> = root
        .snapshot()
        .children
        .into_iter()
        .map(|child| child.name)
        .collect();
    assert_eq!(names, ["first", "second"]);
}

#[actix_rt::test]
async fn a_child_that_backs_off_can_be_stopped_and_restarted() {
    let (root, child) = root_of(failing("child").backoff(slow())).await;
    child.ask(Do::Panic, SECOND).await.unwrap_err();
    eventually("backing off", || {
        matches!(child.status().state, State::BackingOff { .. })
    })
    .await;
    root.reference()
        .restart_child("child", SECOND)
        .await
        .unwrap();
    child.ask(Do::Panic, SECOND).await.unwrap_err();
    eventually("backing off", || {
        matches!(child.status().state, State::BackingOff { .. })
    })
    .await;
    root.reference().stop_child("child", SECOND).await.unwrap();
    assert!(matches!(
        child.ask(Do::Answer, SECOND).await,
        Err(AskError::Gone { .. })
    ));
}

#[actix_rt::test]
async fn an_init_that_fails_ends_the_root() {
    let root = servo_supervision::Root::start("app", |_| Err("no configuration".into()));
    let exit = tokio::time::timeout(SECOND, root.ended()).await.unwrap();
    assert_eq!(exit.to_string(), "failed: no configuration");

    let root = servo_supervision::Root::start("app", |children| {
        children.start(failing("twin").exhausted(Exhausted::Escalate));
        children.start(failing("twin"));
        Ok(())
    });
    let exit = tokio::time::timeout(SECOND, root.ended()).await.unwrap();
    assert!(exit.to_string().contains("`twin`"), "{exit}");
}
