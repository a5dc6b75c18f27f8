//! Tokens, TLS, ports, and the pages of other sites.

use std::{net::TcpListener, process::Stdio};

use servo_doubles::{Script, ScriptedOptimizer};

use super::{
    Daemon,
    client::{ask_with, get_tls, send},
    document, one,
};
use crate::bench::{Bench, Running, SOON, skipped, wait};

#[test]
fn a_token_is_wanted_and_can_be_rotated() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let bench = Bench::new();
    bench.write("token", "f1rst-token-for-admins\n");
    bench.write("servo.toml", "[admin]\ntoken_file = \"token\"\n");
    bench.write("servo.yaml", &document("solo", &optimizer, ""));
    // Anybody may reach it.
    let daemon = Daemon::start_on(bench, "0.0.0.0:0");
    let status = |path: &str, token: &str| {
        let more = match token {
            "" => String::new(),
            token => format!("authorization: Bearer {token}\r\n"),
        };
        ask_with(
            daemon.address,
            "GET",
            path,
            &format!("host: servo.example\r\n{more}"),
            b"",
        )
        .status
    };
    for path in [
        "/livez",
        "/readyz",
        "/healthz",
        "/-/healthy",
        "/-/ready",
        "/",
    ] {
        assert!([200, 503].contains(&status(path, "")), "{path}");
    }
    for path in [
        "/metrics",
        "/-/support",
        "/-/reload",
        "/-/quit",
        "/api/v1/servos",
        "/api/v1/servos/solo",
        "/api/v1/tree",
        "/api/v1/status",
        "/api/v1/openapi.json",
        "/nothing",
        "/livez/",
        "//livez",
        "/./livez",
        "/LIVEZ",
    ] {
        for wrong in [
            "",
            "wrong",
            "f1rst-token-for-admin",
            "f1rst-token-for-adminss",
        ] {
            assert_eq!(status(path, wrong), 401, "{path} with '{wrong}'");
        }
        assert_ne!(status(path, "f1rst-token-for-admins"), 401, "{path}");
    }
    let refused = ask_with(daemon.address, "GET", "/metrics", "", b"");
    assert_eq!(
        refused.header("www-authenticate"),
        Some("Bearer realm=\"servo\"")
    );
    assert!(refused.error().contains("token"));
    daemon.bench.write("token", "sec0nd-token-for-admins\n");
    wait("the new token", SOON, || {
        (status("/metrics", "sec0nd-token-for-admins") == 200).then_some(())
    });
    assert_eq!(status("/metrics", "f1rst-token-for-admins"), 401);
    let log = daemon.end();
    for secret in ["f1rst-token", "sec0nd-token"] {
        assert!(!log.contains(secret));
    }
}

const CERTIFICATE: &str = include_str!("../../../actors/optimizer/protocol/tests/tls/server.pem");
const KEY: &str = include_str!("../../../actors/optimizer/protocol/tests/tls/server.key");
const AUTHORITY: &str = include_str!("../../../actors/optimizer/protocol/tests/tls/authority.pem");

#[test]
fn tls_and_a_certificate_that_is_replaced() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let bench = Bench::new();
    bench.write("cert.pem", CERTIFICATE);
    bench.write("key.pem", KEY);
    bench.write(
        "servo.toml",
        "[admin]\ntls_certificate = \"cert.pem\"\ntls_key = \"key.pem\"\n",
    );
    bench.write("servo.yaml", &document("solo", &optimizer, ""));
    let daemon = Daemon::start(bench);
    let answer = get_tls(daemon.address, AUTHORITY, "/livez", "").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok\n"));
    assert!(
        send(
            daemon.address,
            b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"
        )
        .is_none()
    );
    // A certificate of its own making takes the place of the other.
    let made = daemon
        .bench
        .command("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args([
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key2.pem", "-out", "cert2.pem"])
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        skipped("there is no openssl to make another certificate with");
        daemon.end();
        return;
    }
    let path = |name: &str| daemon.bench.path(name);
    let other = std::fs::read_to_string(path("cert2.pem")).unwrap();
    std::fs::rename(path("cert2.pem"), path("cert.pem")).unwrap();
    std::fs::rename(path("key2.pem"), path("key.pem")).unwrap();
    wait("the new certificate", SOON, || {
        get_tls(daemon.address, &other, "/livez", "")
            .ok()
            .map(|a| assert_eq!(a.status, 200))
    });
    assert!(get_tls(daemon.address, AUTHORITY, "/livez", "").is_err());
    daemon.end();
}

