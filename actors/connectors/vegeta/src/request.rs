//! A target made ready to send: everything of the request that does not change from hit to hit, as bytes.

use std::{cell::OnceCell, rc::Rc};

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::{
    decoder::BodyRule,
    dialer::{Endpoint, authority},
    origin::Origin,
    target::{Method, shown_url},
};

/// The header that numbers the requests of a run, from 0.
const SEQUENCE: &str = "X-Vegeta-Seq";
/// Bodies up to this size travel in the same write as the head.
const SMALL_BODY: usize = 16 * 1024;

/// What a request is made of.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// As the target has them, plus the run's own.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

/// A request of one target, ready to be sent any number of times.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) parts: Parts,
    pub(crate) origin: Rc<Origin>,
    /// `METHOD url` for error texts.
    pub(crate) shown: String,
    /// The whole head up to the sequence number.
    template: Vec<u8>,
    http2: OnceCell<(http::Uri, HeaderMap)>,
}

impl Request {
    pub(crate) fn new(parts: Parts, origin: Rc<Origin>, keepalive: bool) -> Self {
        let shown = format!("{} {}", parts.method, shown_url(&parts.url));
        let template = template(&parts, &origin.endpoint, keepalive);
        Self {
            parts,
            origin,
            shown,
            template,
            http2: OnceCell::new(),
        }
    }

    pub(crate) fn body_rule(&self) -> BodyRule {
        match self.parts.method {
            Method::Head => BodyRule::Absent,
            Method::Connect => BodyRule::AbsentOnSuccess,
            _ => BodyRule::Declared,
        }
    }

    /// The bytes to write for hit `sequence`: the head (with a small body), and a large body.
    pub(crate) fn wire(&self, sequence: u64) -> (Vec<u8>, Bytes) {
        let small = self.parts.body.len() <= SMALL_BODY;
        let mut head = Vec::with_capacity(
            self.template.len() + 24 + if small { self.parts.body.len() } else { 0 },
        );
        head.extend_from_slice(&self.template);
        push_decimal(&mut head, sequence);
        head.extend_from_slice(b"\r\n\r\n");
        if small {
            head.extend_from_slice(&self.parts.body);
            (head, Bytes::new())
        } else {
            (head, self.parts.body.clone())
        }
    }

    /// The same request for an HTTP/2 connection.
    pub(crate) fn http2(&self, sequence: u64) -> http::Request<Full<Bytes>> {
        let (uri, headers) = self.http2.get_or_init(|| http2_head(&self.parts));
        let mut request = http::Request::new(Full::new(self.parts.body.clone()));
        *request.method_mut() =
            http::Method::from_bytes(self.parts.method.as_str().as_bytes()).unwrap_or_default();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers.clone();
        request.headers_mut().insert(
            HeaderName::from_static("x-vegeta-seq"),
            HeaderValue::from(sequence),
        );
        request
    }
}

fn push_decimal(bytes: &mut Vec<u8>, mut number: u64) {
    let start = bytes.len();
    loop {
        bytes.push(b'0' + u8::try_from(number % 10).unwrap_or_default());
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = bytes.get_mut(start..) {
        digits.reverse();
    }
}

fn template(parts: &Parts, endpoint: &Endpoint, keepalive: bool) -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    let mut push = |pieces: &[&str]| {
        pieces
            .iter()
            .for_each(|piece| head.extend_from_slice(piece.as_bytes()))
    };
    let forwarded = endpoint.proxy.as_ref().filter(|_| !endpoint.tls);
    match (parts.method, forwarded) {
        (Method::Connect, _) => push(&["CONNECT ", &authority(&endpoint.host, endpoint.port)]),
        (method, None) => push(&[method.as_str(), " ", parts.url.path()]),
        (method, Some(_)) => {
            push(&[
                method.as_str(),
                " http://",
                &authority(&endpoint.host, endpoint.port),
                parts.url.path(),
            ]);
        }
    }
    if let Some(query) = parts
        .url
        .query()
        .filter(|_| parts.method != Method::Connect)
    {
        push(&["?", query]);
    }
    push(&[" HTTP/1.1\r\nHost: ", &host(parts), "\r\n"]);
    if let Some(authorization) = forwarded.and_then(|proxy| proxy.authorization.as_ref()) {
        push(&["Proxy-Authorization: ", authorization, "\r\n"]);
    }
    for (name, value) in fields(parts) {
        if keepalive || !name.eq_ignore_ascii_case("connection") {
            push(&[name, ": ", &value, "\r\n"]);
        }
    }
    if !keepalive {
        push(&["Connection: close\r\n"]);
    }
    if sends_length(parts) {
        push(&["Content-Length: ", &parts.body.len().to_string(), "\r\n"]);
    }
    push(&[SEQUENCE, ": "]);
    head
}

