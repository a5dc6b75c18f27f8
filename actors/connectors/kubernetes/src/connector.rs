//! The connector type, as far as this build has it.

use std::sync::Arc;

use servo_dispatch::{
    BoxError, ConfigProblem, Connector, ConnectorContext, Maturity, Metadata, Routes, Stage,
};

use crate::{config::KubernetesConfig, validation};

const UNAVAILABLE: &str =
    "this build reads and validates the kubernetes configuration, but cannot run the connector yet";

/// Adjusts workloads of a cluster. There is no value of it in this build.
#[derive(Debug)]
pub enum Kubernetes {}

impl Connector for Kubernetes {
    type Config = KubernetesConfig;

    const METADATA: Metadata = Metadata::new("kubernetes", "Kubernetes", "1.5.0")
        .describe("Kubernetes adjust connector")
        .homepage("https://github.com/opsani/kubernetes-connector")
        .maturity(Maturity::Stable)
        .license("Apache 2.0");

    const UNAVAILABLE: Option<&'static str> = Some(UNAVAILABLE);

    fn sample() -> &'static str {
        "\
description: Update the namespace, deployment, etc. to match your Kubernetes cluster
namespace: default
deployments:
- name: app
  containers:
  - name: main
    cpu:
      min: 250m
      max: '4'
      step: 125m
    memory:
      min: 256.0Mi
      max: 4.0Gi
      step: 128.0Mi
  replicas:
    min: 1
    max: 2
"
    }

    fn validate(config: &KubernetesConfig) -> Vec<ConfigProblem> {
        validation::problems(config)
    }

    fn build(_: Arc<KubernetesConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Err(UNAVAILABLE.into())
    }

    /// `spec/kubernetes.md`: the tuning pod is made ahead of a measurement.
    fn foreseen(_: &KubernetesConfig) -> Vec<(&'static str, Stage)> {
        let on = [
            "attach",
            "detach",
            "describe",
            "components",
            "adjust",
            "check",
        ];
        let on = on.into_iter().map(|event| (event, Stage::On));
        on.chain([("measure", Stage::Before)]).collect()
    }

    fn routes(_: &KubernetesConfig, _: &mut Routes<Self>) {}
}
