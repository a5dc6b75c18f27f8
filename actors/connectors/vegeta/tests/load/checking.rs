//! What operators see of the checks.

use std::time::{Duration, Instant};

use servo_dispatch::{Check, CheckEvent, CheckFilter, DispatchOptions, DispatcherRef};
use servo_messages::{HaltOn, Severity};

use crate::{
    connecting::on_a_bus,
    server::{Answer, Server, response},
};

async fn checks(bus: &DispatcherRef, event: CheckEvent) -> Vec<Check> {
    let outcome = bus.dispatch(event, DispatchOptions::default()).await;
    outcome.unwrap().values().next().unwrap()
}

/// Id, outcome and message of each.
fn told(checks: &[Check]) -> Vec<(&str, Option<bool>, &str)> {
    checks
        .iter()
        .map(|check| {
            let message = check.message().unwrap_or_default();
            (check.id.as_str(), check.success(), message)
        })
        .collect()
}

fn never() -> CheckEvent {
    CheckEvent::new(CheckFilter::default(), HaltOn::Never)
}

/// Side by side, because each takes its five seconds.
#[test]
fn five_seconds_of_the_configured_rate_tell_a_target_that_answers_from_one_that_fails() {
    std::thread::scope(|scope| {
        scope.spawn(a_target_that_answers_passes);
        scope.spawn(a_target_that_answers_with_errors_fails_the_last_check_only);
    });
}

fn a_target_that_answers_passes() {
    let server = Server::friendly();
    let yaml = format!(
        "{{rate: 20, report_mode: interval, target: '{}'}}",
        server.get("/")
    );
    on_a_bus(&yaml, async |bus| {
        let began = Instant::now();
        let checks = checks(&bus, CheckEvent::default()).await;
        let took = began.elapsed().as_secs_f64();
        assert!((4.5..7.0).contains(&took), "{took}");
        assert_eq!(
            told(&checks),
            [
                (
                    "check_execution",
                    Some(true),
                    "Vegeta exit code: 0 (100 requests sent)"
                ),
                (
                    "check_report_aggregation",
                    Some(true),
                    "Collected 5 reports"
                ),
                (
                    "check_error_rates",
                    Some(true),
                    "Vegeta reported an error rate of 0.00%"
                ),
            ]
        );
        let shown: Vec<_> = checks
            .iter()
            .map(|check| (check.name.as_str(), check.severity))
            .collect();
        assert_eq!(
            shown,
            [
                ("Vegeta execution", Severity::Critical),
                ("Report aggregation", Severity::Common),
                ("Error rate < 5.0%", Severity::Common),
            ]
        );
        assert_eq!(server.seen().len(), 100);
    });
}

fn a_target_that_answers_with_errors_fails_the_last_check_only() {
    let server = Server::new(|_| Answer::Now(response("500 Internal Server Error", "", "")));
    let yaml = format!("{{rate: 20, target: '{}'}}", server.get("/"));
    on_a_bus(&yaml, async |bus| {
        let checks = checks(&bus, CheckEvent::default()).await;
        let told = told(&checks);
        assert!(
            told[..2]
                .iter()
                .all(|(_, success, _)| *success == Some(true))
        );
        assert_eq!(
            told[2],
            (
                "check_error_rates",
                Some(false),
                "Vegeta reported an error rate of 100.00%"
            )
        );
        let hint = checks[2].hint().unwrap();
        assert!(hint.contains("500 Internal Server Error"), "{hint}");
    });
}

#[test]
fn a_load_that_cannot_be_generated_says_why_and_the_rest_has_nothing_to_look_at() {
    let server = Server::friendly();
    let yaml = format!(
        "{{rate: 20, target: \"{}\\n@/nowhere/at/all\"}}",
        server.get("/")
    );
    on_a_bus(&yaml, async |bus| {
        let all = checks(&bus, never()).await;
        let (id, success, message) = told(&all)[0];
        assert_eq!((id, success), ("check_execution", Some(false)));
        assert!(
            message.starts_with(
                "Vegeta exit code: 1 (no load could be generated: bad body: /nowhere/at/all: "
            ),
            "{message}"
        );
        assert!(all[0].hint().unwrap().contains("`target`"));
        assert_eq!(
            told(&all)[1..],
            [
                (
                    "check_report_aggregation",
                    Some(false),
                    "no load test was run"
                ),
                ("check_error_rates", Some(false), "no load test was run"),
            ]
        );
        let halted = checks(&bus, CheckEvent::default()).await;
        let skipped = halted.iter().filter(|check| check.skipped()).count();
        assert_eq!((halted.len(), skipped), (3, 2));
        assert!(server.seen().is_empty());
    });
}

#[test]
fn a_server_that_never_answers_ends_the_check_and_leaves_no_load() {
    let server = Server::new(|_| Answer::Never);
    let yaml = format!("{{rate: 20, timeout: 0, target: '{}'}}", server.get("/"));
    on_a_bus(&yaml, async |bus| {
        let mut event = never();
        event.timeout = Duration::from_millis(500);
        let all = checks(&bus, event).await;
        assert_eq!(
            told(&all)[0],
            ("check_execution", Some(false), "timed out after 500ms")
        );
        assert_eq!(told(&all)[1].2, "no load test was run");
        let sent = server.seen().len();
        assert!((5..=14).contains(&sent), "{sent}");
        // Ten more by then if the load went on.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(server.seen().len() <= sent + 1);
    });
}

#[test]
fn cancelled_checks_stop_their_load() {
    let server = Server::friendly();
    let yaml = format!("{{rate: 50, target: '{}'}}", server.get("/"));
    on_a_bus(&yaml, async |bus| {
        let options = DispatchOptions::default();
        let cancel = options.cancel.clone();
        let began = Instant::now();
        let stop = async {
            while server.seen().len() < 5 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            cancel.cancel();
        };
        let (outcome, ()) = tokio::join!(bus.dispatch(CheckEvent::default(), options), stop);
        assert!(outcome.is_err());
        assert!(began.elapsed() < Duration::from_secs(3));
    });
}
