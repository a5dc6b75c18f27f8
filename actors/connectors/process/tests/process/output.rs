//! Output of any size and shape does no harm.

use tokio_util::sync::CancellationToken;

use crate::world::{eventually, keeper, within};

#[tokio::test]
async fn a_flood_and_a_line_without_an_end_pass_by() {
    let keeper = keeper(
        r#"
components:
  web:
    command:
      - sh
      - -c
      - "yes flood | head -n 200000; head -c 3000000 /dev/zero | tr '\\0' x; printf '\\377 no text\\n'; echo up; exec sleep 1000"
    ready: {log: "/^up$/"}
    output: discard
"#,
    );
    let pulse = within(keeper.ensure_running(&CancellationToken::new()))
        .await
        .unwrap()
        .unwrap();
    let lines = pulse.last_lines();
    assert_eq!(lines.last().unwrap(), "up");
    let long = &lines[lines.len() - 2];
    assert!(
        long.starts_with("xxx") && long.len() < 400,
        "{}",
        long.len()
    );
}

#[tokio::test]
async fn cpu_and_memory_of_grandchildren_count() {
    let keeper = keeper(
        r#"
components:
  web: {command: [sh, -c, "sh -c 'while :; do :; done' & wait"], settle: 0}
"#,
    );
    let pulse = within(keeper.ensure_running(&CancellationToken::new()))
        .await
        .unwrap()
        .unwrap();
    let mut usage = None;
    for _ in 0..500 {
        usage = pulse.usage().await;
        if usage.is_some_and(|usage| usage.cpu_seconds > 0.05) {
            break;
        }
        eventually("a moment", || true).await;
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let usage = usage.unwrap();
    assert!(usage.cpu_seconds > 0.05, "{usage:?}");
    assert_eq!(usage.processes, 2);
    assert!(usage.rss_bytes > 200_000, "{usage:?}");
}
