//! What is in progress when a reload comes: commands, other reloads, the end.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use servo_doubles::{Fault, On};

use super::{
    document, end, file, idle, measuring, next_outcome, outcomes, reload, told, until_event,
    until_measuring,
};
use crate::bench::{Bench, SOON};

#[test]
fn a_command_is_cancelled_or_may_end_first() {
    for (policy, completes) in [
        ("", false),
        ("[reload]\ncommand = \"finish\"\n", true),
        (
            "[reload]\ncommand = \"finish\"\nfinish_within = \"1s\"\n",
            false,
        ),
    ] {
        let a = measuring(if completes { "3s" } else { "1m" });
        let bench = Bench::new();
        bench.write("servo.toml", policy);
        bench.write("servo.yaml", &document("a", &a, ""));
        let mut servo = bench.start(&["run"]);
        until_measuring(&a);
        bench.write("servo.yaml", &document("a", &a, "description: new\n"));
        let outcome = reload(&mut servo);
        assert!(
            outcome.starts_with("reload finished: +0 ~1 -0 =0 in "),
            "{outcome}"
        );
        a.wait_for(SOON, |received| {
            received.iter().filter(|r| r.event == "HELLO").count() == 2
        })
        .unwrap();
        let told = told(&a);
        let goodbye = told
            .iter()
            .position(|e| e == "GOODBYE reconfigured")
            .unwrap();
        let completed = told[..goodbye].iter().any(|e| e == "MEASUREMENT");
        assert_eq!(completed, completes, "{policy:?}: {told:?}");
        assert_eq!(a.violations(), Vec::<String>::new());
        end(servo);
    }
}

/// While one reload waits for a command to end, those that are asked for become one.
#[test]
fn reloads_come_one_after_the_other() {
    let a = measuring("3s");
    let bench = Bench::new();
    bench.write("servo.toml", "[reload]\ncommand = \"finish\"\n");
    bench.write("servo.yaml", &document("a", &a, ""));
    let mut servo = bench.start(&["run"]);
    until_measuring(&a);
    bench.write("servo.yaml", &document("a", &a, "description: new\n"));
    servo.signal(Signal::HUP);
    servo.until("the first reload", SOON, |_, log| {
        log.contains("reading the configuration again")
            .then_some(())
    });
    for _ in 0..5 {
        servo.signal(Signal::HUP);
        thread::sleep(Duration::from_millis(50));
    }
    // Meanwhile the tree can be had.
    servo.signal(Signal::USR1);
    servo.until("the tree", SOON, |_, log| {
        log.contains("supervision tree").then_some(())
    });
    assert_eq!(outcomes(&servo.stderr()).len(), 0);
    next_outcome(&mut servo, 1);
    thread::sleep(Duration::from_millis(300));
    let ended = end(servo);
    let outcomes = outcomes(&ended.stderr);
    assert_eq!(outcomes.len(), 2, "{ended}");
    assert!(
        outcomes[0].starts_with("reload finished: +0 ~1 -0 =0"),
        "{ended}"
    );
    assert!(
        outcomes[1].starts_with("reload finished: +0 ~0 -0 =1"),
        "{ended}"
    );
}

/// A signal in the middle of a reload ends the program as at any time.
#[test]
fn the_end_does_not_wait_for_a_reload() {
    let a = measuring("1h");
    let bench = Bench::new();
    bench.write(
        "servo.toml",
        "[reload]\ncommand = \"finish\"\nfinish_within = \"1h\"\n",
    );
    bench.write("servo.yaml", &document("a", &a, ""));
    let mut servo = bench.start(&["run"]);
    until_measuring(&a);
    bench.write("servo.yaml", &document("a", &a, "description: new\n"));
    servo.signal(Signal::HUP);
    servo.until("the reload", SOON, |_, log| {
        log.contains("reading the configuration again")
            .then_some(())
    });
    thread::sleep(Duration::from_millis(300));
    servo.signal(Signal::TERM);
    let ended = servo.ended(Duration::from_secs(25));
    ended.assert_code(0);
    assert!(told(&a).last().unwrap().starts_with("GOODBYE"), "{ended}");
}

/// The optimizer is gone when a servo is removed: the reload has its limits all the same.
#[test]
fn a_reload_does_not_hang_on_an_optimizer_that_is_silent() {
    let (gone, stays) = (idle(), idle());
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &file(&[document("gone", &gone, ""), document("stays", &stays, "")]),
    );
    let mut servo = bench.start(&["run"]);
    until_event(&gone, "WHATS_NEXT");
    until_event(&stays, "WHATS_NEXT");
    gone.inject(On::any().always(), Fault::Stall);
    bench.write("servo.yaml", &document("stays", &stays, ""));
    let began = Instant::now();
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -1 =1 in "),
        "{outcome}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    end(servo);
    assert_eq!(told(&stays), ["HELLO", "WHATS_NEXT", "GOODBYE SIGTERM"]);
}
