//! How HTTP connections to optimizers are made (`spec/optimizer-protocol.md` §3).

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Certificate, Client, ClientBuilder, NoProxy, Proxy, redirect};
use servo_messages::{CommonConfig, Proxies, SslVerify};
use url::Url;

use crate::{Channel, HostLimits};

/// What one shared HTTP client is made from. One client serves every servo with an equal transport, so this is also
/// the key to find it by.
///
/// What becomes of `settings.timeouts` (`spec/config-and-cli.md` §2.4):
///
/// | key | effect |
/// |---|---|
/// | `connect` | [`Transport::connect_timeout`] |
/// | `read` | [`Transport::read_timeout`] |
/// | `write` | part of the longest attempt, [`crate::Budget::attempt`]: requests are small and no part of the client counts the time of sending alone |
/// | `pool` | [`Transport::pool_timeout`] |
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Transport {
    /// Time to resolve, connect (through the proxy, if there is one) and agree on TLS. Default 10 s.
    pub connect_timeout: Duration,
    /// Longest time from the beginning of a request to that of its answer, and then from one piece of the answer to
    /// the next. Default 60 s.
    pub read_timeout: Duration,
    /// Longest wait for a place among the requests that may be on the way to one server ([`crate::HostLimits`]).
    /// Default 30 s.
    pub pool_timeout: Duration,
    /// Which certificates are trusted. Default [`Trust::System`].
    pub trust: Trust,
    /// Through which proxy. Default [`ProxyChoice::Environment`].
    pub proxy: ProxyChoice,
}

/// Which server certificates are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Those that the machine trusts.
    #[default]
    System,
    /// Only those signed by these authorities: PEM text with one or more certificates.
    Authorities(Vec<u8>),
    /// Only those signed by the authorities in this PEM file, read when the client is made.
    AuthoritiesFile(PathBuf),
    /// Any. Somebody in between can read the token.
    Anything,
}

/// Through which proxy requests go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum ProxyChoice {
    /// What `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say. Inside Kubernetes, where
    /// `KUBERNETES_SERVICE_HOST` names the cluster's own API, that host is reached directly.
    #[default]
    Environment,
    /// None, whatever the environment says.
    Direct,
    /// As configured, whatever the environment says.
    Configured(Proxies),
}

/// Why no HTTP client could be made.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The given authorities cannot be read.
    #[error("the CA certificates given for the optimizer cannot be read: {0}")]
    Authorities(String),
    /// The file with the authorities cannot be read.
    #[error("cannot read the CA certificates in {path} (ssl_verify): {error}", path = path.display())]
    AuthoritiesFile {
        /// The file.
        path: PathBuf,
        /// The operating system's error, or what is wrong with the content.
        error: io::Error,
    },
    /// The client could not be put together.
    #[error("no HTTP client could be made: {0}")]
    Build(String),
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            pool_timeout: Channel::PATIENCE,
            trust: Trust::default(),
            proxy: ProxyChoice::default(),
        }
    }
}

impl From<&CommonConfig> for Transport {
    fn from(settings: &CommonConfig) -> Self {
        Self {
            connect_timeout: settings.timeouts.connect.into(),
            read_timeout: settings.timeouts.read.into(),
            pool_timeout: settings.timeouts.pool.into(),
            trust: match &settings.ssl_verify {
                SslVerify::System => Trust::System,
                SslVerify::Off => Trust::Anything,
                SslVerify::Authorities(path) => Trust::AuthoritiesFile(path.clone()),
            },
            proxy: match &settings.proxies {
                None => ProxyChoice::Environment,
                Some(proxies) => ProxyChoice::Configured(proxies.clone()),
            },
        }
    }
}

impl Transport {
    /// Idle connections are dropped after this at the latest.
    const IDLE: Duration = Duration::from_secs(5);
    /// Idle connections kept for one server.
    const POOL: usize = 100;

    /// A channel over this transport, behind the gates of `limits`; see [`Channel::new`] for `agent`. Blocks as
    /// [`Transport::client`] does.
    ///
    /// # Errors
    ///
    /// [`Transport::client`]'s.
    pub fn channel(&self, agent: &str, limits: HostLimits) -> Result<Channel, TransportError> {
        Ok(Channel::new(self.client()?, agent).limited(limits, self.pool_timeout))
    }

