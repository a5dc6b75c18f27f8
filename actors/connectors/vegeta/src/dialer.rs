//! Opens connections: proxy, name resolution, TCP, TLS, protocol choice.

use std::{
    cell::{Cell, OnceCell},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::{
    client::proxy::matcher::Matcher,
    rt::{TokioExecutor, TokioIo},
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Mutex,
};
use tokio_rustls::TlsConnector;
use url::Url;

use crate::{
    connection::Connection,
    failure::{Failure, io_text},
    stream::Stream,
    tls::{TlsError, TlsSettings, client_config},
};

/// How long a failed name resolution is answered from memory, so that a broken name does not queue up resolver calls.
const FAILED_LOOKUP_TTL: Duration = Duration::from_secs(1);

/// The sending half of an HTTP/2 connection; clones share the connection.
pub(crate) type Http2 = http2::SendRequest<Full<Bytes>>;

/// A fresh connection, in the protocol that the server chose.
pub(crate) enum Link {
    Http1(Connection),
    Http2(Http2),
}

/// Where requests for a scheme, host and port go.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) tls: bool,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) proxy: Option<Proxy>,
    peer: Peer,
}

/// An HTTP proxy from the environment.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// The `Proxy-Authorization` value, when the proxy's URL holds credentials.
    pub(crate) authorization: Option<String>,
    peer: Peer,
}

/// A host to open TCP connections to, with what is known of its addresses.
#[derive(Debug)]
struct Peer {
    host: String,
    port: u16,
    addresses: Mutex<Option<Lookup>>,
    /// The address that worked last; tried first.
    favourite: Cell<usize>,
}

#[derive(Debug, Clone)]
struct Lookup {
    at: Instant,
    outcome: Result<Rc<[SocketAddr]>, Failure>,
}

/// Opens connections for one run.
pub(crate) struct Dialer {
    tls_settings: TlsSettings,
    tls: OnceCell<Result<TlsConnector, TlsError>>,
    proxies: Matcher,
    dns_ttl: Option<Duration>,
}

impl Dialer {
    /// `dns_ttl` is how long addresses are kept; `None` is for the whole run.
    pub(crate) fn new(tls_settings: TlsSettings, dns_ttl: Option<Duration>) -> Self {
        Self {
            tls_settings,
            tls: OnceCell::new(),
            proxies: Matcher::from_env(),
            dns_ttl,
        }
    }

    /// Loads certificates now rather than with the first connection. Blocks on files.
    pub(crate) fn prepare_tls(&self) -> Result<(), TlsError> {
        self.tls().map(|_| ())
    }

    /// The endpoint of `url`; `None` for a URL without a host or known port.
    pub(crate) fn endpoint(&self, url: &Url) -> Option<Endpoint> {
        let (tls, port) = (url.scheme() == "https", url.port_or_known_default()?);
        let host = match url.host()? {
            url::Host::Domain(name) => name.to_owned(),
            url::Host::Ipv4(address) => address.to_string(),
            url::Host::Ipv6(address) => address.to_string(),
        };
        let proxy = if is_loopback(&host) {
            None
        } else {
            self.proxy(url)
        };
        Some(Endpoint {
            tls,
            peer: Peer::new(host.clone(), port),
            host,
            port,
            proxy,
        })
    }

