//! What a request costs its sender: processor time of the thread that asks, answers excluded.
//!
//! `cargo bench -p servo-protocol --bench request`, on Linux.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use servo_protocol::{
    Channel, Event, HttpOptimizer, Operation, OpsaniEndpoint, OptimizerClient as _, Progress,
    ProxyChoice, Report, Request, TokenSource, Transport, Trust,
};

const ROUNDS: u32 = 20_000;
const MANY: usize = 100_000;

fn main() {
    let server = optimizer();
    let transport = Transport {
        proxy: ProxyChoice::Direct,
        trust: Trust::Anything,
        ..Transport::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let channel = Channel::new(transport.client().unwrap(), "github.com/example/servo v0");
        let id = "dev.opsani.com/app1".parse().unwrap();
        let token = TokenSource::Inline("a-token-as-long-as-they-are-0123456789abcdef".into());
        let base_url = format!("http://{server}");
        let endpoint = OpsaniEndpoint::new(id, token, Some(&base_url), None).unwrap();
        let client = HttpOptimizer::opsani(channel.clone(), &endpoint);
        let before = resident();
        let many: Vec<_> = (0..MANY)
            .map(|_| HttpOptimizer::opsani(channel.clone(), &endpoint))
            .collect();
        println!(
            "an optimizer of many: {} bytes",
            (resident() - before) / MANY
        );
        drop(many);
        let (ask, report) = (whats_next(), progress());
        let asking = client.post(&ask, Duration::from_secs(10));
        println!("future of post: {} bytes", size_of_val(&*asking));
        asking.await.unwrap();
        let (processor, began) = (processor_time(), Instant::now());
        for _ in 0..ROUNDS {
            client.post(&ask, Duration::from_secs(10)).await.unwrap();
            client.post(&report, Duration::from_secs(10)).await.unwrap();
        }
        println!(
            "two requests: {:?} of processor time, {:?} in all",
            (processor_time() - processor) / ROUNDS,
            began.elapsed() / ROUNDS
        );
    });
}

fn whats_next() -> Request {
    Request {
        event: Event::WhatsNext,
        servo_uid: None,
    }
}

fn progress() -> Request {
    Request {
        event: Event::Report(
            Operation::Measure,
            Report::Progress(Progress {
                progress: 33.5,
                runtime: 12.0,
                cmd_uid: None,
                message: Some("measuring".into()),
            }),
        ),
        servo_uid: None,
    }
}

/// Answers whatever comes on a thread of its own.
fn optimizer() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut request = [0; 4096];
            while stream.read(&mut request).is_ok_and(|read| read > 0) {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}";
                stream.write_all(answer).unwrap();
            }
        }
    });
    address
}

/// Memory of this process, in bytes.
fn resident() -> usize {
    let all = std::fs::read_to_string("/proc/self/statm").unwrap();
    all.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Of this thread.
fn processor_time() -> Duration {
    let all = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(all.split(' ').next().unwrap().parse().unwrap())
}
