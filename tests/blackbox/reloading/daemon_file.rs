//! What of `servo.toml` a reload makes count.

use std::{thread, time::Duration};

use rustix::process::Signal;

use super::{document, end, idle, reload, until_event};
use crate::bench::{Bench, SOON};

#[test]
fn of_servo_toml_the_log_counts_at_once_and_the_rest_is_named() {
    let a = idle();
    let bench = Bench::new();
    bench.write("servo.yaml", &document("a", &a, ""));
    let mut servo = bench.start(&["run"]);
    until_event(&a, "WHATS_NEXT");
    bench.write(
        "servo.toml",
        "arbiters = 1\n[log]\nlevel = \"DEBUG\"\nformat = \"json\"\n[optimizer]\nmax_concurrent_requests = 3\n\
         [reload]\ncommand = \"finish\"\n",
    );
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -0 =1 in "),
        "{outcome}"
    );
    assert!(
        outcome.ends_with(
            " ms; changes of servo.toml that need a restart: arbiters, log.format, optimizer.max_concurrent_requests"
        ),
        "{outcome}"
    );
    // Who changed them believes that they count.
    let log = servo.stderr();
    let line = log.lines().find(|line| line.contains("need a restart"));
    assert!(line.is_some_and(|line| line.contains("| WARN")), "{log}");
    bench.write("servo.yaml", &document("a", &a, "description: new\n"));
    assert!(reload(&mut servo).starts_with("reload finished: +0 ~1 -0 =0"));
    servo.until("a line of DEBUG", SOON, |_, log| {
        log.contains("| DEBUG").then_some(())
    });
    bench.write("servo.toml", "[log]\nlevel = \"ERROR\"\n");
    servo.signal(Signal::HUP);
    // Nothing of it can be told any more.
    thread::sleep(Duration::from_millis(500));
    let length = servo.stderr().len();
    servo.signal(Signal::USR1);
    let ended = end(servo);
    assert_eq!(ended.stderr.len(), length, "{ended}");

    // What the command line says is not the file's to change.
    bench.write("servo.toml", "");
    let mut servo = bench.start(&["-l", "INFO", "run"]);
    servo.until("HELLO", SOON, |_, log| log.contains("HELLO").then_some(()));
    bench.write("servo.toml", "[log]\nlevel = \"DEBUG\"\n");
    reload(&mut servo);
    let ended = end(servo);
    assert!(!ended.stderr.contains("| DEBUG"), "{ended}");
}
