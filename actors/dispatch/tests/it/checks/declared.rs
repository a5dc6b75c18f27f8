//! Declaring, selecting and ordering the checks of one connector (`spec/events-and-checks.md` §6.3, §6.7 to §6.9).

use std::cell::{Cell, RefCell};

use serde_json::json;
use servo_dispatch::{Check, CheckEvent, CheckFailure, CheckFilter, CheckTarget, Checks, Patterns};
use servo_messages::{HaltOn, Severity};

use crate::troupe::SECOND;

const CRITICAL: HaltOn = HaltOn::At(Severity::Critical);

fn by_name(names: &[&str]) -> CheckFilter {
    CheckFilter {
        name: Some(Patterns::parse(names).unwrap()),
        ..CheckFilter::default()
    }
}

fn ids(results: &[Check]) -> Vec<&str> {
    results.iter().map(|c| c.id.as_str()).collect()
}

/// The names of the checks that ran, failures in capitals, and of those that were skipped in brackets.
fn told(results: &[Check]) -> String {
    let told = results.iter().map(|check| match check.success() {
        Some(true) => check.name.clone(),
        Some(false) => check.name.to_uppercase(),
        None => format!("({})", check.name),
    });
    told.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn ids_are_given_or_made_of_the_name() {
    let mut checks = Checks::new();
    checks.check("Test", async || ());
    checks.check("other", async || ()).id("check_other");
    let name = |item: &&str| format!("Check {item}");
    checks
        .for_each("each", ["a", "b"], name, async |_| ())
        .id("check_each");
    checks.for_each("again", ["five", "five", "five"], name, async |_| ());
    checks.check("Test", async || ());
    let results = checks.run_alone(&CheckEvent::default()).await.unwrap();
    let wanted = [
        "1bab7e8d",
        "check_other",
        "check_each_item_0",
        "check_each_item_1",
        "b3f49d29",
        "b3f49d29-2",
        "b3f49d29-3",
        "1bab7e8d-2",
    ];
    assert_eq!(ids(&results), wanted);
}

#[tokio::test]
async fn wrong_declarations_are_told() {
    async fn error(declare: impl FnOnce(&mut Checks<'_>)) -> String {
        let mut checks = Checks::new();
        declare(&mut checks);
        let error = checks.run_alone(&CheckEvent::default()).await.unwrap_err();
        error.to_string()
    }
    let twice = error(|checks| {
        checks.check("a", async || ()).id("x");
        checks.check("b", async || ()).id("x");
    });
    let wanted = "the check \"b\" is declared wrongly: another check has the id 'x', too";
    assert_eq!(twice.await, wanted);
    let id = error(|checks| {
        checks.check("a", async || ()).id("not one");
    });
    assert!(id.await.contains("invalid check id \"not one\""));
    let tag = error(|checks| {
        checks.check("a", async || ()).tags(["UP"]);
    });
    assert!(tag.await.contains("invalid tag \"UP\": a tag has 1 to 32"));
}

/// The checks of the table in `spec/events-and-checks.md` §6.8.
fn six<'a>() -> Checks<'a> {
    let mut checks = Checks::new();
    checks.require("r1", async || true);
    checks.check("n1", async || true);
    checks.check("n2", async || false);
    checks.require("r2", async || false);
    checks.require("r3", async || true);
    checks.check("n3", async || true);
    checks
}

#[tokio::test]
async fn critical_checks_before_a_selected_one_run_as_well() {
    let all = CheckFilter::default;
    for (filter, halt_on, wanted) in [
        (all(), CRITICAL, "r1 n1 N2 R2 (r3) (n3)"),
        (all(), HaltOn::Never, "r1 n1 N2 R2 r3 n3"),
        (by_name(&["n1"]), CRITICAL, "r1 n1"),
        (by_name(&["n2"]), HaltOn::Never, "r1 N2"),
        (by_name(&["n3"]), CRITICAL, "r1 R2 (r3) (n3)"),
        (by_name(&["n3"]), HaltOn::Never, "r1 R2 r3 n3"),
        (by_name(&["n1", "n3"]), CRITICAL, "r1 n1 R2 (r3) (n3)"),
        (by_name(&["nobody"]), CRITICAL, ""),
    ] {
        let event = CheckEvent::new(filter, halt_on);
        let results = six().run_alone(&event).await.unwrap();
        assert_eq!(told(&results), wanted, "{event:?}");
    }
    for (names, wanted) in [
        (&["n3"][..], "n3"),
        (&["n1", "n3"], "n1 n3"),
        (&["/^n[13]$/"], "n1 n3"),
    ] {
        let filter = CheckFilter {
            exclusive: true,
            ..by_name(names)
        };
        let event = CheckEvent::new(filter, CRITICAL);
        let results = six().run_alone(&event).await.unwrap();
        assert_eq!(told(&results), wanted);
    }
}

#[tokio::test]
async fn a_failure_of_the_level_ends_the_rest() {
    for (halt_on, wanted) in [
        (HaltOn::At(Severity::Warning), "W (c) (r) (e)"),
        (HaltOn::At(Severity::Common), "W C (r) (e)"),
        (CRITICAL, "W C R (e)"),
        (HaltOn::Never, "W C R e"),
    ] {
        let mut checks = Checks::new();
        checks.warn("w", async || false);
        checks.check("c", async || false);
        checks.require("r", async || false);
        checks.check("e", async || true);
        let event = CheckEvent::new(CheckFilter::default(), halt_on);
        assert_eq!(told(&checks.run_alone(&event).await.unwrap()), wanted);
    }
}

#[tokio::test]
async fn state_flows_from_one_check_to_the_next() {
    let report = RefCell::new(None);
    let runs = Cell::new(0);
    let mut checks = Checks::new();
    checks.require("attack", async || {
        tokio::task::yield_now().await;
        runs.set(runs.get() + 1);
        *report.borrow_mut() = Some(7);
    });
    checks.check("rates", async || {
        let seen = *report.borrow();
        (seen == Some(7), format!("{seen:?}"))
    });
    let results = checks.run_alone(&CheckEvent::default()).await.unwrap();
    assert_eq!(results[1].message(), Some("Some(7)"));
    assert_eq!(runs.get(), 1);
}

/// A check, a group that has to be found, a check.
fn with_group<'a>(found: bool, searches: &'a Cell<u32>) -> Checks<'a> {
    let mut parent = Checks::new();
    parent
        .for_each_found(
            "Queries",
            async move || {
                searches.set(searches.get() + 1);
                if found {
                    Ok([r#"rate(x{a="b"}[1m])"#, "up{{x}}"])
                } else {
                    Err(CheckFailure::new("no list"))
                }
            },
            |query| (*query).to_owned(),
            async |query| query.len() > 7,
        )
        .id("check_queries")
        .tags(["queries"]);
    let mut checks = Checks::new();
    checks.check("before", async || true);
    checks.include(parent);
    checks.check("after", async || true);
    checks
}

#[tokio::test]
async fn a_group_runs_where_it_is_declared_and_shows_its_items_verbatim() {
    let searches = Cell::new(0);
    let all = CheckEvent::default();
    let results = with_group(true, &searches).run_alone(&all).await.unwrap();
    assert_eq!(told(&results), r#"before rate(x{a="b"}[1m]) UP{{X}} after"#);
    assert_eq!(results[1].id.as_str(), "check_queries_item_0");
    let event = CheckEvent::new(by_name(&["up{{x}}"]), CRITICAL);
    let results = with_group(true, &searches).run_alone(&event).await.unwrap();
    assert_eq!(told(&results), "UP{{X}}");
}

#[tokio::test]
async fn a_group_that_cannot_be_found_is_one_failed_check() {
    let searches = Cell::new(0);
    let all = CheckEvent::default();
    let results = with_group(false, &searches).run_alone(&all).await.unwrap();
    assert_eq!(told(&results), "before QUERIES after");
    assert_eq!(results[1].id.as_str(), "check_queries");
    assert_eq!(results[1].message(), Some("no list"));
}

#[tokio::test]
async fn a_group_that_no_filter_can_want_is_not_looked_for() {
    for (filter, times) in [
        (
            CheckFilter::parse(None, Some(&["other".to_owned()]), None),
            0,
        ),
        (
            CheckFilter::parse(None, None, Some(&["fast".to_owned()])),
            0,
        ),
        (
            CheckFilter::parse(None, None, Some(&["queries".to_owned()])),
            1,
        ),
        (
            CheckFilter::parse(None, Some(&["/item_1/".to_owned()]), None),
            1,
        ),
        (
            CheckFilter::parse(Some(&["before".to_owned()]), None, None),
            1,
        ),
    ] {
        let searches = Cell::new(0);
        let event = CheckEvent::new(filter.unwrap(), CRITICAL);
        with_group(true, &searches).run_alone(&event).await.unwrap();
        assert_eq!(searches.get(), times, "{event:?}");
    }
    let searches = Cell::new(0);
    let mut halted = Checks::new();
    halted.require("first", async || false);
    halted.include(with_group(true, &searches));
    let results = halted.run_alone(&CheckEvent::default()).await.unwrap();
    assert_eq!(told(&results), "FIRST (before) (Queries) (after)");
    assert_eq!(searches.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn looking_for_a_group_has_the_deadline_of_a_check() {
    let mut checks = Checks::new();
    let never = async || std::future::pending::<Result<Vec<u8>, CheckFailure>>().await;
    checks
        .for_each_found("Pods", never, |_| String::new(), async |_| ())
        .within(SECOND * 3);
    checks.check("after", async || true);
    let results = checks.run_alone(&CheckEvent::default()).await.unwrap();
    assert_eq!(told(&results), "PODS after");
    assert_eq!(results[0].message(), Some("timed out after 3s"));
}

#[tokio::test]
async fn one_alone() {
    let one = async |target: &CheckTarget, alone| six().run_one(target, CRITICAL, alone).await;
    let name = |name: &str| CheckTarget::Name(name.to_owned());
    let id = |id: &str| CheckTarget::Id(id.to_owned());
    assert!(one(&name("n1"), false).await.unwrap().passed());
    assert_eq!(
        one(&name("n2"), false).await.unwrap().success(),
        Some(false)
    );
    assert!(one(&name("n3"), true).await.unwrap().passed());
    let none = one(&id("zz"), false).await.unwrap_err().to_string();
    assert_eq!(none, "failed running check: no check found with id = 'zz'");
    let blocked = one(&name("n3"), false).await.unwrap_err().to_string();
    let r2 = servo_dispatch::CheckId::generated("r2");
    let wanted = format!(
        "failed running check: check name 'n3' was not run due to a prerequisite failure: \
         check id '{r2}' failed: \"check failed\""
    );
    assert_eq!(blocked, wanted);
    let n3 = servo_dispatch::CheckId::generated("n3");
    let blocked = one(&id(n3.as_str()), false).await.unwrap_err().to_string();
    let wanted = format!(
        "failed running check: check id '{n3}' was not run due to a prerequisite failure: \
         check id '{r2}' failed: \"check failed\""
    );
    assert_eq!(blocked, wanted);
    let by_id = servo_dispatch::CheckId::generated("n1");
    assert_eq!(one(&id(by_id.as_str()), false).await.unwrap().name, "n1");
}

#[test]
fn one_needs_a_name_or_an_id() {
    let error = |id, name| CheckTarget::of_arguments(id, name).unwrap_err().to_string();
    let (a, b, three) = (json!("a"), json!("b"), json!(3));
    for (told, wanted) in [
        (
            error(None, None),
            "unable to run check: an id or name must be given (both are None)",
        ),
        (
            error(Some(&a), Some(&b)),
            "unable to run check: id and name cannot both be given (id='a', name='b')",
        ),
        (
            error(Some(&three), None),
            "unable to run check: id must be a string (got 3)",
        ),
    ] {
        assert_eq!(told, wanted);
    }
    let target = CheckTarget::of_arguments(None, Some(&b)).unwrap();
    assert_eq!(target, CheckTarget::Name("b".to_owned()));
}

#[tokio::test]
async fn a_thousand_of_equal_names_are_no_burden() {
    let mut checks = Checks::new();
    checks.for_each("many", 0..1000, |_| "same".to_owned(), async |_| ());
    checks.for_each("more", 0..1000, |n| format!("check {n}"), async |_| ());
    let began = std::time::Instant::now();
    let results = checks.run_alone(&CheckEvent::default()).await.unwrap();
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    let mut ids: Vec<_> = results.iter().map(|c| c.id.clone()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 2000);
}
