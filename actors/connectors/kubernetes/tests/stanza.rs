//! What may stand in the stanza, what it means, and how it is shown.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::{Strategy as _, *};
use serde_yaml::Value;
use servo_connector_kubernetes::{
    FailureMode, Kubernetes, KubernetesConfig, OnFailure, Requirement, Strategy, Workload,
    WorkloadKind,
};
use servo_dispatch::{Connector, ConnectorType};

fn config(yaml: &str) -> KubernetesConfig {
    serde_yaml::from_str(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"))
}

/// Path and message of the error that the stanza is refused with, by its types or by validation.
fn refusal(yaml: &str) -> (String, String) {
    let value: Value = serde_yaml::from_str(yaml).unwrap();
    match serde_path_to_error::deserialize::<_, KubernetesConfig>(value) {
        Err(error) => {
            let path = error.path().to_string();
            (
                path.trim_matches('.').to_owned(),
                error.into_inner().to_string(),
            )
        }
        Ok(config) => {
            let mut problems = Kubernetes::validate(&config);
            problems.retain(|problem| !problem.warning);
            let first = problems
                .first()
                .unwrap_or_else(|| panic!("accepted: {yaml}"));
            assert!(problems.len() == 1, "{problems:?}");
            (first.path.clone(), first.message.clone())
        }
    }
}

fn warnings(yaml: &str) -> Vec<String> {
    let problems = Kubernetes::validate(&config(yaml));
    assert!(
        problems.iter().all(|problem| problem.warning),
        "{problems:?}"
    );
    problems.iter().map(ToString::to_string).collect()
}

const CPU: &str = "{min: 250m, max: 4, step: 125m}";
const MEMORY: &str = "{min: 256Mi, max: 4Gi, step: 128Mi}";

/// A container with further keys.
fn container(more: &str) -> String {
    format!("{{name: main, cpu: {CPU}, memory: {MEMORY}{more}}}")
}

/// A workload with further keys.
fn workload(more: &str) -> String {
    format!(
        "{{name: web, containers: [{}], replicas: {{min: 1, max: 4}}{more}}}",
        container("")
    )
}

/// A deployment whose container has further keys, and which has some itself.
fn deployment_of(container: &str, more: &str) -> String {
    format!(
        "deployments: [{{name: web, containers: [{container}], replicas: {{min: 1, max: 4}}{more}}}]"
    )
}

/// A deployment whose container has other ranges.
fn ranges(cpu: &str, memory: &str) -> String {
    deployment_of(&format!("{{name: main, cpu: {cpu}, memory: {memory}}}"), "")
}

const EXAMPLE: &str = "
namespace: shop
timeout: 5m
settlement: 2m
on_failure: shutdown
deployments:
- name: cart
  strategy: {type: canary, alias: tuning}
  replicas: {min: 0, max: 1, pinned: true}
  containers:
  - name: web
    alias: main
    cpu: {min: 250m, max: 4, step: 125m, get: [request], set: [request, limit]}
    memory: {min: 256MiB, max: 4GiB, step: 128MiB, limit: 1GiB}
    env:
    - {name: GC_KIND, type: enum, values: [g1, z]}
    - {name: heap, literal: HEAP_MB, type: range, min: 128, max: 2048, step: 64, value_type: int}
    static_environment_variables: {PROFILE: tuning}
";

#[test]
fn the_sample_and_the_example_of_the_specification_are_valid() {
    for yaml in [Kubernetes::sample(), EXAMPLE] {
        assert_eq!(Kubernetes::validate(&config(yaml)), []);
    }
    let example = config(EXAMPLE);
    let workloads: Vec<Workload<'_>> = example.workloads().collect();
    let [cart] = workloads.as_slice() else {
        panic!("{workloads:?}")
    };
    assert_eq!(cart.kind, WorkloadKind::Deployment);
    assert_eq!(&**cart.namespace, "shop");
    assert_eq!(cart.settlement.unwrap(), "2m");
    assert_eq!(cart.failure_mode(), FailureMode::Shutdown);
    let web = &cart.containers[0];
    assert_eq!(cart.component(web), "main");
    assert_eq!(cart.tuning_component(web).unwrap(), "tuning");
    assert_eq!(&*web.cpu.get, [Requirement::Request]);
    assert_eq!(&*web.memory.get, [Requirement::Request, Requirement::Limit]);
    assert_eq!(web.memory.limit.unwrap().bytes(), 1 << 30);
    assert_eq!(web.env()[1].variable(), "HEAP_MB");
    assert_eq!(
        web.static_variables().collect::<Vec<_>>(),
        [("PROFILE", "tuning")]
    );
}

#[test]
fn the_least_stanza_has_the_defaults() {
    let least = config(&format!("deployments: [{}]", workload("")));
    assert_eq!(&*least.namespace, "default");
    assert_eq!(least.timeout, "5m");
    assert_eq!(least.on_failure, OnFailure::Exception);
    assert!(least.create_tuning_pod && !least.container_logs_in_error_status);
    let web = least.workloads().next().unwrap();
    assert_eq!(*web.strategy, Strategy::Default);
    assert_eq!(web.component(&web.containers[0]), "web/main");
    assert_eq!(web.tuning_component(&web.containers[0]), None);
    assert_eq!(web.replicas.step, 1);
    assert_eq!(web.containers[0].cpu.unit, "cores");
    assert_eq!(web.containers[0].memory.unit, "GiB");
    assert_eq!(Kubernetes::validate(&least), []);
}

#[test]
fn every_key_is_shown_as_it_is_written() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let workload = "
  description: w
  containers:
  - name: main
    alias: a-KIND
    command: sleep 1
    cpu:
      name: cpu
      type: range
      unit: vcpu
      pinned: true
      min: 250m
      max: '4'
      step: 125m
      value: 500m
      request: 250m
      limit: '1.5'
      get:
      - limit
      set:
      - limit
      - request
    memory:
      name: mem
      type: range
      unit: gb
      pinned: true
      min: 256.0Mi
      max: 1.0625Gi
      step: 64.0Mi
      value: 512.0Mi
      request: 1.0Gi
      limit: 1.5Gi
      get:
      - request
      set:
      - request
    env:
    - type: enum
      name: GC_KIND
      unit: kind
      values:
      - g1
      - 2
      pinned: true
      value: g1
      literal: GC
    - type: range
      name: heap
      min: 128
      max: 2048
      step: 64
      pinned: false
      value: 256
      literal: HEAP_MB
      value_type: int
    static_environment_variables:
      Z: z
      A: '1'
  strategy: STRATEGY
  replicas:
    name: replicas
    type: range
    pinned: true
    min: 0
    max: 4
    step: 2
    value: 2
  kubeconfig: FILE
  context: minikube
  namespace: other
  settlement: null
  on_failure: ignore
  timeout: 1m
  container_logs_in_error_status: false
  create_tuning_pod: true
  delete_tuning_pod_on_shutdown: false
";
    let of =
        |kind: &str, strategy: &str| workload.replace("KIND", kind).replace("STRATEGY", strategy);
    let canary =
        of("r", "\n    type: canary\n    alias: tuning").replace("strategy: \n", "strategy:\n");
    let saturated = of("s", "default");
    let saturated = saturated
        .split_once("    static_environment")
        .map(|(before, after)| format!("{before}{}", &after[after.find("  strategy").unwrap()..]))
        .unwrap();
    let yaml = format!(
        "description: all of it
kubeconfig: FILE
context: minikube
namespace: shop
settlement: 2m
on_failure: rollback
timeout: 10m
container_logs_in_error_status: true
create_tuning_pod: false
delete_tuning_pod_on_shutdown: true
permissions:
- group: apps
  resources:
  - deployments
  verbs:
  - get
deployments:
- name: web{}rollouts:
- name: cart{canary}stateful_sets:
- name: db{saturated}",
        of("d", "canary")
    )
    .replace("FILE", &file.path().display().to_string());
    let read = config(&yaml);
    assert_eq!(Kubernetes::validate(&read), []);
    assert_eq!(serde_yaml::to_string(&read).unwrap(), yaml);
    assert_eq!(config(&yaml), read);
    let settlements: Vec<_> = read
        .workloads()
        .map(|workload| workload.settlement)
        .collect();
    assert_eq!(settlements, [None; 3]);
}

