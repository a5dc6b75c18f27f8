//! Settings of the network that an optimizer's client and connectors share: the `settings` stanza.
//!
//! Contract: `spec/config-and-cli.md` §2.4.

mod backoff;
mod proxies;
mod timeouts;
mod verification;

pub use backoff::{BackoffConfig, BackoffLimits};
pub use proxies::{Proxies, ProxyError, ProxyPattern, ProxyUrl};
pub use timeouts::Timeouts;
pub use verification::SslVerify;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How requests reach optimizers and other services: retries, proxies, time limits and certificates.
///
/// ```yaml
/// settings:
///   timeouts: 30s
///   proxies: {"all://": "http://proxy:3128", "all://*.svc": null}
///   ssl_verify: /etc/ssl/corp.pem
///   backoff: {"__default__": {max_time: 5m, max_tries: 20}}
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CommonConfig {
    /// How long and how often a failing request is tried again, by context. `connect` holds for the first contact
    /// with the optimizer, `__default__` for everything else.
    pub backoff: BackoffConfig,
    /// HTTP proxies: one URL for everything, or a mapping of patterns such as `all://`, `http://`,
    /// `https://*.example.com` or `all://*:1234` to a URL, or to null for a direct connection; the most specific
    /// pattern decides. Without it, HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY decide.
    pub proxies: Option<Proxies>,
    /// Time limits of a request: one duration for all four, or each by its key.
    pub timeouts: Timeouts,
    /// Which server certificates are trusted: true (the default) those that this machine trusts, a path only those
    /// signed by the authorities in this PEM file, false any, which lets anybody in between read the token.
    pub ssl_verify: SslVerify,
}

impl CommonConfig {
    /// What is wrong although every value has the right form: path of the key within the stanza, and what to do.
    /// Asks the file system whether the file of `ssl_verify` exists, and so blocks for a moment.
    pub fn problems(&self) -> Vec<(String, String)> {
        let timeouts = self
            .timeouts
            .problems()
            .map(|(key, problem)| (format!("timeouts.{key}"), problem));
        let verification = self
            .ssl_verify
            .problem()
            .map(|problem| ("ssl_verify".to_owned(), problem));
        timeouts.chain(verification).collect()
    }
}
