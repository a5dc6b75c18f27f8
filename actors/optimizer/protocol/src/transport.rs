//! How HTTP connections to optimizers are made (`spec/optimizer-protocol.md` §3).

use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Proxy, redirect};
use url::Url;

/// What one shared HTTP client is made from. One client serves every servo with the same values.
#[derive(Debug, Clone)]
pub struct Transport {
    /// Time to resolve, connect and agree on TLS. Default 10 s.
    pub connect_timeout: Duration,
    /// Longest silence while an answer is awaited or read. Default 60 s.
    pub read_timeout: Duration,
    /// Which certificates are trusted. Default [`Trust::System`].
    pub trust: Trust,
    /// Through which proxy. Default [`ProxyChoice::Environment`].
    pub proxy: ProxyChoice,
}

/// Which server certificates are trusted.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// Those that the machine trusts.
    #[default]
    System,
    /// Only those signed by these authorities: PEM text with one or more certificates.
    Authorities(Vec<u8>),
    /// Any. Somebody in between can read the token.
    Anything,
}

/// Through which proxy requests go.
#[derive(Debug, Clone, Default)]
pub enum ProxyChoice {
    /// What `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    #[default]
    Environment,
    /// None, whatever the environment says.
    Direct,
    /// This one for everything.
    Through(Url),
}

/// Why no HTTP client could be made.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The given authorities cannot be read.
    #[error("the CA certificates given for the optimizer cannot be read: {0}; expected PEM text")]
    Authorities(String),
    /// The given proxy cannot be used.
    #[error("the proxy given for the optimizer cannot be used: {0}")]
    Proxy(String),
    /// The client could not be put together.
    #[error("no HTTP client could be made: {0}")]
    Build(String),
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
            trust: Trust::default(),
            proxy: ProxyChoice::default(),
        }
    }
}

impl Transport {
    /// Idle connections are dropped after this.
    const IDLE: Duration = Duration::from_secs(5);
    /// Idle connections kept for one server.
    const POOL: usize = 100;

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
            Trust::System => match self.builder()?.build() {
                Ok(client) => Ok(client),
                Err(error) => {
                    let client = self.builder()?.tls_certs_only([]).build();
                    let client = client.map_err(|_| TransportError::Build(causes(&error)))?;
                    tracing::warn!(
                        error = %causes(&error),
                        "this machine has no CA certificates; optimizers can be reached by plain http only"
                    );
                    Ok(client)
                }
            },
            Trust::Authorities(pem) => {
                let authorities = Certificate::from_pem_bundle(pem)
                    .map_err(|error| TransportError::Authorities(causes(&error)))?;
                if authorities.is_empty() {
                    return Err(TransportError::Authorities("no certificate in it".into()));
                }
                self.finish(self.builder()?.tls_certs_only(authorities))
            }
            Trust::Anything => {
                tracing::warn!(
                    "TLS certificates of the optimizer are not verified (ssl_verify: false); \
                     anybody in between can read the token"
                );
                self.finish(self.builder()?.tls_danger_accept_invalid_certs(true))
            }
        }
    }

    fn builder(&self) -> Result<ClientBuilder, TransportError> {
        let builder = Client::builder()
            .http1_only()
            .redirect(redirect::Policy::none())
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.read_timeout)
            .pool_idle_timeout(Self::IDLE)
            .pool_max_idle_per_host(Self::POOL)
            .gzip(true)
            .deflate(true)
            .referer(false);
        Ok(match &self.proxy {
            ProxyChoice::Environment => builder,
            ProxyChoice::Direct => builder.no_proxy(),
            ProxyChoice::Through(url) => builder.proxy(
                Proxy::all(url.clone())
                    .map_err(|error| TransportError::Proxy(causes(&error.without_url())))?,
            ),
        })
    }

    fn finish(&self, builder: ClientBuilder) -> Result<Client, TransportError> {
        builder
            .build()
            .map_err(|error| TransportError::Build(causes(&error)))
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
