//! Values from environment variables.

use serde_yaml::Value;
use servo_shape::{Environment, Filled, Shape};

use crate::types::{cases, yaml};

fn shape(name: &str) -> Shape {
    cases()
        .into_iter()
        .find(|case| case.name.ends_with(name))
        .unwrap()
        .shape()
}

fn variables(all: &[(&str, &str)]) -> Environment {
    all.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn filled(shape: &Shape, value: &str, prefix: &str, all: &[(&str, &str)]) -> (Value, Filled) {
    let mut value = yaml(value);
    let filled = shape.fill(&mut value, prefix, &variables(all));
    (value, filled)
}

fn origins(filled: &Filled) -> Vec<String> {
    filled
        .origins
        .iter()
        .map(|(path, variable)| format!("{} <- {variable}", path.join(".")))
        .collect()
}

#[test]
fn what_is_there_wins() {
    let vegeta = shape("VegetaConfig");
    let all = [
        ("SERVO_VEGETA_RATE", "5"),
        ("VEGETA_RATE", "6"),
        ("servo_vegeta_rate", "7"),
    ];
    assert_eq!(
        filled(&vegeta, "{rate: 7}", "SERVO_VEGETA", &all).0,
        yaml("{rate: 7}")
    );
    let (value, filled_in) = filled(&vegeta, "{rate: null}", "SERVO_VEGETA", &all);
    assert_eq!(value, yaml("{rate: 5}"));
    assert_eq!(origins(&filled_in), ["rate <- SERVO_VEGETA_RATE"]);
}

#[test]
fn json_of_the_whole_goes_under_the_file_and_over_leaves() {
    let vegeta = shape("VegetaConfig");
    let all = [
        (
            "SERVO_V",
            r#"{"rate": "9", "headers": {"a": "1", "b": "2"}, "workers": 4}"#,
        ),
        ("SERVO_V_WORKERS", "5"),
        ("SERVO_V_HTTP2", "no"),
    ];
    let (value, found) = filled(&vegeta, "{headers: {b: x}, rate: 7}", "SERVO_V", &all);
    assert_eq!(
        value,
        yaml("{headers: {b: x, a: '1'}, rate: 7, workers: 4, http2: false}")
    );
    assert_eq!(
        origins(&found),
        [
            "headers.a <- SERVO_V",
            "workers <- SERVO_V",
            "http2 <- SERVO_V_HTTP2"
        ]
    );
    let (value, _) = filled(&vegeta, "null", "SERVO_V", &all);
    assert_eq!(value["rate"], yaml("'9'"));
}

#[test]
fn variables_of_fields_activate_nothing() {
    let wait = shape("WaitConfig");
    let all = [("SERVO_PROM2_MEASURE_ENABLED", "false")];
    assert_eq!(filled(&wait, "null", "SERVO_PROM2", &all).0, Value::Null);
    let (mut value, _) = filled(&wait, "{}", "SERVO_PROM2", &all);
    assert_eq!(wait.check(&mut value), []);
    assert_eq!(value, yaml("{measure_enabled: false}"));
    assert_eq!(filled(&wait, "{}", "SERVO_PROM1", &all).0, yaml("{}"));
}

#[test]
fn text_is_taken_as_it_is() {
    let everything = shape("Everything");
    let all = [
        ("X_BASE_URL", " 007 "),
        ("X_VERIFY", "False"),
        ("X_REPLICAS", "2"),
        ("X_KIND", "range"),
        ("X_DELAY", "1.5"),
        ("X_RATIO", ""),
        ("X_WANTED", ""),
    ];
    let (value, _) = filled(&everything, "{}", "X", &all);
    assert_eq!(
        value,
        yaml(
            "{kind: range, replicas: 2, base_url: ' 007 ', wanted: '', delay: 1.5, verify: false}"
        )
    );
    let (value, _) = filled(&everything, "{}", "X", &[("X_VERIFY", "/etc/ca.pem")]);
    assert_eq!(value, yaml("{verify: /etc/ca.pem}"));
    // A key that is there under another spelling is there.
    let all = [("X_BASE_URL", "b"), ("X", r#"{"baseUrl": "c"}"#)];
    let (value, _) = filled(&everything, "{base-url: a}", "X", &all);
    assert_eq!(value, yaml("{base_url: a}"));
    let (value, _) = filled(&everything, "{base-url: a}", "X", &all[..1]);
    assert_eq!(value, yaml("{base-url: a}"));
}

#[test]
fn deeper_levels_lists_and_free_keys() {
    let process = shape("ProcessConfig");
    let all = [
        ("X_COMPONENTS__WEB__CWD", "/srv"),
        ("X_COMPONENTS__WEB__COMMAND", "a, b,c"),
        ("X_COMPONENTS__WEB__READY__HTTP__URL", "http://a"),
        ("X_COMPONENTS__WEB__READY__HTTP__STATUS", "204"),
        ("X_COMPONENTS__WEB__SETTINGS__N__MAX", "8"),
        ("X_COMPONENTS__WEB__ENV", r#"{"A": "b"}"#),
        ("X_COMPONENTS__DB__CWD", "/db"),
    ];
    let (mut value, found) = filled(
        &process,
        "{components: {Web: {settings: {n: {value: 1}}}}}",
        "X",
        &all,
    );
    assert_eq!(found.faults, []);
    assert_eq!(
        value,
        yaml(
            "{components: {Web: {settings: {n: {value: 1, max: 8}}, command: [a, b, c], cwd: /srv,
              env: {A: b}, ready: {http: {url: 'http://a', status: 204}}}, db: {cwd: /db}}}"
        )
    );
    let faults = process.check(&mut value);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(
        faults[0].to_string(),
        "components -> db -> command: field required"
    );

    let all = [
        ("X_COMPONENTS__0__CWD", "/srv"),
        ("X_COMPONENTS__1__NAME", "second"),
        ("X_COMPONENTS__7__NAME", "eighth"),
    ];
    let (value, found) = filled(&process, "{components: [{name: first}]}", "X", &all);
    assert_eq!(
        value,
        yaml("{components: [{name: first, cwd: /srv}, {name: second}]}")
    );
    assert_eq!(
        found.faults[0].to_string(),
        "components -> 7: X_COMPONENTS__7: item 7 of a list of 2: the next is 2"
    );
}

#[test]
fn json_where_json_is_needed() {
    let vegeta = shape("VegetaConfig");
    let all = [
        ("X_HEADERS", "hunter2"),
        ("X_ROOT_CERTS", "[\"a\""),
        ("X_RATE", "1"),
    ];
    let (value, found) = filled(&vegeta, "{}", "X", &all);
    assert_eq!(value, yaml("{rate: 1}"));
    let told: Vec<String> = found.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "headers: X_HEADERS: expected a mapping as JSON, such as {\"key\": \"value\"}",
            "root_certs: X_ROOT_CERTS: expected a list as JSON, such as [\"a\", \"b\"]",
        ]
    );
}

