//! One request and its answer on the wire, and what the requests of many servos share
//! (`spec/optimizer-protocol.md` §3).

use std::{fmt, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use jiff::{Timestamp, fmt::rfc2822};
use reqwest::Client;
use tokio::time::Instant;
use url::Url;

use crate::{
    Credential, EventName, HostLimits, PostError, RequestObserver, RequestOutcome, TransportKind,
    gate::{Lane, Place},
    limits::Host,
    oauth::OauthClients,
    transport::causes,
};

/// The largest answer that is read, in bytes after decompression.
pub const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

/// Enough of an error page to show an excerpt and find a `detail`.
const MAX_ERROR_BYTES: usize = 16 * 1024;

/// How much of an unusable body is shown.
const EXCERPT_BYTES: usize = 200;

/// The longest `Retry-After` that is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// What the requests of many servos share: the HTTP client, the gates before servers, the name this program goes by,
/// who is told of requests, and the OAuth tokens in use. Cheap to clone; clones are the same channel.
#[derive(Clone)]
pub struct Channel {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    http: Client,
    agent: HeaderValue,
    limits: HostLimits,
    /// The longest wait for a place among the requests to one host.
    patience: Duration,
    observer: Option<Arc<dyn RequestObserver>>,
    clients: OauthClients,
}

/// One request.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) host: &'a Host,
    pub(crate) credential: &'a Credential,
    pub(crate) body: Option<Body>,
    /// Counted as this event; none if it is none.
    pub(crate) event: Option<EventName>,
    /// Before whom it goes when many wait.
    pub(crate) lane: Lane,
    /// The place of the request before it, if that was kept.
    pub(crate) place: Option<Place>,
}

/// What is sent.
pub(crate) enum Body {
    Json(Bytes),
    /// `application/x-www-form-urlencoded`, not to be shown.
    SecretForm(Bytes),
}

/// A whole answer, or the beginning of one that is an error.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Received,
}

/// The body of an answer, as far as it came.
pub(crate) enum Received {
    Whole(Bytes),
    /// More than [`MAX_RESPONSE_BYTES`].
    TooLarge,
    /// It broke off: how.
    Broken(String),
}

/// Why there is no status.
#[derive(Debug)]
pub(crate) struct NoAnswer {
    pub(crate) kind: TransportKind,
    pub(crate) detail: String,
}

// === impl Channel ===

impl Channel {
    /// How long a request waits for a place among those to its host, where nothing is configured
    /// (`settings.timeouts.pool`).
    pub const PATIENCE: Duration = Duration::from_secs(30);

    /// A channel over `http` as made by [`crate::Transport::client`], with gates of its own.
    ///
    /// `agent` is `<product id> v<semver>`, the same text as HELLO's `agent`; characters that a header may
    /// not carry are left out.
    pub fn new(http: Client, agent: &str) -> Self {
        let legal: String = agent
            .chars()
            .filter(|c| c.is_ascii_graphic() || *c == ' ')
            .collect();
        let agent =
            HeaderValue::from_str(&legal).unwrap_or_else(|_| HeaderValue::from_static("servo"));
        Self {
            shared: Arc::new(Shared {
                http,
                agent,
                limits: HostLimits::default(),
                patience: Self::PATIENCE,
                observer: None,
                clients: OauthClients::default(),
            }),
        }
    }

    /// The same behind the gates of `limits`, at each of which a request waits for up to `patience`.
    #[must_use]
    pub fn limited(self, limits: HostLimits, patience: Duration) -> Self {
        self.with(|shared| {
            shared.limits = limits;
            shared.patience = patience;
        })
    }

