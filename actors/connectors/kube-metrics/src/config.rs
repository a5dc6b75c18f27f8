//! The connector's stanza.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_connector_kubernetes::{ContainerName, KubeconfigPath, ObjectName, WorkloadKind};
use servo_messages::Duration;

use crate::metric::KubeMetric;

/// Which workload is measured, and what about it. The cluster needs a metrics server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KubeMetricsConfig {
    /// A remark for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The namespace of the workload.
    pub namespace: ObjectName,
    /// Name of the workload.
    pub name: ObjectName,
    /// Kind of the workload.
    #[serde(default)]
    pub kind: WorkloadKind,
    /// The container that is measured. Needed when the workload has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerName>,
    /// What is measured: `tuning_…` is about the tuning pod, `main_…` about the pods of the workload itself.
    #[serde(default = "every_metric")]
    pub metrics_to_collect: Vec<KubeMetric>,
    /// How often it is measured, from start to start; more than 0. Metrics servers have new figures every 15 to 60
    /// seconds.
    #[serde(default = "one_minute")]
    pub metric_collection_frequency: Duration,
    /// The kubeconfig file. Default: the files of `$KUBECONFIG`, else `~/.kube/config`, else the service account of the
    /// pod that Servo runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<KubeconfigPath>,
    /// The context of the kubeconfig file. Default: the file's current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

fn every_metric() -> Vec<KubeMetric> {
    KubeMetric::ALL.to_vec()
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}
