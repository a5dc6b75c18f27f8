//! How many requests may be on the way to one server at once (`spec/optimizer-protocol.md` §17).

use std::{
    collections::HashMap,
    fmt,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

/// The gates before the servers that requests go to, shared by all optimizers of the process: no more than so many
/// requests are on the way to one `host:port` at once, and those that wait go in the order in which they came.
///
/// Each server has a gate of its own, so that one that is dead holds nobody up but its own clients. Clones are the
/// same gates.
#[derive(Clone)]
pub struct HostLimits {
    gates: Arc<Gates>,
}

struct Gates {
    most: NonZeroUsize,
    known: Mutex<HashMap<Box<str>, Weak<Host>>>,
}

/// The gate before one server.
pub(crate) struct Host {
    name: Box<str>,
    most: NonZeroUsize,
    gate: Semaphore,
}

/// Nobody came out of the gate in time.
#[derive(Debug, thiserror::Error)]
#[error(
    "waited {:.1}s for one of the {most} requests to {host} that may be on the way at once",
    patience.as_secs_f64()
)]
pub(crate) struct Crowded {
    host: Box<str>,
    most: NonZeroUsize,
    patience: Duration,
}

// === impl HostLimits ===

impl HostLimits {
    /// How many requests, where nothing is configured.
    pub const DEFAULT: NonZeroUsize = NonZeroUsize::new(100).expect("not zero");

    /// Gates that let `most` requests through at once, each.
    pub fn new(most: NonZeroUsize) -> Self {
        Self {
            gates: Arc::new(Gates {
                most,
                known: Mutex::default(),
            }),
        }
    }

    /// How many requests to one `host:port` may be on the way at once.
    pub fn most(&self) -> NonZeroUsize {
        self.gates.most
    }

    /// The gate before the server of `url`. It is forgotten with its last user.
    pub(crate) fn host(&self, url: &Url) -> Arc<Host> {
        let name = format!(
            "{}:{}",
            url.host_str().unwrap_or_default(),
            url.port_or_known_default().unwrap_or_default()
        )
        .into_boxed_str();
        let mut known = self
            .gates
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = known.get(&name).and_then(Weak::upgrade) {
            return host;
        }
        // Now and then, so that many servers cost little and servers that come and go leave nothing behind.
        if known.len().is_power_of_two() {
            known.retain(|_, host| host.strong_count() > 0);
        }
        let host = Arc::new(Host {
            name: name.clone(),
            most: self.gates.most,
            gate: Semaphore::new(self.gates.most.get()),
        });
        known.insert(name, Arc::downgrade(&host));
        host
    }
}

impl Default for HostLimits {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

impl fmt::Debug for HostLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostLimits")
            .field("most", &self.gates.most)
            .finish_non_exhaustive()
    }
}

// === impl Host ===

impl Host {
    /// `host:port`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits until one more request may go, first come first served. Dropping the permit lets the next one go.
    pub(crate) async fn enter(&self, patience: Duration) -> Result<SemaphorePermit<'_>, Crowded> {
        if let Ok(permit) = self.gate.try_acquire() {
            return Ok(permit);
        }
        match tokio::time::timeout(patience, self.gate.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(Crowded {
                host: self.name.clone(),
                most: self.most,
                patience,
            }),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::sync::Mutex as StdMutex;

    use futures_util::future::join_all;

    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn the_same_host_and_port_share_a_gate_and_nothing_is_kept_of_those_gone() {
        let limits = HostLimits::default();
        let one = limits.host(&url("http://a/x"));
        assert_eq!(one.name(), "a:80");
        assert!(Arc::ptr_eq(
            &one,
            &limits.clone().host(&url("http://a:80/y"))
        ));
        for other in ["http://a:81/", "https://a/", "http://b/", "http://[::1]/"] {
            assert!(!Arc::ptr_eq(&one, &limits.host(&url(other))), "{other}");
        }
        for port in 1..2000 {
            limits.host(&url(&format!("http://c:{port}/")));
        }
        assert!(limits.gates.known.lock().unwrap().len() <= 4);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_wait_in_order_and_no_longer_than_they_want_to() {
        let limits = HostLimits::new(NonZeroUsize::new(2).unwrap());
        let host = limits.host(&url("http://a/"));
        let order = StdMutex::new(Vec::new());
        let second = Duration::from_secs(1);
        join_all((0..6).map(async |i| {
            let _permit = host.enter(second * 10).await.unwrap();
            order.lock().unwrap().push(i);
            tokio::time::sleep(second).await;
        }))
        .await;
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5]);

        let held = (
            host.enter(second).await.unwrap(),
            host.enter(second).await.unwrap(),
        );
        let error = host.enter(second * 3).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "waited 3.0s for one of the 2 requests to a:80 that may be on the way at once"
        );
        // Another server is not held up.
        let other = limits.host(&url("http://b/"));
        assert!(other.enter(Duration::ZERO).await.is_ok());
        drop(held);
        assert!(host.enter(Duration::ZERO).await.is_ok());
    }
}
