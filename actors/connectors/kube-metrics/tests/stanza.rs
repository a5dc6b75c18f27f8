//! What may stand in the stanza, and how it is shown.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use serde_yaml::Value;
use servo_connector_kube_metrics::{KubeMetric, KubeMetrics, KubeMetricsConfig, Part};
use servo_connector_kubernetes::WorkloadKind;
use servo_dispatch::{Connector, ConnectorType};

fn config(yaml: &str) -> KubeMetricsConfig {
    serde_yaml::from_str(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"))
}

/// Path and message of the error that the stanza is refused with, by its types or by validation.
fn refusal(yaml: &str) -> (String, String) {
    let value: Value = serde_yaml::from_str(yaml).unwrap();
    match serde_path_to_error::deserialize::<_, KubeMetricsConfig>(value) {
        Err(error) => {
            let path = error.path().to_string();
            (
                path.trim_matches('.').to_owned(),
                error.into_inner().to_string(),
            )
        }
        Ok(config) => {
            let mut problems = KubeMetrics::validate(&config);
            problems.retain(|problem| !problem.warning);
            let first = problems
                .first()
                .unwrap_or_else(|| panic!("accepted: {yaml}"));
            assert!(problems.len() == 1, "{problems:?}");
            (first.path.clone(), first.message.clone())
        }
    }
}

#[track_caller]
fn assert_refused(cases: &[(String, &str, &str)]) {
    for (yaml, path, message) in cases {
        let (found, text) = refusal(yaml);
        assert_eq!(found, *path, "{yaml}: {text}");
        assert!(text.contains(message), "{yaml}: {text}");
    }
}

#[test]
fn the_least_stanza_has_the_defaults() {
    let least = config("{namespace: ' shop ', name: cart}");
    assert_eq!(&*least.namespace, "shop");
    assert_eq!(least.kind, WorkloadKind::Deployment);
    assert_eq!(least.metrics_to_collect, KubeMetric::ALL);
    assert_eq!(least.metric_collection_frequency, "1m");
    assert_eq!(least.container, None);
    assert_eq!(KubeMetrics::validate(&least), []);
}

#[test]
fn the_sample_is_valid_and_is_shown_as_it_is_written() {
    let sample = config(KubeMetrics::sample());
    assert_eq!(KubeMetrics::validate(&sample), []);
    let shown = serde_yaml::to_string(&sample).unwrap();
    assert!(shown.starts_with(KubeMetrics::sample()), "{shown}");
}

#[test]
fn every_key_reads_back() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let yaml = format!(
        "
description: all of it
namespace: shop
name: cart
kind: StatefulSet
container: web
metrics_to_collect:
- main_cpu_usage
- tuning_pod_restart_count
metric_collection_frequency: 30s
kubeconfig: {}
context: minikube
",
        file.path().display()
    );
    let read = config(&yaml);
    assert_eq!(KubeMetrics::validate(&read), []);
    assert_eq!(serde_yaml::to_string(&read).unwrap(), yaml.trim_start());
}

#[test]
fn kinds_may_be_written_in_lower_case() {
    for (text, kind) in [
        ("deployment", WorkloadKind::Deployment),
        ("Statefulset", WorkloadKind::StatefulSet),
        ("statefulSet", WorkloadKind::StatefulSet),
        ("rollout", WorkloadKind::Rollout),
    ] {
        assert_eq!(
            config(&format!("{{namespace: a, name: b, kind: {text}}}")).kind,
            kind
        );
    }
}

