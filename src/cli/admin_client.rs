//! What commands ask of a daemon that runs: its JSON API over HTTP.

pub(super) mod answers;
pub(super) mod words;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use url::{Host, Url};

use super::{Context, Failure};
use crate::config::{AdminConfig, Listen, whole_file};
use answers::{Servo, ServoPage};

/// Larger files are neither tokens nor certificates.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Which daemon is asked, and how it knows who asks.
#[derive(Debug, clap::Args)]
pub(super) struct AdminOptions {
    /// The daemon [env var: SERVO_ADMIN; default: where servo.toml says, else http://127.0.0.1:9797]
    #[arg(long = "admin", value_name = "URL")]
    url: Option<String>,
    /// A file with its token [env vars: SERVO_ADMIN_TOKEN_FILE, SERVO_ADMIN_TOKEN; default: the one of servo.toml]
    #[arg(long = "admin-token-file", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A file with the authorities that vouch for its certificate, PEM [env var: SERVO_ADMIN_CA_FILE; default: those of the system]
    #[arg(long = "admin-ca", value_name = "FILE")]
    authorities: Option<PathBuf>,
}

/// A running daemon as a command sees it.
pub(super) struct AdminClient {
    http: Client,
    base: Url,
    token: Option<SecretString>,
}

/// Why a daemon could not be asked, or did not do what it was asked to.
#[derive(Debug, Error)]
pub(super) enum AdminError {
    /// There is nobody to ask.
    #[error(
        "the admin server is off ([admin] listen = \"off\" in servo.toml): name a daemon with --admin URL or SERVO_ADMIN"
    )]
    Off,
    /// No address.
    #[error("invalid address of the daemon '{0}': expected a URL such as http://127.0.0.1:9797")]
    Address(String),
    /// A file that cannot be used.
    #[error("cannot use the {what} {}: {cause}", file.display())]
    File {
        /// What is in it.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        cause: String,
    },
    /// No token.
    #[error("cannot use the variable SERVO_ADMIN_TOKEN: {NO_TOKEN}")]
    Variable,
    /// No HTTP client.
    #[error("cannot prepare for HTTP: {0}")]
    Client(String),
    /// Nobody answers.
    #[error(
        "no daemon answers at {url}: {cause}; is `servo run` there, and is this what [admin] listen of its servo.toml says? Another one is named with --admin URL or SERVO_ADMIN"
    )]
    Unreachable {
        /// Where.
        url: Url,
        /// What happened.
        cause: String,
    },
    /// It is there, but slow.
    #[error("the daemon at {url} has not answered in time: its log tells what it does")]
    Late {
        /// Where.
        url: Url,
    },
    /// It answers to others only.
    #[error(
        "the daemon at {url} wants a token{}: give --admin-token-file FILE, with the file that [admin] token_file of its servo.toml names",
        if *given { " other than this one" } else { "" }
    )]
    Token {
        /// Where.
        url: Url,
        /// Whether one was sent.
        given: bool,
    },
    /// It knows no such thing, or will not do it.
    #[error("the daemon at {url} refuses: {text}")]
    Refused {
        /// Where.
        url: Url,
        /// Its status.
        status: StatusCode,
        /// Its words.
        text: String,
    },
    /// It is something else.
    #[error("{url} answers, but not as a servo daemon does ({what}): is it the admin address?")]
    Stranger {
        /// Where.
        url: Url,
        /// What it said.
        what: String,
    },
}

/// What an answer may take, of anything but a reload.
const PATIENCE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(5);
/// The tree of 10,000 servos is a tenth of it.
const LARGEST_ANSWER: usize = 256 * 1024 * 1024;
/// As many servos as one answer may hold.
const PAGE: usize = 1000;

