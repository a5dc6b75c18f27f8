//! Clients that hold connections and ask nothing, and those that try tokens.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use servo_doubles::{Script, ScriptedOptimizer};

use super::{Daemon, client::ask_with, document, one};
use crate::bench::{Bench, SOON};

/// A kubelet waits a second for its answer.
#[test]
fn probes_are_answered_however_many_connections_are_held() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let mut daemon = one(&optimizer);
    daemon.until_ready();
    for said in [
        "",
        "GET /livez HTTP/1.1\r\nHost: local",
        "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let held: Vec<TcpStream> = (0..300)
            .map(|_| {
                let mut stream = TcpStream::connect(daemon.address).unwrap();
                stream.write_all(said.as_bytes()).unwrap();
                stream
            })
            .collect();
        let began = Instant::now();
        assert_eq!(daemon.get("/livez").status, 200);
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "{said:?}: {:?}",
            began.elapsed()
        );
        drop(held);
    }
    assert!(daemon.metric("servo_admin_connections").unwrap() <= 256.0);
    daemon.running.until("it is in the log", SOON, |_, log| {
        let line = log.lines().find(|l| l.contains("give way to new ones"))?;
        line.contains("WARN").then_some(())
    });
    daemon.end();
}

/// One that has its answer coming is no idle one.
#[test]
fn who_is_being_answered_stays() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let daemon = one(&optimizer);
    daemon.until_ready();
    let mut slow = TcpStream::connect(daemon.address).unwrap();
    let body = document("late", &optimizer, "");
    write!(
        slow,
        "POST /api/v1/servos HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .unwrap();
    let (first, rest) = body.split_at(10);
    slow.write_all(first.as_bytes()).unwrap();
    let held: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect(daemon.address).unwrap())
        .collect();
    assert_eq!(daemon.get("/livez").status, 200);
    slow.write_all(rest.as_bytes()).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    drop(held);
    daemon.end();
}

#[test]
fn who_tries_tokens_is_told_of_once_with_the_address() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let bench = Bench::new();
    bench.write("servo.yaml", &document("solo", &optimizer, ""));
    bench.write("token", "the-admin-token-of-this-test\n");
    bench.write("servo.toml", "[admin]\ntoken_file = \"token\"\n");
    let mut daemon = Daemon::start(bench);
    let ask = |more: &str| ask_with(daemon.address, "GET", "/api/v1/status", more, b"").status;
    assert_eq!(ask(""), 401);
    for wrong in 0..20 {
        let header = format!("authorization: Bearer guess-number-{wrong}\r\n");
        assert_eq!(ask(&header), 401);
    }
    assert_eq!(
        ask("authorization: Bearer the-admin-token-of-this-test\r\n"),
        200
    );
    let told = |log: &str| -> Vec<String> {
        let lines = log.lines().filter(|l| l.contains("with a wrong token"));
        lines.map(str::to_owned).collect()
    };
    let line = daemon
        .running
        .until("it is told", SOON, |_, log| told(log).first().cloned());
    assert!(
        line.contains("WARN") && line.contains("127.0.0.1"),
        "{line}"
    );
    let log = daemon.end();
    // The second one says at the end how many were left out.
    assert!(told(&log).len() <= 2, "{log}");
    assert!(log.contains("suppressed=19"), "{log}");
    assert!(!log.contains("guess-number"), "{log}");
}
