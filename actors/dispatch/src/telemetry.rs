//! What connectors have the optimizer told about what they work with (`spec/optimizer-protocol.md` §18).

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thiserror::Error;
use tokio::sync::Notify;

use crate::{
    context::HandlerContext, dispatcher::DispatcherRef, lifecycle::Standing, repeating::Tenure,
};

/// What a connector tells the optimizer about what it works with, such as the version of a cluster.
///
/// An entry `version` of the connector `kubernetes` stands as `kubernetes.version` in every HELLO
/// from then on, beside what the servo tells of itself. HELLO follows `attach`, which is the place
/// to make entries. They go with the connector: when it detaches, fails, or leaves the servo. One that
/// is built anew attaches again, and so makes them again.
///
/// ```
/// # use servo_dispatch::*;
/// # use servo_messages::EventError;
/// async fn attach(cx: &HandlerContext) -> Result<(), EventError> {
///     // No reason not to start.
///     if let Err(refused) = cx.telemetry().set("version", "1.30") {
///         tracing::debug!("{refused}");
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Telemetry<'a>(&'a HandlerContext);

/// An entry was not made; an earlier one of the same key stands.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TelemetryRefused {
    /// The key breaks a rule.
    #[error(
        "invalid telemetry key {0:?}: keys have 1 to {max} letters and digits of ASCII, hyphens, \
         underscores and periods",
        max = Telemetry::MAX_KEY
    )]
    Key(String),
    /// The value is none that a log or a page could show in its place.
    #[error("the value of telemetry key '{0}' must be one line without control characters")]
    NotOneLine(String),
    /// The value is too long.
    #[error(
        "the value of telemetry key '{key}' has {bytes} bytes, and at most {max} are told",
        max = Telemetry::MAX_VALUE
    )]
    TooLong {
        /// The key.
        key: String,
        /// Length of the value.
        bytes: usize,
    },
    /// The connector has as many entries as it may.
    #[error(
        "connector '{connector}' has {max} telemetry entries already, so '{key}' is not told; \
         remove one first",
        max = Telemetry::MAX_ENTRIES
    )]
    TooMany {
        /// The connector.
        connector: Arc<str>,
        /// The key that was one too many.
        key: String,
    },
    /// The connector, or its servo, is on its way out: nothing is told any more.
    #[error("connector '{0}' is leaving, so it has nothing more to tell")]
    Leaving(Arc<str>),
}

/// The entries of one servo's connectors.
#[derive(Default)]
pub(crate) struct Ledger {
    entries: Mutex<Vec<Entry>>,
    /// Fewer are to be told anew.
    news: Notify,
}

struct Entry {
    connector: Arc<str>,
    key: Box<str>,
    /// None once its connector has failed, until that one is back and tells it anew, or does not.
    value: Option<Box<str>>,
}

// === impl Telemetry ===

impl Telemetry<'_> {
    /// The most characters of a key.
    pub const MAX_KEY: usize = 64;
    /// The most bytes of a value.
    pub const MAX_VALUE: usize = 256;
    /// The most entries of one connector.
    pub const MAX_ENTRIES: usize = 16;

    /// Has `value` stand under `key`, whatever stood there before. White space around it is cut off.
    ///
    /// # Errors
    /// When key or value break a rule, when the connector has too many entries, and once its end
    /// has begun.
    pub fn set(&self, key: &str, value: &str) -> Result<(), TelemetryRefused> {
        let value = value.trim();
        check(key, value)?;
        let connector = self.0.connector_name();
        let dispatcher = self.0.dispatcher();
        let mut entries = dispatcher.ledger().entries();
        // Looked at under the lock: whoever takes the connector out clears its entries after that.
        if dispatcher.is_leaving(&connector) {
            return Err(TelemetryRefused::Leaving(connector));
        }
        let others = entries.iter().filter(|entry| {
            entry.connector == connector && *entry.key != *key && entry.value.is_some()
        });
        if others.count() >= Self::MAX_ENTRIES {
            let key = key.to_owned();
            return Err(TelemetryRefused::TooMany { connector, key });
        }
        let value = Some(value.into());
        let mut known = entries.iter_mut();
        if let Some(entry) = known.find(|e| e.connector == connector && *e.key == *key) {
            entry.value = value;
        } else {
            // There are thousands of servos with a few entries each.
            entries.reserve_exact(1);
            entries.push(Entry {
                connector,
                key: key.into(),
                value,
            });
        }
        drop(entries);
        dispatcher.ledger().news.notify_waiters();
        Ok(())
    }

    /// Has nothing stand under `key`. Whether something did.
    pub fn remove(&self, key: &str) -> bool {
        let connector = self.0.connector();
        let ledger = self.0.dispatcher().entered();
        ledger.is_some_and(|ledger| {
            ledger.strike(|e| *e.connector == *connector && *e.key == *key && e.value.is_some())
        })
    }
}

