//! Optimizers, and what stands before them, that answer below or beside HTTP and JSON (`spec/optimizer-protocol.md` §3,
//! §11, §12): each of their servos bears it and goes on when it is over, and those beside them notice nothing.

use std::io::Write as _;

use servo_doubles::{Fault, On};

use super::*;

/// How long the optimizers are at it.
const SIEGE: Duration = Duration::from_secs(5);

fn raw(bytes: &[u8]) -> Fault {
    Fault::NotHttp(bytes.to_vec())
}

fn with_body(head: &str, body: impl AsRef<[u8]>) -> Fault {
    let body = body.as_ref();
    let mut bytes =
        format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    Fault::NotHttp(bytes)
}

fn coded(coding: &str, body: Vec<u8>) -> Fault {
    Fault::Body {
        headers: vec![("content-encoding".to_owned(), coding.to_owned())],
        body,
    }
}

fn bomb() -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&vec![b' '; 64 << 20]).unwrap();
    gzip.finish().unwrap()
}

/// What WHATS_NEXT is answered with.
fn hostilities(elsewhere: &ScriptedOptimizer) -> Vec<(&'static str, Fault)> {
    let headers = "x-a: b\r\n".repeat(100_000);
    let location = format!("location: {}/stolen\r\n", elsewhere.base_url());
    vec![
        ("a connection that is closed at once", raw(b"")),
        ("half a head", raw(b"HTTP/1.1 200 OK\r\ncontent-le")),
        (
            "headers without end",
            raw(format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes()),
        ),
        ("another protocol", raw(b"SSH-2.0-OpenSSH_9.6\r\n")),
        ("HTTP/2", raw(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64")),
        (
            "half a body",
            raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"cmd\""),
        ),
        (
            "chunks that are none",
            raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "another protocol from here on",
            raw(b"HTTP/1.1 101 X\r\nupgrade: y\r\nconnection: upgrade\r\n\r\n"),
        ),
        ("no content", raw(b"HTTP/1.1 204 X\r\n\r\n")),
        (
            "two lengths",
            raw(b"HTTP/1.1 200 X\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}"),
        ),
        ("a bomb", coded("gzip", bomb())),
        (
            "what is not compressed",
            coded("gzip", b"{\"status\":\"ok\"}".to_vec()),
        ),
        ("nesting", with_body("200 X", "[".repeat(1_000_000))),
        (
            "a wide array",
            with_body("200 X", format!("[{}0]", "0,".repeat(1_000_000))),
        ),
        ("no text", with_body("200 X", b"{\"status\":\"\xff\xfe\"}")),
        (
            "no number",
            with_body(
                "200 X",
                "{\"cmd\":\"SLEEP\",\"param\":{\"duration\":1e999}}",
            ),
        ),
        (
            "a forged line",
            Fault::Answer(
                json!({"status": "invalid", "reason": "no\n2026-01-01 00:00:00.000 | ERROR | forged\u{1b}[31m"}),
            ),
        ),
        (
            "a token that comes back",
            Fault::Status {
                status: 400,
                headers: Vec::new(),
                body: "token-of-servo-17".to_owned(),
            },
        ),
        (
            "a redirect",
            with_body(&format!("307 X\r\n{}", location.trim_end()), ""),
        ),
        ("a login page", Fault::html()),
        (
            "a proxy's refusal",
            with_body("407 X\r\nproxy-authenticate: Basic realm=\"x\"", "no"),
        ),
        (
            "a time to wait that has passed",
            Fault::retry_after(503, "Wed, 21 Oct 2015 07:28:00 GMT"),
        ),
        ("a time to wait that is none", Fault::retry_after(503, "-5")),
        ("no answer", Fault::Stall),
    ]
}

#[test]
fn whatever_optimizers_answer_their_servos_bear_it_and_others_do_not_notice() {
    side_by_side("hostile", servos_bear_their_optimizers);
}

pub(super) fn servos_bear_their_optimizers() {
    let elsewhere = ScriptedOptimizer::start(Script::new());
    let (names, faults): (Vec<_>, Vec<_>) = hostilities(&elsewhere).into_iter().unzip();
    let mut optimizers: Vec<_> = faults
        .into_iter()
        .map(|fault| {
            let optimizer = ScriptedOptimizer::start(Script::new().describe("d1"));
            optimizer.inject(On::event("WHATS_NEXT").always(), fault);
            optimizer
        })
        .collect();
    let measurements = (0..1000).fold(Script::new(), |script, i| {
        script.measure(&format!("m{i}"), &["m"], json!({"duration": "100ms"}))
    });
    optimizers.push(ScriptedOptimizer::start(measurements));
    let (peaceful, hostile) = optimizers.split_last().unwrap();
    let more = format!("{WAIT}settings: {{timeouts: {{connect: 1s, read: 1s, write: 1s}}}}\n");
    let mut several = Several::start(&optimizers, &more);

    until(peaceful, "MEASUREMENT", 1);
    thread::sleep(SIEGE);
    let beside = peaceful.received();
    for (optimizer, name) in hostile.iter().zip(&names) {
        let asked = times(optimizer, "WHATS_NEXT");
        assert!((2..=12).contains(&asked.len()), "{name}: {asked:?}");
        optimizer.heal();
    }
    assert!(!several.servo.has_ended());
    for (optimizer, name) in hostile.iter().zip(&names) {
        assert_eq!(completion(optimizer, "d1")["status"], "ok", "{name}");
        let hellos = optimizer
            .events()
            .into_iter()
            .filter(|event| event == "HELLO");
        assert_eq!(hellos.count(), 1, "{name}");
    }
    let done: Vec<Duration> = beside
        .iter()
        .filter(|r| r.completes("MEASUREMENT"))
        .map(|r| r.at)
        .collect();
    assert!(
        beside
            .iter()
            .all(|r| !r.completes("MEASUREMENT") || r.param["status"] == "ok")
    );
    // A machine that does much else is slow; one that waits for a stalled neighbour stands still.
    assert!(done.len() >= 10, "{}", done.len());
    let longest = done.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest < SIEGE / 2, "{longest:?}");
    assert_eq!(
        elsewhere.events(),
        Vec::<String>::new(),
        "redirects are not followed"
    );

    let ended = several.end();
    assert!(!ended.stderr.contains("token-of"), "{ended}");
    assert!(!ended.stderr.contains('\u{1b}'), "{ended}");
    assert!(
        !ended
            .stderr
            .lines()
            .any(|line| line.starts_with("2026-01-01")),
        "{ended}"
    );
    for (i, name) in names.iter().enumerate() {
        let servo = format!(" servo-{i}(");
        let lines = ended.stderr.lines().filter(|line| line.contains(&servo));
        let count = lines.clone().count();
        assert!(
            count <= 20,
            "{name}: {count} lines\n{}",
            lines.collect::<Vec<_>>().join("\n")
        );
        assert!(
            warnings(&ended.stderr, &servo).count() > 0,
            "{name}: {ended}"
        );
    }
}
