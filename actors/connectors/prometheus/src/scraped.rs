//! What Prometheus says that it scrapes (`spec/metrics-and-load.md` §1.6), and the rows of
//! `servo prometheus targets` (§1.11).

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
use serde_json::{Value, json};
use servo_messages::Duration;

use crate::{client::PrometheusClient, failure::QueryError, targets::TargetHealth};

/// What stands in a cell that has nothing to say.
const NOTHING: &str = "-";

/// A target that Prometheus scrapes. Of all fields only `scrape_url` is always there: servers of
/// several years answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveTarget {
    /// The scrape job that it belongs to.
    #[serde(default)]
    pub scrape_pool: Option<String>,
    /// What Prometheus scrapes.
    pub scrape_url: String,
    /// The same, as seen from outside.
    #[serde(default)]
    pub global_url: Option<String>,
    /// Whether it answered.
    #[serde(default, deserialize_with = "health")]
    pub health: TargetHealth,
    /// Labels after relabelling.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// Labels before relabelling.
    #[serde(default, deserialize_with = "or_default", skip_serializing)]
    pub discovered_labels: BTreeMap<String, String>,
    /// When it was scraped last; none if never.
    #[serde(default, deserialize_with = "scrape_time")]
    pub last_scrape: Option<Timestamp>,
    /// How long that took, in seconds.
    #[serde(default)]
    pub last_scrape_duration: Option<f64>,
    /// What went wrong with it; none if nothing did.
    #[serde(default, deserialize_with = "unless_empty")]
    pub last_error: Option<String>,
}

/// The `data` of an answer about targets. What is not active has labels only.
#[derive(Deserialize)]
#[serde(try_from = "RawTargetsData")]
pub(crate) struct TargetsData {
    active: Vec<ActiveTarget>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTargetsData {
    active_targets: Option<Vec<ActiveTarget>>,
    dropped_targets: Option<IgnoredAny>,
    dropped_target_counts: Option<IgnoredAny>,
    #[serde(flatten)]
    others: BTreeMap<String, IgnoredAny>,
}

/// Anything may be missing, but something else altogether is no answer about targets.
impl TryFrom<RawTargetsData> for TargetsData {
    type Error = String;

    fn try_from(raw: RawTargetsData) -> Result<Self, String> {
        let known = raw.active_targets.is_some()
            || raw.dropped_targets.is_some()
            || raw.dropped_target_counts.is_some();
        match raw.others.into_keys().next() {
            Some(other) if !known => Err(format!(
                "expected activeTargets, but there is {other} instead"
            )),
            _ => Ok(Self {
                active: raw.active_targets.unwrap_or_default(),
            }),
        }
    }
}

impl TargetsData {
    pub(crate) fn active(self) -> Vec<ActiveTarget> {
        self.active
    }
}

/// The rows of `servo prometheus targets`: texts for people, and the target itself under `target`.
///
/// # Errors
/// [`QueryError`]
pub(crate) async fn rows(client: &PrometheusClient) -> Result<Value, QueryError> {
    let targets = client.targets().await?;
    let now = Timestamp::now();
    Ok(targets.iter().map(|target| target.row(now)).collect())
}

// === impl ActiveTarget ===

impl ActiveTarget {
    fn row(&self, now: Timestamp) -> Value {
        let url = match &self.global_url {
            Some(global) if *global != self.scrape_url && !global.is_empty() => {
                format!("{} ({global})", self.scrape_url)
            }
            _ => self.scrape_url.clone(),
        };
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        let or_nothing = |text: Option<&str>| match text {
            None | Some("") => NOTHING.to_owned(),
            Some(text) => text.to_owned(),
        };
        json!({
            "pool": or_nothing(self.scrape_pool.as_deref()),
            "health": self.health,
            "url": url,
            "labels": or_nothing(Some(labels.join("\n").as_str())),
            "last_scraped": self.last_scraped(now),
            "error": or_nothing(self.last_error.as_deref()),
            "target": self,
        })
    }