    /// Makes the client. Reads the machine's certificates and so blocks for some milliseconds.
    ///
    /// A machine without any CA certificate still gets a client: plain http works, https fails with an
    /// untrusted certificate when it is tried.
    ///
    /// # Errors
    ///
    /// Certificates or proxy that cannot be used.
    pub fn client(&self) -> Result<Client, TransportError> {
        // reqwest brings no cryptography of its own here and panics without a default. Somebody else may
        // have installed one already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        match &self.trust {
            Trust::System => match self.builder().build() {
                Ok(client) => Ok(client),
                Err(error) => {
                    let client = self.builder().tls_certs_only([]).build();
                    let client = client.map_err(|_| TransportError::Build(causes(&error)))?;
                    tracing::warn!(
                        error = %causes(&error),
                        "this machine has no CA certificates; optimizers can be reached by plain http only"
                    );
                    Ok(client)
                }
            },
            Trust::Authorities(pem) => {
                let authorities = certificates(pem).map_err(TransportError::Authorities)?;
                self.finish(self.builder().tls_certs_only(authorities))
            }
            Trust::AuthoritiesFile(path) => {
                let authorities =
                    read_authorities(path).map_err(|error| TransportError::AuthoritiesFile {
                        path: path.clone(),
                        error,
                    })?;
                self.finish(self.builder().tls_certs_only(authorities))
            }
            Trust::Anything => {
                tracing::warn!(
                    "TLS certificates of the optimizer are not verified (ssl_verify: false); \
                     anybody in between can read the token"
                );
                self.finish(self.builder().tls_danger_accept_invalid_certs(true))
            }
        }
    }

    fn builder(&self) -> ClientBuilder {
        let builder = Client::builder()
            .http1_only()
            .redirect(redirect::Policy::none())
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.read_timeout)
            // The pool looks as often as this, and so finds some only when they have been idle for twice as long.
            .pool_idle_timeout(Self::IDLE / 2)
            .pool_max_idle_per_host(Self::POOL)
            .tcp_nodelay(true)
            .gzip(true)
            .deflate(true)
            .referer(false);
        match &self.proxy {
            ProxyChoice::Environment => Self::by_environment(builder),
            ProxyChoice::Direct => builder.no_proxy(),
            ProxyChoice::Configured(proxies) => {
                let proxies = proxies.clone();
                builder.proxy(Proxy::custom(move |url: &Url| {
                    proxies.choose(url).map(|proxy| proxy.expose().to_owned())
                }))
            }
        }
    }

    /// The client reads the environment by itself, but cannot be told of hosts beside those of `NO_PROXY`.
    fn by_environment(builder: ClientBuilder) -> ClientBuilder {
        let variable = |upper: &str, lower: &str| env::var(upper).or_else(|_| env::var(lower)).ok();
        let Ok(cluster) = env::var("KUBERNETES_SERVICE_HOST") else {
            return builder;
        };
        let mut direct = variable("NO_PROXY", "no_proxy").unwrap_or_default();
        for part in [",", cluster.trim_matches(['[', ']'])] {
            direct.push_str(part);
        }
        let direct = NoProxy::from_string(&direct);
        // Whoever calls a CGI program can set HTTP_PROXY by a header.
        let http = variable("HTTP_PROXY", "http_proxy")
            .filter(|_| env::var_os("REQUEST_METHOD").is_none());
        let https = variable("HTTPS_PROXY", "https_proxy");
        let all = variable("ALL_PROXY", "all_proxy");
        let proxies = [
            http.map(Proxy::http),
            https.map(Proxy::https),
            all.map(Proxy::all),
        ];
        // Empty or unusable ones count as none, as without Kubernetes.
        let usable = proxies.into_iter().flatten().flatten();
        usable.fold(builder, |builder, proxy| {
            builder.proxy(proxy.no_proxy(direct.clone()))
        })
    }

    fn finish(&self, builder: ClientBuilder) -> Result<Client, TransportError> {
        builder
            .build()
            .map_err(|error| TransportError::Build(causes(&error)))
    }
}

/// Far more than the bundle of a whole operating system.
const MAX_AUTHORITIES_BYTES: u64 = 16 * 1024 * 1024;

fn read_authorities(path: &Path) -> io::Result<Vec<Certificate>> {
    use io::Read as _;
    let mut pem = Vec::new();
    let file = fs::File::open(path)?;
    file.take(MAX_AUTHORITIES_BYTES + 1).read_to_end(&mut pem)?;
    if pem.len() as u64 > MAX_AUTHORITIES_BYTES {
        return Err(io::Error::other("too large for certificates"));
    }
    certificates(&pem).map_err(io::Error::other)
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, String> {
    match Certificate::from_pem_bundle(pem) {
        Ok(authorities) if authorities.is_empty() => {
            Err("no certificate in it; expected PEM text".to_owned())
        }
        Ok(authorities) => Ok(authorities),
        Err(error) => Err(format!("{}; expected PEM text", causes(&error))),
    }
}

/// An error and its causes in one line, outermost first.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
