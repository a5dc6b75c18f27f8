//! The trait through which a servo reaches its optimizer, and everything that can go wrong on the way.

use std::{fmt, time::Duration};

pub use futures_util::future::BoxFuture;

use crate::{Diagnostics, Request, Response};

/// The way to one optimizer: over HTTP ([`crate::HttpOptimizer`]) or in-process.
///
/// One call is one attempt. Retrying is the caller's, by [`crate::post_with_retry`].
pub trait OptimizerClient: Send + Sync {
    /// Posts `request` and returns the optimizer's answer.
    ///
    /// Ends within `deadline`, connecting and reading the body included; past it the error is
    /// [`TransportKind::Timeout`]. Dropping the future abandons the attempt.
    ///
    /// # Errors
    ///
    /// [`PostError`] says what happened and whether another attempt may help.
    fn post<'a>(
        &'a self,
        request: &'a Request,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Response, PostError>>;

    /// Where requests go, for logs and errors. Never holds a credential.
    fn display_url(&self) -> String;

    /// The way for diagnostics; none where an optimizer never asks for any, as in-process.
    fn diagnostics(&self) -> Option<&dyn Diagnostics> {
        None
    }
}

/// Which part of the way failed, when no HTTP status arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    /// No connection: name not found, refused, unreachable.
    Connect,
    /// A connection, but no trusted certificate or no common TLS version.
    Tls,
    /// Nothing, or not enough, arrived in time.
    Timeout,
    /// The connection broke, or what arrived is not HTTP.
    Broken,
}

impl fmt::Display for TransportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "could not connect",
            Self::Tls => "no trusted TLS connection",
            Self::Timeout => "no answer in time",
            Self::Broken => "connection broken",
        })
    }
}

/// Why one attempt to reach the optimizer brought no usable answer. No message holds a credential.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PostError {
    /// No HTTP status arrived. Always worth another attempt.
    #[error("POST {url}: {kind} ({detail})")]
    Transport {
        /// The events URL.
        url: String,
        /// Which part of the way failed.
        kind: TransportKind,
        /// The cause, as the transport tells it.
        detail: String,
    },
    /// A status outside 2xx.
    #[error("POST {url}: HTTP status {status}{}{}", http_advice(*.status), quoted(excerpt))]
    Http {
        /// The events URL.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The beginning of the body, printable.
        excerpt: String,
        /// How long the server asked to be left alone (429 and 503 only), at most 5 minutes.
        retry_after: Option<Duration>,
        /// The `detail` of a JSON error body.
        detail: Option<String>,
    },
    /// Status 410 with the detail `unexpected servo_uid`: another deployment of this servo took its place
    /// (`spec/optimizer-protocol.md` §13).
    #[error(
        "POST {url}: the optimizer no longer expects this servo (410 {:?}); another deployment has replaced it",
        Self::UNEXPECTED_SERVO_UID
    )]
    ServoReplaced {
        /// The events URL.
        url: String,
    },
    /// A 2xx status whose body is neither a command nor a status. The request itself was delivered.
    #[error(
        "POST {url}: HTTP status {status}, but the body is no optimizer answer: {problem}{}; is this URL an optimizer?",
        quoted(excerpt)
    )]
    Undecodable {
        /// The events URL.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The first 200 bytes of the body, printable.
        excerpt: String,
        /// What is wrong with the body.
        problem: String,
    },
    /// A 2xx status whose body is larger than any command can be. The request itself was delivered.
    #[error("POST {url}: the answer exceeds {limit} bytes; is this URL an optimizer?")]
    TooLarge {
        /// The events URL.
        url: String,
        /// The limit in bytes, after decompression.
        limit: usize,
    },
    /// A request that is no event failed: the one for an OAuth token, without which no event can be posted, or one
    /// for diagnostics.
    #[error("{request}: {problem}")]
    Auxiliary {
        /// Method and URL.
        request: String,
        /// The HTTP status, if one arrived. With one of 2xx the answer was of no use.
        status: Option<u16>,
        /// What is wrong, and what to do.
        problem: String,
        /// How long the server asked to be left alone (429 and 503 only), at most 5 minutes.
        retry_after: Option<Duration>,
    },
    /// Nobody knows where to post, or with which credential: a fault of the configuration. Nothing was sent.
    #[error("{0}")]
    Unconfigured(String),
}

impl PostError {
    /// The `detail` with which an optimizer answers 410 to a servo it has replaced.
    pub const UNEXPECTED_SERVO_UID: &str = "unexpected servo_uid";

    /// Whether the same request may succeed later without a change of configuration.
    ///
    /// Transport errors, 404 (the optimizer may not know this workload yet), 408, 425, 429 and 5xx may;
    /// unusable 2xx bodies count as a 5xx (`spec/optimizer-protocol.md` §11, §12).
    pub fn retryable(&self) -> bool {
        let heals =
            |status: u16| matches!(status, 404 | 408 | 425 | 429) || (500..600).contains(&status);
        match self {
            Self::Transport { .. } | Self::Undecodable { .. } | Self::TooLarge { .. } => true,
            Self::Http { status, .. } => heals(*status),
            Self::Auxiliary { status, .. } => {
                status.is_none_or(|status| heals(status) || (200..300).contains(&status))
            }
            Self::ServoReplaced { .. } | Self::Unconfigured(_) => false,
        }
    }

    /// Whether the optimizer took the request, although its answer is unusable. A report that was
    /// delivered is not sent again (`spec/optimizer-protocol.md` §10).
    pub fn delivered(&self) -> bool {
        matches!(self, Self::Undecodable { .. } | Self::TooLarge { .. })
    }

    /// Whether a server that works may have done this: it closes idle connections when it likes, and one that it
    /// closes while a request is on its way looks like this.
    pub(crate) fn may_be_of_an_old_connection(&self) -> bool {
        matches!(
            self,
            Self::Transport {
                kind: TransportKind::Broken,
                ..
            }
        )
    }

    /// How long the optimizer asked to be left alone, at most 5 minutes.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Http { retry_after, .. } | Self::Auxiliary { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The HTTP status, if one arrived.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Http { status, .. } | Self::Undecodable { status, .. } => Some(*status),
            Self::Auxiliary { status, .. } => *status,
            Self::ServoReplaced { .. } => Some(410),
            Self::Transport { .. } | Self::TooLarge { .. } | Self::Unconfigured(_) => None,
        }
    }

    /// Whether `other` tells of the same condition, so that a repeat need not be logged as news.
    pub(crate) fn same_condition(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Transport { kind: a, .. }, Self::Transport { kind: b, .. }) => a == b,
            (Self::Http { status: a, .. }, Self::Http { status: b, .. }) => a == b,
            (Self::Auxiliary { status: a, .. }, Self::Auxiliary { status: b, .. }) => a == b,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }
}

fn http_advice(status: u16) -> &'static str {
    match status {
        300..=399 => " (redirects are not followed: give the final URL)",
        401 | 403 => " (check the optimizer's token)",
        404 => " (the optimizer does not know this id yet, or the URL is wrong)",
        407 => " (a proxy wants a user name and password: see settings -> proxies, or HTTP_PROXY)",
        413 => " (a server on the way takes no requests as large as this: raise its limit)",
        _ => "",
    }
}

fn quoted(excerpt: &str) -> String {
    if excerpt.is_empty() {
        String::new()
    } else {
        format!(": {excerpt:?}")
    }
}
