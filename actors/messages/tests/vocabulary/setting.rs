use proptest::prelude::*;
use schemars::schema_for;
use serde_json::{Value, json};
use servo_messages::{
    EnumSetting, EnvironmentSetting, RangeSetting, Setting, SettingError, SettingValue,
};

use crate::strategies::{list, number, range, setting, setting_value};

fn warnings(range: RangeSetting) -> Vec<String> {
    range.warnings().iter().map(ToString::to_string).collect()
}

#[test]
fn range_warnings() {
    assert_eq!(warnings(RangeSetting::new("r", 0, 10, 1)), [""; 0]);
    assert_eq!(
        warnings(RangeSetting::new("r", 10, 0, 1)),
        ["min cannot be greater than max (10 > 0)"]
    );
    assert_eq!(
        warnings(RangeSetting::new("r", 1, 5.0, 1)),
        [
            "invalid range: min, max, and step must all be of the same Numeric type (int: min, step. float: max.)"
        ]
    );
    assert_eq!(
        warnings(RangeSetting::new("r", 1.0, 5, 1)),
        [
            "invalid range: min, max, and step must all be of the same Numeric type (float: min. int: max, step.)"
        ]
    );
    assert_eq!(
        warnings(RangeSetting {
            value: Some(10.into()),
            ..RangeSetting::new("r", 1, 5, 1)
        }),
        ["invalid value: 10 is outside of the range 1-5"]
    );
    assert_eq!(
        warnings(RangeSetting::new("r", 1, 1, 1)),
        [
            "step must be zero when min equals max: step 1 cannot step from 1 to 1 (consider using the pinned attribute \
             of settings if you have a value you don't want changed)"
        ]
    );
    assert_eq!(warnings(RangeSetting::new("r", 1, 1, 0)), [""; 0]);
    assert_eq!(
        warnings(RangeSetting::new("r", 1, 5, 0)),
        ["step cannot be zero"]
    );
    assert_eq!(
        warnings(RangeSetting::new("invalid", 3.0, 11.0, 3.0)),
        [
            "RangeSetting('invalid' 3.0-11.0, 3.0) min/max difference is not step aligned: 8.0 is not a multiple of 3.0 \
             (consider min 5.0 or 2.0, max 9.0 or 12.0)."
        ]
    );
    assert_eq!(
        warnings(RangeSetting::new("invalid", 3.0, 13.0, 3.0)),
        [
            "RangeSetting('invalid' 3.0-13.0, 3.0) min/max difference is not step aligned: 10.0 is not a multiple of 3.0 \
             (consider min 4.0 or 1.0, max 12.0 or 15.0)."
        ]
    );
    assert_eq!(
        warnings(RangeSetting::new("r", 1, 5, -1)),
        ["step cannot be negative (-1)"]
    );
}

#[test]
fn warnings_come_in_the_order_of_the_specification() {
    let range = RangeSetting {
        value: Some(20.into()),
        ..RangeSetting::new("r", 10, 0.0, 0)
    };
    assert_eq!(
        warnings(range),
        [
            "min cannot be greater than max (10 > 0.0)",
            "invalid range: min, max, and step must all be of the same Numeric type (int: min, step. float: max.)",
            "invalid value: 20 is outside of the range 10-0.0",
            "step cannot be zero",
        ]
    );
}

#[test]
fn alignment_is_decimal() {
    for (difference, step, aligned) in [
        (1.0, 0.1, true),
        (1.0, 0.125, true),
        (1.0, 0.3, false),
        (0.3, 0.1, true),
        (5.0, 6.0, false),
    ] {
        let range = RangeSetting::new("r", 0.0, difference, step);
        assert_eq!(range.warnings().is_empty(), aligned, "{difference}/{step}");
    }
    assert_eq!(
        warnings(RangeSetting::new("r", 1, 6, 6)),
        [
            "RangeSetting('r' 1-6, 6) min/max difference is not step aligned: 5 is not a multiple of 6 \
             (consider min 0 or -6, max 7 or 13)."
        ]
    );
    // A resource cannot be zero or less, so no such bound is suggested.
    assert_eq!(
        warnings(RangeSetting {
            step: 4.0.into(),
            ..RangeSetting::cpu(1.0, 6.0).unwrap()
        }),
        [
            "CPU('cpu' 1.0-6.0, 4.0) min/max difference is not step aligned: 5.0 is not a multiple of 4.0 \
             (consider min 2.0, max 5.0 or 9.0)."
        ]
    );
}

