//! Workloads: as they are written, and as they are meant (`spec/kubernetes.md` §3.1, §3.3, §5).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_messages::Duration;

use crate::{
    cascaded::Cascaded,
    config::KubernetesConfig,
    container::ContainerConfig,
    failure_mode::{FailureMode, OnFailure},
    kind::WorkloadKind,
    kubeconfig::KubeconfigPath,
    name::{ContainerName, ObjectName},
    non_empty::NonEmpty,
    replicas::Replicas,
    strategy::Strategy,
};

/// A workload with everything that it takes over from the top of the stanza.
#[derive(Clone, Debug)]
pub struct Workload<'a> {
    /// Key in the stanza, such as `deployments[0]`.
    pub path: String,
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: &'a ObjectName,
    /// Where it is.
    pub namespace: &'a ObjectName,
    /// Which containers are adjusted; exactly one for a canary.
    pub containers: &'a [ContainerConfig],
    /// How it is adjusted.
    pub strategy: &'a Strategy,
    /// How many pods it may have.
    pub replicas: &'a Replicas,
    /// How long it is watched after an adjustment; none is not at all.
    pub settlement: Option<Duration>,
    /// What is done when an adjustment fails, as written.
    pub on_failure: OnFailure,
    /// How long to wait until it is ready.
    pub timeout: Duration,
    /// Whether messages about failures carry logs of the containers.
    pub container_logs_in_error_status: bool,
    /// Whether a canary's tuning pod may be created.
    pub create_tuning_pod: bool,
    /// Whether a canary's tuning pod goes with the servo.
    pub delete_tuning_pod_on_shutdown: bool,
    /// Own words about the file of the client.
    pub(crate) kubeconfig: &'a Cascaded<KubeconfigPath>,
    /// Own words about the context in that file.
    pub(crate) context: &'a Cascaded<String>,
}

/// The three kinds differ in the strategy that they have unless they say so.
macro_rules! workload {
    ($(#[$meta:meta])* $config:ident, $kind:ident, $strategy:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $config {
            /// Name of the workload.
            pub name: ObjectName,
            /// A remark for people.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub description: Option<String>,
            /// The containers that are adjusted. A canary has exactly one.
            pub containers: NonEmpty<ContainerConfig>,
            /// How it is adjusted.
            #[serde(default = $strategy)]
            pub strategy: Strategy,
            /// How many pods it may have.
            pub replicas: Replicas,
            /// Must be as at the top of the stanza: all workloads are reached through the same client.
            #[serde(default, skip_serializing_if = "Cascaded::is_as_at_top")]
            pub kubeconfig: Cascaded<KubeconfigPath>,
            /// Must be as at the top of the stanza: all workloads are reached through the same client.
            #[serde(default, skip_serializing_if = "Cascaded::is_as_at_top")]
            pub context: Cascaded<String>,
            /// The namespace that it is in. Default: as at the top of the stanza.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub namespace: Option<ObjectName>,
            /// How long its pods must stay ready after an adjustment; null is no time at all. Default: as at the top of
            /// the stanza.
            #[serde(default, skip_serializing_if = "Cascaded::is_as_at_top")]
            pub settlement: Cascaded<Duration>,
            /// What is done when an adjustment fails. Default: as at the top of the stanza.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub on_failure: Option<OnFailure>,
            /// The longest wait until its pods are ready; more than 0. Default: as at the top of the stanza.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub timeout: Option<Duration>,
            /// Append the logs of its containers to messages about failures. Default: as at the top of the stanza.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub container_logs_in_error_status: Option<bool>,
            /// Whether its tuning pod may be created, if it is a canary. Default: as at the top of the stanza.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub create_tuning_pod: Option<bool>,
            /// Whether its tuning pod is deleted when the servo ends. Default: as at the top of the stanza.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub delete_tuning_pod_on_shutdown: Option<bool>,
        }

        impl $config {
            /// A workload that says only what it must, and takes over the rest.
            pub fn new(
                name: ObjectName,
                containers: NonEmpty<ContainerConfig>,
                strategy: Strategy,
                replicas: Replicas,
            ) -> Self {
                Self {
                    name,
                    description: None,
                    containers,
                    strategy,
                    replicas,
                    kubeconfig: Cascaded::AsAtTop,
                    context: Cascaded::AsAtTop,
                    namespace: None,
                    settlement: Cascaded::AsAtTop,
                    on_failure: None,
                    timeout: None,
                    container_logs_in_error_status: None,
                    create_tuning_pod: None,
                    delete_tuning_pod_on_shutdown: None,
                }
            }

            pub(crate) fn below<'a>(&'a self, top: &'a KubernetesConfig, path: String) -> Workload<'a> {
                Workload {
                    path,
                    kind: WorkloadKind::$kind,
                    name: &self.name,
                    namespace: self.namespace.as_ref().unwrap_or(&top.namespace),
                    containers: &self.containers,
                    strategy: &self.strategy,
                    replicas: &self.replicas,
                    settlement: self.settlement.or(top.settlement.as_ref()).copied(),
                    on_failure: self.on_failure.unwrap_or(top.on_failure),
                    timeout: self.timeout.unwrap_or(top.timeout),
                    container_logs_in_error_status: self
                        .container_logs_in_error_status
                        .unwrap_or(top.container_logs_in_error_status),
                    create_tuning_pod: self.create_tuning_pod.unwrap_or(top.create_tuning_pod),
                    delete_tuning_pod_on_shutdown: self
                        .delete_tuning_pod_on_shutdown
                        .unwrap_or(top.delete_tuning_pod_on_shutdown),
                    kubeconfig: &self.kubeconfig,
                    context: &self.context,
                }
            }
        }
    };
}

workload! {
    /// A Deployment that is adjusted.
    DeploymentConfig, Deployment, "Strategy::default"
}

workload! {
    /// An Argo Rollout that is adjusted.
    RolloutConfig, Rollout, "canary"
}

workload! {
    /// A StatefulSet that is adjusted. Its strategy is always `default`.
    StatefulSetConfig, StatefulSet, "Strategy::default"
}

fn canary() -> Strategy {
    Strategy::Canary { alias: None }
}

// === impl Workload ===

impl Workload<'_> {
    /// What is done when an adjustment fails.
    pub fn failure_mode(&self) -> FailureMode {
        self.on_failure.mode(self.strategy.is_canary())
    }

    /// Name of the component that `container` is, or that it is in the unchanged workload beside a tuning pod.
    pub fn component(&self, container: &ContainerConfig) -> String {
        match &container.alias {
            Some(alias) => alias.to_string(),
            None => format!("{}/{}", self.name, container.name),
        }
    }

    /// Name of the component that `container` is in the tuning pod, if there is one.
    pub fn tuning_component(&self, container: &ContainerConfig) -> Option<String> {
        let named = |alias: &ContainerName| alias.to_string();
        match self.strategy {
            Strategy::Default => None,
            Strategy::Canary { alias } => Some(
                alias
                    .as_ref()
                    .map(named)
                    .unwrap_or_else(|| format!("{}/{}-tuning", self.name, container.name)),
            ),
        }
    }
}
