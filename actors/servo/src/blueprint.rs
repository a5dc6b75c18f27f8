//! What servos are made from, with what they have in common held once: there may be thousands.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use servo_dispatch::ConfiguredConnector;
use servo_messages::CommonConfig;
use servo_protocol::OptimizerClient;

use crate::{policy::ServoPolicy, servo::ServoSpec};

/// A [`ServoSpec`] that shares what it can.
pub(crate) struct Blueprint {
    pub(crate) name: Arc<str>,
    pub(crate) servo_uid: Option<String>,
    pub(crate) optimizer: Option<Arc<dyn OptimizerClient>>,
    pub(crate) connectors: Box<[Named]>,
    pub(crate) settings: Arc<CommonConfig>,
    pub(crate) common: Arc<Common>,
}

/// A connector under its name.
type Named = (Arc<str>, Arc<dyn ConfiguredConnector>);

/// What is the same for servos that run by the same rules.
pub(crate) struct Common {
    pub(crate) policy: ServoPolicy,
    pub(crate) agent: String,
    pub(crate) telemetry: BTreeMap<String, String>,
}

/// Makes blueprints.
#[derive(Default)]
pub(crate) struct Drawer {
    /// Of the last servo: the next is like it, as a rule.
    last: Mutex<Weak<Common>>,
}

// === impl Drawer ===

impl Drawer {
    pub(crate) fn draw(&self, spec: ServoSpec) -> Arc<Blueprint> {
        let ServoSpec {
            name,
            servo_uid,
            optimizer,
            connectors,
            settings,
            policy,
            agent,
            telemetry,
        } = spec;
        let common = self.share(Common {
            policy,
            agent,
            telemetry,
        });
        Arc::new(Blueprint {
            name,
            servo_uid,
            optimizer,
            connectors: connectors.into(),
            settings,
            common,
        })
    }

    fn share(&self, own: Common) -> Arc<Common> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.upgrade() {
            Some(known) if known.is_like(&own) => known,
            _ => {
                let own = Arc::new(own);
                *last = Arc::downgrade(&own);
                own
            }
        }
    }
}

impl Common {
    fn is_like(&self, other: &Self) -> bool {
        self.agent == other.agent
            && self.telemetry == other.telemetry
            && self.policy.is_like(&other.policy)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn spec() -> ServoSpec {
        ServoSpec {
            name: "a".into(),
            servo_uid: None,
            optimizer: None,
            connectors: Vec::new(),
            settings: Arc::default(),
            policy: ServoPolicy::default(),
            agent: "agent".to_owned(),
            telemetry: BTreeMap::new(),
        }
    }

    #[test]
    fn servos_share_what_is_the_same_and_nothing_else() {
        let drawer = Drawer::default();
        let first = drawer.draw(spec());
        assert!(Arc::ptr_eq(&first.common, &drawer.draw(spec()).common));
        let mut other = spec();
        other.policy.cancel_grace = Duration::from_secs(7);
        let other = drawer.draw(other);
        assert!(!Arc::ptr_eq(&first.common, &other.common));
        assert_eq!(other.common.policy.cancel_grace, Duration::from_secs(7));
        let mut telling = spec();
        telling.telemetry.insert("a".into(), "b".into());
        assert_eq!(drawer.draw(telling).common.telemetry["a"], "b");
    }
}
