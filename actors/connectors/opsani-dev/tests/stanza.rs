//! What may stand in the stanza, and how it is shown.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use serde_yaml::Value;
use servo_connector_kubernetes::{CpuConfig, MemoryConfig, Requirement};
use servo_connector_opsani_dev::{OpsaniDev, OpsaniDevConfig, ServicePort, TargetKind};
use servo_dispatch::{Connector, ConnectorType};

fn config(yaml: &str) -> OpsaniDevConfig {
    serde_yaml::from_str(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"))
}

/// Path and message of the error that the stanza is refused with, by its types or by validation.
fn refusal(yaml: &str) -> (String, String) {
    let value: Value = serde_yaml::from_str(yaml).unwrap();
    match serde_path_to_error::deserialize::<_, OpsaniDevConfig>(value) {
        Err(error) => {
            let path = error.path().to_string();
            (
                path.trim_matches('.').to_owned(),
                error.into_inner().to_string(),
            )
        }
        Ok(config) => {
            let mut problems = OpsaniDev::validate(&config);
            problems.retain(|problem| !problem.warning);
            let first = problems
                .first()
                .unwrap_or_else(|| panic!("accepted: {yaml}"));
            assert!(problems.len() == 1, "{problems:?}");
            (first.path.clone(), first.message.clone())
        }
    }
}

const LEAST: &str = "namespace: shop, workload_name: cart, container: main, service: cart, cpu: {min: 250m, max: 4}, \
                     memory: {min: 256Mi, max: 4Gi}";

/// A good stanza with further keys.
fn with(more: &str) -> String {
    format!("{{{LEAST}, {more}}}")
}

/// A good stanza with one key changed, or without it.
fn instead(key: &str, value: &str) -> String {
    let least = format!("{{{LEAST}}}");
    assert!(least.contains(key), "{key}");
    least.replace(key, value)
}

#[test]
fn the_least_stanza_has_the_defaults() {
    let least = config(&format!("{{{LEAST}}}"));
    assert_eq!(OpsaniDev::validate(&least), []);
    assert_eq!(least.cpu.step.to_string(), "125m");
    assert_eq!(least.memory.step.to_string(), "128Mi");
    assert_eq!(&*least.cpu.get, [Requirement::Request, Requirement::Limit]);
    assert_eq!(
        least.prometheus_base_url.to_string(),
        "http://localhost:9090"
    );
    assert_eq!(least.envoy_sidecar_image, "opsani/envoy-proxy:v1.24.0");
    assert_eq!(least.timeout, "5m");
    assert!(
        least.create_tuning_pod
            && !least.container_logs_in_error_status
            && !least.limit_queries_to_namespace
    );
    let target = least.target().unwrap();
    assert_eq!(
        (target.kind, &**target.name),
        (TargetKind::Deployment, "cart")
    );
    assert_eq!(CpuConfig::from(least.cpu).step.to_string(), "125m");
    assert_eq!(MemoryConfig::from(least.memory).max.human(), "4.0Gi");
}

#[test]
fn the_sample_is_valid_and_reads_back() {
    let sample = config(OpsaniDev::sample());
    assert_eq!(OpsaniDev::validate(&sample), []);
    let shown = serde_yaml::to_value(&sample).unwrap();
    let written: Value = serde_yaml::from_str(OpsaniDev::sample()).unwrap();
    for (key, value) in written.as_mapping().unwrap() {
        match value {
            Value::Mapping(inner) => {
                for (inner_key, value) in inner {
                    assert_eq!(shown[key][inner_key], *value, "{key:?}.{inner_key:?}");
                }
            }
            value => assert_eq!(shown[key], *value, "{key:?}"),
        }
    }
    let again: OpsaniDevConfig = serde_yaml::from_value(shown.clone()).unwrap();
    assert_eq!(serde_yaml::to_value(again).unwrap(), shown);
}

#[test]
fn every_key_is_shown_as_it_is_written() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let range = |name: &str, unit: &str, min: &str, max: &str, step: &str| {
        format!(
            "  name: {name}
  type: range
  unit: {unit}
  pinned: true
  min: {min}
  max: {max}
  step: {step}
  value: {min}
  request: {min}
  limit: {max}
  get:
  - request
  set:
  - limit
"
        )
    };
    let yaml = format!(
        "description: all of it
namespace: shop
workload_name: cart
workload_kind: Rollout
container: main
service: cart
port: 80
cpu:
{}memory:
{}env:
- type: enum
  name: GC
  values:
  - g1
  pinned: false
static_environment_variables:
  PROFILE: tuning
prometheus_base_url: http://prometheus:9090/base
limit_queries_to_namespace: true
envoy_sidecar_image: envoy:1
timeout: 1m
settlement: 30s
container_logs_in_error_status: true
create_tuning_pod: true
on_failure: shutdown
kubeconfig: {}
context: minikube
",
        range("cpu", "cores", "500m", "1500m", "250m").replace("1500m", "'1.5'"),
        range("mem", "GiB", "256.0Mi", "1.0Gi", "256.0Mi"),
        file.path().display()
    );
    let read = config(&yaml);
    assert_eq!(OpsaniDev::validate(&read), []);
    assert_eq!(serde_yaml::to_string(&read).unwrap(), yaml);
}

