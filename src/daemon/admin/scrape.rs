//! `/metrics`: what stands when it is asked for, beside what was counted.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::{
    App,
    metrics::{Arbiter, Format, OfServo, Process, Reading, Reloads},
    overview::Overview,
    problem::Problem,
    turn,
    view::{self, STATES},
};
use crate::daemon::fleet::Readiness;

pub(super) async fn metrics(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    let text = text(&app, format).await?;
    let kind = HeaderValue::from_static(format.content_type());
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

pub(super) async fn text(app: &App, format: Format) -> Result<String, Problem> {
    let overview = app.overviews.get().await;
    let _one_of_few = turn(&app.turns.scrapes, "metrics").await?;
    let this = app.clone();
    let told = move || this.metrics.text(&reading(&this, &overview), format);
    app.blocking(told).await
}

fn reading(app: &App, overview: &Overview) -> Reading {
    let servos = app.fleet.assembly().servos();
    let each = servos.len() <= app.fleet.metrics_per_servo();
    let mut reading = Reading {
        build: (super::VERSION, super::REVISION),
        ready: app.fleet.readiness() == Readiness::Ready,
        reloads: reloads(app),
        states: STATES.iter().map(|state| (*state, 0)).collect(),
        connectors: overview.connectors.clone(),
        connector_restarts: overview.connector_restarts,
        arbiters: app
            .arbiter_loads()
            .into_iter()
            .map(|servos| Arbiter {
                servos: servos as u64,
            })
            .collect(),
        requests: app.metrics.requests(),
        restarts: servo_supervision::restarts(),
        connections: app.lines.open(),
        process: Process::read(),
        ..Reading::default()
    };
    for servo in &servos {
        let status = servo.status();
        let status = status.borrow();
        let state = view::state(servo, &status, overview);
        *reading.states.entry(state).or_default() += 1;
        let outage = servo.outage();
        reading.outages += u64::from(outage.is_some());
        if each {
            reading.servos.push(OfServo {
                name: servo.name().to_string(),
                state,
                ok: status.finished.saturating_sub(status.not_ok),
                not_ok: status.not_ok,
                restarts: overview.servo(servo.name()).map_or(0, |s| s.restarts()),
                outage_seconds: outage.unwrap_or_default().as_secs_f64(),
            });
        }
    }
    reading
}

fn reloads(app: &App) -> Reloads {
    let status = app.fleet.reloads();
    Reloads {
        succeeded: status.succeeded,
        refused: status.refused,
        last_successful: status.last.as_ref().is_none_or(|last| last.ok),
        last_success_seconds: status.last_success.as_millisecond() as f64 / 1000.0,
        hash: status.configuration & 0xffff_ffff_ffff,
        needs_restart: status.needs_restart.len() as u64,
    }
}
