//! What may stand in the stanza, and how it is shown.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use serde_yaml::Value;
use servo_connector_scripts::{ScriptEvent, ScriptFailure, Scripts, ScriptsConfig};
use servo_dispatch::{Connector, ConnectorType};

fn config(yaml: &str) -> ScriptsConfig {
    serde_yaml::from_str(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"))
}

/// Path and message of the error that the stanza is refused with, by its types or by validation.
fn refusal(yaml: &str) -> (String, String) {
    let value: Value = serde_yaml::from_str(yaml).unwrap();
    match serde_path_to_error::deserialize::<_, ScriptsConfig>(value) {
        Err(error) => {
            let path = error.path().to_string();
            (
                path.trim_matches('.').to_owned(),
                error.into_inner().to_string(),
            )
        }
        Ok(config) => {
            let problems = Scripts::validate(&config);
            let first = problems
                .first()
                .unwrap_or_else(|| panic!("accepted: {yaml}"));
            assert!(!first.warning && problems.len() == 1, "{problems:?}");
            (first.path.clone(), first.message.clone())
        }
    }
}

#[test]
fn the_sample_and_the_examples_of_the_specification_are_valid() {
    for yaml in [
        Scripts::sample(),
        "{before: null, on: null, after: null}",
        "{before: {measure: ['./warm-cache.sh', 'echo starting']}, after: {adjust: ['curl -fsS http://hooks/notify'], \
         shutdown: ['./bye.sh']}}",
        "on: {measure: [\"true\"]}",
    ] {
        assert_eq!(Scripts::validate(&config(yaml)), [], "{yaml}");
    }
    assert_eq!(config("{}"), ScriptsConfig::default());
    let every = ScriptEvent::ALL
        .iter()
        .map(|e| format!("{e}: [x]"))
        .collect::<Vec<_>>()
        .join(", ");
    assert_eq!(
        config(&format!("on: {{{every}}}"))
            .on
            .unwrap()
            .iter()
            .count(),
        11
    );
}

#[test]
fn the_order_of_the_file_is_kept_and_every_form_reads_back() {
    let yaml = "
description: hooks
before:
  measure:
  - ./b.sh
  - run: ./a.sh
    timeout: 30s
    on_failure: cancel
  attach: []
on:
  promote:
  - run: ./p.sh
    on_failure: fail
after:
  adjust:
  - ./c.sh
";
    let read = config(yaml);
    let before: Vec<_> = read.before.as_ref().unwrap().iter().collect();
    assert_eq!(before[0].0, ScriptEvent::Measure);
    assert_eq!(before[0].1[1].timeout.unwrap(), "30s");
    assert_eq!(before[0].1[1].on_failure, ScriptFailure::Cancel);
    assert_eq!(before[1].0, ScriptEvent::Attach);
    assert_eq!(serde_yaml::to_string(&read).unwrap(), yaml.trim_start());
    assert_eq!(Scripts::validate(&read), []);
}

#[test]
fn each_mistake_is_refused_with_its_key() {
    for (yaml, path, message) in [
        ("{bogus: 1}", "bogus", "unknown field"),
        (
            "{before: {measuer: [x]}}",
            "before.measuer",
            "Invalid event measuer: expected one of attach, detach",
        ),
        (
            "{before: {'after:measure': [x]}}",
            "before.after:measure",
            "Invalid event after:measure",
        ),
        (
            "{before: {measure: x}}",
            "before.measure",
            "expected a sequence",
        ),
        ("{on: [x]}", "on", "a mapping from events"),
        (
            "{on: {measure: [{run: x, bogus: 1}]}}",
            "on.measure[0].bogus",
            "unknown field",
        ),
        ("{on: {measure: [{timeout: 1}]}}", "on.measure[0]", "run"),
        (
            "{on: {measure: [{run: x, timeout: soon}]}}",
            "on.measure[0].timeout",
            "soon",
        ),
        (
            "{on: {measure: [{run: x, timeout: 0}]}}",
            "on.measure[0].timeout",
            "more than 0",
        ),
        (
            "{on: {measure: [{run: x, on_failure: explode}]}}",
            "on.measure[0].on_failure",
            "`cancel`",
        ),
        (
            "{on: {measure: [{run: x, on_failure: cancel}]}}",
            "on.measure[0].on_failure",
            "'ignore' or 'fail'",
        ),
        ("{after: {measure: [y, ' ']}}", "after.measure[1]", "blank"),
    ] {
        let (found, text) = refusal(yaml);
        assert_eq!(found, path, "{yaml}: {text}");
        assert!(text.contains(message), "{yaml}: {text}");
    }
}

#[test]
fn the_schema_names_the_events() {
    let schema = ConnectorType::of::<Scripts>()
        .schema()
        .to_value()
        .to_string();
    for event in ScriptEvent::ALL {
        assert!(schema.contains(&format!("\"{event}\":")), "{event}");
    }
}

#[test]
fn the_sample_has_the_published_shape() {
    let stanza = ConnectorType::of::<Scripts>();
    let shape = servo_shape::Shape::of(&stanza.schema());
    let mut sample: Value = serde_yaml::from_str(stanza.sample()).unwrap();
    assert_eq!(shape.check(&mut sample), []);
}

#[test]
fn a_build_that_cannot_run_it_says_so() {
    assert!(
        ConnectorType::of::<Scripts>()
            .unavailable()
            .unwrap()
            .contains("scripts")
    );
}

fn any_value() -> impl Strategy<Value = Value> {
    let key = prop_oneof!["before|on|after|measure|run|timeout|on_failure", ".{0,6}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "cancel|fail|5s|.{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..4).prop_map(|pairs| Value::Mapping(
                pairs.into_iter().map(|(k, v)| (k.into(), v)).collect()
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_panics_and_what_is_accepted_reads_back(value in any_value()) {
        if let Ok(config) = serde_yaml::from_value::<ScriptsConfig>(value) {
            let _ = Scripts::validate(&config);
            let shown = serde_yaml::to_value(&config).unwrap();
            prop_assert_eq!(serde_yaml::from_value::<ScriptsConfig>(shown).unwrap(), config);
        }
    }
}
