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
use servo_protocol::{HostLimits, OptimizerClient as _, TokenSource};
use tokio::net::{TcpListener, TcpStream};

use crate::{LONG, channel, opsani_over, whats_next};

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
    let stream = Arc::new(stream);
    let mut text = Vec::new();
    // WHATS_NEXT ends with this.
    while !text.ends_with(b"}") {
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

/// However many time out at once, and however many wait for their places.
#[tokio::test]
async fn those_given_up_are_gone_before_others_go() {
    let server = Silent::start();
    let limits = HostLimits::new(NonZeroUsize::new(20).unwrap());
    let channel = channel().limited(limits, LONG);
    let url = format!("http://{}", server.address);
    let token = TokenSource::Inline("t".into());
    let servos: Vec<_> = (0..100)
        .map(|_| opsani_over(channel.clone(), &url, token.clone()))
        .collect();
    let request = whats_next();
    // Each has so much time from when it came to the gate: the first twenty have all of it behind the gate, the next
    // the same time once more.
    let patience = Duration::from_millis(200);
    join_all(servos.iter().zip(0_u32..).map(async |(servo, i)| {
        let error = servo.post(&request, patience * (1 + i / 20)).await;
        assert!(error.is_err());
    }))
    .await;
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen.most, 20, "of {}", seen.requests);
    assert!(seen.requests >= 40, "{}", seen.requests);
}