#[test]
fn workloads_take_over_what_they_do_not_say() {
    let read = config(&format!(
        "{{timeout: 9m, settlement: 1m, on_failure: destroy, namespace: ns, create_tuning_pod: false, deployments: [{}, \
         {}], rollouts: [{}], stateful_sets: [{}]}}",
        workload(", settlement: null, timeout: 1m, namespace: own, on_failure: ignore"),
        workload(""),
        workload(", create_tuning_pod: true"),
        workload(", settlement: 5s"),
    ));
    let seen: Vec<_> = read
        .workloads()
        .map(|it| {
            let settlement = it
                .settlement
                .map_or("none".to_owned(), |settlement| settlement.to_string());
            format!(
                "{} {} {settlement} {} {} {:?} {}",
                it.path,
                it.kind,
                it.timeout,
                it.namespace,
                it.failure_mode(),
                it.create_tuning_pod
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            "deployments[0] Deployment none 1m own Ignore false",
            "deployments[1] Deployment 1m 9m ns Shutdown false",
            "rollouts[0] Rollout 1m 9m ns Shutdown true",
            "stateful_sets[0] StatefulSet 5s 9m ns Shutdown false",
        ]
    );
    let strategies: Vec<_> = read.workloads().map(|it| it.strategy.is_canary()).collect();
    assert_eq!(strategies, [false, false, true, false]);
    assert_eq!(serde_yaml::to_value(read.on_failure).unwrap(), "shutdown");
}

#[test]
fn a_deprecated_mode_is_one_warning() {
    let yaml = |modes: [&str; 2]| {
        format!(
            "{{on_failure: {}, deployments: [{}]}}",
            modes[0],
            workload(modes[1])
        )
    };
    assert_eq!(
        warnings(&yaml(["destroy", ""])),
        ["on_failure: `destroy` is deprecated: write `shutdown`, which means the same"]
    );
    assert_eq!(
        warnings(&yaml(["shutdown", ", on_failure: destroy"])).len(),
        1
    );
    assert_eq!(warnings(&yaml(["shutdown", ""])).len(), 0);
}

#[test]
fn each_form_of_a_strategy() {
    for (yaml, strategy, alias, shown) in [
        ("default", "default", None, "default"),
        ("{type: default}", "default", None, "default"),
        ("canary", "canary", None, "canary"),
        ("{type: canary}", "canary", None, "canary"),
        (
            "{type: canary, alias: t}",
            "canary",
            Some("t"),
            "type: canary\nalias: t",
        ),
        ("{alias: t}", "canary", Some("t"), "type: canary\nalias: t"),
    ] {
        let read = config(&format!(
            "deployments: [{}]",
            workload(&format!(", strategy: {yaml}"))
        ));
        let web = read.workloads().next().unwrap();
        assert_eq!(web.strategy.is_canary(), strategy == "canary", "{yaml}");
        let tuning = web.tuning_component(&web.containers[0]);
        if strategy == "canary" {
            assert_eq!(tuning.unwrap(), alias.unwrap_or("web/main-tuning"));
        }
        assert_eq!(serde_yaml::to_string(web.strategy).unwrap().trim(), shown);
        assert_eq!(Kubernetes::validate(&read), []);
    }
}

#[test]
fn amounts_in_each_form() {
    let read = config(&ranges(
        "{min: .5, max: '2.50', step: 1e-1}",
        "{min: 268435456, max: 4.0, step: 128 MiB}",
    ));
    let web = read.workloads().next().unwrap();
    let (cpu, memory) = (&web.containers[0].cpu, &web.containers[0].memory);
    assert_eq!(
        [cpu.min, cpu.max, cpu.step].map(|it| it.to_string()),
        ["500m", "2.5", "100m"]
    );
    assert_eq!(
        [memory.min, memory.max, memory.step].map(|it| it.human()),
        ["256.0Mi", "4.0Gi", "128.0Mi"]
    );
}

#[test]
fn odd_ranges_load_with_a_warning() {
    let good = (CPU, MEMORY);
    for (cpu, memory, expected) in [
        (
            "{min: 2, max: 1, step: 125m}",
            good.1,
            "deployments[0].containers[0].cpu: min cannot be greater than max (2 > 1)",
        ),
        (
            "{min: 250m, max: 4, step: 125m, value: 5}",
            good.1,
            "deployments[0].containers[0].cpu: invalid value: 5 is outside of the range 250m-4",
        ),
        (
            "{min: 1, max: 2, step: 0}",
            good.1,
            "deployments[0].containers[0].cpu: step cannot be zero",
        ),
        (
            good.0,
            "{min: 256Mi, max: 4.0625Gi, step: 128Mi}",
            "deployments[0].containers[0].memory: Memory('mem' 256.0Mi-4.1Gi, 128.0Mi) min/max difference is not step \
             aligned: 3.8125Gi is not a multiple of 128Mi (consider min 320Mi or 192Mi, max 4Gi or 4.125Gi).",
        ),
    ] {
        assert_eq!(warnings(&ranges(cpu, memory)), [expected]);
    }
    let bytes = warnings(&ranges(good.0, "{min: 256Mi, max: 4, step: 128Mi}"));
    assert!(
        bytes[0].starts_with("deployments[0].containers[0].memory.max: 4.0B is less than 1Mi"),
        "{bytes:?}"
    );
    let replicas = format!(
        "deployments: [{{name: w, containers: [{}], replicas: {{min: 2, max: 1, step: -1}}}}]",
        container("")
    );
    assert_eq!(
        warnings(&replicas),
        [
            "deployments[0].replicas: min cannot be greater than max (2 > 1)",
            "deployments[0].replicas: step cannot be negative (-1)",
        ]
    );
    let env = deployment_of(
        &container(", env: [{name: a, type: range, min: 3.0, max: 11.0, step: 3.0}]"),
        "",
    );
    assert_eq!(
        warnings(&env),
        [
            "deployments[0].containers[0].env[0]: RangeSetting('a' 3.0-11.0, 3.0) min/max difference is not step aligned: \
          8.0 is not a multiple of 3.0 (consider min 5.0 or 2.0, max 9.0 or 12.0)."
        ]
    );
    let upper = format!(
        "{{namespace: Shop, deployments: [{}]}}",
        workload("").replace("name: main", "name: Main")
    );
    let upper = warnings(&upper);
    assert!(
        upper[0].contains("namespace: the name 'Shop' has upper-case"),
        "{upper:?}"
    );
    assert!(
        upper[1].contains("containers[0].name: the name 'Main'"),
        "{upper:?}"
    );
}

#[test]
fn static_variables_are_texts_in_the_order_of_the_file() {
    let read = config(&deployment_of(
        &container(", static_environment_variables: {B: true, A: 1, C: 1.5, D: x}"),
        ", strategy: canary",
    ));
    let web = read.workloads().next().unwrap();
    let variables: Vec<_> = web.containers[0].static_variables().collect();
    assert_eq!(
        variables,
        [("B", "true"), ("A", "1"), ("C", "1.5"), ("D", "x")]
    );
}

#[test]
fn each_mistake_of_the_stanza_is_refused_with_its_key() {
    let top = |more: &str| format!("{{deployments: [{}], {more}}}", workload(""));
    let one = |more: &str| format!("deployments: [{}]", workload(more));
    for (yaml, path, message) in [
        (
            "{}".to_owned(),
            "",
            "No optimization target(s) were specified",
        ),
        (
            "{deployments: [], rollouts: null}".to_owned(),
            "",
            "No optimization target(s) were specified",
        ),
        (top("bogus: 1"), "bogus", "unknown field `bogus`"),
        (top("namespace: a_b"), "namespace", "invalid name 'a_b'"),
        (
            top("on_failure: rollback_please"),
            "on_failure",
            "expected one of `exception`, `shutdown`",
        ),
        (top("timeout: 0"), "timeout", "more than 0"),
        (top("timeout: 5S"), "timeout", "5S"),
        (top("settlement: -5s"), "settlement", "negative"),
        (
            top("kubeconfig: ~/no/such"),
            "kubeconfig",
            "file or directory at path \"~/no/such\" does not exist",
        ),
        (
            top("permissions: [{group: apps}]"),
            "permissions[0]",
            "resources",
        ),
        (
            top("permissions: [{group: apps, resources: [], verbs: [], x: 1}]"),
            "permissions[0].x",
            "unknown field",
        ),
        (one(", timeout: 0"), "deployments[0].timeout", "more than 0"),
        (one(", bogus: 1"), "deployments[0].bogus", "unknown field"),
        (
            one(", kubeconfig: /dev/null"),
            "deployments[0].kubeconfig",
            "one cluster",
        ),
        (
            format!(
                "{{context: a, deployments: [{}]}}",
                workload(", context: null")
            ),
            "deployments[0].context",
            "one cluster",
        ),
        (
            one(", strategy: blue"),
            "deployments[0].strategy",
            "expected `default` or `canary`",
        ),
        (
            one(", strategy: {type: canary, bogus: 1}"),
            "deployments[0].strategy.bogus",
            "unknown field",
        ),
        (
            one(", strategy: {type: default, alias: t}"),
            "deployments[0].strategy",
            "no `alias`",
        ),
        (one(", strategy: {}"), "deployments[0].strategy", "type"),
        (
            one(", strategy: {type: canary, alias: '/x'}"),
            "deployments[0].strategy.alias",
            "invalid name '/x'",
        ),
        (
            one("").replace("name: web,", ""),
            "deployments[0]",
            "missing field `name`",
        ),
        (
            one("").replace("name: web", "name: '-web'"),
            "deployments[0].name",
            "invalid name '-web'",
        ),
        (
            one("").replace("replicas", "replica"),
            "deployments[0].replica",
            "unknown field",
        ),
        (
            format!("stateful_sets: [{}]", workload(", strategy: canary")),
            "stateful_sets[0].strategy",
            "Canary mode is not currently supported on StatefulSets",
        ),
        (
            "deployments: [{name: web, containers: [], replicas: {min: 1, max: 2}}]".to_owned(),
            "deployments[0].containers",
            "at least one",
        ),
        (
            deployment_of(
                &format!("{}, {}", container(""), container(", alias: b")),
                ", strategy: canary",
            ),
            "deployments[0].containers",
            "CanaryOptimization currently only supports a single container",
        ),
        (
            format!(
                "deployments: [{}, {}]",
                workload(""),
                workload(", namespace: other")
            ),
            "deployments[1].containers[0].name",
            "the component 'web/main' is there already, by deployments[0].containers[0].name",
        ),
        (
            deployment_of(&container(", alias: x"), ", strategy: {alias: x}"),
            "deployments[0].strategy",
            "the component 'x'",
        ),
    ] {
        let (found, text) = refusal(&yaml);
        assert_eq!(found, path, "{yaml}: {text}");
        assert!(text.contains(message), "{yaml}: {text}");
    }
}

#[test]
fn each_mistake_of_a_container_is_refused_with_its_key() {
    let cpu = |cpu: &str| ranges(cpu, MEMORY);
    let memory = |memory: &str| ranges(CPU, memory);
    let own = |more: &str| deployment_of(&container(more), "");
    let replicas = |replicas: &str| {
        format!(
            "deployments: [{{name: web, containers: [{}], replicas: {replicas}}}]",
            container("")
        )
    };
    let below = "deployments[0].containers[0].";
    for (yaml, key, message) in [
        (cpu("{min: 1, max: 2}"), "cpu", "missing field `step`"),
        (
            cpu("{min: 1, max: 2, step: 1, get: []}"),
            "cpu.get",
            "at least one",
        ),
        (
            cpu("{min: 1, max: 2, step: 1, set: [foo]}"),
            "cpu.set[0]",
            "`request` or `limit`",
        ),
        (
            cpu("{min: 1, max: 2, step: 1, get: request}"),
            "cpu.get",
            "sequence",
        ),
        (
            cpu("{min: 1, max: 2, step: 1, stepp: 1}"),
            "cpu.stepp",
            "unknown field",
        ),
        (
            cpu("{min: 1, max: 2, step: 1, name: mem}"),
            "cpu.name",
            "`cpu`",
        ),
        (
            cpu("{min: 1, max: 2, step: 1, type: enum}"),
            "cpu.type",
            "`range`",
        ),
        (
            cpu("{min: '', max: 2, step: 1}"),
            "cpu.min",
            "invalid CPU quantity ''",
        ),
        (cpu("{min: abc, max: 2, step: 1}"), "cpu.min", "'abc'"),
        (cpu("{min: -1, max: 2, step: 1}"), "cpu.min", "-1"),
        (cpu("{min: 1, max: .inf, step: 1}"), "cpu.max", "inf"),
        (cpu("{min: 1, max: true, step: 1}"), "cpu.max", "boolean"),
        (
            cpu("{min: 0, max: 2, step: 1}"),
            "cpu.min",
            "min must be greater than zero",
        ),
        (
            memory("{min: foo, max: 1Gi, step: 1Mi}"),
            "memory.min",
            "'foo'",
        ),
        (
            memory("{min: 1Mi, max: '1.5.2Gi', step: 1Mi}"),
            "memory.max",
            "'1.5.2Gi'",
        ),
        (
            memory("{min: 1Mi, max: 1Zi, step: 1Mi}"),
            "memory.max",
            "'1Zi'",
        ),
        (
            memory("{min: -1Mi, max: 1Gi, step: 1Mi}"),
            "memory.min",
            "negative",
        ),
        (
            memory("{min: 0, max: 1Gi, step: 1Mi}"),
            "memory.min",
            "min must be greater than zero",
        ),
        (own(", alias: ''"), "alias", "invalid name ''"),
        (own(", bogus: 1"), "bogus", "unknown field"),
        (own(", env: [{name: a, values: [1]}]"), "env[0]", "type"),
        (
            own(", env: [{name: a, type: list, values: [1]}]"),
            "env[0].type",
            "`range` or `enum`",
        ),
        (
            own(", env: [{name: a, type: enum, values: []}]"),
            "env[0]",
            "at least one",
        ),
        (
            own(", env: [{name: a, type: enum, values: [x], value: y}]"),
            "env[0]",
            "not in the values list",
        ),
        (
            own(", env: [{name: a, type: range, min: '0', max: 1, step: 1}]"),
            "env[0]",
            "a number",
        ),
        (
            own(", env: [{name: cpu, type: enum, values: [x]}]"),
            "env[0].name",
            "'cpu'",
        ),
        (
            own(", env: [{name: a, type: enum, values: [x]}, {name: a, type: enum, values: [x]}]"),
            "env[1].name",
            "names must be unique",
        ),
        (
            own(", env: [{name: a, literal: 'A=B', type: enum, values: [x]}]"),
            "env[0].literal",
            "'A=B'",
        ),
        (
            own(", static_environment_variables: {A: b}"),
            "static_environment_variables",
            "not currently supported under Deployment optimization (saturation mode)",
        ),
        (
            own(", static_environment_variables: {A: [b]}"),
            "static_environment_variables.A",
            "a text",
        ),
        (
            own(", static_environment_variables: {A: null}"),
            "static_environment_variables.A",
            "a text",
        ),
    ] {
        let (found, text) = refusal(&yaml);
        assert_eq!(
            found.strip_prefix(below),
            Some(key),
            "{yaml}: {found}: {text}"
        );
        assert!(text.contains(message), "{yaml}: {text}");
    }
    for (yaml, key) in [
        ("{min: '1', max: 2}", ".min"),
        ("{min: 1, max: 2.0}", ".max"),
        ("{min: -1, max: 2}", ".min"),
        ("{min: 1, max: 2, step: '1'}", ".step"),
        ("{min: 1, max: 2, unit: x}", ".unit"),
        ("{min: 1}", ""),
    ] {
        assert_eq!(
            refusal(&replicas(yaml)).0,
            format!("deployments[0].replicas{key}")
        );
    }
    let bad_name = deployment_of(
        &container(", static_environment_variables: {'A=B': x}"),
        ", strategy: canary",
    );
    assert_eq!(
        refusal(&bad_name).0,
        format!("{below}static_environment_variables.A=B")
    );
}

#[test]
fn what_is_wrong_is_reported_at_once_and_alone() {
    let yaml = format!(
        "{{timeout: 0, deployments: [{}], stateful_sets: [{}]}}",
        workload(", strategy: canary").replace("min: 250m", "min: 0"),
        workload(", strategy: canary, namespace: other"),
    );
    let problems = Kubernetes::validate(&config(&yaml));
    let paths: Vec<_> = problems
        .iter()
        .map(|problem| problem.path.as_str())
        .collect();
    assert_eq!(
        paths,
        [
            "timeout",
            "deployments[0].containers[0].cpu.min",
            "stateful_sets[0].strategy",
            "stateful_sets[0].containers[0].name",
        ]
    );
}

#[test]
fn the_sample_has_the_published_shape() {
    let stanza = ConnectorType::of::<Kubernetes>();
    let shape = servo_shape::Shape::of(&stanza.schema());
    let mut sample: Value = serde_yaml::from_str(stanza.sample()).unwrap();
    assert_eq!(shape.check(&mut sample), []);
}

#[test]
fn a_build_that_cannot_run_it_says_so() {
    assert!(
        ConnectorType::of::<Kubernetes>()
            .unavailable()
            .unwrap()
            .contains("kubernetes")
    );
}

const KEYS: &str = "deployments|rollouts|stateful_sets|namespace|timeout|settlement|on_failure|strategy|containers|name|\
                    replicas|cpu|memory|env|static_environment_variables|min|max|step|value|get|type|alias|values";
const TEXTS: &str = "web|canary|default|5s|250m|128Mi|range|enum|destroy";

fn any_value() -> impl proptest::strategy::Strategy<Value = Value> {
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

fn read_back(value: Value) {
    if let Ok(config) = serde_yaml::from_value::<KubernetesConfig>(value) {
        let _ = Kubernetes::validate(&config);
        let shown = serde_yaml::to_value(&config).unwrap();
        let again: KubernetesConfig = serde_yaml::from_value(shown.clone()).unwrap();
        assert_eq!(serde_yaml::to_value(again).unwrap(), shown);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_panics_and_what_is_accepted_reads_back(value in any_value()) {
        read_back(value);
    }

    /// One place of a good stanza holds anything.
    #[test]
    fn no_change_of_a_good_stanza_panics(value in any_value(), place in 0_usize..60) {
        let mut stanza: Value = serde_yaml::from_str(EXAMPLE).unwrap();
        let mut left = place;
        replace(&mut stanza, &mut left, &value);
        read_back(stanza);
    }

    #[test]
    fn no_range_panics(numbers in prop::collection::vec(any::<u64>(), 4), divisor in 0_u32..64) {
        let [min, max, step, value] = [0, 1, 2, 3].map(|index| (numbers[index] >> divisor).max(1));
        let range = format!("{{min: {min}n, max: {max}n, step: {step}n, value: {value}n}}");
        let bytes = range.replace("n,", ",").replace("n}", "}");
        let _ = Kubernetes::validate(&config(&ranges(&range, &bytes)));
    }
}

/// Puts `value` in the place of the `left`-th node.
fn replace(node: &mut Value, left: &mut usize, value: &Value) {
    if *left == 0 {
        *node = value.clone();
    }
    *left = left.wrapping_sub(1);
    match node {
        _ if *left == usize::MAX => {}
        Value::Mapping(map) => map.values_mut().for_each(|node| replace(node, left, value)),
        Value::Sequence(items) => items.iter_mut().for_each(|node| replace(node, left, value)),
        _ => {}
    }
}
