//! Single queries: what is sent, and what becomes of each kind of answer.

use std::{io::Write as _, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
    response::Redirect,
    routing::get,
};
use serde_json::json;
use servo_connector_prometheus::{Answer, PrometheusClient, Query, QueryData, QueryError};
use servo_doubles::{HttpRequest, PrometheusAnswer, PrometheusDouble};

use crate::world::{PATIENCE, client, logged, serve, window};

const PLAIN: &str = "metrics: []";

async fn ask(client: &PrometheusClient, query: &str) -> Result<Answer, QueryError> {
    let question = Query::Range {
        query,
        window: window(),
        step: Duration::from_secs(5).into(),
    };
    tokio::time::timeout(PATIENCE, client.ask(&question))
        .await
        .unwrap()
}

async fn failure(client: &PrometheusClient) -> String {
    ask(client, "q").await.unwrap_err().to_string()
}

/// The only request, made with this stanza.
async fn sent(double: &PrometheusDouble, client: &PrometheusClient, query: &str) -> HttpRequest {
    ask(client, query).await.unwrap();
    double.received().pop().unwrap().http
}

#[tokio::test]
async fn a_range_query_goes_below_the_prefix_with_its_parameters_in_order() {
    let router = Router::new().route(
        "/some/path/api/v1/query_range",
        get(|request: axum::extract::Request| async move {
            let text = request.uri().query().unwrap_or_default().to_owned();
            let data = json!({"resultType": "vector", "result": []});
            json!({"status": "success", "data": data, "infos": [text]}).to_string()
        }),
    );
    let base = serve(router).await;
    let client = client(
        &format!("{base}/some/path/"),
        "{metrics: [], query_timeout: 20s}",
    );
    let answer = ask(&client, "a{b=\"c\"} + 1").await.unwrap();
    assert_eq!(
        answer.infos,
        ["query=a%7Bb%3D%22c%22%7D+%2B+1&start=1577836800.0&end=1577836810.0&step=5s&timeout=20s"]
    );
}

#[tokio::test]
async fn an_instant_query_may_be_answered_by_a_scalar() {
    let double = PrometheusDouble::start();
    let data = json!({"resultType": "scalar", "result": [1.5, "1"]});
    double.answer("1", PrometheusAnswer::Data(data));
    let client = client(&double.base_url(), PLAIN);
    let question = Query::Instant {
        query: "1",
        time: None,
    };
    let answer = client.ask(&question).await.unwrap();
    assert!(matches!(answer.data, QueryData::Scalar(sample) if sample.value == 1.0));
    let received = double.received();
    assert_eq!(received[0].path, "/api/v1/query");
    assert_eq!(received[0].parameters.keys().collect::<Vec<_>>(), ["query"]);
}

#[tokio::test]
async fn a_long_query_is_posted_as_a_form() {
    let double = PrometheusDouble::start();
    let client = client(&double.base_url(), PLAIN);
    let request = sent(&double, &client, &"x".repeat(5000)).await;
    assert_eq!(request.method, "POST");
    assert_eq!(request.target, "/api/v1/query_range");
    assert_eq!(double.received()[0].query().len(), 5000);
    let request = sent(&double, &client, "x").await;
    assert_eq!(request.method, "GET");
}

#[tokio::test]
async fn a_server_that_takes_no_post_is_asked_by_get() {
    let router = Router::new().route(
        "/api/v1/query_range",
        get(async || r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#),
    );
    let client = client(&serve(router).await, PLAIN);
    let answer = ask(&client, &"x".repeat(5000)).await.unwrap();
    assert_eq!(answer.data, QueryData::Matrix(Vec::new()));
}

#[tokio::test]
async fn each_way_to_authenticate_is_sent_and_no_secret_is_logged() {
    let (log, _guard) = logged();
    let double = PrometheusDouble::start();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"hush1\n").unwrap();
    let path = file.path().display();
    let at_user = double.base_url().replace("http://", "http://user:hush@");
    for (base, yaml, expected) in [
        (
            double.base_url(),
            "bearer_token: hush".to_owned(),
            "Bearer hush",
        ),
        (
            double.base_url(),
            format!("bearer_token_file: {path}"),
            "Bearer hush1",
        ),
        (
            double.base_url(),
            "basic_auth: {username: user, password: hush}".to_owned(),
            "Basic dXNlcjpodXNo",
        ),
        (
            double.base_url(),
            format!("basic_auth: {{username: user, password_file: {path}}}"),
            "Basic dXNlcjpodXNoMQ==",
        ),
        (at_user, "description: x".to_owned(), "Basic dXNlcjpodXNo"),
        (
            double.base_url(),
            "headers: {Authorization: Own hush}".to_owned(),
            "Own hush",
        ),
    ] {
        let client = client(&base, &format!("metrics: []\n{yaml}"));
        let request = sent(&double, &client, "q").await;
        assert_eq!(request.headers["authorization"], expected, "{yaml}");
        assert_eq!(request.headers["accept"], "*/*");
    }
    assert!(!log.text().is_empty());
    assert_eq!(log.lines("hush"), Vec::<String>::new());
    assert_eq!(log.lines("dXNlcjpodXNo"), Vec::<String>::new());
}

