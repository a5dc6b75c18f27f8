//! Service levels: what is accepted, what is refused with which words, and the verdict (`spec/optimizer-protocol.md
//! §14`, `spec/metrics-and-load.md` §2).

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use servo_messages::{
    Control, DataPoint, ErrorKind, Metric, Reading, Slo, SloObserver, SloStatus, TimeSeries, Unit,
    Verdict,
};

fn slo(conditions: Value) -> Slo {
    let json = json!({ "conditions": conditions });
    Slo::parse(&json, "slo").unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn observer(condition: Value) -> SloObserver {
    SloObserver::new(slo(json!([condition])), false)
}

fn point(name: &str, value: f64) -> Reading {
    DataPoint::new(Metric::new(name, Unit::Count), Timestamp::UNIX_EPOCH, value)
        .unwrap()
        .into()
}

fn series(name: &str, values: &[f64]) -> Reading {
    let points = values.iter().map(|value| (Timestamp::UNIX_EPOCH, *value));
    TimeSeries::new(Metric::new(name, Unit::Count), points).into()
}

fn at(second: i8) -> Timestamp {
    format!("2020-01-21T12:00:{second:02}Z").parse().unwrap()
}

fn status(verdict: &Verdict) -> SloStatus {
    let mut statuses = verdict.statuses.keys();
    let status = *statuses.next().unwrap();
    assert_eq!(statuses.next(), None);
    status
}

fn message(verdict: &Verdict) -> String {
    let error = verdict.violation.as_ref().expect("a violation");
    assert_eq!(error.kind, ErrorKind::Aborted);
    assert_eq!(error.reason.as_deref(), Some("slo-violation"));
    error.message.clone()
}

#[test]
fn a_value_on_the_wrong_side_aborts_with_the_agreed_message() {
    let mut observer = observer(json!({"metric": "throughput", "threshold": 6000}));
    let verdict = observer.observe(at(1), &[series("throughput", &[6535.8])]);
    assert_eq!(
        message(&verdict),
        "SLO violation(s) observed: (throughput below 6000)[2020-01-21 12:00:01 SLO failed metric value 6535.8 was not \
         below threshold value 6000]"
    );
    assert_eq!(
        verdict.to_string(),
        "SLO statuses from last check: x1 failed [(throughput below 6000)]"
    );
}

#[test]
fn several_conditions_are_told_together_each_with_its_window() {
    let conditions = json!([
        {"metric": "a", "threshold": 10, "trigger_count": 2, "trigger_window": 3},
        {"metric": "a", "keep": "above", "threshold": 1},
        {"metric": "b", "threshold_metric": "c", "threshold_multiplier": 1.1, "trigger_count": 2,
         "trigger_window": 4, "description": "as before"},
    ]);
    let mut observer = SloObserver::new(slo(conditions), false);
    let first = [point("a", 20.0), point("b", 5.0), point("c", 4.0)];
    assert_eq!(observer.observe(at(1), &first).violation, None);
    let second = [point("a", 5.0), point("b", 5.0)];
    let verdict = observer.observe(at(2), &second);
    assert_eq!(verdict.violation, None);
    assert_eq!(
        verdict.to_string(),
        "SLO statuses from last check: x2 passed [(a below 10), (a above 1)], x1 missing_threshold \
         [(b below c -> as before)]"
    );
    let third = [point("a", 20.5), point("b", 5.0), point("c", 4.0)];
    let time = "2020-01-21T12:00:03.000250Z".parse().unwrap();
    assert_eq!(
        message(&observer.observe(time, &third)),
        "SLO violation(s) observed: (a below 10)[2020-01-21 12:00:01 SLO failed metric value 20 was not below threshold \
         value 10, 2020-01-21 12:00:02 SLO passed, 2020-01-21 12:00:03.000250 SLO failed metric value 20.5 was not below \
         threshold value 10], (b below c -> as before)[2020-01-21 12:00:01 SLO failed metric value 5 was not below \
         threshold value 4.4, 2020-01-21 12:00:02 Threshold metric c was not found in readings, \
         2020-01-21 12:00:03.000250 SLO failed metric value 5 was not below threshold value 4.4]"
    );
}

#[test]
fn the_limit_itself_passes_and_decimals_are_exact() {
    for (condition, value, expected) in [
        (json!({"threshold": 10}), 10.0, SloStatus::Passed),
        (
            json!({"threshold": 10, "keep": "above"}),
            10.0,
            SloStatus::Passed,
        ),
        (json!({"threshold": 0.1}), 0.1, SloStatus::Passed),
        (
            json!({"threshold": 0.1, "threshold_multiplier": 3}),
            0.3,
            SloStatus::Passed,
        ),
        (
            json!({"threshold": 0.1, "threshold_multiplier": 3, "keep": "above"}),
            0.3,
            SloStatus::Passed,
        ),
        (json!({"threshold": "0.2"}), 0.21, SloStatus::Failed),
        (
            json!({"threshold": 1, "keep": "above"}),
            0.0,
            SloStatus::Failed,
        ),
        (json!({"threshold": 0}), 0.0, SloStatus::Passed),
    ] {
        let mut condition = condition;
        condition["metric"] = json!("m");
        let verdict = observer(condition.clone()).observe(at(0), &[point("m", value)]);
        assert_eq!(status(&verdict), expected, "{condition}");
    }
}

#[test]
fn numbers_are_told_in_the_shortest_form() {
    for (values, threshold, told) in [
        (
            [16001.0, 16002.0].as_slice(),
            json!(3.0),
            "metric value 16001.5 was not below threshold value 3",
        ),
        (
            &[0.3, 0.1, 0.2],
            json!(0.1),
            "metric value 0.2 was not below threshold value 0.1",
        ),
        (
            &[f64::INFINITY, 1.0],
            json!("1e3"),
            "metric value inf was not below threshold value 1000",
        ),
        (
            &[f64::MAX, f64::MAX],
            json!(-0.0),
            "metric value 1.7976931348623157e308 was not below threshold value 0",
        ),
    ] {
        let mut observer = observer(json!({"metric": "m", "threshold": threshold}));
        let message = message(&observer.observe(at(0), &[series("m", values)]));
        assert!(message.contains(told), "{message}");
    }
}

#[test]
fn missing_and_near_zero_values_have_their_own_words_and_do_not_abort() {
    let relative =
        json!({"metric": "m", "threshold_metric": "t", "trigger_window": 6, "trigger_count": 6});
    let told = |readings: &[Reading]| {
        let mut observer = observer(relative.clone());
        let mut verdict = observer.observe(at(1), readings);
        for second in 2..=6 {
            assert_eq!(verdict.violation, None);
            verdict = observer.observe(at(second), &[point("m", 9.0), point("t", 1.0)]);
        }
        assert_eq!(verdict.violation, None);
        // The outcome asked about is the oldest but one of a full window of five failures more.
        let mut all = self::observer({
            let mut relative = relative.clone();
            relative["trigger_count"] = json!(1);
            relative
        });
        let _ = all.observe(at(1), readings);
        message(&all.observe(at(2), &[point("m", 9.0), point("t", 1.0)]))
    };
    for (readings, text) in [
        (vec![], "Metric m was not found in readings"),
        (
            vec![series("m", &[]), point("t", 1.0)],
            "Metric m was not found in readings",
        ),
        (
            vec![series("m", &[f64::NAN])],
            "Metric m was not found in readings",
        ),
        (
            vec![point("m", 0.1)],
            "Threshold metric t was not found in readings",
        ),
        (
            vec![point("m", 1.0), series("t", &[])],
            "Threshold metric t was not found in readings",
        ),
        (
            vec![point("m", 0.2), point("t", 9.0)],
            "Skipping SLO m due to near-zero metric value of 0.2",
        ),
        (
            vec![point("m", 5.0), point("t", 0.25)],
            "Skipping SLO m due to near-zero threshold value of 0.25",
        ),
    ] {
        let message = told(&readings);
        assert!(
            message.contains(&format!("[2020-01-21 12:00:01 {text}, ")),
            "{message}"
        );
    }
}

#[test]
fn zero_counts_as_missing_only_if_so_told() {
    let conditions = json!([{"metric": "m", "threshold": 1, "keep": "above"}]);
    for (told, expected) in [(true, SloStatus::MissingMetric), (false, SloStatus::Failed)] {
        let mut observer = SloObserver::new(slo(conditions.clone()), told);
        assert_eq!(
            status(&observer.observe(at(0), &[point("m", 0.0)])),
            expected
        );
    }
    let relative = json!([{"metric": "m", "threshold_metric": "t"}]);
    let mut observer = SloObserver::new(slo(relative), true);
    let verdict = observer.observe(at(0), &[point("m", 1.0), point("t", 0.0)]);
    assert_eq!(status(&verdict), SloStatus::MissingThreshold);
}

#[test]
fn the_mean_is_over_instances_not_over_points() {
    let mut observer = observer(json!({"metric": "m", "threshold": 2}));
    let readings = [
        series("m", &[1.0, 1.0, 1.0]),
        series("m", &[5.0]),
        series("m", &[]),
    ];
    let message = message(&observer.observe(at(0), &readings));
    assert!(message.contains("metric value 3 was not"), "{message}");
}

/// The values of the checks, none where there is nothing, and after which of them the measurement ends.
fn triggered_at(count: u32, window: u32, values: &[Option<f64>]) -> Option<usize> {
    let mut observer = observer(
        json!({"metric": "m", "threshold": 10, "trigger_count": count, "trigger_window": window}),
    );
    values.iter().position(|value| {
        let readings: Vec<Reading> = value.iter().map(|value| point("m", *value)).collect();
        observer.observe(at(0), &readings).violation.is_some()
    })
}

#[test]
fn windows() {
    let (bad, good, none) = (Some(20.0), Some(5.0), None);
    for (count, window, values, expected) in [
        (1, 1, vec![good, bad], Some(1)),
        (2, 2, vec![bad, good, bad], None),
        (2, 3, vec![bad, good, bad], Some(2)),
        (2, 2, vec![bad, none, bad, bad], Some(3)),
        (2, 2, vec![bad, none, none, none, bad], None),
        (3, 3, vec![bad, bad, none, bad, bad, bad], Some(5)),
    ] {
        assert_eq!(triggered_at(count, window, &values), expected, "{values:?}");
    }
}

#[test]
fn refusals_have_the_agreed_words_and_name_the_place() {
    let with = |more: Value| {
        let mut condition = json!({"metric": "same", "threshold": 6000});
        for (key, value) in more.as_object().unwrap() {
            condition[key] = value.clone();
        }
        json!({ "conditions": [condition] })
    };
    for (slo, expected) in [
        (json!([]), "slo: expected an object but found a list"),
        (
            json!({}),
            "slo.conditions: missing: expected a list of conditions",
        ),
        (
            json!({"conditions": [], "foo": 1}),
            "slo.foo: unknown key: expected conditions",
        ),
        (
            json!({"conditions": 1}),
            "slo.conditions: expected a list of conditions but found a number",
        ),
        (
            json!({"conditions": [1]}),
            "slo.conditions[0]: expected an object but found a number",
        ),
        (
            json!({"conditions": [{"threshold": 1}]}),
            "slo.conditions[0].metric: missing: expected the name of a metric",
        ),
        (
            json!({"conditions": [{"metric": "m"}]}),
            "slo.conditions[0]: SLO Condition must specify either threshold or threshold_metric",
        ),
        (
            with(json!({"threshold_metric": "t"})),
            "slo.conditions[0]: SLO Condition cannot specify both threshold and threshold_metric",
        ),
        (
            with(json!({"trigger_count": 2, "trigger_window": 1})),
            "slo.conditions[0]: trigger_count cannot be greater than trigger_window (2 > 1)",
        ),
        (
            with(json!({"trigger_count": 0})),
            "slo.conditions[0].trigger_count: expected a whole number of at least 1 but found 0",
        ),
        (
            with(json!({"trigger_window": 1.5})),
            "slo.conditions[0].trigger_window: expected a whole number of at least 1 but found 1.5",
        ),
        (
            with(json!({"trigger_count": true})),
            "slo.conditions[0].trigger_count: expected a whole number of at least 1 but found true",
        ),
        (
            with(json!({"keep": "under"})),
            "slo.conditions[0].keep: expected 'below' or 'above' but found 'under'",
        ),
        (
            with(json!({"threshold": "many"})),
            "slo.conditions[0].threshold: expected a number but found \"many\"",
        ),
        (
            with(json!({"threshold": true})),
            "slo.conditions[0].threshold: expected a number but found a boolean",
        ),
        (
            with(json!({"metric": 5})),
            "slo.conditions[0].metric: expected a text but found a number",
        ),
    ] {
        let error = Slo::parse(&slo, "slo").unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let unknown = Slo::parse(&with(json!({"thresh": 1})), "slo").unwrap_err();
    assert!(
        unknown
            .to_string()
            .starts_with("slo.conditions[0].thresh: unknown key: expected description, metric, "),
        "{unknown}"
    );
}

#[test]
fn conditions_must_differ_in_something() {
    let twice = json!({"conditions": [
        {"metric": "same", "threshold": 6000}, {"metric": "same", "threshold": 6000.0},
        {"metric": "same2", "threshold_metric": "same3"},
        {"metric": "same2", "threshold_metric": "same3", "trigger_count": 1},
        {"metric": "same", "threshold": "6000"},
        {"metric": "other", "threshold": 0},
    ]});
    assert_eq!(
        Slo::parse(&twice, "slo").unwrap_err().to_string(),
        "slo.conditions: Slo conditions must be unique. Redundant conditions found: (same below 6000), (same2 below same3)"
    );
    let different = json!([
        {"metric": "m", "threshold": 1}, {"metric": "m", "threshold": 1, "threshold_multiplier": 2},
        {"metric": "m", "threshold": 1, "trigger_count": 2}, {"metric": "m", "threshold": 1, "keep": "above"},
        {"metric": "m", "threshold": 1, "description": "d"},
    ]);
    assert_eq!(slo(different).conditions.len(), 5);
}

#[test]
fn a_threshold_of_zero_shows() {
    let slo = slo(
        json!([{"metric": "a", "threshold": 0}, {"metric": "b", "threshold": 0.50, "keep": "above", "description": "d"}]),
    );
    let texts: Vec<String> = slo.conditions.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["(a below 0)", "(b above 0.5 -> d)"]);
}

#[test]
fn a_minimum_that_means_nothing_is_a_warning() {
    let slo = slo(
        json!([{"metric": "m", "threshold": 1, "slo_threshold_minimum": 0.5},
        {"metric": "m", "threshold_metric": "t", "slo_threshold_minimum": 0.5}]),
    );
    assert_eq!(slo.warnings.len(), 1);
    assert!(
        slo.warnings[0].starts_with("SLO condition (m below 1): slo_threshold_minimum"),
        "{:?}",
        slo.warnings
    );
    assert_eq!(slo.metrics().into_iter().collect::<Vec<_>>(), ["m", "t"]);
}

/// Acceptance 16: what makes no sense makes the command fail, before anything is done.
#[test]
fn a_control_with_conditions_that_make_no_sense_is_refused() {
    let control = |conditions: Value| {
        serde_json::from_value::<Control>(
            json!({"userdata": {"slo": {"conditions": conditions}, "mine": 1}}),
        )
    };
    let error = control(json!([{"metric": "m", "threshold": 1, "foo": 2}])).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("userdata.slo.conditions[0].foo: unknown key"),
        "{error}"
    );
    let control = control(json!([{"metric": "m", "threshold": 1}])).unwrap();
    assert_eq!(Slo::of(&control).unwrap().unwrap().conditions.len(), 1);
    assert_eq!(control.userdata.unwrap()["mine"], 1);
    for none in [
        json!({"userdata": {"slo": null}}),
        json!({"userdata": {}}),
        json!({}),
    ] {
        let control: Control = serde_json::from_value(none).unwrap();
        assert_eq!(Slo::of(&control), Ok(None));
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9.e]{0,6}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("conditions".to_owned()),
        Just("metric".to_owned()),
        Just("keep".to_owned()),
        Just("threshold".to_owned()),
        Just("threshold_metric".to_owned()),
        Just("trigger_count".to_owned()),
        Just("trigger_window".to_owned()),
        Just("threshold_multiplier".to_owned()),
        Just("slo_metric_minimum".to_owned()),
        "[a-z]{1,3}",
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_that_is_sent_makes_it_panic(json in any_json(), value in any::<f64>()) {
        if let Ok(slo) = Slo::parse(&json, "slo") {
            let names: Vec<String> = slo.metrics().into_iter().map(str::to_owned).collect();
            let mut observer = SloObserver::new(slo, false);
            let readings: Vec<Reading> = names.iter().map(|name| series(name, &[value])).collect();
            let _ = observer.observe(at(0), &readings).to_string();
        }
        let condition = json!({"conditions": [json]});
        let _ = Slo::parse(&condition, "slo");
    }

    /// The verdict is that of the definition: of the last `window` outcomes, `count` or more failed, and the last one
    /// was a comparison.
    #[test]
    fn triggers_as_defined(
        count in 1_u32..5,
        more in 0_u32..4,
        values in proptest::collection::vec(proptest::option::of(prop_oneof![Just(5.0), Just(20.0)]), 0..40),
    ) {
        let window = count + more;
        let expected = (0..values.len()).find(|last| {
            let first = (last + 1).saturating_sub(window as usize);
            let failed = values[first..=*last].iter().filter(|value| **value == Some(20.0)).count();
            values[*last].is_some() && failed >= count as usize
        });
        prop_assert_eq!(triggered_at(count, window, &values), expected);
    }

    #[test]
    fn the_value_told_reads_back_as_the_value(value in any::<f64>()) {
        prop_assume!(value.is_finite());
        let mut observer = observer(json!({"metric": "m", "threshold": f64::MIN}));
        let verdict = observer.observe(at(0), &[point("m", value)]);
        if value > f64::MIN {
            let message = message(&verdict);
            let told = message.split("metric value ").nth(1).unwrap().split(' ').next().unwrap();
            prop_assert_eq!(told.parse::<f64>().unwrap(), value);
        }
    }
}
