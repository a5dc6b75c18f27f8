//! What a configuration may say about the targets that Prometheus scrapes
//! (`spec/metrics-and-load.md` §1.6).

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A target that Prometheus is expected to scrape: an active target of it that has all the values
/// given here. At least one of `scrapeUrl`, `scrapePool` and `labels` is needed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TargetConfig {
    /// The scrape job that it belongs to, such as `opsani-envoy-sidecars`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrape_pool: Option<String>,
    /// The URL that Prometheus scrapes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrape_url: Option<String>,
    /// The same URL, as seen from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_url: Option<String>,
    /// Its last known health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<TargetHealth>,
    /// Labels after relabelling. The target may have more than these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Labels before relabelling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovered_labels: Option<BTreeMap<String, String>>,
    /// When it was scraped last, as RFC 3339 such as `2026-01-05T10:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_scrape: Option<Timestamp>,
    /// How long the last scrape took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scrape_duration: Option<f64>,
    /// What went wrong at the last scrape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Whether a target answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetHealth {
    /// It does.
    Up,
    /// It does not.
    Down,
    /// Not scraped yet.
    #[default]
    Unknown,
}
