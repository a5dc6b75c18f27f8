//! `/livez`, `/readyz`, `/healthz` and their names in Prometheus, with the lines of Kubernetes for
//! `?verbose`.

use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::{App, pulse::Pulses};
use crate::daemon::fleet::Readiness;

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq)]
struct Check {
    name: String,
    /// What is wrong.
    failed: Option<String>,
}

/// Whether the program turns. A servo or a connector that fails never makes this fail.
pub(super) async fn live(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    answer("livez", &liveness(&app.pulses), query.as_deref())
}

/// Whether it has taken up its servos, and is not ending.
pub(super) async fn ready(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    let mut checks = vec![readiness(app.fleet.readiness())];
    checks.extend(liveness(&app.pulses));
    answer("readyz", &checks, query.as_deref())
}

/// As [`live`]: by this name many ask for what a restart mends.
pub(super) async fn health(State(app): State<App>, RawQuery(query): RawQuery) -> Response {
    answer("healthz", &liveness(&app.pulses), query.as_deref())
}

fn liveness(pulses: &Pulses) -> Vec<Check> {
    pulses
        .iter()
        .map(|pulse| Check {
            name: pulse.name.to_string(),
            failed: (!pulse.is_alive())
                .then(|| format!("has not turned for {:.0?}", pulse.silence())),
        })
        .collect()
}

fn readiness(readiness: Readiness) -> Check {
    let failed = match readiness {
        Readiness::Ready => None,
        Readiness::Starting { started, of } => {
            Some(format!("{started} of {of} servos have been taken up"))
        }
        Readiness::ShuttingDown => Some("the program is shutting down".to_owned()),
    };
    let name = "servos".to_owned();
    Check { name, failed }
}

fn answer(what: &str, checks: &[Check], query: Option<&str>) -> Response {
    let verbose = query.is_some_and(|query| {
        let mut keys = query.split('&').map(|part| part.split('=').next());
        keys.any(|key| key == Some("verbose"))
    });
    let sound = checks.iter().all(|check| check.failed.is_none());
    let text = match (sound, verbose) {
        (true, false) => "ok\n".to_owned(),
        _ => {
            let lines = checks.iter().map(|check| match &check.failed {
                None => format!("[+]{} ok\n", check.name),
                Some(why) => format!("[-]{} failed: {why}\n", check.name),
            });
            let outcome = if sound { "passed" } else { "failed" };
            lines.chain([format!("{what} check {outcome}\n")]).collect()
        }
    };
    let status = match sound {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, text).into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::{super::pulse::Pulse, *};

    async fn text(response: Response) -> (u16, String) {
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await;
        (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_thread_that_does_not_turn_fails_liveness() {
        let second = Duration::from_secs(1);
        let pulses = |silence| -> Pulses {
            let silences = [("arbiter-0", second), ("arbiter-1", silence)];
            let pulses = silences.into_iter();
            pulses.map(|(name, s)| Pulse::silent_for(name, s)).collect()
        };
        let (status, said) = text(answer("livez", &liveness(&pulses(9 * second)), None)).await;
        assert_eq!((status, said.as_str()), (200, "ok\n"));
        let checks = liveness(&pulses(9 * second));
        let (_, said) = text(answer("livez", &checks, Some("verbose"))).await;
        assert_eq!(
            said,
            "[+]arbiter-0 ok\n[+]arbiter-1 ok\nlivez check passed\n"
        );
        let (status, said) = text(answer("livez", &liveness(&pulses(11 * second)), None)).await;
        assert_eq!(status, 503);
        assert_eq!(
            said,
            "[+]arbiter-0 ok\n[-]arbiter-1 failed: has not turned for 11s\nlivez check failed\n"
        );
    }

    #[tokio::test]
    async fn not_ready_says_why() {
        let starting = Readiness::Starting { started: 3, of: 10 };
        let checks = [readiness(starting)];
        let (status, said) = text(answer("readyz", &checks, Some("x=1&verbose=1"))).await;
        assert_eq!(status, 503);
        assert_eq!(
            said,
            "[-]servos failed: 3 of 10 servos have been taken up\nreadyz check failed\n"
        );
        assert_eq!(readiness(Readiness::Ready).failed, None);
        assert!(readiness(Readiness::ShuttingDown).failed.is_some());
    }
}
