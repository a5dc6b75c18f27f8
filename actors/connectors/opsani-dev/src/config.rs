//! The connector's stanza, as it is written.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use servo_connector_kubernetes::{
    ContainerName, KubeconfigPath, ObjectName, OnFailure, StaticVariables, SteppedCpu,
    SteppedMemory, WorkloadKind,
};
use servo_connector_prometheus::BaseUrl;
use servo_messages::{Duration, EnvironmentSetting};

use crate::port::ServicePort;

/// Which service is optimized, and within which bounds.
///
/// The workload is named by `workload_name` (formerly `deployment`) with `workload_kind`, or by `rollout`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-aliases" = {"deployment": "workload_name"}))]
pub struct OpsaniDevConfig {
    /// A remark for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The namespace of the service and its workload.
    pub namespace: ObjectName,
    /// Name of the workload. This or `rollout` is needed. Formerly `deployment`.
    #[serde(default, alias = "deployment", skip_serializing_if = "Option::is_none")]
    pub workload_name: Option<ObjectName>,
    /// Kind of the workload that `workload_name` names.
    #[serde(default)]
    pub workload_kind: TargetKind,
    /// Name of the Argo Rollout, in place of `workload_name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<ObjectName>,
    /// Name of the container that is optimized.
    pub container: ContainerName,
    /// Name of the service that sends traffic to the workload.
    pub service: ObjectName,
    /// Number or name of the service's port. Needed when the service has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<ServicePort>,
    /// How much CPU the container may have.
    pub cpu: SteppedCpu,
    /// How much memory the container may have.
    pub memory: SteppedMemory,
    /// Environment variables that the optimizer may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<EnvironmentSetting>>,
    /// Environment variables that the tuning pod has whatever the optimizer does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub static_environment_variables: Option<StaticVariables>,
    /// Root of the Prometheus server that the sidecars are scraped by.
    #[serde(default = "local_prometheus")]
    pub prometheus_base_url: BaseUrl,
    /// Ask Prometheus for figures of the namespace alone. Without, it is asked for those of all pods that it knows.
    #[serde(default)]
    pub limit_queries_to_namespace: bool,
    /// Image of the Envoy sidecar that is put in front of the container.
    #[serde(default = "envoy")]
    pub envoy_sidecar_image: String,
    /// The longest wait until pods are ready; more than 0.
    #[serde(default = "five_minutes")]
    pub timeout: Duration,
    /// How long pods must stay ready after an adjustment before it counts as done, such as `2m`. Default: no time at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<Duration>,
    /// Append the logs of containers to messages about failures, which are sent to the optimizer.
    #[serde(default)]
    pub container_logs_in_error_status: bool,
    /// Whether there is a tuning pod. Without, the service is only measured.
    #[serde(default = "yes")]
    pub create_tuning_pod: bool,
    /// What is done when an adjustment fails.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// The kubeconfig file. Default: the files of `$KUBECONFIG`, else `~/.kube/config`, else the service account of the
    /// pod that Servo runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<KubeconfigPath>,
    /// The context of the kubeconfig file. Default: the file's current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

/// Kind of the workload behind the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum TargetKind {
    /// A Deployment.
    #[default]
    Deployment,
    /// An Argo Rollout.
    Rollout,
}

/// The workload that a stanza means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Its kind.
    pub kind: TargetKind,
    /// Its name.
    pub name: &'a ObjectName,
}

fn local_prometheus() -> BaseUrl {
    #[expect(clippy::expect_used, reason = "a constant, seen by every test")]
    "http://localhost:9090".parse().expect("a URL")
}

fn envoy() -> String {
    "opsani/envoy-proxy:v1.24.0".to_owned()
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

fn yes() -> bool {
    true
}

// === impl OpsaniDevConfig ===

impl OpsaniDevConfig {
    /// The workload that is optimized; none in a stanza that validation refuses.
    pub fn target(&self) -> Option<Target<'_>> {
        match (&self.workload_name, &self.rollout) {
            (Some(name), None) => Some(Target {
                kind: self.workload_kind,
                name,
            }),
            (None, Some(name)) => Some(Target {
                kind: TargetKind::Rollout,
                name,
            }),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }

    /// Environment variables that the optimizer may change.
    pub fn env(&self) -> &[EnvironmentSetting] {
        self.env.as_deref().unwrap_or_default()
    }
}

// === impl TargetKind ===

impl TargetKind {
    /// The published values, proper ones first.
    const SPELLINGS: [(&str, Self); 4] = [
        ("Deployment", Self::Deployment),
        ("Rollout", Self::Rollout),
        ("deployment", Self::Deployment),
        ("rollout", Self::Rollout),
    ];
}

impl From<TargetKind> for WorkloadKind {
    fn from(kind: TargetKind) -> Self {
        match kind {
            TargetKind::Deployment => Self::Deployment,
            TargetKind::Rollout => Self::Rollout,
        }
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        WorkloadKind::from(*self).fmt(f)
    }
}

impl<'de> Deserialize<'de> for TargetKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::SPELLINGS
            .iter()
            .find(|(spelling, _)| *spelling == text)
            .map(|(_, kind)| *kind)
            .ok_or_else(|| {
                de::Error::custom(format!(
                    "unknown kind of workload '{text}': expected Deployment or Rollout"
                ))
            })
    }
}

impl JsonSchema for TargetKind {
    fn schema_name() -> Cow<'static, str> {
        "TargetKind".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let spellings = Self::SPELLINGS.map(|(spelling, _)| spelling);
        json_schema!({ "type": "string", "enum": spellings })
    }
}
