//! `[admin]`: the HTTP server for those who look after the program.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::Deserialize;
use thiserror::Error;

/// The HTTP server for those who look after the program: health, metrics, the state of servos.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "Stanza")]
#[schemars(with = "Stanza")]
pub struct AdminConfig {
    /// Where it listens.
    pub listen: Listen,
    /// A file with the token that requests must bring. Always there for an address that others
    /// than this machine can reach.
    pub token_file: Option<PathBuf>,
    /// HTTPS in place of HTTP.
    pub tls: Option<AdminTls>,
    /// Up to how many servos there are metrics of each; 100 by default. With more servos there are
    /// only sums: thousands of series are a burden to whoever collects them.
    pub metrics_per_servo: usize,
}

/// Where the HTTP server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub enum Listen {
    /// There is none.
    Off,
    /// On an address.
    At {
        /// Which; `127.0.0.1:9797` by default.
        address: SocketAddr,
        /// Whether somebody asked for this one: then the program does not run without it.
        explicit: bool,
    },
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminTls {
    /// The chain of certificates, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// What is wrong with the stanza.
#[derive(Debug, Error)]
pub enum AdminConfigError {
    /// Others could do everything.
    #[error(
        "admin.listen {0} can be reached from other machines: set admin.token_file too, or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
    /// A certificate without its key.
    #[error("admin.tls_certificate and admin.tls_key belong together: {0} is missing")]
    Tls(&'static str),
}

/// No address.
#[derive(Debug, Error)]
#[error(
    "invalid admin.listen '{0}': expected an address with its port, such as 127.0.0.1:9797 or [::]:9797, or \"off\""
)]
pub struct ListenError(String);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Stanza {
    listen: Option<Listen>,
    token_file: Option<PathBuf>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    metrics_per_servo: Option<usize>,
}

const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9797);

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            token_file: None,
            tls: None,
            metrics_per_servo: 100,
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self::At {
            address: DEFAULT,
            explicit: false,
        }
    }
}

impl TryFrom<Stanza> for AdminConfig {
    type Error = AdminConfigError;

    fn try_from(stanza: Stanza) -> Result<Self, AdminConfigError> {
        let default = Self::default();
        let listen = stanza.listen.unwrap_or(default.listen);
        if let Listen::At { address, .. } = listen
            && !address.ip().is_loopback()
            && stanza.token_file.is_none()
        {
            return Err(AdminConfigError::Open(address));
        }
        let tls = match (stanza.tls_certificate, stanza.tls_key) {
            (Some(certificate), Some(key)) => Some(AdminTls { certificate, key }),
            (None, None) => None,
            (Some(_), None) => return Err(AdminConfigError::Tls("tls_key")),
            (None, Some(_)) => return Err(AdminConfigError::Tls("tls_certificate")),
        };
        Ok(Self {
            listen,
            token_file: stanza.token_file,
            tls,
            metrics_per_servo: stanza
                .metrics_per_servo
                .unwrap_or(default.metrics_per_servo),
        })
    }
}

impl TryFrom<String> for Listen {
    type Error = ListenError;

    fn try_from(text: String) -> Result<Self, ListenError> {
        Ok(match text.trim() {
            "off" => Self::Off,
            text => Self::At {
                address: address(text)?,
                explicit: true,
            },
        })
    }
}

/// No name is looked up, but `localhost` needs no looking up.
fn address(text: &str) -> Result<SocketAddr, ListenError> {
    let named = text
        .strip_prefix("localhost:")
        .map(|port| format!("127.0.0.1:{port}"));
    let address = named.as_deref().unwrap_or(text);
    address.parse().map_err(|_| ListenError(text.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::DaemonConfig;
    use super::*;

    fn read(text: &str) -> Result<AdminConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("servo.toml");
        std::fs::write(&file, format!("[admin]\n{text}\n")).unwrap();
        DaemonConfig::load(&file)
            .map(|config| config.admin)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn addresses() {
        let at = |text: &str, explicit| Listen::At {
            address: text.parse().unwrap(),
            explicit,
        };
        for (text, listen) in [
            ("", at("127.0.0.1:9797", false)),
            ("metrics_per_servo = 3", at("127.0.0.1:9797", false)),
            ("listen = \"off\"", Listen::Off),
            ("listen = \"localhost:1\"", at("127.0.0.1:1", true)),
            ("listen = \"[::1]:9\"", at("[::1]:9", true)),
            (
                "listen = \"0.0.0.0:9797\"\ntoken_file = \"t\"",
                at("0.0.0.0:9797", true),
            ),
        ] {
            assert_eq!(read(text).unwrap().listen, listen, "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, told) in [
            ("listen = \"9797\"", "'9797'"),
            ("listen = \"example.com:80\"", "'example.com:80'"),
            ("listen = \"0.0.0.0:9797\"", "admin.token_file"),
            ("tls_certificate = \"a\"", "tls_key is missing"),
            ("tls_key = \"a\"", "tls_certificate is missing"),
            ("metrics_per_servo = -1", "metrics_per_servo"),
            ("listens = \"off\"", "listens"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
