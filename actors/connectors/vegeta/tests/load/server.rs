//! An HTTP/1.1 server that does what a script says and remembers what it got, byte for byte.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Now(Vec<u8>),
    At(Instant, Vec<u8>),
    /// Writes and then closes the connection.
    AndClose(Vec<u8>),
    Never,
}

type Script = Arc<dyn Fn(&Seen) -> Answer + Send + Sync>;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    _stop: DropGuard,
}

impl Server {
    pub(crate) fn new(script: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let (sender, receiver) = mpsc::channel();
        let (seen, connections) = (
            Arc::<Mutex<Vec<Seen>>>::default(),
            Arc::<AtomicUsize>::default(),
        );
        let stop = CancellationToken::new();
        let (script, stopped): (Script, _) = (Arc::new(script), stop.clone());
        let (log, count) = (seen.clone(), connections.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(stopped.run_until_cancelled_owned(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(serve(stream, script.clone(), log.clone()));
                }
            }));
        });
        Self {
            address: receiver.recv().unwrap(),
            seen,
            connections,
            _stop: stop.drop_guard(),
        }
    }

    /// A server that answers everything with 200 and `hello`.
    pub(crate) fn friendly() -> Self {
        Self::new(|_| Answer::Now(ok("hello")))
    }

    pub(crate) fn get(&self, path: &str) -> String {
        format!("GET http://{}{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Seen {
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// The path without the query.
    pub(crate) fn path(&self) -> &str {
        self.line()
            .split(' ')
            .nth(1)
            .unwrap()
            .split('?')
            .next()
            .unwrap()
    }

    pub(crate) fn sequence(&self) -> u64 {
        let line = self
            .head
            .lines()
            .find_map(|line| line.strip_prefix("X-Vegeta-Seq: "));
        line.unwrap().parse().unwrap()
    }
}

pub(crate) fn ok(body: &str) -> Vec<u8> {
    response("200 OK", "", body)
}

/// `headers` are whole lines with their line ends.
pub(crate) fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn serve(mut stream: TcpStream, script: Script, log: Arc<Mutex<Vec<Seen>>>) {
    let mut pending = Vec::new();
    while let Some((head, body)) = next_request(&mut stream, &mut pending).await {
        let seen = Seen {
            at: Instant::now(),
            head,
            body,
        };
        let answer = script(&seen);
        log.lock().unwrap().push(seen);
        let (bytes, close) = match answer {
            Answer::Now(bytes) => (bytes, false),
            Answer::At(moment, bytes) => {
                tokio::time::sleep_until(moment.into()).await;
                (bytes, false)
            }
            Answer::AndClose(bytes) => (bytes, true),
            Answer::Never => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                return;
            }
        };
        if stream.write_all(&bytes).await.is_err() || close {
            return;
        }
    }
}

async fn next_request(stream: &mut TcpStream, pending: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = pending.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(pending[..end].to_vec()).unwrap();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .map_or(0, |length| length.parse::<usize>().unwrap());
            if pending.len() >= end + 4 + length {
                let body = pending[end + 4..end + 4 + length].to_vec();
                pending.drain(..end + 4 + length);
                return Some((head, body));
            }
        }
        let mut bytes = [0; 16 * 1024];
        match stream.read(&mut bytes).await {
            Ok(count @ 1..) => pending.extend_from_slice(&bytes[..count]),
            _ => return None,
        }
    }
}