#[test]
fn pages_of_other_sites_are_kept_out() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let daemon = one(&optimizer);
    daemon.until_ready();
    let port = daemon.address.port();
    let status = |method: &str, path: &str, more: &str| {
        ask_with(daemon.address, method, path, more, b"").status
    };
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        assert_eq!(
            status("GET", "/api/v1/servos", &format!("host: {host}:{port}\r\n")),
            200,
            "{host}"
        );
    }
    for host in ["rebound.example", "127.0.0.1.nip.example", "2130706433", ""] {
        for path in ["/", "/metrics", "/api/v1/servos", "/-/reload"] {
            let answer = status("GET", path, &format!("host: {host}\r\n"));
            assert!([400, 421].contains(&answer), "{host} {path}: {answer}");
        }
    }
    let host = format!("host: localhost:{port}\r\n");
    let mutations = [
        ("POST", "/-/reload"),
        ("PUT", "/-/quit"),
        ("POST", "/api/v1/servos"),
        ("DELETE", "/api/v1/servos/solo"),
    ];
    for (method, path) in mutations {
        for more in [
            "origin: http://evil.example\r\n",
            "origin: null\r\n",
            "sec-fetch-site: cross-site\r\n",
            "sec-fetch-site: same-site\r\n",
        ] {
            assert_eq!(
                status(method, path, &format!("{host}{more}")),
                403,
                "{method} {path} {more}"
            );
        }
        for form in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
        ] {
            let more = format!("{host}content-type: {form}\r\n");
            assert_eq!(status(method, path, &more), 415, "{method} {path} {form}");
        }
    }
    let own = format!("{host}origin: http://localhost:{port}\r\nsec-fetch-site: same-origin\r\n");
    assert_eq!(status("POST", "/-/reload", &own), 200);
    assert_eq!(daemon.get("/api/v1/servos").json()["total"], 1);

    for path in ["/", "/api/v1/servos", "/metrics", "/nothing", "/livez"] {
        let answer = daemon.get(path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
    }
    assert_eq!(
        daemon.get("/api/v1/servos").header("cache-control"),
        Some("no-store")
    );
    daemon.end();
}

/// A port that somebody else has: fatal where it was asked for, and only there.
#[test]
fn a_port_that_is_taken() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let bench = Bench::new();
    bench.write("servo.yaml", &document("solo", &optimizer, ""));
    let mut command = bench.servo(&["run"]);
    command.env("SERVOD_ADMIN__LISTEN", &address);
    let ended = Running::start(command).ended(SOON);
    ended
        .assert_code(1)
        .assert_stderr(&[&address, "admin.listen"]);
    assert_eq!(optimizer.events(), Vec::<String>::new());
    for (file, told) in [
        ("token_file = \"nowhere\"", "nowhere"),
        (
            "tls_certificate = \"c\"\ntls_key = \"k\"",
            "admin.tls_certificate",
        ),
    ] {
        bench.write("servo.toml", &format!("[admin]\n{file}\n"));
        let mut command = bench.servo(&["run"]);
        command.env("SERVOD_ADMIN__LISTEN", "127.0.0.1:0");
        Running::start(command)
            .ended(SOON)
            .assert_code(1)
            .assert_stderr(&[told]);
    }
    bench.write("servo.toml", "");
    let mut command = bench.servo(&["run"]);
    command.env("SERVOD_ADMIN__LISTEN", "0.0.0.0:0");
    let ended = Running::start(command).ended(SOON);
    assert_ne!(ended.code, Some(0), "{ended}");
    ended.assert_stderr(&["token_file", "0.0.0.0"]);
}
