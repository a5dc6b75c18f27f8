//! Servos that are added and removed over the admin API, and what reloads do to them.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use super::{document, file, idle, measuring, reload, told, until_event, until_measuring};
use crate::bench::{Bench, Running, SOON, free_port};

/// A request to the admin server: its status and body.
fn admin(port: u16, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\ncontent-length: {}\r\n\
         content-type: application/yaml\r\n\r\n{body}",
        body.len()
    )
    .expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned());
    (status.expect("a status"), body.unwrap_or_default())
}

#[test]
fn servos_that_come_and_go_while_it_runs() {
    let (first, added, taken) = (measuring("6s"), idle(), idle());
    let bench = Bench::new();
    let own = document("first", &first, "");
    bench.write("servo.yaml", &own);
    let port = free_port();
    let mut command = bench.servo(&["run"]);
    command
        .env("SERVOD_ADMIN__LISTEN", format!("127.0.0.1:{port}"))
        // It names one optimizer, and is not for those that join others.
        .env("OPSANI_ID", "example.com/of-the-environment");
    let mut servo = Running::start(command);
    until_measuring(&first);
    let add = |yaml: &str| admin(port, "POST", "/api/v1/servos", yaml);
    let new = document("added", &added, "");
    for (yaml, told) in [
        ("name: [".to_owned(), "the documents: "),
        ("name: x\n".to_owned(), "optimizer -> id"),
        (own.clone(), "\\\"first\\\" exists already"),
        (
            new.replace("name: added", "name: other")
                .replace("example.com/added", "example.com/first"),
            "example.com/first",
        ),
        (
            file(&[new.clone(), "name: x\nwiat: 1\n".to_owned()]),
            "wiat",
        ),
    ] {
        let (status, body) = add(&yaml);
        assert!(
            (400..500).contains(&status) && body.contains(told),
            "{status} {body}"
        );
    }
    assert_eq!(added.events(), Vec::<String>::new(), "all of them, or none");
    let (status, body) = add(&new);
    assert_eq!(
        (status, body.trim()),
        (201, "{\"added\":[\"added\"]}"),
        "{body}"
    );
    until_event(&added, "WHATS_NEXT");
    // The file does not name it: it stays as it is.
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -0 =1 in "),
        "{outcome}"
    );
    // The file may not give its optimizer to another servo.
    let thief = document("thief", &taken, "").replace("example.com/thief", "example.com/added");
    bench.write("servo.yaml", &file(&[own.clone(), thief]));
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload refused: servo \"thief\" has the optimizer example.com/added"),
        "{outcome}"
    );
    // The file names it, and what the file says counts from now on.
    bench.write("servo.yaml", &file(&[own.clone(), new.clone()]));
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -0 =2 in "),
        "{outcome}"
    );
    assert_eq!(told(&added), ["HELLO", "WHATS_NEXT"]);
    // One that is removed comes back when the file still has it.
    let (status, body) = admin(port, "DELETE", "/api/v1/servos/added", "");
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        told(&added),
        ["HELLO", "WHATS_NEXT", "GOODBYE reconfigured"]
    );
    assert_eq!(admin(port, "DELETE", "/api/v1/servos/added", "").0, 404);
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +1 ~0 -0 =1 in "),
        "{outcome}"
    );
    // What the file takes back is gone.
    bench.write("servo.yaml", &own);
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -1 =1 in "),
        "{outcome}"
    );
    // Added, removed, and not in the file: gone for good.
    assert_eq!(add(&new).0, 201);
    assert_eq!(admin(port, "DELETE", "/api/v1/servos/added", "").0, 200);
    let (status, body) = admin(port, "POST", "/-/reload", "");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("reload finished: +0 ~0 -0 =1 in "), "{body}");
    let completion = first.completion("MEASUREMENT", SOON).unwrap();
    assert_eq!(
        completion["status"], "ok",
        "nothing of it disturbs the first"
    );
    let (status, body) = admin(port, "POST", "/-/quit", "");
    assert!((200..300).contains(&status), "{status} {body}");
    let ended = servo.ended(SOON);
    ended.assert_code(0);
    assert_eq!(first.received().last().unwrap().param["reason"], "shutdown");
    assert_eq!(first.events().iter().filter(|e| *e == "HELLO").count(), 1);
}
