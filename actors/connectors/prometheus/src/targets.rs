//! What a configuration may say about the targets that Prometheus scrapes
//! (`spec/metrics-and-load.md` §1.6).

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A target that Prometheus is expected to scrape. Needs at least one of `scrapeUrl`, `scrapePool` and
/// `labels`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TargetConfig {
    /// The scrape job that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrape_pool: Option<String>,
    /// What Prometheus scrapes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrape_url: Option<String>,
    /// The same, as seen from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global_url: Option<String>,
    /// Its last known health.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<TargetHealth>,
    /// Labels after relabelling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Labels before relabelling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovered_labels: Option<BTreeMap<String, String>>,
    /// When it was scraped last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub last_scrape: Option<Timestamp>,
    /// How long that took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scrape_duration: Option<f64>,
    /// What went wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Whether a target answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TargetHealth {
    /// It does.
    Up,
    /// It does not.
    Down,
    /// Not scraped yet.
    Unknown,
}
