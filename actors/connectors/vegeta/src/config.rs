//! The `vegeta` stanza of `servo.yaml` (spec/metrics-and-load.md §3.1).

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt, io,
    num::{NonZeroU32, NonZeroU64},
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use servo_messages::{Duration, Secret};

use crate::{
    limits::{MaxBody, Redirects},
    plan::{Plan, ReportMode},
    rate::Rate,
    scalar,
    target::{self, Target, TargetError, TargetFormat},
};

/// Generates HTTP load at a constant rate during each measurement, and measures how it is answered.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Vegeta Connector Configuration Schema")]
pub struct VegetaConfig {
    /// A remark for people; has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Requests in a time: `500` (in a second), `500/1s`, `90/1m`. `0` or `infinity` is as fast as `max_workers` concurrent
    /// clients can.
    pub rate: Rate,
    /// How long `servo measure` and `servo vegeta attack` generate load when they are given no duration. Optimizers always give
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// The format of `target` and `targets`: `http` is lines such as `GET https://example.com/`, each with headers and a body
    /// file below it; `json` is a sequence of objects with `method`, `url`, `header` and `body` (base64).
    #[serde(default)]
    pub format: TargetFormat,
    /// What to request, written here; may be several targets, which take turns. Exactly one of `target` and `targets` is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Path of a file with what to request, read anew for each measurement. Exactly one of `target` and `targets` is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "file-path"))]
    pub targets: Option<PathBuf>,
    /// Most idle connections that are kept for each host.
    #[serde(default = "connections", deserialize_with = "scalar::integer")]
    pub connections: u32,
    /// Concurrent clients at rate 0 when `max_workers` is not given; 1 or more. At any other rate there are as many as are
    /// needed.
    #[serde(default = "workers", deserialize_with = "workers_from")]
    pub workers: NonZeroU32,
    /// Most requests that are under way at once; 0 is no limit but that of open files.
    #[serde(
        default,
        deserialize_with = "scalar::optional_integer",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_workers: Option<u32>,
    /// Most connections that are open for each host (HTTP/1.1); 0 is no limit.
    #[serde(
        default,
        deserialize_with = "scalar::optional_integer",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_connections: Option<u32>,
    /// Bytes that are counted of each response body: a number, or a size such as `10 MB` (a KB is 1024 bytes). -1 is all. The
    /// rest is read and thrown away.
    #[serde(default)]
    pub max_body: MaxBody,
    /// Whether HTTP/2 is used where a TLS server offers it.
    #[serde(default = "yes", deserialize_with = "scalar::boolean")]
    pub http2: bool,
    /// Whether connections are used again; otherwise each request has its own.
    #[serde(default = "yes", deserialize_with = "scalar::boolean")]
    pub keepalive: bool,
    /// Whether any TLS certificate is accepted.
    #[serde(default, deserialize_with = "scalar::boolean")]
    pub insecure: bool,
    /// How often figures are reported during a measurement: one point of each metric. 0 is only at its end.
    #[serde(default = "reporting_interval")]
    pub reporting_interval: Duration,
    /// What each report covers.
    #[serde(default)]
    pub report_mode: ReportMode,
    /// The time limit of each request, with its body and redirects; 0 is none.
    #[serde(default = "timeout")]
    pub timeout: Duration,
    /// How many redirects are followed; -1 follows none and counts a redirect as a success.
    #[serde(default)]
    pub redirects: Redirects,
    /// Headers, by name, for every target that does not set them itself. Their values are treated as secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("default" = {}))]
    pub headers: BTreeMap<String, Secret>,
    /// Paths of PEM files with certificates to trust beside the system's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("default" = []))]
    pub root_certs: Vec<PathBuf>,
    /// How long resolved addresses are used; by default for a whole measurement. 0 resolves for each connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_ttl: Option<Duration>,
}

