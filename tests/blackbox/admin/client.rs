//! A client that sends what it is told, byte by byte if need be, over TCP or TLS.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::Value;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// What is wrong, as every refusal says.
    pub(crate) fn error(&self) -> String {
        let json = self.json();
        assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
        json["error"].as_str().unwrap().to_owned()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect::<Vec<_>>();
        let body = bytes[end + 4..].to_vec();
        let chunked = headers
            .iter()
            .any(|(n, v)| n == "transfer-encoding" && v == "chunked");
        assert!(!chunked, "answers are whole: {head}");
        Some(Self {
            status,
            headers,
            body,
        })
    }
}

/// Sends `request` as it is; `None` when no answer comes.
pub(crate) fn send(address: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .ok()?;
    // A server may answer before it has read all, and close.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Answer::parse(&answer)
}

/// The head of a request without its last line; `more` are whole header lines.
fn head(address: SocketAddr, method: &str, path: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let host = match more.to_lowercase().contains("host:") {
        true => String::new(),
        false => format!("host: {address}\r\n"),
    };
    let length = match body.is_empty() {
        true => String::new(),
        false => format!("content-length: {}\r\n", body.len()),
    };
    let mut request =
        format!("{method} {path} HTTP/1.1\r\n{host}{length}connection: close\r\n{more}\r\n")
            .into_bytes();
    request.extend_from_slice(body);
    request
}

/// Asks; `more` are whole header lines, with `host:` among them if it is to be another one.
pub(crate) fn ask_with(
    address: SocketAddr,
    method: &str,
    path: &str,
    more: &str,
    body: &[u8],
) -> Answer {
    send(address, &head(address, method, path, more, body)).expect("an answer")
}

pub(crate) fn ask(address: SocketAddr, method: &str, path: &str) -> Answer {
    ask_with(address, method, path, "", b"")
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path)
}

/// Asks over TLS with trust in `authority`; an error when that finds no server to trust.
pub(crate) fn get_tls(
    address: SocketAddr,
    authority: &str,
    path: &str,
    more: &str,
) -> Result<Answer, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = address.ip().into();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address)?);
    stream.write_all(&head(address, "GET", path, more, b""))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Answer::parse(&answer).ok_or_else(|| std::io::Error::other("no answer"))
}
