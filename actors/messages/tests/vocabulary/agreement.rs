//! A schema and the type it is for accept the same values, so that an editor that knows the schema and `validate` agree.

use jsonschema::Validator;
use proptest::prelude::*;
use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use servo_messages::{
    CheckDelay, ChecksConfig, CommonConfig, Cores, Duration, EnvironmentSetting, FastFailConfig,
    HaltOn, Memory, Metric, Number, Proxies, Secret, Setting, SettingValue, Severity, SslVerify,
    Timeouts, Unit,
};

/// One type: what its schema says of a value, and what it says itself.
struct Kind {
    name: &'static str,
    schema: Validator,
    read: fn(&Value) -> Option<String>,
}

fn kind<T: JsonSchema + DeserializeOwned>(name: &'static str) -> Kind {
    Kind {
        name,
        schema: jsonschema::validator_for(&schema_for!(T).to_value()).unwrap(),
        read: |value| {
            serde_json::from_value::<T>(value.clone())
                .err()
                .map(|error| error.to_string())
        },
    }
}

fn kinds() -> Vec<Kind> {
    vec![
        kind::<Duration>("Duration"),
        kind::<Option<Duration>>("Option<Duration>"),
        kind::<Unit>("Unit"),
        kind::<Metric>("Metric"),
        kind::<Cores>("Cores"),
        kind::<Memory>("Memory"),
        kind::<Number>("Number"),
        kind::<SettingValue>("SettingValue"),
        kind::<Severity>("Severity"),
        kind::<Setting>("Setting"),
        kind::<EnvironmentSetting>("EnvironmentSetting"),
        kind::<CommonConfig>("CommonConfig"),
        kind::<Timeouts>("Timeouts"),
        kind::<SslVerify>("SslVerify"),
        kind::<Proxies>("Proxies"),
        kind::<ChecksConfig>("ChecksConfig"),
        kind::<CheckDelay>("CheckDelay"),
        kind::<HaltOn>("HaltOn"),
        kind::<FastFailConfig>("FastFailConfig"),
    ]
}

/// What no schema of JSON can say.
fn beyond_schema(error: &str) -> bool {
    [
        "too long",
        "too large",
        "is not in the values list",
        "cannot be read as",
        "proxy pattern",
        "the proxy's address is no URL",
        // More digits than an exact decimal holds.
        "quantity",
    ]
    .iter()
    .any(|beyond| error.contains(beyond))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        crate::strategies::near_text(),
        " ?[-+]?[0-9]{0,3}[.]?[0-9]{0,3} ?(ns|us|µs|ms|s|m|mm|h|d|w|y|S|x|Gi|MiB|k|B|n|u|e3|E|)( [0-9]s)? ?",
        "(all|http|https|ftp)://[*]?[.]?[a-z]{0,3}(:[0-9]{0,5})?/?",
        proptest::sample::select(vec![
            "",
            "0",
            "-0",
            "-0s",
            "expo",
            "never",
            "critical",
            "warning",
            "requirement",
            "rps",
            "count",
            "yes",
            "off",
            "range",
            "enum",
            "int",
            "float",
            "5s",
            "30m",
        ])
        .prop_map(str::to_owned),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..100).prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        // A float without fraction is an integer to a schema; files give it as one.
        (-1000_i32..100_000).prop_map(|thousandths| json!((f64::from(thousandths) + 0.5) / 1000.0)),
        text().prop_map(Value::from),
    ]
}

const KEYS: [&str; 42] = [
    "backoff",
    "proxies",
    "timeouts",
    "ssl_verify",
    "__default__",
    "connect",
    "read",
    "write",
    "pool",
    "max_time",
    "max_tries",
    "all://",
    "http://*.svc",
    "connectors",
    "name",
    "id",
    "tag",
    "quiet",
    "verbose",
    "wait",
    "delay",
    "halt_on",
    "remedy",
    "check_halting",
    "disabled",
    "period",
    "span",
    "skip",
    "treat_zero_as_missing",
    "unit",
    "type",
    "min",
    "max",
    "step",
    "values",
    "value",
    "pinned",
    "literal",
    "value_type",
    "ftp://",
    "bogus",
    "progressive",
];

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 24, 6, |inner| {
        let key = proptest::sample::select(&KEYS[..]);
        // A derived reader takes a list for a mapping; the schema, which is asked first, does not.
        prop_oneof![
            proptest::collection::vec(text(), 1..3).prop_map(|texts| json!({"name": texts})),
            proptest::collection::vec((key, inner), 0..6).prop_map(|members| {
                Value::Object(
                    members
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect::<Map<_, _>>(),
                )
            }),
        ]
    })
}

