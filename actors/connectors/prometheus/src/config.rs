//! The connector's stanza, as it is written; [`crate::validation`] says what is wrong with it.

use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_messages::{Duration, FastFailConfig, Metric, Secret, Unit};

use crate::{base_url::BaseUrl, targets::TargetConfig};

/// Measures by PromQL: once the window of a measurement is over, Prometheus is asked for each metric
/// over that window.
// `spec/metrics-and-load.md` §1.1
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrometheusConfig {
    /// A remark for people; has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Root of the server, http or https, with its path prefix if it has one. The API is asked below
    /// `<base_url>/api/v1`. A user and a password in it are sent as HTTP Basic.
    #[serde(default)]
    pub base_url: BaseUrl,
    /// How often the current values of all metrics are published on the channel `metrics.prometheus`; more
    /// than 0. None by default: nothing is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streaming_interval: Option<Duration>,
    /// What to measure; may be empty. Names must be unique.
    pub metrics: Vec<MetricConfig>,
    /// Targets that Prometheus is expected to scrape; each is checked to be found and up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<TargetConfig>>,
    /// Watch over the service levels (SLO) that the optimizer sends, during each measurement, to end early
    /// one that violates them.
    #[serde(default)]
    pub fast_fail: FastFailConfig,
    /// Longest time for one request, from connecting to the last byte; more than 0.
    #[serde(default = "thirty_seconds")]
    pub timeout: Duration,
    /// Longest time that Prometheus may evaluate one query; more than 0. By default the server's own
    /// limit counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_timeout: Option<Duration>,
    /// Further headers of each request, by name. Their values are treated as secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("default" = {}))]
    pub headers: BTreeMap<String, Secret>,
    /// Token sent as `Authorization: Bearer`. Only one of `bearer_token`, `bearer_token_file`,
    /// `basic_auth`, a user in `base_url` and an `authorization` header can be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<Secret>,
    /// Path of a file with the bearer token, read anew for each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "file-path"))]
    pub bearer_token_file: Option<PathBuf>,
    /// User and password sent as `Authorization: Basic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuthConfig>,
    /// Certificates of both sides.
    #[serde(default, skip_serializing_if = "TlsConfig::is_default")]
    #[schemars(extend("default" = {"insecure": false}))]
    pub tls: TlsConfig,
    /// Most queries that are under way at once; 1 or more.
    #[serde(default = "eight")]
    pub max_concurrency: NonZeroUsize,
}

/// One metric and the query that yields it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricConfig {
    /// The name reported to the optimizer; unique and not blank.
    pub name: String,
    /// Unit of the query's values, as text (`rps`) or as name (`requests_per_second`). The empty text is
    /// a plain number.
    #[serde(default)]
    pub unit: Unit,
    /// The query, in PromQL; not blank.
    pub query: String,
    /// Distance between the points of the range query; more than 0.
    #[serde(default = "one_minute")]
    pub step: Duration,
    /// What happens when the query yields nothing.
    #[serde(default)]
    pub absent: AbsentPolicy,
    /// Retired: ended a measurement early. Accepted without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eager: Option<Duration>,
}

/// What happens when a query yields nothing.
// `spec/metrics-and-load.md` §1.5
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AbsentPolicy {
    /// No reading.
    #[default]
    Ignore,
    /// Zero at every step.
    Zero,
    /// No reading; a warning if Prometheus does not know the metric.
    Warn,
    /// The measurement fails if Prometheus does not know the metric.
    Fail,
}

/// A user with a password. Exactly one of `password` and `password_file` is needed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuthConfig {
    /// Name of the user.
    pub username: String,
    /// Password of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Path of a file with the password, read anew for each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "file-path"))]
    pub password_file: Option<PathBuf>,
}

/// Certificates of both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Path of a PEM file with the only authorities to trust; by default those that the machine trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "file-path"))]
    pub ca_file: Option<PathBuf>,
    /// Path of a PEM file with the client's own certificate; needs `key_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "file-path"))]
    pub cert_file: Option<PathBuf>,
    /// Path of a PEM file with the client's private key; needs `cert_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "file-path"))]
    pub key_file: Option<PathBuf>,
    /// Trust any server, without verifying its certificate.
    #[serde(default)]
    pub insecure: bool,
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

fn eight() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(7)
}

// === impl MetricConfig ===

impl MetricConfig {
    /// What is reported to the optimizer.
    pub fn metric(&self) -> Metric {
        Metric::new(&self.name, self.unit)
    }
}

// === impl TlsConfig ===

impl TlsConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
