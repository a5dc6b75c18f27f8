//! What is reported while a run goes on.

use std::time::{Duration, Instant};

use servo_connector_vegeta::ReportMode;

use crate::{
    attack, block_on, plan,
    server::{Answer, Server, ok, response},
};

const MS: Duration = Duration::from_millis(1);

#[test]
fn warm_up_is_load_without_figures() {
    let start = std::sync::OnceLock::<Instant>::new();
    // Slow and failing at first, as a cold service is.
    let server = Server::new(move |seen| {
        let start = *start.get_or_init(|| seen.at);
        if seen.sequence() < 40 {
            Answer::At(start + 350 * MS, response("500 Cold", "", ""))
        } else {
            Answer::Now(ok(""))
        }
    });
    let mut plan = plan(&server.get("/"), "100/1s", 600);
    plan.warmup = 400 * MS;
    plan.reporting_interval = 200 * MS;
    let before = jiff::Timestamp::now();
    let (reports, summary) = block_on(attack(plan)).unwrap();
    assert_eq!(server.seen().len(), 100);
    let counts: Vec<_> = reports.iter().map(|report| report.requests).collect();
    assert_eq!((counts.len(), counts[2]), (3, 60), "{counts:?}");
    assert!(
        counts[0] >= 10 && counts[0] <= 22 && counts[1] >= 25 && counts[1] <= 42,
        "{counts:?}"
    );
    for report in &reports {
        assert_eq!(report.errors, Vec::<String>::new());
        assert!(
            report.earliest.duration_since(before).as_millis() >= 399,
            "{:?}",
            report.earliest
        );
    }
    assert_eq!(summary.planned, 60);
    assert_eq!(summary.report.as_ref(), reports.last());
}

#[test]
fn each_report_can_cover_its_own_interval() {
    let server = Server::friendly();
    let mut plan = plan(&server.get("/"), "100/1s", 600);
    plan.reporting_interval = 200 * MS;
    plan.report_mode = ReportMode::Interval;
    let (reports, summary) = block_on(attack(plan)).unwrap();
    let counts: Vec<_> = reports.iter().map(|report| report.requests).collect();
    assert_eq!(counts.len(), 3);
    assert_eq!(counts.iter().sum::<u64>(), 60);
    assert!(
        counts.iter().all(|count| (10..=30).contains(count)),
        "{counts:?}"
    );
    assert!(
        reports
            .windows(2)
            .all(|pair| pair[0].end <= pair[1].earliest)
    );
    assert_eq!(summary.report.unwrap().requests, 60);
}

#[test]
fn a_report_without_requests_is_not_made() {
    let server = Server::new(|seen| Answer::At(seen.at + 250 * MS, ok("")));
    let mut plan = plan(&server.get("/"), "1/1s", 300);
    plan.reporting_interval = 100 * MS;
    let (reports, _) = block_on(attack(plan)).unwrap();
    assert_eq!(reports.len(), 1, "{reports:?}");
}
