//! An optimizer of the Opsani kind.

use std::{fmt, path::PathBuf};

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde_yaml::{Mapping, Value};
use servo_messages::Secret;
use servo_protocol::{EndpointError, OpsaniEndpoint, OptimizerId, TokenSource};

use super::{
    Findings, Keys, LARGEST_TOKEN, OPSANI, OptimizerConfig, ReadOptimizer, Sources, complete, path,
    text, token_file,
};
use crate::config::{given::Origin, problem::Problem, whole_file};

/// Where a container has its token, when nothing else is said.
const TOKEN_FILE: &str = "/servo/opsani.token";

/// The optimizer that tells the servo what to do, reached over HTTP.
#[derive(JsonSchema)]
#[schemars(extend("additionalProperties" = false))]
#[expect(dead_code, reason = "it is the schema of what is read key by key")]
pub(in crate::config) struct Stanza {
    /// Which optimizer, as `organization/name`.
    #[schemars(
        regex(pattern = r"^[A-Za-z0-9.][A-Za-z0-9.-]{4,49}/[a-zA-Z0-9_.-]{1,64}$"),
        extend("examples" = ["dev.opsani.com/app-name"])
    )]
    id: Option<String>,
    /// The token that proves who the servo is. Better kept in a file, or in the variable
    /// OPSANI_TOKEN.
    token: Option<Secret>,
    /// A file with the token; read again when the optimizer refuses the old one.
    token_file: Option<PathBuf>,
    /// Root of the optimizer's API.
    #[schemars(url, extend("default" = "https://api.opsani.com"))]
    base_url: Option<String>,
    /// The whole URL of the optimizer, used as it is: `base_url` is ignored then.
    #[schemars(url)]
    url: Option<String>,
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

pub(in crate::config) const VARIABLES: &Keys = &[
    ("id", &["OPSANI_OPTIMIZER", "OPSANI_ID"]),
    ("base_url", &["OPSANI_BASE_URL"]),
    ("url", &["OPSANI_URL"]),
];

pub(super) fn read(
    mut keys: Mapping,
    sources: &Sources<'_>,
    mut origins: Vec<(Vec<String>, Origin)>,
    findings: &mut Findings,
) -> Option<ReadOptimizer> {
    let flags = sources.flags;
    let variables: &Keys = if sources.many {
        &[("base_url", &["OPSANI_BASE_URL"])]
    } else {
        VARIABLES
    };
    let token = token(&mut keys, sources, &mut origins, findings);
    // It has been looked at, and no message may quote it.
    keys.remove("token");
    let fine = complete(
        &mut keys,
        &OPSANI,
        variables,
        &[
            ("id", "--optimizer", flags.optimizer.clone()),
            ("base_url", "--base-url", flags.base_url.clone()),
            ("url", "--url", flags.url.clone()),
        ],
        sources,
        &mut origins,
        findings,
    );
    let id = text(&keys, "id");
    if id.is_none() && fine {
        findings.problem(
            "id",
            if sources.many {
                "field required: set it to organization/name; with several servos each needs its own"
            } else {
                "field required: set it to organization/name, or set OPSANI_OPTIMIZER, or use `embedded: {...}`"
            },
        );
    }
    if !fine {
        return None;
    }
    let config = OpsaniConfig {
        id: id?.to_owned(),
        token: token?,
        base_url: text(&keys, "base_url").map(|url| url.trim_end_matches('/').to_owned()),
        url: text(&keys, "url").map(str::to_owned),
    };
    match config.endpoint() {
        Ok(endpoint) => {
            let shown = config.shown(keys, &endpoint);
            Some(ReadOptimizer {
                config: OptimizerConfig::Opsani(config),
                shown,
                origins,
            })
        }
        Err(error) => {
            let key = match &error {
                EndpointError::Id { .. } => "id",
                EndpointError::Url { key, .. } => key,
                _ => "token",
            };
            findings.problem(key, error.to_string());
            None
        }
    }
}

