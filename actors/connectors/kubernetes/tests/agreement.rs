//! The schema and the reader of the stanza agree about what a stanza is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_yaml::Value;
use servo_connector_kubernetes::{Kubernetes, KubernetesConfig};
use servo_dispatch::ConnectorType;
use servo_shape::Shape;

const EVERYTHING: &str = "
description: d
kubeconfig: /f
context: c
namespace: shop
timeout: 5m
settlement: 2m
on_failure: shutdown
container_logs_in_error_status: true
create_tuning_pod: true
delete_tuning_pod_on_shutdown: true
permissions: [{group: apps, resources: [a], verbs: [b]}]
deployments:
- name: cart
  strategy: {type: canary, alias: tuning}
  replicas: {name: replicas, type: range, min: 0, max: 1, step: 1, value: 1, pinned: true}
  containers:
  - name: web
    alias: main
    command: x
    cpu: {name: cpu, type: range, unit: u, pinned: true, min: 250m, max: 4, step: 0.125, value: 1, request: 1, limit: 1, \
          get: [request], set: [request, limit]}
    memory: {name: mem, min: 256MiB, max: 4.0, step: 134217728, limit: 1GiB}
    env:
    - {name: GC_KIND, type: enum, values: [g1, 2, 2.5], value: 2, unit: u, pinned: true, literal: x}
    - {name: heap, literal: HEAP_MB, type: range, min: 128, max: 2048.5, step: 64, value_type: int, value: '3', pinned: false}
    static_environment_variables: {PROFILE: tuning, A: 1, B: 1.5, C: true}
- {name: a, containers: [{name: b, cpu: {min: 1, max: 2, step: 1}, memory: {min: 1Gi, max: 2Gi, step: 1Gi}}], strategy: canary, \
   replicas: {min: 1, max: 2}, kubeconfig: null, context: null, settlement: null, namespace: x, timeout: 1, on_failure: destroy, \
   container_logs_in_error_status: false, create_tuning_pod: false, delete_tuning_pod_on_shutdown: false, description: d}
rollouts:
- {name: a, containers: [{name: b, cpu: {min: 1, max: 2, step: 1}, memory: {min: 1Gi, max: 2Gi, step: 1Gi}}], strategy: {alias: x}, \
   replicas: {min: 1, max: 2}}
stateful_sets:
- {name: a, containers: [{name: b, cpu: {min: 1, max: 2, step: 1}, memory: {min: 1Gi, max: 2Gi, step: 1Gi}}], strategy: {type: default}, \
   replicas: {min: 1, max: 2}, settlement: 1s, kubeconfig: f, context: c}
";

/// Every node, replaced by each of `values`, taken away, or with a key more.
fn changes(stanza: &Value, values: &[Value]) -> Vec<Value> {
    let mut found = values.to_vec();
    match stanza {
        Value::Mapping(map) => {
            let mut more = map.clone();
            more.insert("bogus".into(), 1.into());
            found.push(more.into());
            for (key, value) in map {
                let mut less = map.clone();
                less.remove(key);
                found.push(less.into());
                for changed in changes(value, values) {
                    let mut map = map.clone();
                    map.insert(key.clone(), changed);
                    found.push(map.into());
                }
            }
        }
        Value::Sequence(items) => {
            found.push(Value::Sequence(Vec::new()));
            for (index, item) in items.iter().enumerate() {
                for changed in changes(item, values) {
                    let mut items = items.clone();
                    items[index] = changed;
                    found.push(items.into());
                }
            }
        }
        _ => {}
    }
    found
}

#[test]
fn what_one_accepts_the_other_accepts() {
    let shape = Shape::of(&ConnectorType::of::<Kubernetes>().schema());
    let values: Vec<Value> = serde_yaml::from_str(
        "[null, true, 0, 1, -1, 7, 1.0, 0.5, -0.5, 99999999999, '', ' ', x, '7', '-1', 1.5, 5s, 250m, 1Gi, 'a b', default, canary, \
         request, range, enum, [], [x], [1], {}, {a: b}, {type: canary}, {alias: x}, {type: default}, {type: default, alias: x}]",
    )
    .unwrap();
    let everything: Value = serde_yaml::from_str(EVERYTHING).unwrap();
    for changed in changes(&everything, &values)
        .into_iter()
        .chain([everything])
    {
        let mut checked = changed.clone();
        let faults = shape.check(&mut checked);
        let read = |value: Value| {
            serde_yaml::from_value::<KubernetesConfig>(value).map_err(|e| e.to_string())
        };
        let (as_written, as_checked) = (read(changed.clone()), read(checked));
        // What a text or a list of values means, the type knows.
        let by_meaning = |error: &str| {
            ["values list", "too large", "cannot be read as"]
                .iter()
                .any(|it| error.contains(it))
        };
        match &as_checked {
            Ok(_) if faults.is_empty() => {}
            // The YAML reader takes null for an empty list or mapping.
            Ok(_) => assert!(
                faults
                    .iter()
                    .all(|fault| fault.message.ends_with("found null")),
                "{faults:?}"
            ),
            Err(error) => assert!(
                !faults.is_empty() || by_meaning(error),
                "{error}: {changed:?}"
            ),
        }
        if as_written.is_ok() {
            assert!(as_checked.is_ok(), "{as_checked:?}: {changed:?}");
        }
    }
}
