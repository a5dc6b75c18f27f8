//! Why a request got no response, in words that stay the same from request to request.

use std::{io, time::Duration};

use crate::head::DecodeError;

/// A transport failure. The texts hold no ephemeral ports or addresses, so that equal causes count as one error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("timed out after {}", shown_duration(.0))]
    TimedOut(Duration),
    #[error("stopped after {0} redirects")]
    Redirects(u32),
    #[error("redirected to {0}, which is not an absolute http or https URL")]
    Location(String),
    #[error("DNS: {0}")]
    Dns(String),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("proxy: {0}")]
    Proxy(String),
    #[error("HTTP/2: {0}")]
    Http2(String),
    #[error("{0}")]
    Response(#[from] DecodeError),
    #[error("connection closed before the response was complete")]
    Closed,
    #[error("{0}")]
    Io(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(io_text(&error))
    }
}

/// The cause alone, without the `(os error n)` that the standard library appends.
pub(crate) fn io_text(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    let known = match error.kind() {
        Kind::ConnectionRefused => "connection refused",
        Kind::ConnectionReset => "connection reset by peer",
        Kind::ConnectionAborted => "connection aborted",
        Kind::BrokenPipe => "broken pipe",
        Kind::TimedOut => "connection timed out",
        Kind::AddrNotAvailable => "no local port left for another connection",
        Kind::HostUnreachable => "host unreachable",
        Kind::NetworkUnreachable => "network unreachable",
        Kind::UnexpectedEof => "connection closed",
        _ => {
            let text = error.to_string();
            let cause = text
                .split_once(" (os error")
                .map_or(text.as_str(), |(cause, _)| cause);
            let mut letters = cause.chars();
            return letters
                .next()
                .map(|first| first.to_lowercase().chain(letters).collect())
                .unwrap_or_default();
        }
    };
    known.to_owned()
}

/// `30s`, `250ms`: whole units where possible.
fn shown_duration(duration: &Duration) -> String {
    servo_messages::Duration::from(*duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_stable() {
        let refused = io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
        assert_eq!(Failure::from(refused).to_string(), "connection refused");
        let files = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        assert_eq!(Failure::from(files).to_string(), "too many open files");
        assert_eq!(
            Failure::TimedOut(Duration::from_secs(30)).to_string(),
            "timed out after 30s"
        );
        assert_eq!(
            Failure::Redirects(10).to_string(),
            "stopped after 10 redirects"
        );
    }
}
