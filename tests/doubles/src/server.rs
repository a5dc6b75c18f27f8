//! A small HTTP/1.1 server on loopback that can also misbehave below HTTP.
//!
//! Frameworks refuse to reset a connection half-way or to send what is not HTTP; the doubles must do both.
//! It runs on a thread and runtime of its own, so that plain `#[test]` functions can use it, and stops when
//! dropped.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, thread, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

/// Longest head of a request that is read.
const MAX_HEAD: usize = 64 * 1024;
/// Longest body of a request that is read.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// One request as it came in.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// `POST`, `GET`, ...
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// Names in lower case; of repeated headers the values joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpRequest {
    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The pairs of the query, and those of an `application/x-www-form-urlencoded` body, decoded.
    pub fn parameters(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let is_form = self
            .headers
            .get("content-type")
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let form = if is_form {
            String::from_utf8_lossy(&self.body)
        } else {
            "".into()
        };
        query
            .split('&')
            .chain(form.split('&'))
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (percent_decoded(key), percent_decoded(value))
            })
            .collect()
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next(), rest.next()];
                let [Some(high), Some(low)] = digits else {
                    break;
                };
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
                digit(high) << 4 | digit(low)
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is sent back.
#[derive(Debug, Clone)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl HttpAnswer {
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self {
            status,
            headers: vec![("content-type".into(), "application/json".into())],
            body: body.to_string().into_bytes(),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, phrase(self.status));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", self.body.len()));
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        200..=299 => "OK",
        300..=399 => "Elsewhere",
        400..=499 => "Refused",
        _ => "Broken",
    }
}

/// What happens on the connection after a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// An answer.
    Answer(HttpAnswer),
    /// These bytes as they are, then the end of the connection.
    Raw(Vec<u8>),
    /// Nothing, for ever, with the connection open.
    Stall,
    /// The connection is reset.
    Reset,
}

/// What a double does with each request.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Called for each request; the reply is sent after its delay.
    fn handle(&self, request: HttpRequest) -> (Duration, Reply);
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Listens on a free port of 127.0.0.1.
    pub(crate) fn start(handler: Arc<dyn Handler>) -> io::Result<Self> {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), handler)
    }

    /// Listens on `address`.
    pub(crate) fn start_on(address: SocketAddr, handler: Arc<dyn Handler>) -> io::Result<Self> {
        // Bound here, so that errors reach the caller; served on the thread's runtime, since the caller may be
        // inside one already.
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = thread::Builder::new()
            .name(format!("double-{}", address.port()))
            .spawn(move || {
                runtime.block_on(stopped.run_until_cancelled(accept(listener, handler)));
            })?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // A handler that panicked has printed its message already.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener, handler: Arc<dyn Handler>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => panic!("a double cannot serve its socket: {error}"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, handler.clone()));
            }
            // Too many open files, most likely: give others time to close some.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Serves one connection. Errors of the connection end it; there is nobody to tell.
async fn serve(stream: TcpStream, handler: Arc<dyn Handler>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufStream::new(stream);
    while let Some(request) = read_request(&mut stream).await? {
        let close = request
            .headers
            .get("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let (delay, reply) = handler.handle(request);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match reply {
            Reply::Answer(answer) => {
                stream.write_all(&answer.to_bytes()).await?;
                stream.flush().await?;
            }
            Reply::Raw(bytes) => {
                stream.write_all(&bytes).await?;
                stream.flush().await?;
                return Ok(());
            }
            Reply::Stall => std::future::pending::<()>().await,
            Reply::Reset => {
                stream.get_ref().set_zero_linger()?;
                return Ok(());
            }
        }
        if close {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads one request; none at the orderly end of the connection.
async fn read_request(stream: &mut BufStream<TcpStream>) -> io::Result<Option<HttpRequest>> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let Some(first) = read_line(stream).await? else {
        return Ok(None);
    };
    let mut words = first.split_ascii_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(bad("no request line"));
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut headers = BTreeMap::<String, String>::new();
    let mut head = first.len();
    loop {
        let line = read_line(stream)
            .await?
            .ok_or_else(|| bad("head cut short"))?;
        if line.is_empty() {
            break;
        }
        head += line.len();
        if head > MAX_HEAD {
            return Err(bad("head too long"));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad("no header"))?;
        headers
            .entry(name.trim().to_ascii_lowercase())
            .and_modify(|known| {
                known.push_str(", ");
                known.push_str(value.trim());
            })
            .or_insert_with(|| value.trim().to_owned());
    }
    let chunked = headers
        .get("transfer-encoding")
        .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    let body = if chunked {
        read_chunks(stream).await?
    } else {
        let length = match headers.get("content-length") {
            Some(length) => length.parse().map_err(|_| bad("no content length"))?,
            None => 0,
        };
        read_exactly(stream, length).await?
    };
    Ok(Some(HttpRequest {
        method,
        target,
        headers,
        body,
    }))
}

async fn read_chunks(stream: &mut BufStream<TcpStream>) -> io::Result<Vec<u8>> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)
            .await?
            .ok_or_else(|| bad("chunks cut short"))?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| bad("no chunk size"))?;
        if size == 0 {
            while read_line(stream)
                .await?
                .is_some_and(|line| !line.is_empty())
            {}
            return Ok(body);
        }
        if body.len() + size > MAX_BODY {
            return Err(bad("body too long"));
        }
        body.extend(read_exactly(stream, size).await?);
        read_line(stream).await?;
    }
}

async fn read_exactly(stream: &mut BufStream<TcpStream>, length: usize) -> io::Result<Vec<u8>> {
    if length > MAX_BODY {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "body too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

async fn read_line(stream: &mut BufStream<TcpStream>) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let read = stream
        .take(MAX_HEAD as u64)
        .read_until(b'\n', &mut line)
        .await?;
    if read == 0 {
        return Ok(None);
    }
    let line = String::from_utf8_lossy(&line);
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}
