use proptest::prelude::*;
use servo_messages::{Number, SettingValue};

use crate::strategies::{near_text, number, setting_value};

#[test]
fn numbers_keep_their_type_and_compare_by_value() {
    let int: Number = serde_json::from_str("2").unwrap();
    let float: Number = serde_json::from_str("2.0").unwrap();
    assert!(int.is_int() && !float.is_int());
    assert_eq!(int, float);
    assert_eq!(
        (int.to_string(), float.to_string()),
        ("2".to_owned(), "2.0".to_owned())
    );
    assert_eq!(serde_json::to_string(&float).unwrap(), "2.0");
    assert!(Number::Int(2) < Number::Float(2.5) && Number::Float(-2.5) < Number::Int(-2));
    assert!(Number::Int(i64::MAX) < Number::Float(9.3e18));
    // 2^53 + 1 is no float: converting would call these equal.
    assert_ne!(
        Number::Int(9_007_199_254_740_993),
        Number::Float(9_007_199_254_740_992.0)
    );
    assert_ne!(Number::Float(f64::NAN), Number::Int(0));
}

#[test]
fn values_are_numbers_or_texts() {
    assert_eq!(SettingValue::from(5), SettingValue::from(5.0));
    assert_ne!(SettingValue::from(5), SettingValue::from("5"));
    for refused in ["true", "null", "[1]", "{}"] {
        assert!(
            serde_json::from_str::<SettingValue>(refused).is_err(),
            "{refused}"
        );
    }
    assert!(serde_yaml::from_str::<SettingValue>(".nan").is_err());
    assert!(serde_json::from_str::<Number>("\"0\"").is_err());
}

#[test]
fn typed_values() {
    for (text, value) in [
        ("2", SettingValue::from(2)),
        ("-2", SettingValue::from(-2)),
        ("1.25", SettingValue::from(1.25)),
        ("1e3", SettingValue::from(1000.0)),
        ("250m", SettingValue::from("250m")),
        ("512Mi", SettingValue::from("512Mi")),
        ("inf", SettingValue::from("inf")),
        ("1e999", SettingValue::from("1e999")),
        ("-", SettingValue::from("-")),
    ] {
        assert_eq!(SettingValue::from_typed(text), value, "{text}");
    }
}

proptest! {
    #[test]
    fn numbers_round_trip(number in number()) {
        let json = serde_json::to_string(&number).unwrap();
        let back: Number = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(back, number);
        prop_assert_eq!(back.is_int(), number.is_int());
        prop_assert_eq!(SettingValue::from_typed(&number.to_string()), SettingValue::Number(number));
    }

    #[test]
    fn values_round_trip(value in setting_value()) {
        let json = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(serde_json::from_str::<SettingValue>(&json).unwrap(), value);
    }

    #[test]
    fn comparison_is_consistent(left in number(), right in number()) {
        prop_assert_eq!(left.partial_cmp(&right), right.partial_cmp(&left).map(std::cmp::Ordering::reverse));
        prop_assert_eq!(left == right, left.partial_cmp(&right) == Some(std::cmp::Ordering::Equal));
    }

    #[test]
    fn any_text_is_a_value(text in near_text()) {
        let value = SettingValue::from_typed(&text);
        prop_assert!(value.as_str().is_none_or(|kept| kept == text));
    }
}
