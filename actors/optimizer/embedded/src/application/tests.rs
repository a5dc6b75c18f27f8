#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;

fn range(setting: &str, min: Number, max: Number, step: Number, value: Number) -> Knob {
    Knob {
        component: "web".into(),
        setting: setting.into(),
        unit: String::new(),
        values: Values::Range { min, max, step },
        pinned: false,
        value: Some(SettingValue::Number(value)),
    }
}

fn application() -> Application {
    use Number::{Float, Int};
    let mut pinned = range("port", Int(1), Int(9), Int(1), Int(8));
    pinned.pinned = true;
    let gc = Knob {
        values: Values::OneOf(vec![
            SettingValue::Text("serial".into()),
            SettingValue::Text("g1".into()),
        ]),
        value: Some(SettingValue::Text("g1".into())),
        ..range("gc", Int(0), Int(0), Int(0), Int(0))
    };
    Application {
        settings: vec![
            range("replicas", Int(1), Int(10), Int(1), Int(3)),
            pinned,
            range("cpu", Float(0.1), Float(2.0), Float(0.1), Float(1.0)),
            gc,
            range("fixed", Int(4), Int(4), Int(0), Int(4)),
        ],
        metrics: vec![MetricSpec {
            name: "p99".into(),
            unit: "ms".into(),
        }],
    }
}

#[test]
fn pinned_and_single_valued_settings_are_no_part_of_the_space() {
    let application = application();
    let names: Vec<String> = application
        .space()
        .unwrap()
        .dimensions()
        .iter()
        .map(|d| d.name.clone())
        .collect();
    assert_eq!(names, ["web.replicas", "web.cpu", "web.gc"]);
    assert_eq!(
        application.current().unwrap().to_string(),
        "web.replicas=3 web.cpu=1.0 web.gc=g1"
    );
}

#[test]
fn numbers_keep_the_kind_of_their_description() {
    let application = application();
    let assignment = application.assignment(&[4.0, 0.1 + 0.2, 0.0]);
    assert_eq!(
        serde_json::to_string(&assignment).unwrap(),
        r#"{"web":{"replicas":4,"cpu":0.3,"gc":"serial"}}"#
    );
    let whole = application.assignment(&[4.0, 2.0, 1.0]);
    assert_eq!(
        serde_json::to_string(&whole).unwrap(),
        r#"{"web":{"replicas":4,"cpu":2.0,"gc":"g1"}}"#
    );
}

#[test]
fn assignments_survive_json_and_the_space() {
    let application = application();
    let assignment = application.assignment(&[7.0, 1.3, 1.0]);
    let text = serde_json::to_string(&assignment).unwrap();
    assert_eq!(
        serde_json::from_str::<Assignment>(&text).unwrap(),
        assignment
    );
    assert_eq!(application.point(&assignment).unwrap(), [7.0, 1.3, 1.0]);
    assert!(serde_json::from_str::<Assignment>(r#"{"web": 3}"#).is_err());
}

#[test]
fn a_setting_without_a_value_cannot_be_a_baseline() {
    let mut application = application();
    application.settings[0].value = None;
    let error = application.current().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("web.replicas is described without a value"),
        "{error}"
    );
    application.settings[0].value = Some(SettingValue::Number(Number::Int(3)));
    application.settings[3].value = Some(SettingValue::Text("cms".into()));
    let error = application.current().unwrap_err();
    assert!(
        error.to_string().contains("web.gc has the value cms"),
        "{error}"
    );
}

#[test]
fn present_values_are_no_part_of_the_identity() {
    let application = application();
    let mut moved = application.clone();
    moved.settings[0].value = Some(SettingValue::Number(Number::Int(9)));
    assert_eq!(moved.space_text(), application.space_text());
    moved.settings[0].values = Values::Range {
        min: Number::Int(1),
        max: Number::Int(11),
        step: Number::Int(1),
    };
    assert_ne!(moved.space_text(), application.space_text());
}

#[test]
fn expressions_see_the_values_of_a_configuration() {
    let application = application();
    let assignment = application.assignment(&[7.0, 1.3, 1.0]);
    let values = application.setting_values(&assignment);
    assert_eq!(&values[..3], &[7.0, 8.0, 1.3]);
    assert!(values[3].is_nan());
    assert_eq!(
        &application.setting_values_at(&[7.0, 1.3, 1.0])[..3],
        &[7.0, 8.0, 1.3]
    );
}
