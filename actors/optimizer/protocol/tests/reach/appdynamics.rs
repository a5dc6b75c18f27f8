//! OAuth clients and ready-made tokens (`spec/optimizer-protocol.md` §2.2, §2.4, §23: 6, 7).

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use serde_json::{Value, json};
use servo_protocol::{
    AppdynamicsSource, ConnectionFiles, HttpOptimizer, OptimizerClient as _, PostError, Response,
    StatusReply, TransportKind,
};

use crate::{
    AGENT, LONG, appdynamics, channel, hello,
    server::{Received, Reply, Server},
    source,
    time::StandingTime,
    whats_next,
};

const TOKEN: &str = "/auth/tenant-1/default/oauth2/token";
const EVENTS: &str = "/rest/optimize/co/v1/optimizers/opt-1/servo";

fn ok() -> Reply {
    Reply::Json(200, json!({"status": "ok"}))
}

/// Gives out tokens `t1`, `t2`, ... with these further fields, and says ok to events.
fn tenant(fields: Value) -> Server {
    Server::start(move |request, before| {
        if request.path != TOKEN {
            return ok();
        }
        let mut answer = fields.clone();
        answer["access_token"] = format!("hush-t{}", before + 1).into();
        Reply::Json(200, answer)
    })
}

fn tokens_used(server: &Server) -> Vec<String> {
    let events = server.to("/servo").into_iter();
    events
        .map(|event| event.header("authorization").replace("Bearer hush-", ""))
        .collect()
}

async fn post(client: &HttpOptimizer) -> Result<Response, PostError> {
    client.post(&whats_next(), LONG).await
}

/// Of a servo whose token endpoint answers so.
async fn error_with_token_endpoint(reply: impl Fn() -> Reply + Send + Sync + 'static) -> PostError {
    let server = Server::start(move |_, _| reply());
    let error = post(&appdynamics(source(&server.url()))).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("{}{TOKEN}", server.url())), "{text}");
    assert!(!format!("{error:?} {text}").contains("hush"), "{error:?}");
    assert_eq!(server.received().len(), 1, "no event without a token");
    error
}

#[tokio::test]
async fn a_client_gets_one_token_and_uses_it_at_the_optimizers_address() {
    let server = tenant(json!({"token_type": "bearer", "expires_in": 3600}));
    let client = appdynamics(source(&server.url()));
    assert_eq!(
        client.post(&hello(), LONG).await,
        Ok(Response::Status(StatusReply::ok()))
    );
    for _ in 0..3 {
        post(&client).await.unwrap();
    }
    let token = &server.to(TOKEN)[..];
    let [token] = token else {
        panic!("{} token requests", token.len());
    };
    assert_eq!((&*token.method, &*token.path), ("POST", TOKEN));
    assert_eq!(
        token.header("authorization"),
        "Basic YWdlbnQ6aHVzaC1jbGllbnQ="
    );
    assert_eq!(token.header("accept"), "application/json");
    assert_eq!(
        token.header("content-type"),
        "application/x-www-form-urlencoded;charset=UTF-8"
    );
    assert_eq!(token.header("user-agent"), AGENT);
    assert_eq!(token.body, "grant_type=client_credentials");
    assert_eq!(tokens_used(&server), ["t1"; 4]);
    let events = server.to("/servo");
    assert!(events.iter().all(|event| event.path == EVENTS));
    assert_eq!(client.display_url(), format!("{}{EVENTS}", server.url()));
}

#[tokio::test]
async fn a_token_is_renewed_a_minute_before_its_end_and_not_for_each_request() {
    let time = StandingTime::begin();
    let server = tenant(json!({"expires_in": 63}));
    let client = appdynamics(source(&server.url()));
    for (pass, token) in [
        (0, "t1"),
        (2900, "t1"),
        (200, "t2"),
        (2800, "t2"),
        (300, "t3"),
    ] {
        time.pass(Duration::from_millis(pass)).await;
        post(&client).await.unwrap();
        post(&client).await.unwrap();
        assert_eq!(tokens_used(&server).last().unwrap(), token);
    }
    assert_eq!(server.to(TOKEN).len(), 3);
}