/// Why the configured targets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadTargetsError {
    /// Neither key is given.
    #[error("target or targets must be configured")]
    Neither,
    /// Both keys are given.
    #[error("target and targets cannot both be configured")]
    Both,
    /// The targets file is not there.
    #[error("file or directory at path \"{}\" does not exist", .0.display())]
    Missing(PathBuf),
    /// The targets file is a directory or the like.
    #[error("path \"{}\" does not point to a file", .0.display())]
    NotAFile(PathBuf),
    /// The targets file cannot be read.
    #[error("targets file {} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Its text is wrong.
    #[error("{}{error}", if matches!(error, TargetError::NotJson { .. }) { format!("{key} ") } else { String::new() })]
    Text {
        /// The key that holds the text, or the name of the file.
        key: &'static str,
        /// What is wrong.
        error: TargetError,
    },
}

impl VegetaConfig {
    /// Everything about the stanza that its types cannot say, as pairs of key and message.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if let Err(error) = self.load_targets() {
            problems.push((
                if self.targets.is_some() {
                    "targets"
                } else {
                    "target"
                },
                error.to_string(),
            ));
        }
        for path in &self.root_certs {
            if let Err(error) = std::fs::File::open(path) {
                problems.push((
                    "root_certs",
                    format!("cannot read '{}': {error}", path.display()),
                ));
            }
        }
        for (name, value) in &self.headers {
            if !target::is_header_name(name) || !target::is_header_value(value.expose()) {
                problems.push((
                    "headers",
                    format!("'{name}' and its value must be what HTTP allows in a header"),
                ));
            }
        }
        problems
    }

    /// Reads and checks the configured targets. Blocks on the targets file.
    ///
    /// # Errors
    /// What is wrong with the keys, the file or its text.
    pub fn load_targets(&self) -> Result<Vec<Target>, LoadTargetsError> {
        let (key, text) = match (&self.target, &self.targets) {
            (None, None) => return Err(LoadTargetsError::Neither),
            (Some(_), Some(_)) => return Err(LoadTargetsError::Both),
            (Some(text), None) => ("target", Cow::Borrowed(text.as_str())),
            (None, Some(path)) => ("targets", read_targets(path)?.into()),
        };
        target::parse(&text, self.format).map_err(|error| LoadTargetsError::Text { key, error })
    }

    /// What a run with these targets and times is to do.
    #[must_use]
    pub fn plan(&self, targets: Vec<Target>, warmup: Duration, duration: Duration) -> Plan {
        let timeout = std::time::Duration::from(self.timeout);
        Plan {
            warmup: warmup.into(),
            reporting_interval: self.reporting_interval.into(),
            report_mode: self.report_mode,
            workers: self.workers,
            max_workers: self.max_workers.map(u64::from).and_then(NonZeroU64::new),
            connections: self.connections as usize,
            max_connections: self.max_connections.and_then(NonZeroU32::new),
            timeout: (!timeout.is_zero()).then_some(timeout),
            redirects: self.redirects.most(),
            keepalive: self.keepalive,
            http2: self.http2,
            insecure: self.insecure,
            root_certs: self.root_certs.clone(),
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.expose().to_owned()))
                .collect(),
            max_body: self.max_body.bytes(),
            dns_ttl: self.dns_ttl.map(Into::into),
            ..Plan::new(targets, self.rate.clone(), duration.into())
        }
    }

    /// What is under load, for people: the file, or the first target without its headers.
    #[must_use]
    pub fn shown_target(&self, targets: &[Target]) -> String {
        if let Some(path) = &self.targets {
            return path.display().to_string();
        }
        match targets {
            [] => String::new(),
            [only] => only.shown(),
            [first, others @ ..] => format!("{} and {} more", first.shown(), others.len()),
        }
    }
}

/// Leaves out what may hold credentials: inline targets and header values.
impl fmt::Debug for VegetaConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("VegetaConfig")
            .field("rate", &self.rate.to_string())
            .field("format", &self.format)
            .field("targets", &self.targets)
            .field("headers", &self.headers.keys())
            .finish_non_exhaustive()
    }
}

fn read_targets(path: &Path) -> Result<String, LoadTargetsError> {
    let unreadable = |cause| LoadTargetsError::Unreadable {
        path: path.to_owned(),
        cause,
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(LoadTargetsError::Missing(path.to_owned()))
        }
        Err(error) => Err(unreadable(error)),
        Ok(metadata) if !metadata.is_file() => Err(LoadTargetsError::NotAFile(path.to_owned())),
        Ok(_) => std::fs::read_to_string(path).map_err(unreadable),
    }
}

