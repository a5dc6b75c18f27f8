//! What the types of the stanza cannot say (`spec/kubernetes.md` §15.1, §16).

use servo_connector_kubernetes::{StaticVariables, env_problems, static_variables_need_a_canary};
use servo_dispatch::ConfigProblem;

use crate::config::OpsaniDevConfig;

/// Everything that is wrong, with the key of each.
pub(crate) fn problems(config: &OpsaniDevConfig) -> Vec<ConfigProblem> {
    let mut problems = Vec::new();
    problems.extend(target(config));
    let names = [
        ("namespace", Some(&config.namespace)),
        ("workload_name", config.workload_name.as_ref()),
        ("rollout", config.rollout.as_ref()),
        ("service", Some(&config.service)),
    ];
    for (key, name) in names {
        problems.extend(name.and_then(|name| name.problems(key)));
    }
    problems.extend(config.container.problems("container"));
    problems.extend(config.cpu.problems("cpu"));
    problems.extend(config.memory.problems("memory"));
    problems.extend(env_problems(config.env(), "env"));
    if let Some(variables) = &config.static_environment_variables {
        let key = "static_environment_variables";
        problems.extend(variables.problems(key));
        if !config.create_tuning_pod && !StaticVariables::is_empty(variables) {
            problems.push(static_variables_need_a_canary(key));
        }
    }
    if config.envoy_sidecar_image.trim().is_empty() {
        problems.push(ConfigProblem::error(
            "envoy_sidecar_image",
            "the image is blank: expected one such as opsani/envoy-proxy:v1.24.0",
        ));
    }
    if config.timeout.is_zero() {
        problems.push(ConfigProblem::error("timeout", "expected more than 0"));
    }
    problems.extend(config.on_failure.problems("on_failure"));
    if let Some(kubeconfig) = &config.kubeconfig {
        problems.extend(kubeconfig.problems("kubeconfig"));
    }
    problems
}

fn target(config: &OpsaniDevConfig) -> Option<ConfigProblem> {
    match (&config.workload_name, &config.rollout) {
        (Some(_), Some(_)) => Some(ConfigProblem::error(
            "rollout",
            "Configuration cannot specify both rollout and deployment: `workload_name` is given, too",
        )),
        (None, None) => Some(ConfigProblem::error(
            "workload_name",
            "field required: Configuration must specify either rollout or deployment",
        )),
        (Some(_), None) | (None, Some(_)) => None,
    }
}
