//! The application that is tuned: a small HTTP service, and the `servo.yaml` that tunes it.
//!
//! It is this test binary itself, run again with [`PORT`] set, so that it is there however the tests
//! are started.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::exit,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::bench::{Bench, SOON, free_port, wait};

const PORT: &str = "TOY_PORT";

/// What runs in the child; nothing when the tests run.
///
/// | variable | |
/// |---|---|
/// | `ROUNDS` | rounds of hashing for each request |
/// | `CODEC` | `plain` or `dense`, which hashes twice; `missing` does not start |
///
/// `GET /work` hashes, `/healthz` answers, `/count` tells how many requests of `/work` there were,
/// `/die` ends the process with code 7.
#[test]
fn toy_service() {
    let Ok(port) = std::env::var(PORT) else {
        return;
    };
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
    let rounds: u64 = number("ROUNDS").unwrap_or(4);
    let codec = std::env::var("CODEC").unwrap_or_default();
    if codec == "missing" {
        eprintln!("toy: there is no codec '{codec}'");
        exit(3);
    }
    let listener = match TcpListener::bind(("127.0.0.1", port.parse().expect("a port"))) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("toy: cannot listen on 127.0.0.1:{port}: {error}");
            exit(1);
        }
    };
    eprintln!("toy: listens with rounds={rounds} codec={codec}");
    let rounds = if codec == "dense" { 2 * rounds } else { rounds };
    let count = Arc::new(AtomicU64::new(0));
    for stream in listener.incoming().flatten() {
        let count = count.clone();
        thread::spawn(move || serve(stream, rounds, &count));
    }
}

fn serve(stream: TcpStream, rounds: u64, count: &AtomicU64) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut writer = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream).lines();
    loop {
        let request = lines.next()?.ok()?;
        while !lines.next()?.ok()?.is_empty() {}
        let body = match request.split(' ').nth(1)? {
            "/work" => {
                count.fetch_add(1, Ordering::SeqCst);
                hash(rounds).to_string()
            }
            "/count" => count.load(Ordering::SeqCst).to_string(),
            "/die" => {
                eprintln!("toy: out of ideas");
                exit(7);
            }
            _ => "ok".to_owned(),
        };
        write!(
            writer,
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .ok()?;
    }
}

/// FNV over 2 KB for each round.
fn hash(rounds: u64) -> u64 {
    (0..rounds * 2048).fold(0xcbf2_9ce4_8422_2325, |hash: u64, n| {
        (hash ^ (n & 0xff)).wrapping_mul(0x100_0000_01b3)
    })
}

/// The toy as a test sees it.
#[derive(Clone, Copy)]
pub(crate) struct Toy {
    pub(crate) port: u16,
}

impl Toy {
    pub(crate) fn new() -> Self {
        Self { port: free_port() }
    }

    /// Body of the answer; none when it does not answer.
    pub(crate) fn get(self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: toy\r\n\r\n").ok()?;
        stream.shutdown(std::net::Shutdown::Write).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// Waits until the process that runs now has been asked for work so often: it is being measured.
    pub(crate) fn wait_for_load(self, requests: u64) {
        wait("load on the toy", SOON, || {
            (self.get("/count")?.parse::<u64>().ok()? >= requests).then_some(())
        });
    }

    /// The stanzas `process` and `vegeta`, with the toy's settings and this load.
    pub(crate) fn connectors(self) -> String {
        self.stanzas("connectors: [process, vegeta]", &this_binary())
    }

    /// With `command`, a YAML list, to start the toy.
    pub(crate) fn stanzas(self, connectors: &str, command: &str) -> String {
        let port = self.port;
        format!(
            r#"
{connectors}
process:
  components:
    - name: toy
      command: {command}
      env: {{{PORT}: "{port}"}}
      settings:
        - {{name: rounds, type: range, min: 1, max: 8, step: 1, value: 4, env: ROUNDS}}
        - {{name: codec, type: enum, values: [plain, dense], value: dense, env: CODEC}}
      ready: {{http: {{url: "http://127.0.0.1:{port}/healthz"}}, timeout: 20s, interval: 20ms}}
      restart: {{backoff: 20ms}}
      stop: {{grace: 3s}}
vegeta:
  rate: 80/1s
  target: GET http://127.0.0.1:{port}/work
  reporting_interval: 100ms
"#
        )
    }

    /// A whole `servo.yaml` whose embedded study has this budget; `more` are further keys of it.
    pub(crate) fn study(self, trials: u32, more: &str) -> String {
        format!("{}{}", study(trials, more), self.connectors())
    }
}

/// The stanza `optimizer` of an embedded study with this budget; `more` are further keys of it.
pub(crate) fn study(trials: u32, more: &str) -> String {
    let more = more.replace('\n', "\n    ");
    format!(
        r#"optimizer:
  embedded:
    id: toys/toy
    database: trials.db
    objective: {{minimize: "10 * toy.rounds + latency_50th"}}
    trials: {trials}
    confirmations: 2
    duration: 300ms
    {more}
"#
    )
}

/// This binary, as a command that becomes the toy.
pub(crate) fn this_binary() -> String {
    let program = std::env::current_exe().expect("a path");
    format!(
        "[\"{}\", \"toy::toy_service\", \"--exact\", \"--nocapture\", \"--quiet\"]",
        program.display()
    )
}

/// The toy's processes, wardens not counted.
pub(crate) fn running(bench: &Bench) -> usize {
    bench
        .processes()
        .iter()
        .filter(|(_, line)| line.contains("toy::toy_service"))
        .count()
}
