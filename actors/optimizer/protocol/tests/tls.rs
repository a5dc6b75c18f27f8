//! Whom the HTTP client trusts (`spec/optimizer-protocol.md` §3).
//!
//! `tests/tls/` holds a certificate for 127.0.0.1, its key, and the authority that signed it; nobody has
//! the authority's key any more, and nothing but this test trusts it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::json;
use servo_doubles::{Script, ScriptedOptimizer};
use servo_messages::CommonConfig;
use servo_protocol::{
    Event, HttpOptimizer, OpsaniEndpoint, OptimizerClient as _, PostError, ProxyChoice, Request,
    Response, TokenSource, Transport, TransportKind, Trust,
};

/// An optimizer over TLS that answers `ok` to each of so many connections.
fn secure_optimizer(connections: usize) -> SocketAddr {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(connections) {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            // A client that does not trust the certificate is gone by now.
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok() {
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}";
                let _ = stream.write_all(answer.as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    address
}

async fn post(address: SocketAddr, trust: Trust) -> Result<Response, PostError> {
    post_to(&format!("https://{address}/"), trust).await
}

async fn post_to(url: &str, trust: Trust) -> Result<Response, PostError> {
    let transport = Transport {
        proxy: ProxyChoice::Direct,
        trust,
        ..Transport::default()
    };
    let id = "dev.opsani.com/app1".parse().unwrap();
    let token = TokenSource::Inline("t".into());
    let endpoint = OpsaniEndpoint::new(id, token, Some(url), None).unwrap();
    let client = HttpOptimizer::new(transport.client().unwrap(), endpoint, "servo v0");
    let request = Request {
        event: Event::WhatsNext,
        servo_uid: None,
    };
    client.post(&request, Duration::from_secs(10)).await
}

#[tokio::test]
async fn an_untrusted_certificate_is_refused_unless_told_otherwise() {
    let address = secure_optimizer(3);
    let error = post(address, Trust::System).await.unwrap_err();
    assert!(
        matches!(
            error,
            PostError::Transport {
                kind: TransportKind::Tls,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("certificate"), "{error}");
    let authority = include_bytes!("tls/authority.pem").to_vec();
    assert!(post(address, Trust::Authorities(authority)).await.is_ok());
    assert!(post(address, Trust::Anything).await.is_ok());
}

#[tokio::test]
async fn ssl_verify_of_the_settings_decides_whom_to_trust() {
    let address = secure_optimizer(3);
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/authority.pem");
    for (ssl_verify, trusted) in [
        (json!(null), false),
        (json!(false), true),
        (json!(authority), true),
    ] {
        let settings: CommonConfig =
            serde_json::from_value(json!({"ssl_verify": ssl_verify})).unwrap();
        let trust = Transport::from(&settings).trust;
        let answer = post(address, trust).await;
        assert_eq!(answer.is_ok(), trusted, "{ssl_verify}: {answer:?}");
    }
}

#[test]
fn a_file_of_authorities_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for (path, problem) in [
        (dir.path().join("nope.pem"), "No such file"),
        (dir.path().to_owned(), "directory"),
        (empty, "no certificate in it"),
    ] {
        let transport = Transport {
            trust: Trust::AuthoritiesFile(path.clone()),
            ..Transport::default()
        };
        let error = transport.client().unwrap_err().to_string();
        assert!(
            error.contains(&*path.to_string_lossy()) && error.contains(problem),
            "{error}"
        );
    }
}

/// Run by the next test with an environment in which there are no certificates.
#[tokio::test]
#[ignore = "needs the environment that `plain_http_works_without_ca_certificates` gives it"]
async fn posts_without_ca_certificates() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let answer = post_to(&optimizer.base_url(), Trust::System).await;
    assert!(answer.is_ok(), "{answer:?}");
    let error = post(secure_optimizer(1), Trust::System).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[test]
fn plain_http_works_without_ca_certificates() {
    let nowhere = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "posts_without_ca_certificates", "--ignored"])
        .env("SSL_CERT_FILE", nowhere.path().join("none.pem"))
        .env("SSL_CERT_DIR", nowhere.path().join("none"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