#[tokio::test]
async fn a_token_file_is_read_anew_for_each_request() {
    let double = PrometheusDouble::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    let yaml = format!(
        "{{metrics: [], bearer_token_file: {}}}",
        file.path().display()
    );
    let client = client(&double.base_url(), &yaml);
    let error = failure(&client).await;
    assert!(
        error.contains(&file.path().display().to_string()),
        "{error}"
    );
    assert!(error.contains("empty"), "{error}");
    for token in ["one", "two"] {
        std::fs::write(file.path(), token).unwrap();
        let request = sent(&double, &client, "q").await;
        assert_eq!(request.headers["authorization"], format!("Bearer {token}"));
    }
}

#[tokio::test]
async fn one_connection_serves_one_question_after_the_other() {
    let router =
        Router::new().route(
            "/api/v1/query_range",
            get(
                |axum::extract::ConnectInfo(peer): axum::extract::ConnectInfo<
                    std::net::SocketAddr,
                >| async move {
                    let data = json!({"resultType": "matrix", "result": []});
                    json!({"status": "success", "data": data, "infos": [peer.to_string()]})
                        .to_string()
                },
            ),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let service = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    let client = client(&base, PLAIN);
    let first = ask(&client, "q").await.unwrap().infos;
    assert_eq!(ask(&client, "q").await.unwrap().infos, first);
}

#[tokio::test]
async fn prometheus_own_words_reach_the_user_and_a_refusal_is_not_repeated() {
    let double = PrometheusDouble::start();
    double.answer_all(Some(PrometheusAnswer::Error(
        400,
        "bad_data".into(),
        "1:4: parse error".into(),
    )));
    let error = failure(&client(&double.base_url(), PLAIN)).await;
    assert_eq!(
        error,
        "Prometheus query request failed with error 'bad_data': 1:4: parse error"
    );
    assert_eq!(double.received().len(), 1);
}

#[tokio::test]
async fn what_passes_by_itself_is_tried_again() {
    let double = PrometheusDouble::start();
    for answer in [
        PrometheusAnswer::Error(503, "timeout".into(), "slow".into()),
        PrometheusAnswer::Reset,
        PrometheusAnswer::Http(502, "<html>bad gateway".into()),
        PrometheusAnswer::Http(429, String::new()),
        PrometheusAnswer::Constant(1.0),
    ] {
        double.answer("q", answer);
    }
    let answer = ask(&client(&double.base_url(), PLAIN), "q").await.unwrap();
    assert!(matches!(answer.data, QueryData::Matrix(elements) if elements[0].samples.len() == 3));
    assert_eq!(double.received().len(), 5);
}

#[tokio::test]
async fn a_lasting_failure_says_how_often_it_was_tried() {
    let double = PrometheusDouble::start();
    double.answer_all(Some(PrometheusAnswer::Error(
        503,
        "unavailable".into(),
        "starting".into(),
    )));
    let error = failure(&client(&double.base_url(), PLAIN)).await;
    let tries = double.received().len();
    assert!(tries > 3, "{tries}");
    assert!(error.contains("'unavailable': starting"), "{error}");
    assert!(
        error.contains(&format!("given up after {tries} tries")),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_the_password() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (log, _guard) = logged();
    let error = failure(&client(&format!("http://u:hush@{address}"), PLAIN)).await;
    let expected = format!("cannot reach Prometheus at http://{address}/api/v1/query_range: ");
    assert!(error.starts_with(&expected), "{error}");
    assert!(error.contains("refused"), "{error}");
    assert!(!error.contains("hush"), "{error}");
    assert_eq!(log.lines("hush"), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_never_answers_fails_after_the_timeout() {
    let double = PrometheusDouble::start();
    double.answer_all(Some(PrometheusAnswer::Stall));
    let client = client(&double.base_url(), "{metrics: [], timeout: 100ms}");
    let error = failure(&client).await;
    assert!(error.contains("no answer from"), "{error}");
    assert!(double.received().len() >= 2, "it is tried again");
}

#[tokio::test]
async fn a_slow_answer_within_the_timeout_is_an_answer() {
    let double = PrometheusDouble::start();
    let late = PrometheusAnswer::Late(
        Duration::from_millis(400),
        Box::new(PrometheusAnswer::Constant(1.0)),
    );
    double.answer_all(Some(late));
    // Later than the whole budget for trying again, which does not shorten the first try.
    assert!(ask(&client(&double.base_url(), PLAIN), "q").await.is_ok());
    assert_eq!(double.received().len(), 1);
}

#[tokio::test]
async fn a_login_page_is_recognised() {
    let router = Router::new().fallback(async || {
        let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        (kind, "<html>\n<title>Log in</title>")
    });
    let base = serve(router).await;
    let error = failure(&client(&base, PLAIN)).await;
    assert_eq!(
        error,
        format!(
            "expected JSON from {base}/api/v1/query_range but got text/html (200): <html> <title>Log in</title>"
        )
    );
}

#[tokio::test]
async fn redirects_are_named_and_not_followed() {
    let router = Router::new().fallback(async || Redirect::temporary("https://u:hush@other/x"));
    let error = failure(&client(&serve(router).await, PLAIN)).await;
    assert!(
        error.contains("redirects to https://other/x (307)"),
        "{error}"
    );
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let router = Router::new().fallback(async || "x".repeat(5000));
    let client = client(&serve(router).await, PLAIN).with_longest_body(4096);
    let error = failure(&client).await;
    assert!(error.contains("longer than 4096 bytes"), "{error}");
}

#[tokio::test]
async fn an_unexpected_body_is_shown_in_short() {
    for (status, kind, body, expected) in [
        (
            401,
            "text/plain",
            "Unauthorized",
            "got text/plain (401): Unauthorized",
        ),
        (404, "text/plain", "", "got text/plain (404)"),
        (
            403,
            "application/json",
            r#"{"message":"no"}"#,
            r#"(403): missing field `status`"#,
        ),
        (
            200,
            "application/json",
            r#"{"status":"success"}"#,
            "(200): missing field `data`",
        ),
        (
            400,
            "application/json",
            r#"{"status":"succ"#,
            r#"application/json (400): {"status":"succ"#,
        ),
    ] {
        let router = Router::new().fallback(async move || {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            (StatusCode::from_u16(status).unwrap(), headers, body)
        });
        let error = failure(&client(&serve(router).await, PLAIN)).await;
        assert!(error.contains(expected), "{error}");
    }
    let double = PrometheusDouble::start();
    double.answer_all(Some(PrometheusAnswer::Http(200, "é".repeat(1000))));
    let error = failure(&client(&double.base_url(), PLAIN)).await;
    assert_eq!(error.matches('é').count(), 200, "{error}");
}

#[tokio::test]
async fn certificates_that_cannot_be_read_are_named() {
    let double = PrometheusDouble::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display();
    for (tls, expected) in [
        (
            "{ca_file: /nowhere/ca.pem}".to_owned(),
            "tls.ca_file: cannot read /nowhere/ca.pem",
        ),
        (format!("{{ca_file: {path}}}"), "no certificate in it"),
        (
            format!("{{cert_file: {path}, key_file: {path}}}"),
            "tls.cert_file and tls.key_file",
        ),
    ] {
        let error = failure(&client(
            &double.base_url(),
            &format!("{{metrics: [], tls: {tls}}}"),
        ))
        .await;
        assert!(error.contains(expected), "{error}");
    }
    assert!(double.received().is_empty());
}

#[tokio::test]
async fn https_against_a_plain_server_fails_as_unreachable() {
    let base = serve(Router::new()).await.replace("http://", "https://");
    let error = failure(&client(
        &base,
        "{metrics: [], tls: {insecure: true}, timeout: 2s}",
    ))
    .await;
    assert!(
        error.contains("cannot reach Prometheus at https://"),
        "{error}"
    );
}