/// A mapping whose keys are those of the schema, most of them given what fits.
fn near(
    kind: &'static str,
    keys: &'static [(&'static str, &'static [&'static str])],
) -> impl Strategy<Value = (&'static str, Value)> {
    let members: Vec<_> = keys
        .iter()
        .map(|(key, fitting)| {
            let fitting = proptest::sample::select(*fitting).prop_map(|json| serde_json::from_str::<Value>(json).unwrap());
            let member = prop_oneof![4 => fitting.prop_map(Some), 1 => value().prop_map(Some), 2 => Just(None)];
            member.prop_map(move |value| value.map(|value| ((*key).to_owned(), value)))
        })
        .collect();
    members.prop_map(move |members| (kind, Value::Object(members.into_iter().flatten().collect())))
}

fn agree(kind: &Kind, value: &Value) -> Result<(), TestCaseError> {
    let valid = kind.schema.is_valid(value);
    let refused = (kind.read)(value);
    let agreed = match &refused {
        None => valid,
        Some(error) => !valid || beyond_schema(error),
    };
    prop_assert!(
        agreed,
        "{} {value}: schema accepts: {valid}, type says {refused:?}",
        kind.name
    );
    Ok(())
}

#[test]
fn schema_and_type_agree_on_examples() {
    let kinds = kinds();
    for text in [
        "0", "+0", "-0", "-0.0s", "5.s", ".5s", " 5s 10m ", "-5s", "1h30", "hello5s", "5m-3s", "",
        "3", "5S", "1µs", "1μs",
    ] {
        for kind in kinds
            .iter()
            .filter(|kind| ["Duration", "CheckDelay", "Timeouts"].contains(&kind.name))
        {
            agree(kind, &json!(text)).unwrap();
        }
    }
    for text in [
        "250m", "1e3", "1e3m", "1.5", ".5", "5.", "-1", "-0", "1M", "512Mi", "1.5 GiB", "1E",
        "1E3", "", "m", "100B", "1i", "1ib",
    ] {
        for kind in kinds
            .iter()
            .filter(|kind| ["Cores", "Memory"].contains(&kind.name))
        {
            agree(kind, &json!(text)).unwrap();
        }
    }
    // The schema of a text is that of a text: numbers are taken for texts before a value gets here.
    assert!(kind::<Secret>("Secret").schema.is_valid(&json!("hush")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn schema_and_type_agree_on_anything(values in proptest::collection::vec(value(), 20)) {
        thread_local!(static KINDS: Vec<Kind> = kinds());
        KINDS.with(|kinds| {
            for kind in kinds {
                for value in &values {
                    agree(kind, value)?;
                }
            }
            Ok::<(), TestCaseError>(())
        })?;
    }

    #[test]
    fn schema_and_type_agree_on_what_nearly_fits((name, value) in prop_oneof![
        near("CommonConfig", &[
            ("backoff", &["null", "{}", r#"{"connect": {"max_time": "3s", "max_tries": 5}}"#, r#"{"x": {"max_tries": 0}}"#]),
            ("proxies", &["null", r#""http://p:1""#, r#"{"all://": null, "http://*.svc": "https://q"}"#, r#"{"ftp://": null}"#]),
            ("timeouts", &["null", "5", r#""5s""#, r#"{"read": "5s", "pool": null}"#, "{}"]),
            ("ssl_verify", &["null", "true", "0", r#""/x.pem""#]),
            ("progress_interval", &["null", "5", r#""10s""#, r#""soon""#]),
            ("command_timeout", &["null", "5", r#""1h""#, "[]"]),
        ]),
        near("ChecksConfig", &[
            ("connectors", &["null", "[]", r#"["vegeta"]"#]),
            ("name", &[r#"["/a/"]"#]),
            ("quiet", &["true"]),
            ("wait", &["null", "0", r#""30m""#]),
            ("delay", &["3", r#""expo""#, r#""3s""#]),
            ("halt_on", &["null", r#""never""#, r#""common""#, r#""check""#, r#""requirement""#]),
        ]),
        near("FastFailConfig", &[
            ("disabled", &["0", "1", "2", "true"]),
            ("period", &["0", r#""5s""#]),
            ("span", &["null", "3"]),
            ("treat_zero_as_missing", &["false"]),
        ]),
        near("EnvironmentSetting", &[
            ("type", &[r#""range""#]),
            ("name", &[r#""n""#]),
            ("min", &["0", "1.5"]), ("max", &["5"]), ("step", &["1"]),
            ("value", &["null", "3", r#""3""#]),
            ("value_type", &["null", r#""int""#]),
            ("pinned", &["true"]),
        ]),
        near("Setting", &[
            ("type", &[r#""enum""#]),
            ("name", &[r#""n""#]),
            ("values", &["[]", r#"["a", 2]"#]),
            ("value", &["null", "2", r#""a""#]),
            ("unit", &["null", r#""ec2""#]),
        ]),
        near("Metric", &[("name", &[r#""n""#]), ("unit", &[r#""rps""#, r#""count""#, r#""threads""#])]),
    ]) {
        thread_local!(static KINDS: Vec<Kind> = kinds());
        KINDS.with(|kinds| agree(kinds.iter().find(|kind| kind.name == name).unwrap(), &value))?;
    }
}