    /// The same with somebody who is told of each request.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn RequestObserver>) -> Self {
        self.with(|shared| shared.observer = Some(observer))
    }

    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }

    pub(crate) fn host(&self, url: &Url) -> Arc<Host> {
        self.shared.limits.host(url)
    }

    pub(crate) fn clients(&self) -> &OauthClients {
        &self.shared.clients
    }

    /// Sends `call` and reads no more of the answer than can be used. Ends by `deadline`. The place among the requests
    /// to the host comes back with the answer if it can be used again.
    pub(crate) async fn exchange(
        &self,
        mut call: Call<'_>,
        deadline: Instant,
    ) -> Result<(Answer, Option<Place>), NoAnswer> {
        let Shared {
            observer, patience, ..
        } = &*self.shared;
        let (host, event) = (call.host, call.event);
        let observe = |outcome, since: Instant| {
            if let (Some(observer), Some(event)) = (observer, event) {
                observer.request(host.name(), event, outcome, since.elapsed());
            }
        };
        let began = Instant::now();
        let patience = deadline.saturating_duration_since(began).min(*patience);
        let kept = call.place.take().filter(|place| place.is_of(host.gate()));
        let place = match kept {
            Some(place) => place,
            None => host.enter(call.lane, patience).await.map_err(|crowded| {
                observe(RequestOutcome::Error(TransportKind::Timeout), began);
                NoAnswer {
                    kind: TransportKind::Timeout,
                    detail: crowded.to_string(),
                }
            })?,
        };
        let on_the_way = place.on_the_way();
        let sent = Instant::now();
        // Thousands may wait at the gate; what only a request on the way needs is made behind it.
        let answer = Box::pin(self.send(call, began, deadline)).await;
        let place = match is_over(&answer) {
            true => on_the_way.over(),
            false => None,
        };
        let outcome = match &answer {
            Ok(answer) => RequestOutcome::Status(answer.status.as_u16()),
            Err(error) => RequestOutcome::Error(error.kind),
        };
        observe(outcome, sent);
        answer.map(|answer| (answer, place))
    }

    async fn send(
        &self,
        call: Call<'_>,
        began: Instant,
        deadline: Instant,
    ) -> Result<Answer, NoAnswer> {
        if tracing::enabled!(tracing::Level::TRACE) {
            tracing::trace!(
                "{}",
                Curl {
                    call: &call,
                    agent: &self.shared.agent
                }
            );
        }
        let mut request = reqwest::Request::new(call.method, call.url);
        let headers = request.headers_mut();
        headers.reserve(6);
        headers.insert(USER_AGENT, self.shared.agent.clone());
        headers.insert(call.credential.header().clone(), call.credential.value());
        if let Some(body) = call.body {
            if matches!(body, Body::SecretForm(_)) {
                headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
            }
            headers.insert(CONTENT_TYPE, body.content_type());
            *request.body_mut() = Some(body.into_bytes().into());
        }
        let late = || format!("not finished within {:?}", deadline - began);
        let head = tokio::time::timeout_at(deadline, self.shared.http.execute(request)).await;
        let mut response = match head {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(classify(error)),
            Err(_) => {
                return Err(NoAnswer {
                    kind: TransportKind::Timeout,
                    detail: late(),
                });
            }
        };
        let status = response.status();
        let retry_after = matches!(status.as_u16(), 429 | 503)
            .then(|| retry_after(response.headers(), Timestamp::now()))
            .flatten();
        let body = tokio::time::timeout_at(deadline, receive(&mut response, status))
            .await
            .unwrap_or_else(|_| Received::Broken(late()));
        Ok(Answer {
            status,
            retry_after,
            body,
        })
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("agent", &self.shared.agent)
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}

/// Whether the server has nothing more to do with the request.
fn is_over(answer: &Result<Answer, NoAnswer>) -> bool {
    match answer {
        Ok(answer) => matches!(answer.body, Received::Whole(_)),
        Err(error) => error.kind != TransportKind::Timeout,
    }
}

