//! What programs ask: `/api/v1/...`. The document at `/api/v1/openapi.json` describes all of it.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State, rejection::PathRejection, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    App,
    metrics::Process,
    problem::Problem,
    turn,
    view::{self, Node, RECENT_ERRORS, ServoInFull},
};
use crate::daemon::fleet::{COMES_BACK, ChangeError, Readiness, Trigger};

/// Bytes of the documents of servos that are added at once: 10,000 of some kilobytes each.
pub(super) const DOCUMENTS: usize = 32 * 1024 * 1024;

/// What documents have to arrive.
const ARRIVAL: Duration = Duration::from_secs(60);

/// Levels of the tree that are told of, when nobody says; there are not that many.
const DEPTH: usize = 64;

/// As what documents of servos may come; JSON is YAML too.
const KINDS: [&str; 6] = [
    "application/yaml",
    "application/x-yaml",
    "text/yaml",
    "text/x-yaml",
    "application/json",
    "application/octet-stream",
];

const OPENAPI: &str = include_str!("openapi.json");

pub(super) fn bad_query(error: &QueryRejection) -> Problem {
    let text = error.body_text();
    let why = text
        .rsplit_once("query string: ")
        .map_or(&*text, |(_, why)| why);
    Problem::bad_request(format!(
        "the query cannot be used: {why}: /api/v1/openapi.json says what it may hold"
    ))
}

pub(super) async fn servo(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(name) = name.map_err(|error| Problem::bad_request(error.body_text()))?;
    let Some(servo) = app.fleet.assembly().servo(&name) else {
        return Err(Problem::no_such_servo(&name));
    };
    let overview = app.overviews.get().await;
    let configurations = app.fleet.configurations();
    let config = configurations.iter().find(|config| *config.name == *name);
    let errors = app.log.trouble_of(&name, RECENT_ERRORS);
    let view = ServoInFull::of(&servo, config.map(|config| &**config), &overview, &errors);
    Ok(Json(view).into_response())
}

pub(super) async fn add(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    check_kind(&headers)?;
    let _one_of_few = turn(&app.turns.uploads, "new servos").await?;
    let yaml = documents(body).await?;
    let added = app.fleet.add(&yaml).await.map_err(refused)?;
    let added: Vec<&str> = added.iter().map(|name| &**name).collect();
    Ok((StatusCode::CREATED, Json(json!({"added": added}))).into_response())
}

/// What is said to be a picture is no YAML, whatever is in it.
fn check_kind(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let text = kind.to_str().unwrap_or_default();
    let bare = text.split(';').next().unwrap_or_default().trim();
    if KINDS.iter().any(|known| known.eq_ignore_ascii_case(bare)) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!(
            "the content type '{bare}' is not one of {}",
            KINDS.join(", ")
        ),
    ))
}

async fn documents(body: Body) -> Result<String, Problem> {
    let collected = tokio::time::timeout(ARRIVAL, Limited::new(body, DOCUMENTS).collect()).await;
    let bytes = match collected {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let limit = DOCUMENTS / 1024 / 1024;
            let text = format!("the documents are larger than {limit} MiB: send them in parts");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        Ok(Err(error)) => {
            let text = format!("the documents did not arrive: {error}");
            return Err(Problem::bad_request(text));
        }
        Err(_) => {
            let text = format!("the documents did not arrive within {ARRIVAL:?}");
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, text));
        }
    };
    let text = String::from_utf8(bytes.into())
        .map_err(|_| Problem::bad_request("the documents are not UTF-8"))?;
    if text.trim().is_empty() {
        let text = "there is no document: send servos as they stand in servo.yaml";
        return Err(Problem::bad_request(text));
    }
    Ok(text)
}

pub(super) async fn remove(
    State(app): State<App>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(name) = name.map_err(|error| Problem::bad_request(error.body_text()))?;
    let removed = app.fleet.remove(&name).await.map_err(refused)?;
    let note = removed.comes_back.then_some(COMES_BACK);
    let answer = json!({"removed": name, "comes_back": removed.comes_back, "note": note});
    Ok(Json(answer).into_response())
}

