//! `spec/config-and-cli.md` §11, items 49 to 53, as far as they are about values.

use serde_json::json;
use servo_messages::{
    Description, Duration, EnumSetting, Metric, RangeSetting, Setting, SettingWarning, Timeouts,
    Unit,
};

#[test]
fn item_49_durations_of_a_configuration_file() {
    for text in [
        "1h30", "hello5s", "5m-3s", "''", "'3'", "5S", "'-'", "s", ".", "5 s", "invalid", "5sx",
        "1.2.3s",
    ] {
        let error = serde_yaml::from_str::<std::collections::BTreeMap<String, Duration>>(&format!(
            "{{key: {text}}}"
        ))
        .unwrap_err();
        assert!(error.to_string().starts_with("key: "), "{text}: {error}");
    }
    let error = serde_yaml::from_str::<Timeouts>("{connect: -5s}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "Invalid duration '-5s': a length of time cannot be negative"
    );
}

#[test]
fn item_50_odd_ranges_load_with_a_warning() {
    let warnings = |yaml: &str| {
        let range: RangeSetting = serde_yaml::from_str(yaml).unwrap();
        range
            .warnings()
            .iter()
            .map(SettingWarning::to_string)
            .collect::<Vec<_>>()
    };
    for (yaml, expected) in [
        (
            "{name: invalid, min: 3.0, max: 11.0, step: 3.0}",
            &[
                "RangeSetting('invalid' 3.0-11.0, 3.0) min/max difference is not step aligned: 8.0 is not a multiple of 3.0 \
               (consider min 5.0 or 2.0, max 9.0 or 12.0).",
            ][..],
        ),
        (
            "{name: r, min: 10, max: 0, step: 1}",
            &["min cannot be greater than max (10 > 0)"][..],
        ),
        (
            "{name: r, min: 1, max: 5, step: 0}",
            &["step cannot be zero"][..],
        ),
        (
            "{name: r, min: 1, max: 5, step: -1}",
            &["step cannot be negative (-1)"][..],
        ),
        ("{name: r, min: 1.0, max: 2.0, step: 0.1}", &[][..]),
        ("{name: r, min: 5, max: 5, step: 0}", &[][..]),
    ] {
        assert_eq!(warnings(yaml), expected, "{yaml}");
    }
}

#[test]
fn item_51_a_pinned_value_changes_to_its_equal_only() {
    let yaml = "{type: range, name: replicas, min: 1, max: 4, step: 1, pinned: true, value: 2}";
    let pinned: Setting = serde_yaml::from_str(yaml).unwrap();
    let error = pinned.with_value(3.into()).unwrap_err().to_string();
    assert!(
        error.ends_with("value of pinned settings cannot be changed: assigned value 3 is not equal to existing value 2"),
        "{error}"
    );
    assert!(pinned.with_value(2.0.into()).is_ok());
}

#[test]
fn item_52_numeric_options_stay_numbers() {
    let yaml = "{type: enum, name: e, values: [1, 2], value: 1}";
    let setting: Setting = serde_yaml::from_str(yaml).unwrap();
    assert!(setting.accepts(&2.into()).is_ok());
    let wire = setting.with_value(2.0.into()).unwrap().to_wire();
    assert_eq!(
        wire.to_string(),
        r#"{"type":"enum","values":[1,2],"pinned":false,"value":2}"#
    );
    // The wire's own JSON type is kept on the way in, too.
    let Setting::Enum(EnumSetting { values, .. }) = Setting::from_wire("e", &wire, "e").unwrap()
    else {
        panic!("an enum")
    };
    assert!(
        values
            .iter()
            .all(|value| value.as_number().is_some_and(|number| number.is_int()))
    );
}

#[test]
fn item_53_units_have_a_name_and_a_text() {
    assert_eq!(Unit::Count.label(), "count ()");
    assert_eq!(Unit::RequestsPerSecond.label(), "requests_per_second (rps)");
    let by =
        |unit: &str| serde_yaml::from_str::<Metric>(&format!("{{name: m, unit: {unit}}}")).unwrap();
    assert_eq!(by("requests_per_second"), by("rps"));
    assert_eq!(by("count").unit, Unit::Count);
    let description = Description {
        metrics: vec![by("count")],
        ..Description::default()
    };
    assert_eq!(
        description.to_wire()["measurement"],
        json!({"metrics": {"m": {"unit": ""}}})
    );
}