async fn receive(response: &mut reqwest::Response, status: StatusCode) -> Received {
    // Nearly every answer comes in one piece, which is then not copied.
    let mut first = Bytes::new();
    let mut all = Vec::new();
    loop {
        let received = first.len().max(all.len());
        if status.is_success() && received > MAX_RESPONSE_BYTES {
            return Received::TooLarge;
        }
        if !status.is_success() && received >= MAX_ERROR_BYTES {
            break;
        }
        match response.chunk().await {
            Ok(None) => break,
            Ok(Some(chunk)) if received == 0 => first = chunk,
            Ok(Some(chunk)) => {
                if all.is_empty() {
                    all.extend_from_slice(&first);
                }
                all.extend_from_slice(&chunk);
            }
            // The status says what there is to say.
            Err(_) if !status.is_success() => break,
            Err(error) => {
                let NoAnswer { kind, detail } = classify(error);
                return Received::Broken(format!("{kind} ({detail})"));
            }
        }
    }
    Received::Whole(if all.is_empty() { first } else { all.into() })
}

impl Body {
    fn content_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json(_) => "application/json",
            Self::SecretForm(_) => "application/x-www-form-urlencoded;charset=UTF-8",
        })
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Json(body) | Self::SecretForm(body) => body,
        }
    }
}

/// A request as a command line that repeats it once a credential is put in.
struct Curl<'a> {
    call: &'a Call<'a>,
    agent: &'a HeaderValue,
}

impl fmt::Display for Curl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, agent } = self;
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        write!(f, "curl -X {} {}", call.method, quoted(call.url.as_str()))?;
        let agent = agent.to_str().unwrap_or_default();
        write!(f, " -H {}", quoted(&format!("user-agent: {agent}")))?;
        let credential = call.credential;
        write!(f, " -H '{}: {}'", credential.header(), credential.shown())?;
        if let Some(body) = &call.body {
            let content_type = body.content_type();
            let content_type = content_type.to_str().unwrap_or_default();
            write!(f, " -H 'content-type: {content_type}'")?;
            let shown = match body {
                Body::Json(body) => credential.redact(&String::from_utf8_lossy(body)),
                Body::SecretForm(_) => "[REDACTED]".to_owned(),
            };
            write!(f, " -d {}", quoted(&shown))?;
        }
        Ok(())
    }
}

// === impl Answer ===

impl Answer {
    /// The beginning of the body on one line.
    pub(crate) fn excerpt(&self) -> String {
        match &self.body {
            Received::Whole(body) => printable(body),
            Received::TooLarge | Received::Broken(_) => String::new(),
        }
    }
}

// === impl NoAnswer ===

impl NoAnswer {
    /// As the error of a `POST` to `url`.
    pub(crate) fn of_post(self, url: String) -> PostError {
        PostError::Transport {
            url,
            kind: self.kind,
            detail: self.detail,
        }
    }
}

fn classify(error: reqwest::Error) -> NoAnswer {
    let error = error.without_url();
    let kind = if error.is_timeout() {
        TransportKind::Timeout
    } else if has_cause::<rustls::Error>(&error) {
        TransportKind::Tls
    } else if error.is_connect() {
        TransportKind::Connect
    } else {
        TransportKind::Broken
    };
    NoAnswer {
        kind,
        detail: causes(&error),
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
pub(crate) fn printable(body: &[u8]) -> String {
    let head = body.get(..EXCERPT_BYTES).unwrap_or(body);
    String::from_utf8_lossy(head)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

/// `Retry-After`, which is either seconds or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    // Fractions and huge numbers are not allowed, and clear all the same.
    let wanted = if text.starts_with(|c: char| c.is_ascii_digit())
        && let Ok(seconds) = text.parse::<f64>()
    {
        Duration::try_from_secs_f64(seconds.ceil()).unwrap_or(Duration::MAX)
    } else {
        let until = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Duration::try_from(now.until(until).ok()?).unwrap_or_default()
    };
    Some(wanted.min(MAX_RETRY_AFTER))
}
