//! Runs of checks over several connectors (`spec/events-and-checks.md` §6.13, §6.14).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use servo_dispatch::{
    Check, CheckFilter, CheckPolicy, CheckRun, CheckRunEnd, CheckRunOutcome, CheckSelectionError,
    Patterns,
};
use servo_messages::{CheckDelay, ChecksConfig, EventError};
use tokio_util::sync::CancellationToken;

use super::stage::{Log, Script, Stage, declares, one, one_from, told};
use crate::troupe::SECOND;

fn waiting(wait: u64, delay: CheckDelay) -> CheckPolicy {
    CheckPolicy {
        wait: SECOND * u32::try_from(wait).unwrap(),
        delay,
        ..CheckPolicy::default()
    }
}

fn fixed(delay: Duration) -> CheckDelay {
    CheckDelay::Fixed(delay.into())
}

fn passes(name: &'static str) -> Script {
    one_from(name, 1)
}

fn never(name: &'static str) -> Script {
    one_from(name, u64::MAX)
}

fn texts(log: &[(u64, String)]) -> Vec<&str> {
    log.iter().map(|(_, text)| text.as_str()).collect()
}

fn find<'o>(outcome: &'o CheckRunOutcome, name: &str) -> &'o Check {
    let mut checks = outcome.connectors.iter().flat_map(|c| &c.checks);
    checks.find(|c| c.name == name).unwrap()
}

#[actix_rt::test]
async fn connectors_are_checked_together_and_told_in_bus_order() {
    let slow = |seconds: u64| {
        move || {
            tokio::time::sleep(Duration::from_secs(seconds))
                .map(|()| true)
                .boxed_local()
        }
    };
    let stage = Stage::of(vec![("a", one("x", slow(30))), ("b", one("y", slow(20)))]).await;
    tokio::time::pause();
    let (outcome, log) = stage.ran(CheckPolicy::default()).await;
    assert!(outcome.ready());
    assert_eq!(told(&outcome), ["a: x", "b: y"]);
    let wanted = [
        (20, "✅ Check 'y' passed"),
        (30, "✅ Check 'x' passed"),
        (30, "🔥 All checks passed."),
    ];
    assert_eq!(log, wanted.map(|(at, text)| (at, text.to_owned())));
}

#[actix_rt::test]
async fn warnings_are_told_and_stand_in_nobodys_way() {
    let warn = declares(|checks| {
        checks.warn("advice", async || (false, "old version"));
    });
    let stage = Stage::of(vec![("a", warn)]).await;
    let (outcome, log) = stage.ran(CheckPolicy::default()).await;
    assert!(outcome.ready());
    let wanted = [
        "⚠️ Check 'advice' warned: old version",
        "🔥 All checks passed.",
    ];
    assert_eq!(texts(&log), wanted);
}

#[actix_rt::test]
async fn failures_are_told_with_what_passed_before_them() {
    let some = declares(|checks| {
        checks.check("one", async || true);
        checks.check("two", async || (false, "too few"));
        checks.require("three", async || false);
        checks.check("four", async || true);
    });
    let stage = Stage::of(vec![("a", some), ("b", passes("other"))]).await;
    let (outcome, log) = stage.ran(CheckPolicy::default()).await;
    assert_eq!(outcome.end, CheckRunEnd::Failed);
    assert_eq!(told(&outcome), ["a: one TWO THREE (four)", "b: other"]);
    let log = texts(&log);
    assert!(log.contains(&"✅ Check 'other' passed"));
    assert!(
        log.iter()
            .any(|l| l.starts_with("❌ Check 'two' failed (") && l.ends_with("passed): too few"))
    );
    assert!(log.iter().any(|l| l.ends_with("passed): check failed")));
    assert!(!log.iter().any(|l| l.contains("four")));
}

#[actix_rt::test]
async fn a_failure_is_logged_with_its_hint_and_where_it_comes_from() {
    let some = declares(|checks| {
        let check = checks.check("ports", async || (false, "closed"));
        check.id("check_ports").hint("open them");
        checks.check("names", async || true).id("check_names");
    });
    let stage = Stage::of(vec![("a", some)]).await;
    stage.ran(CheckPolicy::default()).await;
    let lines = crate::log::written();
    let lines: Vec<_> = lines
        .iter()
        .filter(|line| line["fields"]["connector"] == "a")
        .map(|line| {
            let fields = &line["fields"];
            let text = |key: &str| fields[key].as_str().unwrap();
            let level = line["level"].as_str().unwrap();
            (level, text("servo"), text("check"), text("message"))
        })
        .collect();
    let wanted = [
        (
            "WARN",
            "check_ports",
            "❌ Check 'ports' failed (0 passed): closed",
        ),
        ("INFO", "check_ports", "Hint: open them"),
        ("INFO", "check_names", "✅ Check 'names' passed"),
    ];
    assert_eq!(
        lines,
        wanted.map(|(level, id, text)| (level, "house", id, text))
    );
}

