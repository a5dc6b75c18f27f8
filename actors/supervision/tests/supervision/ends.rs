//! The cause of an end is exact.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use servo_supervision::{AskError, ChildSpec, Exit, State};

use crate::failing::{
    Do, FailingActor, SECOND, TURN_DEADLINE, eventually, failing, failing_with, root_of, root_with,
    rules,
};

async fn death_by(order: Do) -> Exit {
    let (_root, child) = root_of(failing("child")).await;
    let error = child.ask(order, TURN_DEADLINE * 2).await.unwrap_err();
    child.wait_until_up(SECOND).await.unwrap();
    assert_eq!(
        child.ask(Do::Answer, SECOND).await.unwrap(),
        1,
        "the next run answers"
    );
    let AskError::Died { path, exit } = error else {
        panic!("{error:?}")
    };
    assert_eq!(path, "app/child");
    assert_eq!(child.last_exit().unwrap().to_string(), exit.to_string());
    exit
}

#[actix_rt::test]
async fn an_error_is_told() {
    let exit = death_by(Do::Error).await;
    assert!(
        matches!(&exit, Exit::Failed(error) if error.to_string() == "out of paper"),
        "{exit}"
    );
}

#[actix_rt::test]
async fn a_panic_in_the_handler_is_told_with_its_place() {
    let exit = death_by(Do::Panic).await;
    let Exit::Panicked { message, location } = exit else {
        panic!("{exit}")
    };
    assert_eq!(message, "lost in the handler");
    assert!(location.unwrap().contains("failing.rs:"));
}

#[actix_rt::test]
async fn a_panic_in_an_awaited_future_is_the_actors() {
    let exit = death_by(Do::PanicAwaited).await;
    assert!(
        matches!(&exit, Exit::Panicked { message, .. } if message == "lost in the future"),
        "{exit}"
    );
}

#[actix_rt::test]
async fn an_end_of_its_own_is_normal() {
    let exit = death_by(Do::StopByItself).await;
    assert!(matches!(exit, Exit::Normal), "{exit}");
}

#[actix_rt::test]
async fn a_frozen_turn_is_stuck_at_its_deadline() {
    tokio::time::pause();
    let exit = death_by(Do::Freeze).await;
    let Exit::Stuck { doing, after } = exit else {
        panic!("{exit}")
    };
    assert_eq!(doing, "carry out an order");
    assert!(
        after >= TURN_DEADLINE && after < TURN_DEADLINE + SECOND,
        "{after:?}"
    );
}

#[actix_rt::test]
async fn a_slow_turn_within_its_deadline_is_not_stuck() {
    tokio::time::pause();
    let (_root, child) = root_of(failing("child")).await;
    for _ in 0..3 {
        child
            .ask(Do::Slow(TURN_DEADLINE - SECOND), TURN_DEADLINE)
            .await
            .unwrap();
    }
    assert_eq!(child.status().restarts, 0);
}

#[actix_rt::test]
async fn a_protected_turn_is_not_stuck() {
    tokio::time::pause();
    let (_root, child) = root_of(failing("child")).await;
    let long = TURN_DEADLINE * 100;
    assert_eq!(child.ask(Do::Protected(long), long * 2).await.unwrap(), 0);
}

#[actix_rt::test]
async fn one_frozen_turn_among_finished_ones_is_found() {
    tokio::time::pause();
    let (_root, child) = root_of(failing("child")).await;
    let frozen = child.clone();
    let frozen = actix_rt::spawn(async move { frozen.ask(Do::Freeze, TURN_DEADLINE * 2).await });
    for _ in 0..5 {
        child.ask(Do::Slow(SECOND), SECOND * 2).await.unwrap();
    }
    let error = frozen.await.unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            AskError::Died {
                exit: Exit::Stuck { .. },
                ..
            }
        ),
        "{error}"
    );
}

