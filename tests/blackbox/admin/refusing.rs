//! Requests that make no sense, and clients that are slow.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use servo_doubles::{Script, ScriptedOptimizer};

use super::{client::send, one};
use crate::bench::{SOON, wait};

#[test]
fn what_makes_no_sense_is_refused_and_harms_nobody() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let daemon = one(&optimizer);
    daemon.until_ready();
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/servos/", 404),
        ("GET", "/api/v1/servos/nobody", 404),
        ("GET", "/api/v1/servos/%00", 404),
        ("GET", "/api/v1/servos/%ff", 400),
        ("GET", "/api/v1/servos/..%2f..%2fetc", 404),
        ("GET", "/api/v1/tree?depth=x", 400),
        ("DELETE", "/api/v1/servos/nobody", 404),
    ] {
        let answer = daemon.ask(method, path);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert!(!answer.error().is_empty());
    }
    for (method, path, allowed) in [
        ("POST", "/livez", "GET,HEAD"),
        ("POST", "/metrics", "GET,HEAD"),
        ("GET", "/-/reload", "POST,PUT"),
        ("GET", "/-/quit", "POST,PUT"),
        ("PATCH", "/api/v1/servos", "GET,HEAD,POST"),
        ("POST", "/api/v1/servos/solo", "GET,HEAD,DELETE"),
        ("OPTIONS", "/api/v1/status", "GET,HEAD"),
        ("TRACE", "/", "GET,HEAD"),
    ] {
        let answer = daemon.ask(method, path);
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
        assert!(answer.error().contains("method"));
    }
    // Bytes that are no request, or one without an end.
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00".as_slice(),
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET /livez HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /api/v1/servos HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n",
    ] {
        let answer = send(daemon.address, bytes);
        assert!(answer.is_none_or(|a| a.status >= 400), "{bytes:?}");
    }
    let mut long = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n".to_vec();
    for n in 0..5000 {
        long.extend(format!("x-{n}: {}\r\n", "y".repeat(100)).bytes());
    }
    long.extend(b"\r\n");
    assert!(send(daemon.address, &long).is_none_or(|a| a.status == 431));
    // A body that says how long it is, and is too long.
    let mut stream = TcpStream::connect(daemon.address).unwrap();
    let huge = 10_u64 * 1024 * 1024 * 1024;
    write!(
        stream,
        "POST /api/v1/servos HTTP/1.1\r\nhost: localhost\r\ncontent-length: {huge}\r\n\r\n"
    )
    .unwrap();
    let chunk = vec![b'#'; 1024 * 1024];
    let sent = (0..100)
        .take_while(|_| stream.write_all(&chunk).is_ok())
        .count();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
        "{sent} MiB: {answer}"
    );
    assert_eq!(daemon.get("/livez").status, 200);
    assert_eq!(daemon.get("/api/v1/servos/solo").json()["name"], "solo");
    let log = daemon.end();
    assert!(!log.contains("panic"), "{log}");
}

/// Clients that send nothing, or slowly, hold nobody up and are sent away.
#[test]
fn slow_clients_are_sent_away() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let daemon = one(&optimizer);
    daemon.until_ready();
    let mut slow: Vec<TcpStream> = (0..200)
        .map(|n| {
            let mut stream = TcpStream::connect(daemon.address).unwrap();
            if n % 2 == 0 {
                stream
                    .write_all(b"GET /livez HTTP/1.1\r\nhost: loc")
                    .unwrap();
            }
            stream
        })
        .collect();
    let began = Instant::now();
    assert_eq!(daemon.get("/livez").status, 200);
    assert!(began.elapsed() < Duration::from_secs(5));
    // One of each kind: the others began at the same time.
    for stream in slow.drain(..2) {
        let mut stream = stream;
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut answer = Vec::new();
        stream
            .read_to_end(&mut answer)
            .expect("the server closes the connection");
    }
    wait("nobody is left", SOON, || {
        (daemon.metric("servo_admin_connections")? < 10.0).then_some(())
    });
    daemon.end();
}