fn connections() -> u32 {
    10_000
}

fn workers() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(9)
}

fn workers_from<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroU32, D::Error> {
    let workers: u32 = scalar::integer(deserializer)?;
    NonZeroU32::new(workers).ok_or_else(|| de::Error::custom("workers must be at least 1"))
}

fn yes() -> bool {
    true
}

fn reporting_interval() -> Duration {
    Duration::from(std::time::Duration::from_secs(15))
}

fn timeout() -> Duration {
    Duration::from(std::time::Duration::from_secs(30))
}

// === enumerations ===

/// Reads one of the lower-case names, or says which there are.
fn enumeration<'de, D: Deserializer<'de>, T: Copy>(
    deserializer: D,
    members: &[(&str, T)],
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    members
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, member)| *member)
        .ok_or_else(|| {
            let permitted: Vec<String> = members
                .iter()
                .map(|(name, _)| format!("'{name}'"))
                .collect();
            de::Error::custom(format!(
                "value is not a valid enumeration member; permitted: {}",
                permitted.join(", ")
            ))
        })
}

impl<'de> Deserialize<'de> for TargetFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        enumeration(deserializer, &[("http", Self::Http), ("json", Self::Json)])
    }
}

impl<'de> Deserialize<'de> for ReportMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        enumeration(
            deserializer,
            &[
                ("cumulative", Self::Cumulative),
                ("interval", Self::Interval),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn config(yaml: &str) -> VegetaConfig {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn problem(yaml: &str) -> String {
        match serde_yaml::from_str::<VegetaConfig>(yaml) {
            Err(error) => error.to_string(),
            Ok(config) => config
                .problems()
                .first()
                .map(|(_, message)| message.clone())
                .unwrap_or_default(),
        }
    }

    #[test]
    fn a_minimal_stanza_has_the_documented_defaults() {
        let config = config("{rate: 50/1s, target: 'GET https://example.com/'}");
        assert_eq!(config.problems(), []);
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(
            written,
            serde_json::json!({
                "rate": "50/1s", "format": "http", "target": "GET https://example.com/", "connections": 10_000, "workers": 10,
                "max_body": -1, "http2": true, "keepalive": true, "insecure": false, "reporting_interval": "15s",
                "report_mode": "cumulative", "timeout": "30s", "redirects": 10,
            })
        );
        assert_eq!(
            serde_json::from_value::<VegetaConfig>(written).unwrap(),
            config
        );
    }

    #[test]
    fn values_may_be_written_in_several_ways() {
        let config = config(
            "{rate: 500, duration: 5m, target: 'GET http://a/', workers: '7', max_workers: 0, max_body: 10 MB, http2: 'no', keepalive: 0,
              timeout: 0, redirects: -1, dns_ttl: 1.5, headers: {X-A: b}, report_mode: interval, connections: 3.0}",
        );
        let plan = config.plan(Vec::new(), Duration::ZERO, Duration::ZERO);
        assert_eq!(
            (plan.workers.get(), plan.max_workers, plan.connections),
            (7, None, 3)
        );
        assert_eq!(
            (plan.max_body, plan.timeout, plan.redirects),
            (Some(10 << 20), None, None)
        );
        assert_eq!(
            (plan.http2, plan.keepalive, plan.report_mode),
            (false, false, ReportMode::Interval)
        );
        assert_eq!(plan.dns_ttl, Some(std::time::Duration::from_millis(1500)));
        assert_eq!(plan.headers, [("X-A".to_owned(), "b".to_owned())]);
        assert_eq!(config.rate.to_string(), "500");
    }

    #[test]
    fn wrong_stanzas_are_refused_with_their_texts() {
        let directory = tempfile::tempdir().unwrap();
        let shown = directory.path().display().to_string();
        let empty = directory.path().join("empty");
        std::fs::write(&empty, "# nothing\n").unwrap();
        for (yaml, expected) in [
            (
                "{target: GET http://a/}".to_owned(),
                "missing field `rate`".to_owned(),
            ),
            (
                "{rate: 1, target: GET http://a/, foo: 1}".to_owned(),
                "unknown field `foo`".to_owned(),
            ),
            (
                "{rate: 1}".to_owned(),
                "target or targets must be configured".to_owned(),
            ),
            (
                "{rate: 1, target: a, targets: b}".to_owned(),
                "target and targets cannot both be configured".to_owned(),
            ),
            (
                format!("{{rate: 1, targets: {shown}/none}}"),
                format!("file or directory at path \"{shown}/none\" does not exist"),
            ),
            (
                format!("{{rate: 1, targets: {shown}}}"),
                format!("path \"{shown}\" does not point to a file"),
            ),
            (
                format!("{{rate: 1, targets: {shown}/empty}}"),
                "no targets found".to_owned(),
            ),
            (
                "{rate: 1, target: 'JUMP http://a/'}".to_owned(),
                "invalid target: JUMP http://a/".to_owned(),
            ),
            (
                "{rate: 1, format: json, target: nope}".to_owned(),
                "target contains invalid JSON".to_owned(),
            ),
            (
                "{rate: 1, format: json, target: '{\"method\": \"GET\"}'}".to_owned(),
                "Invalid Vegeta JSON target: 'url' is a required property".to_owned(),
            ),
            (
                "{rate: 1, format: xml}".to_owned(),
                "value is not a valid enumeration member; permitted: 'http', 'json'".to_owned(),
            ),
            (
                "{rate: INVALID}".to_owned(),
                "rate strings are of the form hits/interval".to_owned(),
            ),
            (
                "{rate: 1, workers: 0}".to_owned(),
                "workers must be at least 1".to_owned(),
            ),
            (
                "{rate: 1, workers: -1}".to_owned(),
                "an integer in range".to_owned(),
            ),
            (
                "{rate: 1, workers: 3.7}".to_owned(),
                "an integer in range".to_owned(),
            ),
            (
                "{rate: 1, max_body: -7}".to_owned(),
                "max_body must be -1".to_owned(),
            ),
            (
                "{rate: 1, redirects: -2}".to_owned(),
                "redirects must be -1".to_owned(),
            ),
            (
                "{rate: 1, reporting_interval: -5s}".to_owned(),
                "-5s".to_owned(),
            ),
            (
                "{rate: 1, http2: maybe}".to_owned(),
                "true or false".to_owned(),
            ),
            (
                "{rate: 1, target: GET http://a/, headers: {'a b': c}}".to_owned(),
                "'a b'".to_owned(),
            ),
        ] {
            let message = problem(&yaml);
            assert!(message.contains(&expected), "{yaml}: {message}");
        }
    }

    #[test]
    fn the_schema_is_closed_and_requires_the_rate() {
        let schema = serde_json::to_value(schemars::schema_for!(VegetaConfig)).unwrap();
        assert_eq!(schema["title"], "Vegeta Connector Configuration Schema");
        assert_eq!(schema["required"], serde_json::json!(["rate"]));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["targets"]["format"], "file-path");
    }

    #[test]
    fn the_schema_has_the_defaults_of_the_types_and_describes_every_key() {
        let schema = serde_json::to_value(schemars::schema_for!(VegetaConfig)).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        let written = serde_json::to_value(config("{rate: 1, target: GET http://a/}")).unwrap();
        for (key, value) in written.as_object().unwrap() {
            if !["rate", "target"].contains(&key.as_str()) {
                assert_eq!(properties[key]["default"], *value, "{key}");
            }
        }
        for (key, property) in properties {
            assert!(property["description"].is_string(), "{key}");
        }
        assert_eq!(properties["workers"]["minimum"], 1);
        let header = &properties["headers"]["additionalProperties"];
        assert_eq!(header["writeOnly"], true);
    }

    #[test]
    fn debug_output_holds_no_credentials() {
        let config = config(
            "{rate: 1, target: \"GET http://u:secret@a/\\nAuthorization: secret\", headers: {X: secret}}",
        );
        assert!(!format!("{config:?}").contains("secret"));
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(written["headers"]["X"], Secret::MASK);
        assert_eq!(
            config.shown_target(&config.load_targets().unwrap()),
            "GET http://u:***@a/"
        );
    }
}
