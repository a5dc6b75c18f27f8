//! How much load one engine makes, how late it is and what it costs, against a tiny server in the same process.
//!
//! `cargo bench -p servo-connector-vegeta --bench engine`. CPU time is that of the engine's thread, user and system.
//!
//! The last run is about truth: the server stalls for half a second out of every 2.5, and four workers are all there is. A fifth
//! of the requests then waits between 500 and 0 ms, so an honest p90 is 250, p95 375 and p99 475 ms, whatever was under way.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    net::SocketAddr,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use servo_connector_vegeta::{
    Attack, Plan, Report,
    target::{self, TargetFormat},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let seconds = if std::env::args().any(|argument| argument == "--bench") {
        4
    } else {
        1
    };
    let address = serve(None);
    println!(
        "{:<28} {:>9} {:>9} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8}  health",
        "run",
        "requests",
        "rate/s",
        "missed",
        "p50 us",
        "p99 us",
        "lag p50",
        "lag p99",
        "lag max",
        "cpu us"
    );
    for (name, rate, limit) in [
        ("paced 1,000/s", "1000/1s", None),
        ("paced 10,000/s", "10000/1s", None),
        ("paced 20,000/s", "20000/1s", None),
        ("paced 20,000/s, 4 workers", "20000/1s", NonZeroU64::new(4)),
        ("flat out, 1 worker", "0", NonZeroU64::new(1)),
        ("flat out, 64 workers", "0", NonZeroU64::new(64)),
    ] {
        run(name, address, rate, limit, Duration::from_secs(seconds));
    }
    let stalling = serve(Some(Stall {
        every: Duration::from_millis(2_500),
        length: Duration::from_millis(500),
    }));
    // Whole periods.
    let report = run(
        "stalls, 4 workers",
        stalling,
        "1000/1s",
        NonZeroU64::new(4),
        Duration::from_millis(2_500 * seconds),
    );
    let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
    let (latency, service) = (report.latencies, report.service);
    println!(
        "  latency from the intended start: p50 {:.1} p90 {:.1} p95 {:.1} p99 {:.1} ms; service time: p90 {:.1} p99 {:.1} ms",
        millis(latency.p50),
        millis(latency.p90),
        millis(latency.p95),
        millis(latency.p99),
        millis(service.p90),
        millis(service.p99),
    );
}

fn run(
    name: &str,
    address: SocketAddr,
    rate: &str,
    limit: Option<NonZeroU64>,
    duration: Duration,
) -> Report {
    let targets = target::parse(&format!("GET http://{address}/"), TargetFormat::Http).unwrap();
    let mut plan = Plan::new(targets, rate.parse().unwrap(), duration);
    plan.max_workers = limit;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (summary, cpu) = runtime.block_on(async {
        let attack = Attack::start(plan, &CancellationToken::new())
            .await
            .unwrap();
        let thread = engine_thread();
        let finished = attack.finish();
        tokio::pin!(finished);
        let mut cpu = Duration::ZERO;
        loop {
            tokio::select! {
                summary = &mut finished => break (summary.unwrap(), cpu),
                () = tokio::time::sleep(Duration::from_millis(20)) => {
                    cpu = thread.as_deref().and_then(cpu_time).unwrap_or(cpu);
                }
            }
        }
    });
    let report = summary.report.unwrap();
    let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
    println!(
        "{name:<28} {:>9} {:>9.0} {:>7} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>8.2}  {}",
        report.requests,
        report.rate,
        summary.missed,
        micros(report.latencies.p50),
        micros(report.latencies.p99),
        micros(report.lag.p50),
        micros(report.lag.p99),
        micros(report.lag.max),
        micros(cpu) / report.requests as f64,
        report.health,
    );
    report
}

/// Nothing is answered during `length` in the middle of every `every`.
#[derive(Clone, Copy)]
struct Stall {
    every: Duration,
    length: Duration,
}

impl Stall {
    /// Waits for the end of a stall, if there is one after `elapsed`.
    async fn wait(self, elapsed: Duration) {
        let into = Duration::from_nanos((elapsed.as_nanos() % self.every.as_nanos()) as u64);
        let from = (self.every - self.length) / 2;
        if into >= from && into < from + self.length {
            tokio::time::sleep(from + self.length - into).await;
        }
    }
}

/// The `/proc` directory of the engine's thread, where there is one.
fn engine_thread() -> Option<PathBuf> {
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        for task in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
            if std::fs::read_to_string(task.path().join("comm"))
                .is_ok_and(|name| name.trim() == "servo-load")
            {
                return Some(task.path());
            }
        }
    }
    None
}

fn cpu_time(thread: &Path) -> Option<Duration> {
    let stat = std::fs::read_to_string(thread.join("schedstat")).ok()?;
    Some(Duration::from_nanos(
        stat.split_whitespace().next()?.parse().ok()?,
    ))
}

/// A server that answers every request head with five bytes.
fn serve(stall: Option<Stall>) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            let began = Instant::now();
            loop {
                // Out of descriptors, as when the machine cannot keep up: the engine reports what it makes of it.
                let Ok((stream, _)) = listener.accept().await else {
                    continue;
                };
                if stream.set_nodelay(true).is_ok() {
                    tokio::spawn(answer(stream, began, stall));
                }
            }
        });
    });
    receiver.recv().unwrap()
}

async fn answer(mut stream: TcpStream, began: Instant, stall: Option<Stall>) {
    let mut buffer = vec![0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        // The engine sends one request at a time, in one write.
        if !buffer[..count].ends_with(b"\r\n\r\n") {
            continue;
        }
        if let Some(stall) = stall {
            stall.wait(began.elapsed()).await;
        }
        if stream.write_all(RESPONSE).await.is_err() {
            return;
        }
    }
}
