//! The connector type, as far as this build has it.

use std::sync::Arc;

use servo_dispatch::{
    BoxError, ConfigProblem, Connector, ConnectorContext, Maturity, Metadata, Routes, Stage,
};

use crate::{config::OpsaniDevConfig, validation};

const UNAVAILABLE: &str =
    "this build reads and validates the opsani_dev configuration, but cannot run the connector yet";

/// Optimizes one service. There is no value of it in this build.
#[derive(Debug)]
pub enum OpsaniDev {}

impl Connector for OpsaniDev {
    type Config = OpsaniDevConfig;

    const METADATA: Metadata = Metadata::new("opsani_dev", "OpsaniDev", "2.0.0")
        .describe("Optimize a single service via a tuning instance and an Envoy sidecar")
        .homepage("https://github.com/opsani/servox")
        .maturity(Maturity::Stable)
        .license("Apache 2.0");

    const UNAVAILABLE: Option<&'static str> = Some(UNAVAILABLE);

    fn sample() -> &'static str {
        "\
namespace: default
workload_name: app-deployment
container: main
service: app
cpu:
  unit: cores
  min: 250m
  max: '4'
memory:
  unit: GiB
  min: 256.0Mi
  max: 4.0Gi
"
    }

    fn validate(config: &OpsaniDevConfig) -> Vec<ConfigProblem> {
        validation::problems(config)
    }

    fn build(_: Arc<OpsaniDevConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Err(UNAVAILABLE.into())
    }

    /// `spec/kubernetes.md`.
    fn foreseen(_: &OpsaniDevConfig) -> Vec<(&'static str, Stage)> {
        vec![("attach", Stage::On), ("check", Stage::On)]
    }

    fn routes(_: &OpsaniDevConfig, _: &mut Routes<Self>) {}
}
