//! A server that does with each request what a test says.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    pub(crate) at: Instant,
    /// Not the first on its connection.
    pub(crate) is_reused: bool,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What a request meets. Each closes the connection, except [`Reply::Json`] and [`Reply::Keep`].
pub(crate) enum Reply {
    Json(u16, Value),
    /// The same with further header lines.
    With(u16, &'static str, String),
    /// These bytes.
    Raw(Vec<u8>),
    /// These bytes, with the connection left open.
    Keep(Vec<u8>),
    /// A byte of these each so often.
    Trickle(Vec<u8>, Duration),
    /// Nothing, for ever.
    Silence,
    /// What [`Server::let_go`] allows, one after the other.
    Hold(Box<Reply>),
}

type Script = dyn Fn(&Received, usize) -> Reply + Send + Sync;

pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    received: Mutex<Vec<Received>>,
    changed: Condvar,
    allowed: Mutex<usize>,
    stopped: AtomicBool,
}

impl Server {
    /// `script` is given each request and how many came before it to the same path.
    pub(crate) fn start(
        script: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            received: Mutex::default(),
            changed: Condvar::new(),
            allowed: Mutex::new(0),
            stopped: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = accepting.clone();
                thread::spawn(move || drop(shared.serve(stream.unwrap())));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Those to a path that ends so.
    pub(crate) fn to(&self, end: &str) -> Vec<Received> {
        let mut received = self.received();
        received.retain(|request| request.path.ends_with(end));
        received
    }

    /// Waits, on a thread for that, until so many requests have come.
    pub(crate) async fn until(&self, requests: usize) {
        let shared = self.shared.clone();
        let waiting = tokio::task::spawn_blocking(move || {
            let received = shared.received.lock().unwrap();
            let (received, wait) = shared
                .changed
                .wait_timeout_while(received, Duration::from_secs(10), |received| {
                    received.len() < requests
                })
                .unwrap();
            assert!(!wait.timed_out(), "only {} requests came", received.len());
        });
        waiting.await.unwrap();
    }

    /// Lets so many more held requests be answered.
    pub(crate) fn let_go(&self, requests: usize) {
        *self.shared.allowed.lock().unwrap() += requests;
        self.shared.changed.notify_all();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.let_go(usize::MAX / 2);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        let mut is_reused = false;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut words = line.split(' ');
            let method = words.next().unwrap_or_default().to_owned();
            let path = words.next().unwrap_or_default().to_owned();
            let mut headers = BTreeMap::new();
            loop {
                line.clear();
                reader.read_line(&mut line)?;
                let Some((name, value)) = line.split_once(':') else {
                    break;
                };
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            let length = headers
                .get("content-length")
                .map_or(0, |n| n.parse().unwrap());
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let request = Received {
                method,
                path,
                headers,
                body: String::from_utf8(body).unwrap(),
                at: Instant::now(),
                is_reused: std::mem::replace(&mut is_reused, true),
            };
            let before = {
                let mut received = self.received.lock().unwrap();
                let before = received.iter().filter(|r| r.path == request.path).count();
                received.push(request.clone());
                before
            };
            self.changed.notify_all();
            let mut reply = (self.script)(&request, before);
            if let Reply::Hold(held) = reply {
                let allowed = self.allowed.lock().unwrap();
                let mut allowed = self.changed.wait_while(allowed, |n| *n == 0).unwrap();
                *allowed -= 1;
                reply = *held;
            }
            match reply {
                Reply::Json(status, body) => {
                    let body = body.to_string();
                    let head = format!(
                        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    writer.write_all((head + &body).as_bytes())?;
                }
                Reply::With(status, headers, body) => {
                    let head = format!(
                        "HTTP/1.1 {status} X\r\n{headers}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    return writer.write_all((head + &body).as_bytes());
                }
                Reply::Raw(bytes) => return writer.write_all(&bytes),
                Reply::Keep(bytes) => writer.write_all(&bytes)?,
                Reply::Trickle(bytes, pause) => {
                    for byte in bytes {
                        writer.write_all(&[byte])?;
                        thread::sleep(pause);
                    }
                    return Ok(());
                }
                Reply::Silence => {
                    // Until the client has had enough.
                    let _ = reader.read(&mut [0])?;
                    return Ok(());
                }
                Reply::Hold(_) => unreachable!("held once"),
            }
        }
    }
}