#[test]
fn names() {
    let everything = shape("Everything");
    let all = everything.variables("X");
    let of = |path: &[&str]| {
        let found = all.iter().find(|(known, _)| known == path);
        found.map(|(_, variable)| variable.as_str())
    };
    assert_eq!(of(&[]), Some("X"));
    assert_eq!(of(&["base_url"]), Some("X_BASE_URL"));
    assert_eq!(of(&["deeper", "size"]), Some("X_DEEPER__SIZE"));
    assert_eq!(
        of(&["choice", "File", "path"]),
        Some("X_CHOICE__FILE__PATH")
    );
    assert_eq!(of(&["deeper", "deeper"]), Some("X_DEEPER__DEEPER"));
    assert_eq!(of(&["deeper", "deeper", "size"]), None);
    for name in [
        "X",
        "X_BASE_URL",
        "X_DEEPER__DEEPER__DEEPER__SIZE",
        "X_SETTINGS__12__MIN",
        "X_LISTEN__0",
        "X_VAULT__PINS__ANY_THING",
        "X_PAIR__1",
    ] {
        assert!(everything.recognises("X", name), "{name}");
    }
    for name in [
        "X_",
        "X_BASE",
        "X_BASE_URL_",
        "X_BASE_URL__A",
        "XBASE_URL",
        "X_DEEPER_SIZE",
        "X_SETTINGS__01__MIN",
        "X_SETTINGS__A__MIN",
        "X_SETTINGS__0__MINI",
        "X_PROXIES__FTP",
        "Y",
    ] {
        assert!(!everything.recognises("X", name), "{name}");
    }
}

#[test]
fn free_keys_with_underscores() {
    let shape = Shape::of(&schemars::json_schema!({
        "type": "object",
        "properties": {
            "backoff": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "properties": { "max_time": { "type": "string" } },
                },
            },
        },
    }));
    let all = [
        ("S_BACKOFF____DEFAULT____MAX_TIME", "5m"),
        ("S_BACKOFF__CONNECT__MAX_TIME", "1h"),
    ];
    assert!(all.iter().all(|(name, _)| shape.recognises("S", name)));
    let expected = yaml("{backoff: {__default__: {max_time: 5m}, connect: {max_time: 1h}}}");
    assert_eq!(filled(&shape, "{}", "S", &all).0, expected);
    let (value, _) = filled(&shape, "{backoff: {__default__: {}}}", "S", &all);
    assert_eq!(value, expected);
}

#[test]
fn unrelated_variables_change_nothing() {
    for case in cases() {
        let shape = case.shape();
        let all = variables(&[
            ("PERIOD", "7s"),
            ("SERVO_XY_RATE", "1"),
            ("SERVO_X2", "{}"),
            ("SERVO", "{}"),
        ]);
        for sample in &case.samples {
            let mut value = sample.clone();
            assert_eq!(shape.fill(&mut value, "SERVO_X", &all), Filled::default());
            assert_eq!(value, *sample);
        }
    }
}
