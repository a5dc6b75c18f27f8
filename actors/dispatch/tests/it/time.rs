//! Deadlines, by a clock that the test moves.

use std::time::Duration;

use futures_util::FutureExt;
use servo_dispatch::{DispatchError, DispatchOptions};

use crate::troupe::{Play, Troupe, obeys};

#[actix_rt::test]
async fn an_overdue_dispatch_tells_whom_it_waited_for() {
    let troupe = Troupe::of(&["a", "b", "c"]).await;
    troupe
        .dispatcher
        .dispatch(Play::new(), DispatchOptions::default())
        .await
        .unwrap();
    tokio::time::pause();
    let play = Play::new().on("a", obeys).on("c", obeys);
    let began = tokio::time::Instant::now();
    let outcome = troupe
        .dispatcher
        .dispatch(play, DispatchOptions::within(Duration::from_secs(60)))
        .await;
    assert_eq!(began.elapsed().as_secs(), 60);
    let Err(DispatchError::Deadline { waiting_for, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(waiting_for, ["a", "c"]);
}

#[actix_rt::test]
async fn the_longest_time_that_can_be_told_is_no_panic() {
    let troupe = Troupe::of(&["a"]).await;
    let options = DispatchOptions {
        timeout: Duration::MAX,
        grace: Duration::MAX,
        ..DispatchOptions::default()
    };
    let play = Play::new().on("a", |cx| {
        async {
            cx.sleep(Duration::from_millis(1)).await?;
            Ok(Some(1))
        }
        .boxed_local()
    });
    let outcome = troupe.dispatcher.dispatch(play, options).await;
    assert_eq!(outcome.unwrap().values().collect::<Vec<_>>(), [1]);
}

/// What a connector reports that waits for 100 s and tells of it every 50 s, when whoever waits wants
/// to hear of it as often as `wanted`: percent and seconds.
async fn reports_of_waiting(wanted: Option<Duration>) -> Vec<(f64, u64)> {
    let troupe = Troupe::of(&["a"]).await;
    troupe
        .dispatcher
        .dispatch(Play::new(), DispatchOptions::default())
        .await
        .unwrap();
    tokio::time::pause();
    let reports: std::sync::Arc<std::sync::Mutex<Vec<(f64, u64)>>> = Default::default();
    let sink = reports.clone();
    let options = DispatchOptions {
        timeout: Duration::from_secs(600),
        progress: Some(std::sync::Arc::new(move |update| {
            let told = (update.percent.round(), update.runtime.as_secs());
            sink.lock().unwrap().push(told);
        })),
        progress_interval: wanted,
        ..DispatchOptions::default()
    };
    let play = Play::new().on("a", |cx| {
        async {
            let (total, every) = (Duration::from_secs(100), Duration::from_secs(50));
            cx.sleep_with_progress(total, every, "waiting").await?;
            Ok(None)
        }
        .boxed_local()
    });
    troupe.dispatcher.dispatch(play, options).await.unwrap();
    std::mem::take(&mut *reports.lock().unwrap())
}

#[actix_rt::test]
async fn waiting_with_progress_reports_as_it_goes() {
    let reports = reports_of_waiting(None).await;
    assert_eq!(reports, [(0.0, 0), (50.0, 50), (100.0, 100)]);
}

#[actix_rt::test]
async fn waiting_with_progress_reports_as_often_as_somebody_wants_to_hear() {
    let reports = reports_of_waiting(Some(Duration::from_secs(25))).await;
    let expected = [(0.0, 0), (25.0, 25), (50.0, 50), (75.0, 75), (100.0, 100)];
    assert_eq!(reports, expected);
}

#[actix_rt::test]
async fn waiting_with_progress_is_no_quieter_because_nobody_is_in_a_hurry() {
    let reports = reports_of_waiting(Some(Duration::from_secs(3600))).await;
    assert_eq!(reports, [(0.0, 0), (50.0, 50), (100.0, 100)]);
}
