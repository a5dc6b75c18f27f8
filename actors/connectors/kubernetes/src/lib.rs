//! Adjusts the containers of Kubernetes workloads (`spec/kubernetes.md`).
//!
//! This crate knows how a servo is told what to adjust in a cluster: workloads of three kinds, the two
//! strategies, ranges of CPU, memory and replicas, environment variables, names as Kubernetes allows
//! them, and what each workload takes over from the stanza's top. What it must not know: other
//! connectors, optimizers, and where the stanza comes from.
//!
//! [`KubernetesConfig`] is the stanza as it is written; [`KubernetesConfig::workloads`] is what it means.
//! [`Kubernetes`] cannot run yet: it reads, checks and documents its stanza, and says so when it is to
//! be started.

mod cascaded;
mod config;
mod connector;
mod container;
mod failure_mode;
mod kind;
mod kubeconfig;
mod name;
mod non_empty;
mod permission;
mod range;
mod replicas;
mod resource;
mod strategy;
mod validation;
mod variables;
mod workload;

pub use cascaded::Cascaded;
pub use config::KubernetesConfig;
pub use connector::Kubernetes;
pub use container::{ContainerConfig, env_problems};
pub use failure_mode::{FailureMode, OnFailure};
pub use kind::WorkloadKind;
pub use kubeconfig::KubeconfigPath;
pub use name::{ContainerName, NameError, ObjectName};
pub use non_empty::{Empty, NonEmpty};
pub use permission::Permission;
pub use replicas::{Replicas, ReplicasName};
pub use resource::{
    CpuConfig, CpuName, MemoryConfig, MemoryName, RangeKind, Requirement, Requirements, SteppedCpu,
    SteppedMemory,
};
pub use strategy::Strategy;
pub use validation::static_variables_need_a_canary;
pub use variables::StaticVariables;
pub use workload::{DeploymentConfig, RolloutConfig, StatefulSetConfig, Workload};
