//! The optimizer over HTTP (`spec/optimizer-protocol.md` §3, §11).

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use crate::{
    AppdynamicsError, AppdynamicsSource, BoxFuture, Budget, Channel, ConnectionFiles, Decision,
    Diagnostics, EventName, MAX_RESPONSE_BYTES, OpsaniEndpoint, OptimizerClient, PostError,
    Request, RequestObserver, Response, Retry, TransportKind, Verdict,
    access::{Access, Authorized, Target},
    channel::{Answer, Body, Call, NoAnswer, Received},
    gate::{Lane, Place},
    turn::Turn,
};

/// Longer than any process runs, and still a time.
const EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Enough for most requests, so that they are written without growing.
const TYPICAL_BODY: usize = 512;

/// An [`OptimizerClient`] over a shared [`Channel`].
pub struct HttpOptimizer {
    channel: Channel,
    access: Access,
    turn: Turn,
}

/// What is asked of the optimizer's server.
#[derive(Clone, Copy)]
enum Subject {
    Event(EventName),
    DiagnosticsCheck,
    DiagnosticsOutput,
}

/// A request to the optimizer's server, whichever the server and credential are at the time.
struct Errand {
    method: Method,
    subject: Subject,
    body: Option<Bytes>,
    lane: Lane,
}

// === impl HttpOptimizer ===

impl HttpOptimizer {
    /// The optimizer at `endpoint`, over `http` as made by [`crate::Transport::client`] and a channel of its own: see
    /// [`Channel::new`]. Many optimizers better share a channel: see [`HttpOptimizer::opsani`].
    pub fn new(http: Client, endpoint: OpsaniEndpoint, agent: &str) -> Self {
        Self::opsani(Channel::new(http, agent), &endpoint)
    }

    /// An optimizer of the Opsani kind.
    pub fn opsani(channel: Channel, endpoint: &OpsaniEndpoint) -> Self {
        Self {
            access: Access::opsani(&channel, endpoint),
            channel,
            turn: Turn::default(),
        }
    }

    /// An optimizer of the AppDynamics kind. Reads nothing yet: a connection file is awaited by the first request,
    /// and an OAuth token is fetched by it.
    ///
    /// # Errors
    /// [`AppdynamicsSource::endpoint`]'s, or there can be no thread to follow the connection file.
    pub fn appdynamics(
        channel: Channel,
        source: AppdynamicsSource,
        files: &ConnectionFiles,
    ) -> Result<Self, AppdynamicsError> {
        Ok(Self {
            access: Access::appdynamics(&channel, source, files)?,
            channel,
            turn: Turn::default(),
        })
    }

    /// The same with somebody who is told of each request, in place of the channel's.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn RequestObserver>) -> Self {
        Self {
            channel: self.channel.observed(observer),
            ..self
        }
    }

    async fn post_by(&self, request: &Request, deadline: Instant) -> Result<Response, PostError> {
        let mut body = Vec::with_capacity(TYPICAL_BODY);
        serde_json::to_writer(&mut body, request).map_err(|error| PostError::Transport {
            url: self.access.display_url(),
            kind: TransportKind::Broken,
            detail: format!("the request cannot be written as JSON: {error}"),
        })?;
        let errand = Errand {
            method: Method::POST,
            subject: Subject::Event(request.event.name()),
            body: Some(body.into()),
            lane: self.turn.lane(&request.event),
        };
        let (authorized, answer, place) = self.run(&errand, deadline).await?;
        if errand.lane == Lane::Begins {
            self.turn.begin();
        }
        let response = read(&authorized, &answer)?;
        if let Some(place) = place
            && request.event.leads_to_another(&response)
        {
            self.turn.keep(place);
        }
        Ok(response)
    }

    /// Sends `errand`, and once more if there is another credential than the one refused.
    async fn run(
        &self,
        errand: &Errand,
        deadline: Instant,
    ) -> Result<(Authorized, Answer, Option<Place>), PostError> {
        let authorized = self.access.authorize(&self.channel, deadline).await?;
        let (answer, place) = self.send(errand, &authorized, deadline).await?;
        if matches!(
            answer.status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        ) {
            let renewing = self.access.renew(&self.channel, &authorized, deadline);
            // Rarely needed, and larger than the rest.
            if let Some(renewed) = Box::pin(renewing).await? {
                let (answer, place) = Box::pin(self.send(errand, &renewed, deadline)).await?;
                return Ok((renewed, answer, place));
            }
        }
        Ok((authorized, answer, place))
    }

    async fn send(
        &self,
        errand: &Errand,
        authorized: &Authorized,
        deadline: Instant,
    ) -> Result<(Answer, Option<Place>), PostError> {
        let call = Call {
            method: errand.method.clone(),
            url: errand.subject.url(&authorized.target),
            host: &authorized.target.host,
            credential: &authorized.credential,
            body: errand.body.clone().map(Body::Json),
            event: errand.subject.event(),
            lane: errand.lane,
            place: self.turn.take().filter(|_| errand.lane == Lane::GoesOn),
        };
        self.channel
            .exchange(call, deadline)
            .await
            .map_err(|error| errand.unanswered(&authorized.target, error))
    }

    /// Runs `errand` for diagnostics until it has an answer, under the rules of events (§11).
    async fn persist(&self, errand: Errand) -> Result<Answer, PostError> {
        let budget = Budget::diagnostics();
        let mut retry = Retry::new(budget, Instant::now());
        loop {
            let now = Instant::now();
            let deadline = now + retry.attempt_deadline(now).min(EVER);
            let error = match self.run(&errand, deadline).await {
                Ok((authorized, answer, _)) => {
                    if answer.status.is_success() {
                        return Ok(answer);
                    }
                    let error = errand.refused(&authorized, &answer);
                    let is_check = errand.method == Method::GET;
                    if is_check && answer.status.as_u16() < 500 {
                        tracing::debug!(%error, "taken for WITHHOLD");
                        return Ok(answer);
                    }
                    error
                }
                Err(error) => error,
            };
            match retry.next_delay(&error, Instant::now()) {
                Decision::RetryIn(delay) => {
                    tracing::debug!(%error, retry_in = ?delay, "no usable answer about diagnostics");
                    tokio::time::sleep(delay).await;
                }
                Decision::GiveUp(_) => return Err(error),
            }
        }
    }

    async fn put(&self, subject: Subject, data: &Value) -> Result<(), PostError> {
        let errand = Errand {
            method: Method::PUT,
            subject,
            body: Some(json!({ "data": data }).to_string().into()),
            lane: Lane::Begins,
        };
        self.persist(errand).await.map(drop)
    }
}

