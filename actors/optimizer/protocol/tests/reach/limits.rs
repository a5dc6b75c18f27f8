//! Requests to one host at once, and who is told of them (`spec/optimizer-protocol.md` §17).

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::json;
use servo_protocol::{
    Channel, EventName, HostLimits, HttpOptimizer, OptimizerClient as _, PostError,
    RequestObserver, RequestOutcome, TokenSource, TransportKind,
};

use crate::{
    LONG, channel, hello, opsani, opsani_over,
    server::{Reply, Server},
    whats_next,
};

fn ok() -> Reply {
    Reply::Json(200, json!({"status": "ok"}))
}

fn limited(requests: usize, patience: Duration) -> Channel {
    let limits = HostLimits::new(NonZeroUsize::new(requests).unwrap());
    channel().limited(limits, patience)
}

fn over(channel: &Channel, server: &Server) -> HttpOptimizer {
    opsani_over(
        channel.clone(),
        &server.url(),
        TokenSource::Inline("t".into()),
    )
}

#[tokio::test]
async fn no_more_requests_than_allowed_are_on_the_way_to_one_host() {
    let server = Server::start(|_, _| Reply::Hold(Box::new(ok())));
    let channel = limited(3, LONG);
    let servos: Vec<_> = (0..12).map(|_| over(&channel, &server)).collect();
    let whats_next = whats_next();
    let posting = join_all(servos.iter().map(|servo| servo.post(&whats_next, LONG)));
    let (answers, ()) = tokio::join!(posting, async {
        for answered in 0..10 {
            server.until(3 + answered).await;
            // No answer yet that would have let another go.
            assert_eq!(server.received().len(), 3 + answered);
            server.let_go(1);
        }
        server.let_go(3);
    });
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(server.received().len(), 12);
}

#[tokio::test]
async fn a_dead_host_keeps_nobody_from_another() {
    let (dead, alive) = (
        Server::start(|_, _| Reply::Silence),
        Server::start(|_, _| ok()),
    );
    let channel = limited(2, Duration::from_millis(300));
    let stuck: Vec<_> = (0..4).map(|_| over(&channel, &dead)).collect();
    let whats_next = whats_next();
    let posting = join_all(
        stuck
            .iter()
            .map(|servo| servo.post(&whats_next, Duration::from_secs(1))),
    );
    let other = over(&channel, &alive);
    let (answers, ()) = tokio::join!(posting, async {
        dead.until(2).await;
        for _ in 0..20 {
            other.post(&whats_next, LONG).await.unwrap();
        }
    });
    // Two have waited for an answer, and two for their turn.
    let mut details: Vec<_> = answers
        .into_iter()
        .map(|answer| match answer.unwrap_err() {
            PostError::Transport {
                kind: TransportKind::Timeout,
                detail,
                ..
            } => detail,
            other => panic!("{other}"),
        })
        .collect();
    details.sort();
    assert!(details[0].starts_with("not finished within"), "{details:?}");
    assert!(
        details[3].contains("one of the 2 requests to 127.0.0.1:"),
        "{details:?}"
    );
    assert_eq!(dead.received().len(), 2);
}

#[derive(Default)]
struct Seen(Mutex<Vec<(String, EventName, RequestOutcome)>>);

impl RequestObserver for Seen {
    fn request(&self, host: &str, event: EventName, outcome: RequestOutcome, took: Duration) {
        assert!(took < LONG);
        self.0
            .lock()
            .unwrap()
            .push((host.to_owned(), event, outcome));
    }
}

#[tokio::test]
async fn an_observer_is_told_of_each_request() {
    let server = Server::start(|_, before| match before {
        0 => ok(),
        1 => Reply::Json(503, json!({})),
        2 => Reply::With(200, "", "<html>".into()),
        3 => Reply::Raw(Vec::new()),
        _ => Reply::Silence,
    });
    let seen = Arc::new(Seen::default());
    let client = opsani(&server.url()).observed(seen.clone());
    client.post(&hello(), LONG).await.unwrap();
    for _ in 0..3 {
        client.post(&whats_next(), LONG).await.unwrap_err();
    }
    let short = Duration::from_millis(50);
    client.post(&whats_next(), short).await.unwrap_err();
    let host = server.url().replace("http://", "");
    let expected = [
        (EventName::Hello, RequestOutcome::Status(200)),
        (EventName::WhatsNext, RequestOutcome::Status(503)),
        (EventName::WhatsNext, RequestOutcome::Status(200)),
        (
            EventName::WhatsNext,
            RequestOutcome::Error(TransportKind::Broken),
        ),
        (
            EventName::WhatsNext,
            RequestOutcome::Error(TransportKind::Timeout),
        ),
    ]
    .map(|(event, outcome)| (host.clone(), event, outcome));
    assert_eq!(*seen.0.lock().unwrap(), expected);
}
