//! The connector's stanza, as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_messages::Duration;

use crate::{
    failure_mode::OnFailure,
    kubeconfig::KubeconfigPath,
    name::ObjectName,
    permission::Permission,
    workload::{DeploymentConfig, RolloutConfig, StatefulSetConfig, Workload},
};

/// Which workloads of a cluster are adjusted, and how. At least one workload is needed.
///
/// Most keys of the top are also keys of each workload, and hold for those that do not say otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KubernetesConfig {
    /// A remark for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The kubeconfig file. Default: the files of `$KUBECONFIG`, else `~/.kube/config`, else the service account of the
    /// pod that Servo runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<KubeconfigPath>,
    /// The context of the kubeconfig file. Default: the file's current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The namespace of the workloads.
    #[serde(default = "ObjectName::default_namespace")]
    pub namespace: ObjectName,
    /// How long pods must stay ready after an adjustment before it counts as done, such as `2m`; the optimizer may ask
    /// for another time. Default: no time at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<Duration>,
    /// What is done when an adjustment fails.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// The longest wait until pods are ready; more than 0.
    #[serde(default = "five_minutes")]
    pub timeout: Duration,
    /// Append the logs of containers to messages about failures, which are sent to the optimizer.
    #[serde(default)]
    pub container_logs_in_error_status: bool,
    /// Whether tuning pods of canaries may be created. Without, the components of tuning pods have no replicas and cannot
    /// be adjusted.
    #[serde(default = "yes")]
    pub create_tuning_pod: bool,
    /// Whether tuning pods are deleted when the servo ends.
    #[serde(default)]
    pub delete_tuning_pod_on_shutdown: bool,
    /// What the check of permissions asks the cluster for. Default: what the connector needs for these workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<Permission>>,
    /// Deployments that are adjusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployments: Option<Vec<DeploymentConfig>>,
    /// Argo Rollouts that are adjusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollouts: Option<Vec<RolloutConfig>>,
    /// StatefulSets that are adjusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stateful_sets: Option<Vec<StatefulSetConfig>>,
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

fn yes() -> bool {
    true
}

// === impl KubernetesConfig ===

impl KubernetesConfig {
    /// A stanza without workloads that says nothing else, for code that makes one.
    pub fn in_namespace(namespace: ObjectName) -> Self {
        Self {
            description: None,
            kubeconfig: None,
            context: None,
            namespace,
            settlement: None,
            on_failure: OnFailure::default(),
            timeout: five_minutes(),
            container_logs_in_error_status: false,
            create_tuning_pod: true,
            delete_tuning_pod_on_shutdown: false,
            permissions: None,
            deployments: None,
            rollouts: None,
            stateful_sets: None,
        }
    }

    /// All workloads in the order in which they are worked on, each with what it takes over from the top.
    pub fn workloads(&self) -> impl Iterator<Item = Workload<'_>> {
        let path = |key: &str, index: usize| format!("{key}[{index}]");
        let deployments = self.deployments.iter().flatten().enumerate();
        let rollouts = self.rollouts.iter().flatten().enumerate();
        let stateful_sets = self.stateful_sets.iter().flatten().enumerate();
        deployments
            .map(move |(index, it)| it.below(self, path("deployments", index)))
            .chain(rollouts.map(move |(index, it)| it.below(self, path("rollouts", index))))
            .chain(
                stateful_sets.map(move |(index, it)| it.below(self, path("stateful_sets", index))),
            )
    }
}
