//! `servo run` with the optimizer in the same process: a study from its first trial to its result.

use std::time::Duration;

use rustix::process::Signal;

use crate::{
    bench::{Bench, SOON},
    toy::{Toy, running},
};

const STUDY: Duration = Duration::from_secs(90);

#[test]
fn a_study_for_people() {
    let bench = Bench::new();
    bench.write("servo.yaml", &Toy::new().study(8, ""));
    let ended = bench.run_within(STUDY, &["run"]);
    ended.assert_code(0);
    bench.assert_nothing_left(SOON);
    for trial in 1..=8 {
        ended.assert_stdout(&[&format!("{trial}/8")]);
    }
    ended.assert_stdout(&[
        "TRIAL",
        "PURPOSE",
        "VERDICT",
        "SETTINGS",
        "baseline",
        "repeat",
        "confirm",
        "rounds=4 codec=dense",
        "BASELINE",
        "CHOSEN",
        "latency_99th (ms)",
        "throughput",
        "objective",
        "toys/toy: 8 trials in",
        "8 ok, 0 broke a constraint, 0 failed, 0 invalid",
        "objective: minimize 10 * toy.rounds + latency_50th",
        "verdict: ",
    ]);
    assert!(
        !ended.stdout.contains('\u{1b}'),
        "no colours in a pipe: {ended}"
    );
    // The objective falls by 10 for each round less, far above its noise.
    ended.assert_stdout(&["verdict: improved", "confirmed gain"]);

    let table = bench.run(&["optimizer", "trials", "--db", "trials.db"]);
    table
        .assert_code(0)
        .assert_stdout(&["STUDY", "OPTIMIZER", "toys/toy", "8/8", "improved"]);
    let table = bench.run(&["optimizer", "trials", "--db", "trials.db", "toys/toy"]);
    table
        .assert_code(0)
        .assert_stdout(&["TRIAL", "PURPOSE", "STATE", "baseline", "completed"]);
    assert_eq!(table.stdout.lines().count(), 9, "{table}");
    bench
        .run(&["optimizer", "trials", "--db", "trials.db", "no/such"])
        .assert_code(2)
        .assert_stderr(&["trials.db holds no study 'no/such'"]);
    bench
        .run(&["optimizer", "trials", "--db", "nowhere.db"])
        .assert_code(1)
        .assert_stderr(&["no trial file", "nowhere.db"]);
    assert!(!bench.path("nowhere.db").exists());
}

#[test]
fn a_study_for_programs() {
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &Toy::new().study(6, "constraints: [error_rate <= 50]"),
    );
    let ended = bench.run_within(STUDY, &["run", "--output", "json"]);
    ended.assert_code(0);
    let result = ended.json();
    assert_eq!(result["optimizer"], "toys/toy", "{result:#}");
    assert_eq!(result["trials"]["completed"], 6, "{result:#}");
    assert!(result["verdict"]["kind"].is_string(), "{result:#}");
    assert!(
        result["baseline"]["objective"]["mean"].is_number(),
        "{result:#}"
    );
    bench.assert_nothing_left(SOON);

    let trials = bench.trials("toys/toy");
    assert_eq!(trials.len(), 6);
    for (index, trial) in trials.iter().enumerate() {
        assert_eq!(trial["number"], index + 1, "{trial:#}");
        assert_eq!(trial["state"], "completed", "{trial:#}");
        assert!(trial["metrics"]["latency_50th"].is_number(), "{trial:#}");
        let rounds = trial["settings"]["toy"]["rounds"].as_f64();
        let objective =
            10.0 * rounds.unwrap_or(f64::NAN) + trial["metrics"]["latency_50th"].as_f64().unwrap();
        let told = trial["objective"].as_f64().unwrap();
        assert!((told - objective).abs() < 1e-6, "{trial:#}");
    }
}

#[test]
fn a_finished_study_is_told_again_and_another_budget_goes_on() {
    let bench = Bench::new();
    let toy = Toy::new();
    bench.write("servo.yaml", &toy.study(3, ""));
    bench.run_within(STUDY, &["run"]).assert_code(0);
    let first = bench.trials("toys/toy");
    let again = bench.run_within(STUDY, &["run", "-o", "json"]);
    assert_eq!(again.assert_code(0).json()["trials"]["completed"], 3);
    assert_eq!(bench.trials("toys/toy"), first, "nothing is measured anew");
    bench.write("servo.yaml", &toy.study(5, ""));
    let more = bench.run_within(STUDY, &["run", "-o", "json"]);
    assert_eq!(more.assert_code(0).json()["trials"]["completed"], 5);
    assert_eq!(bench.trials("toys/toy")[..2], first[..2]);
    assert_eq!(bench.studies().len(), 1);
}

#[test]
fn another_space_is_another_study() {
    let bench = Bench::new();
    let file = Toy::new().study(3, "");
    bench.write("servo.yaml", &file);
    bench.run_within(STUDY, &["run"]).assert_code(0);
    bench.write("servo.yaml", &file.replace("max: 8", "max: 6"));
    let ended = bench.run_within(STUDY, &["run", "-o", "json"]);
    assert_eq!(ended.assert_code(0).json()["trials"]["completed"], 3);
    bench.write("servo.yaml", &file.replace("10 * toy", "20 * toy"));
    bench.run_within(STUDY, &["run"]).assert_code(0);
    let studies = bench.studies();
    assert_eq!(studies.len(), 3, "{studies:#?}");
    for study in studies {
        assert_eq!(study["finished"], 3, "{study:#}");
    }
}

#[test]
fn a_servo_that_keeps_running_when_its_study_is_over() {
    let bench = Bench::new();
    let toy = Toy::new();
    bench.write("servo.yaml", &toy.study(3, "keep_running: true"));
    let mut servo = bench.start(&["run"]);
    servo.until("the end of the study", STUDY, |out, err| {
        (out.contains("3/3") && err.contains("study finished")).then_some(())
    });
    assert_eq!(
        toy.get("/healthz").as_deref(),
        Some("ok"),
        "the toy still serves"
    );
    assert_eq!(running(&bench), 1);
    servo.signal(Signal::TERM);
    servo.ended(Duration::from_secs(15)).assert_code(0);
    bench.assert_nothing_left(SOON);
}
