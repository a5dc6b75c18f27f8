use serde_yaml::Value;

use crate::{errors, value};

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

#[test]
fn plain_scalars_follow_the_core_schema() {
    let cases = [
        ("", Value::Null),
        ("~", Value::Null),
        ("null", Value::Null),
        ("NULL", Value::Null),
        ("nUll", text("nUll")),
        ("true", true.into()),
        ("True", true.into()),
        ("FALSE", false.into()),
        ("tRue", text("tRue")),
        ("yes", text("yes")),
        ("No", text("No")),
        ("on", text("on")),
        ("off", text("off")),
        ("0", 0.into()),
        ("-0", 0.into()),
        ("12", 12.into()),
        ("+12", 12.into()),
        ("-12", (-12).into()),
        ("0o10", 8.into()),
        ("0x1F", 31.into()),
        ("-0x1F", text("-0x1F")),
        ("0x+1", text("0x+1")),
        ("0x", text("0x")),
        ("0o8", text("0o8")),
        ("0b11", text("0b11")),
        ("1_000", text("1_000")),
        ("1:30", text("1:30")),
        ("2024-01-31", text("2024-01-31")),
        ("18446744073709551615", u64::MAX.into()),
        ("-9223372036854775808", i64::MIN.into()),
        ("1.5", 1.5.into()),
        ("1.", 1.0.into()),
        (".5", 0.5.into()),
        ("-.5e-3", (-0.0005).into()),
        ("1e3", 1000.0.into()),
        (".inf", f64::INFINITY.into()),
        ("+.Inf", f64::INFINITY.into()),
        ("-.INF", f64::NEG_INFINITY.into()),
        (".nan", f64::NAN.into()),
        ("inf", text("inf")),
        ("nan", text("nan")),
        ("infinity", text("infinity")),
        ("1.2.3", text("1.2.3")),
        (".", text(".")),
        ("e3", text("e3")),
        ("100m", text("100m")),
        ("5m", text("5m")),
    ];
    for (written, expected) in cases {
        assert_eq!(
            value(&format!("a: {written}\n"))["a"],
            expected,
            "{written}"
        );
        assert_eq!(value(&format!("[x, {written} ]"))[1], expected, "{written}");
    }
}

#[test]
fn no_digit_of_a_plain_scalar_is_lost() {
    for written in [
        "007",
        "0000",
        "-01",
        "+00",
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "0x10000000000000000",
        "1e999",
    ] {
        assert_eq!(value(&format!("a: {written}\n"))["a"], text(written));
    }
}

#[test]
fn quoted_and_block_scalars_are_text() {
    assert_eq!(value("\"12\""), text("12"));
    assert_eq!(value("'true'"), text("true"));
    assert_eq!(value("''"), text(""));
    assert_eq!(value("|\n  12\n"), text("12\n"));
    assert_eq!(value(">-\n  null\n"), text("null"));
    assert_eq!(value("\"\\u00e9\\n\\x41\""), text("é\nA"));
    assert_eq!(value("'it''s'"), text("it's"));
}

#[test]
fn known_tags_are_honoured() {
    let cases = [
        ("!!str 12", text("12")),
        ("!!str", text("")),
        ("!!str true", text("true")),
        ("!!int \"010\"", 10.into()),
        ("!!int 0x10", 16.into()),
        ("!!int -3", (-3).into()),
        ("!!float 3", 3.0.into()),
        ("!!float '2.5'", 2.5.into()),
        ("!!bool \"true\"", true.into()),
        ("!!null ''", Value::Null),
        ("!!seq [1]", vec![Value::from(1)].into()),
        ("!!map {}", Value::Mapping(serde_yaml::Mapping::new())),
        ("!<tag:yaml.org,2002:str> 12", text("12")),
        ("!!str &a 12", text("12")),
        ("&a !!str 12", text("12")),
    ];
    for (written, expected) in cases {
        assert_eq!(
            value(&format!("a: {written}\n"))["a"],
            expected,
            "{written}"
        );
    }
    let prefixed = "%TAG !y! tag:yaml.org,2002:\n---\n!y!str 12\n";
    assert_eq!(value(prefixed), text("12"));
}

#[test]
fn what_does_not_fit_its_tag_is_an_error_that_does_not_repeat_it() {
    for (written, expected) in [
        (
            "!!int s3cret",
            "the value is not an integer, as its tag !!int says",
        ),
        (
            "!!int 1.5",
            "the value is not an integer, as its tag !!int says",
        ),
        (
            "!!float s3cret",
            "the value is not a number, as its tag !!float says",
        ),
        (
            "!!bool yes",
            "the value is not true or false, as its tag !!bool says",
        ),
        ("!!null 0", "the value is not null, as its tag !!null says"),
        ("!!seq 0", "the value is not a list, as its tag !!seq says"),
        ("!!seq {}", "the value is not a list, as its tag !!seq says"),
        (
            "!!map []",
            "the value is not a mapping, as its tag !!map says",
        ),
        ("!!str []", "the value is not text, as its tag !!str says"),
        (
            "!!merge 1",
            "the value is not the key \"<<\", as its tag !!merge says",
        ),
    ] {
        let errors = errors(&format!("a: {written}\n"));
        let messages: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(messages, [expected], "{written}");
        assert_eq!(errors[0].path, ["a"]);
    }
}

#[test]
fn keys_are_text_as_written() {
    let read = value(
        "on: 1\n1: 2\ntrue: 3\nnull: 4\n0x1F: 5\n1.50: 6\n'quoted': 7\n\"\\x41\": 8\n? long\n: 9\n",
    );
    let keys: Vec<_> = read
        .as_mapping()
        .unwrap()
        .keys()
        .map(|key| key.as_str().unwrap())
        .collect();
    assert_eq!(
        keys,
        [
            "on", "1", "true", "null", "0x1F", "1.50", "quoted", "A", "long"
        ]
    );
    assert_eq!(value("{a, b: 1, \"c\":2}")["a"], Value::Null);
    assert_eq!(value("!!str 1: x")["1"], text("x"));
    assert_eq!(value("1: a\n")["1"], text("a"));
}
