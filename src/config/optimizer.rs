//! The `optimizer` stanza: embedded, or reached over HTTP (`spec/config-and-cli.md` §2.3).

use std::{fmt, path::PathBuf};

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_yaml::{Mapping, Value};
use servo_embedded::EmbeddedConfig;
use servo_protocol::{EndpointError, OpsaniEndpoint, OptimizerId, TokenSource};

use super::{Lookup, problem::Problem};

/// Which optimizer a servo listens to.
#[derive(Clone, Debug)]
pub enum OptimizerConfig {
    /// One inside this process, with a file of trials.
    Embedded(Box<EmbeddedConfig>),
    /// One reached over HTTP, that speaks the Opsani API.
    Opsani(OpsaniConfig),
}

/// An optimizer that speaks the Opsani API.
#[derive(Clone)]
pub struct OpsaniConfig {
    /// `organization/name`.
    pub id: String,
    /// The credential, or where to read it.
    pub token: TokenSource,
    /// Root of the API, when it is not the public one.
    pub base_url: Option<String>,
    /// The whole URL, when it is not computed.
    pub url: Option<String>,
}

/// The keys of the Opsani kind as the file may give them; hyphens as ServoX's readme writes them.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OpsaniStanza {
    id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    #[serde(skip_serializing)]
    token: Option<Secret>,
    #[serde(alias = "token-file")]
    token_file: Option<PathBuf>,
    #[serde(alias = "base-url")]
    base_url: Option<String>,
    url: Option<String>,
}

/// A token as the file gives it: never printed.
struct Secret(SecretString);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Token".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "password", "writeOnly": true})
    }
}

/// A token may be written as a number; an error must not quote it.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(s) => Ok(Some(Secret(s.into()))),
        Value::Number(n) => Ok(Some(Secret(n.to_string().into()))),
        _ => Err(serde::de::Error::custom("expected a string")),
    }
}

const KEYS: [&str; 6] = ["embedded", "id", "token", "token_file", "base_url", "url"];

impl OptimizerConfig {
    /// Reads the stanza; without one, what the environment says. `None` when there is neither.
    pub(super) fn read(
        stanza: Option<&Value>,
        document: usize,
        environment: Lookup<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let stanza = match stanza {
            None | Some(Value::Null) => {
                let given = ["OPSANI_OPTIMIZER", "OPSANI_ID"]
                    .iter()
                    .any(|name| environment(name).is_some());
                if !given {
                    return None;
                }
                Mapping::new()
            }
            Some(Value::Mapping(mapping)) => mapping.clone(),
            Some(_) => {
                problems.push(Problem::new(
                    document,
                    &["optimizer"],
                    "expected a mapping such as `embedded: {...}` or `id: ..., token: ...`",
                ));
                return None;
            }
        };
        let before = problems.len();
        for key in stanza.keys() {
            let Some(key) = key.as_str() else {
                problems.push(Problem::new(document, &["optimizer"], "keys must be text"));
                continue;
            };
            if !KEYS.contains(&key.replace('-', "_").as_str()) {
                problems.push(
                    Problem::new(document, &["optimizer", key], "extra fields not permitted")
                        .suggest(key, KEYS),
                );
            }
        }
        if problems.len() > before {
            return None;
        }
        let read = match stanza.get("embedded") {
            Some(_) if stanza.len() > 1 => Err(Problem::new(
                document,
                &["optimizer"],
                "`embedded` cannot stand beside the keys of an optimizer that is reached over HTTP",
            )),
            Some(embedded) => serde_path_to_error::deserialize(embedded.clone())
                .map(|config| Self::Embedded(Box::new(config)))
                .map_err(|e| {
                    let path = e.path().to_string();
                    Problem::new(
                        document,
                        &["optimizer", "embedded"],
                        e.into_inner().to_string(),
                    )
                    .below(path.trim_start_matches('.'))
                }),
            None => OpsaniConfig::read(stanza, document, environment).map(Self::Opsani),
        };
        match read {
            Ok(config) => Some(config),
            Err(problem) => {
                problems.push(problem);
                None
            }
        }
    }

    /// What no two servos may share: the optimizer id, and the file of its trials.
    pub(super) fn identity(&self, servo: &str) -> String {
        match self {
            Self::Embedded(config) => {
                format!(
                    "{} in {}",
                    config.optimizer_id(servo),
                    config.database.display()
                )
            }
            Self::Opsani(config) => config.id.clone(),
        }
    }

    /// What names the servo when the document does not.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Embedded(config) => config.id.as_deref(),
            Self::Opsani(config) => Some(&config.id),
        }
    }
}

impl OpsaniConfig {
    fn read(stanza: Mapping, document: usize, environment: Lookup<'_>) -> Result<Self, Problem> {
        let stanza: OpsaniStanza = serde_path_to_error::deserialize(Value::Mapping(stanza))
            .map_err(|e| {
                let path = e.path().to_string();
                Problem::new(document, &["optimizer"], e.into_inner().to_string())
                    .below(path.trim_start_matches('.'))
            })?;
        let missing = |key: &str, how: &str| {
            Problem::new(
                document,
                &["optimizer", key],
                format!("field required: {how}"),
            )
        };
        let id = stanza
            .id
            .or_else(|| environment("OPSANI_OPTIMIZER"))
            .or_else(|| environment("OPSANI_ID"))
            .ok_or_else(|| {
                missing("id", "set it to organization/name, or set OPSANI_OPTIMIZER, or use `embedded: {...}`")
            })?;
        let token = stanza
            .token
            .map(|Secret(token)| TokenSource::Inline(token))
            .or_else(|| stanza.token_file.map(TokenSource::File))
            .or_else(|| environment("OPSANI_TOKEN").map(|t| TokenSource::Inline(t.into())))
            .or_else(|| {
                environment("OPSANI_TOKEN_FILE").map(|f| TokenSource::File(PathBuf::from(f)))
            })
            .ok_or_else(|| {
                missing(
                    "token",
                    "set `token_file`, OPSANI_TOKEN or OPSANI_TOKEN_FILE",
                )
            })?;
        let config = Self {
            id,
            token,
            base_url: stanza.base_url.or_else(|| environment("OPSANI_BASE_URL")),
            url: stanza.url.or_else(|| environment("OPSANI_URL")),
        };
        match config.endpoint() {
            Ok(_) => Ok(config),
            Err(error) => Err(Problem::new(document, &["optimizer"], error.to_string())),
        }
    }

    /// The optimizer's address and credential; reads the token file.
    ///
    /// # Errors
    /// When a part of it cannot be used.
    pub fn endpoint(&self) -> Result<OpsaniEndpoint, EndpointError> {
        OpsaniEndpoint::new(
            self.id.parse::<OptimizerId>()?,
            self.token.clone(),
            self.base_url.as_deref(),
            self.url.as_deref(),
        )
    }
}

impl fmt::Debug for OpsaniConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpsaniConfig")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
