//! An optimizer of the AppDynamics kind.

use std::{fmt, path::PathBuf};

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde_yaml::Mapping;
use servo_messages::Secret;
use url::Url;

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
    /// Which optimizer.
    pub optimizer_id: String,
    /// Whose; with a connection file it may be told there.
    pub tenant_id: Option<String>,
    /// How the servo proves who it is.
    pub access: Access,
    /// The URL of the optimizer; with a connection file it may be told there.
    pub url: Option<String>,
}

/// How a servo proves who it is to AppDynamics.
#[derive(Clone)]
pub enum Access {
    /// By tokens that an OAuth client gets with its secret.
    Client {
        /// The client.
        id: String,
        /// Its secret.
        secret: SecretString,
        /// Where it gets tokens.
        token_url: String,
    },
    /// By this token.
    Token(SecretString),
    /// By what this file says at the time.
    ConnectionFile(PathBuf),
}

const VARIABLES: &Keys = &[
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
    for secret in ["token", "client_secret"] {
        if text(&keys, secret).is_some_and(|value| value.trim().is_empty()) {
            findings.problem(secret, format!("{secret} cannot be blank"));
            return None;
        }
    }
    for key in ["base_url", "url", "token_url"] {
        if let Some(url) = text(&keys, key).map(|url| url.trim_end_matches('/').to_owned()) {
            if !is_http(&url) {
                findings.problem(key, "expected an http:// or https:// URL");
                return None;
            }
            if key == "base_url" {
                keys.insert(key.into(), url.into());
            }
        }
    }
    let Some(optimizer_id) = text(&keys, "optimizer_id").map(str::to_owned) else {
        findings.problem(
            "optimizer_id",
            "field required: set it, or the variable APPD_OPTIMIZER_ID",
        );
        return None;
    };
    let computed = Computed::of(&keys, &optimizer_id);
    let access = access(&keys, &computed, findings)?;
    for (key, url) in [("url", &computed.url), ("token_url", &computed.token_url)] {
        if let Some(url) = url {
            keys.insert(key.into(), url.as_str().into());
        }
    }
    Some(ReadOptimizer {
        config: OptimizerConfig::Appdynamics(Box::new(AppdynamicsConfig {
            optimizer_id,
            tenant_id: text(&keys, "tenant_id").map(str::to_owned),
            access,
            url: computed.url,
        })),
        shown: keys,
        origins,
    })
}

/// The addresses that follow from others, unless they are given.
struct Computed {
    url: Option<String>,
    token_url: Option<String>,
}

impl Computed {
    fn of(keys: &Mapping, optimizer_id: &str) -> Self {
        let given = |key| text(keys, key).map(str::to_owned);
        let base = text(keys, "base_url");
        let url = || {
            Some(format!(
                "{}/rest/optimize/co/v1/optimizers/{optimizer_id}/",
                base?
            ))
        };
        let token_url = || {
            let tenant = text(keys, "tenant_id")?;
            Some(format!("{}/auth/{tenant}/default/oauth2/token", base?))
        };
        Self {
            url: given("url").or_else(url),
            token_url: given("token_url").or_else(token_url),
        }
    }
}

/// How the servo proves who it is: by the connection file, a token, or an OAuth client.
fn access(keys: &Mapping, computed: &Computed, findings: &mut Findings) -> Option<Access> {
    let secret = |key| text(keys, key).map(SecretString::from);
    if let Some(file) = text(keys, "connection_file") {
        return Some(Access::ConnectionFile(PathBuf::from(file)));
    }
    if let (Some(token), Some(_)) = (secret("token"), &computed.url) {
        return Some(Access::Token(token));
    }
    if let (Some(id), Some(secret), Some(_), Some(_), Some(token_url)) = (
        text(keys, "client_id"),
        secret("client_secret"),
        text(keys, "base_url"),
        text(keys, "tenant_id"),
        &computed.token_url,
    ) {
        return Some(Access::Client {
            id: id.to_owned(),
            secret,
            token_url: token_url.clone(),
        });
    }
    for key in ["base_url", "client_id", "client_secret", "tenant_id"] {
        if !keys.contains_key(key) {
            findings.problem(
                key,
                "field required: an AppDynamics optimizer needs a connection_file, or all of base_url, client_id, client_secret and tenant_id",
            );
        }
    }
    None
}

fn is_http(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

impl AppdynamicsConfig {
    /// What names it where an Opsani optimizer has its id.
    pub fn id(&self) -> String {
        match &self.tenant_id {
            Some(tenant) => format!("{tenant} - {}", self.optimizer_id),
            None => self.optimizer_id.clone(),
        }
    }
}

impl fmt::Debug for AppdynamicsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppdynamicsConfig")
            .field("optimizer_id", &self.optimizer_id)
            .finish_non_exhaustive()
    }
}
