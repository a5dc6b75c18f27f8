//! What a run is to do.

use std::{
    num::{NonZeroU32, NonZeroU64},
    path::PathBuf,
    time::Duration,
};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{rate::Rate, target::Target};

/// What each periodic report covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReportMode {
    /// Everything since the end of warm-up.
    #[default]
    Cumulative,
    /// Only what ended since the report before.
    Interval,
}

/// A whole run: what to send, how fast, for how long, over which connections.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Sent in turn, the first one first; at least one.
    pub targets: Vec<Target>,
    /// How many requests in which time.
    pub rate: Rate,
    /// Load before the measured window; counted in no figure.
    pub warmup: Duration,
    /// The measured window.
    pub duration: Duration,
    /// How often figures are reported within the window; zero is only at the end. No more often than every 10 ms.
    pub reporting_interval: Duration,
    /// What each report covers.
    pub report_mode: ReportMode,
    /// Concurrent clients at an unlimited rate, unless `max_workers` says more precisely.
    pub workers: NonZeroU32,
    /// The most requests under way at once. `None` is as many as the process may open files, less a quarter for its other needs.
    pub max_workers: Option<NonZeroU64>,
    /// Idle connections kept for each origin.
    pub connections: usize,
    /// The most connections open for each origin (HTTP/1.1).
    pub max_connections: Option<NonZeroU32>,
    /// The time limit of a request with its redirects, from its actual start; `None` is no limit.
    pub timeout: Option<Duration>,
    /// How many redirects are followed; `None` follows none and counts the redirect as a success.
    pub redirects: Option<u32>,
    /// Whether connections are used again.
    pub keepalive: bool,
    /// Whether HTTP/2 is used where a TLS server offers it.
    pub http2: bool,
    /// Whether any certificate is accepted.
    pub insecure: bool,
    /// PEM files with further trusted roots.
    pub root_certs: Vec<PathBuf>,
    /// Added to every target that does not have a header of that name.
    pub headers: Vec<(String, String)>,
    /// Counted bytes of each response body; `None` is all.
    pub max_body: Option<u64>,
    /// How long resolved addresses are used; `None` is for the whole run.
    pub dns_ttl: Option<Duration>,
}

impl Plan {
    /// A run with the defaults of the configuration (spec/metrics-and-load.md §3.1) and no warm-up.
    #[must_use]
    pub fn new(targets: Vec<Target>, rate: Rate, duration: Duration) -> Self {
        Self {
            targets,
            rate,
            warmup: Duration::ZERO,
            duration,
            reporting_interval: Duration::from_secs(15),
            report_mode: ReportMode::Cumulative,
            workers: NonZeroU32::MIN.saturating_add(9),
            max_workers: None,
            connections: 10_000,
            max_connections: None,
            timeout: Some(Duration::from_secs(30)),
            redirects: Some(10),
            keepalive: true,
            http2: true,
            insecure: false,
            root_certs: Vec::new(),
            headers: Vec::new(),
            max_body: None,
            dns_ttl: None,
        }
    }
}
