//! What the code of a check returns, and what comes of it (`spec/events-and-checks.md` §6.4).

use std::{fmt, time::Duration};

use servo_dispatch::{
    BoxError, Check, CheckEvent, CheckFailure, CheckResult, Checks, IntoOutcome, Remedy, ensure,
};
use servo_messages::{EventError, Severity};

/// An error that says nothing but what it is.
#[derive(Debug)]
struct Mute;

impl fmt::Display for Mute {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl std::error::Error for Mute {}

async fn only<O: IntoOutcome>(code: impl AsyncFnOnce() -> O) -> Check {
    let mut checks = Checks::new();
    checks.check("the check", code);
    let mut results = checks.run_alone(&CheckEvent::default()).await.unwrap();
    assert_eq!(results.len(), 1);
    results.remove(0)
}

fn told(check: &Check) -> (Option<bool>, Option<&str>) {
    (check.success(), check.message())
}

#[tokio::test]
async fn values() {
    assert_eq!(told(&only(async || {}).await), (Some(true), None));
    assert_eq!(told(&only(async || true).await), (Some(true), None));
    assert_eq!(told(&only(async || false).await), (Some(false), None));
    assert_eq!(
        told(&only(async || "fine").await),
        (Some(true), Some("fine"))
    );
    assert_eq!(
        told(&only(async || String::new()).await),
        (Some(true), Some(""))
    );
    let both = only(async || (false, "2 of 3")).await;
    assert_eq!(told(&both), (Some(false), Some("2 of 3")));
    let both = only(async || (true, "3 of 3".to_owned())).await;
    assert_eq!(told(&both), (Some(true), Some("3 of 3")));
    assert_eq!(told(&only(async || None::<bool>).await), (Some(true), None));
    assert_eq!(told(&only(async || Some(false)).await), (Some(false), None));
    let nested = only(async || Ok::<_, Mute>(Some("x"))).await;
    assert_eq!(told(&nested), (Some(true), Some("x")));
}

#[tokio::test]
async fn errors_are_told_with_their_kind() {
    let number = only(async || "x".parse::<u8>().map(|_| ())).await;
    let message = "caught exception (ParseIntError): invalid digit found in string";
    assert_eq!(told(&number), (Some(false), Some(message)));
    assert_eq!(
        number.exception(),
        Some("ParseIntError { kind: InvalidDigit }")
    );
    let mute = only(async || Err::<(), _>(Mute)).await;
    assert_eq!(mute.message(), Some("caught exception (Mute): Mute"));
    let declared = only(async || Err::<(), _>(EventError::timed_out("too slow"))).await;
    assert_eq!(
        declared.message(),
        Some("caught exception (TimedOut): too slow")
    );
    let boxed: BoxError = "no type".into();
    let boxed = only(async || Err::<(), _>(CheckFailure::of_boxed(boxed))).await;
    assert_eq!(boxed.message(), Some("caught exception (error): no type"));
}

#[tokio::test]
async fn failures_say_what_to_do() {
    let remedy = Remedy::new(|| async { Ok::<_, Mute>(()) });
    let check = only(async || {
        Err::<(), _>(
            CheckFailure::new("no route")
                .hint("plug it in")
                .remedy(remedy),
        )
    })
    .await;
    assert_eq!(told(&check), (Some(false), Some("no route")));
    assert_eq!(check.hint(), Some("plug it in"));
    assert!(check.remedy().is_some());
    assert_eq!(check.exception(), None);
}

#[tokio::test]
async fn assertions_keep_their_text_however_empty() {
    let held = only(async || ensure(true, "unused")).await;
    assert_eq!(told(&held), (Some(true), None));
    let text = only(async || ensure(false, "2 < 3")).await;
    assert_eq!(told(&text), (Some(false), Some("2 < 3")));
    assert_eq!(text.exception(), Some("assertion failed: \"2 < 3\""));
    let empty = only(async || ensure(false, "")).await;
    assert_eq!(told(&empty), (Some(false), Some("")));
    assert!(empty.exception().is_some());
}

#[tokio::test(start_paused = true)]
async fn neither_panics_nor_hangs_do_harm_to_the_others() {
    let second = Duration::from_secs(1);
    let mut checks = Checks::new();
    checks.check("panics", async || -> bool { panic!("lost {}", "it") });
    checks.check("hangs", async || std::future::pending::<()>().await);
    let hangs = async || std::future::pending::<()>().await;
    checks
        .check("hangs within its own limit", hangs)
        .within(second * 5);
    checks.check("comes in time", async || {
        tokio::time::sleep(second * 119).await
    });
    checks.check("is fine", async || "fine");
    let began = tokio::time::Instant::now();
    let results = checks.run_alone(&CheckEvent::default()).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 120 + 5 + 119);
    let all: Vec<_> = results.iter().map(told).collect();
    assert_eq!(
        all,
        [
            (Some(false), Some("panicked: lost it")),
            (Some(false), Some("timed out after 2m")),
            (Some(false), Some("timed out after 5s")),
            (Some(true), None),
            (Some(true), Some("fine")),
        ]
    );
    assert_eq!(results[1].runtime(), Some(second * 120));
}

#[tokio::test]
async fn one_that_keeps_its_thread_busy_past_its_limit_has_failed() {
    let limit = Duration::from_millis(5);
    let mut checks = Checks::new();
    let busy = async || std::thread::sleep(limit * 2);
    checks.check("busy", busy).within(limit);
    let results = checks.run_alone(&CheckEvent::default()).await.unwrap();
    assert_eq!(
        told(&results[0]),
        (Some(false), Some("timed out after 5ms"))
    );
}

#[tokio::test]
async fn a_check_is_written_as_json_in_the_order_of_the_spec() {
    let mut checks = Checks::new();
    checks
        .require("first", async || (false, "no"))
        .describe("more")
        .tags(["z", "a"])
        .remedy(Remedy::new(|| async { Ok::<_, Mute>(()) }));
    checks.warn("second", async || ()).id("second-id");
    let results = checks.run_alone(&CheckEvent::default()).await.unwrap();
    let value = serde_json::to_value(&results[0]).unwrap();
    let keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
    let wanted = "name id description severity tags success message hint remedy exception created_at run_at runtime";
    assert_eq!(keys.join(" "), wanted);
    assert_eq!(value["severity"], "critical");
    assert_eq!(value["tags"], serde_json::json!(["a", "z"]));
    assert_eq!(value["remedy"], true);
    assert!(value["runtime"].is_f64());
    assert!(value["run_at"].as_str().unwrap().ends_with('Z'));
    let skipped = serde_json::to_value(&results[1]).unwrap();
    assert_eq!(skipped["skipped"], true);
    assert_eq!(skipped["success"], serde_json::Value::Null);
    assert_eq!(skipped["blocked_by"], results[0].id.as_str());
    assert!(matches!(results[1].result, CheckResult::Skipped { .. }));
}

#[tokio::test]
async fn what_counts_as_passed() {
    for (severity, success, passed, failed, warned) in [
        (Severity::Warning, true, true, false, false),
        (Severity::Warning, false, true, false, true),
        (Severity::Common, false, false, true, false),
        (Severity::Critical, false, false, true, false),
        (Severity::Critical, true, true, false, false),
    ] {
        let mut checks = Checks::new();
        checks.check("x", async || success).severity(severity);
        let results = checks.run_alone(&CheckEvent::default()).await.unwrap();
        let check = &results[0];
        let told = (check.passed(), check.failed(), check.warned());
        assert_eq!(told, (passed, failed, warned), "{severity} {success}");
    }
}
