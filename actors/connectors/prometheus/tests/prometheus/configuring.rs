//! What may stand in the stanza, and how it is shown.

use servo_connector_prometheus::{AbsentPolicy, Prometheus, PrometheusConfig};
use servo_dispatch::{ConfigProblem, Connector, ConnectorType};

use crate::world::config;

fn problems(yaml: &str) -> Vec<ConfigProblem> {
    Prometheus::validate(&config(yaml))
}

/// The effective stanza as it is written: without nulls.
fn shown(yaml: &str) -> serde_yaml::Value {
    fn without_nulls(value: &mut serde_yaml::Value) {
        if let Some(mapping) = value.as_mapping_mut() {
            mapping.retain(|_, value| !value.is_null());
            mapping
                .iter_mut()
                .for_each(|(_, value)| without_nulls(value));
        }
    }
    let mut effective = ConnectorType::of::<Prometheus>()
        .parse(serde_yaml::from_str(yaml).unwrap())
        .unwrap()
        .effective();
    without_nulls(&mut effective);
    effective
}

/// Keys and indexes as problems of validation write them.
fn written(path: &[String]) -> String {
    let mut text = String::new();
    for key in path {
        if key.parse::<usize>().is_ok() {
            text.push_str(&format!("[{key}]"));
        } else {
            text.push_str(if text.is_empty() { "" } else { "." });
            text.push_str(key);
        }
    }
    text
}

/// Path and message of the error that the stanza is refused with, by its types or by validation.
fn refusal(yaml: &str) -> (String, String) {
    let stanza = ConnectorType::of::<Prometheus>().parse(serde_yaml::from_str(yaml).unwrap());
    match stanza {
        Err(error) => (written(&error.path), error.message),
        Ok(stanza) => {
            let mut errors = stanza
                .problems()
                .into_iter()
                .filter(|problem| !problem.warning);
            let first = errors.next().unwrap_or_else(|| panic!("accepted: {yaml}"));
            assert_eq!(errors.next(), None);
            (first.path, first.message)
        }
    }
}

#[test]
fn the_least_stanza_has_the_defaults() {
    let config = config("metrics: [{name: a, query: b}]");
    assert_eq!(config.base_url.to_string(), "https://prometheus:9090");
    assert_eq!(config.timeout, "30s");
    assert_eq!(config.max_concurrency.get(), 8);
    assert_eq!(config.metrics[0].step, "1m");
    assert_eq!(config.metrics[0].absent, AbsentPolicy::Ignore);
    assert!(!config.fast_fail.disabled);
    assert!(Prometheus::validate(&config).is_empty());
    assert!(problems("metrics: []").is_empty());
}

#[test]
fn what_is_shown_has_all_defaults_and_reads_back() {
    let value = shown(
        "{base_url: 'http://h:9090/a//', metrics: [{name: a, unit: rps, query: b}], fast_fail: {period: 30s, \
         disabled: true}}",
    );
    let expected: serde_yaml::Value = serde_yaml::from_str(
        "
base_url: http://h:9090/a
metrics: [{name: a, unit: rps, query: b, step: 1m, absent: ignore}]
fast_fail: {disabled: 1, period: 30s, skip: '0', treat_zero_as_missing: false}
timeout: 30s
max_concurrency: 8
",
    )
    .unwrap();
    assert_eq!(value, expected);
    let again: PrometheusConfig = serde_yaml::from_value(value).unwrap();
    assert!(again.fast_fail.disabled);
}

#[test]
fn each_mistake_is_refused_with_the_key_that_it_stands_under() {
    for (yaml, path, message) in [
        ("{}", "", "metrics"),
        ("{metrics: [], bogus: 1}", "bogus", "bogus"),
        ("{metrics: [{name: a}]}", "metrics[0]", "query"),
        (
            "{metrics: [{name: a, query: null}]}",
            "metrics[0].query",
            "expected a string",
        ),
        (
            "{metrics: [{name: a, query: ' '}]}",
            "metrics[0].query",
            "'a' is blank",
        ),
        (
            "{metrics: [{name: '', query: q}]}",
            "metrics[0].name",
            "needs a name",
        ),
        (
            "{metrics: [{name: a, query: q}, {name: a, query: r}]}",
            "metrics[1].name",
            "'a'",
        ),
        (
            "{metrics: [{name: a, query: q, step: 0}]}",
            "metrics[0].step",
            "'a' is 0",
        ),
        (
            "{metrics: [{name: a, query: q, step: -1s}]}",
            "metrics[0].step",
            "negative",
        ),
        (
            "{metrics: [{name: a, query: q, absent: boom}]}",
            "metrics[0].absent",
            "`zero`",
        ),
        (
            "{metrics: [{name: a, query: q, unit: furlong}]}",
            "metrics[0].unit",
            "furlong",
        ),
        (
            "{metrics: [{name: a, query: q, bogus: 1}]}",
            "metrics[0].bogus",
            "bogus",
        ),
        (
            "{metrics: [], base_url: 'gopher://x'}",
            "base_url",
            "URL scheme not permitted",
        ),
        (
            "{metrics: [], streaming_interval: 0}",
            "streaming_interval",
            "more than 0",
        ),
        ("{metrics: [], timeout: 0}", "timeout", "more than 0"),
        (
            "{metrics: [], query_timeout: 0}",
            "query_timeout",
            "more than 0",
        ),
        (
            "{metrics: [], max_concurrency: 0}",
            "max_concurrency",
            "nonzero",
        ),
        (
            "{metrics: [], fast_fail: {period: 0}}",
            "fast_fail.period",
            "longer than zero",
        ),
        (
            "{metrics: [], fast_fail: {span: 0}}",
            "fast_fail.span",
            "longer than zero",
        ),
        (
            "{metrics: [], fast_fail: {disabled: 2}}",
            "fast_fail.disabled",
            "expected 0, 1,",
        ),
        (
            "{metrics: [], fast_fail: {bogus: 2}}",
            "fast_fail.bogus",
            "bogus",
        ),
        ("{metrics: [], targets: [{}]}", "targets[0]", "scrapeUrl"),
        (
            "{metrics: [], targets: [{health: ill}]}",
            "targets[0].health",
            "`down`",
        ),
        ("{metrics: [], headers: {'a b': c}}", "headers.a b", "name"),
        (
            "{metrics: [], headers: {a: \"x\\ny\"}}",
            "headers.a",
            "value",
        ),
        (
            "{metrics: [], bearer_token: \"x\\ny\"}",
            "bearer_token",
            "characters",
        ),
        (
            "{metrics: [], basic_auth: {username: u}}",
            "basic_auth",
            "password_file",
        ),
        (
            "{metrics: [], bearer_token: a, basic_auth: {username: u, password: p}}",
            "basic_auth",
            "bearer_token, basic_auth",
        ),
        (
            "{metrics: [], base_url: 'http://u:p@h', headers: {authorization: a}}",
            "headers",
            "base_url, headers",
        ),
        ("{metrics: [], tls: {cert_file: a}}", "tls", "key_file"),
    ] {
        let (found_path, found_message) = refusal(yaml);
        assert_eq!(found_path, path, "{yaml}: {found_message}");
        assert!(found_message.contains(message), "{yaml}: {found_message}");
    }
}

