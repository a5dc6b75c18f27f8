//! The HTTP client of a run: sends prepared requests over reused connections, follows redirects, keeps time limits.

use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Duration};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use url::Url;

use crate::{
    connection::{Connection, Interrupted, ReadBuffer, Response},
    dialer::{Dialer, Http2, Link},
    failure::Failure,
    head::Head,
    origin::Origin,
    request::{Parts, Request},
    target::Method,
};

/// What holds for every request of a run.
#[derive(Debug, Clone)]
pub(crate) struct ClientSettings {
    /// For the whole exchange with all redirects; `None` is no limit.
    pub(crate) timeout: Option<Duration>,
    /// How many redirects are followed; `None` follows none and takes the redirect for the answer.
    pub(crate) redirects: Option<u32>,
    pub(crate) keepalive: bool,
    /// Idle connections kept for each origin.
    pub(crate) idle: usize,
    pub(crate) max_connections: Option<usize>,
    /// Captured bytes of a body; `None` is all.
    pub(crate) max_body: Option<u64>,
}

/// The end of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// 0 without a response.
    pub(crate) status: u16,
    pub(crate) bytes_in: u64,
    /// The status line of an unsuccessful response, or the transport failure.
    pub(crate) error: Option<String>,
}

pub(crate) struct Client {
    settings: ClientSettings,
    dialer: Dialer,
    origins: RefCell<HashMap<(bool, String, u16), Rc<Origin>>>,
    buffer: ReadBuffer,
}

impl Client {
    pub(crate) fn new(settings: ClientSettings, dialer: Dialer) -> Self {
        Self {
            settings,
            dialer,
            origins: RefCell::default(),
            buffer: ReadBuffer::default(),
        }
    }

    /// Makes a request ready to be sent; `None` when its URL has no host.
    pub(crate) fn prepare(&self, parts: Parts) -> Option<Request> {
        let endpoint = self.dialer.endpoint(&parts.url)?;
        let key = (endpoint.tls, endpoint.host.clone(), endpoint.port);
        let origin = self
            .origins
            .borrow_mut()
            .entry(key)
            .or_insert_with(|| Rc::new(Origin::new(endpoint, self.settings.max_connections)))
            .clone();
        Some(Request::new(parts, origin, self.settings.keepalive))
    }

    /// Sends hit `sequence` and waits for the end of its response.
    pub(crate) async fn send(&self, request: &Request, sequence: u64) -> Reply {
        let outcome = match self.settings.timeout {
            None => self.follow(request, sequence).await,
            Some(limit) => tokio::time::timeout(limit, self.follow(request, sequence))
                .await
                .unwrap_or(Err(Failure::TimedOut(limit))),
        };
        match outcome {
            Ok(Response { head, body_bytes }) => Reply {
                status: head.status,
                bytes_in: self
                    .settings
                    .max_body
                    .map_or(body_bytes, |most| body_bytes.min(most)),
                error: (!(200..400).contains(&head.status)).then(|| status_line(&head)),
            },
            Err(failure) => Reply {
                status: 0,
                bytes_in: 0,
                error: Some(format!("{}: {failure}", request.shown)),
            },
        }
    }

    async fn follow(&self, request: &Request, sequence: u64) -> Result<Response, Failure> {
        let response = self.exchange(request, sequence).await?;
        match (self.settings.redirects, redirect(&response.head)) {
            (Some(most), Some(location)) => {
                Box::pin(self.redirected(request, sequence, location, most)).await
            }
            _ => Ok(response),
        }
    }

    async fn redirected(
        &self,
        first: &Request,
        sequence: u64,
        to: (u16, String),
        most: u32,
    ) -> Result<Response, Failure> {
        let (mut status, mut location) = to;
        let mut parts = first.parts.clone();
        for _ in 0..most {
            parts = next_parts(parts, status, &location)?;
            let request = self
                .prepare(parts.clone())
                .ok_or_else(|| Failure::Location(location.clone()))?;
            let response = self.exchange(&request, sequence).await?;
            match redirect(&response.head) {
                None => return Ok(response),
                Some(next) => (status, location) = next,
            }
        }
        Err(Failure::Redirects(most))
    }