#[actix_rt::test]
async fn a_connector_that_fails_costs_nobody_elses_results() {
    let failing: Script =
        Arc::new(|_, _| async { Err(EventError::failed("no configuration")) }.boxed_local());
    let panicking: Script = Arc::new(|_, _| async { panic!("lost") }.boxed_local());
    let half: Script = Arc::new(|event, cx| {
        async move {
            let mut checks = servo_dispatch::Checks::new();
            checks.check("first half", async || true);
            checks.run(event, cx).await?;
            Err(EventError::failed("second half"))
        }
        .boxed_local()
    });
    let stage = Stage::of(vec![
        ("a", passes("fine")),
        ("b", failing),
        ("c", panicking),
        ("d", half),
        ("e", passes("fine too")),
    ])
    .await;
    let (outcome, log) = stage.ran(CheckPolicy::default()).await;
    assert_eq!(
        told(&outcome),
        [
            "a: fine",
            "b: CONNECTOR B CHECKS",
            "c: CONNECTOR C CHECKS",
            "d: first half CONNECTOR D CHECKS",
            "e: fine too",
        ]
    );
    let failed = find(&outcome, "Connector b checks");
    assert_eq!(failed.message(), Some("no configuration"));
    assert_eq!(failed.severity, servo_messages::Severity::Critical);
    let panicked = find(&outcome, "Connector c checks").message().unwrap();
    assert!(panicked.contains("lost"), "{panicked}");
    let told = texts(&log);
    assert!(
        told.iter()
            .any(|l| l.starts_with("❌ Check 'Connector b checks' failed"))
    );
    assert_eq!(outcome.end, CheckRunEnd::Failed);
}

#[actix_rt::test]
async fn a_check_that_hangs_costs_its_own_deadline_and_one_after_it_still_runs() {
    let hangs = declares(|checks| {
        checks.check("hangs", async || std::future::pending::<bool>().await);
        checks.check("after", async || true);
    });
    let stage = Stage::of(vec![("a", hangs), ("b", passes("fine"))]).await;
    tokio::time::pause();
    let (outcome, log) = stage.ran(CheckPolicy::default()).await;
    assert_eq!(told(&outcome), ["a: HANGS after", "b: fine"]);
    assert_eq!(
        find(&outcome, "hangs").message(),
        Some("timed out after 2m")
    );
    let at = |text: &str| log.iter().find(|(_, l)| l.contains(text)).unwrap().0;
    assert_eq!((at("fine"), at("hangs"), at("after")), (0, 120, 120));
}

#[actix_rt::test]
async fn a_connector_that_hangs_outside_of_its_checks_is_given_up() {
    let hangs: Script = Arc::new(|_, _| std::future::pending().boxed_local());
    let slow = declares(|checks| {
        let rest = Duration::from_secs(100);
        for name in ["one", "two", "three"] {
            checks.check(name, async move || tokio::time::sleep(rest).await);
        }
    });
    let stage = Stage::of(vec![("a", hangs), ("b", slow)]).await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let (outcome, _) = stage.ran(CheckPolicy::default()).await;
    assert_eq!(
        told(&outcome),
        ["a: CONNECTOR A CHECKS", "b: one two three"]
    );
    let message = find(&outcome, "Connector a checks").message();
    assert_eq!(message, Some("timed out: the connector did not answer"));
    // 300 s of work, then 2 m and 15 s without a word, then the grace.
    let took = began.elapsed().as_secs();
    assert!((435..=446).contains(&took), "{took}");
}

#[actix_rt::test]
async fn a_veto_is_a_failure_and_says_so() {
    let stage = Stage::of(vec![("a", passes("x")), ("objector", passes("-"))]).await;
    let (outcome, _) = stage.ran(CheckPolicy::default()).await;
    assert_eq!(outcome.end, CheckRunEnd::Failed);
    let failed = find(&outcome, "Connector objector checks");
    assert_eq!(
        failed.message(),
        Some("the checks were called off: not today")
    );
}