#[test]
fn each_mistake_is_refused_with_its_key() {
    let cases = [
        ("name: b", "", "namespace"),
        ("namespace: a", "", "name"),
        (
            "{namespace: a, name: b, bogus: 1}",
            "bogus",
            "unknown field",
        ),
        (
            "{namespace: a b, name: b}",
            "namespace",
            "invalid name 'a b'",
        ),
        ("{namespace: a, name: ''}", "name", "invalid name ''"),
        (
            "{namespace: a, name: b, kind: DaemonSet}",
            "kind",
            "'DaemonSet': expected Deployment, StatefulSet",
        ),
        (
            "{namespace: a, name: b, container: '-'}",
            "container",
            "invalid name '-'",
        ),
        (
            "{namespace: a, name: b, metrics_to_collect: [foo]}",
            "metrics_to_collect[0]",
            "`main_mem_limit`",
        ),
        (
            "{namespace: a, name: b, metrics_to_collect: main_cpu_usage}",
            "metrics_to_collect",
            "sequence",
        ),
        (
            "{namespace: a, name: b, metric_collection_frequency: 0}",
            "metric_collection_frequency",
            "more than 0",
        ),
        (
            "{namespace: a, name: b, metric_collection_frequency: -1s}",
            "metric_collection_frequency",
            "negative",
        ),
        (
            "{namespace: a, name: b, kubeconfig: /no/such}",
            "kubeconfig",
            "file or directory at path \"/no/such\" does not exist",
        ),
        (
            "{namespace: a, name: b, kubeconfig: /}",
            "kubeconfig",
            "path \"/\" does not point to a file",
        ),
    ];
    assert_refused(&cases.map(|(yaml, path, message)| (yaml.to_owned(), path, message)));
}

#[test]
fn what_is_only_odd_is_a_warning() {
    let odd =
        config("{namespace: A, name: B, metrics_to_collect: [main_cpu_usage, main_cpu_usage]}");
    let problems = KubeMetrics::validate(&odd);
    assert!(problems.iter().all(|problem| problem.warning));
    let paths: Vec<_> = problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    assert_eq!(paths, ["namespace", "name", "metrics_to_collect[1]"]);
}

#[test]
fn metrics_have_the_names_and_units_of_the_specification() {
    for metric in KubeMetric::ALL {
        let prefix = match metric.part() {
            Part::Main => "main_",
            Part::Tuning => "tuning_",
        };
        assert!(metric.name().starts_with(prefix));
        let percent = metric.name().ends_with("_saturation");
        assert_eq!(metric.unit().symbol(), if percent { "%" } else { "" });
        assert_eq!(serde_yaml::to_value(metric).unwrap(), metric.name());
    }
    assert_eq!(KubeMetric::ALL[4].name(), "tuning_mem_usage");
}

#[test]
fn the_sample_has_the_published_shape() {
    let stanza = ConnectorType::of::<KubeMetrics>();
    let shape = servo_shape::Shape::of(&stanza.schema());
    let mut sample: Value = serde_yaml::from_str(stanza.sample()).unwrap();
    assert_eq!(shape.check(&mut sample), []);
}

#[test]
fn a_build_that_cannot_run_it_says_so() {
    assert!(
        ConnectorType::of::<KubeMetrics>()
            .unavailable()
            .unwrap()
            .contains("kube_metrics")
    );
}

const KEYS: &str =
    "namespace|name|kind|container|metrics_to_collect|metric_collection_frequency|context";
const TEXTS: &str = "web|Rollout|main_cpu_usage|5s";

fn any_value() -> impl Strategy<Value = Value> {
    let key = prop_oneof![3 => KEYS, 1 => ".{0,6}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        TEXTS.prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|pairs| Value::Mapping(
                pairs.into_iter().map(|(k, v)| (k.into(), v)).collect()
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_panics_and_what_is_accepted_reads_back(value in any_value(), name in any_value()) {
        let mut named = Value::Mapping([("namespace".into(), "a".into()), ("name".into(), "b".into())].into_iter().collect());
        if let (Value::Mapping(named), Value::Mapping(more)) = (&mut named, name) {
            named.extend(more);
        }
        for value in [value, named] {
            if let Ok(config) = serde_yaml::from_value::<KubeMetricsConfig>(value) {
                let _ = KubeMetrics::validate(&config);
                let shown = serde_yaml::to_value(&config).unwrap();
                prop_assert_eq!(serde_yaml::from_value::<KubeMetricsConfig>(shown).unwrap(), config);
            }
        }
    }
}
