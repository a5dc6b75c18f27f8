//! The optimizer over HTTP: `servo optimizer serve`.
//!
//! | request | what it is |
//! |---|---|
//! | `POST {any prefix}/accounts/{organization}/applications/{name}/servo` | a servo's event; its optimizer id is `{organization}/{name}` |
//! | `POST {any prefix}/rest/optimize/co/v1/optimizers/{id}/servo` | the same, in the other dialect of URLs |
//! | `GET .../assets/opsani.com/diagnostics-check` beside either | `{"data": "WITHHOLD"}`: no diagnostics are wanted |
//! | `GET /livez` | `ok` while the process serves; never asks for a token |
//! | `GET /api/v1/studies` | every study of the trial file |
//! | `GET /api/v1/studies/{study}` | one study |
//! | `GET /api/v1/studies/{study}/trials` | its trials |
//!
//! Errors are JSON with one key `detail`, which is where a servo looks for `unexpected servo_uid`
//! (`spec/optimizer-protocol.md` §13). A trial file that refuses is a 503, which a servo retries, so
//! nothing is lost while the disk is full.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use servo_protocol::Request;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    optimizer::{EmbeddedOptimizer, HandleError},
    study::MAX_ID,
};

/// How a server behaves.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// What a servo must send as `Authorization: Bearer <token>`; nothing is asked for without one.
    pub token: Option<SecretString>,
    /// Largest accepted request body, in bytes. Default: 8 MiB, a day of series at one second.
    pub body_limit: usize,
    /// How long a request may take in all. Default: 30 s.
    pub deadline: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            token: None,
            body_limit: 8 << 20,
            deadline: Duration::from_secs(30),
        }
    }
}

#[derive(Debug)]
struct Shared {
    optimizer: EmbeddedOptimizer,
    options: ServerOptions,
}

/// The routes, to be served by [`serve`] or merged into another server.
pub fn router(optimizer: EmbeddedOptimizer, options: ServerOptions) -> Router {
    Router::new()
        .fallback(answer)
        .with_state(Arc::new(Shared { optimizer, options }))
}

/// How long requests under way may take to come to their end when the server is shut down.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Serves until `shutdown`, then lets requests under way come to their end, for at most 5 s.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let told = shutdown.clone();
    let serving = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
    let patience = async {
        told.cancelled().await;
        tokio::time::sleep(SHUTDOWN_GRACE).await;
    };
    tokio::select! {
        served = serving => served,
        () = patience => {
            tracing::warn!("a connection was still open {SHUTDOWN_GRACE:?} after the server was told to end");
            Ok(())
        }
    }
}

/// What a path asks for.
#[derive(Debug, PartialEq)]
enum Target {
    Live,
    Servo(String),
    DiagnosticsCheck,
    Studies,
    Study(String),
    Trials(String),
    Nothing,
}