#[actix_rt::test]
async fn a_turn_opened_from_another_thread_has_its_deadline_too() {
    let context = Arc::new(std::sync::Mutex::new(None));
    let shared = context.clone();
    let spec = ChildSpec::new("child", move |context| {
        shared.lock().unwrap().get_or_insert(context);
        Ok(Idle)
    });
    let (_root, child) = root_of(rules(spec).turn_deadline(Duration::from_millis(20))).await;
    let context = context.lock().unwrap().clone().unwrap();
    let turn = std::thread::spawn(move || context.turn("away"))
        .join()
        .unwrap();
    eventually("stuck", || child.status().restarts == 1).await;
    drop(turn);
    assert!(matches!(child.last_exit(), Some(Exit::Stuck { doing, .. }) if doing == "away"));
}

struct Idle;
impl actix::Actor for Idle {
    type Context = actix::Context<Self>;
}
impl servo_supervision::Supervised for Idle {}

#[actix_rt::test]
async fn a_factory_that_errs_or_panics_is_tried_again() {
    let tries = Arc::new(AtomicU64::new(0));
    let counted = tries.clone();
    let spec = ChildSpec::new("child", move |_| {
        match counted.fetch_add(1, Ordering::SeqCst) {
            0 => Err("no port left".into()),
            1 => panic!("bad factory"),
            _ => Ok(Idle),
        }
    });
    let (_root, child) = root_of(rules(spec)).await;
    child.wait_until_up(SECOND).await.unwrap();
    assert_eq!(child.status().restarts, 2);
    assert!(
        matches!(child.last_exit(), Some(Exit::Panicked { message, .. }) if message == "bad factory")
    );
}

#[actix_rt::test]
async fn the_tree_can_be_read_while_an_actor_is_stuck() {
    tokio::time::pause();
    let (root, child) = root_of(failing("child")).await;
    let stuck = child.clone();
    actix_rt::spawn(async move { stuck.ask(Do::Freeze, SECOND).await });
    tokio::time::sleep(SECOND * 2).await;
    let snapshot = root.snapshot();
    let node = snapshot.find("app/child").unwrap();
    assert_eq!(node.state, State::Running);
    assert_eq!(node.doing.as_deref(), Some("waiting for orders"));
    assert_eq!(node.open_turns.len(), 1);
    assert!(
        node.open_turns[0].starts_with("carry out an order (2"),
        "{:?}",
        node.open_turns
    );
    let text = snapshot.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("app: running for "), "{text}");
    assert!(lines[1].starts_with("  child: running for "), "{text}");
    assert!(lines[1].contains("in carry out an order"), "{text}");
}

#[actix_rt::test]
async fn nothing_of_the_actor_runs_after_a_panic_but_its_drop() {
    let journal = crate::failing::Journal::default();
    let spec = failing_with("child", Default::default(), &journal);
    let (_root, child) = root_of::<FailingActor>(spec).await;
    let _ = child.ask(Do::Panic, SECOND).await;
    child.wait_until_up(SECOND).await.unwrap();
    assert_eq!(
        *journal.lock().unwrap(),
        ["child up", "child down", "child up"]
    );
}

#[actix_rt::test]
async fn siblings_are_untouched() {
    let broken = failing("broken");
    let sibling = failing("sibling");
    let (to_broken, to_sibling) = (broken.reference(), sibling.reference());
    let _root = root_with(move |children| {
        children.start(broken.clone());
        children.start(sibling.clone());
    });
    to_sibling.wait_until_up(SECOND).await.unwrap();
    let pending = to_sibling.clone();
    let pending = actix_rt::spawn(async move { pending.ask(Do::Slow(SECOND / 5), SECOND).await });
    let mut slowest = Duration::ZERO;
    for order in [
        Do::Panic,
        Do::PanicAwaited,
        Do::Error,
        Do::StopByItself,
        Do::Panic,
    ] {
        to_broken.wait_until_up(SECOND).await.unwrap();
        to_broken.ask(order, SECOND).await.unwrap_err();
        let asked = std::time::Instant::now();
        assert_eq!(to_sibling.ask(Do::Answer, SECOND).await.unwrap(), 0);
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_millis(50), "{slowest:?}");
    assert_eq!(
        pending.await.unwrap().unwrap(),
        0,
        "its request in flight was answered"
    );
    eventually("five restarts", || to_broken.status().restarts == 5).await;
    assert_eq!(to_sibling.status().restarts, 0);
}
