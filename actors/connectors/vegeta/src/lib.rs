//! Generates open-loop constant-rate HTTP load and measures it.

mod client;
mod config;
mod connection;
mod connector;
mod decoder;
mod dialer;
mod engine;
mod failure;
mod metric;
mod origin;
mod plan;
mod rate;
mod recorder;
mod report;
mod request;
mod scalar;
mod schedule;
mod stream;
pub mod target;
mod timer;
mod tls;

pub use config::{LoadTargetsError, MaxBody, Redirects, VegetaConfig};
pub use connector::Vegeta;
pub use engine::{Attack, AttackError, Summary, Update};
pub use metric::LoadMetric;
pub use plan::{Plan, ReportMode};
pub use rate::{Rate, RateError};
pub use report::{Ailment, Bytes, Health, Latencies, Report};
pub use tls::TlsError;
