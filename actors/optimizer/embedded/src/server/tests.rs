#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::study::Studies;

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
    optimizer: EmbeddedOptimizer,
    _directory: tempfile::TempDir,
}

async fn start(studies: &str, options: ServerOptions) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let studies = Studies::from_yaml(studies).unwrap();
    let optimizer = EmbeddedOptimizer::start(directory.path().join("t.db"), studies)
        .await
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(
        listener,
        router(optimizer.clone(), options),
        shutdown.clone(),
    ));
    Running {
        address,
        shutdown,
        serving,
        optimizer,
        _directory: directory,
    }
}

impl Running {
    /// One request over a connection of its own, and what came back.
    async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send("POST", path, "", &body.to_string()).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, "", "").await
    }
}

const APP: &str = "/accounts/dev.opsani.com/applications/app1/servo";

/// The conversation of a servo of the peer, byte for byte its shapes: list of metrics in any order, nulls
/// where it has them, its own keys for a null uid.
#[tokio::test]
async fn a_servo_completes_hello_describe_measure_goodbye() {
    let server = start("", ServerOptions::default()).await;
    let event =
        |event: &str, param: Value| json!({"event": event, "param": param, "servo_uid": null});

    let hello = event(
        "HELLO",
        json!({"agent": "github.com/opsani/servox v25.3.0", "telemetry": {"servox.version": "25.3.0"}}),
    );
    assert_eq!(
        server.post(APP, hello).await,
        (200, json!({"status": "ok"}))
    );

    let (status, describe) = server.post(APP, event("WHATS_NEXT", Value::Null)).await;
    assert_eq!(
        (status, &describe["cmd"], &describe["param"]),
        (200, &json!("DESCRIBE"), &json!({}))
    );
    let described = event(
        "DESCRIPTION",
        json!({"status": "ok", "message": null, "reason": "success", "cmd_uid": describe["cmd_uid"],
               "descriptor": {"application": {"components": {}},
                              "measurement": {"metrics": {"throughput": {"unit": "rpm"}}}}}),
    );
    assert_eq!(
        server.post(APP, described).await,
        (200, json!({"status": "ok"}))
    );

    let (_, measure) = server.post(APP, event("WHATS_NEXT", Value::Null)).await;
    assert_eq!(measure["cmd"], "MEASURE");
    assert_eq!(measure["param"]["metrics"], json!(["throughput"]));
    assert!(
        measure["param"]["control"]["duration"].is_string(),
        "{measure}"
    );
    let progress = event(
        "MEASUREMENT",
        json!({"progress": 33.38, "runtime": 1.002, "cmd_uid": measure["cmd_uid"], "message": "measuring"}),
    );
    assert_eq!(
        server.post(APP, progress).await,
        (200, json!({"status": "ok"}))
    );
    let early = event(
        "ADJUSTMENT",
        json!({"status": "ok", "state": {}, "cmd_uid": null}),
    );
    let (_, refused) = server.post(APP, early).await;
    assert_eq!(
        refused,
        json!({"status": "unexpected-event",
               "reason": "Out of order event \"ADJUSTMENT\", expected \"MEASUREMENT\"; ignoring"})
    );
    let measured = event(
        "MEASUREMENT",
        json!({"status": "ok", "message": null, "reason": "success", "cmd_uid": measure["cmd_uid"],
               "metrics": {"throughput": {"unit": "rpm", "values": [{"id": "1", "data": [[1, 2.0], [2, 4.0]]}]}},
               "annotations": {}}),
    );
    assert_eq!(
        server.post(APP, measured).await,
        (200, json!({"status": "ok"}))
    );

    let (_, sleep) = server.post(APP, event("WHATS_NEXT", Value::Null)).await;
    assert_eq!(
        (&sleep["cmd"], &sleep["param"]["duration"]),
        (&json!("SLEEP"), &json!(60))
    );
    let reason = sleep["param"]["data"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("no study is configured for the optimizer id `dev.opsani.com/app1`"),
        "{reason}"
    );

    let goodbye = event("GOODBYE", json!({"reason": "SIGTERM"}));
    assert_eq!(
        server.post(APP, goodbye).await,
        (200, json!({"status": "ok"}))
    );

    let (status, studies) = server.get("/api/v1/studies").await;
    assert_eq!(
        (status, &studies[0]["optimizer"], &studies[0]["finished"]),
        (200, &json!("dev.opsani.com/app1"), &json!(1))
    );
    assert!(
        studies[0]["verdict"]
            .as_str()
            .unwrap()
            .contains("measured once"),
        "{studies}"
    );
    let (_, trials) = server.get("/api/v1/studies/1/trials").await;
    assert_eq!(trials[0]["metrics"]["throughput"], json!(3.0));
    assert_eq!(server.get("/api/v1/studies/1").await.1["id"], json!(1));
    assert_eq!(server.get("/api/v1/studies/2").await.0, 404);
}