    /// One request, one response, without redirects.
    async fn exchange(&self, request: &Request, sequence: u64) -> Result<Response, Failure> {
        let origin = &request.origin;
        let _permit = match &origin.permits {
            // The semaphore is never closed.
            Some(permits) => permits.acquire().await.ok(),
            None => None,
        };
        if self.settings.keepalive {
            if let Some(connection) = origin.take(&self.buffer) {
                match self.over_http1(connection, request, sequence).await {
                    // The server closed the idle connection just as the request went out.
                    Err(Interrupted {
                        failure,
                        unanswered: true,
                    }) if request.parts.method.is_repeatable()
                        && matches!(failure, Failure::Closed | Failure::Io(_)) => {}
                    Err(Interrupted { failure, .. }) => return Err(failure),
                    Ok(response) => return Ok(response),
                }
            } else if let Some(sender) = origin.http2() {
                return Box::pin(self.over_http2(sender, request, sequence)).await;
            }
        }
        match Box::pin(self.dialer.dial(&origin.endpoint)).await? {
            Link::Http1(connection) => self
                .over_http1(connection, request, sequence)
                .await
                .map_err(|interrupted| interrupted.failure),
            Link::Http2(sender) => {
                if self.settings.keepalive {
                    origin.share(sender.clone());
                }
                Box::pin(self.over_http2(sender, request, sequence)).await
            }
        }
    }

    async fn over_http1(
        &self,
        mut connection: Connection,
        request: &Request,
        sequence: u64,
    ) -> Result<Response, Interrupted> {
        let (head, body) = request.wire(sequence);
        let response = connection
            .exchange(&head, &body, request.body_rule(), &self.buffer)
            .await?;
        if self.settings.keepalive && response.head.keep_alive {
            request.origin.give(connection, self.settings.idle);
        }
        Ok(response)
    }

    async fn over_http2(
        &self,
        mut sender: Http2,
        request: &Request,
        sequence: u64,
    ) -> Result<Response, Failure> {
        let failed = |error: hyper::Error| Failure::Http2(error.to_string());
        sender.ready().await.map_err(failed)?;
        let response = sender
            .send_request(request.http2(sequence))
            .await
            .map_err(failed)?;
        let status = response.status();
        let location = response.headers().get(http::header::LOCATION);
        let head = Head {
            status: status.as_u16(),
            reason: String::new(),
            location: location
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
            keep_alive: true,
        };
        let mut body = response.into_body();
        let mut body_bytes = 0;
        while let Some(frame) = body.frame().await {
            body_bytes += frame.map_err(failed)?.data_ref().map_or(0, Bytes::len) as u64;
        }
        Ok(Response { head, body_bytes })
    }
}

/// `404 Not Found`: as the server wrote it, or with the standard words when it gave none.
fn status_line(head: &Head) -> String {
    let standard = || {
        http::StatusCode::from_u16(head.status)
            .ok()
            .and_then(|status| status.canonical_reason())
    };
    match (head.reason.as_str(), standard()) {
        ("", Some(reason)) => format!("{} {reason}", head.status),
        ("", None) => head.status.to_string(),
        (reason, _) => format!("{} {reason}", head.status),
    }
}

fn redirect(head: &Head) -> Option<(u16, String)> {
    let location = head
        .location
        .as_ref()
        .filter(|_| matches!(head.status, 301 | 302 | 303 | 307 | 308))?;
    Some((head.status, location.clone()))
}

/// The request that a redirect asks for. Credentials stay with the host they were meant for.
fn next_parts(parts: Parts, status: u16, location: &str) -> Result<Parts, Failure> {
    let failed = || Failure::Location(location.chars().take(200).collect());
    let Parts {
        method,
        url,
        mut headers,
        mut body,
    } = parts;
    let next: Url = url.join(location).map_err(|_| failed())?;
    if !matches!(next.scheme(), "http" | "https") || !next.has_host() {
        return Err(failed());
    }
    let next_method = match (status, method) {
        (307 | 308, method) | (_, method @ (Method::Get | Method::Head)) => method,
        (303, _) | (_, Method::Post) => Method::Get,
        (_, method) => method,
    };
    if next_method != method {
        body = Bytes::new();
        headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("content-"));
    }
    if next.host() != url.host() || next.port_or_known_default() != url.port_or_known_default() {
        headers.retain(|(name, _)| {
            !["host", "authorization", "cookie"]
                .iter()
                .any(|other| name.eq_ignore_ascii_case(other))
        });
    }
    Ok(Parts {
        method: next_method,
        url: next,
        headers,
        body,
    })
}
