//! The connector type, as far as this build has it.

use std::sync::Arc;

use servo_dispatch::{
    BoxError, ConfigProblem, Connector, ConnectorContext, Maturity, Metadata, Routes, Stage,
};

use crate::{config::KubeMetricsConfig, validation};

const UNAVAILABLE: &str = "this build reads and validates the kube_metrics configuration, but cannot run the connector yet";

/// Measures the pods of a workload. There is no value of it in this build.
#[derive(Debug)]
pub enum KubeMetrics {}

impl Connector for KubeMetrics {
    type Config = KubeMetricsConfig;

    const METADATA: Metadata = Metadata::new("kube_metrics", "KubeMetrics", "0.0.1")
        .describe("Kubernetes metrics-server connector")
        .homepage("https://github.com/opsani/servox")
        .maturity(Maturity::Experimental)
        .license("Apache 2.0");

    const UNAVAILABLE: Option<&'static str> = Some(UNAVAILABLE);

    fn sample() -> &'static str {
        "\
description: Update the namespace, resource name, etc. to match the resource to monitor
namespace: default
name: app
kind: Deployment
container: app_container_name
"
    }

    fn validate(config: &KubeMetricsConfig) -> Vec<ConfigProblem> {
        validation::problems(config)
    }

    fn build(_: Arc<KubeMetricsConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Err(UNAVAILABLE.into())
    }

    /// `spec/kubernetes.md`.
    fn foreseen(_: &KubeMetricsConfig) -> Vec<(&'static str, Stage)> {
        let on = ["attach", "check", "metrics", "describe", "measure"];
        on.into_iter().map(|event| (event, Stage::On)).collect()
    }

    fn routes(_: &KubeMetricsConfig, _: &mut Routes<Self>) {}
}
