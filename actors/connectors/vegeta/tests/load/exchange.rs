//! What goes over the wire, and what is made of the answers.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use servo_connector_vegeta::target::{self, TargetFormat};

use crate::{
    attack, block_on, plan, run,
    server::{Answer, Server, ok, response},
};

#[test]
fn targets_take_turns_with_their_methods_headers_and_bodies() {
    let server = Server::friendly();
    let directory = tempfile::tempdir().unwrap();
    let body: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(directory.path().join("body"), &body).unwrap();
    let address = server.address;
    let targets = format!(
        "GET http://us%65r:pa%3Ass@{address}/one?q=1\nx-CamelCase: Value\nX-Twice: 1\nX-Twice: 2\n\n\
         POST http://{address}/two\nHost: other:80\n@{}\n\nDELETE http://{address}/three\n",
        directory.path().join("body").display()
    );
    let mut plan = plan(&targets, "60/1s", 100);
    plan.headers = vec![
        ("X-Every".to_owned(), "yes".to_owned()),
        ("x-camelcase".to_owned(), "no".to_owned()),
    ];
    let report = run(plan);
    assert_eq!(report.bytes_out.total, 2 * body.len() as u64);
    let mut seen = server.seen();
    seen.sort_by_key(crate::server::Seen::sequence);
    let lines: Vec<_> = seen.iter().map(|seen| seen.line()).collect();
    let turn = [
        "GET /one?q=1 HTTP/1.1",
        "POST /two HTTP/1.1",
        "DELETE /three HTTP/1.1",
    ];
    assert_eq!(lines, [turn, turn].concat());
    let head = &seen[0].head;
    for line in [
        "x-CamelCase: Value",
        "X-Twice: 1",
        "X-Twice: 2",
        "X-Every: yes",
        "Authorization: Basic dXNlcjpwYTpzcw==",
    ] {
        assert!(head.lines().any(|own| own == line), "{line} in {head}");
    }
    assert!(head.contains(&format!("Host: {address}\r\n")), "{head}");
    assert!(!head.to_lowercase().contains("accept-encoding"), "{head}");
    assert!(!head.contains("x-camelcase: no"), "{head}");
    assert!(
        seen[1].head.contains("Host: other:80\r\n"),
        "{}",
        seen[1].head
    );
    assert_eq!(seen[1].body, body);
    assert!(seen[2].head.contains(&format!(
        "User-Agent: servo/{}\r\n",
        env!("CARGO_PKG_VERSION")
    )));
}

#[test]
fn shell_characters_are_nothing_special() {
    let server = Server::friendly();
    run(plan(&server.get("/$(touch${IFS}pwned)"), "1/1s", 10));
    assert_eq!(server.seen()[0].path(), "/$(touch$%7BIFS%7Dpwned)");
}

#[test]
fn unsuccessful_answers_are_counted_by_status_line() {
    let number = AtomicU64::new(0);
    let server = Server::new(move |_| match number.fetch_add(1, Ordering::Relaxed) % 10 {
        0 => Answer::Now(response("503 Service Unavailable", "", "")),
        _ => Answer::Now(ok("hello")),
    });
    let report = run(plan(&server.get("/"), "100/1s", 1_000));
    assert_eq!(report.status_codes, BTreeMap::from([(200, 90), (503, 10)]));
    assert_eq!(report.errors, ["503 Service Unavailable"]);
    assert!((report.success - 0.9).abs() < 1e-9);
    assert_eq!(report.bytes_in.total, 450);
}

#[test]
fn a_refused_connection_is_an_answer_too() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let report = run(plan(
        &format!("GET http://u:secret@{address}/x"),
        "50/1s",
        200,
    ));
    assert_eq!(report.status_codes, BTreeMap::from([(0, 10)]));
    assert_eq!(
        report.errors,
        [format!("GET http://u:***@{address}/x: connection refused")]
    );
    assert_eq!(report.success, 0.0);
}

#[test]
fn other_failures_have_their_own_words() {
    for (answer, words) in [
        (
            Answer::AndClose(Vec::new()),
            "connection closed before the response was complete",
        ),
        (
            Answer::AndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec()),
            "connection closed before the response was complete",
        ),
        (
            Answer::AndClose(b"220 smtp.example.com ESMTP\r\n\r\n".to_vec()),
            "not an HTTP/1 response",
        ),
    ] {
        let server = Server::new(move |_| answer.clone());
        let report = run(plan(&server.get("/"), "20/1s", 100));
        assert_eq!(
            report.errors,
            [format!("GET http://{}/: {words}", server.address)]
        );
        assert_eq!(report.status_codes, BTreeMap::from([(0, 2)]));
    }
    // A label of more than 63 letters is refused without asking any server.
    let target = format!("GET http://{}.invalid/", "x".repeat(64));
    let report = run(plan(&target, "20/1s", 100));
    assert_eq!(report.errors.len(), 1);
    assert!(
        report.errors[0].starts_with(&format!("{target}: DNS: ")),
        "{:?}",
        report.errors
    );
}

