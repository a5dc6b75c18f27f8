//! When requests are made again (`spec/optimizer-protocol.md` §11, §23: 27, 28, 29).

use std::time::Duration;

use serde_json::json;
use servo_protocol::{
    Budget, GiveUp, Outage, PostError, PostFailure, Response, StatusReply, TokenSource,
    post_with_retry,
};
use tokio_util::sync::CancellationToken;

use crate::{
    channel, opsani, opsani_over,
    server::{Reply, Server},
    time::StandingTime,
    whats_next,
};

async fn ask(server: &Server) -> Result<Response, PostFailure> {
    let client = opsani(&server.url());
    let (outage, cancel) = (Outage::default(), CancellationToken::new());
    post_with_retry(
        &client,
        &whats_next(),
        &Budget::standard(),
        &outage,
        &cancel,
    )
    .await
}

#[tokio::test]
async fn a_server_that_asks_to_be_left_alone_is() {
    let time = StandingTime::begin();
    for status in [429, 503] {
        let server = Server::start(move |_, before| match before {
            0 => Reply::With(status, "retry-after: 7", String::new()),
            _ => Reply::Json(200, json!({"status": "ok"})),
        });
        let (answer, ()) = tokio::join!(ask(&server), async {
            server.until(1).await;
            // Whoever wakes too early has time to be noticed.
            for _ in 0..69 {
                time.pass(Duration::from_millis(100)).await;
            }
            assert_eq!(server.received().len(), 1);
            time.pass_until(|| server.received().len() == 2).await;
        });
        assert_eq!(answer, Ok(Response::Status(StatusReply::ok())));
    }
}

#[tokio::test]
async fn an_application_not_known_yet_is_asked_for_again() {
    let time = StandingTime::begin();
    let server = Server::start(|_, before| match before {
        0 => Reply::Json(404, json!({})),
        1 => Reply::Json(408, json!({})),
        2 => Reply::Json(425, json!({})),
        _ => Reply::Json(200, json!({"status": "ok"})),
    });
    let (answer, ()) = tokio::join!(ask(&server), async {
        time.pass_until(|| server.received().len() == 4).await;
    });
    assert!(answer.is_ok());
}

#[tokio::test]
async fn a_refusal_is_one_request() {
    for status in [301, 400, 401, 403, 409, 410, 418] {
        let server = Server::start(move |_, _| Reply::Json(status, json!({"detail": "x"})));
        let failure = ask(&server).await.unwrap_err();
        let PostFailure::GaveUp { error, why, .. } = failure else {
            panic!("cancelled");
        };
        assert_eq!((error.status(), why), (Some(status), GiveUp::Fatal));
        assert_eq!(server.received().len(), 1);
    }
    let server = Server::start(|_, _| Reply::Json(410, json!({"detail": "unexpected servo_uid"})));
    let failure = ask(&server).await.unwrap_err();
    assert!(
        matches!(
            failure,
            PostFailure::GaveUp {
                error: PostError::ServoReplaced { .. },
                why: GiveUp::Fatal,
                ..
            }
        ),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_rotated_token_file_ends_a_series_of_refusals() {
    let server = Server::start(|request, _| match request.header("authorization") {
        "Bearer new" => Reply::Json(200, json!({"status": "ok"})),
        _ => Reply::Json(401, json!({})),
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "old\n").unwrap();
    let client = opsani_over(channel(), &server.url(), TokenSource::File(file.clone()));
    let (outage, cancel) = (Outage::default(), CancellationToken::new());
    let (budget, request) = (Budget::standard(), whats_next());
    let ask = || post_with_retry(&client, &request, &budget, &outage, &cancel);
    assert!(ask().await.is_err());
    assert!(ask().await.is_err());
    assert_eq!(server.received().len(), 2);
    std::fs::write(&file, "new\n").unwrap();
    assert!(ask().await.is_ok());
    assert_eq!(server.received().len(), 4);
}

/// Servers close idle connections when they like, also while a request is on its way to them. None is lost, and one that
/// the server has taken is not made twice.
#[tokio::test]
async fn a_connection_that_was_closed_when_it_was_idle_is_not_noticed() {
    let server = Server::start(|request, before| match before % 2 {
        // Over the connection of the request before it.
        1 if request.is_reused => Reply::Raw(Vec::new()),
        _ => Reply::Json(200, json!({"status": "ok"})),
    });
    let client = opsani(&server.url());
    let (outage, cancel) = (Outage::default(), CancellationToken::new());
    let (budget, request) = (Budget::standard(), whats_next());
    let began = std::time::Instant::now();
    for _ in 0..20 {
        let answer = post_with_retry(&client, &request, &budget, &outage, &cancel).await;
        assert_eq!(answer, Ok(Response::Status(StatusReply::ok())));
        assert_eq!(outage.lasts(), None);
    }
    // Pauses would have been half a second each.
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    let all = server.received();
    let answered = all
        .iter()
        .zip(0..)
        .filter(|(request, n)| !(n % 2 == 1 && request.is_reused));
    assert_eq!(answered.count(), 20);
    assert!(all.len() > 20, "nothing was ever closed");
}
