//! How a client proves who it is.

use std::{io, path::PathBuf};

use reqwest::{
    RequestBuilder,
    header::{AUTHORIZATION, HeaderValue},
};
use servo_dispatch::ConfigProblem;
use servo_messages::Secret;
use tokio::io::AsyncReadExt as _;

use crate::config::PrometheusConfig;

/// Longer than any token; a wrong path may name something endless.
const LONGEST_SECRET: u64 = 64 * 1024;

/// How a client proves who it is.
#[derive(Clone, Debug)]
pub(crate) enum Access {
    /// Not at all.
    Open,
    /// By a token.
    Bearer(SecretSource),
    /// By a user and a password.
    Basic {
        username: String,
        password: Option<SecretSource>,
    },
}

/// Where a secret is.
#[derive(Clone, Debug)]
pub(crate) enum SecretSource {
    Inline(Secret),
    /// Read anew for each request, since mounted secrets are replaced.
    File(PathBuf),
}

/// Why a secret cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AccessError {
    #[error("cannot read the secret in {path}: {cause}")]
    Unreadable { path: PathBuf, cause: String },
    #[error("the secret in {path} is empty")]
    Empty { path: PathBuf },
    #[error("the bearer token has characters that an HTTP header cannot have")]
    NotAHeader,
}

impl Access {
    /// What the configuration says.
    ///
    /// # Errors
    /// It says more than one thing, or only half of one.
    pub(crate) fn of(config: &PrometheusConfig) -> Result<Self, ConfigProblem> {
        let mut found: Vec<(&str, Self)> = Vec::new();
        if let Some(token) = &config.bearer_token {
            if HeaderValue::from_str(token.expose()).is_err() {
                return Err(ConfigProblem::error(
                    "bearer_token",
                    AccessError::NotAHeader.to_string(),
                ));
            }
            let source = SecretSource::Inline(token.clone());
            found.push(("bearer_token", Self::Bearer(source)));
        }
        if let Some(path) = &config.bearer_token_file {
            let source = SecretSource::File(path.clone());
            found.push(("bearer_token_file", Self::Bearer(source)));
        }
        if let Some(basic) = &config.basic_auth {
            let password = match (&basic.password, &basic.password_file) {
                (Some(password), None) => SecretSource::Inline(password.clone()),
                (None, Some(path)) => SecretSource::File(path.clone()),
                (None, None) | (Some(_), Some(_)) => {
                    return Err(ConfigProblem::error(
                        "basic_auth",
                        "exactly one of password and password_file is needed",
                    ));
                }
            };
            found.push((
                "basic_auth",
                Self::Basic {
                    username: basic.username.clone(),
                    password: Some(password),
                },
            ));
        }
        if let Some(user) = config.base_url.user_info() {
            found.push((
                "base_url",
                Self::Basic {
                    username: user.username.clone(),
                    password: user.password.clone().map(SecretSource::Inline),
                },
            ));
        }
        let header = config
            .headers
            .keys()
            .any(|name| name.eq_ignore_ascii_case("authorization"));
        if header {
            // Already among the headers that each request carries.
            found.push(("headers", Self::Open));
        }
        let keys: Vec<&str> = found.iter().map(|(key, _)| *key).collect();
        if keys.len() > 1 {
            return Err(ConfigProblem::error(
                keys.last().copied().unwrap_or_default(),
                format!(
                    "more than one way to authenticate: {}; keep one",
                    keys.join(", ")
                ),
            ));
        }
        Ok(found.pop().map_or(Self::Open, |(_, access)| access))
    }

    /// The request with the proof.
    ///
    /// # Errors
    /// A file cannot be read, or what is in it cannot be sent.
    pub(crate) async fn apply(
        &self,
        request: RequestBuilder,
    ) -> Result<RequestBuilder, AccessError> {
        match self {
            Self::Open => Ok(request),
            Self::Bearer(source) => {
                let token = source.read().await?;
                let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                    .map_err(|_| AccessError::NotAHeader)?;
                value.set_sensitive(true);
                Ok(request.header(AUTHORIZATION, value))
            }
            Self::Basic { username, password } => {
                let password = match password {
                    Some(source) => Some(source.read().await?),
                    None => None,
                };
                Ok(request.basic_auth(username, password.as_ref().map(Secret::expose)))
            }
        }
    }
}

impl SecretSource {
    async fn read(&self) -> Result<Secret, AccessError> {
        let path = match self {
            Self::Inline(secret) => return Ok(secret.clone()),
            Self::File(path) => path,
        };
        let read = async {
            let mut text = String::new();
            let file = tokio::fs::File::open(path).await?;
            file.take(LONGEST_SECRET + 1)
                .read_to_string(&mut text)
                .await?;
            if text.len() as u64 > LONGEST_SECRET {
                return Err(io::Error::other(format!(
                    "longer than {LONGEST_SECRET} bytes"
                )));
            }
            Ok(Secret::from(text.trim().to_owned()))
        };
        match read.await {
            Ok(secret) if secret.expose().is_empty() => {
                Err(AccessError::Empty { path: path.clone() })
            }
            Ok(secret) => Ok(secret),
            Err(error) => Err(AccessError::Unreadable {
                path: path.clone(),
                cause: error.to_string(),
            }),
        }
    }
}
