//! How many requests a server has before it that nobody has given up (`spec/optimizer-protocol.md` §17).

use std::{
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use futures_util::future::join_all;
use servo_protocol::{Channel, HostLimits, HttpOptimizer, OptimizerClient as _, TokenSource};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::{LONG, channel, hello, opsani_over, whats_next};

/// Answers nothing, and counts the requests whose clients have not hung up.
struct Silent {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// Each with a request before it.
    connections: Vec<Arc<TcpStream>>,
    requests: usize,
    most: usize,
}

impl Seen {
    fn arrived(&mut self, connection: Arc<TcpStream>) {
        // A client that has hung up has done so before this moment, whoever has noticed.
        self.connections.retain(|one| {
            let more = one.try_read(&mut [0; 64]);
            matches!(more, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
        });
        self.connections.push(connection);
        self.requests += 1;
        self.most = self.most.max(self.connections.len());
    }
}

impl Silent {
    fn start() -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = seen.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(receive(stream, shared.clone()));
                }
            });
        });
        Self { address, seen }
    }
}

async fn receive(stream: TcpStream, seen: Arc<Mutex<Seen>>) {
    const WELCOME: &[u8] = b"HTTP/1.1 200 X\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}";
    let stream = Arc::new(stream);
    let mut text = Vec::new();
    loop {
        let told = String::from_utf8_lossy(&text);
        if told.contains("WHATS_NEXT") && told.ends_with('}') {
            break;
        }
        if told.contains("HELLO") && told.ends_with('}') {
            stream.try_write(WELCOME).unwrap();
            text.clear();
        }
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read_buf(&mut text) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
    seen.lock().unwrap().arrived(stream);
}

const MOST: usize = 20;

/// As many servos as there are places, so many times.
fn servos(channel: &Channel, server: &Silent, times: usize) -> Vec<HttpOptimizer> {
    let url = format!("http://{}", server.address);
    (0..MOST * times)
        .map(|_| opsani_over(channel.clone(), &url, TokenSource::Inline("t".into())))
        .collect()
}

fn gated() -> Channel {
    channel().limited(HostLimits::new(NonZeroUsize::new(MOST).unwrap()), LONG)
}

/// However many time out at once, and however many wait for their places.
#[tokio::test]
async fn those_given_up_are_gone_before_others_go() {
    let server = Silent::start();
    let servos = servos(&gated(), &server, 5);
    let request = whats_next();
    let patience = Duration::from_millis(200);
    join_all(servos.iter().zip(0_u32..).map(async |(servo, i)| {
        // The first have all of it behind the gate, the others some.
        let patience = patience * (1 + i / 20);
        servo.post(&request, patience).await.unwrap_err();
    }))
    .await;
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen.most, MOST, "of {}", seen.requests);
    assert!(seen.requests >= 2 * MOST, "{}", seen.requests);
}

/// A connection is closed by the thread that made it, which may have no time for that when it is to be given up.
#[tokio::test]
async fn those_given_up_are_gone_though_their_thread_is_busy() {
    let server = Silent::start();
    let channel = gated();
    let (be_busy, told_to) = oneshot::channel::<()>();
    let (greeted, is_greeted) = oneshot::channel::<()>();
    let others = servos(&channel, &server, 1);
    let busy = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            // All their connections are there to be used.
            let hello = hello();
            join_all(others.iter().map(|servo| servo.post(&hello, LONG))).await;
            greeted.send(()).unwrap();
            told_to.await.unwrap();
            thread::sleep(Duration::from_millis(330));
            tokio::time::sleep(Duration::from_secs(1)).await;
        });
    });
    is_greeted.await.unwrap();
    let servos = servos(&channel, &server, 2);
    let request = whats_next();
    let patience = Duration::from_millis(300);
    let posting = join_all(servos.iter().zip(0_u32..).map(async |(servo, i)| {
        let patience = patience * (1 + 3 * (i / 20));
        servo.post(&request, patience).await.unwrap_err();
    }));
    tokio::join!(posting, async {
        while server.seen.lock().unwrap().requests < MOST {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Until after the first have been given up.
        be_busy.send(()).unwrap();
    });
    busy.join().unwrap();
    let seen = server.seen.lock().unwrap();
    assert_eq!((seen.requests, seen.most), (2 * MOST, MOST));
}
