//! The requests of diagnostics (`spec/optimizer-protocol.md` §18).

use std::time::Duration;

use serde_json::json;
use servo_protocol::{Diagnostics, OptimizerClient as _, PostError, Verdict};

use crate::{
    appdynamics, opsani,
    server::{Received, Reply, Server},
    source,
    time::StandingTime,
};

const CHECK: &str = "assets/opsani.com/diagnostics-check";
const OUTPUT: &str = "assets/opsani.com/diagnostics-output";

async fn check_meets(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Verdict {
    let server = Server::start(move |_, _| reply());
    let client = opsani(&server.url());
    let verdict = client.diagnostics().unwrap().check().await.unwrap();
    assert_eq!(server.received().len(), 1);
    verdict
}

#[tokio::test]
async fn diagnostics_are_asked_for_sent_and_taken_back() {
    let server = Server::start(|request: &Received, _| match &*request.method {
        "GET" => Reply::Json(200, json!({"data": "SEND"})),
        _ => Reply::Json(200, json!({"status": "ok"})),
    });
    let client = opsani(&server.url());
    let diagnostics: &dyn Diagnostics = client.diagnostics().unwrap();
    assert_eq!(diagnostics.check().await, Ok(Verdict::Send));
    let data = json!({"configmap": {"a": 1}, "logs": {}});
    diagnostics.upload(&data).await.unwrap();
    diagnostics.withhold().await.unwrap();
    let seen: Vec<_> = server
        .received()
        .into_iter()
        .map(|r| {
            assert_eq!(r.header("authorization"), "Bearer hush-hush");
            (r.method, r.path, r.body)
        })
        .collect();
    let at = |method: &str, path: &str, body: &str| {
        let path = format!("/accounts/dev.opsani.com/applications/app1/{path}");
        (method.to_owned(), path, body.to_owned())
    };
    assert_eq!(
        seen,
        [
            at("GET", CHECK, ""),
            at("PUT", OUTPUT, &json!({ "data": data }).to_string()),
            at("PUT", CHECK, r#"{"data":"WITHHOLD"}"#),
        ]
    );
}

#[tokio::test]
async fn they_work_with_an_oauth_client_too() {
    let server = Server::start(|request, _| match &*request.method {
        "GET" => Reply::Json(200, json!({"data": "STOP"})),
        _ => Reply::Json(200, json!({"access_token": "t1"})),
    });
    let client = appdynamics(source(&server.url()));
    let verdict = client.diagnostics().unwrap().check().await;
    assert_eq!(verdict, Ok(Verdict::Stop));
    let last = server.received().pop().unwrap();
    assert_eq!(
        last.path,
        format!("/rest/optimize/co/v1/optimizers/opt-1/{CHECK}")
    );
    assert_eq!(last.header("authorization"), "Bearer t1");
}

#[tokio::test]
async fn refusals_and_nonsense_mean_withhold() {
    for status in [302, 400, 401, 404, 410, 429] {
        assert_eq!(
            check_meets(move || Reply::Json(status, json!({"data": "SEND"}))).await,
            Verdict::Withhold,
            "{status}"
        );
    }
    assert_eq!(
        check_meets(|| Reply::With(200, "", "<html>".into())).await,
        Verdict::Withhold
    );
    assert_eq!(
        check_meets(|| Reply::Raw(b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\n{".to_vec())).await,
        Verdict::Withhold
    );
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again() {
    let time = StandingTime::begin();
    let server = Server::start(|_, before| match before {
        0 => Reply::With(503, "retry-after: 7", String::new()),
        1 => Reply::Raw(Vec::new()),
        _ => Reply::Json(200, json!({"data": "WITHHOLD"})),
    });
    let client = opsani(&server.url());
    let diagnostics = client.diagnostics().unwrap();
    let (verdict, ()) = tokio::join!(diagnostics.check(), async {
        server.until(1).await;
        // Not before the time that the server asked for; then again, each time after a back-off.
        time.pass(Duration::from_secs(6)).await;
        assert_eq!(server.received().len(), 1);
        time.pass_until(|| server.received().len() == 3).await;
    });
    assert_eq!(verdict, Ok(Verdict::Withhold));
    assert_eq!(server.received().len(), 3);
}

#[tokio::test]
async fn a_refused_upload_is_an_error_that_names_the_request() {
    let server = Server::start(|_, _| Reply::Json(413, json!({"detail": "hush-hush is too much"})));
    let client = opsani(&server.url());
    let diagnostics = client.diagnostics().unwrap();
    let error = diagnostics.upload(&json!({})).await.unwrap_err();
    assert!(
        matches!(
            error,
            PostError::Auxiliary {
                status: Some(413),
                ..
            }
        ),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.starts_with(&format!("PUT {}", server.url())), "{text}");
    assert!(text.contains("413") && text.contains(OUTPUT), "{text}");
    assert!(!text.contains("hush-hush"), "{text}");
    assert_eq!(server.received().len(), 1);
}
