//! Studies and their trial files.

use std::time::Duration;

use super::{file, reload};
use crate::{
    bench::{Bench, SOON},
    toy::Toy,
};

/// The study of a running servo is given another budget, and the run ends with it.
#[test]
fn a_study_that_is_changed_goes_on_with_its_trials() {
    let bench = Bench::new();
    let toy = Toy::new();
    bench.write("servo.yaml", &toy.study(500, ""));
    let mut servo = bench.start(&["run"]);
    servo.until("the third trial", Duration::from_secs(90), |out, _| {
        out.contains("3/500").then_some(())
    });
    bench.write("servo.yaml", &toy.study(6, ""));
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +0 ~1 -0 =0 in "),
        "{outcome}"
    );
    let ended = servo.ended(Duration::from_secs(90));
    ended.assert_code(0);
    assert!(ended.stdout.contains("6/6"), "{ended}");
    assert_eq!(bench.trials("toys/toy").len(), 6);
    assert_eq!(bench.studies().len(), 1);
    bench.assert_nothing_left(SOON);
}

/// Two servos share a trial file: one that joins it does not disturb the other.
#[test]
fn a_trial_file_that_is_shared_with_a_servo_that_comes_later() {
    let bench = Bench::new();
    let study = |name: &str, toy: Toy, trials: u32| {
        toy.study(trials, "")
            .replace("toys/toy", &format!("toys/{name}"))
            + &format!("name: {name}\n")
    };
    let (old, new) = (Toy::new(), Toy::new());
    bench.write("servo.yaml", &study("old", old, 12));
    let mut servo = bench.start(&["run"]);
    servo.until("the second trial", Duration::from_secs(90), |out, _| {
        out.contains("2/12").then_some(())
    });
    bench.write(
        "servo.yaml",
        &file(&[study("old", old, 12), study("new", new, 4)]),
    );
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +1 ~0 -0 =1 in "),
        "{outcome}"
    );
    let ended = servo.ended(Duration::from_secs(120));
    ended.assert_code(0);
    assert_eq!(bench.trials("toys/old").len(), 12);
    assert_eq!(bench.trials("toys/new").len(), 4);
    bench.assert_nothing_left(SOON);
}
