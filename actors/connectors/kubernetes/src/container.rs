//! A container of a workload (`spec/kubernetes.md` §3.3, §2.5).

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_dispatch::ConfigProblem;
use servo_messages::EnvironmentSetting;

use crate::{
    name::ContainerName,
    resource::{CpuConfig, MemoryConfig},
    variables::{StaticVariables, is_variable_name},
};

/// A container, and what the optimizer may change about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContainerConfig {
    /// Name of the container in the pod template.
    pub name: ContainerName,
    /// Name of the component that the optimizer sees. Default `<workload>/<container>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<ContainerName>,
    /// Accepted, without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// How much CPU it may have.
    pub cpu: CpuConfig,
    /// How much memory it may have.
    pub memory: MemoryConfig,
    /// Environment variables that the optimizer may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<EnvironmentSetting>>,
    /// Environment variables that the tuning pod has whatever the optimizer does. Only with strategy `canary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub static_environment_variables: Option<StaticVariables>,
}

// === impl ContainerConfig ===

impl ContainerConfig {
    /// Environment variables that the optimizer may change.
    pub fn env(&self) -> &[EnvironmentSetting] {
        self.env.as_deref().unwrap_or_default()
    }

    /// Names and values that the tuning pod has in any case.
    pub fn static_variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.static_environment_variables
            .iter()
            .flat_map(StaticVariables::iter)
    }

    /// What is wrong or odd about the container itself, with keys below `path`.
    pub(crate) fn problems(&self, path: &str) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        problems.extend(self.name.problems(&format!("{path}.name")));
        problems.extend(self.cpu.problems(&format!("{path}.cpu")));
        problems.extend(self.memory.problems(&format!("{path}.memory")));
        problems.extend(env_problems(self.env(), &format!("{path}.env")));
        if let Some(variables) = &self.static_environment_variables {
            problems.extend(variables.problems(&format!("{path}.static_environment_variables")));
        }
        problems
    }
}

/// What is wrong or odd about settings that become environment variables, with keys below `path`.
pub fn env_problems(settings: &[EnvironmentSetting], path: &str) -> Vec<ConfigProblem> {
    // The optimizer knows the settings of a component by name, so each needs its own.
    let mut taken = BTreeSet::from(["cpu", "mem", "replicas"]);
    let mut problems = Vec::new();
    for (index, env) in settings.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let name = env.name();
        if !taken.insert(name) {
            problems.push(ConfigProblem::error(
                format!("{path}.name"),
                format!(
                    "the component has another setting of the name '{name}': names must be unique; the variable's \
                     own name can stand in `literal`"
                ),
            ));
        }
        if !is_variable_name(env.variable()) {
            let key = if env.variable() == name {
                "name"
            } else {
                "literal"
            };
            problems.push(ConfigProblem::error(
                format!("{path}.{key}"),
                format!(
                    "'{}' is not a name of an environment variable: expected printable ASCII characters except '='",
                    env.variable()
                ),
            ));
        }
        problems.extend(
            env.setting()
                .warnings()
                .into_iter()
                .map(|warning| ConfigProblem::warning(&path, warning.to_string())),
        );
    }
    problems
}