    /// `2026-01-05 10:00:00 (30 seconds ago in 4ms)`, in UTC.
    fn last_scraped(&self, now: Timestamp) -> String {
        let Some(time) = self.last_scrape else {
            return NOTHING.to_owned();
        };
        let shown = time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S");
        let ago = ago(time, now);
        // A scrape is measured to the nanosecond; nobody reads further than microseconds.
        let took = self
            .last_scrape_duration
            .filter(|seconds| (0.0..1e9).contains(seconds))
            .map(|seconds| Duration::from_nanos((seconds * 1e6).round() as u64 * 1_000));
        match took {
            Some(took) => format!("{shown} ({ago} in {took})"),
            None => format!("{shown} ({ago})"),
        }
    }
}

/// How long ago, in the words of `spec/config-and-cli.md` §7.4.
fn ago(time: Timestamp, now: Timestamp) -> String {
    const UNITS: [(i64, &str); 7] = [
        (365 * 86_400, "year"),
        (30 * 86_400, "month"),
        (7 * 86_400, "week"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let seconds = now.as_second().saturating_sub(time.as_second());
    if seconds < 10 {
        return "just now".to_owned();
    }
    UNITS
        .into_iter()
        .find(|(length, _)| seconds >= *length)
        .map_or_else(String::new, |(length, unit)| match seconds / length {
            1 => format!("1 {unit} ago"),
            count => format!("{count} {unit}s ago"),
        })
}

// === reading ===

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A word of a newer server is as good as none.
fn health<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TargetHealth, D::Error> {
    let word: Option<String> = Option::deserialize(deserializer)?;
    Ok(match word.as_deref() {
        Some("up") => TargetHealth::Up,
        Some("down") => TargetHealth::Down,
        _ => TargetHealth::Unknown,
    })
}

/// Year 1 is how Prometheus writes "never".
fn scrape_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let time: Option<Timestamp> = Option::deserialize(deserializer)?;
    Ok(time.filter(|time| *time > Timestamp::UNIX_EPOCH))
}

fn unless_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn row(target: Value) -> Value {
        let target: ActiveTarget = serde_json::from_value(target).unwrap();
        target.row("2026-01-05T10:01:40Z".parse().unwrap())
    }

    #[test]
    fn a_target_of_a_current_server_fills_every_cell() {
        let row = row(json!({
            "discoveredLabels": {"__address__": "x"},
            "labels": {"job": "j", "instance": "i:1"},
            "scrapePool": "pool",
            "scrapeUrl": "http://10.0.0.1/metrics",
            "globalUrl": "http://host/metrics",
            "lastError": "server returned HTTP status 500",
            "lastScrape": "2026-01-05T11:01:10.123456789+01:00",
            "lastScrapeDuration": 0.0041234567,
            "health": "down",
            "scrapeInterval": "5s",
        }));
        assert_eq!(row["pool"], "pool");
        assert_eq!(row["health"], "down");
        assert_eq!(row["url"], "http://10.0.0.1/metrics (http://host/metrics)");
        assert_eq!(row["labels"], "instance=i:1\njob=j");
        assert_eq!(
            row["last_scraped"],
            "2026-01-05 10:01:10 (30 seconds ago in 4ms123us)"
        );
        assert_eq!(row["error"], "server returned HTTP status 500");
        assert_eq!(row["target"]["labels"]["job"], "j");
        assert_eq!(row["target"]["lastScrapeDuration"], 0.004_123_456_7);
    }

    #[test]
    fn a_target_of_an_old_server_needs_its_address_only() {
        for (target, health) in [
            (json!({"scrapeUrl": "http://a/"}), "unknown"),
            (
                json!({"scrapeUrl": "http://a/", "globalUrl": "http://a/", "health": "up", "labels": null,
                       "lastError": "", "lastScrape": "0001-01-01T00:00:00Z", "lastScrapeDuration": 0}),
                "up",
            ),
            (
                json!({"scrapeUrl": "http://a/", "health": "sleepy", "scrapePool": null}),
                "unknown",
            ),
        ] {
            let row = row(target);
            assert_eq!(row["health"], health);
            assert_eq!(row["url"], "http://a/");
            for key in ["pool", "labels", "last_scraped", "error"] {
                assert_eq!(row[key], "-", "{key}");
            }
        }
        assert!(serde_json::from_value::<ActiveTarget>(json!({"health": "up"})).is_err());
    }

    #[test]
    fn ages_are_told_in_words() {
        let now: Timestamp = "2026-01-05T10:00:00Z".parse().unwrap();
        for (seconds, words) in [
            (-5, "just now"),
            (9, "just now"),
            (10, "10 seconds ago"),
            (60, "1 minute ago"),
            (7_200, "2 hours ago"),
            (86_400, "1 day ago"),
            (604_800, "1 week ago"),
            (2_592_000, "1 month ago"),
            (31_536_000, "1 year ago"),
        ] {
            let time = Timestamp::from_second(now.as_second() - seconds).unwrap();
            assert_eq!(ago(time, now), words);
        }
    }
}
