//! How many requests may be on the way to one server at once (`spec/optimizer-protocol.md` §17).

use std::{
    collections::HashMap,
    fmt,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use url::Url;

use crate::gate::{Gate, Lane, NoPlace, Place};

/// The gates before the servers that requests go to, shared by all optimizers of the process: no more than so many
/// requests are on the way to one `host:port` at once. Of those that wait, servos that are at a command go before those
/// that ask for one, and else they go in the order in which they came.
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
    gate: Arc<Gate>,
}

/// What is going on at the gate before one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTraffic {
    /// `host:port`.
    pub host: String,
    /// Requests on the way.
    pub in_flight: usize,
    /// Requests that wait until one of these is done.
    pub waiting: usize,
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

    /// What is going on at each gate that is in use, in no order. Takes as long as there are gates, and
    /// holds nobody up.
    pub fn traffic(&self) -> Vec<HostTraffic> {
        let known = self
            .gates
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let hosts = known.values().filter_map(Weak::upgrade);
        hosts.map(|host| host.traffic()).collect()
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
            gate: Gate::new(self.gates.most),
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

    fn traffic(&self) -> HostTraffic {
        HostTraffic {
            host: self.name.to_string(),
            in_flight: self.gate.taken(),
            waiting: self.gate.waiting(),
        }
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Waits until one more request may go. Dropping the place lets the next one go.
    pub(crate) async fn enter(&self, lane: Lane, patience: Duration) -> Result<Place, Crowded> {
        let place = self.gate.enter(lane, patience).await;
        place.map_err(|NoPlace| Crowded {
            host: self.name.clone(),
            most: self.most,
            patience,
        })
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
    async fn those_on_the_way_and_those_that_wait_are_counted_however_they_end() {
        let limits = HostLimits::new(NonZeroUsize::new(2).unwrap());
        let host = limits.host(&url("http://a/"));
        let gone = limits.host(&url("http://b/"));
        drop(gone);
        let traffic = |in_flight, waiting| {
            assert_eq!(
                limits.traffic(),
                [HostTraffic {
                    host: "a:80".to_owned(),
                    in_flight,
                    waiting
                }]
            );
        };
        traffic(0, 0);
        let minute = Duration::from_secs(60);
        let first = host.enter(Lane::Begins, minute).await.unwrap();
        let second = host.enter(Lane::Begins, minute).await.unwrap();
        traffic(2, 0);
        let mut waits: Vec<_> = (0..3)
            .map(|_| Box::pin(host.enter(Lane::Begins, minute)))
            .collect();
        for wait in &mut waits {
            assert!(futures_util::poll!(wait).is_pending());
        }
        traffic(2, 3);
        // One is given up, one gets in, one waits too long.
        drop(waits.pop());
        traffic(2, 2);
        drop(first);
        let third = waits.remove(0).await.unwrap();
        traffic(2, 1);
        assert!(waits.remove(0).await.is_err());
        traffic(2, 0);
        drop((second, third));
        traffic(0, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_wait_in_order_and_no_longer_than_they_want_to() {
        let limits = HostLimits::new(NonZeroUsize::new(2).unwrap());
        let host = limits.host(&url("http://a/"));
        let order = StdMutex::new(Vec::new());
        let second = Duration::from_secs(1);
        join_all((0..6).map(async |i| {
            let _permit = host.enter(Lane::Begins, second * 10).await.unwrap();
            order.lock().unwrap().push(i);
            tokio::time::sleep(second).await;
        }))
        .await;
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5]);

        let held = (
            host.enter(Lane::Begins, second).await.unwrap(),
            host.enter(Lane::Begins, second).await.unwrap(),
        );
        let error = host
            .enter(Lane::Begins, second * 3)
            .await
            .err()
            .unwrap()
            .to_string();
        assert_eq!(
            error,
            "waited 3.0s for one of the 2 requests to a:80 that may be on the way at once"
        );
        // Another server is not held up.
        let other = limits.host(&url("http://b/"));
        assert!(other.enter(Lane::Begins, Duration::ZERO).await.is_ok());
        drop(held);
        assert!(host.enter(Lane::Begins, Duration::ZERO).await.is_ok());
    }
}
