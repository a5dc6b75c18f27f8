//! TLS and HTTP/2.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{attack, block_on, plan, run};

fn certificate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/load/certificate.pem")
}

struct SecureServer {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl SecureServer {
    /// Offers HTTP/2 and HTTP/1.1; answers with the protocol's version and what it was sent.
    fn new() -> Self {
        let certificates = vec![CertificateDer::from_pem_file(certificate()).unwrap()];
        let key = PrivateKeyDer::from_pem_file(certificate().with_file_name("key.pem")).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let connections = Arc::<AtomicUsize>::default();
        let count = connections.clone();
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let acceptor = acceptor.clone();
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(async move {
                        let Ok(stream) = acceptor.accept(stream).await else {
                            return;
                        };
                        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                            let builder = conn::http2::Builder::new(TokioExecutor::new());
                            let _ = builder
                                .serve_connection(TokioIo::new(stream), service_fn(answer))
                                .await;
                        } else {
                            let builder = conn::http1::Builder::new();
                            let _ = builder
                                .serve_connection(TokioIo::new(stream), service_fn(answer))
                                .await;
                        }
                    });
                }
            });
        });
        Self {
            address: receiver.recv().unwrap(),
            connections,
        }
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let version = request.version();
    let good = request.headers().contains_key("x-vegeta-seq")
        && request
            .headers()
            .get("authorization")
            .is_some_and(|value| value == "Basic dTpw");
    let body = request.into_body().collect().await?.to_bytes();
    let status = match version {
        _ if !good || body != "hi" => 400,
        hyper::Version::HTTP_2 => 202,
        _ => 200,
    };
    let mut response = Response::new(Full::new("answer".into()));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
    Ok(response)
}

fn secure_plan(server: &SecureServer) -> servo_connector_vegeta::Plan {
    let directory = tempfile::tempdir().unwrap();
    let body = directory.path().join("body");
    std::fs::write(&body, "hi").unwrap();
    let targets = format!(
        "PUT https://u:p@localhost:{}/\n@{}",
        server.address.port(),
        body.display()
    );
    let mut plan = plan(&targets, "100/1s", 300);
    plan.targets[0].body = servo_connector_vegeta::target::Body::Inline("hi".into());
    plan
}

#[test]
fn http2_is_used_where_the_server_offers_it_and_the_plan_allows_it() {
    let server = SecureServer::new();
    let mut both = secure_plan(&server);
    both.root_certs = vec![certificate()];
    let report = run(both.clone());
    assert_eq!(
        (report.status_codes, report.errors),
        (BTreeMap::from([(202, 30)]), Vec::new())
    );
    assert_eq!(report.bytes_in.total, 30 * 6);
    assert!(server.connections.load(Ordering::Relaxed) < 15);

    both.http2 = false;
    assert_eq!(run(both).status_codes, BTreeMap::from([(200, 30)]));
}

#[test]
fn certificates_are_verified_unless_told_otherwise() {
    let server = SecureServer::new();
    let mut plan = secure_plan(&server);
    // Trusts something, but not this server.
    plan.root_certs = vec![certificate()];
    plan.targets[0].url.set_host(Some("127.0.0.2")).unwrap();
    let report = run(plan.clone());
    assert_eq!(report.status_codes, BTreeMap::from([(0, 30)]));
    assert_eq!(report.errors.len(), 1, "{:?}", report.errors);
    let text = format!("PUT https://u:***@127.0.0.2:{}/: ", server.address.port());
    assert!(report.errors[0].starts_with(&text), "{:?}", report.errors);

    let mut insecure = secure_plan(&server);
    insecure.insecure = true;
    assert_eq!(run(insecure).success, 1.0);
}

#[test]
fn unusable_root_certificates_keep_the_run_from_starting() {
    let server = SecureServer::new();
    let mut plan = secure_plan(&server);
    plan.root_certs = vec!["/no/such/file.pem".into()];
    let error = block_on(attack(plan)).unwrap_err().to_string();
    assert!(
        error.starts_with("TLS: root certificates /no/such/file.pem: "),
        "{error}"
    );
}
