#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
};

use serde_json::json;

use super::*;

const LONG: Duration = Duration::from_secs(5);

/// Posts `body` as a servo would, and returns status and JSON.
fn post(optimizer: &ScriptedOptimizer, body: &Value) -> io::Result<(u16, Value)> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(optimizer.address())?;
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    write!(
        stream,
        "POST /a/servo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.get(9..12).and_then(|text| text.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((
        status.unwrap_or_default(),
        serde_json::from_str(body).unwrap_or_default(),
    ))
}

fn say(optimizer: &ScriptedOptimizer, event: &str, param: Value) -> Value {
    let request = json!({"event": event, "param": param, "servo_uid": null});
    post(optimizer, &request).unwrap().1
}

fn next(optimizer: &ScriptedOptimizer) -> Value {
    say(optimizer, "WHATS_NEXT", Value::Null)
}

#[test]
fn a_command_stays_until_it_is_completed() {
    let script =
        Script::new()
            .describe("d")
            .sleep(json!(1))
            .measure("m", &["a"], json!({"duration": 1}));
    let optimizer = ScriptedOptimizer::start(script);
    say(&optimizer, "HELLO", json!({}));
    assert!(optimizer.connected());
    assert_eq!(next(&optimizer)["cmd"], "DESCRIBE");
    assert_eq!(next(&optimizer)["cmd_uid"], "d");
    let done = json!({"status": "failed", "message": "x", "cmd_uid": "d"});
    let early = say(&optimizer, "MEASUREMENT", done.clone());
    assert_eq!(
        early["reason"],
        "Out of order event \"MEASUREMENT\", expected \"DESCRIPTION\"; ignoring"
    );
    let stale = json!({"status": "ok", "cmd_uid": "other"});
    let stale = say(&optimizer, "DESCRIPTION", stale);
    assert_eq!(
        stale,
        json!({"status": "invalid", "reason": "unexpected cmd_uid"})
    );
    assert_eq!(say(&optimizer, "DESCRIPTION", done.clone())["status"], "ok");
    assert_eq!(
        say(&optimizer, "DESCRIPTION", done)["status"],
        "unexpected-event"
    );
    assert_eq!(next(&optimizer)["param"]["duration"], 1);
    assert_eq!(next(&optimizer)["cmd"], "MEASURE");
    assert!(!optimizer.exhausted());
    let done = json!({"status": "ok", "metrics": {}, "annotations": {}, "cmd_uid": "m"});
    say(&optimizer, "MEASUREMENT", done.clone());
    assert!(optimizer.exhausted());
    assert_eq!(next(&optimizer)["param"]["duration"], 60);
    optimizer.push(json!({"cmd": "REBOOT"}));
    assert_eq!(next(&optimizer)["cmd"], "REBOOT");
    assert_eq!(next(&optimizer)["cmd"], "SLEEP");
    assert_eq!(
        optimizer.completion("MEASUREMENT", LONG).unwrap()["message"],
        "x"
    );
    say(&optimizer, "GOODBYE", json!({"reason": "SIGTERM"}));
    assert!(!optimizer.connected());
    assert_eq!(optimizer.violations(), Vec::<String>::new());
}

#[test]
fn progress_is_checked() {
    let optimizer = ScriptedOptimizer::start(Script::new().measure("m", &[], json!({})));
    say(&optimizer, "HELLO", json!({}));
    next(&optimizer);
    let progress = |percent: f64| {
        say(
            &optimizer,
            "MEASUREMENT",
            json!({"progress": percent, "runtime": 1.0, "cmd_uid": "m"}),
        )
    };
    assert_eq!(progress(0.0)["status"], "ok");
    assert_eq!(progress(45.0)["status"], "ok");
    assert_eq!(
        progress(22.0)["reason"],
        "progress cannot go backward: new progress value of 22 is less than existing progress value of 45"
    );
    progress(100.0);
    say(
        &optimizer,
        "MEASUREMENT",
        json!({"status": "ok", "cmd_uid": "m"}),
    );
    progress(50.0);
    let violations = optimizer.violations();
    assert_eq!(violations.len(), 3, "{violations:?}");
    assert!(violations[2].contains("after its completion"));
}

#[test]
fn what_a_servo_must_not_do_is_noted() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    post(&optimizer, &json!({"event": "WHATS_NEXT"})).unwrap();
    assert_eq!(
        optimizer.violations(),
        [
            "\"WHATS_NEXT\" without the key \"param\"",
            "\"WHATS_NEXT\" without the key \"servo_uid\"",
            "\"WHATS_NEXT\" before HELLO"
        ]
    );
}

