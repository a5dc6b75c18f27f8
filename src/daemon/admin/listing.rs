//! `/api/v1/servos`: some of the servos at a time, in an order.
//!
//! The order is made here, so that whoever shows a screenful of 10,000 servos asks for a screenful.

use std::{collections::BTreeMap, time::Instant};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use servo_assembly::{ServoHandle, ServoStatus};

use super::{
    App,
    api::bad_query,
    overview::Overview,
    problem::Problem,
    view::{self, STATES, ServoView},
};

/// Servos of one answer.
const MOST: usize = 1000;

/// Those of an answer when nobody says.
const SOME: usize = 100;

/// Numbers are read here, to say what was expected in their place.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ServosQuery {
    state: Option<String>,
    q: Option<String>,
    sort: Sort,
    reverse: Option<String>,
    offset: Option<String>,
    limit: Option<String>,
}

/// What servos are sorted by; those that are equal come by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    /// A to Z.
    #[default]
    Name,
    /// What needs somebody first, then what is at work.
    State,
    /// The longest at it first.
    Command,
    /// The most first.
    Finished,
    /// The most first.
    NotOk,
    /// The most first.
    Restarts,
    /// The latest first.
    Last,
    /// Those with errors first.
    Error,
}

#[derive(Serialize)]
struct Servos {
    total: usize,
    matched: usize,
    offset: usize,
    limit: usize,
    states: BTreeMap<&'static str, usize>,
    servos: Vec<ServoView>,
}

pub(super) async fn servos(
    State(app): State<App>,
    query: Result<Query<ServosQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| bad_query(&error))?;
    let limit = number("limit", query.limit.as_deref(), SOME)?;
    if limit > MOST {
        let text = format!(
            "limit={limit}: there are at most {MOST} servos in one answer, ask for the next with offset"
        );
        return Err(Problem::bad_request(text));
    }
    let offset = number("offset", query.offset.as_deref(), 0)?;
    let reverse = match query.reverse.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            let text = format!("reverse={other}: expected true or false");
            return Err(Problem::bad_request(text));
        }
    };
    let wanted = query.state.as_deref().filter(|state| !state.is_empty());
    if let Some(state) = wanted
        && !STATES.contains(&state)
    {
        let text = format!("state={state}: expected one of {}", STATES.join(", "));
        return Err(Problem::bad_request(text));
    }
    let sought = query.q.as_deref().unwrap_or_default().to_lowercase();
    let overview = app.overviews.get().await;
    let all = app.fleet.assembly().servos();
    let now = Instant::now();
    let mut states: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut matched: Vec<(u64, &ServoHandle)> = Vec::new();
    for servo in &all {
        let status = servo.status();
        let status = status.borrow();
        let state = view::state(servo, &status, &overview);
        *states.entry(state).or_default() += 1;
        if wanted.is_none_or(|wanted| wanted == state) && contains(servo.name(), &sought) {
            let rank = query.sort.rank(servo, &status, state, &overview, now);
            matched.push((rank, servo));
        }
    }
    // They come by name.
    if query.sort != Sort::Name || reverse {
        matched.sort_by(|(a, first), (b, second)| {
            let by = match query.sort {
                Sort::Name => first.name().cmp(second.name()),
                _ => a.cmp(b),
            };
            let by = if reverse { by.reverse() } else { by };
            by.then_with(|| first.name().cmp(second.name()))
        });
    }
    let page = matched.iter().skip(offset).take(limit);
    let answer = Servos {
        total: all.len(),
        matched: matched.len(),
        offset,
        limit,
        states,
        servos: page.map(|(_, s)| ServoView::of(s, &overview)).collect(),
    };
    Ok(Json(answer).into_response())
}

fn number(name: &str, given: Option<&str>, default: usize) -> Result<usize, Problem> {
    given.map_or(Ok(default), |text| {
        text.parse().map_err(|_| {
            Problem::bad_request(format!("{name}={text}: expected a whole number, 0 or more"))
        })
    })
}

/// Whether `sought`, in lower case, is in `name`.
fn contains(name: &str, sought: &str) -> bool {
    sought.is_empty() || name.contains(sought) || name.to_lowercase().contains(sought)
}

impl Sort {
    /// The lowest comes first.
    fn rank(
        self,
        servo: &ServoHandle,
        status: &ServoStatus,
        state: &str,
        overview: &Overview,
        now: Instant,
    ) -> u64 {
        let passed = |since: Instant| {
            let passed = now.saturating_duration_since(since).as_micros();
            u64::try_from(passed).unwrap_or(u64::MAX - 1)
        };
        match self {
            Self::Name => 0,
            Self::State => urgency(state),
            Self::Command => match &status.command {
                Some(command) => u64::MAX - 1 - passed(command.started),
                None => u64::MAX,
            },
            Self::Finished => u64::MAX - status.finished,
            Self::NotOk => u64::MAX - status.not_ok,
            Self::Restarts => {
                let standing = overview.servo(servo.name());
                u64::MAX - standing.map_or(0, |standing| standing.restarts())
            }
            Self::Last => status
                .last
                .as_ref()
                .map_or(u64::MAX, |last| passed(last.ended)),
            Self::Error => u64::from(view::error(servo, status, overview).is_none()),
        }
    }
}

/// The place of a state among those that an operator wants to see first.
fn urgency(state: &str) -> u64 {
    const FIRST: [&str; 13] = [
        "parked",
        "backing_off",
        "waiting",
        "deprovisioned",
        "executing",
        "reporting",
        "starting",
        "attaching",
        "connecting",
        "shutting_down",
        "sleeping",
        "polling",
        "idle",
    ];
    let place = FIRST.iter().position(|first| *first == state);
    place.unwrap_or(FIRST.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        assert!(contains("Acme/Shop-1", "shop"));
        assert!(contains("Ärger", "ärg") && contains("a", ""));
        assert!(!contains("acme", "shop"));
    }

    #[test]
    fn what_needs_somebody_comes_first_and_every_state_has_its_place() {
        assert!(urgency("parked") < urgency("executing"));
        assert!(urgency("executing") < urgency("polling"));
        let unknown: Vec<_> = STATES.iter().filter(|s| urgency(s) == 13).collect();
        assert_eq!(unknown, [&"ended"]);
    }
}
