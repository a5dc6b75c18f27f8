//! `settings`, as far as they can be seen on the network (`spec/config-and-cli.md` §2.4, §11.30-31).

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use servo_doubles::{Fault, On, Script, ScriptedOptimizer};

use crate::bench::{Bench, Ended, SOON};

/// A certificate for 127.0.0.1 of an authority that nobody knows, its key, and the authority.
const CERTIFICATE: &[u8] = include_bytes!("../../actors/optimizer/protocol/tests/tls/server.pem");
const KEY: &[u8] = include_bytes!("../../actors/optimizer/protocol/tests/tls/server.key");
const AUTHORITY: &str = include_str!("../../actors/optimizer/protocol/tests/tls/authority.pem");

/// Speaks TLS in front of a server that does not: one request for each connection, as the answers
/// say that the connection ends.
fn tls_before(server: SocketAddr) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()],
            PrivateKeyDer::from_pem_slice(KEY).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = config.clone();
            thread::spawn(move || pass(stream, config, server));
        }
    });
    address
}

fn pass(stream: TcpStream, config: Arc<ServerConfig>, server: SocketAddr) -> Option<()> {
    let mut client = StreamOwned::new(ServerConnection::new(config).ok()?, stream);
    let mut request = Vec::new();
    let mut part = [0; 4096];
    loop {
        let n = client.read(&mut part).ok().filter(|n| *n > 0)?;
        request.extend_from_slice(&part[..n]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .split("\r\n")
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
            .unwrap_or(0);
        if body.len() >= length {
            break;
        }
    }
    let text = String::from_utf8(request).ok()?;
    let text = text.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    let mut server = TcpStream::connect(server).ok()?;
    server.write_all(text.as_bytes()).ok()?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).ok()?;
    client.write_all(&answer).ok()?;
    client.conn.send_close_notify();
    client.flush().ok()?;
    client.sock.shutdown(Shutdown::Write).ok()
}

fn file(url: &str, settings: &str) -> String {
    format!(
        "optimizer: {{id: example.com/app, token: t, base_url: '{url}'}}\n\
         settings: {settings}\n\
         wait: {{measure_enabled: true}}\n"
    )
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused_unless_told_otherwise() {
    for (settings, trusted) in [
        ("{}", false),
        ("{ssl_verify: true}", false),
        ("{ssl_verify: null}", false),
        ("{ssl_verify: false}", true),
        ("{ssl_verify: authority.pem}", true),
    ] {
        let optimizer = ScriptedOptimizer::start(Script::new());
        let address = tls_before(optimizer.address());
        let bench = Bench::new();
        bench.write("authority.pem", AUTHORITY);
        bench.write("servo.yaml", &file(&format!("https://{address}"), settings));
        let mut servo = bench.start(&["run"]);
        if trusted {
            optimizer
                .wait_for(SOON, |received| {
                    received.iter().any(|r| r.event == "WHATS_NEXT")
                })
                .unwrap();
        } else {
            servo.until("the refusal is told", SOON, |_, log| {
                log.contains("certificate").then_some(())
            });
        }
        if !servo.has_ended() {
            servo.signal(Signal::TERM);
        }
        let ended = servo.ended(SOON);
        assert_eq!(
            !optimizer.received().is_empty(),
            trusted,
            "{settings}: {ended}"
        );
        let warned = ended
            .stderr
            .lines()
            .any(|line| line.contains("WARN") && line.contains("ssl_verify"));
        assert_eq!(warned, settings.contains("false"), "{settings}: {ended}");
    }
}

/// Each attempt ends after the configured time, and another one follows.
#[test]
fn an_optimizer_that_never_answers_is_given_up_after_the_timeout() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    optimizer.inject(On::any().always(), Fault::Stall);
    let bench = Bench::new();
    bench.write("servo.yaml", &file(&optimizer.base_url(), "{timeouts: 1s}"));
    let began = Instant::now();
    let servo = bench.start(&["run"]);
    let times = optimizer
        .find(SOON, |received| {
            let times: Vec<Duration> = received.iter().map(|r| r.at).collect();
            (times.len() >= 3).then_some(times)
        })
        .unwrap();
    // A second each, and what is waited between attempts.
    assert!(began.elapsed() < Duration::from_secs(20));
    for pair in times.windows(2) {
        let apart = pair[1] - pair[0];
        assert!(apart >= Duration::from_millis(950), "{times:?}");
        assert!(apart <= Duration::from_secs(8), "{times:?}");
    }
    servo.signal(Signal::TERM);
    let ended = servo.ended(SOON);
    ended.assert_stderr(&["no answer in time"]);
}

#[track_caller]
fn refused(settings: &str, parts: &[&str]) {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let bench = Bench::new();
    bench.write("servo.yaml", &file(&optimizer.base_url(), settings));
    for command in ["validate", "run"] {
        let ended: Ended = bench.run(&[command]);
        ended
            .assert_code(1)
            .assert_stderr(&["X Invalid configuration in servo.yaml", "settings -> "])
            .assert_stderr(parts);
    }
    assert!(optimizer.received().is_empty());
}

#[test]
fn wrong_settings_are_refused_before_anything_is_sent() {
    refused("{ssl_verify: /nope.pem}", &["ssl_verify", "/nope.pem"]);
    refused(
        "{timeouts: {foo: 1s}}",
        &["timeouts -> foo", "extra fields not permitted"],
    );
    refused("{timeouts: -5s}", &["timeouts", "-5s"]);
    refused("{timeouts: soon}", &["timeouts"]);
    refused("{proxies: 'localhost:1234'}", &["proxies"]);
    refused(
        "{proxies: {'ftp://': 'http://proxy:3128'}}",
        &["proxies -> ftp://"],
    );
    refused("{proxies: {'ftp://': x}}", &["proxies -> ftp://"]);
    refused(
        "{backoff: {connect: {max_tries: 0}}}",
        &["backoff -> connect -> max_tries"],
    );
    refused(
        "{backoff: {connect: {max_tries: -1}}}",
        &["backoff -> connect -> max_tries"],
    );
}