// === selection ===

fn naming(names: &[&str]) -> CheckPolicy {
    CheckPolicy {
        connectors: Some(names.iter().map(|name| (*name).into()).collect()),
        ..CheckPolicy::default()
    }
}

#[actix_rt::test]
async fn only_the_named_connectors_are_asked() {
    let stage = Stage::of(vec![
        ("a", passes("x")),
        ("b", passes("y")),
        ("silent", passes("-")),
    ])
    .await;
    let (outcome, _) = stage.ran(naming(&["b", "silent"])).await;
    assert_eq!(told(&outcome), ["b: y"]);
    let error = |names: &[&str]| {
        CheckRun::new(stage.dispatcher.clone(), naming(names))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error(&["a", "nosuch"]),
        "A connector named within the checks config was not found in the current Assembly: \
         no connector is named 'nosuch'; there are a, b, silent"
    );
    assert_eq!(
        error(&["silent"]),
        "At least one configured connector must respond to the Check event (of silent none does)"
    );
}

#[actix_rt::test]
async fn nobody_to_ask_is_an_error() {
    let stage = Stage::of(vec![("silent", passes("-"))]).await;
    let error = CheckRun::new(stage.dispatcher.clone(), CheckPolicy::default()).unwrap_err();
    assert!(matches!(error, CheckSelectionError::NoResponder { .. }));
    let empty = Stage::of(vec![]).await;
    let error = CheckRun::new(empty.dispatcher, CheckPolicy::default()).unwrap_err();
    assert!(error.to_string().ends_with("(of no connectors none does)"));
}

#[actix_rt::test]
async fn names_are_those_of_the_whole_assembly() {
    let one = Stage::of(vec![("a", passes("x")), ("shared", passes("s"))]).await;
    let two = Stage::of(vec![("b", passes("y")), ("shared", passes("s"))]).await;
    let servos = [one.dispatcher.clone(), two.dispatcher.clone()];
    let mut all = Vec::new();
    for run in CheckRun::of_all(&servos, &naming(&["a", "shared"])).unwrap() {
        all.push(told(&run.unwrap().run().await));
    }
    assert_eq!(all, [vec!["a: x", "shared: s"], vec!["shared: s"]]);
    let runs = CheckRun::of_all(&servos, &naming(&["b"])).unwrap();
    assert!(runs[0].is_none() && runs[1].is_some());
    assert!(CheckRun::of_all(&servos, &naming(&["c"])).is_err());
}

#[actix_rt::test]
async fn a_filter_that_selects_nothing_is_no_success() {
    let stage = Stage::of(vec![("a", passes("x"))]).await;
    let filter = CheckFilter {
        name: Some(Patterns::parse(&["y"]).unwrap()),
        ..CheckFilter::default()
    };
    let policy = CheckPolicy {
        filter,
        ..waiting(1800, CheckDelay::Expo)
    };
    let (outcome, log) = stage.ran(policy).await;
    assert_eq!(outcome.end, CheckRunEnd::NothingMatched);
    assert_eq!(texts(&log).last(), Some(&"no checks matched the filter"));
    let (other, _) = stage.ran(CheckPolicy::default()).await;
    assert!(CheckRunOutcome::all_ready([&outcome, &other]));
    assert!(!CheckRunOutcome::all_ready([&outcome, &outcome]));
    let none = Stage::of(vec![("a", declares(|_| {}))]).await;
    let (outcome, _) = none.ran(CheckPolicy::default()).await;
    assert!(outcome.ready());
}

// === passes ===

#[actix_rt::test]
async fn passes_repeat_with_growing_pauses_until_all_is_well() {
    let stage = Stage::of(vec![("a", one_from("x", 4)), ("b", passes("y"))]).await;
    tokio::time::pause();
    let (outcome, log) = stage.ran(waiting(1800, CheckDelay::Expo)).await;
    assert!(outcome.ready());
    assert_eq!(outcome.passes, 4);
    let first =
        "Running checks progressively for up to 30m with a delay of expo between iterations";
    assert_eq!(texts(&log)[0], first);
    let waits: Vec<_> = log
        .iter()
        .filter(|(_, l)| l.starts_with("waiting"))
        .collect();
    let wanted = [(0, 8), (8, 16), (24, 32)].map(|(at, pause)| {
        let text = format!("waiting for {pause} seconds before re-running checks");
        (at, text)
    });
    assert_eq!(waits, wanted.iter().collect::<Vec<_>>());
    let count = |text: &str| log.iter().filter(|(_, l)| l.starts_with(text)).count();
    assert_eq!(count("✅ Check 'y'"), 1);
    assert_eq!(count("✅ Check 'x'"), 1);
    assert_eq!(count("❌ Check 'x'"), 3);
    assert_eq!(
        log.last().unwrap(),
        &(56, "🔥 All checks passed.".to_owned())
    );
}

