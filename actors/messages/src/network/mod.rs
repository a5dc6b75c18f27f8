//! Settings of the network that an optimizer's client and connectors share, and of a servo's work for its optimizer: the
//! `settings` stanza.
//!
//! Contract: `spec/config-and-cli.md` §2.4, `spec/optimizer-protocol.md` §22.

mod backoff;
mod proxies;
mod timeouts;
mod verification;

pub use backoff::{BackoffConfig, BackoffLimits};
pub use proxies::{Proxies, ProxyError, ProxyPattern, ProxyUrl};
pub use timeouts::Timeouts;
pub use verification::SslVerify;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::duration::Duration;

/// How requests reach optimizers and other services (retries, proxies, time limits and certificates), and how commands
/// are carried out.
///
/// ```yaml
/// settings:
///   timeouts: 30s
///   proxies: {"all://": "http://proxy:3128", "all://*.svc": null}
///   ssl_verify: /etc/ssl/corp.pem
///   backoff: {"__default__": {max_time: 5m, max_tries: 20}}
///   progress_interval: 10s
///   command_timeout: 1h
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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
    /// The longest silence towards the optimizer while a command is carried out. An optimizer that wants it cancelled
    /// says so in its answer: the shorter, the sooner that is heard.
    #[serde(deserialize_with = "progress_interval")]
    #[schemars(with = "Option<Duration>", extend("default" = "1m"))]
    pub progress_interval: Duration,
    /// How long connectors may clean up after a command was cancelled. One that takes longer is replaced.
    #[serde(deserialize_with = "cancel_grace")]
    #[schemars(with = "Option<Duration>", extend("default" = "30s"))]
    pub cancel_grace: Duration,
    /// How long a command may take: a measurement beyond its warm-up, duration and delay, an adjustment beyond its
    /// settlement. Without it a description has a minute, a measurement 5 minutes, an adjustment half an hour.
    pub command_timeout: Option<Duration>,
    /// How long the end of a servo may take, from the signal to the answer to GOODBYE. Keep it below the time that a
    /// container is given to end.
    #[serde(deserialize_with = "shutdown_grace")]
    #[schemars(with = "Option<Duration>", extend("default" = "25s"))]
    pub shutdown_grace: Duration,
}

const PROGRESS_INTERVAL: Duration = Duration::from_secs(60);
const CANCEL_GRACE: Duration = Duration::from_secs(30);
const SHUTDOWN_GRACE: Duration = Duration::from_secs(25);

impl Default for CommonConfig {
    fn default() -> Self {
        Self {
            backoff: BackoffConfig::default(),
            proxies: None,
            timeouts: Timeouts::default(),
            ssl_verify: SslVerify::default(),
            progress_interval: PROGRESS_INTERVAL,
            cancel_grace: CANCEL_GRACE,
            command_timeout: None,
            shutdown_grace: SHUTDOWN_GRACE,
        }
    }
}

/// Null is as good as nothing, as with the keys beside it.
fn progress_interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(PROGRESS_INTERVAL))
}

fn cancel_grace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(CANCEL_GRACE))
}

fn shutdown_grace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(SHUTDOWN_GRACE))
}

impl CommonConfig {
    /// The shortest `progress_interval`: each report is a request.
    const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
    /// The shortest of the other times.
    const SHORTEST: Duration = Duration::from_millis(1);

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
        let own = [
            (
                "progress_interval",
                Some(self.progress_interval),
                Self::SHORTEST_INTERVAL,
            ),
            ("cancel_grace", Some(self.cancel_grace), Self::SHORTEST),
            ("command_timeout", self.command_timeout, Self::SHORTEST),
            ("shutdown_grace", Some(self.shutdown_grace), Self::SHORTEST),
        ];
        let times = own.into_iter().filter_map(|(key, time, shortest)| {
            let time = time?;
            let problem = format!("{time} is too short: give {shortest} or more");
            (time < shortest).then(|| (key.to_owned(), problem))
        });
        timeouts.chain(verification).chain(times).collect()
    }
}
