//! The connector's stanza, as it is written; [`crate::component`] makes the checked form of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use regex::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use servo_messages::{Duration, Number, SettingValue};
use url::Url;

use crate::forgiving;

/// Tunes local processes: settings become environment variables and arguments, and each change of one
/// restarts its process.
// ```yaml
// process:
//   components:
//     web:
//       command: [./service, --port, "8080"]
//       settings:
//         - {name: workers, min: 1, max: 8, step: 1, value: 2}
//         - {name: codec, values: [gzip, zstd], value: gzip, argument: "--codec={value}"}
//       ready: {http: {url: "http://127.0.0.1:8080/health"}}
// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessConfig {
    /// A remark for people; has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The processes: a list, or a map from name to process. At least one.
    #[serde(deserialize_with = "forgiving::named")]
    #[schemars(schema_with = "forgiving::named_schema::<ComponentConfig>")]
    pub components: Vec<ComponentConfig>,
}

/// One process.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComponentConfig {
    /// The component's name for the optimizer; the key where components are a map.
    #[serde(default)]
    pub name: String,
    /// Program and arguments, without a shell. `{workers}` in an argument stands for the value of the
    /// setting `workers`; `{{` and `}}` stand for braces around a word. The program must stay in the
    /// foreground. A path such as `./service` is looked for in `cwd`, a bare name in the PATH of `env`, else
    /// of Servo.
    #[serde(deserialize_with = "forgiving::texts")]
    #[schemars(schema_with = "forgiving::texts_schema")]
    pub command: Vec<String>,
    /// Working directory; by default that of Servo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// Environment variables with fixed values, beside those that Servo itself has. Servo's own
    /// (`OPSANI_*`, `SERVO_*`, `SERVOD_*`) are withheld.
    #[serde(
        default,
        deserialize_with = "forgiving::text_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    #[schemars(schema_with = "forgiving::text_map_schema", extend("default" = {}))]
    pub env: BTreeMap<String, String>,
    /// What may be tuned: a list, or a map from name to setting.
    #[serde(default, deserialize_with = "forgiving::named")]
    #[schemars(schema_with = "forgiving::named_schema::<SettingConfig>")]
    pub settings: Vec<SettingConfig>,
    /// How to know that the process is ready; without it, it is ready when it has lived for `settle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<ReadyConfig>,
    /// How the process is ended.
    #[serde(default)]
    pub stop: StopPolicy,
    /// What happens when the process ends by itself.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Where its output goes.
    #[serde(default)]
    pub output: OutputPolicy,
    /// How long it must live after it is ready before an adjustment has succeeded. Default: no time
    /// where `ready` is given, else one second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Duration>,
}

/// One setting and the way it reaches the process.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingConfig {
    /// The setting's name; the key where settings are a map.
    #[serde(default)]
    pub name: String,
    /// `range` or `enum`. Default: `enum` where `values` is given, else `range`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<SettingKind>,
    /// Range: smallest value; required there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Number>,
    /// Range: largest value; required there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Number>,
    /// Range: distance between values, more than 0; required there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Number>,
    /// Enum: the values to choose from; required there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<SettingValue>>,
    /// The first value: the baseline.
    pub value: SettingValue,
    /// Whether the setting is shown to the optimizer but never changed.
    #[serde(default)]
    pub pinned: bool,
    /// Unit of the value, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The environment variable that holds the value. Default: the name in upper case, unless
    /// `argument` or a placeholder in `command` passes the value on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// An argument, added to the end of the command, in which `{value}` stands for the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argument: Option<String>,
}

/// The kinds of setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SettingKind {
    /// Numbers from `min` to `max`.
    Range,
    /// One of a list.
    Enum,
}

/// How to know that a process is ready: exactly one of `http`, `tcp` and `log`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadyConfig {
    /// An HTTP GET is answered with the right status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpReady>,
    /// A connection to `host:port` is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// A line of output holds this text; `/…/` is a regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LineMatcher>,
    /// Time that the process has to become ready; one that is not ready by then has failed to start.
    #[serde(default = "ReadyConfig::default_timeout")]
    pub timeout: Duration,
    /// Time between two tries.
    #[serde(default = "ReadyConfig::default_interval")]
    pub interval: Duration,
}

impl ReadyConfig {
    fn default_timeout() -> Duration {
        Duration::from_secs(30)
    }

    fn default_interval() -> Duration {
        Duration::from_millis(100)
    }
}

/// An HTTP readiness probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpReady {
    /// Absolute http or https URL that is asked for.
    #[schemars(with = "String", extend("format" = "uri"))]
    pub url: Url,
    /// The status that means "ready"; any 2xx if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// How a process is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StopPolicy {
    /// Signal that asks the process to end.
    pub signal: StopSignal,
    /// How long it may take, at most a day; then it is killed, with everything that it started.
    pub grace: Duration,
}

