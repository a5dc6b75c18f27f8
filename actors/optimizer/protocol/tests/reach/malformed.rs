//! Answers that are broken in every way (`spec/optimizer-protocol.md` §3, §12).

use std::{io::Write as _, time::Duration};

use serde_json::json;
use servo_protocol::{
    MAX_RESPONSE_BYTES, OptimizerClient as _, PostError, Response, StatusReply, Transport,
    TransportKind,
};

use crate::{
    LONG, opsani,
    server::{Reply, Server},
    transport, whats_next,
};

async fn answer_to(
    deadline: Duration,
    reply: impl Fn() -> Reply + Send + Sync + 'static,
) -> Result<Response, PostError> {
    let server = Server::start(move |_, _| reply());
    opsani(&server.url()).post(&whats_next(), deadline).await
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

fn with_head(head: &str, body: &[u8]) -> Vec<u8> {
    [
        format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes(),
        body,
    ]
    .concat()
}

#[tokio::test]
async fn an_old_server_is_understood() {
    for bytes in [
        &b"HTTP/1.0 200 OK\r\n\r\n{\"status\":\"ok\"}"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{\"status\r\n7\r\n\":\"ok\"}\r\n0\r\n\r\n",
        b"HTTP/1.1 200\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}",
    ] {
        let answer = answer_to(LONG, move || Reply::Raw(bytes.to_vec())).await;
        assert_eq!(answer, Ok(Response::Status(StatusReply::ok())));
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_garbled_is_told_and_can_be_asked_for_again() {
    let packed = gzip(br#"{"status":"ok","reason":"a longer text that takes some bytes"}"#);
    let half = with_head(
        &format!(
            "content-encoding: gzip\r\ncontent-length: {}",
            packed.len() / 2
        ),
        &packed[..packed.len() / 2],
    );
    let not_packed = with_head("content-encoding: gzip\r\ncontent-length: 4", b"{}{}");
    for bytes in [
        half,
        not_packed,
        with_head("content-length: 100", b"{\"status\":"),
        with_head("transfer-encoding: chunked", b"zz\r\n{}"),
        with_head("transfer-encoding: chunked", b"5\r\n{\"sta"),
        with_head("transfer-encoding: chunked", b"fffffffffffffffff\r\n{}"),
    ] {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let error = answer_to(LONG, move || Reply::Raw(bytes.clone())).await;
        let error = error.unwrap_err();
        assert!(
            matches!(error, PostError::Undecodable { .. }),
            "{shown}: {error:?}"
        );
        assert!(error.retryable() && error.delivered(), "{shown}: {error}");
    }
}

#[tokio::test]
async fn unusual_json_is_read() {
    for body in [
        &b"\xef\xbb\xbf{\"status\":\"ok\"}"[..],
        b"\r\n\t {\r\n\"status\"\r\n:\r\n\"ok\"}\r\n\r\n",
        // Of two keys alike the last counts.
        b"{\"status\":\"invalid\",\"status\":\"ok\"}",
        b"{\"x\":[{},[],null,1e300,-0.0],\"\":\"\\u0000\",\"status\":\"\\u006fk\"}",
    ] {
        let bytes = with_head(&format!("content-length: {}", body.len()), body);
        let answer = answer_to(LONG, move || Reply::Raw(bytes.clone())).await;
        let shown = String::from_utf8_lossy(body);
        assert_eq!(answer, Ok(Response::Status(StatusReply::ok())), "{shown}");
    }
}

#[tokio::test]
async fn what_is_no_json_is_told() {
    let deep = "[".repeat(1_000_000).into_bytes();
    let deep_command = format!(
        "{{\"cmd\":\"MEASURE\",\"param\":{}",
        "{\"a\":".repeat(100_000)
    );
    for body in [
        &b"{\"status\":NaN}"[..],
        b"{\"cmd\":\"SLEEP\",\"param\":{\"duration\":1e999}}",
        b"{\"status\":\"o\xffk\"}",
        b"{\"status\":\"ok\"} {}",
        b"{'status':'ok'}",
        b"\xff\xfe{\0}\0",
        &deep,
        deep_command.as_bytes(),
    ] {
        let bytes = with_head(&format!("content-length: {}", body.len()), body);
        let error = answer_to(LONG, move || Reply::Raw(bytes.clone()))
            .await
            .unwrap_err();
        assert!(matches!(error, PostError::Undecodable { .. }), "{error:?}");
        assert!(error.to_string().contains("not JSON"), "{error}");
        assert!(error.to_string().len() < 1000, "{error}");
    }
}

#[tokio::test]
async fn an_answer_without_content_is_no_answer() {
    // What follows a 204 belongs to nobody, least of all to the next request.
    let server = Server::start(|_, before| match before {
        0 => {
            Reply::Keep(b"HTTP/1.1 204 X\r\ncontent-length: 15\r\n\r\n{\"status\":\"no\"}".to_vec())
        }
        _ => Reply::Json(200, json!({"status": "ok"})),
    });
    let client = opsani(&server.url());
    let error = client.post(&whats_next(), LONG).await.unwrap_err();
    assert_eq!(error.status(), Some(204), "{error}");
    assert!(error.delivered(), "{error}");
    let answer = client.post(&whats_next(), LONG).await;
    assert_eq!(answer, Ok(Response::Status(StatusReply::ok())));
}

#[tokio::test]
async fn what_a_proxy_wants_is_told() {
    for (status, advice) in [(407, "settings -> proxies"), (413, "as large as this")] {
        let error = answer_to(LONG, move || Reply::With(status, "", String::new())).await;
        let error = error.unwrap_err();
        assert!(error.to_string().contains(advice), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_a_broken_connection() {
    for bytes in [
        &b""[..],
        b"HTTP/1.1 20",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"\0\0\0\x12\x04\0\0\0\0\0",
        b"HTTP/1.1 200 OK\r\nbad header\0: x\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    ] {
        let error = answer_to(LONG, move || Reply::Raw(bytes.to_vec())).await;
        let error = error.unwrap_err();
        let broken = matches!(
            error,
            PostError::Transport {
                kind: TransportKind::Broken,
                ..
            }
        );
        assert!(
            broken && error.retryable(),
            "{}: {error:?}",
            bytes.escape_ascii()
        );
    }
    let endless = || {
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        for i in 0..100_000 {
            head.extend_from_slice(format!("x-{i}: {i}\r\n").as_bytes());
        }
        Reply::Raw(head)
    };
    assert!(answer_to(LONG, endless).await.unwrap_err().retryable());
}

#[tokio::test]
async fn nine_mebibytes_are_too_much() {
    let body = format!("\"{}\"", "x".repeat(MAX_RESPONSE_BYTES + 1024 * 1024));
    let error = answer_to(LONG, move || Reply::With(200, "", body.clone())).await;
    assert!(
        matches!(error, Err(PostError::TooLarge { .. })),
        "{error:?}"
    );
    // Of an error page only the beginning matters, and its end is not waited for.
    let page = format!("{}{}", "no ".repeat(100_000), "end");
    let error = answer_to(LONG, move || Reply::With(500, "", page.clone())).await;
    assert_eq!(error.unwrap_err().status(), Some(500));
}

#[tokio::test]
async fn a_status_counts_although_its_page_is_cut() {
    let cut = b"HTTP/1.1 503 X\r\nretry-after: 7\r\ncontent-length: 100\r\n\r\n{\"deta";
    let error = answer_to(LONG, move || Reply::Raw(cut.to_vec()))
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(503));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_trickle_ends_at_the_deadline() {
    let slow = || {
        Reply::Trickle(
            with_head("content-length: 1000", &[b' '; 1000]),
            Duration::from_millis(10),
        )
    };
    let began = std::time::Instant::now();
    // In the middle of the head, and of the body.
    for deadline in [100, 2000] {
        let error = answer_to(Duration::from_millis(deadline), slow)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("not finished within"), "{error}");
        assert_eq!(error.delivered(), deadline == 2000, "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn a_silent_server_is_asked_again_after_the_read_timeout() {
    let server = Server::start(|_, before| match before {
        0 => Reply::Silence,
        _ => Reply::Json(200, json!({"status": "ok"})),
    });
    let transport = Transport {
        read_timeout: Duration::from_millis(300),
        ..transport()
    };
    let client = crate::opsani_over(
        transport
            .channel(crate::AGENT, servo_protocol::HostLimits::default())
            .unwrap(),
        &server.url(),
        servo_protocol::TokenSource::Inline("t".into()),
    );
    let answer = servo_protocol::post_with_retry(
        &client,
        &whats_next(),
        &servo_protocol::Budget::standard(),
        &servo_protocol::Outage::default(),
        &tokio_util::sync::CancellationToken::new(),
    )
    .await;
    assert!(answer.is_ok());
    let asked = server.received();
    let between = asked[1].at - asked[0].at;
    // The timeout, and a back-off of up to a second.
    assert!(between >= Duration::from_millis(290), "{between:?}");
    assert!(between < Duration::from_secs(3), "{between:?}");
}