#[actix_rt::test]
async fn the_last_pass_is_at_the_deadline() {
    let stage = Stage::of(vec![("a", never("x"))]).await;
    tokio::time::pause();
    let (outcome, log) = stage.ran(waiting(3, CheckDelay::Expo)).await;
    assert_eq!(outcome.end, CheckRunEnd::TimedOut);
    assert_eq!(outcome.passes, 2);
    let last = (3, "timed out waiting for checks to pass 3s".to_owned());
    assert_eq!(log.last(), Some(&last));
    let (outcome, log) = stage.ran(waiting(2, fixed(SECOND))).await;
    assert_eq!((outcome.passes, log.last().unwrap().0), (3, 2));
    let (outcome, log) = stage.ran(waiting(1500, CheckDelay::Expo)).await;
    // 8, 16, ... 256, then 5 minutes at most.
    assert_eq!((outcome.passes, log.last().unwrap().0), (11, 1500));
}

#[actix_rt::test]
async fn no_delay_is_no_busy_loop() {
    let stage = Stage::of(vec![("a", never("x"))]).await;
    tokio::time::pause();
    let (outcome, _) = stage.ran(waiting(10, fixed(Duration::ZERO))).await;
    assert_eq!(outcome.passes, 101);
}

#[actix_rt::test]
async fn a_result_is_told_when_it_changes() {
    let turns = Arc::new(AtomicUsize::new(0));
    let wavers = one("wavers", move || {
        let turn = turns.fetch_add(1, Ordering::SeqCst);
        async move { turn != 1 }.boxed_local()
    });
    let stage = Stage::of(vec![("a", wavers), ("b", one_from("x", 4))]).await;
    tokio::time::pause();
    let (_, log) = stage.ran(waiting(60, fixed(SECOND))).await;
    let told: Vec<_> = log
        .iter()
        .filter(|(_, l)| l.contains("wavers"))
        .map(|(at, l)| (*at, l.chars().next().unwrap()))
        .collect();
    assert_eq!(told, [(0, '✅'), (1, '❌'), (2, '✅')]);
}

#[actix_rt::test]
async fn the_same_id_in_two_connectors_is_two_checks() {
    let stage = Stage::of(vec![("a", passes("x")), ("b", passes("x"))]).await;
    let (_, log) = stage.ran(CheckPolicy::default()).await;
    let count = |text: &str| log.iter().filter(|(_, l)| l == text).count();
    assert_eq!(count("✅ Check 'x' passed"), 2);
}

#[test]
fn the_stanza_becomes_a_policy() {
    let config = ChecksConfig {
        connectors: Some(vec!["a".into()]),
        id: Some(vec!["one, two".into()]),
        ..ChecksConfig::default()
    };
    let policy = CheckPolicy::of(&config).unwrap();
    assert_eq!(policy.wait, Duration::from_secs(1800));
    assert_eq!(policy.timeout, Duration::from_secs(120));
    assert_eq!(policy.remedy_timeout, Duration::from_secs(10));
    let limited: ChecksConfig = serde_yaml::from_str("{timeout: 90s, remedy_timeout: 3s}").unwrap();
    let limited = CheckPolicy::of(&limited).unwrap();
    assert_eq!(limited.timeout, Duration::from_secs(90));
    assert_eq!(limited.remedy_timeout, Duration::from_secs(3));
    // What ServoX would refuse is not written unless it says something.
    let written = serde_json::to_value(ChecksConfig::default()).unwrap();
    assert!(written.get("timeout").is_none() && written.get("remedy_timeout").is_none());
    assert!(policy.filter.id.unwrap().matches("two"));
    let wrong = ChecksConfig {
        name: Some(vec!["ok".into(), "/(/".into()]),
        ..ChecksConfig::default()
    };
    let error = CheckPolicy::of(&wrong).unwrap_err();
    assert_eq!((error.key, error.index), ("name", 1));
    assert_eq!(
        error.to_string(),
        "name: '/(/' is no regular expression: unclosed group"
    );
}