#[test]
fn well_known_settings() {
    let cpu = RangeSetting::cpu(0.25, 4.0).unwrap();
    assert_eq!(
        cpu.to_string(),
        "CPU(range=[0.25..4.0], step=0.125, unit=cores)"
    );
    assert_eq!(
        RangeSetting::cpu(0.0, 4.0).unwrap_err().to_string(),
        "setting 'cpu': min must be greater than zero (found 0.0)"
    );
    assert!(RangeSetting::cpu(f64::NAN, 4.0).is_err());
    let memory = RangeSetting::memory(0.25, 8.0, 0.125).unwrap();
    assert_eq!(
        memory.to_string(),
        "Memory(range=[0.25..8.0], step=0.125, unit=GiB)"
    );
    assert!(RangeSetting::memory(0, 8, 1).is_err());
    assert!(
        warnings(RangeSetting {
            min: 0.into(),
            ..memory
        })
        .contains(&"min must be greater than zero".to_owned()),
        "as read from the wire"
    );
    assert_eq!(
        RangeSetting::replicas(1, 10).to_string(),
        "Replicas(range=[1..10], step=1)"
    );
    assert_eq!(
        EnumSetting::instance_type(["a", "b"]).unwrap().to_string(),
        "InstanceType(values=['a', 'b'], unit=ec2)"
    );
}

#[test]
fn summaries() {
    let range = RangeSetting {
        unit: Some("cores".into()),
        ..RangeSetting::new("r", 0, 10, 1)
    };
    assert_eq!(
        range.to_string(),
        "RangeSetting(range=[0..10], step=1, unit=cores)"
    );
    assert_eq!(Setting::from(range).short_text(), "r (range 0-10, 1)");
    let list = EnumSetting {
        unit: Some("ec2".into()),
        ..EnumSetting::new("e", ["a", "b"]).unwrap()
    };
    assert_eq!(list.to_string(), "EnumSetting(values=['a', 'b'], unit=ec2)");
}

#[test]
fn configuration_form() {
    let yaml = "{name: gc, type: enum, values: [one, 2], value: 2.0, unit: x}";
    let Setting::Enum(list) = serde_yaml::from_str(yaml).unwrap() else {
        panic!("an enum")
    };
    assert_eq!(list.value, Some(2.into()));
    for (yaml, problem) in [
        (
            "{name: e, type: enum, values: [one, two], value: three}",
            "invalid value: 'three' is not in the values list ['one', 'two']",
        ),
        (
            "{name: e, type: enum, values: []}",
            "values must hold at least one value",
        ),
        (
            "{name: r, type: range, min: '0', max: 1, step: 1}",
            "expected a number",
        ),
        (
            "{name: r, type: range, min: 0, max: 1}",
            "missing field `step`",
        ),
        (
            "{name: r, type: range, min: 0, max: 1, step: .inf}",
            "must be finite",
        ),
        (
            "{name: r, type: range, min: 0, max: 1, step: 1, stride: 2}",
            "unknown field `stride`",
        ),
        ("{name: r, min: 0, max: 1, step: 1}", "missing field `type`"),
    ] {
        let error = serde_yaml::from_str::<Setting>(yaml)
            .unwrap_err()
            .to_string();
        assert!(error.contains(problem), "{yaml}: {error}");
    }
}

#[test]
fn pinned_settings_keep_their_value() {
    let pinned = Setting::from(RangeSetting {
        pinned: true,
        value: Some(2.into()),
        ..RangeSetting::new("replicas", 1, 4, 1)
    });
    assert_eq!(
        pinned.with_value(3.into()).unwrap_err().to_string(),
        "setting 'replicas': value of pinned settings cannot be changed: assigned value 3 is not equal to existing value 2"
    );
    assert!(
        pinned.with_value(2.0.into()).is_ok(),
        "numeric equality counts"
    );
    assert!(matches!(
        pinned.with_value("2".into()),
        Err(SettingError::Pinned { .. })
    ));
    assert!(pinned.accepts(&3.into()).is_err());
    assert_eq!(pinned.with_live_value(3.into()).value(), Some(3.into()));

    let unset = Setting::from(RangeSetting {
        pinned: true,
        ..RangeSetting::new("r", 1, 4, 1)
    });
    assert_eq!(unset.with_value(3.into()).unwrap().value(), Some(3.into()));
}

#[test]
fn a_new_value_may_leave_the_range_with_a_warning() {
    let range = Setting::from(RangeSetting::new("r", 1, 5, 1));
    let changed = range.with_value(10.into()).unwrap();
    assert_eq!(
        changed.warnings()[0].to_string(),
        "invalid value: 10 is outside of the range 1-5"
    );
    assert!(range.with_value("x".into()).is_err());
    let list = Setting::from(EnumSetting::new("e", [1, 2]).unwrap());
    assert_eq!(
        list.with_value(2.0.into()).unwrap().value(),
        Some(2.into()),
        "the option as declared"
    );
    assert!(list.with_value("2".into()).is_err());
}

