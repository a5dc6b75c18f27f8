//! From one configuration to the next, and back.

use servo_connector_process::component::{Component, ValueError};
use servo_connector_process::keeper::Keeper;
use servo_connector_process::tuner::{AdjustError, Restored, StartError};
use servo_messages::SettingValue;
use tokio_util::sync::CancellationToken;

use crate::world::{Mark, component, eventually, keeper, kill, within};

const SETTINGS: &str = r#"
    settings:
      - {name: workers, min: 1, max: 8, step: 1, value: 1}
      - {name: level, values: [fast, best, 9], value: fast}
      - {name: fixed, min: 1, max: 8, step: 1, value: 3, pinned: true}
"#;

fn never() -> CancellationToken {
    CancellationToken::new()
}

fn apply(
    component: &Component,
    changes: &[(&str, SettingValue)],
) -> Result<Vec<String>, Vec<ValueError>> {
    let changes = changes.iter().map(|(name, value)| (*name, value));
    let values = component.apply(&component.baseline(), changes)?;
    Ok(component
        .summary(&values)
        .split(", ")
        .map(ToOwned::to_owned)
        .collect())
}

fn errors(component: &Component, changes: &[(&str, SettingValue)]) -> String {
    let errors = apply(component, changes).unwrap_err();
    errors.iter().map(|error| format!("{error}\n")).collect()
}

#[test]
fn values_are_taken_in_the_form_of_their_setting() {
    let component = component(&format!("components:\n  web:\n    command: [x]{SETTINGS}"));
    let taken = apply(
        &component,
        &[
            ("workers", 4.0.into()),
            ("level", "9".into()),
            ("fixed", 3.into()),
        ],
    );
    assert_eq!(taken.unwrap(), ["workers=4", "level=9", "fixed=3"]);
}

#[test]
fn values_that_cannot_be_had_are_all_named() {
    let component = component(&format!("components:\n  web:\n    command: [x]{SETTINGS}"));
    let text = errors(
        &component,
        &[
            ("wokers", 4.into()),
            ("workers", 9.into()),
            ("level", "slow".into()),
            ("fixed", 4.into()),
        ],
    );
    for part in [
        "component `web` has no setting `wokers`: did you mean `workers`?",
        "setting 'workers': invalid value: 9 is outside of the range 1-8",
        "setting 'level': invalid value: 'slow' is not in the values list",
        "setting 'fixed': value of pinned settings cannot be changed",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(errors(&component, &[("workers", 2.5.into())]).contains("2.5"));
    assert!(errors(&component, &[("workers", "many".into())]).contains("is not a number"));
}

async fn adjust(
    keeper: &Keeper,
    workers: i64,
    cancel: &CancellationToken,
) -> Result<(), AdjustError> {
    let value = SettingValue::from(workers);
    let current = keeper.standing().values;
    let wanted = keeper
        .component()
        .apply(&current, [("workers", &value)])
        .unwrap();
    within(keeper.adjust(wanted, cancel)).await.unwrap()
}

fn summary(keeper: &Keeper) -> String {
    keeper.component().summary(&keeper.standing().values)
}

fn pid(keeper: &Keeper) -> i32 {
    keeper.standing().pulse.expect("a living process").pid
}

#[tokio::test]
async fn a_change_restarts_the_process_and_no_change_does_not() {
    let keeper = keeper(
        r#"
components:
  web:
    command: [sh, -c, "echo workers $WORKERS; exec sleep 1000"]
    settings: [{name: workers, min: 1, max: 8, step: 1, value: 1}]
    ready: {log: workers}
"#,
    );
    within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    let first = pid(&keeper);
    adjust(&keeper, 1, &never()).await.unwrap();
    assert_eq!(pid(&keeper), first);
    adjust(&keeper, 5, &never()).await.unwrap();
    assert_ne!(pid(&keeper), first);
    assert_eq!(keeper.standing().pulse.unwrap().last_lines(), ["workers 5"]);
    assert_eq!(summary(&keeper), "workers=5");
}

/// Works with one and two workers, ends with status 7 with three, and never gets ready with more.
fn picky(mark: &Mark) -> Keeper {
    keeper(&format!(
        r#"
components:
  web:
    command: [sh, -c, 'if [ $WORKERS = 3 ]; then echo three is too many; exit 7; fi; if [ $WORKERS -lt 3 ]; then echo up; fi; exec sleep 1000']
    env: {{MARK: {}}}
    settings: [{{name: workers, min: 1, max: 8, step: 1, value: 1}}]
    ready: {{log: up, timeout: 60s}}
    restart: {{backoff: 10ms}}
"#,
        mark.text()
    ))
}

#[tokio::test]
async fn a_configuration_that_does_not_start_is_undone() {
    let mark = Mark::new();
    let keeper = picky(&mark);
    adjust(&keeper, 2, &never()).await.unwrap();
    let error = adjust(&keeper, 3, &never()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("did not start with workers=3"), "{text}");
    assert!(
        text.contains("exit status 7") && text.contains("three is too many"),
        "{text}"
    );
    assert!(text.contains("it runs again with workers=2"), "{text}");
    assert_eq!(summary(&keeper), "workers=2");
    pid(&keeper);
    mark.count(1).await;
}

#[tokio::test]
async fn a_configuration_that_cannot_be_undone_says_both() {
    let directory = tempfile::tempdir().unwrap();
    let works = directory.path().join("works");
    std::fs::write(&works, "").unwrap();
    let keeper = keeper(&format!(
        r#"
components:
  web:
    command: [sh, -c, "if [ -e {works} ]; then echo up; exec sleep 1000; fi; echo broken with $WORKERS; exit 4"]
    settings: [{{name: workers, min: 1, max: 8, step: 1, value: 1}}]
    ready: {{log: up}}
"#,
        works = works.display()
    ));
    within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    std::fs::remove_file(&works).unwrap();
    let error = adjust(&keeper, 2, &never()).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("broken with 2") && text.contains("broken with 1"),
        "{text}"
    );
    assert!(
        text.contains("with the last good values (workers=1) it did not start either"),
        "{text}"
    );
    assert!(keeper.standing().pulse.is_none());

    // The next command tries again.
    std::fs::write(&works, "").unwrap();
    within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(summary(&keeper), "workers=1");
}

