//! A connector that is restarted while its servo is up goes through `attach` and `startup` first.

use std::time::Duration;

use futures_util::FutureExt;
use servo_dispatch::{Attach, Detach, DispatchOptions, Shutdown, Startup};
use servo_messages::EventError;

use crate::troupe::{Play, Troupe, answer, eventually, fail, only, panics};

async fn come_up(troupe: &Troupe) {
    let all = DispatchOptions::default;
    troupe.dispatcher.dispatch(Attach, all()).await.unwrap();
    troupe.dispatcher.dispatch(Startup, all()).await.unwrap();
    troupe.world.happened.lock().unwrap().clear();
}

async fn break_a(troupe: &Troupe) {
    let play = Play::new().on("a", panics);
    troupe
        .dispatcher
        .dispatch(play, only(&["a"]))
        .await
        .unwrap_err();
}

async fn ask_a(troupe: &Troupe) -> u64 {
    let play = Play::new().on("a", answer(3));
    let outcome = troupe.dispatcher.dispatch(play, only(&["a"])).await;
    outcome.unwrap().values().next().unwrap()
}

#[actix_rt::test]
async fn it_catches_up_before_it_is_asked_anything() {
    let troupe = Troupe::of(&["a", "b"]).await;
    come_up(&troupe).await;
    let world = troupe.world.clone();
    troupe.world.startup(move |_| {
        let world = world.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(30)).await;
            world.note("started");
            Ok(None)
        }
        .boxed_local()
    });
    break_a(&troupe).await;
    assert_eq!(ask_a(&troupe).await, 3);
    assert_eq!(
        troupe.world.happened(),
        ["a attach", "a startup", "started"]
    );
}

#[actix_rt::test]
async fn nothing_is_started_before_its_servo_or_after() {
    let troupe = Troupe::of(&["a", "b"]).await;
    break_a(&troupe).await;
    assert_eq!(ask_a(&troupe).await, 3);
    assert!(troupe.world.happened().is_empty());
    come_up(&troupe).await;
    let all = DispatchOptions::default;
    troupe.dispatcher.dispatch(Shutdown, all()).await.unwrap();
    troupe.dispatcher.dispatch(Detach, all()).await.unwrap();
    break_a(&troupe).await;
    assert_eq!(ask_a(&troupe).await, 3);
    assert!(troupe.world.happened().is_empty());
}

#[actix_rt::test]
async fn one_that_cannot_catch_up_is_restarted_again() {
    let troupe = Troupe::of(&["a", "b"]).await;
    come_up(&troupe).await;
    troupe.world.startup(fail(EventError::failed("no props")));
    break_a(&troupe).await;
    eventually("another restart", || troupe.child("a").restarts >= 2).await;
    let exit = troupe.child("a").last_exit.unwrap();
    assert_eq!(exit, "failed: startup failed after a restart: no props");
    *troupe.world.startup.lock().unwrap() = None;
    assert_eq!(ask_a(&troupe).await, 3);
}
