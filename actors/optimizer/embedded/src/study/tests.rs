#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;

fn study(yaml: &str) -> Result<StudyConfig, String> {
    serde_yaml::from_str(yaml).map_err(|error| error.to_string())
}

#[test]
fn the_least_study_is_an_objective() {
    let study = study("objective: {minimize: p99}").unwrap();
    assert_eq!(study.duration, Duration::from_secs(60));
    assert_eq!(study.warmup, Duration::ZERO);
    assert_eq!(study.apply, Apply::Best);
    assert_eq!(study.max_failures, 5);
    assert_eq!(study.budget(3), 40);
    assert_eq!(study.budget(50), 200);
}

#[test]
fn everything_can_be_said_and_survives_printing() {
    let study = study(
        "
        id: example.com/app
        objective: {maximize: throughput / settings.web.cpu}
        constraints: [p99 <= 250, p99 <= 1.05 * baseline]
        trials: 30
        warmup: 5s
        duration: 1m
        delay: 2
        settlement: 10s
        metrics: [p99]
        seed: 7
        confirmations: 4
        max_failures: 3
        apply: baseline
        ",
    )
    .unwrap();
    assert_eq!(study.constraints.0.len(), 2);
    assert_eq!(study.constraints.0[1].name, "p99 <= 1.05 * baseline");
    assert_eq!((study.budget(9), study.confirmation_trials(30)), (30, 4));
    assert_eq!(study.measure_control().delay, Duration::from_secs(2));
    assert_eq!(
        study.adjust_control().settlement,
        Some(Duration::from_secs(10))
    );
}

#[test]
fn constraints_may_have_names() {
    let study = study("{objective: {minimize: p99}, constraints: {latency: p99 <= 250}}").unwrap();
    assert_eq!(study.constraints.0[0].name, "latency");
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (yaml, words) in [
        ("{}", "missing field `objective`"),
        ("objective: {minimise: p99}", "unknown field `minimise`"),
        ("objective: {minimize: p99 +}", "column 6"),
        (
            "objective: {minimize: p99, maximize: p50}",
            "a study has one objective",
        ),
        ("objective: {}", "is missing"),
        (
            "objective: p99",
            "a map with the key `minimize` or `maximize`",
        ),
        (
            "{objective: {minimize: p99}, constraints: [p99 < = 3]}",
            "column 7",
        ),
        (
            "{objective: {minimize: p99}, budget: 3}",
            "unknown field `budget`",
        ),
        (
            "{objective: {minimize: p99}, duration: 5 apples}",
            "5 apples",
        ),
        (
            "{objective: {minimize: p99}, duration: 0s}",
            "measures nothing",
        ),
        (
            "{objective: {minimize: p99}, max_failures: 0}",
            "0 is not between 1 and 1000",
        ),
        (
            "{objective: {minimize: p99}, confirmations: 1001}",
            "1001 is not between 0 and 1000",
        ),
        (
            "{objective: {minimize: p99}, id: ' '}",
            "at least one character",
        ),
        (
            "{objective: {minimize: p99}, id: \"a\\nb\"}",
            "control characters",
        ),
        (
            "{objective: {minimize: p99}, constraints: 5}",
            "a list of comparisons",
        ),
    ] {
        let error = study(yaml).expect_err(yaml);
        assert!(error.contains(words), "{yaml}: {error}");
    }
}

#[test]
fn a_study_file_holds_one_study_for_each_id_and_one_for_the_rest() {
    let studies = Studies::from_yaml(
        "{id: a/one, objective: {minimize: p99}}\n---\n{objective: {minimize: p50}}\n---\n",
    )
    .unwrap();
    assert_eq!(
        studies.get("a/one").unwrap().objective.text(),
        "minimize p99"
    );
    assert_eq!(
        studies.get("b/two").unwrap().objective.text(),
        "minimize p50"
    );
    assert!(Studies::default().get("a/one").is_none());

    let error = Studies::from_yaml(
        "{id: a, objective: {minimize: x}}\n---\n{id: a, objective: {minimize: y}}",
    );
    assert_eq!(
        error,
        Err(StudyError::Twice {
            id: Some("a".into())
        })
    );
    let error = Studies::from_yaml("{objective: {minimize: x}}\n---\n{objective: {minimize: 3 +}}")
        .unwrap_err();
    assert!(
        error.to_string().contains("document 2: `objective"),
        "{error}"
    );
    let error = Studies::from_yaml("{objective: {minimize: x}, trials: 0}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read the study file: document 1: `trials`: 0 is not between 1 and 10000"
    );
}

#[test]
fn the_servo_file_names_the_trial_file_and_its_own_id() {
    let config: EmbeddedConfig = serde_yaml::from_str("objective: {minimize: p99}").unwrap();
    assert_eq!(config.database, PathBuf::from("servo-trials.db"));
    assert_eq!(config.optimizer_id("shop"), "local/shop");
    assert!(!config.keep_running);
    assert_eq!(config.study("x").id.as_deref(), Some("x"));
    let schema = schemars::schema_for!(EmbeddedConfig);
    assert!(schema.as_value()["properties"]["objective"].is_object());
    assert!(schema.as_value()["properties"]["keep_running"].is_object());
}

#[test]
fn a_fingerprint_is_of_space_objective_and_constraints() {
    let application = Application::default();
    let print = |yaml: &str| fingerprint(&application, Some(&study(yaml).unwrap()));
    let base = print("objective: {minimize: p99}");
    assert_eq!(
        base,
        print("{objective: {minimize: ' p99 '}, trials: 99, seed: 4, duration: 9s}")
    );
    assert_ne!(base, print("objective: {maximize: p99}"));
    assert_ne!(
        base,
        print("{objective: {minimize: p99}, constraints: [p99 <= 3]}")
    );
    assert_ne!(base, fingerprint(&application, None));
}
