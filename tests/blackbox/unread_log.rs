//! A log that nobody reads holds up nobody.

use std::{
    io::Read,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use servo_doubles::{FleetOptimizer, Orders};

use crate::bench::{Bench, SOON, wait};

#[test]
fn servos_go_on_and_end_when_nobody_reads_stderr() {
    let optimizer = FleetOptimizer::start(Orders::Measure(Duration::ZERO)).unwrap();
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &format!(
            "optimizer:\n  id: example.com/app\n  token: t\n  base_url: {}\nconnectors: [wait]\n\
             wait:\n  measure_enabled: false\n",
            optimizer.base_url()
        ),
    );
    let mut servo = bench
        .servo(&["--log-level", "trace", "run"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Far more lines than a pipe holds.
    wait("a thousand commands", SOON, || {
        (optimizer.figures().completed >= 1000).then_some(())
    });
    let began = Instant::now();
    kill_process(
        Pid::from_raw(servo.id().cast_signed()).unwrap(),
        Signal::TERM,
    )
    .unwrap();
    let status = wait("its end", SOON, || servo.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "{began:?}");
    assert_eq!(optimizer.figures().goodbyes, 1);
    let mut log = String::new();
    servo
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert!(log.len() >= 32 * 1024, "{} bytes", log.len());
    assert!(log.contains("TRACE"), "{log:.1000}");
}
