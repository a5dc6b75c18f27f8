use proptest::prelude::*;
use serde_yaml::{Mapping, Value};
use servo_yaml::{MAX_DEPTH, documents};

use crate::one;

/// Reads everything, and holds what is read to what is promised of it.
fn read(text: &str) {
    let lines = text.split(['\r', '\n']).count();
    let mut number = 0;
    for document in documents(text) {
        number += 1;
        match document {
            Ok(document) => {
                assert_eq!(document.number, number);
                assert!(document.place.line <= lines);
                check(&document.value, &mut Vec::new(), &document.places, lines);
            }
            Err(errors) => {
                assert!(!errors.is_empty());
                for error in errors {
                    assert_eq!(error.document, number);
                    assert!(!error.to_string().is_empty());
                    assert!(error.place.is_none_or(|place| place.line <= lines + 1));
                }
            }
        }
    }
}

/// All keys are text, everything has a place, and nothing is too deep.
fn check(value: &Value, path: &mut Vec<String>, places: &servo_yaml::Places, lines: usize) {
    assert!(path.len() <= MAX_DEPTH);
    if !path.is_empty() {
        let place = places.exact(path).expect("a place");
        // What is missing at the end may be on the line after the last.
        assert!((1..=lines + 1).contains(&place.line) && place.column >= 1);
        assert_eq!(places.of(path), Some(place));
    }
    let inside: Vec<(String, &Value)> = match value {
        Value::Sequence(items) => {
            let numbers = (0..).map(|index: usize| index.to_string());
            numbers.zip(items).collect()
        }
        Value::Mapping(mapping) => mapping
            .iter()
            .map(|(key, value)| (key.as_str().expect("text").to_owned(), value))
            .collect(),
        Value::Tagged(_) => panic!("no value is tagged"),
        _ => Vec::new(),
    };
    for (part, value) in inside {
        path.push(part);
        check(value, path, places, lines);
        path.pop();
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("NaN equals nothing", |float| !float.is_nan())
            .prop_map(Value::from),
        text().prop_map(Value::from),
    ]
}

/// The writer takes U+2028 and U+2029 for line ends, which YAML 1.2 no longer does.
fn text() -> impl Strategy<Value = String> {
    let any = prop_oneof![
        "[a-z]{1,6}",
        "[ -~]{0,12}",
        "[0-9+.:exob_-]{1,6}",
        "[a-z \n]{0,20}",
        "\\PC{0,8}",
        prop::sample::select(vec![
            "yes", "on", "~", "null", "true", "007", "0o7", "0x1", "<<", "1:30", "-", "---", "...",
            "!x", "*x", "&x",
        ])
        .prop_map(str::to_owned),
    ];
    any.prop_filter("a line end of old", |text| {
        !text.contains(['\u{2028}', '\u{2029}'])
    })
}

/// The writer does not quote `<<`, which makes it a merge key.
fn key() -> impl Strategy<Value = String> {
    text().prop_filter("a merge key", |text| text != "<<")
}

/// Values with keys of text.
fn nested() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..5).prop_map(|entries| {
                let entries = entries.into_iter().map(|(key, value)| (key.into(), value));
                Value::Mapping(entries.collect::<Mapping>())
            }),
        ]
    })
}

/// Whether the writer's own reader reads it back: it does not for some odd texts.
fn survives(written: &str, value: &Value) -> bool {
    serde_yaml::from_str::<Value>(written).is_ok_and(|read| read == *value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_is_too_odd(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn no_yaml_is_too_odd(text in "[a-z:\\-{}\\[\\]&*!|>#'\"\\n ,0-9.?%<~]*") {
        read(&text);
    }

    #[test]
    fn no_order_of_yaml_words_is_too_odd(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "a", "b", "1", ": ", ":", "- ", "-", "? ", "?", ", ", ",", "{", "}", "[", "]", "&a ", "*a", "*a ",
                "&b ", "*b ", "!!str ", "!x ", "! ", "<<: ", "'", "\"", "|\n", ">\n", "|2-\n", "#", " #", "\n", "\n ",
                "\n  ", "\r\n", "\r", "\t", " ", "  ", "---\n", "--- ", "...\n", "%YAML 1.2\n", "%TAG !e! e:\n",
                "\u{feff}", "\0", "é", "\u{85}", "\u{2028}", "\\", "\\x4", "a: ", "a: 1\n", "b: 2\n", "- 1\n",
            ]),
            0..40,
        ),
    ) {
        read(&words.concat());
    }

    #[test]
    fn what_is_written_is_read_back_with_all_its_places(value in nested()) {
        let written = serde_yaml::to_string(&value).unwrap();
        prop_assume!(survives(&written, &value));
        let document = one(&written);
        prop_assert_eq!(&document.value, &value, "{}", written);
        check(&value, &mut Vec::new(), &document.places, written.lines().count());
    }

    #[test]
    fn keys_are_where_their_text_is(value in nested(), windows in any::<bool>()) {
        let mut written = serde_yaml::to_string(&value).unwrap();
        prop_assume!(survives(&written, &value));
        if windows {
            written = written.replace('\n', "\r\n");
        }
        let document = one(&written);
        let lines: Vec<&str> = written.lines().collect();
        let mut open = vec![(Vec::new(), &document.value)];
        while let Some((path, value)) = open.pop() {
            let mapping = value.as_mapping().into_iter().flatten();
            for (key, value) in mapping {
                let key = key.as_str().unwrap();
                let path = [&path[..], &[key.to_owned()]].concat();
                let place = document.places.exact(&path).unwrap();
                let here: String = lines[place.line - 1].chars().skip(place.column - 1).collect();
                prop_assert!(
                    here.starts_with(['\'', '"', '?', '|', '>']) || here.starts_with(key),
                    "{:?} at {} of {}", key, place, written
                );
                open.push((path, value));
            }
            for (index, value) in value.as_sequence().into_iter().flatten().enumerate() {
                open.push(([&path[..], &[index.to_string()]].concat(), value));
            }
        }
    }
}