    /// Opens a connection. `http1_only` is for servers that would otherwise be asked for HTTP/2.
    pub(crate) async fn dial(&self, endpoint: &Endpoint) -> Result<Link, Failure> {
        let stream = match &endpoint.proxy {
            None => self.connect(&endpoint.peer).await?,
            Some(proxy) => {
                let through = |failure: Failure| Failure::Proxy(failure.to_string());
                let stream = self.connect(&proxy.peer).await.map_err(through)?;
                if endpoint.tls {
                    tunnel(stream, endpoint, proxy).await?
                } else {
                    stream
                }
            }
        };
        if !endpoint.tls {
            return Ok(Link::Http1(Connection::new(Stream::Plain(stream))));
        }
        let tls_failure = |text: String| Failure::Tls(text);
        let connector = self.tls().map_err(|error| tls_failure(error.to_string()))?;
        let name = ServerName::try_from(endpoint.host.clone())
            .map_err(|error| tls_failure(error.to_string()))?;
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|error| tls_failure(tls_text(&error)))?;
        let chose_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let stream = Stream::Tls(Box::new(stream));
        if !chose_http2 {
            return Ok(Link::Http1(Connection::new(stream)));
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::Http2(error.to_string()))?;
        // Ends when the last sender is dropped, or with the runtime of the run.
        tokio::spawn(connection);
        Ok(Link::Http2(sender))
    }

    fn tls(&self) -> Result<&TlsConnector, TlsError> {
        self.tls
            .get_or_init(|| {
                client_config(&self.tls_settings)
                    .map(|config| TlsConnector::from(Arc::clone(&config)))
            })
            .as_ref()
            .map_err(Clone::clone)
    }

    fn proxy(&self, url: &Url) -> Option<Proxy> {
        let intercept = self.proxies.intercept(&url.as_str().parse().ok()?)?;
        let uri = intercept.uri();
        let host = uri.host()?.trim_matches(['[', ']']).to_owned();
        let authorization = match intercept.basic_auth() {
            Some(value) => value.to_str().ok().map(str::to_owned),
            None => intercept.raw_auth().map(|(user, password)| {
                let encoded =
                    base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                format!("Basic {encoded}")
            }),
        };
        Some(Proxy {
            authorization,
            peer: Peer::new(host, uri.port_u16().unwrap_or(80)),
        })
    }

    async fn connect(&self, peer: &Peer) -> Result<TcpStream, Failure> {
        let addresses = self.addresses(peer).await?;
        let mut failure = Failure::Dns("no address for the host".to_owned());
        for attempt in 0..addresses.len() {
            let index = (peer.favourite.get() + attempt) % addresses.len();
            let Some(address) = addresses.get(index) else {
                continue;
            };
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    peer.favourite.set(index);
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => failure = error.into(),
            }
        }
        Err(failure)
    }

    async fn addresses(&self, peer: &Peer) -> Result<Rc<[SocketAddr]>, Failure> {
        if let Ok(address) = peer.host.parse::<IpAddr>() {
            return Ok(Rc::new([SocketAddr::new(address, peer.port)]));
        }
        // Held during the lookup: everybody else who needs the name waits for this answer.
        let mut known = peer.addresses.lock().await;
        if let Some(lookup) = known.as_ref().filter(|lookup| self.is_fresh(lookup)) {
            return lookup.outcome.clone();
        }
        let outcome = tokio::net::lookup_host((peer.host.as_str(), peer.port))
            .await
            .map(|addresses| addresses.collect::<Rc<[SocketAddr]>>())
            .map_err(|error| Failure::Dns(dns_text(&error)));
        *known = Some(Lookup {
            at: Instant::now(),
            outcome: outcome.clone(),
        });
        outcome
    }

    fn is_fresh(&self, lookup: &Lookup) -> bool {
        let ttl = match (&lookup.outcome, self.dns_ttl) {
            (Ok(_), None) => return true,
            (Ok(_), Some(ttl)) => ttl,
            (Err(_), _) => FAILED_LOOKUP_TTL,
        };
        lookup.at.elapsed() < ttl
    }
}

impl Peer {
    fn new(host: String, port: u16) -> Self {
        Self {
            host,
            port,
            addresses: Mutex::new(None),
            favourite: Cell::new(0),
        }
    }
}

/// Load on the own machine never takes a detour, whatever the environment says.
fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Asks an HTTP proxy for a way through to a TLS server.
async fn tunnel(
    mut stream: TcpStream,
    endpoint: &Endpoint,
    proxy: &Proxy,
) -> Result<TcpStream, Failure> {
    let failed = |text: String| Failure::Proxy(text);
    let authority = authority(&endpoint.host, endpoint.port);
    let authorization = proxy
        .authorization
        .as_ref()
        .map(|value| format!("Proxy-Authorization: {value}\r\n"))
        .unwrap_or_default();
    let request =
        format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{authorization}\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|error| failed(io_text(&error)))?;
    // The server behind the proxy speaks second, so nothing of TLS can arrive together with the head.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut bytes = [0; 512];
        match stream
            .read(&mut bytes)
            .await
            .map_err(|error| failed(io_text(&error)))?
        {
            0 => return Err(failed("connection closed".to_owned())),
            _ if answer.len() > 16 * 1024 => return Err(failed("answer over 16 KiB".to_owned())),
            count => answer.extend_from_slice(bytes.get(..count).unwrap_or_default()),
        }
    }
    let line = String::from_utf8_lossy(
        answer
            .split(|byte| *byte == b'\r')
            .next()
            .unwrap_or_default(),
    )
    .into_owned();
    match line.split_once(' ') {
        Some((_, status)) if status.starts_with('2') => Ok(stream),
        Some((_, status)) => Err(failed(format!("refused with {status}"))),
        None => Err(failed("answer is not HTTP".to_owned())),
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn dns_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ")
        .unwrap_or(&text)
        .to_owned()
}

fn tls_text(error: &std::io::Error) -> String {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(error) => error.to_string(),
        None => io_text(error),
    }
}
