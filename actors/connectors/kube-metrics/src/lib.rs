//! Measures what the pods of a Kubernetes workload use (`spec/kubernetes.md` §14).
//!
//! This crate knows which metrics there are of a workload and its tuning pod, and how a servo is told
//! which of them to collect. What it must not know: how workloads are adjusted, other connectors,
//! optimizers.
//!
//! [`KubeMetricsConfig`] is the stanza, [`KubeMetric`] a metric. [`KubeMetrics`] cannot run yet: it
//! reads, checks and documents its stanza, and says so when it is to be started.

mod config;
mod connector;
mod metric;
mod validation;

pub use config::KubeMetricsConfig;
pub use connector::KubeMetrics;
pub use metric::{KubeMetric, Measured, Part};
