//! Optimizes one service by a tuning pod beside it and an Envoy sidecar in front of it
//! (`spec/kubernetes.md` §15).
//!
//! This crate knows how a servo is told which service and workload that is. What it must not know: how
//! a workload is adjusted and how figures are asked for, which other connectors do.
//!
//! [`OpsaniDevConfig`] is the stanza; [`OpsaniDevConfig::target`] says which workload it means.
//! [`OpsaniDev`] cannot run yet: it reads, checks and documents its stanza, and says so when it is to be
//! started.

mod config;
mod connector;
mod port;
mod validation;

pub use config::{OpsaniDevConfig, Target, TargetKind};
pub use connector::OpsaniDev;
pub use port::ServicePort;
