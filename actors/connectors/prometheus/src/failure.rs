//! How a query fails.

use servo_messages::Duration;

use crate::access::AccessError;

/// How a query failed. No variant holds a secret: the URLs are without user info.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// No HTTP client could be made.
    #[error("no HTTP client for Prometheus could be made: {cause}")]
    Client {
        /// Why, and what was tried.
        cause: String,
    },
    /// The credentials could not be read.
    #[error("cannot authenticate to Prometheus: {cause}")]
    Access {
        /// Why.
        cause: String,
    },
    /// No connection, or it broke.
    #[error("cannot reach Prometheus at {url}: {cause}")]
    Unreachable {
        /// The endpoint.
        url: String,
        /// Why.
        cause: String,
    },
    /// No answer in time.
    #[error("no answer from {url} within {after}")]
    TimedOut {
        /// The endpoint.
        url: String,
        /// How long was waited.
        after: Duration,
    },
    /// Sent elsewhere, where no query may follow.
    #[error(
        "{url} redirects to {location} ({status}); redirects are not followed: correct base_url"
    )]
    Redirected {
        /// The endpoint.
        url: String,
        /// HTTP status.
        status: u16,
        /// The `Location` header.
        location: String,
    },
    /// Something else than Prometheus answered, a login page perhaps.
    #[error("expected JSON from {url} but got {content_type} ({status}){excerpt}")]
    NotJson {
        /// The endpoint.
        url: String,
        /// HTTP status.
        status: u16,
        /// Without parameters.
        content_type: String,
        /// Empty, or the beginning of the body after a colon.
        excerpt: String,
    },
    /// JSON, but not in Prometheus' form.
    #[error("cannot understand the answer of {url} ({status}): {problem}{excerpt}")]
    Malformed {
        /// The endpoint.
        url: String,
        /// HTTP status.
        status: u16,
        /// What is wrong.
        problem: String,
        /// Empty, or the beginning of the body after a colon.
        excerpt: String,
    },
    /// More than is read.
    #[error(
        "the answer of {url} is longer than {limit} bytes: make the query return fewer series or the step longer"
    )]
    TooLong {
        /// The endpoint.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// Prometheus itself refused.
    #[error("Prometheus query request failed with error '{kind}': {text}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Prometheus' `errorType`.
        kind: String,
        /// Prometheus' `error`.
        text: String,
    },
    /// Tried again until the time for that was over.
    #[error("{last} (given up after {tries} tries in {elapsed})")]
    GivenUp {
        /// How the last try failed.
        last: Box<QueryError>,
        /// How many.
        tries: u32,
        /// Since the first try began.
        elapsed: Duration,
    },
}

impl QueryError {
    /// Whether the same query may work a little later (`spec/metrics-and-load.md` §1.7).
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } => true,
            Self::NotJson { status, .. }
            | Self::Malformed { status, .. }
            | Self::Refused { status, .. } => *status == 429 || (500..600).contains(status),
            Self::Client { .. }
            | Self::Access { .. }
            | Self::Redirected { .. }
            | Self::TooLong { .. }
            | Self::GivenUp { .. } => false,
        }
    }
}

impl QueryError {
    /// Whether the server was not to be reached for as long as it was tried: then the next query will not reach it either.
    pub(crate) fn is_out_of_reach(&self) -> bool {
        matches!(self, Self::GivenUp { last, .. } if matches!(**last, Self::Unreachable { .. }))
    }
}

impl From<AccessError> for QueryError {
    fn from(error: AccessError) -> Self {
        Self::Access {
            cause: error.to_string(),
        }
    }
}