#[test]
fn what_an_optimizer_may_set() {
    let ints = Setting::from(RangeSetting {
        value: Some(6.into()),
        ..RangeSetting::new("workers", 1, 9, 2)
    });
    let floats = Setting::from(RangeSetting::new("cpu", 0.1, 1.0, 0.1));
    let list = Setting::from(EnumSetting::new("gc", [SettingValue::from("a"), 2.into()]).unwrap());
    let accepted: &[(&Setting, SettingValue)] = &[
        (&ints, 1.into()),
        (&ints, 3.0.into()),
        (&ints, 9.into()),
        (&ints, 6.into()),
        (&floats, (0.1 + 0.2).into()),
        (&floats, 1.into()),
        (&list, "a".into()),
        (&list, 2.0.into()),
    ];
    for (setting, value) in accepted {
        setting.accepts(value).unwrap();
    }
    for (setting, value, error) in [
        (
            &ints,
            4.into(),
            "setting 'workers': invalid value: 4 is not on a step (allowed: 1 to 9 in steps of 2)",
        ),
        (
            &ints,
            3.5.into(),
            "setting 'workers': invalid value: 3.5 is not on a step (allowed: 1 to 9 in steps of 2)",
        ),
        (
            &ints,
            11.into(),
            "setting 'workers': invalid value: 11 is outside of the range 1-9",
        ),
        (
            &ints,
            "3".into(),
            "setting 'workers': invalid value: '3' is not a number (allowed: 1 to 9 in steps of 2)",
        ),
        (
            &floats,
            f64::NAN.into(),
            "setting 'cpu': invalid value: NaN is not a number (allowed: 0.1 to 1.0 in steps of 0.1)",
        ),
        (
            &list,
            SettingValue::from("b"),
            "setting 'gc': invalid value: 'b' is not in the values list ['a', 2]",
        ),
    ] {
        assert_eq!(setting.accepts(&value).unwrap_err().to_string(), error);
    }
}

#[test]
fn wire_form() {
    let cpu = Setting::from(RangeSetting {
        value: Some(1.0.into()),
        ..RangeSetting::cpu(0.25, 4.0).unwrap()
    });
    assert_eq!(
        cpu.to_wire(),
        json!({"type": "range", "unit": "cores", "min": 0.25, "max": 4.0, "step": 0.125, "pinned": false, "value": 1.0})
    );
    let unknown = Setting::from(RangeSetting::cpu(0.25, 4.0).unwrap()).to_wire();
    assert_eq!(unknown.get("value"), Some(&Value::Null));
    let replicas = Setting::from(RangeSetting::replicas(1, 4));
    assert_eq!(
        replicas.to_wire(),
        json!({"type": "range", "min": 1, "max": 4, "step": 1, "pinned": false})
    );
    let list = Setting::from(EnumSetting {
        value: Some("g1".into()),
        ..EnumSetting::new("GC", ["g1", "z"]).unwrap()
    });
    assert_eq!(
        list.to_wire(),
        json!({"type": "enum", "values": ["g1", "z"], "pinned": false, "value": "g1"})
    );
}

#[test]
fn wire_form_refused() {
    for (wire, error) in [
        (json!([]), "s: expected an object but found a list"),
        (
            json!({"type": "range", "min": 1, "max": 2}),
            "s.step: missing: expected a number",
        ),
        (
            json!({"type": "range", "min": "1", "max": 2, "step": 1}),
            "s.min: expected a number but found a string",
        ),
        (
            json!({"type": "enum"}),
            "s.values: missing: expected a list",
        ),
        (
            json!({"values": ["a", true]}),
            "s.values[1]: expected a number or a string but found a boolean",
        ),
        (
            json!({"values": []}),
            "s.values: expected at least one value",
        ),
        (
            json!({"type": "set"}),
            "s.type: unknown kind of setting 'set': expected 'range' or 'enum'",
        ),
        (
            json!({"min": 1, "max": 2, "step": 1, "value": true}),
            "s.value: expected a number or a string but found a boolean",
        ),
    ] {
        assert_eq!(
            Setting::from_wire("s", &wire, "s").unwrap_err().to_string(),
            error
        );
    }
}

#[test]
fn live_values_are_read_whatever_they_are() {
    let range = json!({"type": "range", "min": 1, "max": 2, "step": 1, "pinned": true, "value": 7, "extra": null});
    assert_eq!(
        Setting::from_wire("r", &range, "r").unwrap().value(),
        Some(7.into())
    );
    let list = json!({"type": "enum", "values": ["a"], "value": "b"});
    assert_eq!(
        Setting::from_wire("e", &list, "e").unwrap().value(),
        Some("b".into())
    );
}

