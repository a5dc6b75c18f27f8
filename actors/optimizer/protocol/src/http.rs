//! The optimizer over HTTP (`spec/optimizer-protocol.md` §3, §11).

use std::{
    fmt, io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use jiff::{Timestamp, fmt::rfc2822};
use reqwest::Client;
use serde_json::Value;

use crate::{
    BoxFuture, Credential, OpsaniEndpoint, OptimizerClient, PostError, Request, Response,
    TokenSource, TransportKind, transport::causes,
};

/// The largest answer that is read, in bytes after decompression.
pub const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

/// Enough of an error page to show an excerpt and find a `detail`.
const MAX_ERROR_BYTES: usize = 16 * 1024;

/// How much of an unusable body is shown.
const EXCERPT_BYTES: usize = 200;

/// The longest `Retry-After` that is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// An [`OptimizerClient`] over a shared HTTP client.
pub struct HttpOptimizer {
    http: Client,
    endpoint: OpsaniEndpoint,
    agent: HeaderValue,
    /// The newest credential read; replaced when a token file has changed.
    credential: Mutex<Credential>,
}

/// A whole answer, or the beginning of one that is an error.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

// === impl HttpOptimizer ===

impl HttpOptimizer {
    /// The optimizer at `endpoint`, over `http` as made by [`crate::Transport::client`].
    ///
    /// `agent` is `<product id> v<semver>`, the same text as HELLO's `agent`; characters that a header may
    /// not carry are left out.
    pub fn new(http: Client, endpoint: OpsaniEndpoint, agent: &str) -> Self {
        let legal: String = agent
            .chars()
            .filter(|c| c.is_ascii_graphic() || *c == ' ')
            .collect();
        Self {
            http,
            agent: HeaderValue::from_str(&legal)
                .unwrap_or_else(|_| HeaderValue::from_static("servo")),
            credential: Mutex::new(endpoint.credential().clone()),
            endpoint,
        }
    }

    async fn post_once(&self, request: &Request) -> Result<Response, PostError> {
        let body = serde_json::to_vec(request).map_err(|error| {
            self.transport_error(
                TransportKind::Broken,
                format!("the request cannot be written as JSON: {error}"),
            )
        })?;
        let mut credential = self.credential();
        let mut answer = self.exchange(&credential, body.clone()).await?;
        if matches!(
            answer.status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        ) && let Some(renewed) = self.renew(&credential).await
        {
            answer = self.exchange(&renewed, body).await?;
            credential = renewed;
        }
        self.read(&credential, &answer)
    }

    /// One exchange on the wire. Reads no more of the body than can be used.
    async fn exchange(&self, credential: &Credential, body: Vec<u8>) -> Result<Answer, PostError> {
        tracing::trace!(
            url = %self.endpoint.events_url(),
            header = %credential.header(),
            body = %String::from_utf8_lossy(&body),
            "posting to the optimizer"
        );
        let mut response = self
            .http
            .post(self.endpoint.events_url().clone())
            .header(USER_AGENT, self.agent.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(credential.header().clone(), credential.value())
            .body(body)
            .send()
            .await
            .map_err(|error| self.classify(error))?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let mut received = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.classify(error))?
        {
            received.extend_from_slice(&chunk);
            if !status.is_success() && received.len() >= MAX_ERROR_BYTES {
                break;
            }
            if received.len() > MAX_RESPONSE_BYTES {
                return Err(PostError::TooLarge {
                    url: self.display_url(),
                    limit: MAX_RESPONSE_BYTES,
                });
            }
        }
        Ok(Answer {
            status,
            headers,
            body: received,
        })
    }

    fn read(&self, credential: &Credential, answer: &Answer) -> Result<Response, PostError> {
        let url = self.display_url();
        let status = answer.status.as_u16();
        let excerpt = || credential.redact(&printable(&answer.body));
        if answer.status.is_success() {
            return Response::from_body(&answer.body).map_err(|problem| PostError::Undecodable {
                url,
                status,
                excerpt: excerpt(),
                problem: credential.redact(&problem.to_string()),
            });
        }
        let detail = detail(&answer.body);
        if status == 410 && detail.as_deref() == Some(PostError::UNEXPECTED_SERVO_UID) {
            return Err(PostError::ServoReplaced { url });
        }
        Err(PostError::Http {
            url,
            status,
            excerpt: excerpt(),
            retry_after: matches!(status, 429 | 503)
                .then(|| retry_after(&answer.headers, Timestamp::now()))
                .flatten(),
            detail: detail.map(|detail| credential.redact(&detail)),
        })
    }

    fn credential(&self) -> Credential {
        self.credential
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The credential to try after `refused`, if there is another: one that a different request has found
    /// meanwhile, or the new content of the token file.
    async fn renew(&self, refused: &Credential) -> Option<Credential> {
        let current = self.credential();
        if !current.same_as(refused) {
            return Some(current);
        }
        let TokenSource::File(path) = self.endpoint.token() else {
            return None;
        };
        let source = self.endpoint.token().clone();
        match tokio::task::spawn_blocking(move || source.read()).await {
            Ok(Ok(renewed)) if renewed.same_as(refused) => None,
            Ok(Ok(renewed)) => {
                tracing::info!(path = %path.display(), "the optimizer's token has changed; using the new one");
                *self
                    .credential
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = renewed.clone();
                Some(renewed)
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the optimizer refused the token, and there is no new one; keeping the old one");
                None
            }
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "reading the optimizer's token file was interrupted");
                None
            }
        }
    }

    fn classify(&self, error: reqwest::Error) -> PostError {
        let error = error.without_url();
        let detail = causes(&error);
        let kind = if error.is_timeout() {
            TransportKind::Timeout
        } else if has_cause::<rustls::Error>(&error) {
            TransportKind::Tls
        } else if error.is_connect() {
            TransportKind::Connect
        } else {
            TransportKind::Broken
        };
        self.transport_error(kind, detail)
    }

    fn transport_error(&self, kind: TransportKind, detail: String) -> PostError {
        PostError::Transport {
            url: self.display_url(),
            kind,
            detail,
        }
    }
}

impl OptimizerClient for HttpOptimizer {
    fn post<'a>(
        &'a self,
        request: &'a Request,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Response, PostError>> {
        Box::pin(async move {
            tokio::time::timeout(deadline, self.post_once(request))
                .await
                .unwrap_or_else(|_| {
                    Err(self.transport_error(
                        TransportKind::Timeout,
                        format!("not finished within {deadline:?}"),
                    ))
                })
        })
    }

    fn display_url(&self) -> String {
        self.endpoint.events_url().to_string()
    }
}

impl fmt::Debug for HttpOptimizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpOptimizer")
            .field("endpoint", &self.endpoint)
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

/// Whether `error` has a `T` anywhere among its causes; I/O errors hide theirs one step deeper.
fn has_cause<T: std::error::Error + 'static>(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.is::<T>() {
            return true;
        }
        next = match cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    false
}

/// The first bytes of a body on one line.
fn printable(body: &[u8]) -> String {
    let head = body.get(..EXCERPT_BYTES).unwrap_or(body);
    String::from_utf8_lossy(head)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

/// The `detail` of a JSON error body.
fn detail(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    value.get("detail")?.as_str().map(str::to_owned)
}

/// `Retry-After`, which is either seconds or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wanted = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let until = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Duration::try_from(now.until(until).ok()?).unwrap_or_default()
    };
    Some(wanted.min(MAX_RETRY_AFTER))
}