#[tokio::test]
async fn a_cancelled_adjustment_leaves_the_last_good_values_running() {
    let mark = Mark::new();
    let keeper = picky(&mark);
    within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    let first = pid(&keeper);
    let cancel = CancellationToken::new();
    let replaced = eventually("the process with five workers", || {
        let living = mark.living();
        !living.is_empty() && !living.contains(&first)
    });
    let cancelled = async {
        replaced.await;
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(adjust(&keeper, 5, &cancel), cancelled);
    let error = outcome.unwrap_err();
    assert!(
        matches!(&error, AdjustError::Start { cause, restored: Restored::Running(_), .. }
            if matches!(**cause, StartError::Cancelled { .. })),
        "{error:?}"
    );
    assert_eq!(summary(&keeper), "workers=1");
    pid(&keeper);
    mark.count(1).await;

    // A token that has fired already touches nothing.
    let second = pid(&keeper);
    let error = adjust(&keeper, 2, &cancel).await.unwrap_err();
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    assert_eq!(pid(&keeper), second);
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_leave_a_mess() {
    let mark = Mark::new();
    let keeper = picky(&mark);
    within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    let first = pid(&keeper);
    {
        let cancel = never();
        let adjusting = adjust(&keeper, 2, &cancel);
        let replaced = eventually("the old process to end", || !mark.living().contains(&first));
        tokio::select! {
            // First, so that it has been asked for: a process that is just executing its program has no environment to be seen
            // by, and counts as ended.
            biased;
            _ = adjusting => {}
            () = replaced => {}
        }
    }
    eventually("the adjustment", || {
        summary(&keeper) == "workers=2" && keeper.standing().pulse.is_some()
    })
    .await;
    mark.count(1).await;
}

#[tokio::test]
async fn a_process_that_ends_by_itself_is_started_again_with_its_values() {
    let mark = Mark::new();
    let keeper = picky(&mark);
    adjust(&keeper, 2, &never()).await.unwrap();
    let pulse = keeper.standing().pulse.unwrap();
    kill(pulse.pid);
    let exit = within(pulse.ended()).await;
    assert!(exit.to_string().starts_with("killed by SIGKILL"), "{exit}");
    eventually("a new process", || {
        keeper
            .standing()
            .pulse
            .is_some_and(|new| new.pid != pulse.pid)
    })
    .await;
    assert_eq!(summary(&keeper), "workers=2");
}

#[tokio::test]
async fn a_process_that_keeps_ending_is_given_up_until_the_next_command() {
    let directory = tempfile::tempdir().unwrap();
    let starts = directory.path().join("starts");
    let keeper = keeper(&format!(
        r#"
components:
  web:
    command: [sh, -c, "echo x >> {starts}; if [ $(wc -l < {starts}) -gt 1 ]; then exit 5; fi; echo up; exec sleep 1000"]
    ready: {{log: up}}
    restart: {{backoff: 5ms, attempts: 3}}
"#,
        starts = starts.display()
    ));
    let pulse = within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    kill(pulse.pid);
    let count = || std::fs::read_to_string(&starts).unwrap().lines().count();
    eventually("three restarts", || count() == 4).await;
    let error = within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("exit status 5"), "{error}");
    assert_eq!(count(), 5);
}

#[tokio::test]
async fn a_cancelled_wait_for_an_occupied_address_is_cancelled() {
    let stranger = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keeper = keeper(&format!(
        "components: {{web: {{command: [sleep, 1000], ready: {{tcp: '{}'}}, stop: {{grace: 1h}}}}}}",
        stranger.local_addr().unwrap()
    ));
    let cancel = CancellationToken::new();
    let looked = async {
        stranger.accept().await.unwrap();
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(within(keeper.ensure_running(&cancel)), looked);
    assert!(matches!(
        outcome.unwrap().unwrap_err(),
        StartError::Cancelled { .. }
    ));
}
