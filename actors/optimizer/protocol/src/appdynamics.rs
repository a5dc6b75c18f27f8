//! Which optimizer of the AppDynamics kind, where, and how the servo proves who it is
//! (`spec/config-and-cli.md` §2.3, `spec/optimizer-protocol.md` §2.2).
//!
//! Data and addresses only: [`crate::oauth`] gets tokens, and [`crate::connection`] reads files.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use servo_messages::english_series;
use url::Url;

use crate::{Credential, EndpointError, endpoint::parse_url};

/// What the configuration says of an AppDynamics optimizer, before anything is checked. Texts of nothing but blanks
/// count as absent.
#[derive(Debug, Clone, Default)]
pub struct AppdynamicsSource {
    /// Which optimizer: a base64 id, which may end in `=`.
    pub optimizer_id: String,
    /// The tenant whose optimizer it is.
    pub tenant_id: Option<String>,
    /// Root of the tenant's API.
    pub base_url: Option<String>,
    /// Id of the OAuth client.
    pub client_id: Option<String>,
    /// Secret of the OAuth client.
    pub client_secret: Option<SecretString>,
    /// A file that an agent keeps up to date, in place of most other keys.
    pub connection_file: Option<PathBuf>,
    /// A ready-made credential.
    pub token: Option<SecretString>,
    /// The optimizer's URL, if it is not to be computed.
    pub url: Option<String>,
    /// Where the OAuth client gets its tokens, if that is not to be computed.
    pub token_url: Option<String>,
}

/// What a connection file says: its keys `Authorization`, `Endpoint` and `TenantId`.
#[derive(Debug, Clone)]
pub struct AppdynamicsConnection {
    /// Becomes `token`.
    pub authorization: SecretString,
    /// Becomes `base_url`.
    pub endpoint: String,
    /// Becomes `tenant_id`.
    pub tenant_id: String,
}

impl AppdynamicsConnection {
    /// Whether both say the same.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        self.authorization.expose_secret() == other.authorization.expose_secret()
            && self.endpoint == other.endpoint
            && self.tenant_id == other.tenant_id
    }
}

/// One optimizer of the AppDynamics kind. All parts are valid.
#[derive(Debug, Clone)]
pub struct AppdynamicsEndpoint {
    optimizer_id: String,
    tenant_id: Option<String>,
    access: AppdynamicsAccess,
}

/// How the servo proves who it is to AppDynamics, and where the optimizer is.
#[derive(Debug, Clone)]
pub enum AppdynamicsAccess {
    /// As this file says at the time: see [`AppdynamicsSource::connected`].
    ConnectionFile(PathBuf),
    /// With this credential.
    Token {
        /// The credential.
        credential: Credential,
        /// The optimizer's URL.
        url: Url,
    },
    /// With tokens that an OAuth client gets.
    Client {
        /// The client's id.
        id: String,
        /// Its secret.
        secret: SecretString,
        /// Where it gets tokens.
        token_url: Url,
        /// The optimizer's URL.
        url: Url,
    },
}

/// What is wrong with the configuration of an AppDynamics optimizer. Holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum AppdynamicsError {
    /// No id, or one that means another directory in a URL.
    #[error("optimizer_id {0:?} is no id; give the one that AppDynamics shows for the optimizer")]
    OptimizerId(String),
    /// A tenant that means another directory in a URL.
    #[error("tenant_id {0:?} is no id; give the one of your AppDynamics tenant")]
    TenantId(String),
    /// Neither a connection file, nor a token with an address, nor a complete client.
    #[error(
        "AppdynamicsOptimizer must be configured with a connection file or specify base_url, client_id, client_secret, \
         and tenant_id (missing: {})",
        english_series(missing)
    )]
    Incomplete {
        /// Those of `base_url`, `client_id`, `client_secret` and `tenant_id` that are missing.
        missing: Vec<&'static str>,
    },
    /// A secret of nothing but blanks.
    #[error("{0} cannot be blank")]
    Blank(&'static str),
    /// A URL that cannot be used, or a token that cannot be sent.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The connection file cannot be followed.
    #[error("cannot follow the connection file {path}: {1}", path = .0.display())]
    Follow(PathBuf, std::io::Error),
}