// === ends ===

#[actix_rt::test]
async fn the_token_ends_a_check_and_a_pause() {
    let hangs = one("hangs", || std::future::pending().boxed_local());
    let stage = Stage::of(vec![("a", hangs)]).await;
    let waits = Stage::of(vec![("a", never("x"))]).await;
    tokio::time::pause();
    for (stage, policy) in [
        (&stage, CheckPolicy::default()),
        (&waits, waiting(1800, fixed(SECOND * 600))),
    ] {
        let token = CancellationToken::new();
        let (run, _) = stage.run(policy);
        let began = tokio::time::Instant::now();
        let run = run.cancelled_by(token.clone()).run();
        let (outcome, ()) = tokio::join!(run, async {
            tokio::time::sleep(SECOND * 5).await;
            token.cancel();
        });
        assert_eq!(outcome.end, CheckRunEnd::Cancelled);
        assert_eq!(began.elapsed().as_secs(), 5);
    }
    // The connector was told to stop, and did.
    let child = stage.root.snapshot().find("root/a").unwrap().clone();
    assert_eq!(child.restarts, 0);
}

#[actix_rt::test]
async fn a_run_that_is_dropped_ends_its_checks() {
    let ended = Arc::new(AtomicUsize::new(0));
    struct Ends(Arc<AtomicUsize>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let end = ended.clone();
    let hangs = one("hangs", move || {
        let end = Ends(end.clone());
        async move {
            let _end = end;
            std::future::pending().await
        }
        .boxed_local()
    });
    let stage = Stage::of(vec![("a", hangs)]).await;
    let (run, _) = stage.run(CheckPolicy::default());
    let run = tokio::time::timeout(Duration::from_millis(20), run.run()).await;
    assert!(run.is_err());
    crate::troupe::eventually("dropped", || ended.load(Ordering::SeqCst) == 1).await;
}

#[actix_rt::test]
async fn a_run_can_be_a_child_of_a_supervisor() {
    let stage = Stage::of(vec![("a", passes("x"))]).await;
    let (run, _) = stage.run(CheckPolicy::default());
    let (spec, pending) = run.child("checks-1");
    let root = stage.root.reference();
    root.start_child(spec, SECOND * 5).await.unwrap();
    assert!(pending.outcome().await.unwrap().ready());
    crate::troupe::eventually("left the tree", || {
        stage.root.snapshot().find("root/checks-1").is_none()
    })
    .await;

    let hanging = Stage::of(vec![(
        "a",
        one("x", || std::future::pending().boxed_local()),
    )])
    .await;
    let (run, _) = hanging.run(CheckPolicy::default());
    let (spec, pending) = run.child("checks-2");
    let root = hanging.root.reference();
    root.start_child(spec, SECOND * 5).await.unwrap();
    let exit = root.stop_child("checks-2", SECOND * 5).await.unwrap();
    assert!(!exit.is_abnormal(), "{exit}");
    assert_eq!(pending.outcome().await.unwrap().end, CheckRunEnd::Cancelled);
}

#[actix_rt::test]
async fn a_thousand_checks_are_quick() {
    let many = declares(|checks| {
        checks.for_each("many", 0..500, |n| format!("check {n}"), async |_| true);
    });
    let stage = Stage::of(vec![("a", many.clone()), ("b", many)]).await;
    let log = Log::default();
    let told = log.clone();
    let run = CheckRun::new(stage.dispatcher.clone(), CheckPolicy::default()).unwrap();
    let run = run.report_to(move |r| told.lock().unwrap().push((0, r.to_string())));
    let began = std::time::Instant::now();
    let outcome = run.run().await;
    assert!(outcome.ready());
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    assert_eq!(log.lock().unwrap().len(), 1002);
}

#[actix_rt::test]
async fn the_event_is_there_by_its_name() {
    let stage = Stage::of(vec![("a", passes("x"))]).await;
    let args = serde_json::json!({"matching": {"name": ["x"]}, "halt_on": "common"});
    let outcome = stage
        .dispatcher
        .dispatch_named("check", args, Default::default());
    let outcome = outcome.await.unwrap();
    let value = outcome.results[0].value.as_ref().unwrap();
    assert_eq!(value[0]["success"], true);
}
