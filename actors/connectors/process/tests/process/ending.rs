//! Nothing is left, however the end comes.

use std::process::Stdio;
use std::time::{Duration, Instant};

use servo_connector_process::child::Exit;
use tokio_util::sync::CancellationToken;

use crate::world::{
    Mark, eventually, exists, keeper, kill, parent_of, terminate, this_binary, within,
};

fn never() -> CancellationToken {
    CancellationToken::new()
}

/// A shell that ignores SIGTERM, with a child in its group and one that has left it: five processes,
/// counting the shell's sleep and both shells.
fn stubborn(mark: &Mark, grace: &str) -> String {
    format!(
        r#"
components:
  web:
    command: [sh, -c, "trap '' TERM; sleep 1000 & setsid sleep 1000 & echo up; while :; do sleep 1000; done"]
    env: {{MARK: {}}}
    ready: {{log: up}}
    stop: {{grace: {grace}}}
"#,
        mark.text()
    )
}

const STUBBORN: usize = 4;

#[tokio::test]
async fn what_ignores_the_signal_is_killed_after_the_grace_with_all_it_started() {
    let mark = Mark::new();
    let keeper = keeper(&stubborn(&mark, "300ms"));
    within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    mark.count(STUBBORN).await;
    let began = Instant::now();
    within(keeper.stop(Duration::MAX)).await.unwrap().unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(mark.living(), [0; 0]);
    assert!(keeper.standing().pulse.is_none());
}

#[tokio::test]
async fn a_shutdown_in_a_hurry_shortens_the_grace() {
    let mark = Mark::new();
    let keeper = keeper(&stubborn(&mark, "1h"));
    within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    within(keeper.stop(Duration::from_millis(50)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(mark.living(), [0; 0]);
}

#[tokio::test]
async fn a_process_that_heeds_the_signal_has_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let done = directory.path().join("done");
    let keeper = keeper(&format!(
        r#"
components:
  web:
    command: [sh, -c, "trap 'touch {}; exit 0' INT; echo up; while :; do sleep 0.05; done"]
    ready: {{log: up}}
    stop: {{signal: SIGINT}}
"#,
        done.display()
    ));
    within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    let pulse = keeper.standing().pulse.unwrap();
    within(keeper.stop(Duration::MAX)).await.unwrap().unwrap();
    assert!(exists(&done));
    assert_eq!(pulse.exit(), Some(Exit::Code(0)));
}

#[tokio::test]
async fn a_polite_signal_to_the_warden_is_one_to_the_component() {
    let directory = tempfile::tempdir().unwrap();
    let done = directory.path().join("done");
    let keeper = keeper(&format!(
        r#"
components:
  web:
    command: [sh, -c, "trap 'touch {}; exit 0' TERM; echo up; while :; do sleep 0.05; done"]
    ready: {{log: up}}
"#,
        done.display()
    ));
    let pulse = within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    terminate(parent_of(pulse.pid));
    assert_eq!(within(pulse.ended()).await, Exit::Code(0));
    assert!(exists(&done));
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_start_that_never_ends() {
    let mark = Mark::new();
    let keeper = keeper(&format!(
        r#"
components:
  web: {{command: [sleep, 1000], env: {{MARK: {}}}, ready: {{log: never, timeout: 1h}}}}
"#,
        mark.text()
    ));
    let cancel = never();
    let stopped = async {
        mark.count(1).await;
        within(keeper.stop(Duration::MAX)).await.unwrap().unwrap();
    };
    let (started, ()) = tokio::join!(within(keeper.ensure_running(&cancel)), stopped);
    assert!(
        started
            .unwrap()
            .unwrap_err()
            .to_string()
            .contains("cancelled")
    );
    assert_eq!(mark.living(), [0; 0]);
}

#[tokio::test]
async fn dropping_the_keeper_kills() {
    let mark = Mark::new();
    let keeper = keeper(&stubborn(&mark, "1h"));
    within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    mark.count(STUBBORN).await;
    drop(keeper);
    mark.count(0).await;
}

#[tokio::test]
async fn killing_the_warden_takes_the_component_with_it() {
    let mark = Mark::new();
    let keeper = keeper(&stubborn(&mark, "1h"));
    let pulse = within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    mark.count(STUBBORN).await;
    let before = mark.living();
    kill(parent_of(pulse.pid));
    assert_eq!(within(pulse.ended()).await, Exit::Unseen);
    eventually("the old processes to be gone", || {
        let living = mark.living();
        !before.iter().any(|pid| living.contains(pid))
    })
    .await;
    within(keeper.stop(Duration::ZERO)).await.unwrap().unwrap();
}

/// `pkill -9 servo` and `pkill -9 -f servo` are how people end Servo: who cleans up after it must survive them.
#[tokio::test]
async fn the_warden_is_not_listed_as_servo() {
    let mark = Mark::new();
    let keeper = keeper(&stubborn(&mark, "0s"));
    let pulse = within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    let warden = parent_of(pulse.pid);
    for (pid, arguments) in [(warden, "keep\0"), (parent_of(warden), "")] {
        let read = |file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        assert_eq!(read("comm"), "warden\n");
        assert_eq!(read("cmdline"), format!("warden:web\0{arguments}"));
    }
}

#[tokio::test]
async fn a_stop_that_is_given_up_does_not_forbid_the_next_start() {
    let mark = Mark::new();
    let keeper = keeper(&stubborn(&mark, "500ms"));
    within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    let given_up = tokio::time::timeout(Duration::from_millis(50), keeper.stop(Duration::MAX));
    assert!(given_up.await.is_err());
    within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    within(keeper.stop(Duration::ZERO)).await.unwrap().unwrap();
}

/// The test binary as a program that holds a component; see `roles::holder`.
async fn hold(mark: &Mark) -> tokio::process::Child {
    let holder = tokio::process::Command::new(this_binary())
        .args(["--exact", "roles::holder", "--ignored", "--nocapture"])
        .env("HOLD", mark.text())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    mark.count(STUBBORN).await;
    holder
}

#[tokio::test]
async fn nothing_outlives_a_holder_that_is_killed() {
    let mark = Mark::new();
    let mut holder = hold(&mark).await;
    holder.start_kill().unwrap();
    within(holder.wait()).await.unwrap();
    mark.count(0).await;
}

#[tokio::test]
async fn nothing_outlives_a_holder_and_a_warden_that_are_killed_together() {
    let mark = Mark::new();
    let mut holder = hold(&mark).await;
    let living = mark.living();
    let parents = living.iter().map(|pid| parent_of(*pid));
    let wardens: Vec<i32> = parents.filter(|pid| !living.contains(pid)).collect();
    kill(wardens[0]);
    holder.start_kill().unwrap();
    within(holder.wait()).await.unwrap();
    mark.count(0).await;
}

#[tokio::test]
async fn nothing_outlives_a_holder_that_just_exits() {
    let mark = Mark::new();
    let mut holder = hold(&mark).await;
    drop(holder.stdin.take());
    within(holder.wait()).await.unwrap();
    mark.count(0).await;
}
