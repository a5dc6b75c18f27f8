//! Children on other threads, and threads that block.

use std::time::{Duration, Instant};

use servo_supervision::{Arbiters, AskError, Exit, Placement, Supervisor};

use crate::failing::{
    Do, Journal, Manners, SECOND, eventually, failing, failing_with, root_of, root_with,
};

#[actix_rt::test]
async fn children_spread_over_the_pool_and_leave_it() {
    let arbiters = Arbiters::new(2).unwrap();
    let pool = arbiters.clone();
    let root = root_with(move |children| {
        for name in ["a", "b", "c", "d"] {
            children.start(failing(name).placement(Placement::LeastLoaded(pool.clone())));
        }
    });
    eventually("placed", || arbiters.loads() == [2, 2]).await;
    root.reference().stop_child("c", SECOND).await.unwrap();
    eventually("one left", || arbiters.loads().iter().sum::<usize>() == 3).await;
    root.shutdown(SECOND * 5).await.unwrap();
    assert_eq!(arbiters.loads(), [0, 0]);
}

#[actix_rt::test]
async fn a_child_elsewhere_fails_and_stops_like_one_here() {
    let placement = Placement::LeastLoaded(Arbiters::new(1).unwrap());
    let journal = Journal::default();
    let (root, child) =
        root_of(failing_with("child", Manners::Obeys, &journal).placement(placement)).await;
    for order in [Do::Panic, Do::PanicAwaited, Do::Error, Do::StopByItself] {
        child.wait_until_up(SECOND).await.unwrap();
        let asked = Instant::now();
        let error = child.ask(order, SECOND * 10).await.unwrap_err();
        assert!(matches!(error, AskError::Died { .. }), "{order:?}: {error}");
        assert!(asked.elapsed() < Duration::from_millis(100));
    }
    child.wait_until_up(SECOND).await.unwrap();
    assert_eq!(child.ask(Do::Answer, SECOND).await.unwrap(), 4);
    root.shutdown(SECOND * 5).await.unwrap();
    assert_eq!(journal.lock().unwrap().last().unwrap(), "child down");
}

#[actix_rt::test]
async fn children_of_a_blocked_thread_start_anew_on_another() {
    let limit = Duration::from_millis(200);
    let arbiters = Arbiters::with_limit(1, limit).unwrap();
    let blocked = failing("blocker");
    let neighbour = failing("neighbour");
    let (to_blocked, to_neighbour) = (blocked.reference(), neighbour.reference());
    let group = Supervisor::spec("group", move |children| {
        children.start(blocked.clone());
        children.start(neighbour.clone());
        Ok(())
    });
    let (root, group) = root_of(group.placement(Placement::LeastLoaded(arbiters.clone()))).await;
    to_blocked.wait_until_up(SECOND).await.unwrap();
    to_neighbour.wait_until_up(SECOND).await.unwrap();

    let asked = Instant::now();
    let block = SECOND * 2;
    let _ = to_blocked.try_tell(Do::BlockThread(block));
    eventually("replaced", || {
        group.status().restarts == 1 && to_neighbour.is_up() && to_blocked.is_up()
    })
    .await;
    assert!(asked.elapsed() < block, "{:?}", asked.elapsed());
    let Some(Exit::Stuck { doing, .. }) = group.last_exit() else {
        panic!("{:?}", group.last_exit())
    };
    assert!(
        doing.contains("app/group/blocker: carry out an order"),
        "{doing}"
    );
    assert_eq!(
        arbiters.loads(),
        [1],
        "the blocked thread is out, a new one is in"
    );

    // When the thread comes back, what is left there must not touch its successors.
    tokio::time::sleep(block.saturating_sub(asked.elapsed()) + SECOND / 5).await;
    assert!(to_neighbour.ask(Do::Answer, SECOND).await.is_ok());
    assert!(to_blocked.ask(Do::Answer, SECOND).await.is_ok());
    assert_eq!(group.status().restarts, 1);
    assert_eq!(root.snapshot().find("app/group").unwrap().children.len(), 2);
    root.shutdown(SECOND * 5).await.unwrap();
}

#[actix_rt::test]
async fn who_asks_a_child_on_a_blocked_thread_learns_it_with_the_verdict() {
    let arbiters = Arbiters::with_limit(1, Duration::from_millis(100)).unwrap();
    let (_root, child) =
        root_of(failing("child").placement(Placement::LeastLoaded(arbiters))).await;
    let asked = Instant::now();
    let error = child
        .ask(Do::BlockThread(SECOND * 2), SECOND * 60)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            AskError::Died {
                exit: Exit::Stuck { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert!(asked.elapsed() < SECOND, "{:?}", asked.elapsed());
    child.wait_until_up(SECOND).await.unwrap();
}

#[actix_rt::test]
async fn one_that_blocks_its_thread_does_not_hold_up_a_shutdown() {
    let arbiters = Arbiters::new(1).unwrap();
    let spec = failing("child")
        .placement(Placement::LeastLoaded(arbiters))
        .shutdown(SECOND / 5);
    let (root, child) = root_of(spec).await;
    let _ = child.try_tell(Do::BlockThread(SECOND * 2));
    let asked = Instant::now();
    root.shutdown(SECOND * 5).await.unwrap();
    assert!(asked.elapsed() < SECOND, "{:?}", asked.elapsed());
}