#[tokio::test]
async fn each_optimizer_id_has_its_own_study_under_either_kind_of_url_and_any_prefix() {
    let server = start(
        "{id: opt-1, objective: {minimize: p99}}\n---\n{objective: {minimize: p50}}",
        ServerOptions::default(),
    )
    .await;
    let hello =
        json!({"event": "HELLO", "param": {"agent": "a", "telemetry": {}}, "servo_uid": "one"});
    let next = |uid: &str| json!({"event": "WHATS_NEXT", "param": null, "servo_uid": uid});
    let appd = "/behind/a/proxy/rest/optimize/co/v1/optimizers/opt-1/servo";
    assert_eq!(server.post(appd, hello.clone()).await.0, 200);
    assert_eq!(
        server
            .post("/x/accounts/dev.opsani.com/applications/a%31/servo", hello)
            .await
            .0,
        200
    );
    assert_eq!(server.post(appd, next("one")).await.1["cmd"], "DESCRIBE");
    assert_eq!(
        server.post(appd, next("two")).await,
        (410, json!({"detail": "unexpected servo_uid"})),
        "another deployment"
    );
    assert_eq!(
        server
            .post(
                "/accounts/dev.opsani.com/applications/a1/servo",
                next("one")
            )
            .await
            .1["cmd"],
        "DESCRIBE"
    );
}

#[tokio::test]
async fn what_is_no_event_is_refused_with_its_reason() {
    let options = ServerOptions {
        body_limit: 1000,
        ..ServerOptions::default()
    };
    let server = start("", options).await;
    for (body, status, words) in [
        ("<html>".to_owned(), 400, "not an event of the protocol"),
        (
            json!({"event": "SING", "param": null}).to_string(),
            400,
            "SING",
        ),
        (
            json!({"event": "MEASUREMENT", "param": {}, "servo_uid": null}).to_string(),
            400,
            "progress",
        ),
        (" ".repeat(2000), 413, "larger than 1000 bytes"),
    ] {
        let (found, answer) = server.send("POST", APP, "", &body).await;
        assert_eq!(found, status, "{answer}");
        assert!(
            answer["detail"].as_str().unwrap().contains(words),
            "{answer}"
        );
    }
    assert_eq!(server.get(APP).await.0, 405);
    assert_eq!(server.get("/nowhere").await.0, 404);
    assert_eq!(
        server
            .get("/accounts/o/applications/n/assets/opsani.com/diagnostics-check")
            .await
            .1["data"],
        "WITHHOLD"
    );
}

#[tokio::test]
async fn a_token_is_asked_for_everywhere_but_at_the_liveness_probe() {
    let options = ServerOptions {
        token: Some("open sesame".into()),
        ..ServerOptions::default()
    };
    let server = start("", options).await;
    assert_eq!(server.get("/livez").await.0, 200);
    for headers in [
        "",
        "Authorization: Bearer close sesame\r\n",
        "Authorization: Bearer open sesame open sesame\r\n",
        "Authorization: open sesame\r\n",
    ] {
        assert_eq!(
            server.send("GET", "/api/v1/studies", headers, "").await.0,
            401,
            "{headers:?}"
        );
        assert_eq!(
            server.send("POST", APP, headers, "{}").await.0,
            401,
            "{headers:?}"
        );
    }
    let (status, _) = server
        .send(
            "GET",
            "/api/v1/studies",
            "Authorization: bearer open sesame\r\n",
            "",
        )
        .await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn the_server_ends_when_told_and_closes_the_file() {
    let server = start("", ServerOptions::default()).await;
    assert_eq!(server.get("/livez").await.0, 200);
    server.shutdown.cancel();
    server.serving.await.unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(10), server.optimizer.closed())
        .await
        .unwrap();
    let wal = server._directory.path().join("t.db-wal");
    assert!(
        !wal.exists(),
        "the journal is merged into the file when it is closed"
    );
}