impl Target {
    /// A base URL may carry any prefix, so the optimizer's paths are read from their end.
    fn of(path: &str) -> Self {
        let segments: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(decoded)
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["livez"] => Self::Live,
            ["api", "v1", "studies"] => Self::Studies,
            ["api", "v1", "studies", study] => Self::Study((*study).to_owned()),
            ["api", "v1", "studies", study, "trials"] => Self::Trials((*study).to_owned()),
            [.., "accounts", organization, "applications", name, "servo"] => {
                Self::Servo(format!("{organization}/{name}"))
            }
            [
                ..,
                "rest",
                "optimize",
                "co",
                "v1",
                "optimizers",
                id,
                "servo",
            ] => Self::Servo((*id).to_owned()),
            [.., "assets", "opsani.com", "diagnostics-check"] => Self::DiagnosticsCheck,
            _ => Self::Nothing,
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let target = Target::of(parts.uri.path());
    if target == Target::Live {
        return "ok\n".into_response();
    }
    if !authorized(shared.options.token.as_ref(), &parts.headers) {
        return refuse(
            StatusCode::UNAUTHORIZED,
            "the token is missing or wrong; send `Authorization: Bearer <token>`",
        );
    }
    let deadline = shared.options.deadline;
    match (&parts.method, target) {
        (_, Target::Nothing) | (_, Target::Live) => refuse(
            StatusCode::NOT_FOUND,
            "no such path; servos post to /accounts/{organization}/applications/{name}/servo",
        ),
        (&Method::POST, Target::Servo(id)) if id.len() > MAX_ID => refuse(
            StatusCode::BAD_REQUEST,
            "the optimizer id is longer than 256 bytes",
        ),
        (&Method::POST, Target::Servo(id)) => {
            match tokio::time::timeout(deadline, event(&shared, &id, body)).await {
                Ok(response) => response,
                Err(_) => refuse(
                    StatusCode::REQUEST_TIMEOUT,
                    "the request took too long to arrive",
                ),
            }
        }
        (&Method::GET, Target::DiagnosticsCheck) => {
            axum::Json(json!({ "data": "WITHHOLD" })).into_response()
        }
        (&Method::GET, Target::Studies) => match shared.optimizer.studies(deadline).await {
            Ok(studies) => axum::Json(studies).into_response(),
            Err(error) => failed(&error),
        },
        (&Method::GET, Target::Study(study)) => found(&shared, &study, false).await,
        (&Method::GET, Target::Trials(study)) => found(&shared, &study, true).await,
        _ => refuse(
            StatusCode::METHOD_NOT_ALLOWED,
            "this path does not take that method",
        ),
    }
}

async fn event(shared: &Shared, id: &str, body: Body) -> Response {
    let body = match to_bytes(body, shared.options.body_limit).await {
        Ok(body) => body,
        Err(error) => {
            let limit = shared.options.body_limit;
            return refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                &format!("the body is larger than {limit} bytes, or broke off ({error})"),
            );
        }
    };
    let request: Request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(optimizer = id, "a request that is no event: {error}");
            return refuse(
                StatusCode::BAD_REQUEST,
                &format!("not an event of the protocol: {error}"),
            );
        }
    };
    match shared
        .optimizer
        .serve(id, request, shared.options.deadline)
        .await
    {
        Ok(response) => axum::Json(response).into_response(),
        Err(error) => failed(&error),
    }
}

async fn found(shared: &Shared, study: &str, trials: bool) -> Response {
    let Ok(study) = study.parse() else {
        return refuse(StatusCode::NOT_FOUND, "a study is named by its number");
    };
    match shared.optimizer.study(study, shared.options.deadline).await {
        Ok(Some((_, rows))) if trials => axum::Json(rows).into_response(),
        Ok(Some((row, _))) => axum::Json(row).into_response(),
        Ok(None) => refuse(StatusCode::NOT_FOUND, "no such study"),
        Err(error) => failed(&error),
    }
}

fn failed(error: &HandleError) -> Response {
    match error {
        HandleError::Replaced => refuse(
            StatusCode::GONE,
            servo_protocol::PostError::UNEXPECTED_SERVO_UID,
        ),
        HandleError::Panicked(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        HandleError::Deadline { .. }
        | HandleError::Store(_)
        | HandleError::TooMany
        | HandleError::Gone => refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

fn refuse(status: StatusCode, detail: &str) -> Response {
    let body: Value = json!({ "detail": detail });
    (status, axum::Json(body)).into_response()
}

fn authorized(token: Option<&SecretString>, headers: &HeaderMap) -> bool {
    let Some(token) = token else { return true };
    let sent = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let scheme = sent
        .get(..7)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "));
    let sent = if scheme {
        sent.get(7..).unwrap_or_default().trim()
    } else {
        ""
    };
    equal_in_constant_time(token.expose_secret().as_bytes(), sent.as_bytes())
}

/// The time this takes says nothing about where the two begin to differ.
fn equal_in_constant_time(expected: &[u8], found: &[u8]) -> bool {
    let mut difference = u8::from(expected.len() != found.len());
    for (index, byte) in found.iter().enumerate() {
        let against = expected
            .get(index % expected.len().max(1))
            .copied()
            .unwrap_or_default();
        difference |= byte ^ against;
    }
    difference == 0 && !expected.is_empty()
}

/// `%2F` and the like; what is no valid escape stays as it is.
fn decoded(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        let escape = (*byte == b'%')
            .then(|| segment.get(index + 1..index + 3))
            .flatten();
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                index += 3;
            }
            None => {
                decoded.push(*byte);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests;
