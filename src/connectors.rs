//! The connectors that come with the program.

use servo_dispatch::Registry;

/// All connectors of this build.
pub fn bundled() -> Registry {
    Registry::new()
        .with::<servo_connector_kube_metrics::KubeMetrics>()
        .with::<servo_connector_kubernetes::Kubernetes>()
        .with::<servo_connector_process::Process>()
        .with::<servo_connector_prometheus::Prometheus>()
        .with::<servo_connector_scripts::Scripts>()
        .with::<servo_connector_vegeta::Vegeta>()
        .with::<servo_connector_wait::Wait>()
}
