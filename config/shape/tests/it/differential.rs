//! A check and the published schema agree about every value, and neither panics.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value as Json, json};
use serde_yaml::Value;
use servo_shape::{Published, Shape};

use crate::types::{Case, cases};

/// What a mistaken or unusual file might say in place of a scalar.
fn scalars() -> Vec<Json> {
    vec![
        Json::Null,
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(2),
        json!(-1),
        json!(3.0),
        json!(0.5),
        json!(1.5),
        json!(1e30),
        json!(-1e30),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(4_294_967_295_u64),
        json!(4_294_967_296_u64),
        json!(""),
        json!("0"),
        json!("1"),
        json!(" 12 "),
        json!("+7"),
        json!("-0"),
        json!("-3"),
        json!("007"),
        json!("1.0"),
        json!("1.5"),
        json!("1.50001"),
        json!(".25"),
        json!(".2499"),
        json!("1e3"),
        json!("1e400"),
        json!("nan"),
        json!("inf"),
        json!("4294967295"),
        json!("4294967296"),
        json!("18446744073709551616"),
        json!("Yes"),
        json!("oFF"),
        json!("true"),
        json!("expo"),
        json!("http"),
        json!("range"),
        json!("SIGTERM"),
        json!("5s"),
        json!("5s\u{2003}10m "),
        json!("hello5s"),
        json!("\u{663}s"),
        json!("http://a"),
        json!("HTTP://a"),
        json!("ünï"),
        json!([]),
        json!({}),
        json!(["a"]),
        json!([1, null]),
        json!({ "a": "b" }),
        json!({ "a": null }),
        json!({ "name": 5 }),
    ]
}

fn keys() -> Vec<&'static str> {
    vec![
        "name", "base_url", "base-url", "baseUrl", "type", "a", "value", "min", "File", "Nothing",
        "all://", "deeper", "size", "x", "y", "wanted", "want", "bogus", "flat", "0",
    ]
}