impl AppdynamicsError {
    /// The keys at fault, for a report that points at them.
    pub fn keys(&self) -> Vec<&'static str> {
        match self {
            Self::OptimizerId(_) => vec!["optimizer_id"],
            Self::TenantId(_) => vec!["tenant_id"],
            Self::Incomplete { missing } => missing.clone(),
            Self::Blank(key) | Self::Endpoint(EndpointError::Url { key, .. }) => vec![key],
            Self::Endpoint(_) => vec!["token"],
            Self::Follow(..) => vec!["connection_file"],
        }
    }
}

// === impl AppdynamicsSource ===

impl AppdynamicsSource {
    /// The same with what the connection file says in place of the file. The addresses that [`Self::endpoint`] then
    /// computes are those of the file as it is now.
    #[must_use]
    pub fn connected(self, connection: AppdynamicsConnection) -> Self {
        Self {
            connection_file: None,
            token: Some(connection.authorization),
            base_url: Some(connection.endpoint),
            tenant_id: Some(connection.tenant_id),
            ..self
        }
    }

    /// Checks what is given and computes the addresses that are not:
    /// `{base_url}/rest/optimize/co/v1/optimizers/{optimizer_id}/` and
    /// `{base_url}/auth/{tenant_id}/default/oauth2/token`.
    ///
    /// Of several ways of access a connection file comes before a token, and a token before a client.
    ///
    /// # Errors
    /// [`AppdynamicsError`] names exactly the keys that are missing or wrong.
    pub fn endpoint(self) -> Result<AppdynamicsEndpoint, AppdynamicsError> {
        let optimizer_id = self.optimizer_id.trim().to_owned();
        if !is_segment(&optimizer_id) {
            return Err(AppdynamicsError::OptimizerId(optimizer_id));
        }
        let tenant_id = given(self.tenant_id);
        if let Some(tenant_id) = tenant_id
            .as_ref()
            .filter(|tenant_id| !is_segment(tenant_id))
        {
            return Err(AppdynamicsError::TenantId(tenant_id.clone()));
        }
        let secrets = [
            ("token", &self.token),
            ("client_secret", &self.client_secret),
        ];
        for (key, secret) in secrets {
            let blank = |secret: &SecretString| secret.expose_secret().trim().is_empty();
            if secret.as_ref().is_some_and(blank) {
                return Err(AppdynamicsError::Blank(key));
            }
        }
        let base = parsed("base_url", self.base_url)?;
        let optimizer_url = |base: &Url| {
            let segments = [
                "rest",
                "optimize",
                "co",
                "v1",
                "optimizers",
                &optimizer_id,
                "",
            ];
            below(base, &segments)
        };
        let url = parsed("url", self.url)?.or_else(|| base.as_ref().map(optimizer_url));
        let token_url = parsed("token_url", self.token_url)?;
        let client_id = given(self.client_id);

        let access = match (self.connection_file, self.token, url) {
            (Some(path), _, _) => AppdynamicsAccess::ConnectionFile(path),
            (None, Some(token), Some(url)) => AppdynamicsAccess::Token {
                credential: Credential::from_token(&token).map_err(EndpointError::from)?,
                url,
            },
            (None, _, url) => match (base, client_id, self.client_secret, &tenant_id, url) {
                (Some(base), Some(id), Some(secret), Some(tenant_id), Some(url)) => {
                    AppdynamicsAccess::Client {
                        id,
                        secret,
                        token_url: token_url.unwrap_or_else(|| {
                            below(&base, &["auth", tenant_id, "default", "oauth2", "token"])
                        }),
                        url,
                    }
                }
                (base, id, secret, tenant_id, _) => {
                    let required = [
                        ("base_url", base.is_none()),
                        ("client_id", id.is_none()),
                        ("client_secret", secret.is_none()),
                        ("tenant_id", tenant_id.is_none()),
                    ];
                    let missing = required
                        .into_iter()
                        .filter_map(|(key, missing)| missing.then_some(key))
                        .collect();
                    return Err(AppdynamicsError::Incomplete { missing });
                }
            },
        };
        Ok(AppdynamicsEndpoint {
            optimizer_id,
            tenant_id,
            access,
        })
    }
}

