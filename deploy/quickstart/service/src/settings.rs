//! The settings, their ranges and where they come from: arguments, else environment variables, else
//! the defaults.

use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Serves sales reports over HTTP, computed on demand from a generated ledger.
///
/// Every option can also be given by the environment variable named beside it; the argument wins.
/// Exit codes: 0 after SIGTERM or SIGINT, 1 when it cannot start or serve, 2 for a bad setting.
#[derive(Clone, Debug, Parser)]
#[command(name = "quickstart-service", version)]
pub struct Settings {
    /// TCP port on 127.0.0.1; 0 takes a free one, which the log names
    #[arg(long, env, value_name = "PORT", default_value_t = 18080)]
    pub port: u16,

    /// Threads that make reports; each holds an unpacked ledger of its own (2 MiB)
    #[arg(long, env, value_name = "WORKERS", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,

    /// Longest time in milliseconds a worker waits for more reports to share one ledger pass
    #[arg(long, env, value_name = "LINGER_MS", default_value_t = 0,
          value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub linger_ms: u16,

    /// Gzip level of the reports; 0 sends them plain
    #[arg(long, env, value_name = "COMPRESSION", default_value_t = 9,
          value_parser = clap::value_parser!(u8).range(0..=9))]
    pub compression: u8,

    /// Memory for finished reports in MiB; 0 keeps none
    #[arg(long, env, value_name = "CACHE_MIB", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub cache_mib: u16,

    /// Which reports a full cache takes in
    #[arg(long, env, value_name = "CACHE_ADMISSION", value_enum, default_value_t = Admission::Always)]
    pub cache_admission: Admission,

    /// Reports that may wait for a worker; more are answered with 503
    #[arg(long, env, value_name = "QUEUE", default_value_t = 256,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub queue: u16,

    /// Items in the shop
    #[arg(long, env, value_name = "ITEMS", default_value_t = 2048,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub items: u16,
}

/// Which reports a full cache takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Admission {
    /// Every report; the one used longest ago leaves.
    Always,
    /// Only a report asked for a second time within a while, so that the rarely asked ones do not
    /// push out the popular ones.
    Second,
}

impl Settings {
    /// The longest wait for company before a ledger pass.
    pub fn linger(&self) -> Duration {
        Duration::from_millis(u64::from(self.linger_ms))
    }

    /// The room for finished reports, in bytes.
    pub fn cache_bytes(&self) -> usize {
        usize::from(self.cache_mib) << 20
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_argument_replaces_a_default() {
        use clap::CommandFactory;
        Settings::command().debug_assert();
        let settings =
            Settings::try_parse_from(["quickstart-service", "--cache-mib", "3", "--linger-ms=20"])
                .unwrap();
        assert_eq!(settings.cache_bytes(), 3 * 1024 * 1024);
        assert_eq!(settings.linger(), Duration::from_millis(20));
    }
}