#[test]
fn a_retired_key_is_accepted_with_a_warning() {
    let found = problems("{metrics: [{name: a, query: q, eager: 1m}]}");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].warning);
    assert_eq!(found[0].path, "metrics[0].eager");
    assert!(found[0].message.contains("not supported"), "{found:?}");
    let live = "{metrics: [], streaming_interval: 10s, fast_fail: {skip: 2m}}";
    assert_eq!(problems(live).len(), 0);
}

#[test]
fn secrets_are_never_shown() {
    for yaml in [
        "{metrics: [], base_url: 'http://user:hush@h'}",
        "{metrics: [], bearer_token: hush}",
        "{metrics: [], basic_auth: {username: user, password: hush}}",
        "{metrics: [], headers: {x-key: hush}}",
    ] {
        let config = config(yaml);
        let texts = [
            format!("{config:?}"),
            serde_yaml::to_string(&shown(yaml)).unwrap(),
            format!("{:?}", Prometheus::validate(&config)),
        ];
        for text in texts {
            assert!(!text.contains("hush"), "{text}");
        }
    }
    // Nor are they quoted when they are of the wrong type.
    for yaml in [
        "{metrics: [], bearer_token: 1.2345}",
        "{metrics: [], basic_auth: {username: u, password: [12345]}}",
        "{metrics: [], base_url: 'http://u:12345@h?x'}",
    ] {
        let (_, message) = refusal(yaml);
        assert!(!message.contains("2345"), "{message}");
    }
    assert!(problems("{metrics: [], bearer_token: 12345}").is_empty());
}

#[test]
fn the_sample_is_valid_and_names_what_to_change() {
    let kind = ConnectorType::of::<Prometheus>();
    let sample: serde_yaml::Value = serde_yaml::from_str(kind.sample()).unwrap();
    let stanza = kind.parse(sample.clone()).unwrap();
    assert_eq!(stanza.problems(), []);
    let keys: Vec<&str> = sample
        .as_mapping()
        .unwrap()
        .keys()
        .filter_map(serde_yaml::Value::as_str)
        .collect();
    assert_eq!(keys, ["description", "metrics"]);
    let expected: serde_yaml::Value = serde_yaml::from_str(
        "
- {name: throughput, unit: rps, query: 'rate(http_requests_total[5m])'}
- {name: error_rate, unit: '%', query: 'rate(errors[5m])'}
",
    )
    .unwrap();
    assert_eq!(sample["metrics"], expected);
}

#[test]
fn the_schema_has_the_defaults_of_the_types_in_the_order_of_the_stanza() {
    let kind = ConnectorType::of::<Prometheus>();
    let schema = kind.schema();
    let properties = schema.as_value()["properties"].as_object().unwrap();
    let keys: Vec<&str> = properties.keys().map(String::as_str).take(7).collect();
    assert_eq!(
        keys,
        [
            "description",
            "base_url",
            "streaming_interval",
            "metrics",
            "targets",
            "fast_fail",
            "timeout"
        ]
    );
    let effective = serde_json::to_value(shown("metrics: []")).unwrap();
    for (key, value) in effective.as_object().unwrap() {
        if key != "metrics" {
            let mut default = properties[key]["default"].clone();
            if let Some(default) = default.as_object_mut() {
                default.retain(|_, value| !value.is_null());
            }
            assert_eq!(default, *value, "{key}");
        }
    }
    for (key, property) in properties {
        assert!(property["description"].is_string(), "{key}");
    }
}

#[test]
fn the_schema_marks_secrets_and_names_the_required_keys() {
    let schema = ConnectorType::of::<Prometheus>().schema();
    let schema = schema.as_value();
    assert_eq!(schema["required"], serde_json::json!(["metrics"]));
    let token = schema["properties"]["bearer_token"].to_string();
    assert!(token.contains("password"), "{token}");
}
