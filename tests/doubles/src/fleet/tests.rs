#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use super::{FleetOptimizer, Orders, Temper};

/// The body of the answer; none when the connection was refused or closed.
fn post(optimizer: &FleetOptimizer, servo: &str, body: &str) -> Option<String> {
    post_within(Duration::from_secs(10), optimizer, servo, body)
}

/// As `post`; none when there is no answer in time, too.
fn post_within(
    patience: Duration,
    optimizer: &FleetOptimizer,
    servo: &str,
    body: &str,
) -> Option<String> {
    let mut stream = TcpStream::connect(optimizer.address).ok()?;
    stream.set_read_timeout(Some(patience)).unwrap();
    write!(
        stream,
        "POST /{servo} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut answer = String::new();
    let mut buffer = [0; 4096];
    while !answer.contains('}') {
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => answer.push_str(&String::from_utf8_lossy(&buffer[..read])),
            _ => return None,
        }
    }
    answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
}

#[test]
fn a_command_stays_open_until_it_is_completed() {
    let optimizer = FleetOptimizer::start(Orders::Measure(Duration::ZERO)).unwrap();
    post(&optimizer, "a", r#"{"event":"HELLO","param":{}}"#).unwrap();
    let next = || post(&optimizer, "a", r#"{"event":"WHATS_NEXT","param":null}"#);
    let first = next().unwrap();
    assert!(first.contains(r#""cmd_uid":"1""#), "{first}");
    assert_eq!(next().unwrap(), first);
    post(
        &optimizer,
        "a",
        r#"{"event":"MEASUREMENT","param":{"status":"ok","cmd_uid":"1"}}"#,
    )
    .unwrap();
    assert!(next().unwrap().contains(r#""cmd_uid":"2""#));
    let figures = optimizer.figures();
    assert_eq!(
        (figures.connected, figures.commands, figures.asked_again),
        (1, 2, 1)
    );
    assert_eq!(
        (figures.completed, figures.unexpected, figures.open),
        (1, 0, 1)
    );
    assert!(figures.p99 > Duration::ZERO && figures.p50 <= figures.p99);
}

#[test]
fn it_goes_and_comes_back_where_it_was() {
    let optimizer = FleetOptimizer::start(Orders::Describe).unwrap();
    let hello = || post(&optimizer, "a", r#"{"event":"HELLO","param":{}}"#);
    assert!(hello().is_some());
    optimizer.vanish();
    let since = std::time::Instant::now();
    while hello().is_some() {
        assert!(since.elapsed() < Duration::from_secs(5));
    }
    optimizer.return_home();
    while hello().is_none() {
        assert!(since.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn it_refuses_and_stalls_as_told() {
    let optimizer = FleetOptimizer::start(Orders::Describe).unwrap();
    let hello = || post(&optimizer, "a", r#"{"event":"HELLO","param":{}}"#);
    optimizer.treat(Temper::Stalling);
    let short = Duration::from_millis(200);
    let body = r#"{"event":"HELLO","param":{}}"#;
    assert_eq!(post_within(short, &optimizer, "a", body), None);
    optimizer.treat(Temper::Refusing(503));
    assert_eq!(hello().as_deref(), Some("{}"));
    assert_eq!(optimizer.figures().hellos, 0);
    optimizer.treat(Temper::Sound);
    assert!(hello().is_some());
    assert_eq!(optimizer.figures().hellos, 1);
}

#[test]
fn those_in_flight_are_counted_while_it_is_slow() {
    let optimizer = FleetOptimizer::start(Orders::Describe).unwrap();
    optimizer.treat(Temper::Slow(Duration::from_millis(300)));
    let hello = r#"{"event":"HELLO","param":{}}"#;
    std::thread::scope(|scope| {
        for servo in ["a", "b", "c"] {
            let optimizer = &optimizer;
            scope.spawn(move || assert!(post(optimizer, servo, hello).is_some()));
        }
        // This one does not wait for its answer, and counts no more once it has gone.
        let short = Duration::from_millis(50);
        assert_eq!(post_within(short, &optimizer, "d", hello), None);
    });
    let figures = optimizer.figures();
    assert!(figures.most_in_flight >= 3, "{figures:?}");
    assert_eq!(figures.hellos, 4);
    optimizer.reset();
    assert_eq!(optimizer.figures().most_in_flight, 0);
}