fn environment(yaml: &str) -> EnvironmentSetting {
    serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"))
}

#[test]
fn environment_settings() {
    let named = environment(
        "{name: THREADS, type: range, min: 1, max: 8, step: 1, value: '4', value_type: int}",
    );
    assert_eq!(named.variable(), "THREADS");
    assert_eq!(
        serde_json::to_value(named.setting().value()).unwrap(),
        json!(4)
    );
    assert_eq!(named.variable_text(&4.0.into()).unwrap(), "4");
    assert!(named.variable_text(&4.5.into()).is_err());

    let unset = environment(
        "{name: t, literal: T, type: range, min: 1.0, max: 8.0, step: 1.0, value: '4'}",
    );
    assert_eq!(unset.variable(), "T");
    assert_eq!(
        serde_json::to_value(unset.setting().value()).unwrap(),
        json!(4.0)
    );
    assert_eq!(unset.value_of("2").unwrap(), 2.into());

    let whole = environment("{name: t, type: range, min: 1, max: 8, step: 1}");
    assert_eq!(whole.variable_text(&4.0.into()).unwrap(), "4");

    let list = environment("{name: gc, literal: JAVA_GC, type: enum, values: [g1, 2], value: g1}");
    assert_eq!((list.name(), list.variable()), ("gc", "JAVA_GC"));
    assert_eq!(list.variable_text(&"g1".into()).unwrap(), "g1");
    assert_eq!(list.value_of("2").unwrap(), 2.into());

    for (yaml, problem) in [
        (
            "{name: t, type: range, min: 1, max: 8, step: 1, value: '4.5', value_type: int}",
            "'4.5' cannot be read as int",
        ),
        (
            "{name: t, type: range, min: 1, max: 8, step: 1, value: many}",
            "'many' cannot be read as float",
        ),
        ("{name: t, min: 1, max: 8, step: 1}", "missing field `type`"),
        (
            "{name: t, type: enum, values: [a], value: b}",
            "is not in the values list ['a']",
        ),
    ] {
        let error = serde_yaml::from_str::<EnvironmentSetting>(yaml)
            .unwrap_err()
            .to_string();
        assert!(error.contains(problem), "{yaml}: {error}");
    }
}

#[test]
fn schemas_name_the_keys() {
    let schema = schema_for!(EnvironmentSetting).to_value().to_string();
    for key in [
        "\"range\"",
        "\"enum\"",
        "\"literal\"",
        "\"value_type\"",
        "\"step\"",
        "\"values\"",
        "\"minItems\":1",
    ] {
        assert!(schema.contains(key), "{key} in {schema}");
    }
    let schema = schema_for!(Setting).to_value().to_string();
    assert!(
        schema.contains("\"pinned\"") && !schema.contains("literal"),
        "{schema}"
    );
}

proptest! {
    #[test]
    fn wire_round_trip(setting in setting()) {
        let wire: Value = serde_json::from_str(&setting.to_wire().to_string()).unwrap();
        prop_assert_eq!(Setting::from_wire(setting.name(), &wire, "s").unwrap(), setting);
    }

    #[test]
    fn configuration_round_trip(setting in setting()) {
        let json = serde_json::to_string(&setting).unwrap();
        prop_assert_eq!(serde_json::from_str::<Setting>(&json).unwrap(), setting);
    }

    #[test]
    fn any_range_can_be_warned_about_and_asked(range in range(), value in number()) {
        let _ = range.warnings().iter().map(ToString::to_string).collect::<Vec<_>>();
        let setting = Setting::from(range);
        let _ = setting.accepts(&value.into());
        let changed = setting.with_live_value(value.into());
        prop_assert_eq!(changed.accepts(&value.into()), Ok(()));
    }

    #[test]
    fn every_step_is_accepted(min in -50_i32..50, steps in 1_i32..60, step in 1_u32..40, at in 0_i32..60) {
        let (min, step) = (f64::from(min) / 10.0, f64::from(step) / 1000.0);
        let range = RangeSetting::new("r", min, min + f64::from(steps) * step, step);
        let value = min + f64::from(at.min(steps)) * step;
        prop_assert_eq!(Setting::from(range).accepts(&value.into()), Ok(()));
    }

    #[test]
    fn a_list_accepts_exactly_its_members(list in list(), other in setting_value()) {
        let setting = Setting::from(EnumSetting { pinned: false, ..list.clone() });
        for option in &list.values {
            prop_assert_eq!(setting.accepts(option), Ok(()));
        }
        prop_assert_eq!(setting.accepts(&other).is_ok(), list.values.contains(&other));
    }
}
