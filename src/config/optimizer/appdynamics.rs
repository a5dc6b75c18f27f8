//! An optimizer of the AppDynamics kind.

use std::{fmt, path::PathBuf};

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde_yaml::Mapping;
use servo_messages::Secret;
use servo_protocol::{AppdynamicsEndpoint, AppdynamicsSource};

use super::{APPDYNAMICS, Findings, Keys, OptimizerConfig, ReadOptimizer, Sources, complete, text};
use crate::config::{given::Origin, problem::Problem};

/// The AppDynamics optimizer that tells the servo what to do, reached over HTTP.
#[derive(JsonSchema)]
#[schemars(extend("additionalProperties" = false))]
#[expect(dead_code, reason = "it is the schema of what is read key by key")]
pub(in crate::config) struct Stanza {
    /// Which optimizer: a base64 id, which may end in `=`.
    optimizer_id: Option<String>,
    /// The tenant whose optimizer it is.
    tenant_id: Option<String>,
    /// Root of the tenant's API.
    #[schemars(url)]
    base_url: Option<String>,
    /// Id of the OAuth client (client credentials).
    client_id: Option<String>,
    /// Secret of the OAuth client.
    client_secret: Option<Secret>,
    /// A file that an agent keeps up to date, with `Endpoint`, `TenantId` and `Authorization`;
    /// instead of `base_url` and the OAuth client.
    connection_file: Option<PathBuf>,
    /// A token that is used as it is, instead of an OAuth client.
    token: Option<Secret>,
    /// The whole URL of the optimizer, when it is not computed from `base_url`.
    #[schemars(url)]
    url: Option<String>,
    /// Where the OAuth client gets its tokens, when it is not computed from `base_url`.
    #[schemars(url)]
    token_url: Option<String>,
}

/// An optimizer that speaks the AppDynamics API.
#[derive(Clone)]
pub struct AppdynamicsConfig {
    /// What was given, to be completed by a connection file.
    pub source: AppdynamicsSource,
    /// What it comes to without one.
    pub endpoint: AppdynamicsEndpoint,
}

pub(in crate::config) const VARIABLES: &Keys = &[
    ("optimizer_id", &["APPD_OPTIMIZER_ID", "APPD_WORKLOAD_ID"]),
    ("tenant_id", &["APPD_TENANT_ID"]),
    ("base_url", &["APPD_BASE_URL"]),
    ("client_id", &["APPD_CLIENT_ID"]),
    ("client_secret", &["APPD_CLIENT_SECRET"]),
    ("connection_file", &["APPD_CONNECTION_FILE"]),
    ("token", &["APPD_TOKEN"]),
    ("url", &["APPD_URL"]),
    ("token_url", &["APPD_TOKEN_URL"]),
];

pub(super) fn read(
    mut keys: Mapping,
    sources: &Sources<'_>,
    mut origins: Vec<(Vec<String>, Origin)>,
    findings: &mut Findings,
) -> Option<ReadOptimizer> {
    let flags = sources.flags;
    if sources.environment.get("APPD_WORKLOAD_ID").is_some()
        && sources.environment.get("APPD_OPTIMIZER_ID").is_none()
    {
        findings.warnings.push(Problem::new(
            &["optimizer", "optimizer_id"],
            "APPD_WORKLOAD_ID is the old name of APPD_OPTIMIZER_ID: rename it",
        ));
    }
    let token = flags.token.as_ref().map(|t| t.expose_secret().to_owned());
    let fine = complete(
        &mut keys,
        &APPDYNAMICS,
        VARIABLES,
        &[
            ("token", "--token", token),
            ("base_url", "--base-url", flags.base_url.clone()),
            ("url", "--url", flags.url.clone()),
        ],
        sources,
        &mut origins,
        findings,
    );
    if !fine {
        return None;
    }
    let Some(optimizer_id) = text(&keys, "optimizer_id").map(str::to_owned) else {
        findings.problem(
            "optimizer_id",
            "field required: set it, or the variable APPD_OPTIMIZER_ID",
        );
        return None;
    };
    let given = |key| text(&keys, key).map(str::to_owned);
    let secret = |key| text(&keys, key).map(SecretString::from);
    let source = AppdynamicsSource {
        optimizer_id,
        tenant_id: given("tenant_id"),
        base_url: given("base_url"),
        client_id: given("client_id"),
        client_secret: secret("client_secret"),
        connection_file: given("connection_file").map(PathBuf::from),
        token: secret("token"),
        url: given("url"),
        token_url: given("token_url"),
    };
    let endpoint = match source.clone().endpoint() {
        Ok(endpoint) => endpoint,
        Err(error) => {
            for key in error.keys() {
                findings.problem(key, error.to_string());
            }
            return None;
        }
    };
    if let Some(base_url) = given("base_url") {
        let base_url = base_url.trim_end_matches('/');
        keys.insert("base_url".into(), base_url.into());
    }
    for (key, url) in [("url", endpoint.url()), ("token_url", endpoint.token_url())] {
        if let Some(url) = url
            && !keys.contains_key(key)
        {
            keys.insert(key.into(), url.as_str().into());
        }
    }
    Some(ReadOptimizer {
        config: OptimizerConfig::Appdynamics(Box::new(AppdynamicsConfig { source, endpoint })),
        shown: keys,
        origins,
    })
}

impl fmt::Debug for AppdynamicsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppdynamicsConfig")
            .field("optimizer_id", &self.source.optimizer_id)
            .finish_non_exhaustive()
    }
}