impl StopPolicy {
    pub(crate) fn grace(&self) -> std::time::Duration {
        self.grace.as_std()
    }
}

impl Default for StopPolicy {
    fn default() -> Self {
        Self {
            signal: StopSignal::Term,
            grace: Duration::from_secs(10),
        }
    }
}

/// A signal that asks a process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the serialized names say it")]
pub enum StopSignal {
    #[serde(rename = "SIGTERM", alias = "TERM")]
    Term,
    #[serde(rename = "SIGINT", alias = "INT")]
    Int,
    #[serde(rename = "SIGQUIT", alias = "QUIT")]
    Quit,
    #[serde(rename = "SIGHUP", alias = "HUP")]
    Hup,
    #[serde(rename = "SIGUSR1", alias = "USR1")]
    Usr1,
    #[serde(rename = "SIGUSR2", alias = "USR2")]
    Usr2,
    #[serde(rename = "SIGKILL", alias = "KILL")]
    Kill,
}

impl StopSignal {
    pub(crate) fn number(self) -> i32 {
        use rustix::process::Signal;
        match self {
            Self::Term => Signal::TERM,
            Self::Int => Signal::INT,
            Self::Quit => Signal::QUIT,
            Self::Hup => Signal::HUP,
            Self::Usr1 => Signal::USR1,
            Self::Usr2 => Signal::USR2,
            Self::Kill => Signal::KILL,
        }
        .as_raw()
    }
}

/// With the short names, which the derived schema would leave out.
impl JsonSchema for StopSignal {
    fn schema_name() -> Cow<'static, str> {
        "StopSignal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        const NAMES: [&str; 7] = ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "KILL"];
        let long = NAMES.map(|name| format!("SIG{name}"));
        let all: Vec<&str> = long.iter().map(String::as_str).chain(NAMES).collect();
        json_schema!({
            "description": "A signal that asks a process to end, with or without `SIG`.",
            "type": "string",
            "enum": all,
        })
    }
}

/// What happens when a process ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RestartPolicy {
    /// Time before the first restart; doubled for each further one.
    pub backoff: Duration,
    /// Longest time before a restart.
    pub max_backoff: Duration,
    /// Restarts in a row before the component is given up until the next command; a life of a minute
    /// starts the count anew.
    pub attempts: u32,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(30),
            attempts: 5,
        }
    }
}

/// Where the output of a process goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputPolicy {
    /// Into Servo's log, with the component's name.
    #[default]
    Log,
    /// Nowhere; the last lines are still kept for error messages.
    Discard,
}

/// Recognises a line: a text that it holds, or `/regular expression/`.
#[derive(Clone)]
pub struct LineMatcher {
    source: String,
    pattern: Option<Regex>,
}

impl LineMatcher {
    /// Reads `source`.
    ///
    /// # Errors
    /// An empty text, which every line would hold, or a bad regular expression.
    pub fn new(source: impl Into<String>) -> Result<Self, LineMatcherError> {
        let source = source.into();
        let inner = source
            .strip_prefix('/')
            .and_then(|rest| rest.strip_suffix('/'));
        if inner.unwrap_or(&source).is_empty() {
            return Err(LineMatcherError::Empty);
        }
        let pattern = match inner.map(Regex::new).transpose() {
            Ok(pattern) => pattern,
            Err(cause) => {
                return Err(LineMatcherError::Pattern {
                    text: source,
                    cause: cause.to_string(),
                });
            }
        };
        Ok(Self { source, pattern })
    }

    pub(crate) fn matches(&self, line: &str) -> bool {
        match &self.pattern {
            Some(pattern) => pattern.is_match(line),
            None => line.contains(&self.source),
        }
    }
}

/// Why a text recognises no line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineMatcherError {
    /// Nothing to look for.
    #[error("the text is empty: give a part of the line that means \"ready\"")]
    Empty,
    /// Not a regular expression.
    #[error("`{text}` is no regular expression: {cause}")]
    Pattern {
        /// As written.
        text: String,
        /// What is wrong with it.
        cause: String,
    },
}

impl fmt::Debug for LineMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, f)
    }
}

impl fmt::Display for LineMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl PartialEq for LineMatcher {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Serialize for LineMatcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.source.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LineMatcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for LineMatcher {
    fn schema_name() -> Cow<'static, str> {
        "LineMatcher".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

impl forgiving::Named for ComponentConfig {
    fn name_mut(&mut self) -> &mut String {
        &mut self.name
    }
}

impl forgiving::Named for SettingConfig {
    fn name_mut(&mut self) -> &mut String {
        &mut self.name
    }
}