#[test]
fn the_workload_can_be_named_in_four_ways() {
    for (yaml, kind) in [
        ("workload_name: w", TargetKind::Deployment),
        ("deployment: w", TargetKind::Deployment),
        ("rollout: w", TargetKind::Rollout),
        (
            "workload_name: w, workload_kind: Rollout",
            TargetKind::Rollout,
        ),
        (
            "workload_name: w, workload_kind: deployment",
            TargetKind::Deployment,
        ),
    ] {
        let read = config(&instead("workload_name: cart", yaml));
        assert_eq!(OpsaniDev::validate(&read), [], "{yaml}");
        let target = read.target().unwrap();
        assert_eq!((target.kind, &**target.name), (kind, "w"), "{yaml}");
    }
    let schema = ConnectorType::of::<OpsaniDev>().schema();
    assert_eq!(
        schema.get("x-aliases").unwrap()["deployment"],
        "workload_name"
    );
}

#[test]
fn a_port_is_a_number_or_a_name() {
    for (yaml, port) in [
        ("80", "80"),
        ("'80'", "80"),
        ("http", "http"),
        ("8080-tcp", "8080-tcp"),
    ] {
        let read = config(&with(&format!("port: {yaml}"))).port.unwrap();
        assert_eq!(read.to_string(), port);
        assert_eq!(matches!(read, ServicePort::Number(_)), port == "80");
    }
}

#[test]
fn each_mistake_is_refused_with_its_key() {
    for (yaml, path, message) in [
        (with("bogus: 1"), "bogus", "unknown field"),
        (
            instead("namespace: shop, ", ""),
            "",
            "missing field `namespace`",
        ),
        (
            instead("service: cart, ", ""),
            "",
            "missing field `service`",
        ),
        (
            instead("container: main, ", ""),
            "",
            "missing field `container`",
        ),
        (instead("memory: ", "mem: "), "mem", "unknown field `mem`"),
        (
            instead("workload_name: cart, ", ""),
            "workload_name",
            "must specify either rollout or deployment",
        ),
        (
            with("deployment: cart"),
            "",
            "duplicate field `workload_name`",
        ),
        (
            with("rollout: cart"),
            "rollout",
            "cannot specify both rollout and deployment",
        ),
        (
            with("workload_kind: CronJob"),
            "workload_kind",
            "'CronJob': expected Deployment or Rollout",
        ),
        (
            with("workload_kind: StatefulSet"),
            "workload_kind",
            "'StatefulSet'",
        ),
        (with("port: 0"), "port", "1 to 65535"),
        (with("port: '65536'"), "port", "1 to 65535"),
        (with("port: 80.0"), "port", "number or name"),
        (with("port: Http"), "port", "'Http'"),
        (
            with("prometheus_base_url: ftp://x"),
            "prometheus_base_url",
            "URL scheme not permitted",
        ),
        (
            with("envoy_sidecar_image: ' '"),
            "envoy_sidecar_image",
            "blank",
        ),
        (with("timeout: 0"), "timeout", "more than 0"),
        (with("settlement: soon"), "settlement", "soon"),
        (with("on_failure: explode"), "on_failure", "expected one of"),
        (with("kubeconfig: /no/such"), "kubeconfig", "does not exist"),
        (
            with("env: [{name: mem, type: enum, values: [x]}]"),
            "env[0].name",
            "'mem'",
        ),
        (
            instead("min: 250m", "min: 0"),
            "cpu.min",
            "greater than zero",
        ),
        (instead("max: 4}", "maxx: 4}"), "cpu.maxx", "unknown field"),
        (instead("max: 4Gi", "max: 4Zi"), "memory.max", "'4Zi'"),
        (
            with("create_tuning_pod: false, static_environment_variables: {A: b}"),
            "static_environment_variables",
            "only a tuning pod",
        ),
    ] {
        let (found, text) = refusal(&yaml);
        assert_eq!(found, path, "{yaml}: {text}");
        assert!(text.contains(message), "{yaml}: {text}");
    }
}

#[test]
fn what_is_only_odd_is_a_warning() {
    let odd = config(
        &instead("max: 4Gi", "max: 4")
            .replace("service: cart", "service: Cart, on_failure: destroy"),
    );
    let problems = OpsaniDev::validate(&odd);
    assert!(
        problems.iter().all(|problem| problem.warning),
        "{problems:?}"
    );
    let paths: Vec<_> = problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    assert_eq!(paths, ["service", "memory.max", "memory", "on_failure"]);
}

#[test]
fn the_sample_has_the_published_shape() {
    let stanza = ConnectorType::of::<OpsaniDev>();
    let shape = servo_shape::Shape::of(&stanza.schema());
    let mut sample: Value = serde_yaml::from_str(stanza.sample()).unwrap();
    assert_eq!(shape.check(&mut sample), []);
}

#[test]
fn a_build_that_cannot_run_it_says_so() {
    assert!(
        ConnectorType::of::<OpsaniDev>()
            .unavailable()
            .unwrap()
            .contains("opsani_dev")
    );
}

const KEYS: &str = "namespace|workload_name|deployment|rollout|container|service|port|cpu|memory|env|timeout|settlement|\
                    on_failure|min|max|step|get|type|values|static_environment_variables|prometheus_base_url";
const TEXTS: &str = "web|5s|250m|128Mi|range|enum|http://x";

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
    fn nothing_panics_and_what_is_accepted_reads_back(value in any_value()) {
        let mut good: Value = serde_yaml::from_str(&format!("{{{LEAST}}}")).unwrap();
        if let (Value::Mapping(good), Value::Mapping(more)) = (&mut good, &value) {
            good.extend(more.clone());
        }
        for value in [value, good] {
            if let Ok(config) = serde_yaml::from_value::<OpsaniDevConfig>(value) {
                let _ = OpsaniDev::validate(&config);
                let shown = serde_yaml::to_value(&config).unwrap();
                let again: OpsaniDevConfig = serde_yaml::from_value(shown.clone()).unwrap();
                prop_assert_eq!(serde_yaml::to_value(again).unwrap(), shown);
            }
        }
    }
}