#[test]
fn a_request_ends_at_its_time_limit() {
    let server = Server::new(|_| Answer::Never);
    let mut plan = plan(&server.get("/"), "50/1s", 400);
    plan.timeout = Some(Duration::from_millis(300));
    let began = Instant::now();
    let report = run(plan);
    assert!(
        began.elapsed() < Duration::from_millis(1_500),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        report.errors,
        [format!(
            "GET http://{}/: timed out after 300ms",
            server.address
        )]
    );
    assert_eq!(report.requests, 20);
    assert!(
        report.latencies.min >= Duration::from_millis(295),
        "{:?}",
        report.latencies
    );
}

#[test]
fn connections_are_reused_or_not() {
    let server = Server::friendly();
    run(plan(&server.get("/"), "100/1s", 300));
    assert!(server.connections() < 15, "{}", server.connections());
    assert!(!server.seen()[0].head.contains("Connection: close"));

    let server = Server::friendly();
    let mut closing = plan(&server.get("/"), "100/1s", 300);
    closing.keepalive = false;
    assert_eq!(run(closing).success, 1.0);
    assert_eq!(server.connections(), 30);
    assert!(server.seen()[0].head.contains("Connection: close"));
}

#[test]
fn connections_can_be_limited() {
    let server = Server::new(|seen| Answer::At(seen.at + Duration::from_millis(20), ok("")));
    let mut plan = plan(&server.get("/"), "200/1s", 300);
    plan.max_connections = NonZeroU32::new(2);
    let report = run(plan);
    assert_eq!((report.requests, report.success), (60, 1.0));
    assert_eq!(server.connections(), 2);
}

#[test]
fn a_server_that_closes_idle_connections_causes_no_errors() {
    let server = Server::new(|_| Answer::AndClose(ok("hello")));
    let report = run(plan(&server.get("/"), "100/1s", 300));
    assert_eq!((report.errors, report.success), (Vec::<String>::new(), 1.0));
    assert_eq!(server.connections(), 30);
}

#[test]
fn redirects_are_followed_up_to_the_limit() {
    let script = |seen: &crate::server::Seen| match seen.path() {
        "/start" => Answer::Now(response("302 Found", "Location: /end?x\r\n", "moved")),
        "/kept" => Answer::Now(response("307 Temporary Redirect", "Location: /end\r\n", "")),
        "/loop" => Answer::Now(response("301 Moved Permanently", "Location: /loop\r\n", "")),
        "/away" => Answer::Now(response(
            "301 Moved Permanently",
            "Location: gopher://x/\r\n",
            "",
        )),
        _ => Answer::Now(ok("end")),
    };
    let server = Server::new(script);
    let post = |path: &str, redirects| {
        let text = format!(
            r#"{{"method":"POST","url":"http://{}{path}","body":"aGk="}}"#,
            server.address
        );
        let mut plan = plan(&server.get("/"), "1/1s", 10);
        plan.targets = target::parse(&text, TargetFormat::Json).unwrap();
        plan.redirects = redirects;
        run(plan)
    };
    let report = post("/start", Some(10));
    assert_eq!(
        (report.status_codes, report.bytes_in.total),
        (BTreeMap::from([(200, 1)]), 3)
    );
    assert_eq!(post("/kept", Some(1)).success, 1.0);
    let followed: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| (seen.line().to_owned(), seen.body.len()))
        .collect();
    let expected = [
        ("POST /start HTTP/1.1", 2),
        ("GET /end?x HTTP/1.1", 0),
        ("POST /kept HTTP/1.1", 2),
        ("POST /end HTTP/1.1", 2),
    ];
    assert_eq!(
        followed,
        expected.map(|(line, body)| (line.to_owned(), body))
    );
    let before = server.seen().len();
    let report = post("/loop", Some(3));
    assert_eq!(
        report.errors,
        [format!(
            "POST http://{}/loop: stopped after 3 redirects",
            server.address
        )]
    );
    assert_eq!(server.seen().len() - before, 4);
    let report = post("/start", None);
    assert_eq!(
        (report.status_codes, report.success),
        (BTreeMap::from([(302, 1)]), 1.0)
    );
    assert!(
        post("/away", Some(1)).errors[0]
            .ends_with("redirected to gopher://x/, which is not an absolute http or https URL")
    );
}

#[test]
fn bodies_are_counted_up_to_the_limit_and_read_to_the_end() {
    let chunked =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec();
    let large = ok(&"x".repeat(300_000));
    let server = Server::new(move |seen| {
        Answer::Now(if seen.path() == "/large" {
            large.clone()
        } else {
            chunked.clone()
        })
    });
    let targets = format!("{}\n{}", server.get("/large"), server.get("/chunked"));
    assert_eq!(
        run(plan(&targets, "40/1s", 100)).bytes_in.total,
        2 * 300_005
    );
    let mut limited = plan(&targets, "40/1s", 100);
    limited.max_body = Some(1_000);
    let connections = server.connections();
    assert_eq!(run(limited).bytes_in.total, 2 * 1_005);
    assert!(server.connections() - connections <= 4);
}

#[test]
fn a_run_with_a_bad_target_does_not_start() {
    let server = Server::friendly();
    let error = block_on(attack(plan(
        &format!("{}\n@/no/such/body", server.get("/")),
        "1/1s",
        10,
    )))
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "bad body: /no/such/body: No such file or directory (os error 2)"
    );
    let mut empty = plan(&server.get("/"), "1/1s", 10);
    empty.targets.clear();
    assert_eq!(
        block_on(attack(empty)).unwrap_err().to_string(),
        "no targets found"
    );
    assert_eq!(server.connections(), 0);
}