/// Where the token is, after flags, file and variables were asked in this order.
fn token(
    keys: &mut Mapping,
    sources: &Sources<'_>,
    origins: &mut Vec<(Vec<String>, Origin)>,
    findings: &mut Findings,
) -> Option<TokenSource> {
    let at = || path("token");
    if let Some(token) = &sources.flags.token {
        origins.push((at(), Origin::Flag("--token")));
        return Some(TokenSource::Inline(token.clone()));
    }
    if let Some(file) = &sources.flags.token_file {
        return from_file(
            &file.to_string_lossy(),
            Origin::Flag("--token-file"),
            origins,
            findings,
        )?
        .or_else(|| missing(findings));
    }
    match keys.get("token") {
        Some(Value::String(token)) if token.trim().is_empty() => {
            findings.problem("token", "token cannot be blank");
            return None;
        }
        Some(Value::String(token)) => {
            return Some(TokenSource::Inline(SecretString::from(token.clone())));
        }
        Some(other) => {
            // A number is the text that it was, where that is still known; no fault quotes it.
            let mut only = Value::Mapping(Mapping::from_iter([("token".into(), other.clone())]));
            let faults = OPSANI.check(&mut only);
            findings.refuse(&["optimizer".to_owned()], faults);
            return match only.get("token") {
                Some(Value::String(token)) => {
                    Some(TokenSource::Inline(SecretString::from(token.clone())))
                }
                _ => None,
            };
        }
        None => {}
    }
    if let Some(Value::String(file)) = keys.get("token_file") {
        let file = file.clone();
        if let Some(found) = from_file(&file, Origin::File(None), origins, findings)? {
            return Some(found);
        }
    }
    let environment = sources.environment;
    let variable = environment.get("OPSANI_TOKEN");
    let named_file = environment.get("OPSANI_TOKEN_FILE");
    if let Some(token) = variable {
        if let Some(file) = named_file
            && let Ok(Some(found)) = token_file(file)
            && found
                .read()
                .is_ok_and(|c| !same(&c, &SecretString::from(token)))
        {
            findings.warnings.push(Problem::new(
                &["optimizer", "token"],
                "OPSANI_TOKEN and the file of OPSANI_TOKEN_FILE differ: OPSANI_TOKEN is taken",
            ));
        }
        origins.push((at(), Origin::Variable("OPSANI_TOKEN".to_owned())));
        return Some(TokenSource::Inline(SecretString::from(token)));
    }
    if let Some(file) = named_file {
        let origin = Origin::Variable("OPSANI_TOKEN_FILE".to_owned());
        if let Some(found) = from_file(file, origin, origins, findings)? {
            return Some(found);
        }
    }
    if let Ok(Some(found)) = token_file(TOKEN_FILE) {
        origins.push((at(), Origin::Path(TOKEN_FILE)));
        return Some(found);
    }
    missing(findings)
}

fn missing(findings: &mut Findings) -> Option<TokenSource> {
    findings.problem(
        "token",
        "field required: set `token_file`, OPSANI_TOKEN or OPSANI_TOKEN_FILE",
    );
    None
}

/// The token in `file`; the inner `None` is an empty file, the outer one that cannot be read.
#[expect(
    clippy::option_option,
    reason = "a file that cannot be read is a finding, an empty one is not"
)]
fn from_file(
    file: &str,
    origin: Origin,
    origins: &mut Vec<(Vec<String>, Origin)>,
    findings: &mut Findings,
) -> Option<Option<TokenSource>> {
    match token_file(file) {
        Ok(found) => {
            if found.is_some() {
                origins.push((path("token"), origin));
            }
            Some(found)
        }
        Err(error) => {
            findings.problem("token", error.to_string());
            None
        }
    }
}

fn same(credential: &servo_protocol::Credential, token: &SecretString) -> bool {
    servo_protocol::Credential::from_token(token).is_ok_and(|other| credential.same_as(&other))
}

impl OpsaniConfig {
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

    /// The stanza as it came to be.
    fn shown(&self, mut keys: Mapping, endpoint: &OpsaniEndpoint) -> Mapping {
        let token = match &self.token {
            TokenSource::Inline(token) => token.expose_secret().to_owned(),
            TokenSource::File(file) => whole_file::read_text(file, LARGEST_TOKEN)
                .map(|text| text.trim().to_owned())
                .unwrap_or_default(),
        };
        keys.insert("token".into(), token.into());
        if let Some(base_url) = &self.base_url {
            keys.insert("base_url".into(), base_url.as_str().into());
        }
        if self.url.is_none() {
            keys.insert("url".into(), endpoint.url().as_str().into());
        }
        keys
    }
}

impl fmt::Debug for OpsaniConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpsaniConfig")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
