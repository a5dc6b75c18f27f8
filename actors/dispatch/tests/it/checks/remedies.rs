//! What Servo does about failed checks (`spec/events-and-checks.md` §6.14).

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::FutureExt;
use servo_dispatch::{BoxError, CheckPolicy, CheckRunEnd, Remedy};
use servo_messages::CheckDelay;

use super::stage::{Script, Stage, declares};
use crate::troupe::SECOND;

/// Checks that fail, with a remedy each.
fn with(remedies: Vec<(&'static str, Remedy)>) -> Script {
    declares(move |checks| {
        for (name, remedy) in remedies.clone() {
            checks.check(name, async || false).remedy(remedy);
        }
    })
}

fn counting(count: &Arc<AtomicUsize>) -> Remedy {
    let count = count.clone();
    Remedy::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, BoxError>(()) }
    })
}

fn hanging() -> Remedy {
    Remedy::new(std::future::pending::<Result<(), BoxError>>)
}

fn three_passes() -> CheckPolicy {
    CheckPolicy {
        wait: SECOND * 2,
        delay: CheckDelay::Fixed(SECOND.into()),
        ..CheckPolicy::default()
    }
}

#[actix_rt::test]
async fn once_for_each_pass_that_failed_and_only_if_wanted() {
    let count = Arc::<AtomicUsize>::default();
    let stage = Stage::of(vec![("a", with(vec![("x", counting(&count))]))]).await;
    tokio::time::pause();
    let (outcome, log) = stage.ran(three_passes()).await;
    assert_eq!((outcome.passes, count.load(Ordering::SeqCst)), (3, 3));
    let x = log.iter().position(|(_, l)| l.starts_with("❌")).unwrap();
    assert_eq!(log[x + 1].1, "💡 Attempting to apply remedy...");
    let without = CheckPolicy {
        remedy: false,
        ..three_passes()
    };
    let (_, log) = stage.ran(without).await;
    assert_eq!(count.load(Ordering::SeqCst), 3);
    assert!(!log.iter().any(|(_, l)| l.contains("remedy")));
}

#[actix_rt::test]
async fn a_remedy_that_works_lets_the_next_pass_succeed() {
    let fixed = Arc::<AtomicUsize>::default();
    let now = fixed.clone();
    let check = declares(move |checks| {
        let (now, remedy) = (now.clone(), counting(&now));
        checks
            .check("x", async move || now.load(Ordering::SeqCst) > 0)
            .remedy(remedy);
    });
    let stage = Stage::of(vec![("a", check)]).await;
    tokio::time::pause();
    let (outcome, _) = stage.ran(three_passes()).await;
    assert!(outcome.ready());
    assert_eq!((outcome.passes, fixed.load(Ordering::SeqCst)), (2, 1));
}

#[actix_rt::test]
async fn one_that_hangs_is_given_up() {
    let own_limit = hanging().within(SECOND * 3);
    let stage = Stage::of(vec![("a", with(vec![("x", hanging()), ("y", own_limit)]))]).await;
    tokio::time::pause();
    let (outcome, log) = stage.ran(CheckPolicy::default()).await;
    assert_eq!(outcome.end, CheckRunEnd::Failed);
    let told: Vec<_> = log
        .iter()
        .filter(|(_, l)| l.contains("timed out"))
        .collect();
    let wanted = [
        (3, "💡 Remedy attempt timed out after 3s".to_owned()),
        (10, "💡 Remedy attempt timed out after 10s".to_owned()),
    ];
    assert_eq!(told, wanted.iter().collect::<Vec<_>>());
}

#[actix_rt::test]
async fn one_that_fails_or_panics_is_told_and_no_more() {
    let failing = Remedy::new(|| async { Err::<(), BoxError>("no rights".into()) });
    let panicking = Remedy::new(|| async { panic!("lost") as Result<(), BoxError> });
    fn at_once() -> futures_util::future::LocalBoxFuture<'static, Result<(), BoxError>> {
        panic!("lost at once")
    }
    let count = Arc::<AtomicUsize>::default();
    let stage = Stage::of(vec![(
        "a",
        with(vec![
            ("x", failing),
            ("y", panicking),
            ("z", Remedy::new(at_once)),
            ("last", counting(&count)),
        ]),
    )])
    .await;
    let (outcome, log) = stage.ran(CheckPolicy::default()).await;
    assert_eq!(outcome.end, CheckRunEnd::Failed);
    let told = |text: &str| log.iter().any(|(_, l)| l == text);
    assert!(told("💡 Remedy for 'x' failed: no rights"));
    assert!(told("💡 Remedy for 'y' failed: panicked: lost"));
    assert!(told("💡 Remedy for 'z' failed: panicked: lost at once"));
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[actix_rt::test]
async fn those_of_several_checks_overlap_in_time() {
    let happened = Arc::<Mutex<Vec<String>>>::default();
    let slow = |name: &'static str| {
        let happened = happened.clone();
        Remedy::new(move || {
            let happened = happened.clone();
            async move {
                happened.lock().unwrap().push(format!("{name} begins"));
                tokio::time::sleep(SECOND).await;
                happened.lock().unwrap().push(format!("{name} ends"));
                Ok::<_, BoxError>(())
            }
            .boxed_local()
        })
    };
    let a = with(vec![("x", slow("x"))]);
    let stage = Stage::of(vec![("a", a), ("b", with(vec![("y", slow("y"))]))]).await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    stage.ran(CheckPolicy::default()).await;
    assert_eq!(began.elapsed().as_secs(), 1);
    let happened = happened.lock().unwrap().clone();
    assert!(
        happened[..2].iter().all(|h| h.ends_with("begins")),
        "{happened:?}"
    );
}

#[actix_rt::test]
async fn with_check_halting_only_the_first_failure_counts() {
    let (first, second) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let a = with(vec![("x", counting(&first)), ("y", counting(&second))]);
    let b = with(vec![("z", counting(&second))]);
    let stage = Stage::of(vec![("a", a), ("b", b)]).await;
    tokio::time::pause();
    let policy = CheckPolicy {
        check_halting: true,
        ..three_passes()
    };
    let (_, log) = stage.ran(policy).await;
    let told: Vec<_> = log.iter().filter(|(_, l)| l.starts_with('❌')).collect();
    assert_eq!(told.len(), 3);
    assert!(
        told.iter()
            .all(|(_, l)| l.starts_with("❌ Check 'x' failed (0 passed)"))
    );
    let counts = (first.load(Ordering::SeqCst), second.load(Ordering::SeqCst));
    assert_eq!(counts, (3, 0));
}

#[actix_rt::test]
async fn a_cancelled_run_leaves_no_remedy_at_work() {
    let stage = Stage::of(vec![("a", with(vec![("x", hanging())]))]).await;
    tokio::time::pause();
    let token = tokio_util::sync::CancellationToken::new();
    let (run, _) = stage.run(CheckPolicy::default());
    let began = tokio::time::Instant::now();
    let (outcome, ()) = tokio::join!(run.cancelled_by(token.clone()).run(), async {
        tokio::time::sleep(SECOND).await;
        token.cancel();
    });
    assert_eq!(outcome.end, CheckRunEnd::Cancelled);
    assert_eq!(began.elapsed().as_secs(), 1);
}