fn given(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

/// In a URL `.` and `..` mean another directory.
fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
}

fn parsed(key: &'static str, text: Option<String>) -> Result<Option<Url>, EndpointError> {
    given(text).map(|text| parse_url(key, &text)).transpose()
}

/// `base` without trailing slashes, then the segments, each encoded: a base64 id may hold slashes.
fn below(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    let path = base.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    // Fails only for URLs without a host, which http and https always have.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

// === impl AppdynamicsEndpoint ===

impl AppdynamicsEndpoint {
    /// Which optimizer; also the name of the servo's application.
    pub fn optimizer_id(&self) -> &str {
        &self.optimizer_id
    }

    /// The tenant; may be unknown until a connection file was read.
    pub fn tenant_id(&self) -> Option<&str> {
        self.tenant_id.as_deref()
    }

    /// What stands for the optimizer in listings and names the servo by default: `<tenant> - <optimizer>`.
    pub fn displayed_id(&self) -> String {
        match &self.tenant_id {
            Some(tenant_id) => format!("{tenant_id} - {}", self.optimizer_id),
            None => self.optimizer_id.clone(),
        }
    }

    /// How the servo proves who it is.
    pub fn access(&self) -> &AppdynamicsAccess {
        &self.access
    }

    /// The optimizer's URL; none until a connection file was read.
    pub fn url(&self) -> Option<&Url> {
        match &self.access {
            AppdynamicsAccess::ConnectionFile(_) => None,
            AppdynamicsAccess::Token { url, .. } | AppdynamicsAccess::Client { url, .. } => {
                Some(url)
            }
        }
    }

    /// Where an OAuth client gets its tokens; none where there is no client.
    pub fn token_url(&self) -> Option<&Url> {
        match &self.access {
            AppdynamicsAccess::Client { token_url, .. } => Some(token_url),
            AppdynamicsAccess::ConnectionFile(_) | AppdynamicsAccess::Token { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn complete() -> AppdynamicsSource {
        AppdynamicsSource {
            optimizer_id: "w==".into(),
            tenant_id: Some("t".into()),
            base_url: Some("https://a.b/".into()),
            client_id: Some("c".into()),
            client_secret: Some("hush".into()),
            ..AppdynamicsSource::default()
        }
    }

    fn url(source: AppdynamicsSource) -> String {
        source.endpoint().unwrap().url().unwrap().to_string()
    }

    #[test]
    fn addresses_and_the_displayed_id_are_computed() {
        let endpoint = complete().endpoint().unwrap();
        assert_eq!(endpoint.displayed_id(), "t - w==");
        assert_eq!(
            endpoint.url().unwrap().as_str(),
            "https://a.b/rest/optimize/co/v1/optimizers/w==/"
        );
        assert_eq!(
            endpoint.token_url().unwrap().as_str(),
            "https://a.b/auth/t/default/oauth2/token"
        );
        for (base, id, expected) in [
            (
                "https://a.b/pre//",
                "x",
                "https://a.b/pre/rest/optimize/co/v1/optimizers/x/",
            ),
            (
                "https://a.b",
                "x/../y=",
                "https://a.b/rest/optimize/co/v1/optimizers/x%2F..%2Fy=/",
            ),
        ] {
            let source = AppdynamicsSource {
                base_url: Some(base.into()),
                optimizer_id: id.into(),
                ..complete()
            };
            assert_eq!(url(source), expected);
        }
        let overridden = AppdynamicsSource {
            url: Some("https://other/x".into()),
            token_url: Some("https://other/token".into()),
            ..complete()
        };
        let endpoint = overridden.endpoint().unwrap();
        assert_eq!(endpoint.url().unwrap().as_str(), "https://other/x");
        assert_eq!(
            endpoint.token_url().unwrap().as_str(),
            "https://other/token"
        );
        assert!(!format!("{endpoint:?}").contains("hush"));
    }

    #[test]
    fn exactly_the_missing_keys_are_named() {
        type Take = fn(&mut AppdynamicsSource);
        let base_url: Take = |source| source.base_url = None;
        let client_id: Take = |source| source.client_id = Some(" ".into());
        let client_secret: Take = |source| source.client_secret = None;
        let tenant_id: Take = |source| source.tenant_id = None;
        for (taken, missing, named) in [
            (
                &[client_secret][..],
                &["client_secret"][..],
                "(missing: client_secret)",
            ),
            (
                &[base_url, tenant_id],
                &["base_url", "tenant_id"],
                "(missing: base_url and tenant_id)",
            ),
            (
                &[base_url, client_id, client_secret, tenant_id],
                &["base_url", "client_id", "client_secret", "tenant_id"],
                "(missing: base_url, client_id, client_secret, and tenant_id)",
            ),
        ] {
            let mut source = complete();
            for take in taken {
                take(&mut source);
            }
            let error = source.endpoint().unwrap_err();
            assert_eq!(error.keys(), missing);
            let text = error.to_string();
            assert!(
                text.starts_with(
                    "AppdynamicsOptimizer must be configured with a connection file or specify base_url, client_id, \
                     client_secret, and tenant_id"
                ) && text.ends_with(named),
                "{text}"
            );
        }
    }

    #[test]
    fn a_token_with_an_address_or_a_connection_file_is_enough() {
        let alone = AppdynamicsSource {
            optimizer_id: "w".into(),
            ..AppdynamicsSource::default()
        };
        let token = AppdynamicsSource {
            token: Some("hush".into()),
            ..alone.clone()
        };
        assert_eq!(token.clone().endpoint().unwrap_err().keys()[0], "base_url");
        let with_url = AppdynamicsSource {
            url: Some("https://u/".into()),
            ..token.clone()
        };
        assert_eq!(url(with_url), "https://u/");
        let with_base = AppdynamicsSource {
            base_url: Some("https://b".into()),
            ..token
        };
        assert_eq!(
            url(with_base),
            "https://b/rest/optimize/co/v1/optimizers/w/"
        );

        let file = AppdynamicsSource {
            connection_file: Some("/c.yaml".into()),
            ..alone
        };
        let endpoint = file.clone().endpoint().unwrap();
        assert_eq!(
            (endpoint.url(), endpoint.displayed_id()),
            (None, "w".into())
        );
        // Addresses follow the file whenever it changes.
        for host in ["one", "two"] {
            let connected = file.clone().connected(AppdynamicsConnection {
                authorization: "Bearer hush".into(),
                endpoint: format!("https://{host}/"),
                tenant_id: host.into(),
            });
            let endpoint = connected.endpoint().unwrap();
            assert_eq!(endpoint.displayed_id(), format!("{host} - w"));
            assert_eq!(
                endpoint.url().unwrap().as_str(),
                format!("https://{host}/rest/optimize/co/v1/optimizers/w/")
            );
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        type Spoil = fn(&mut AppdynamicsSource);
        let spoils: [(&str, Spoil); 8] = [
            ("optimizer_id", |source| source.optimizer_id = " ".into()),
            ("optimizer_id", |source| source.optimizer_id = "..".into()),
            ("tenant_id", |source| source.tenant_id = Some("..".into())),
            ("base_url", |source| {
                source.base_url = Some("ftp://x".into())
            }),
            ("url", |source| source.url = Some("nonsense".into())),
            ("token_url", |source| {
                source.token_url = Some("http://u:hush@h/".into())
            }),
            ("client_secret", |source| {
                source.client_secret = Some(" ".into())
            }),
            ("token", |source| source.token = Some("hu\nsh".into())),
        ];
        for (key, spoil) in spoils {
            let mut source = complete();
            spoil(&mut source);
            let error = source.endpoint().unwrap_err();
            assert_eq!(error.keys(), [key], "{error}");
            assert!(!error.to_string().contains("hush@"), "{error}");
        }
    }
}
