//! A file of ten thousand servos (`spec/config-and-cli.md` §4, §11.57). `make bench` measures the
//! release build; this holds for any.

use std::{fs, time::Duration};

use crate::bench::{Bench, Running, wait};

const SERVOS: usize = 10_000;
const LONGEST: Duration = Duration::from_secs(10);
const MOST_KIB: usize = 1024 * 1024;

fn documents() -> Vec<String> {
    (0..SERVOS)
        .map(|i| {
            format!(
                "name: servo-{i}\n\
                 optimizer:\n  id: example.com/app-{i}\n  token: token-{i}\n\
                 connectors: [wait, vegeta]\n\
                 wait:\n  measure_enabled: true\n\
                 vegeta:\n  rate: 50/1s\n  target: GET https://app-{i}.example.com/\n  workers: 10\n"
            )
        })
        .collect()
}

/// The most memory that it has used so far, in KiB; none when it has ended.
fn peak(running: &Running) -> Option<usize> {
    let status = format!("/proc/{}/status", running.pid().as_raw_nonzero());
    let status = fs::read_to_string(status).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn ten_thousand_servos_in_one_file() {
    let bench = Bench::new();
    let mut all = documents();
    bench.write("servo.yaml", &all.join("---\n"));
    let mut servo = bench.start(&["validate"]);
    let mut most = 0;
    wait("the end", LONGEST * 2, || {
        most = most.max(peak(&servo).unwrap_or(0));
        servo.has_ended().then_some(())
    });
    let ended = servo.ended(LONGEST);
    ended.assert_code(0);
    assert!(0 < most && most < MOST_KIB, "{most} KiB");
    // One mistake, and it is known whose it is.
    let index = 6_789;
    all[index - 1] = all[index - 1].replace("workers: 10", "wokers: 10");
    bench.write("servo.yaml", &all.join("---\n"));
    let ended = bench.run_within(LONGEST * 2, &["validate"]);
    assert!(ended.took < LONGEST, "{:?}", ended.took);
    let place = format!("(line {}, column 3)", (index - 1) * 12 + 11);
    ended.assert_code(1).assert_stderr(&[
        "1 problem\n",
        &format!("document {index}: vegeta -> wokers {place}"),
        "did you mean \"workers\"?",
    ]);
}
