//! Studies that are interrupted: nothing is lost, nothing is left behind.

use std::{thread, time::Duration};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    bench::{Bench, SOON},
    toy::Toy,
};

const STUDY: Duration = Duration::from_secs(90);

fn finished(trials: &[Value]) -> Vec<&Value> {
    trials
        .iter()
        .filter(|trial| !["pending", "suspect"].contains(&trial["state"].as_str().unwrap_or("")))
        .collect()
}

#[test]
fn ctrl_c_in_the_middle_and_a_second_run() {
    let bench = Bench::new();
    bench.write("servo.yaml", &Toy::new().study(7, ""));
    let mut servo = bench.start(&["run"]);
    servo.until("the third trial", STUDY, |out, _| {
        out.contains("3/7").then_some(())
    });
    servo.signal(Signal::INT);
    let ended = servo.ended(Duration::from_secs(10));
    ended.assert_code(130).assert_stderr(&["SIGINT"]);
    bench.assert_nothing_left(Duration::from_secs(1));
    let before = bench.trials("toys/toy");
    assert!((3..7).contains(&finished(&before).len()), "{before:#?}");

    let ended = bench.run_within(STUDY, &["run"]);
    ended.assert_code(0);
    assert!(
        !ended.stdout.contains("3/7"),
        "it does not begin again: {ended}"
    );
    let after = bench.trials("toys/toy");
    assert_eq!(finished(&after).len(), 7);
    for (index, trial) in finished(&before).into_iter().enumerate() {
        assert_eq!(*trial, after[index], "a finished trial stays as it was");
    }
    assert_eq!(bench.studies().len(), 1);
    bench.assert_nothing_left(SOON);
}

#[test]
fn ctrl_c_while_the_application_starts_and_does_not_obey() {
    let bench = Bench::new();
    let toy = Toy::new();
    let file = format!(
        "{}{}",
        crate::toy::study(3, ""),
        // Never ready, and deaf to SIGTERM: the whole group has to be killed.
        toy.stanzas(
            "connectors: [process, vegeta]",
            r#"[sh, -c, "trap '' TERM; sleep 1000 & echo started; wait; sleep 1000"]"#,
        )
    );
    bench.write("servo.yaml", &file);
    let mut servo = bench.start(&["run"]);
    servo.until("the start of the child", SOON, |_, err| {
        err.contains("started").then_some(())
    });
    servo.signal(Signal::INT);
    servo.ended(Duration::from_secs(10)).assert_code(130);
    bench.assert_nothing_left(Duration::from_secs(1));
}

/// SIGKILL at many moments of one study: while the application starts, while it is measured, between.
#[test]
fn killed_again_and_again() {
    let bench = Bench::new();
    bench.write("servo.yaml", &Toy::new().study(8, ""));
    let mut known: Vec<Value> = Vec::new();
    let mut kills = 0;
    // Odd moments, so that every phase of a trial (about 350 ms) is met sooner or later.
    for lifetime in [30, 210, 480, 620, 770, 130, 910, 340, 1060, 550] {
        let servo = bench.start(&["run"]);
        thread::sleep(Duration::from_millis(lifetime));
        servo.signal(Signal::KILL);
        let ended = servo.ended(SOON);
        if ended.code.is_some() {
            ended.assert_code(0);
            break;
        }
        kills += 1;
        bench.assert_nothing_left(Duration::from_secs(10));
        // Without a study there is no trial yet; without tables there is no study yet.
        let listed = bench.run(&["optimizer", "trials", "--db", "trials.db"]);
        if !listed.stdout.contains("toys/toy") {
            assert_eq!(known.len(), 0, "the trials are gone");
            continue;
        }
        let trials = bench.trials("toys/toy");
        for (index, trial) in known.iter().enumerate() {
            assert_eq!(*trial, trials[index], "a finished trial stays as it was");
        }
        assert!(trials.len() <= 8, "{trials:#?}");
        known = finished(&trials).into_iter().cloned().collect();
    }
    assert!(kills >= 5, "the study was over too soon: {kills}");
    bench.run_within(STUDY, &["run"]).assert_code(0);
    let trials = bench.trials("toys/toy");
    assert_eq!(trials.len(), 8, "exactly the budget: {trials:#?}");
    assert_eq!(finished(&trials).len(), 8);
    assert_eq!(trials[..known.len()], known[..]);
    assert_eq!(bench.studies().len(), 1);
    bench.assert_nothing_left(SOON);
}