#[tokio::test]
async fn the_forms_of_an_expiry() {
    let now = jiff::Timestamp::now().as_second();
    for (fields, seconds) in [
        (json!({"expires_at": now + 63}), Some(3)),
        (json!({"expires_in": "63"}), Some(3)),
        (json!({"expires_in": 62.5}), Some(3)),
        // Shorter than the leeway: half of it, and no new token for each request.
        (json!({"expires_in": 60}), Some(30)),
        (json!({"expires_in": 0}), Some(1)),
        (json!({"expires_in": -5}), Some(1)),
        (json!({}), None),
        (json!({"expires_in": null}), None),
        (json!({"expires_in": 1e300}), None),
    ] {
        let time = StandingTime::begin();
        let server = tenant(fields.clone());
        let client = appdynamics(source(&server.url()));
        for _ in 0..5 {
            post(&client).await.unwrap();
        }
        assert_eq!(server.to(TOKEN).len(), 1, "{fields}");
        let (passed, tokens) = match seconds {
            Some(seconds) => (Duration::from_secs(seconds + 1), 2),
            None => (Duration::from_secs(1_000_000), 1),
        };
        time.pass(passed).await;
        post(&client).await.unwrap();
        assert_eq!(server.to(TOKEN).len(), tokens, "{fields}");
        drop(time);
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_refresh_token_is_used_until_it_is_refused() {
    let time = StandingTime::begin();
    let server = Server::start(|request, before| match (&*request.path, before) {
        (TOKEN, 2) => Reply::Json(400, json!({"error": "invalid_grant"})),
        (TOKEN, n) => Reply::Json(
            200,
            json!({"access_token": format!("hush-t{n}"), "expires_in": 63, "refresh_token": format!("r/{n}")}),
        ),
        _ => ok(),
    });
    let client = appdynamics(source(&server.url()));
    for _ in 0..3 {
        post(&client).await.unwrap();
        time.pass(Duration::from_secs(4)).await;
    }
    let bodies: Vec<_> = server
        .to(TOKEN)
        .into_iter()
        .map(|token| token.body)
        .collect();
    assert_eq!(
        bodies,
        [
            "grant_type=client_credentials",
            "grant_type=refresh_token&refresh_token=r%2F0",
            "grant_type=refresh_token&refresh_token=r%2F1",
            "grant_type=client_credentials",
        ]
    );
    assert_eq!(tokens_used(&server), ["t0", "t1", "t3"]);
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_request_repeated_once() {
    let server = Server::start(|request, before| match (&*request.path, before) {
        (TOKEN, n) => Reply::Json(200, json!({"access_token": format!("hush-t{}", n + 1)})),
        (_, 1) => Reply::Json(401, json!({})),
        _ => ok(),
    });
    let client = appdynamics(source(&server.url()));
    client.post(&hello(), LONG).await.unwrap();
    client.post(&hello(), LONG).await.unwrap();
    client.post(&hello(), LONG).await.unwrap();
    assert_eq!(tokens_used(&server), ["t1", "t1", "t2", "t2"]);
    let events = server.to("/servo");
    assert_eq!(events[1].body, events[2].body);
}

#[tokio::test]
async fn an_optimizer_that_refuses_every_token_is_no_tight_loop() {
    let time = StandingTime::begin();
    let server = Server::start(|request, before| match &*request.path {
        TOKEN => Reply::Json(200, json!({"access_token": format!("hush-t{before}")})),
        _ => Reply::Json(403, json!({"detail": "go away"})),
    });
    let client = appdynamics(source(&server.url()));
    for _ in 0..5 {
        let error = post(&client).await.unwrap_err();
        assert_eq!(error.status(), Some(403));
        assert!(!error.retryable());
    }
    // The first request tried another token; the others came too soon after that to try yet another.
    assert_eq!((server.to(TOKEN).len(), server.to("/servo").len()), (2, 6));
    time.pass(Duration::from_secs(2)).await;
    post(&client).await.unwrap_err();
    assert_eq!((server.to(TOKEN).len(), server.to("/servo").len()), (3, 8));
}

#[tokio::test]
async fn servos_with_the_same_client_share_its_token_and_its_renewal() {
    let server = Server::start(|request: &Received, before| match &*request.path {
        TOKEN if before == 0 => Reply::Hold(Box::new(Reply::Json(
            200,
            json!({"access_token": "hush-t1"}),
        ))),
        TOKEN => Reply::Json(500, json!({})),
        _ => ok(),
    });
    let (channel, files) = (channel(), ConnectionFiles::default());
    let of = |source: AppdynamicsSource| {
        HttpOptimizer::appdynamics(channel.clone(), source, &files).unwrap()
    };
    let servos: Vec<_> = (0..50)
        .map(|i| {
            of(AppdynamicsSource {
                optimizer_id: format!("opt-{i}"),
                ..source(&server.url())
            })
        })
        .collect();
    let (answers, ()) = tokio::join!(join_all(servos.iter().map(post)), async {
        server.until(1).await;
        server.let_go(1);
    });
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(server.to(TOKEN).len(), 1);
    assert_eq!(tokens_used(&server), ["t1"; 50]);
    // Another secret is another client.
    let other = of(AppdynamicsSource {
        client_secret: Some("hush-other".into()),
        ..source(&server.url())
    });
    assert_eq!(post(&other).await.unwrap_err().status(), Some(500));
    assert_eq!(server.to(TOKEN).len(), 2);
}

#[tokio::test]
async fn those_who_wait_for_a_token_share_a_failure_too() {
    let server = Server::start(|_, before| match before {
        0 => Reply::Hold(Box::new(Reply::Json(503, json!({})))),
        _ => Reply::Json(500, json!({})),
    });
    let client = Arc::new(appdynamics(source(&server.url())));
    let posting = join_all((0..20).map(|_| post(&client)));
    let (answers, ()) = tokio::join!(posting, async {
        server.until(1).await;
        server.let_go(1);
    });
    for answer in answers {
        assert_eq!(answer.unwrap_err().status(), Some(503));
    }
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn a_token_request_that_hangs_is_given_up_and_made_again_by_another() {
    let server = Server::start(|request, before| match (&*request.path, before) {
        (TOKEN, 0) => Reply::Silence,
        (TOKEN, _) => Reply::Json(200, json!({"access_token": "hush-t1"})),
        _ => ok(),
    });
    let client = appdynamics(source(&server.url()));
    let whats_next = whats_next();
    let hasty = client.post(&whats_next, Duration::from_millis(200));
    let patient = async {
        server.until(1).await;
        post(&client).await
    };
    let (hasty, patient) = tokio::join!(hasty, patient);
    let PostError::Transport { url, kind, .. } = hasty.unwrap_err() else {
        panic!("no transport error");
    };
    assert!(url.ends_with(TOKEN), "{url}");
    assert_eq!(kind, TransportKind::Timeout);
    patient.unwrap();
}

#[tokio::test]
async fn token_answers_of_no_use_can_be_tried_again_and_tell_no_secret() {
    type Make = fn() -> Reply;
    let cases: [(Make, &str); 7] = [
        (
            || Reply::With(200, "", "<html>hush</html>".into()),
            "no JSON object",
        ),
        (|| Reply::Json(200, json!([])), "no JSON object"),
        (
            || Reply::Json(200, json!({"token": "hush"})),
            "no access_token",
        ),
        (
            || Reply::Json(200, json!({"access_token": 7})),
            "no access_token",
        ),
        (|| Reply::Json(200, json!({"access_token": " "})), "blank"),
        (
            || Reply::Json(200, json!({"access_token": "hu\nsh"})),
            "characters",
        ),
        (
            || Reply::Raw(b"HTTP/1.1 200 X\r\ncontent-length: 90\r\n\r\n{\"acc".to_vec()),
            "broke off",
        ),
    ];
    for (reply, problem) in cases {
        let error = error_with_token_endpoint(reply).await;
        let text = error.to_string();
        assert!(
            text.contains("HTTP status 200") && text.contains(problem),
            "{text}"
        );
        assert!(error.retryable() && !error.delivered(), "{text}");
    }
}

#[tokio::test]
async fn token_endpoints_follow_the_rules_of_the_optimizer() {
    for (status, retryable) in [
        (302, false),
        (400, false),
        (401, false),
        (404, true),
        (408, true),
        (429, true),
        (500, true),
        (503, true),
    ] {
        let error = error_with_token_endpoint(move || {
            let body = json!({"detail": "agent:hush-client is unknown"});
            Reply::With(status, "retry-after: 7", body.to_string())
        })
        .await;
        assert_eq!(error.status(), Some(status), "{error}");
        assert_eq!(error.retryable(), retryable, "{error}");
        let asked = matches!(status, 429 | 503).then_some(Duration::from_secs(7));
        assert_eq!(error.retry_after(), asked, "{error}");
        assert!(error.to_string().contains("[REDACTED]"), "{error}");
    }
}

#[tokio::test]
async fn a_ready_made_token_needs_no_client() {
    let server = tenant(json!({}));
    for (token, name, value) in [
        ("abc", "authorization", "Bearer abc"),
        ("Bearer abc", "authorization", "Bearer abc"),
        ("X-SF-Token: abc", "x-sf-token", "abc"),
    ] {
        let client = appdynamics(AppdynamicsSource {
            token: Some(token.into()),
            ..source(&server.url())
        });
        post(&client).await.unwrap();
        let last = server.received().pop().unwrap();
        assert_eq!((last.header(name), &*last.path), (value, EVENTS));
    }
    assert!(server.to(TOKEN).is_empty());
}