#[test]
fn faults_meet_the_requests_they_are_for() {
    let optimizer = ScriptedOptimizer::start(Script::new().describe("d"));
    let ask = json!({"event": "WHATS_NEXT", "param": null, "servo_uid": null});
    say(&optimizer, "HELLO", json!({}));
    optimizer.inject(
        On::event("WHATS_NEXT").after(1).times(2),
        Fault::status(503),
    );
    optimizer.inject(On::event("WHATS_NEXT"), Fault::html());
    assert_eq!(post(&optimizer, &ask).unwrap(), (200, Value::Null));
    assert_eq!(post(&optimizer, &ask).unwrap().0, 503);
    assert_eq!(post(&optimizer, &ask).unwrap().0, 503);
    assert_eq!(next(&optimizer)["cmd"], "DESCRIBE");
    optimizer.inject(On::any(), Fault::Reset);
    let error = post(&optimizer, &ask).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    optimizer.inject(On::any(), Fault::Stall);
    let error = post(&optimizer, &ask).unwrap_err();
    assert!(matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    ));
    let began = Instant::now();
    optimizer.inject(On::any(), Fault::Delay(Duration::from_millis(100)));
    assert_eq!(next(&optimizer)["cmd"], "DESCRIBE");
    assert!(began.elapsed() >= Duration::from_millis(100));

    let progress = json!({"progress": 1.0, "runtime": 1.0, "cmd_uid": "d"});
    optimizer.inject(On::progress("DESCRIPTION"), Fault::cancel("user asked"));
    let answer = say(&optimizer, "DESCRIPTION", progress.clone());
    assert_eq!(answer, json!({"status": "cancel", "reason": "user asked"}));
    optimizer.inject(On::progress("DESCRIPTION"), Fault::RepeatCommand);
    assert_eq!(
        say(&optimizer, "DESCRIPTION", progress.clone())["cmd"],
        "DESCRIBE"
    );

    // The answer to a completion is lost, but not the completion.
    optimizer.inject(
        On::completion("DESCRIPTION").although_applied(),
        Fault::status(500),
    );
    say(
        &optimizer,
        "DESCRIPTION",
        json!({"status": "ok", "cmd_uid": "d"}),
    );
    assert_eq!(next(&optimizer)["cmd"], "SLEEP");

    // A command that is given up.
    optimizer.push(json!({"cmd": "DESCRIBE", "cmd_uid": 2}));
    assert_eq!(next(&optimizer)["cmd_uid"], 2);
    optimizer.inject(
        On::progress("DESCRIPTION").and_drop_command(),
        Fault::unexpected_event(),
    );
    let progress = json!({"progress": 1.0, "runtime": 1.0, "cmd_uid": "2"});
    assert_eq!(
        say(&optimizer, "DESCRIPTION", progress)["status"],
        "unexpected-event"
    );
    assert_eq!(next(&optimizer)["cmd"], "SLEEP");

    optimizer.inject(On::any().always(), Fault::status(404));
    assert_eq!(post(&optimizer, &ask).unwrap().0, 404);
    optimizer.heal();
    assert_eq!(post(&optimizer, &ask).unwrap().0, 200);
}

#[test]
fn other_servos_and_credentials_are_refused() {
    let optimizer = ScriptedOptimizer::start(Script::new().expects_servo_uid("u1"));
    let hello = |uid: &str| json!({"event": "HELLO", "param": {}, "servo_uid": uid});
    let gone = post(&optimizer, &hello("u2")).unwrap();
    assert_eq!(gone, (410, json!({"detail": "unexpected servo_uid"})));
    assert_eq!(post(&optimizer, &hello("u1")).unwrap().0, 200);
    optimizer.accept_only("authorization", "Bearer new");
    assert_eq!(post(&optimizer, &hello("u1")).unwrap().0, 401);
    assert_eq!(
        optimizer.received()[0].header("authorization"),
        Some("Bearer t")
    );
}

#[test]
fn a_condition_that_does_not_come_true_shows_what_was_received() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    say(&optimizer, "HELLO", json!({"agent": "x"}));
    let error = optimizer
        .wait_for(Duration::from_millis(20), |received| received.len() > 1)
        .unwrap_err();
    assert!(
        error.to_string().contains(r#"HELLO {"agent":"x"}"#),
        "{error}"
    );
    assert!(
        optimizer
            .wait_for(LONG, |received| received.len() == 1)
            .is_ok()
    );
}

#[test]
fn an_optimizer_can_come_back_where_it_was() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let address = optimizer.address();
    say(&optimizer, "HELLO", json!({}));
    drop(optimizer);
    assert!(TcpStream::connect(address).is_err());
    let optimizer = ScriptedOptimizer::start_on(address, Script::new()).unwrap();
    assert_eq!(say(&optimizer, "HELLO", json!({}))["status"], "ok");
}

#[tokio::test]
async fn async_tests_can_wait_too() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let address = optimizer.address();
    let asking = async {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, request)
            .await
            .unwrap();
        stream
    };
    let (_stream, seen) = tokio::join!(asking, optimizer.until(LONG, |seen| seen.len() == 1));
    seen.unwrap();
    let late = optimizer.until(Duration::from_millis(10), |seen| seen.len() == 2);
    assert!(late.await.is_err());
}
