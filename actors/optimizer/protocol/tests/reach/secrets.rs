//! What the most talkative log holds of secrets (`spec/optimizer-protocol.md` §3, §23: 46).

use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::json;
use servo_protocol::{
    AppdynamicsSource, ConnectionFiles, HttpOptimizer, OptimizerClient as _, TokenSource, Transport,
};
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    LONG, appdynamics, channel, opsani_over,
    server::{Reply, Server},
    source, transport, whats_next,
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_credential_is_in_the_log_of_a_session() {
    let log = Log::default();
    // As long as there is only one, events that another test's thread meets first are switched off for all.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = Server::start(|request, before| {
        if request.path.ends_with("/token") {
            let answer = json!({
                "access_token": format!("hush-access-{before}"), "refresh_token": "hush-refresh", "expires_in": 61
            });
            return Reply::Json(200, answer);
        }
        match before {
            // Sends back what it was told.
            0 if request.method == "POST" => Reply::Json(401, json!({"detail": request.headers})),
            _ => Reply::Json(200, json!({"status": "ok", "reason": "fine"})),
        }
    });
    let url = server.url();
    for token in ["hush-plain", "Bearer hush-bearer", "X-SF-Token hush-sf"] {
        let client = opsani_over(channel(), &url, TokenSource::Inline(token.into()));
        let _ = client.post(&whats_next(), LONG).await;
        let diagnostics = client.diagnostics().unwrap();
        diagnostics.withhold().await.unwrap();
    }
    let client = appdynamics(source(&url));
    client.post(&whats_next(), LONG).await.unwrap();

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("connection.yaml");
    let content = format!("Authorization: Bearer hush-file\nEndpoint: {url}/x\nTenantId: t\n");
    std::fs::write(&file, content).unwrap();
    let with_file = AppdynamicsSource {
        optimizer_id: "opt-2".into(),
        connection_file: Some(file),
        ..AppdynamicsSource::default()
    };
    let files = ConnectionFiles::default();
    let client = HttpOptimizer::appdynamics(channel(), with_file, &files).unwrap();
    let _ = client.post(&whats_next(), LONG).await;

    let proxied: servo_messages::CommonConfig = serde_json::from_value(
        json!({"proxies": format!("http://user:hush-proxy@{}", url.replace("http://", ""))}),
    )
    .unwrap();
    let through = Transport {
        proxy: Transport::from(&proxied).proxy,
        ..transport()
    };
    let through = through
        .channel("a", servo_protocol::HostLimits::default())
        .unwrap();
    let client = opsani_over(
        through,
        "http://optimizer.invalid",
        TokenSource::Inline("hush-through".into()),
    );
    let _ = client.post(&whats_next(), LONG).await;
    let proxied = server.received().pop().unwrap();
    assert!(
        proxied.path.starts_with("http://optimizer.invalid/"),
        "{}",
        proxied.path
    );
    assert!(proxied.header("proxy-authorization").starts_with("Basic "));

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("hush"), "{text}");
    // `agent:hush-client`, and `user:hush-proxy`.
    for encoded in ["YWdlbnQ6aHVzaC1jbGllbnQ", "dXNlcjpodXNoLXByb3h5"] {
        assert!(!text.contains(encoded), "{text}");
    }
    for line in [
        "curl -X POST 'http://127.0.0.1:",
        "-H 'authorization: Bearer [REDACTED]'",
        "-H 'x-sf-token: [REDACTED]'",
        "-H 'authorization: Basic [REDACTED]' -H 'content-type: application/x-www-form-urlencoded;charset=UTF-8' -d '[REDACTED]'",
        r#"-d '{"event":"WHATS_NEXT","param":null,"servo_uid":null}'"#,
        "curl -X PUT",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}
