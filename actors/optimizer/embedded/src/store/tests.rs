#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use super::*;
use crate::application::{Application, Assigned, Assignment};

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn settings(cpu: i64) -> Assignment {
    [Assigned {
        component: "web".into(),
        setting: "cpu".into(),
        value: cpu.into(),
    }]
    .into_iter()
    .collect()
}

fn study(store: &mut Store, fingerprint: &str) -> StudyRecord {
    let new = NewStudy {
        optimizer: "local/app",
        fingerprint,
        objective: Some("minimize p99"),
        constraints: &["p99 <= 3".to_owned()],
        application: &Application::default(),
        baseline: &settings(2),
    };
    store.activate_study(&new, now()).unwrap()
}

fn new_trial(cpu: i64) -> NewTrial {
    NewTrial {
        purpose: Purpose::Improve,
        settings: settings(cpu),
        p_feasible: Some(0.75),
    }
}

/// Every step survives that the process is killed right after it: nothing closes the file properly.
#[test]
fn every_step_is_there_after_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trials.db");
    let kill = |store: Store| {
        std::mem::forget(store);
        Store::open(&path).unwrap()
    };

    let mut store = Store::open(&path).unwrap();
    let study = study(&mut store, "one");
    store = kill(store);
    assert_eq!(
        store.latest_study("local/app").unwrap(),
        Some(study.clone())
    );

    let trial = store.add_trial(study.id, &new_trial(4), now()).unwrap();
    assert_eq!((trial.number, trial.state), (1, TrialState::Pending));
    store = kill(store);
    assert_eq!(
        store.trials(study.id).unwrap(),
        std::slice::from_ref(&trial)
    );

    let issued = Issued {
        step: Step::Measure,
        cmd_uid: "u-7".into(),
    };
    store.issue(trial.id, &issued, now()).unwrap();
    store = kill(store);
    assert_eq!(store.trials(study.id).unwrap()[0].issued, Some(issued));

    store
        .record_attempt(trial.id, TrialState::Suspect, 1, "connection refused")
        .unwrap();
    store = kill(store);
    let found = store.trials(study.id).unwrap().remove(0);
    assert_eq!(
        (found.attempts, found.state, found.issued),
        (1, TrialState::Suspect, None)
    );

    let finding = Finding {
        metrics: BTreeMap::from([("p99".to_owned(), 2.5)]),
        objective: Some(2.5),
        violated: vec!["p99 <= 3".into()],
        message: Some("well".into()),
    };
    let finished = store
        .finish_trial(trial.id, TrialState::Infeasible, &finding, now())
        .unwrap();
    store = kill(store);
    let found = store.trials(study.id).unwrap().remove(0);
    assert_eq!(found, finished);
    assert_eq!(
        (found.metrics["p99"], found.objective, found.finished_at),
        (2.5, Some(2.5), Some(now()))
    );

    store
        .set_result(study.id, Some(&serde_json::json!({"verdict": 1})), now())
        .unwrap();
    store = kill(store);
    assert_eq!(
        store.study(study.id).unwrap().unwrap().ended_at,
        Some(now())
    );
    store.set_result(study.id, None, now()).unwrap();
    assert_eq!(store.study(study.id).unwrap().unwrap().ended_at, None);
}

#[test]
fn a_study_has_one_pending_trial() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&directory.path().join("t.db")).unwrap();
    let study = study(&mut store, "one");
    let first = store.add_trial(study.id, &new_trial(4), now()).unwrap();
    let error = store.add_trial(study.id, &new_trial(5), now()).unwrap_err();
    assert!(matches!(error, StoreError::Contended { .. }), "{error}");
    store
        .finish_trial(first.id, TrialState::Completed, &Finding::default(), now())
        .unwrap();
    assert_eq!(
        store
            .add_trial(study.id, &new_trial(5), now())
            .unwrap()
            .number,
        2
    );
}

