//! The program from outside: a child process, HTTP over a plain socket, signals and exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

const DEADLINE: Duration = Duration::from_secs(20);

struct Service {
    child: Child,
    stderr: BufReader<ChildStderr>,
    port: u16,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

fn command(env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quickstart-service"));
    command
        .env_clear()
        .env("PORT", "0")
        .env("ITEMS", "64")
        .envs(env.iter().copied());
    command.stderr(Stdio::piped()).stdin(Stdio::null());
    command
}

impl Service {
    /// Starts the service on a free port and waits until it is ready.
    fn start(env: &[(&str, &str)]) -> Self {
        let mut child = command(env).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let port = line
            .trim()
            .strip_prefix("listening on 127.0.0.1:")
            .unwrap_or_else(|| panic!("the first line was {line:?}"))
            .parse()
            .unwrap();
        let service = Self {
            child,
            stderr,
            port,
        };
        let deadline = Instant::now() + DEADLINE;
        while service.get("/healthz").status != 200 {
            assert!(Instant::now() < deadline, "not ready in {DEADLINE:?}");
            thread::sleep(Duration::from_millis(5));
        }
        service
    }

    fn get(&self, path: &str) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap();
        let head = String::from_utf8(bytes[..end].to_vec())
            .unwrap()
            .to_ascii_lowercase();
        Answer {
            status: head[9..12].parse().unwrap(),
            head,
            body: bytes[end + 4..].to_vec(),
        }
    }

    fn stat(&self, name: &str) -> u64 {
        let stats: serde_json::Value = serde_json::from_slice(&self.get("/stats").body).unwrap();
        stats[name].as_u64().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "still running after {DEADLINE:?}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unzip(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(body)
        .read_to_end(&mut plain)
        .unwrap();
    plain
}

#[test]
fn a_report_is_the_same_in_each_run_whatever_the_settings() {
    let plain = Service::start(&[("COMPRESSION", "0"), ("WORKERS", "1"), ("CACHE_MIB", "0")]);
    let packed = Service::start(&[("COMPRESSION", "9"), ("WORKERS", "3"), ("LINGER_MS", "5")]);
    let page = plain.get("/items/5");
    assert_eq!(
        (page.status, page.head.contains("content-encoding")),
        (200, false)
    );
    let report: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
    assert_eq!(report["item"], 5);
    assert!(page.body.len() > 20_000, "{} bytes", page.body.len());

    // The setting decides, whatever the client says it accepts: this one says nothing.
    let zipped = packed.get("/items/5");
    assert!(
        zipped.head.contains("content-encoding: gzip"),
        "{}",
        zipped.head
    );
    assert!(zipped.body.len() * 3 < page.body.len());
    assert_eq!(unzip(&zipped.body), page.body);

    for _ in 0..5 {
        assert_eq!(
            unzip(&packed.get("/items/next").body),
            plain.get("/items/next").body
        );
    }
}

#[test]
fn hits_misses_and_bytes_are_counted() {
    // Without a cache each request is a miss and a pass of its own.
    let service = Service::start(&[("CACHE_MIB", "0")]);
    let length = service.get("/items/3").body.len() as u64;
    service.get("/items/3");
    assert_eq!((service.stat("hits"), service.stat("misses")), (0, 2));
    assert_eq!((service.stat("reports"), service.stat("passes")), (2, 2));
    assert_eq!(service.stat("body_bytes"), 2 * length);

    // A cache for all is filled before the service calls itself ready.
    let service = Service::start(&[("CACHE_MIB", "16")]);
    assert_eq!(service.stat("cache_entries"), 64);
    service.get("/items/3");
    assert_eq!((service.stat("hits"), service.stat("misses")), (1, 0));

    // One that holds less than all fills with what it can hold and stays within its room.
    let service = Service::start(&[("CACHE_MIB", "1"), ("COMPRESSION", "0")]);
    for item in 0..64 {
        service.get(&format!("/items/{item}"));
    }
    assert!(service.stat("misses") > 0 && service.stat("hits") + service.stat("misses") == 64);
    assert!((1 << 19..=1 << 20).contains(&service.stat("cache_bytes")));
}

#[test]
fn what_is_not_there_is_404() {
    let service = Service::start(&[]);
    for path in ["/items/64", "/items/99999", "/items/-1", "/items/x"] {
        let answer = service.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(String::from_utf8_lossy(&answer.body).contains("0 to 63"));
    }
    assert_eq!(service.get("/nothing").status, 404);
}

#[test]
fn a_full_queue_is_answered_with_503_at_once() {
    let service = Service::start(&[
        ("CACHE_MIB", "0"),
        ("QUEUE", "1"),
        ("LINGER_MS", "1000"),
        ("WORKERS", "1"),
    ]);
    let answers: Vec<u16> = thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|item| {
                let service = &service;
                scope.spawn(move || service.get(&format!("/items/{item}")).status)
            })
            .collect();
        asking
            .into_iter()
            .map(|asked| asked.join().unwrap())
            .collect()
    });
    assert!(
        answers.contains(&200) && answers.contains(&503),
        "{answers:?}"
    );
    let refused = answers.iter().filter(|&&status| status == 503).count() as u64;
    assert_eq!(service.stat("rejected"), refused);
}

#[test]
fn a_bad_setting_is_named_and_ends_with_2() {
    let cases = [
        (("WORKERS", "none"), "WORKERS"),
        (("WORKERS", "0"), "1..=64"),
        (("COMPRESSION", "10"), "0..=9"),
        (
            ("CACHE_ADMISSION", "never"),
            "possible values: always, second",
        ),
        (("PORT", "70000"), "PORT"),
        (("LINGER_MS", ""), "LINGER_MS"),
    ];
    for (setting, named) in cases {
        let output = command(&[setting]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{setting:?}: {said}");
        assert!(said.contains(named), "{setting:?}: {said}");
    }
}

#[test]
fn a_taken_port_is_named_and_ends_with_1() {
    let holder = Service::start(&[]);
    let output = command(&[("PORT", &holder.port.to_string())])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let named = format!("error: cannot listen on 127.0.0.1:{}", holder.port);
    assert!(
        said.starts_with(&named) && said.contains("set PORT to another"),
        "{said}"
    );
}

#[test]
fn help_names_each_setting() {
    let output = command(&[]).arg("--help").output().unwrap();
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success());
    let names = [
        "PORT",
        "WORKERS",
        "LINGER_MS",
        "COMPRESSION",
        "CACHE_MIB",
        "CACHE_ADMISSION",
        "QUEUE",
    ];
    for name in names {
        assert!(help.contains(&format!("[env: {name}=")), "{name} in {help}");
    }
}

#[test]
fn a_stop_signal_ends_with_0_and_finishes_what_is_under_way() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut service =
            Service::start(&[("CACHE_MIB", "0"), ("LINGER_MS", "300"), ("WORKERS", "1")]);
        // An idle connection must not hold the service up.
        let _idle = TcpStream::connect(("127.0.0.1", service.port)).unwrap();
        let answer = thread::scope(|scope| {
            let asking = scope.spawn(|| service.get("/items/1").status);
            let deadline = Instant::now() + DEADLINE;
            while service.stat("misses") == 0 {
                assert!(Instant::now() < deadline);
            }
            service.signal(signal);
            asking.join().unwrap()
        });
        assert_eq!(answer, 200);
        assert_eq!(service.wait().code(), Some(0));
        let mut rest = String::new();
        service.stderr.read_to_string(&mut rest).unwrap();
        assert!(rest.starts_with("stopping on SIG"), "{rest}");
    }
}
