//! Which path is answered by what, and what holds for all of them.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::FutureExt;

use super::{
    App, api, guard::Asked, health, lines::Peer, listing, page, problem::Problem, scrape, support,
};

/// Bytes of a request's body, but for documents of servos.
const BODY: usize = 64 * 1024;

/// What an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// What changes of the servos may take; they have limits of their own, and go on when nobody waits.
const CHANGE: Duration = Duration::from_secs(3600);

/// What every answer says to browsers, unless it says something else itself.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// The paths of the API and of the operators, as metrics name them.
const PATHS: [&str; 16] = [
    "/livez",
    "/readyz",
    "/healthz",
    "/-/healthy",
    "/-/ready",
    "/-/reload",
    "/-/quit",
    "/-/support",
    "/metrics",
    "/api/v1/servos",
    "/api/v1/servos/{*name}",
    "/api/v1/reload",
    "/api/v1/tree",
    "/api/v1/status",
    "/api/v1/openapi.json",
    "/",
];

pub(super) fn router(app: App) -> Router {
    let reload = || post(api::reload).put(api::reload);
    Router::new()
        .route("/livez", get(health::live))
        .route("/-/healthy", get(health::live))
        .route("/healthz", get(health::health))
        .route("/readyz", get(health::ready))
        .route("/-/ready", get(health::ready))
        .route("/-/reload", reload())
        .route("/-/quit", post(api::quit).put(api::quit))
        .route("/-/support", get(support::support))
        .route("/metrics", get(scrape::metrics))
        .route("/api/v1/servos", get(listing::servos).post(api::add))
        .route(
            "/api/v1/servos/{*name}",
            get(api::servo).delete(api::remove),
        )
        .route("/api/v1/reload", reload())
        .route("/api/v1/tree", get(api::tree))
        .route("/api/v1/status", get(api::status))
        .route("/api/v1/openapi.json", get(api::openapi))
        .merge(page::router())
        .fallback(nothing_there)
        .method_not_allowed_fallback(not_that_way)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn_with_state(app.clone(), answer))
        .with_state(app)
}

async fn nothing_there() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "there is nothing at this path: /api/v1/openapi.json says what there is",
    )
}

async fn not_that_way() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path is not asked with this method: the header Allow says with which",
    )
}

/// What holds for every request: who may ask, how long it takes, that a panic is an answer too, and
/// what is said to browsers and counted.
async fn answer(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = method(request.method());
    let path = path(&request);
    let limit = match request.method().is_safe() {
        true => ANSWER,
        false => CHANGE,
    };
    let asked = Asked {
        method: request.method(),
        uri: request.uri(),
        version: request.version(),
        headers: request.headers(),
    };
    let mut response = match app.guard.admit(&asked) {
        Err(problem) => {
            if problem.status == StatusCode::UNAUTHORIZED {
                tell_of_refusal(&request, path);
            }
            problem.into_response()
        }
        Ok(()) => {
            let answered = AssertUnwindSafe(next.run(request)).catch_unwind();
            match tokio::time::timeout(limit, answered).await {
                Ok(Ok(response)) => response,
                // The panic hook has logged it.
                Ok(Err(_)) => {
                    Problem::internal("this is a bug of servo: the log says where").into_response()
                }
                Err(_) => {
                    let text = format!("no answer could be given within {limit:?}");
                    Problem::new(StatusCode::GATEWAY_TIMEOUT, text).into_response()
                }
            }
        }
    };
    for (name, value) in HEADERS {
        let headers = response.headers_mut();
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    let code = response.status().as_u16();
    app.metrics
        .admin_request(method, path, code, begun.elapsed());
    response
}

/// Somebody who tries tokens is told of in the log, which leaves out repetitions. Whoever brings none
/// may be a browser that is about to ask for it.
fn tell_of_refusal(request: &Request, path: &'static str) {
    let peer = request.extensions().get::<Peer>();
    let peer = peer.map_or_else(String::new, |Peer(address)| address.to_string());
    if request.headers().contains_key(header::AUTHORIZATION) {
        tracing::warn!(peer, "a request with a wrong token was refused");
    } else {
        tracing::debug!(peer, path, "a request without a token was refused");
    }
}

fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn path(request: &Request) -> &'static str {
    let matched = request.extensions().get::<MatchedPath>();
    let matched = matched.map(MatchedPath::as_str);
    match matched.and_then(|path| PATHS.iter().find(|known| **known == path)) {
        Some(path) => path,
        None if page::is_page(request.uri().path()) => "/",
        None => "other",
    }
}