fn refused(error: ChangeError) -> Problem {
    let status = match &error {
        ChangeError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        ChangeError::Taken(_) => StatusCode::CONFLICT,
        ChangeError::Unknown(_) => StatusCode::NOT_FOUND,
        ChangeError::Busy | ChangeError::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        ChangeError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Problem::new(status, error.to_string())
}

pub(super) async fn reload(State(app): State<App>) -> Result<Response, Problem> {
    let done =
        app.fleet.reload(Trigger::Http).await.map_err(|refused| {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, refused.to_string())
        })?;
    // Who rotates files and says so expects them to count from now on.
    let credentials = app.credentials.clone();
    let _ = tokio::task::spawn_blocking(move || credentials.refresh()).await;
    let diff = &done.diff;
    let answer = json!({
        "result": done.to_string(),
        "added": diff.added.len(),
        "changed": diff.changed.len(),
        "removed": diff.removed.len(),
        "unchanged": diff.unchanged.len(),
        "took_seconds": done.took.as_secs_f64(),
        "needs_restart": done.needs_restart,
    });
    Ok(Json(answer).into_response())
}

pub(super) async fn quit(State(app): State<App>) -> Response {
    app.fleet.quit();
    Json(json!({"result": "shutting down"})).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TreeQuery {
    path: Option<String>,
    depth: Option<usize>,
}

pub(super) async fn tree(
    State(app): State<App>,
    query: Result<Query<TreeQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| bad_query(&error))?;
    let _one_of_few = turn(&app.turns.trees, "the tree").await?;
    let fleet = app.fleet.clone();
    let told = app.blocking(move || {
        let tree = fleet.tree();
        let depth = query.depth.unwrap_or(DEPTH).min(DEPTH);
        let tree = match &query.path {
            Some(path) => tree.find(path).cloned().ok_or_else(|| {
                let text = format!("there is no actor at '{path}' in the tree");
                Problem::new(StatusCode::NOT_FOUND, text)
            })?,
            None => tree,
        };
        serde_json::to_vec(&Node::of(tree, depth)).map_err(|e| Problem::internal(e.to_string()))
    });
    Ok(whole_json(told.await??))
}

pub(super) async fn status(State(app): State<App>) -> Response {
    let overview = app.overviews.get().await;
    Json(status_of(&app, &overview)).into_response()
}

/// What is told of the program.
pub(super) fn status_of(app: &App, overview: &super::overview::Overview) -> Value {
    let all = app.fleet.assembly().servos();
    let mut states: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut outages = 0;
    for servo in &all {
        let state = view::state(servo, &servo.status().borrow(), overview);
        *states.entry(state).or_default() += 1;
        outages += usize::from(servo.outage().is_some());
    }
    let reloads = app.fleet.reloads();
    let last = reloads
        .last
        .map(|last| json!({"ok": last.ok, "at": last.at, "text": last.text}));
    let process = Process::read();
    let arbiters: Vec<_> = app
        .arbiter_loads()
        .into_iter()
        .map(|n| json!({"servos": n}))
        .collect();
    json!({
        "version": super::VERSION,
        "revision": super::REVISION,
        "started_at": app.started_at,
        "uptime_seconds": app.started.elapsed().as_secs_f64(),
        "ready": app.fleet.readiness() == Readiness::Ready,
        "servos": {"total": all.len(), "states": states, "outages": outages},
        "reloads": {
            "succeeded": reloads.succeeded,
            "refused": reloads.refused,
            "last": last,
            "needs_restart": reloads.needs_restart,
        },
        "arbiters": arbiters,
        "memory_bytes": process.resident_bytes,
        "cpu_seconds": process.cpu_seconds,
    })
}

pub(super) async fn openapi() -> Response {
    whole_json(OPENAPI.as_bytes().to_vec())
}

fn whole_json(bytes: Vec<u8>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], bytes).into_response()
}
