//! Values for the property tests.

use jiff::Timestamp;
use proptest::prelude::*;
use servo_messages::{
    Component, Description, EnumSetting, Metric, Number, RangeSetting, Setting, SettingValue,
    TimeSeries, Unit,
};

/// Texts near the grammars under test, where parsers go wrong sooner than on noise.
pub(crate) fn near_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[-+]?[0-9.]{0,30}[a-zµμEiB =]{0,4}[-+]?[0-9.]{0,24}[a-z]{0,3}"
    ]
}

pub(crate) fn finite() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO
}

pub(crate) fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<i64>().prop_map(Number::Int),
        finite().prop_map(Number::Float)
    ]
}

pub(crate) fn setting_value() -> impl Strategy<Value = SettingValue> {
    prop_oneof![
        number().prop_map(SettingValue::Number),
        any::<String>().prop_map(SettingValue::Text)
    ]
}

fn unit_text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[a-zA-Z%]{0,6}")
}

pub(crate) fn range() -> impl Strategy<Value = RangeSetting> {
    (
        ".{0,8}",
        unit_text(),
        [number(), number(), number()],
        any::<bool>(),
        proptest::option::of(number()),
    )
        .prop_map(
            |(name, unit, [min, max, step], pinned, value)| RangeSetting {
                name,
                unit,
                min,
                max,
                step,
                pinned,
                value,
            },
        )
}

pub(crate) fn list() -> impl Strategy<Value = EnumSetting> {
    (
        ".{0,8}",
        unit_text(),
        proptest::collection::vec(setting_value(), 1..5),
        any::<bool>(),
        proptest::option::of(any::<prop::sample::Index>()),
    )
        .prop_map(|(name, unit, values, pinned, value)| {
            // The first equal option, as reading answers with that one.
            let value = value.map(|at| {
                let chosen = at.get(&values);
                values
                    .iter()
                    .find(|option| *option == chosen)
                    .unwrap()
                    .clone()
            });
            EnumSetting {
                name,
                unit,
                values,
                pinned,
                value,
            }
        })
}

pub(crate) fn setting() -> impl Strategy<Value = Setting> {
    prop_oneof![
        range().prop_map(Setting::Range),
        list().prop_map(Setting::Enum)
    ]
}

/// The units that come back from the wire as themselves.
pub(crate) fn wire_unit() -> impl Strategy<Value = Unit> {
    proptest::sample::select(
        Unit::ALL
            .into_iter()
            .filter(|unit| unit.symbol().parse() == Ok(*unit))
            .collect::<Vec<_>>(),
    )
}

fn unique<T>(items: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
    let mut unique: Vec<T> = Vec::new();
    for item in items {
        if !unique.iter().any(|known| name(known) == name(&item)) {
            unique.push(item);
        }
    }
    unique
}

pub(crate) fn description() -> impl Strategy<Value = Description> {
    let component =
        (".{0,6}", proptest::collection::vec(setting(), 0..4)).prop_map(|(name, settings)| {
            Component {
                name,
                settings: unique(settings, Setting::name),
            }
        });
    let metric = (".{0,6}", wire_unit()).prop_map(|(name, unit)| Metric { name, unit });
    (
        proptest::collection::vec(component, 0..4),
        proptest::collection::vec(metric, 0..4),
    )
        .prop_map(|(components, metrics)| Description {
            components: unique(components, |component| &component.name),
            metrics: unique(metrics, |metric| &metric.name),
        })
}

pub(crate) fn time() -> impl Strategy<Value = Timestamp> {
    (0_i64..4_000_000_000).prop_map(|second| Timestamp::from_second(second).unwrap())
}

pub(crate) fn series() -> impl Strategy<Value = TimeSeries> {
    let points = proptest::collection::vec((time(), finite()), 0..6);
    (
        "[a-c]",
        wire_unit(),
        points,
        proptest::option::of("[xy0-9]{1,2}"),
    )
        .prop_map(|(name, unit, points, id)| {
            let series = TimeSeries::new(Metric { name, unit }, points);
            match id {
                Some(id) => series.with_id(id),
                None => series,
            }
        })
}
