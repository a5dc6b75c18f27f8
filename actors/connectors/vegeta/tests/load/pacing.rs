//! How many requests go out, and when.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::{Duration, Instant},
};

use servo_connector_vegeta::{Ailment, Attack, Health};
use tokio_util::sync::CancellationToken;

use crate::{
    attack, block_on, plan, run,
    server::{Answer, Server, ok},
};

const MS: Duration = Duration::from_millis(1);

#[test]
fn exactly_rate_times_duration_requests_evenly_spread() {
    let server = Server::friendly();
    let report = run(plan(&server.get("/"), "300/1s", 1_200));
    assert_eq!((report.requests, report.missed), (360, 0));
    let seen = server.seen();
    let mut sequences: Vec<_> = seen.iter().map(|seen| seen.sequence()).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (0..360).collect::<Vec<_>>());
    let first = seen[0].at;
    for slice in 0..2 {
        let (from, to) = (first + slice * 500 * MS, first + (slice + 1) * 500 * MS);
        let count = seen
            .iter()
            .filter(|seen| seen.at >= from && seen.at < to)
            .count();
        assert!(
            (130..=170).contains(&count),
            "{count} requests in half-second {slice}"
        );
    }
    assert!((report.rate - 300.0).abs() < 20.0, "{}", report.rate);
}

#[test]
fn a_rate_that_does_not_divide_the_second_neither_loses_nor_gains() {
    let server = Server::friendly();
    assert_eq!(run(plan(&server.get("/"), "7/300ms", 1_000)).requests, 24);
    assert_eq!(run(plan(&server.get("/"), "1/10s", 300)).requests, 1);
}

/// A server that answers nothing between `from` and `to` after the first request.
fn stalling(from: Duration, to: Duration) -> Server {
    let start = std::sync::OnceLock::<Instant>::new();
    Server::new(move |seen| {
        let start = *start.get_or_init(|| seen.at);
        let elapsed = seen.at - start;
        if elapsed >= from && elapsed < to {
            Answer::At(start + to, ok(""))
        } else {
            Answer::Now(ok(""))
        }
    })
}

#[test]
fn requests_keep_going_out_while_the_server_stalls() {
    let server = stalling(300 * MS, 600 * MS);
    let report = run(plan(&server.get("/"), "200/1s", 1_200));
    let seen = server.seen();
    let first = seen[0].at;
    let during = seen
        .iter()
        .filter(|seen| seen.at >= first + 350 * MS && seen.at < first + 550 * MS)
        .count();
    assert!(
        (30..=50).contains(&during),
        "{during} requests during the stall"
    );
    let latencies = report.latencies;
    assert!(
        latencies.max >= 290 * MS && latencies.max < 500 * MS,
        "{latencies:?}"
    );
    assert!(
        latencies.p90 >= 150 * MS && latencies.p50 < 100 * MS,
        "{latencies:?}"
    );
    assert_eq!(report.requests, 240);
}

#[test]
fn with_few_workers_latency_still_shows_the_stall_and_service_time_does_not() {
    let server = stalling(300 * MS, 600 * MS);
    let mut plan = plan(&server.get("/"), "500/1s", 1_200);
    plan.max_workers = NonZeroU64::new(4);
    let report = run(plan);
    assert_eq!((report.requests, report.missed), (600, 0));
    // A quarter of the requests was due during the stall and waited between 300 and 0 ms: p90 = 300 · (1 - 10/25).
    assert!(
        report.latencies.p90 > 140 * MS && report.latencies.p90 < 260 * MS,
        "{:?}",
        report.latencies
    );
    assert!(report.latencies.p99 > 270 * MS, "{:?}", report.latencies);
    // Four of six hundred were under way.
    assert!(report.service.p99 < 150 * MS, "{:?}", report.service);
    assert!(report.service.max > 280 * MS, "{:?}", report.service);
    assert!(report.lag.p99 > 270 * MS, "{:?}", report.lag);
}

#[test]
fn what_the_workers_cannot_send_in_time_is_missed() {
    let server = Server::new(|seen| Answer::At(seen.at + 100 * MS, ok("")));
    let mut plan = plan(&server.get("/"), "100/1s", 1_000);
    plan.max_workers = NonZeroU64::new(1);
    let (_, summary) = block_on(attack(plan)).unwrap();
    let report = summary.report.unwrap();
    assert_eq!(report.requests + summary.missed, 100);
    assert_eq!((summary.planned, summary.limit), (100, 1));
    assert!((5..=11).contains(&report.requests), "{}", report.requests);
    assert_eq!(
        report.health,
        Health::Invalid(Ailment::Missed {
            missed: summary.missed,
            planned: 100
        })
    );
}

#[test]
fn rate_zero_is_a_closed_loop_of_workers() {
    let server = Server::new(|seen| Answer::At(seen.at + 20 * MS, ok("")));
    let mut plan = plan(&server.get("/"), "0", 600);
    plan.workers = NonZeroU32::new(3).unwrap();
    let report = run(plan);
    assert_eq!(server.connections(), 3);
    assert!((20..=90).contains(&report.requests), "{}", report.requests);
    assert_eq!((report.lag.max, report.missed), (Duration::ZERO, 0));
}

#[test]
fn a_refusing_server_does_not_hog_the_engine() {
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let began = Instant::now();
    let report = run(plan(&format!("GET http://{address}/"), "0", 300));
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(report.status_codes.keys().collect::<Vec<_>>(), [&0]);
}

#[test]
fn cancelling_stops_at_once_and_drops_what_hangs_after_a_second() {
    let server = Server::new(|_| Answer::Never);
    block_on(async {
        let cancel = CancellationToken::new();
        let attack = Attack::start(plan(&server.get("/"), "100/1s", 60_000), &cancel)
            .await
            .unwrap();
        while server.seen().len() < 10 {
            tokio::time::sleep(MS).await;
        }
        cancel.cancel();
        let (cancelled, already) = (Instant::now(), server.seen().len());
        let summary = tokio::time::timeout(Duration::from_secs(5), attack.finish())
            .await
            .unwrap()
            .unwrap();
        assert!(summary.cancelled);
        assert_eq!(summary.report, None);
        assert!(
            cancelled.elapsed() >= 900 * MS && cancelled.elapsed() < 1_900 * MS,
            "{:?}",
            cancelled.elapsed()
        );
        assert!(server.seen().len() <= already + 10);
    });
}

#[test]
fn cancelling_an_idle_run_or_dropping_it_ends_it_promptly() {
    let server = Server::friendly();
    block_on(async {
        let cancel = CancellationToken::new();
        let attack = Attack::start(plan(&server.get("/"), "1/1h", 60_000), &cancel)
            .await
            .unwrap();
        cancel.cancel();
        let began = Instant::now();
        assert!(attack.finish().await.unwrap().cancelled);
        assert!(began.elapsed() < 900 * MS);

        let attack = Attack::start(
            plan(&server.get("/"), "200/1s", 60_000),
            &CancellationToken::new(),
        )
        .await
        .unwrap();
        while server.seen().len() < 5 {
            tokio::time::sleep(MS).await;
        }
        drop(attack);
        // No more requests come once the run has noticed.
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let before = server.seen().len();
            tokio::time::sleep(50 * MS).await;
            if server.seen().len() == before {
                break;
            }
            assert!(Instant::now() < until, "the load goes on");
        }
    });
}