#[derive(Clone, Debug)]
enum Change {
    Replace(Json),
    Remove,
    Add(&'static str, Json),
}

fn change() -> impl Strategy<Value = Change> {
    let scalar = || prop::sample::select(scalars());
    prop_oneof![
        4 => scalar().prop_map(Change::Replace),
        2 => Just(Change::Remove),
        2 => (prop::sample::select(keys()), scalar()).prop_map(|(key, value)| Change::Add(key, value)),
    ]
}

/// All places in `value`, as pointers.
fn places(value: &Json, at: String, found: &mut Vec<String>) {
    match value {
        Json::Object(all) => {
            for (key, value) in all {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(value, format!("{at}/{key}"), found);
            }
        }
        Json::Array(all) => {
            for (index, value) in all.iter().enumerate() {
                places(value, format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
    found.push(at);
}

fn apply(value: &mut Json, place: Index, change: Change) {
    let mut all = Vec::new();
    places(value, String::new(), &mut all);
    let at = place.get(&all).clone();
    match change {
        Change::Replace(new) => *value.pointer_mut(&at).unwrap() = new,
        Change::Add(key, new) => match value.pointer_mut(&at).unwrap() {
            Json::Object(all) => {
                all.insert(key.into(), new);
            }
            Json::Array(all) => all.push(new),
            _ => {}
        },
        Change::Remove => {
            let Some((above, key)) = at.rsplit_once('/') else {
                return;
            };
            let key = key.replace("~1", "/").replace("~0", "~");
            match value.pointer_mut(above).unwrap() {
                Json::Object(all) => {
                    all.shift_remove(&key);
                }
                Json::Array(all) => {
                    all.remove(key.parse().unwrap());
                }
                _ => {}
            }
        }
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn validator(published: Published) -> jsonschema::Validator {
    let mut root = published.root;
    root["definitions"] = published.definitions.into();
    // What a format says of a text, types check when they read it.
    jsonschema::draft7::options()
        .should_validate_formats(false)
        .build(&root)
        .unwrap()
}

fn subjects() -> Vec<(Case, Shape, jsonschema::Validator)> {
    cases()
        .into_iter()
        .enumerate()
        .map(|(index, case)| {
            let shape = case.shape();
            let prefix = (index % 2 == 0).then_some("SERVO_X");
            let validator = validator(shape.published(prefix));
            (case, shape, validator)
        })
        .collect()
}

fn agree(name: &str, shape: &Shape, validator: &jsonschema::Validator, value: &Json) {
    let mut checked: Value = serde_yaml::to_value(value).unwrap();
    let faults = shape.check(&mut checked);
    // No schema can tell `1.0` from `1`, which is what strict nodes refuse.
    if value.get("replicas").is_some_and(Json::is_f64) {
        return;
    }
    let refused = validator
        .validate(value)
        .err()
        .map(|error| error.to_string());
    assert_eq!(
        faults.is_empty(),
        refused.is_none(),
        "{name}: {value}\ncheck: {faults:?}\nschema: {refused:?}"
    );
    if faults.is_empty() {
        let mut again = checked.clone();
        assert_eq!(
            shape.check(&mut again),
            [],
            "{name}: {value}: what was converted is right"
        );
        assert_eq!(
            again, checked,
            "{name}: {value}: nothing is left to convert"
        );
    }
}

#[test]
fn samples_are_right() {
    for (case, shape, validator) in subjects() {
        for sample in &case.samples {
            let value: Json = serde_yaml::from_value(sample.clone()).unwrap();
            assert_eq!(shape.check(&mut sample.clone()), [], "{}", case.name);
            agree(case.name, &shape, &validator, &value);
        }
    }
}

#[test]
fn each_scalar_at_each_place() {
    for (case, shape, validator) in subjects() {
        for sample in &case.samples {
            let sample: Json = serde_yaml::from_value(sample.clone()).unwrap();
            let mut all = Vec::new();
            places(&sample, String::new(), &mut all);
            for place in all {
                for scalar in scalars() {
                    let mut value = sample.clone();
                    *value.pointer_mut(&place).unwrap() = scalar;
                    agree(case.name, &shape, &validator, &value);
                }
            }
        }
    }
}

#[test]
fn a_check_and_the_published_schema_agree() {
    let subjects = subjects();
    let mut runner = proptest::test_runner::TestRunner::new(config());
    let strategy = (
        any::<Index>(),
        any::<Index>(),
        prop::collection::vec((any::<Index>(), change()), 1..5),
    );
    runner
        .run(&strategy, |(case, sample, changes)| {
            let (case, shape, validator) = case.get(&subjects);
            let mut value: Json =
                serde_yaml::from_value(sample.get(&case.samples).clone()).unwrap();
            for (place, change) in changes {
                apply(&mut value, place, change);
                agree(case.name, shape, validator, &value);
            }
            Ok(())
        })
        .unwrap();
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        prop::sample::select(keys()).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let key = prop_oneof![
            4 => prop::sample::select(keys()).prop_map(Value::from),
            1 => inner.clone(),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Sequence),
            prop::collection::vec((key, inner.clone()), 0..5)
                .prop_map(|all| Value::Mapping(all.into_iter().collect())),
            inner.prop_map(
                |value| Value::Tagged(Box::new(serde_yaml::value::TaggedValue {
                    tag: serde_yaml::value::Tag::new("tag"),
                    value,
                }))
            ),
        ]
    })
}

#[test]
fn no_value_and_no_variable_panics() {
    let shapes: Vec<(Shape, Value)> = cases()
        .into_iter()
        .map(|case| (case.shape(), case.samples.first().unwrap().clone()))
        .collect();
    let mut runner = proptest::test_runner::TestRunner::new(config());
    let variable = (prop::sample::select(keys()), 0..3_usize, ".{0,12}");
    let strategy = (
        any::<Index>(),
        any::<Index>(),
        anything(),
        prop::collection::vec(variable, 0..4),
    );
    runner
        .run(&strategy, |(shape, place, mut value, variables)| {
            let (shape, sample) = shape.get(&shapes);
            shape.mask(&mut value.clone());
            let mut deep = sample.clone();
            let keys: Vec<Value> = deep.as_mapping().unwrap().keys().cloned().collect();
            deep[place.get(&keys)] = value.clone();
            shape.check(&mut deep);
            let environment = variables
                .into_iter()
                .map(|(key, index, text)| {
                    let key = servo_shape::variable_segment(key);
                    (format!("X_{key}__{index}__{key}"), text)
                })
                .chain([("X".to_owned(), format!("{{\"{}\": 1}}", place.index(9)))])
                .collect();
            shape.fill(&mut value, "X", &environment);
            shape.check(&mut value);
            Ok(())
        })
        .unwrap();
}

#[test]
fn deep_nesting_ends() {
    let case = cases().pop().unwrap();
    let mut value = Value::Null;
    for _ in 0..2_000 {
        value = Value::Mapping([("deeper".into(), value)].into_iter().collect());
    }
    let faults = case.shape().check(&mut value);
    assert!(
        faults
            .iter()
            .any(|fault| fault.message.contains("fewer levels"))
    );
}

#[test]
fn ambiguity_ends() {
    let shape = Shape::of(&schemars::json_schema!({
        "anyOf": [
            { "type": "object", "properties": { "a": { "$ref": "#" }, "b": { "type": "string" } } },
            { "type": "object", "properties": { "a": { "$ref": "#" }, "c": { "type": "string" } } },
            { "type": "integer" },
        ],
    }));
    let mut value = Value::from("wrong");
    for _ in 0..50 {
        value = Value::Mapping([("a".into(), value)].into_iter().collect());
    }
    assert!(!shape.check(&mut value).is_empty());
}
