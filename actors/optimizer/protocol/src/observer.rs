//! Who is told of requests, to count and time them.

use std::time::Duration;

use crate::{EventName, TransportKind};

/// Told of every request to an optimizer as it ends. Called on the thread that made the request: it must not block.
///
/// A request that is repeated with a new credential counts twice; one that is abandoned by its sender, and those for
/// tokens and diagnostics, do not count.
pub trait RequestObserver: Send + Sync {
    /// One request to `host` (`host:port`) with `event` has ended after `took`, which is the time on the wire: what
    /// was waited for a place among the requests to that host is left out, unless there was none in time.
    fn request(&self, host: &str, event: EventName, outcome: RequestOutcome, took: Duration);
}

/// How one request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestOutcome {
    /// With this HTTP status, whether or not the body was of use.
    Status(u16),
    /// Without one.
    Error(TransportKind),
}