/// The value of `Host`: the target's own, or the URL's host with a port that is not the scheme's usual one.
fn host(parts: &Parts) -> String {
    if let Some((_, value)) = parts
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        return value.clone();
    }
    let host = parts.url.host_str().unwrap_or_default();
    parts
        .url
        .port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The header fields besides `Host`, framing and the sequence number. Framing follows from the body, so a target cannot set it.
fn fields(parts: &Parts) -> impl Iterator<Item = (&str, std::borrow::Cow<'_, str>)> {
    let has = |wanted: &str| {
        parts
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
    };
    let agent = (!has("user-agent")).then(|| {
        (
            "User-Agent",
            concat!("servo/", env!("CARGO_PKG_VERSION")).into(),
        )
    });
    let credentials = if has("authorization") {
        None
    } else {
        basic_credentials(&parts.url)
    };
    let own = parts.headers.iter().filter(|(name, _)| {
        !["host", "content-length", "transfer-encoding", SEQUENCE]
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other))
    });
    agent
        .into_iter()
        .chain(credentials.map(|value| ("Authorization", value.into())))
        .chain(own.map(|(name, value)| (name.as_str(), value.as_str().into())))
}

/// The user information of a URL as HTTP Basic credentials.
fn basic_credentials(url: &Url) -> Option<String> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut plain: Vec<u8> = percent_decode_str(url.username()).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(url.password().unwrap_or_default()));
    Some(format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(plain)
    ))
}

fn sends_length(parts: &Parts) -> bool {
    !parts.body.is_empty() || matches!(parts.method, Method::Post | Method::Put | Method::Patch)
}

fn http2_head(parts: &Parts) -> (http::Uri, HeaderMap) {
    let query = parts
        .url
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let uri = format!("https://{}{}{query}", host(parts), parts.url.path())
        .parse()
        .unwrap_or_default();
    let mut headers = HeaderMap::new();
    for (name, value) in fields(parts) {
        // Fields of one connection have no meaning, and no place, in HTTP/2.
        if [
            "connection",
            "keep-alive",
            "proxy-connection",
            "upgrade",
            "te",
        ]
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other))
        {
            continue;
        }
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_bytes(value.as_bytes()),
        ) {
            headers.append(name, value);
        }
    }
    (uri, headers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::{
        dialer::Dialer,
        target::{Body, TargetFormat, parse},
        tls::TlsSettings,
    };

    fn wire(target: &str, body: &'static str, keepalive: bool) -> String {
        let target = parse(target, TargetFormat::Http).unwrap().remove(0);
        assert_eq!(target.body, Body::empty());
        let endpoint = Dialer::new(TlsSettings::default(), None)
            .endpoint(&target.url)
            .unwrap();
        let parts = Parts {
            method: target.method,
            url: target.url,
            headers: target.headers,
            body: body.into(),
        };
        let (head, rest) =
            Request::new(parts, Rc::new(Origin::new(endpoint, None)), keepalive).wire(1024);
        assert!(rest.is_empty());
        String::from_utf8(head).unwrap()
    }

    #[test]
    fn the_bytes_on_the_wire() {
        let agent = concat!("User-Agent: servo/", env!("CARGO_PKG_VERSION"), "\r\n");
        assert_eq!(
            wire(
                "GET http://localhost:81/a?b=c#d\nx-LOWER: 1\nX-Upper: 2",
                "",
                true
            ),
            format!(
                "GET /a?b=c HTTP/1.1\r\nHost: localhost:81\r\n{agent}x-LOWER: 1\r\nX-Upper: 2\r\nX-Vegeta-Seq: 1024\r\n\r\n"
            )
        );
        assert_eq!(
            wire(
                "POST http://us%40er:p%3Aw@localhost/\nHost: a:80\nUser-Agent: me\nContent-Length: 99\nConnection: x",
                "hi",
                false
            ),
            "POST / HTTP/1.1\r\nHost: a:80\r\nAuthorization: Basic dXNAZXI6cDp3\r\nUser-Agent: me\r\nConnection: close\r\n\
             Content-Length: 2\r\nX-Vegeta-Seq: 1024\r\n\r\nhi"
        );
        assert_eq!(
            wire("CONNECT http://localhost:81/x\nAuthorization: y", "", true),
            format!(
                "CONNECT localhost:81 HTTP/1.1\r\nHost: localhost:81\r\n{agent}Authorization: y\r\nX-Vegeta-Seq: 1024\r\n\r\n"
            )
        );
    }

    #[test]
    fn decimals() {
        for number in [0, 9, 10, 12_345, u64::MAX] {
            let mut bytes = b"x".to_vec();
            push_decimal(&mut bytes, number);
            assert_eq!(bytes, format!("x{number}").into_bytes());
        }
    }
}
