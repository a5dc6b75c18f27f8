//! The HTTP client and its retries against a real server that misbehaves (`spec/optimizer-protocol.md` §3,
//! §11, §12).
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use serde_json::json;
use servo_doubles::{Fault, On, Script, ScriptedOptimizer};
use servo_protocol::{
    Budget, CommandKind, CommandUid, Completion, Event, Explanation, GiveUp, Hello, HttpOptimizer,
    MAX_RESPONSE_BYTES, Operation, OpsaniEndpoint, OptimizerClient, Outage, Outcome, PostError,
    PostFailure, ProxyChoice, Report, Request, Response, StatusReply, TokenSource, Transport,
    TransportKind, Trust, post_with_retry,
};
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(20);
const AGENT: &str = "github.com/example/servo v0.1.0";

/// Without the machine's certificates, which take longer to read than the tests to run.
fn transport() -> Transport {
    Transport {
        proxy: ProxyChoice::Direct,
        trust: Trust::Anything,
        ..Transport::default()
    }
}

fn client_with(url: &str, token: TokenSource) -> HttpOptimizer {
    let id = "dev.opsani.com/app1".parse().unwrap();
    let endpoint = OpsaniEndpoint::new(id, token, Some(url), None).unwrap();
    HttpOptimizer::new(transport().client().unwrap(), endpoint, AGENT)
}

fn client(optimizer: &ScriptedOptimizer) -> HttpOptimizer {
    client_with(
        &optimizer.base_url(),
        TokenSource::Inline("hush-hush".into()),
    )
}

fn hello() -> Request {
    Request {
        event: Event::Hello(Hello {
            agent: AGENT.into(),
            ..Hello::default()
        }),
        servo_uid: None,
    }
}

fn whats_next() -> Request {
    Request {
        event: Event::WhatsNext,
        servo_uid: None,
    }
}

fn failed(uid: &str) -> Request {
    let explanation = Explanation {
        message: "broken".into(),
        ..Explanation::default()
    };
    Request {
        event: Event::Report(
            Operation::Describe,
            Report::Completion(Completion {
                cmd_uid: Some(CommandUid::new(uid)),
                outcome: Outcome::Failed(explanation),
            }),
        ),
        servo_uid: None,
    }
}

/// The error of WHATS_NEXT that meets `fault`.
async fn error_of(fault: Fault) -> PostError {
    let optimizer = ScriptedOptimizer::start(Script::new());
    optimizer.inject(On::event("WHATS_NEXT"), fault);
    let error = client(&optimizer)
        .post(&whats_next(), LONG)
        .await
        .unwrap_err();
    assert!(!error.to_string().contains("hush"), "{error}");
    error
}

#[tokio::test]
async fn a_request_goes_to_the_right_place_with_the_right_headers() {
    let optimizer = ScriptedOptimizer::start(Script::new().describe("u1"));
    let client = client(&optimizer);
    let answer = client.post(&hello(), LONG).await.unwrap();
    assert_eq!(answer, Response::Status(StatusReply::ok()));
    let answer = client.post(&whats_next(), LONG).await.unwrap();
    let Response::Command(command) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(command.uid, Some(CommandUid::new("u1")));
    let received = optimizer.received();
    let first = &received[0];
    assert_eq!(first.http.method, "POST");
    assert_eq!(
        first.http.target,
        "/accounts/dev.opsani.com/applications/app1/servo"
    );
    assert_eq!(first.header("authorization"), Some("Bearer hush-hush"));
    assert_eq!(first.header("user-agent"), Some(AGENT));
    assert_eq!(first.param["agent"], AGENT);
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(first.header("accept"), Some("*/*"));
    let encodings = first.header("accept-encoding").unwrap();
    assert!(
        encodings.contains("gzip") && encodings.contains("deflate"),
        "{encodings}"
    );
    assert_eq!(optimizer.violations(), Vec::<String>::new());
    assert_eq!(
        client.display_url(),
        format!(
            "{}/accounts/dev.opsani.com/applications/app1/servo",
            optimizer.base_url()
        )
    );
}

#[tokio::test]
async fn a_signalfx_token_has_a_header_of_its_own() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let client = client_with(
        &optimizer.base_url(),
        TokenSource::Inline("X-SF-Token abc".into()),
    );
    client.post(&hello(), LONG).await.unwrap();
    let received = optimizer.received();
    assert_eq!(received[0].header("x-sf-token"), Some("abc"));
    assert_eq!(received[0].header("authorization"), None);
}