impl OptimizerClient for HttpOptimizer {
    fn post<'a>(
        &'a self,
        request: &'a Request,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Response, PostError>> {
        let deadline = Instant::now() + deadline.min(EVER);
        Box::pin(self.post_by(request, deadline))
    }

    fn display_url(&self) -> String {
        self.access.display_url()
    }

    fn diagnostics(&self) -> Option<&dyn Diagnostics> {
        Some(self)
    }
}

impl Diagnostics for HttpOptimizer {
    fn check(&self) -> BoxFuture<'_, Result<Verdict, PostError>> {
        Box::pin(async move {
            let errand = Errand {
                method: Method::GET,
                subject: Subject::DiagnosticsCheck,
                body: None,
                lane: Lane::Begins,
            };
            let answer = self.persist(errand).await?;
            Ok(match &answer.body {
                Received::Whole(body) if answer.status.is_success() => Verdict::from_body(body),
                _ => Verdict::Withhold,
            })
        })
    }

    fn upload<'a>(&'a self, data: &'a Value) -> BoxFuture<'a, Result<(), PostError>> {
        Box::pin(self.put(Subject::DiagnosticsOutput, data))
    }

    fn withhold(&self) -> BoxFuture<'_, Result<(), PostError>> {
        Box::pin(async move {
            self.put(Subject::DiagnosticsCheck, &Value::from("WITHHOLD"))
                .await
        })
    }
}

impl fmt::Debug for HttpOptimizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpOptimizer")
            .field("access", &self.access)
            .field("channel", &self.channel)
            .finish()
    }
}

// === impl Subject ===

impl Subject {
    fn url(self, target: &Target) -> Url {
        match self {
            Self::Event(_) => target.events.clone(),
            Self::DiagnosticsCheck => target.beside_events("assets/opsani.com/diagnostics-check"),
            Self::DiagnosticsOutput => target.beside_events("assets/opsani.com/diagnostics-output"),
        }
    }

    fn event(self) -> Option<EventName> {
        match self {
            Self::Event(event) => Some(event),
            Self::DiagnosticsCheck | Self::DiagnosticsOutput => None,
        }
    }
}

// === impl Errand ===

impl Errand {
    fn unanswered(&self, target: &Target, error: NoAnswer) -> PostError {
        match self.subject {
            Subject::Event(_) => error.of_post(target.events.to_string()),
            Subject::DiagnosticsCheck | Subject::DiagnosticsOutput => PostError::Auxiliary {
                request: self.line(target),
                status: None,
                problem: format!("{} ({})", error.kind, error.detail),
                retry_after: None,
            },
        }
    }

    fn refused(&self, authorized: &Authorized, answer: &Answer) -> PostError {
        let excerpt = authorized.credential.redact(&answer.excerpt());
        PostError::Auxiliary {
            request: self.line(&authorized.target),
            status: Some(answer.status.as_u16()),
            problem: format!("HTTP status {}: {excerpt:?}", answer.status.as_u16()),
            retry_after: answer.retry_after,
        }
    }

    fn line(&self, target: &Target) -> String {
        format!("{} {}", self.method, self.subject.url(target))
    }
}

/// What the answer to an event says.
fn read(authorized: &Authorized, answer: &Answer) -> Result<Response, PostError> {
    let credential = &authorized.credential;
    let url = || authorized.target.events.to_string();
    let status = answer.status.as_u16();
    let excerpt = || credential.redact(&answer.excerpt());
    if answer.status.is_success() {
        let undecodable = |problem: &str| PostError::Undecodable {
            url: url(),
            status,
            excerpt: excerpt(),
            problem: credential.redact(problem),
        };
        return match &answer.body {
            Received::Whole(body) => {
                Response::from_body(body).map_err(|problem| undecodable(&problem.to_string()))
            }
            Received::TooLarge => Err(PostError::TooLarge {
                url: url(),
                limit: MAX_RESPONSE_BYTES,
            }),
            Received::Broken(how) => Err(undecodable(&format!("it broke off: {how}"))),
        };
    }
    let detail = match &answer.body {
        Received::Whole(body) => detail(body),
        Received::TooLarge | Received::Broken(_) => None,
    };
    if status == 410 && detail.as_deref() == Some(PostError::UNEXPECTED_SERVO_UID) {
        return Err(PostError::ServoReplaced { url: url() });
    }
    Err(PostError::Http {
        url: url(),
        status,
        excerpt: excerpt(),
        retry_after: answer.retry_after,
        detail: detail.map(|detail| credential.redact(&detail)),
    })
}

/// The `detail` of a JSON error body.
fn detail(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    value.get("detail")?.as_str().map(str::to_owned)
}