impl fmt::Debug for Telemetry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connector = self.0.connector();
        f.debug_tuple("Telemetry").field(&connector).finish()
    }
}

fn check(key: &str, value: &str) -> Result<(), TelemetryRefused> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let breaks_line = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if !(1..=Telemetry::MAX_KEY).contains(&key.len()) || !key.bytes().all(is_allowed) {
        Err(TelemetryRefused::Key(key.to_owned()))
    } else if value.contains(breaks_line) {
        Err(TelemetryRefused::NotOneLine(key.to_owned()))
    } else if value.len() > Telemetry::MAX_VALUE {
        let (key, bytes) = (key.to_owned(), value.len());
        Err(TelemetryRefused::TooLong { key, bytes })
    } else {
        Ok(())
    }
}

// === impl Ledger ===

impl Ledger {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there were such entries.
    fn strike(&self, which: impl Fn(&Entry) -> bool) -> bool {
        let mut entries = self.entries();
        let before = entries.len();
        entries.retain(|entry| !which(entry));
        entries.shrink_to_fit();
        let fewer = entries.len() < before;
        drop(entries);
        self.news.notify_waiters();
        fewer
    }
}

// === impl HandlerContext ===

impl HandlerContext {
    /// What the connector tells the optimizer about what it works with.
    pub fn telemetry(&self) -> Telemetry<'_> {
        Telemetry(self)
    }
}

// === impl DispatcherRef ===

impl DispatcherRef {
    /// What the servo's connectors have the optimizer told at present, each key after the name of
    /// its connector, as in `kubernetes.version`.
    pub fn telemetry(&self) -> BTreeMap<String, String> {
        let Some(ledger) = self.entered() else {
            return BTreeMap::new();
        };
        let entries = ledger.entries();
        let told = entries.iter().filter_map(|entry| {
            let key = format!("{}.{}", entry.connector, entry.key);
            Some((key, String::from(entry.value.as_deref()?)))
        });
        told.collect()
    }

    /// Nothing is told of the connectors that `whose` selects (`spec/events-and-checks.md` §3.3).
    pub(crate) fn strike_telemetry(&self, whose: impl Fn(&str) -> bool) {
        if let Some(ledger) = self.entered() {
            ledger.strike(|entry| whose(&entry.connector));
        }
    }

    /// Waits until connectors that have failed are back, `within` this time, if they had told
    /// something: a HELLO ahead of that would lack it.
    pub async fn telemetry_settled(&self, within: Duration) {
        let Some(ledger) = self.entered() else {
            return;
        };
        let settled = async {
            loop {
                let news = ledger.news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                if ledger.entries().iter().all(|entry| entry.value.is_some()) {
                    return;
                }
                news.await;
            }
        };
        if tokio::time::timeout(within, settled).await.is_err() {
            // Nobody waits for these again.
            ledger.strike(|entry| entry.value.is_none());
        }
    }

    /// The connector has failed: what it told may hold no longer, and its next run says so anew.
    pub(crate) fn void_telemetry(&self, connector: &str) {
        if self.is_leaving(connector) {
            return self.strike_telemetry(|whose| *whose == *connector);
        }
        if let Some(ledger) = self.entered() {
            let mut entries = ledger.entries();
            let own = entries.iter_mut().filter(|e| *e.connector == *connector);
            own.for_each(|entry| entry.value = None);
        }
    }

    /// The connector is back, and has told what there is.
    pub(crate) fn settle_telemetry(&self, connector: &str) {
        if let Some(ledger) = self.entered() {
            ledger.strike(|entry| *entry.connector == *connector && entry.value.is_none());
        }
    }

    fn is_leaving(&self, connector: &str) -> bool {
        self.bus().reached().standing() == Standing::Ending
            || matches!(self.homes().tenure(connector), None | Some(Tenure::Leaving))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn keys_and_values_that_could_not_be_shown_are_refused() {
        for good in ["1.30", "", "größer", &"x".repeat(256)] {
            assert_eq!(check("server.git-version_2", good), Ok(()));
        }
        for key in ["", "a b", "a/b", "ä", "a\n", &"k".repeat(65)] {
            assert_eq!(check(key, "1"), Err(TelemetryRefused::Key(key.to_owned())));
        }
        for value in ["one\ntwo", "one\rtwo", "\u{1b}[31mred", "one\u{2028}two"] {
            let refused = check("version", value);
            assert_eq!(
                refused,
                Err(TelemetryRefused::NotOneLine("version".to_owned()))
            );
        }
        assert_eq!(
            check("version", &"ü".repeat(129)).unwrap_err().to_string(),
            "the value of telemetry key 'version' has 258 bytes, and at most 256 are told"
        );
        assert_eq!(
            check("a b", "1").unwrap_err().to_string(),
            "invalid telemetry key \"a b\": keys have 1 to 64 letters and digits of ASCII, hyphens, \
             underscores and periods"
        );
    }
}