#[test]
fn the_study_activated_last_is_the_current_one_and_keeps_its_baseline() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&directory.path().join("t.db")).unwrap();
    let one = study(&mut store, "one");
    let two = study(&mut store, "two");
    assert_eq!(store.latest_study("local/app").unwrap().unwrap().id, two.id);
    let again = store
        .activate_study(
            &NewStudy {
                optimizer: "local/app",
                fingerprint: "one",
                objective: None,
                constraints: &[],
                application: &Application::default(),
                baseline: &settings(9),
            },
            now(),
        )
        .unwrap();
    assert_eq!((again.id, &again.baseline), (one.id, &settings(2)));
    assert_eq!(store.latest_study("local/app").unwrap().unwrap().id, one.id);
    assert_eq!(store.latest_study("local/other").unwrap(), None);
    let order: Vec<i64> = store
        .studies()
        .unwrap()
        .iter()
        .map(|study| study.id)
        .collect();
    assert_eq!(order, [two.id, one.id]);
}

#[test]
fn files_that_cannot_be_used_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);

    assert!(matches!(
        Store::open(directory.path()),
        Err(StoreError::IsDirectory { .. })
    ));
    assert!(matches!(
        Store::open(&path("no/such/t.db")),
        Err(StoreError::NoDirectory { .. })
    ));
    assert!(matches!(
        Store::open_read_only(&path("missing.db")),
        Err(StoreError::Missing { .. })
    ));

    std::fs::write(path("notes.txt"), "shopping list\n".repeat(100)).unwrap();
    let error = Store::open(&path("notes.txt")).unwrap_err();
    assert!(matches!(error, StoreError::NotADatabase { .. }), "{error}");
    assert!(error.to_string().contains("notes.txt"), "{error}");
    assert!(
        std::fs::read_to_string(path("notes.txt"))
            .unwrap()
            .starts_with("shopping list")
    );

    rusqlite::Connection::open(path("foreign.db"))
        .unwrap()
        .execute_batch("CREATE TABLE music (id)")
        .unwrap();
    assert!(matches!(
        Store::open(&path("foreign.db")),
        Err(StoreError::Foreign { .. })
    ));

    drop(Store::open(&path("future.db")).unwrap());
    rusqlite::Connection::open(path("future.db"))
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    assert!(matches!(
        Store::open(&path("future.db")),
        Err(StoreError::TooNew { found: 99, .. })
    ));
    assert!(matches!(
        Store::open_read_only(&path("future.db")),
        Err(StoreError::TooNew { .. })
    ));

    std::fs::write(path("empty.db"), "").unwrap();
    assert!(matches!(
        Store::open_read_only(&path("empty.db")),
        Err(StoreError::TooOld { .. })
    ));
    assert!(
        Store::open(&path("empty.db")).is_ok(),
        "an empty file is a new one"
    );
}

#[test]
fn a_file_that_is_damaged_or_full_says_so_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.db");
    let mut store = Store::open(&path).unwrap();
    let study = study(&mut store, "one");

    // What a full disk does, without one: SQLite answers with the same code when its own limit is reached.
    let pages: i64 = store
        .connection
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    store
        .connection
        .pragma_update(None, "max_page_count", pages)
        .unwrap();
    let mut trial = new_trial(1);
    trial.settings = (0..2000)
        .map(|index| Assigned {
            component: "web".into(),
            setting: format!("s{index}"),
            value: 1.into(),
        })
        .collect();
    let error = store.add_trial(study.id, &trial, now()).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(error.to_string().contains("free some space"), "{error}");
    assert_eq!(store.trials(study.id).unwrap(), [], "nothing half-written");
    store
        .connection
        .pragma_update(None, "max_page_count", 1_000_000)
        .unwrap();
    store.add_trial(study.id, &trial, now()).unwrap();

    store
        .connection
        .execute("UPDATE trials SET state = 'melted'", [])
        .unwrap();
    let error = store.trials(study.id).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("melted"), "{error}");
}

#[test]
fn a_reader_sees_what_a_running_servo_writes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.db");
    let mut writer = Store::open(&path).unwrap();
    let study = study(&mut writer, "one");
    let reader = Store::open_read_only(&path).unwrap();
    writer.add_trial(study.id, &new_trial(4), now()).unwrap();
    assert_eq!(reader.trials(study.id).unwrap().len(), 1);
    assert_eq!(reader.studies().unwrap().len(), 1);
}

#[test]
fn a_directory_that_may_not_be_written_is_named() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o555)).unwrap();
    let path = inner.join("t.db");
    // The superuser may write everywhere.
    let may_write = std::fs::write(inner.join("probe"), "").is_ok();
    match Store::open(&path) {
        Ok(_) => assert!(may_write),
        Err(error) => {
            assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
            assert!(error.to_string().contains("t.db"), "{error}");
        }
    }
}
