//! What the types of the stanza cannot say (`spec/kubernetes.md` §3).

use std::collections::BTreeMap;

use servo_dispatch::ConfigProblem;

use crate::{
    cascaded::Cascaded,
    config::KubernetesConfig,
    failure_mode::OnFailure,
    kind::WorkloadKind,
    kubeconfig::KubeconfigPath,
    name::{ContainerName, ObjectName},
    workload::Workload,
};

/// Everything that is wrong, with the key of each.
pub(crate) fn problems(config: &KubernetesConfig) -> Vec<ConfigProblem> {
    let mut problems = Vec::new();
    if let Some(kubeconfig) = &config.kubeconfig {
        problems.extend(kubeconfig.problems("kubeconfig"));
    }
    problems.extend(config.namespace.problems("namespace"));
    problems.extend(config.on_failure.problems("on_failure"));
    if config.timeout.is_zero() {
        problems.push(no_time("timeout"));
    }
    let mut components = BTreeMap::new();
    for workload in config.workloads() {
        workload_problems(&workload, config, &mut problems);
        unique_components(&workload, &mut components, &mut problems);
    }
    own_keys(config, &mut problems);
    if config.workloads().next().is_none() {
        problems.push(ConfigProblem::error(
            "",
            "No optimization target(s) were specified: expected at least one item in `deployments`, `rollouts` or \
             `stateful_sets`",
        ));
    }
    problems
}

fn no_time(path: impl Into<String>) -> ConfigProblem {
    ConfigProblem::error(path, "expected more than 0")
}

fn workload_problems(
    workload: &Workload<'_>,
    top: &KubernetesConfig,
    problems: &mut Vec<ConfigProblem>,
) {
    let path = &workload.path;
    problems.extend(workload.name.problems(&format!("{path}.name")));
    let canary = workload.strategy.is_canary();
    if canary && workload.kind == WorkloadKind::StatefulSet {
        problems.push(ConfigProblem::error(
            format!("{path}.strategy"),
            "Canary mode is not currently supported on StatefulSets: expected `default`",
        ));
    } else if canary && workload.containers.len() > 1 {
        problems.push(ConfigProblem::error(
            format!("{path}.containers"),
            format!(
                "CanaryOptimization currently only supports a single container: found {}",
                workload.containers.len()
            ),
        ));
    }
    for (index, container) in workload.containers.iter().enumerate() {
        let path = format!("{path}.containers[{index}]");
        problems.extend(container.problems(&path));
        if !canary && container.static_variables().next().is_some() {
            problems.push(static_variables_need_a_canary(format!(
                "{path}.static_environment_variables"
            )));
        }
    }
    problems.extend(workload.replicas.problems(&format!("{path}.replicas")));
    one_client(workload, top, problems);
}

/// The words for variables that there is no tuning pod for.
pub fn static_variables_need_a_canary(path: impl Into<String>) -> ConfigProblem {
    ConfigProblem::error(
        path,
        "Configurable environment variables are not currently supported under Deployment optimization (saturation \
         mode): only a tuning pod can have them",
    )
}

/// What workloads say about keys of the top themselves: what they take over is reported there.
fn own_keys(config: &KubernetesConfig, problems: &mut Vec<ConfigProblem>) {
    macro_rules! check {
        ($workloads:expr, $key:literal) => {
            for (index, workload) in $workloads.iter().flatten().enumerate() {
                let path = |key: &str| format!("{}[{index}].{key}", $key);
                if let Some(namespace) = &workload.namespace {
                    problems.extend(namespace.problems(&path("namespace")));
                }
                if let Some(on_failure) = workload.on_failure {
                    problems.extend(on_failure.problems(&path("on_failure")));
                }
                if workload.timeout.is_some_and(|timeout| timeout.is_zero()) {
                    problems.push(no_time(path("timeout")));
                }
            }
        };
    }
    check!(config.deployments, "deployments");
    check!(config.rollouts, "rollouts");
    check!(config.stateful_sets, "stateful_sets");
}

fn one_client(workload: &Workload<'_>, top: &KubernetesConfig, problems: &mut Vec<ConfigProblem>) {
    fn differs<T: PartialEq>(own: &Cascaded<T>, top: Option<&T>) -> bool {
        own.or(top) != top
    }
    for (key, differs) in [
        (
            "kubeconfig",
            differs(workload.kubeconfig, top.kubeconfig.as_ref()),
        ),
        ("context", differs(workload.context, top.context.as_ref())),
    ] {
        if differs {
            problems.push(ConfigProblem::error(
                format!("{}.{key}", workload.path),
                format!(
                    "not the {key} of the stanza's top: a connector works on one cluster; configure a second connector \
                     of this type for the other one"
                ),
            ));
        }
    }
}

/// The optimizer knows components by name alone.
fn unique_components(
    workload: &Workload<'_>,
    known: &mut BTreeMap<String, String>,
    problems: &mut Vec<ConfigProblem>,
) {
    let path = &workload.path;
    let names = workload
        .containers
        .iter()
        .enumerate()
        .flat_map(|(index, container)| {
            let key = if container.alias.is_some() {
                "alias"
            } else {
                "name"
            };
            let own = (
                format!("{path}.containers[{index}].{key}"),
                workload.component(container),
            );
            // Where there cannot be a tuning pod, or not for this container, that is the problem.
            let can_have_a_tuning_pod = index == 0 && workload.kind != WorkloadKind::StatefulSet;
            let tuning = workload
                .tuning_component(container)
                .filter(|_| can_have_a_tuning_pod)
                .map(|name| (format!("{path}.strategy"), name));
            [Some(own), tuning]
        })
        .flatten();
    for (path, name) in names {
        match known.get(&name) {
            None => {
                known.insert(name, path);
            }
            Some(first) => problems.push(ConfigProblem::error(
                path,
                format!(
                    "the component '{name}' is there already, by {first}: names must be unique; give one of them \
                     another `alias`"
                ),
            )),
        }
    }
}

impl ObjectName {
    /// What is odd about the name, with `path` as the key.
    pub fn problems(&self, path: &str) -> Option<ConfigProblem> {
        self.has_upper_case().then(|| {
            ConfigProblem::warning(
                path,
                format!(
                    "the name '{self}' has upper-case letters: no object in Kubernetes can have that name"
                ),
            )
        })
    }
}

impl ContainerName {
    /// What is odd about the name of a container, with `path` as the key.
    pub fn problems(&self, path: &str) -> Option<ConfigProblem> {
        self.has_upper_case().then(|| {
            ConfigProblem::warning(
                path,
                format!(
                    "the name '{self}' has upper-case letters: no container in Kubernetes can have that name"
                ),
            )
        })
    }
}

impl OnFailure {
    /// What is odd about the mode, with `path` as the key.
    pub fn problems(self, path: &str) -> Option<ConfigProblem> {
        (self == Self::Destroy).then(|| {
            ConfigProblem::warning(
                path,
                "`destroy` is deprecated: write `shutdown`, which means the same",
            )
        })
    }
}

impl KubeconfigPath {
    /// Whether the file is there, with `path` as the key.
    pub fn problems(&self, path: &str) -> Option<ConfigProblem> {
        let file = self.expanded();
        let message = match std::fs::metadata(&file) {
            Ok(found) if found.is_dir() => format!("path \"{self}\" does not point to a file"),
            Ok(_) => return None,
            Err(_) => format!("file or directory at path \"{self}\" does not exist"),
        };
        Some(ConfigProblem::error(path, message))
    }
}