impl AdminClient {
    /// Finds out which daemon is meant. Says nothing to it yet.
    ///
    /// # Errors
    /// When there is none, or a file that is named cannot be used.
    pub(super) fn new(context: &Context, options: &AdminOptions) -> Result<Self, AdminError> {
        let variable = |name: &str| context.environment.get(name);
        let admin = &context.daemon.admin;
        let given = options.url.as_deref().or_else(|| variable("SERVO_ADMIN"));
        let base = match given {
            Some(url) => address(url)?,
            None => address_of(admin)?,
        };
        let token_file = options.token_file.clone();
        let token_file = token_file.or_else(|| variable("SERVO_ADMIN_TOKEN_FILE").map(Into::into));
        let token = match (token_file, variable("SERVO_ADMIN_TOKEN")) {
            (Some(file), _) => Some(token(&file)?),
            (None, Some(text)) if sendable(text.trim()) => Some(text.trim().into()),
            (None, Some(_)) => return Err(AdminError::Variable),
            // That of another daemon is nothing for the one that was named.
            (None, None) => match &admin.token_file {
                Some(file) if given.is_none() => Some(token(file)?),
                _ => None,
            },
        };
        let authorities = options.authorities.clone();
        let authorities = authorities.or_else(|| variable("SERVO_ADMIN_CA_FILE").map(Into::into));
        let (authorities, and_the_systems) = match (authorities, &admin.tls) {
            (Some(file), _) => (certificates(&file)?, false),
            // Mostly nobody else vouches for it.
            (None, Some(tls)) if given.is_none() => (certificates(&tls.certificate)?, true),
            (None, _) => (Vec::new(), true),
        };
        if token.is_some() && base.scheme() == "http" && !is_local(&base) {
            tracing::warn!("the token goes to {base} unencrypted: use https");
        }
        // Fails where another one is installed already, which does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .gzip(true);
        http = if and_the_systems {
            http.tls_certs_merge(authorities)
        } else {
            http.tls_certs_only(authorities)
        };
        if is_local(&base) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|e| AdminError::Client(causes(&e)))?;
        Ok(Self { http, base, token })
    }

    /// Asks for what is at `path`, below the root of the API, with these parameters.
    pub(super) async fn get(
        &self,
        path: &[&str],
        parameters: &[(&str, &str)],
    ) -> Result<Value, AdminError> {
        let url = self.url(path)?;
        let request = self.http.request(Method::GET, url).query(parameters);
        self.send(request.timeout(PATIENCE)).await
    }

    /// As [`Self::get`], as a value of a type.
    pub(super) async fn get_as<T: DeserializeOwned>(
        &self,
        path: &[&str],
        parameters: &[(&str, &str)],
    ) -> Result<T, AdminError> {
        let answer = self.get(path, parameters).await?;
        self.read(answer)
    }

    /// Asks for a reload, which may take `within`.
    pub(super) async fn reload(&self, within: Duration) -> Result<Value, AdminError> {
        let url = self.url(&["reload"])?;
        let request = self.http.request(Method::POST, url).timeout(within);
        self.send(request).await
    }

    /// Every servo that `parameters` let through, as the daemon tells of them.
    pub(super) async fn servos(
        &self,
        parameters: &[(&str, &str)],
    ) -> Result<Vec<Value>, AdminError> {
        let mut servos = Vec::new();
        loop {
            let (offset, limit) = (servos.len().to_string(), PAGE.to_string());
            let place = [("offset", offset.as_str()), ("limit", limit.as_str())];
            let parameters = [parameters, &place].concat();
            let page: ServoPage = self.get_as(&["servos"], &parameters).await?;
            let (more, matched) = (page.servos.len(), page.matched);
            servos.extend(page.servos);
            if more == 0 || servos.len() >= matched {
                return Ok(servos);
            }
        }
    }

    /// A part of an answer as a value of a type.
    pub(super) fn read<T: DeserializeOwned>(&self, answer: Value) -> Result<T, AdminError> {
        serde_json::from_value(answer).map_err(|e| self.stranger(e.to_string()))
    }

    /// Servos as values of a type.
    pub(super) fn read_servos(&self, servos: &[Value]) -> Result<Vec<Servo>, AdminError> {
        servos
            .iter()
            .map(|servo| self.read(servo.clone()))
            .collect()
    }

    /// Where the daemon is.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    fn url(&self, path: &[&str]) -> Result<Url, AdminError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| AdminError::Address(self.base.to_string()))?
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(path);
        Ok(url)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Value, AdminError> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        let body = self.body(response).await?;
        let answer = serde_json::from_slice::<Value>(&body).ok();
        match (status, answer) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Err(AdminError::Token {
                url: self.base.clone(),
                given: self.token.is_some(),
            }),
            (status, Some(answer)) if status.is_success() => Ok(answer),
            (status, Some(Value::Object(mut answer))) => match answer.remove("error") {
                Some(Value::String(text)) => Err(AdminError::Refused {
                    url: self.base.clone(),
                    status,
                    text,
                }),
                _ => Err(self.stranger(format!("HTTP {status}"))),
            },
            (status, _) => Err(self.stranger(format!("HTTP {status}, no JSON"))),
        }
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, AdminError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unreachable(&e))? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(self.stranger("an answer without end".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unreachable(&self, error: &reqwest::Error) -> AdminError {
        let url = self.base.clone();
        if error.is_timeout() && !error.is_connect() {
            return AdminError::Late { url };
        }
        // The outermost says no more than that there was a request.
        let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), causes);
        let hint = hint(&cause, url.scheme());
        AdminError::Unreachable {
            url,
            cause: format!("{cause}{hint}"),
        }
    }

    fn stranger(&self, what: String) -> AdminError {
        AdminError::Stranger {
            url: self.base.clone(),
            what,
        }
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Unreachable { .. } | AdminError::Late { .. } => {
                Failure::Unreachable(error.to_string())
            }
            AdminError::Address(_) => Failure::Usage(error.to_string()),
            // As a state that there is none of.
            AdminError::Refused { status, text, .. } if status == StatusCode::BAD_REQUEST => {
                Failure::Usage(text)
            }
            other => Failure::Failed(other.to_string()),
        }
    }
}

