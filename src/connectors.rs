//! The connectors that come with the program.

use servo_dispatch::{Maturity, Metadata, Registry};

/// The servo, which stands beside its connectors wherever these are listed
/// (`spec/config-and-cli.md` §2.8).
pub const SERVO: Metadata = Metadata::new("servo", "Servo", env!("CARGO_PKG_VERSION"))
    .describe("Continuous Optimization Orchestrator")
    .homepage("https://opsani.com/")
    .maturity(Maturity::Robust)
    .license("Apache 2.0");

/// All connectors of this build.
pub fn bundled() -> Registry {
    Registry::new()
        .with::<servo_connector_kube_metrics::KubeMetrics>()
        .with::<servo_connector_kubernetes::Kubernetes>()
        .with::<servo_connector_opsani_dev::OpsaniDev>()
        .with::<servo_connector_process::Process>()
        .with::<servo_connector_prometheus::Prometheus>()
        .with::<servo_connector_scripts::Scripts>()
        .with::<servo_connector_vegeta::Vegeta>()
        .with::<servo_connector_wait::Wait>()
}