#[tokio::test]
async fn statuses_are_classified() {
    for (fault, status, retryable) in [
        (Fault::redirect("http://127.0.0.1:1/"), 302, false),
        (Fault::status(400), 400, false),
        (Fault::status(401), 401, false),
        (Fault::status(403), 403, false),
        (Fault::status(404), 404, true),
        (Fault::status(408), 408, true),
        (Fault::gone("something else"), 410, false),
        (Fault::status(410), 410, false),
        (Fault::status(425), 425, true),
        (Fault::status(429), 429, true),
        (Fault::status(500), 500, true),
        (Fault::status(503), 503, true),
    ] {
        let error = error_of(fault).await;
        assert!(matches!(error, PostError::Http { .. }), "{error:?}");
        assert_eq!(error.status(), Some(status), "{error}");
        assert_eq!(error.retryable(), retryable, "{error}");
        assert!(!error.delivered());
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = ScriptedOptimizer::start(Script::new());
    let error = error_of(Fault::redirect(&elsewhere.base_url())).await;
    assert_eq!(error.status(), Some(302));
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn a_replaced_servo_is_told_apart_from_other_410s() {
    let error = error_of(Fault::gone("unexpected servo_uid")).await;
    assert!(
        matches!(error, PostError::ServoReplaced { .. }),
        "{error:?}"
    );
    assert!(!error.retryable());
    let error = error_of(Fault::gone("unexpected")).await;
    let PostError::Http { detail, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(detail.as_deref(), Some("unexpected"));
}

#[tokio::test]
async fn retry_after_is_read_as_seconds_or_date_and_capped() {
    let seconds = |s| Some(Duration::from_secs(s));
    assert_eq!(
        error_of(Fault::retry_after(429, "7")).await.retry_after(),
        seconds(7)
    );
    assert_eq!(
        error_of(Fault::retry_after(503, "9999"))
            .await
            .retry_after(),
        seconds(300)
    );
    assert_eq!(
        error_of(Fault::retry_after(503, "soon"))
            .await
            .retry_after(),
        None
    );
    assert_eq!(
        error_of(Fault::retry_after(500, "7")).await.retry_after(),
        None
    );
    for (odd, asked) in [
        ("2.5", seconds(3)),
        ("99999999999999999999999", seconds(300)),
        ("-7", None),
        ("inf", None),
    ] {
        let error = error_of(Fault::retry_after(429, odd)).await;
        assert_eq!(error.retry_after(), asked, "{odd}");
    }
    assert_eq!(error_of(Fault::status(503)).await.retry_after(), None);
    let later = jiff::Timestamp::now() + Duration::from_secs(90);
    let later = later.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let error = error_of(Fault::retry_after(503, &later)).await;
    let wait = error.retry_after().unwrap();
    assert!((80..=90).contains(&wait.as_secs()), "{later}: {wait:?}");
    let past = "Wed, 21 Oct 2015 07:28:00 GMT";
    assert_eq!(
        error_of(Fault::retry_after(503, past)).await.retry_after(),
        seconds(0)
    );
}

#[tokio::test]
async fn bodies_that_are_no_answer_are_shown_and_count_as_delivered() {
    for (fault, shown) in [
        (Fault::html(), "Sign in to the network"),
        (Fault::empty(), "empty"),
        (Fault::Answer(json!([])), "a list"),
        (Fault::Answer(json!({"status": 3})), "`status` is a number"),
    ] {
        let error = error_of(fault).await;
        assert!(matches!(error, PostError::Undecodable { .. }), "{error:?}");
        assert!(error.to_string().contains(shown), "{error}");
        assert!(error.retryable() && error.delivered());
    }
    let long = Fault::Body {
        headers: Vec::new(),
        body: b"x\ny".repeat(1000),
    };
    let PostError::Undecodable { excerpt, .. } = error_of(long).await else {
        panic!("readable");
    };
    assert!(excerpt.len() <= 200 && !excerpt.contains('\n'), "{excerpt}");
}

#[tokio::test]
async fn an_echoed_token_is_not_repeated() {
    let echo = Fault::Status {
        status: 400,
        headers: Vec::new(),
        body: json!({"detail": "bad token hush-hush"}).to_string(),
    };
    let error = error_of(echo).await;
    assert!(format!("{error:?}").contains("REDACTED"), "{error:?}");
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");
}

#[tokio::test]
async fn a_huge_body_is_refused_without_being_kept() {
    let error = error_of(Fault::Huge(MAX_RESPONSE_BYTES + 10)).await;
    assert!(matches!(error, PostError::TooLarge { .. }), "{error:?}");
    // Small on the wire, huge when unpacked.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&vec![b' '; MAX_RESPONSE_BYTES + 10])
        .unwrap();
    let bomb = Fault::Body {
        headers: vec![("content-encoding".into(), "gzip".into())],
        body: gzip.finish().unwrap(),
    };
    let error = error_of(bomb).await;
    assert!(matches!(error, PostError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn compressed_answers_are_read() {
    let body = br#"{"status": "ok"}"#;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body).unwrap();
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    deflate.write_all(body).unwrap();
    for (coding, body) in [
        ("gzip", gzip.finish().unwrap()),
        ("deflate", deflate.finish().unwrap()),
    ] {
        let optimizer = ScriptedOptimizer::start(Script::new());
        let headers = vec![("content-encoding".to_owned(), coding.to_owned())];
        optimizer.inject(On::any(), Fault::Body { headers, body });
        let answer = client(&optimizer).post(&hello(), LONG).await;
        assert_eq!(answer, Ok(Response::Status(StatusReply::ok())), "{coding}");
    }
}

fn kind(error: &PostError) -> TransportKind {
    match error {
        PostError::Transport { kind, .. } => *kind,
        other => panic!("no transport error: {other:?}"),
    }
}

#[tokio::test]
async fn broken_connections_are_classified() {
    assert_eq!(kind(&error_of(Fault::Reset).await), TransportKind::Broken);
    let noise = Fault::NotHttp(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec());
    assert_eq!(kind(&error_of(noise).await), TransportKind::Broken);
    // With a status of 2xx the request has arrived, whatever became of the body.
    let cut = Fault::NotHttp(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"cmd\"".to_vec());
    let error = error_of(cut).await;
    assert!(error.retryable() && error.delivered(), "{error:?}");
    assert!(error.to_string().contains("broke off"), "{error}");

    let optimizer = ScriptedOptimizer::start(Script::new());
    let client = client(&optimizer);
    drop(optimizer);
    let error = client.post(&hello(), LONG).await.unwrap_err();
    assert_eq!(kind(&error), TransportKind::Connect);
    assert!(error.to_string().contains("refused"), "{error}");
    assert!(error.retryable());
}

#[tokio::test]
async fn a_server_that_never_answers_ends_at_the_deadline() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    optimizer.inject(On::any().always(), Fault::Stall);
    let began = Instant::now();
    let client = client(&optimizer);
    let deadline = Duration::from_millis(300);
    let error = client.post(&whats_next(), deadline).await.unwrap_err();
    assert_eq!(kind(&error), TransportKind::Timeout);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(optimizer.received().len(), 1);
}

#[tokio::test]
async fn a_silent_server_ends_at_the_read_timeout() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    optimizer.inject(On::any().always(), Fault::Stall);
    let id = "dev.opsani.com/app1".parse().unwrap();
    let token = TokenSource::Inline("t".into());
    let endpoint = OpsaniEndpoint::new(id, token, Some(&optimizer.base_url()), None).unwrap();
    let transport = Transport {
        read_timeout: Duration::from_millis(200),
        ..transport()
    };
    let client = HttpOptimizer::new(transport.client().unwrap(), endpoint, AGENT);
    let error = client.post(&whats_next(), LONG).await.unwrap_err();
    assert_eq!(kind(&error), TransportKind::Timeout);
}

#[tokio::test]
async fn a_rotated_token_file_is_read_again_when_the_old_token_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "old\n").unwrap();
    let optimizer = ScriptedOptimizer::start(Script::new());
    let client = client_with(&optimizer.base_url(), TokenSource::File(path.clone()));
    client.post(&hello(), LONG).await.unwrap();
    optimizer.accept_only("authorization", "Bearer new");

    // Not rotated yet: refused, and asked only once.
    let error = client.post(&whats_next(), LONG).await.unwrap_err();
    assert_eq!(error.status(), Some(401));
    assert_eq!(optimizer.received().len(), 2);

    // The old one is kept while the file cannot be read.
    std::fs::remove_file(&path).unwrap();
    let error = client.post(&whats_next(), LONG).await.unwrap_err();
    assert_eq!(error.status(), Some(401));

    std::fs::write(&path, "new\n").unwrap();
    let answer = client.post(&whats_next(), LONG).await.unwrap();
    assert!(matches!(answer, Response::Command(_)), "{answer:?}");
    let tokens = optimizer.received().len();
    client.post(&whats_next(), LONG).await.unwrap();
    assert_eq!(
        optimizer.received().len(),
        tokens + 1,
        "the new token is kept"
    );
}

#[tokio::test]
async fn a_completion_is_sent_until_it_is_taken_and_only_then_the_next_is_asked() {
    let optimizer = ScriptedOptimizer::start(Script::new().describe("u1"));
    let client = client(&optimizer);
    let (outage, cancel) = (Outage::default(), CancellationToken::new());
    let post = |request: Request| {
        let (client, outage, cancel) = (&client, &outage, &cancel);
        async move { post_with_retry(client, &request, &Budget::standard(), outage, cancel).await }
    };
    post(hello()).await.unwrap();
    post(whats_next()).await.unwrap();
    optimizer.inject(On::completion("DESCRIPTION").times(2), Fault::status(503));
    assert_eq!(
        post(failed("u1")).await,
        Ok(Response::Status(StatusReply::ok()))
    );
    assert_eq!(outage.lasts(), None);
    let answer = post(whats_next()).await.unwrap();
    let Response::Command(command) = answer else {
        panic!("{answer:?}");
    };
    assert!(matches!(command.kind, CommandKind::Sleep(_)));
    assert_eq!(
        optimizer.events(),
        [
            "HELLO",
            "WHATS_NEXT",
            "DESCRIPTION",
            "DESCRIPTION",
            "DESCRIPTION",
            "WHATS_NEXT"
        ]
    );
}

#[tokio::test]
async fn an_unreadable_answer_to_a_completion_counts_as_delivered() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    optimizer.inject(On::any().always(), Fault::empty());
    let client = client(&optimizer);
    let (outage, cancel) = (Outage::default(), CancellationToken::new());
    let budget = Budget::standard();
    let failure = post_with_retry(&client, &failed("u"), &budget, &outage, &cancel)
        .await
        .unwrap_err();
    let PostFailure::GaveUp { error, why, .. } = failure else {
        panic!("{failure:?}");
    };
    assert!(error.delivered());
    assert_eq!(why, GiveUp::Fatal);
    assert_eq!(optimizer.received().len(), 1);
    // The same answer to WHATS_NEXT is asked for again.
    let budget = Budget {
        max_tries: Some(2),
        ..budget
    };
    let failure = post_with_retry(&client, &whats_next(), &budget, &outage, &cancel)
        .await
        .unwrap_err();
    assert!(
        failure.to_string().contains("no tries left, 2 tries"),
        "{failure}"
    );
    assert_eq!(optimizer.received().len(), 3);
}

#[tokio::test]
async fn cancelling_ends_a_request_that_hangs() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    optimizer.inject(On::any().always(), Fault::Stall);
    let client = client(&optimizer);
    let (outage, cancel) = (Outage::default(), CancellationToken::new());
    let budget = Budget::standard();
    let request = whats_next();
    let posting = post_with_retry(&client, &request, &budget, &outage, &cancel);
    let cancelling = async {
        let asked = optimizer.until(LONG, |received| received.len() == 1).await;
        asked.unwrap();
        cancel.cancel();
    };
    let (answer, ()) = tokio::join!(posting, cancelling);
    assert_eq!(answer, Err(PostFailure::Cancelled));
    // A request that is cancelled before it begins is not sent.
    let answer = post_with_retry(&client, &request, &budget, &outage, &cancel).await;
    assert_eq!(answer, Err(PostFailure::Cancelled));
    assert_eq!(optimizer.received().len(), 1);
}

#[test]
fn authorities_that_are_none_are_refused() {
    for pem in [
        &b""[..],
        b"not a certificate",
        b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    ] {
        let transport = Transport {
            trust: Trust::Authorities(pem.to_vec()),
            ..transport()
        };
        let error = transport.client().unwrap_err().to_string();
        assert!(error.contains("CA certificates"), "{error}");
    }
}
