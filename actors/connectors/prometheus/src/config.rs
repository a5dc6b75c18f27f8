//! The connector's stanza, as it is written; [`crate::validation`] says what is wrong with it.

use std::{collections::BTreeMap, fmt, num::NonZeroUsize, path::PathBuf};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Visitor},
};
use servo_messages::{Duration, Metric, Unit};

use crate::{base_url::BaseUrl, secret::Secret, targets::TargetConfig};

/// The `prometheus` stanza of `servo.yaml` (`spec/metrics-and-load.md` §1.1).
///
/// ```yaml
/// prometheus:
///   base_url: http://prom.monitoring.svc:9090
///   metrics:
///   - {name: throughput, unit: rps, query: 'sum(rate(http_requests_total[1m]))', step: 30s, absent: zero}
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrometheusConfig {
    /// A word for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Root of the server; the API is below `<base_url>/api/v1`. Default `https://prometheus:9090`.
    #[serde(default)]
    pub base_url: BaseUrl,
    /// How often the current values are published. Accepted, without effect yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streaming_interval: Option<Duration>,
    /// What to measure.
    pub metrics: Vec<MetricConfig>,
    /// Targets expected to be scraped. Accepted, without effect yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<Vec<TargetConfig>>,
    /// Watch over service levels during a measurement. Accepted, without effect yet.
    #[serde(default)]
    pub fast_fail: FastFailConfig,
    /// Longest time for one request, from connecting to the last byte. Default 30 s.
    #[serde(default = "thirty_seconds")]
    pub timeout: Duration,
    /// Longest time that Prometheus may evaluate one query; none leaves it to the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_timeout: Option<Duration>,
    /// Further headers of each request. Their values are treated as secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Secret>,
    /// Sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<Secret>,
    /// File with the bearer token, read anew for each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<PathBuf>,
    /// Sent as `Authorization: Basic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuthConfig>,
    /// Certificates.
    #[serde(default, skip_serializing_if = "TlsConfig::is_default")]
    pub tls: TlsConfig,
    /// Queries in flight at once. Default 8.
    #[serde(default = "eight")]
    pub max_concurrency: NonZeroUsize,
}

/// One metric and the query that yields it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricConfig {
    /// The name reported to the optimizer.
    pub name: String,
    /// The unit of the query's values. Default: a plain number.
    #[serde(default)]
    pub unit: Unit,
    /// PromQL.
    pub query: String,
    /// Resolution of the range query. Default one minute.
    #[serde(default = "one_minute")]
    pub step: Duration,
    /// What it means when the query yields nothing.
    #[serde(default)]
    pub absent: AbsentPolicy,
    /// Retired; accepted without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eager: Option<Duration>,
}

/// What it means when a query yields nothing (`spec/metrics-and-load.md` §1.5).
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
    /// The user.
    pub username: String,
    /// The password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// File with the password, read anew for each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

/// Certificates of both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file of the only authorities to trust; without it, those that the machine trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client's own certificate; needs `key_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// PEM file of the client's private key; needs `cert_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Trust any server.
    #[serde(default)]
    pub insecure: bool,
}

/// Watch over service levels during a measurement (`spec/metrics-and-load.md` §2.1). Without effect yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "FastFailStanza")]
pub struct FastFailConfig {
    /// Switched off. Written as 0 or 1.
    #[serde(serialize_with = "zero_or_one")]
    #[schemars(with = "u8", range(max = 1))]
    pub disabled: bool,
    /// Time between checks. Default one minute.
    pub period: Duration,
    /// How far each check looks back. Default: the period.
    pub span: Duration,
    /// No check before this time has passed.
    pub skip: Duration,
    /// A value of exactly zero counts as missing.
    pub treat_zero_as_missing: bool,
}

/// As the file may give it, before `span` takes its default from `period`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct FastFailStanza {
    #[serde(deserialize_with = "truth")]
    #[schemars(with = "u8", range(max = 1))]
    disabled: bool,
    period: Option<Duration>,
    span: Option<Duration>,
    skip: Duration,
    treat_zero_as_missing: bool,
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

fn zero_or_one<S: serde::Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*value))
}

fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct TruthVisitor;

    impl Visitor<'_> for TruthVisitor {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("0 or 1")
        }

        fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<bool, E> {
            match value {
                0 => Ok(false),
                1 => Ok(true),
                _ => Err(E::invalid_value(de::Unexpected::Unsigned(value), &self)),
            }
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<bool, E> {
            u64::try_from(value)
                .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
                .and_then(|value| self.visit_u64(value))
        }
    }

    deserializer.deserialize_any(TruthVisitor)
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

// === impl FastFailConfig ===

impl Default for FastFailConfig {
    fn default() -> Self {
        FastFailStanza::default().into()
    }
}

impl From<FastFailStanza> for FastFailConfig {
    fn from(stanza: FastFailStanza) -> Self {
        let period = stanza.period.unwrap_or_else(one_minute);
        Self {
            disabled: stanza.disabled,
            period,
            span: stanza.span.unwrap_or(period),
            skip: stanza.skip,
            treat_zero_as_missing: stanza.treat_zero_as_missing,
        }
    }
}