/// The address that somebody gave; without a scheme it is HTTP, as with curl.
fn address(text: &str) -> Result<Url, AdminError> {
    let text = text.trim();
    let invalid = || AdminError::Address(text.to_owned());
    let url = if text.contains("://") {
        Url::parse(text)
    } else {
        Url::parse(&format!("http://{text}"))
    };
    let mut url = url.map_err(|_| invalid())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(invalid());
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// Where the daemon is that this `servo.toml` is of, seen from its own machine.
fn address_of(admin: &AdminConfig) -> Result<Url, AdminError> {
    let Listen::At { address: at, .. } = admin.listen else {
        return Err(AdminError::Off);
    };
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let scheme = if admin.tls.is_some() { "https" } else { "http" };
    address(&format!("{scheme}://{}", SocketAddr::new(ip, at.port())))
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn token(file: &Path) -> Result<SecretString, AdminError> {
    let unusable = |cause: String| AdminError::File {
        what: "token file",
        file: file.to_owned(),
        cause,
    };
    let text = whole_file::read_text(file, LARGEST).map_err(|e| unusable(e.to_string()))?;
    match text.trim() {
        "" => Err(unusable("it is empty".to_owned())),
        token if sendable(token) => Ok(token.into()),
        _ => Err(unusable(NO_TOKEN.to_owned())),
    }
}

const NO_TOKEN: &str = "it is no token: expected visible ASCII characters without blanks";

/// Whether it can stand in a header.
fn sendable(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

fn certificates(file: &Path) -> Result<Vec<Certificate>, AdminError> {
    let unusable = |cause: String| AdminError::File {
        what: "certificates of",
        file: file.to_owned(),
        cause,
    };
    let pem = whole_file::read(file, LARGEST).map_err(|e| unusable(e.to_string()))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if certificates.is_empty() => {
            Err(unusable("no certificate in it: expected PEM".to_owned()))
        }
        other => other.map_err(|e| unusable(causes(&e))),
    }
}

/// What to do about a cause, where that can be told.
fn hint(cause: &str, scheme: &str) -> &'static str {
    match scheme {
        "http" if cause.contains("invalid HTTP version") => {
            " (it seems to speak TLS: try https:// in place of http://)"
        }
        "https" if cause.contains("InvalidContentType") => {
            " (it seems to speak no TLS: try http:// in place of https://)"
        }
        // As `openssl req -x509` makes them, unless told otherwise.
        _ if cause.contains("CaUsedAsEndEntity") => {
            " (its certificate is one of an authority: make one for a server, as with `openssl req -x509 -addext basicConstraints=critical,CA:FALSE`)"
        }
        _ if cause.contains("certificate") => {
            " (the authority of its certificate is named with --admin-ca FILE)"
        }
        _ => "",
    }
}

/// An error and what led to it, in one line.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses() {
        for (text, url) in [
            ("localhost:9797", Some("http://localhost:9797/")),
            (
                "https://servo.example.com",
                Some("https://servo.example.com/"),
            ),
            ("http://h:1/prefix?x=1#y", Some("http://h:1/prefix")),
            ("ftp://h", None),
            ("", None),
            ("http://", None),
        ] {
            let found = address(text).ok().map(|url| url.to_string());
            assert_eq!(found.as_deref(), url, "{text}");
        }
    }

    #[test]
    fn a_daemon_that_listens_everywhere_is_asked_on_this_machine() {
        let admin = |text: &str| AdminConfig {
            listen: Listen::At {
                address: text.parse().unwrap(),
                explicit: true,
            },
            ..AdminConfig::default()
        };
        for (listen, url) in [
            ("0.0.0.0:80", "http://127.0.0.1/"),
            ("[::]:8", "http://[::1]:8/"),
            ("10.1.2.3:9797", "http://10.1.2.3:9797/"),
        ] {
            assert_eq!(address_of(&admin(listen)).unwrap().as_str(), url);
        }
        let off = AdminConfig {
            listen: Listen::Off,
            ..AdminConfig::default()
        };
        assert!(matches!(address_of(&off), Err(AdminError::Off)));
    }
}
