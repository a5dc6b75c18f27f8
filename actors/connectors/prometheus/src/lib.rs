//! Measures by PromQL range queries (`spec/metrics-and-load.md` §1).
//!
//! A measurement waits until its window has passed, then asks Prometheus for each wanted metric over
//! that window; meanwhile it watches the service levels that the command came with. On request it also publishes
//! present values all the time. This crate knows Prometheus' HTTP API: how durations, times and queries are written for
//! it, what it answers, how it fails and which failures pass by themselves.
//!
//! What it must not know: what an optimizer makes of the numbers, other connectors, files of Servo's own.
//!
//! [`Prometheus`] is the connector, [`PrometheusConfig`] its stanza. [`PrometheusClient`] asks single
//! queries and [`Measuring`] whole measurements; both work without a servo around them.

mod absent;
mod access;
mod base_url;
mod checks;
mod client;
mod config;
mod connector;
mod failure;
mod measuring;
mod promql_duration;
mod query;
mod response;
mod retry;
mod scraped;
mod streaming;
mod targets;
mod validation;
mod watch;
mod window;

pub use base_url::{BaseUrl, BaseUrlError};
pub use client::PrometheusClient;
pub use config::{AbsentPolicy, BasicAuthConfig, MetricConfig, PrometheusConfig, TlsConfig};
pub use connector::Prometheus;
pub use failure::QueryError;
pub use measuring::Measuring;
pub use promql_duration::PromqlDuration;
pub use query::Query;
pub use response::{Answer, Element, QueryData, Sample};
pub use retry::RetryPolicy;
pub use scraped::ActiveTarget;
pub use targets::{TargetConfig, TargetHealth};
pub use window::{Window, WindowError};
