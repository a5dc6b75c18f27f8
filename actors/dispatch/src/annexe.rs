//! Which connectors have joined and left a servo while it ran (`spec/events-and-checks.md` §3.4): what a restart of the
//! servo has to remember, beside its configuration.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::membership::NewConnector;

#[derive(Default)]
pub(crate) struct Annexe(Mutex<Changes>);

#[derive(Default)]
struct Changes {
    newcomers: Vec<Newcomer>,
    /// Of the configuration, and gone.
    departed: Vec<Arc<str>>,
}

struct Newcomer {
    name: Arc<str>,
    origin: Origin,
    /// Whether it is here to stay: it has come up.
    settled: bool,
}

/// Who had a connector join.
pub(crate) enum Origin {
    /// Another connector, which adds it again whenever it attaches.
    Connector(Arc<str>),
    /// Somebody outside of the servo.
    Outside(NewConnector),
}

impl Annexe {
    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, name: Arc<str>, origin: Origin) {
        self.changes().newcomers.push(Newcomer {
            name,
            origin,
            settled: false,
        });
    }

    pub(crate) fn settle(&self, name: &str) {
        let mut changes = self.changes();
        let mut newcomers = changes.newcomers.iter_mut();
        if let Some(newcomer) = newcomers.find(|it| *it.name == *name) {
            newcomer.settled = true;
        }
    }

    /// A connector of that name is gone.
    pub(crate) fn forget(&self, name: &Arc<str>) {
        let mut changes = self.changes();
        let before = changes.newcomers.len();
        changes.newcomers.retain(|newcomer| newcomer.name != *name);
        if changes.newcomers.len() == before {
            changes.departed.push(name.clone());
        }
    }

    /// Whether that connector joined while the servo ran.
    pub(crate) fn has(&self, name: &str) -> bool {
        let changes = self.changes();
        changes.newcomers.iter().any(|it| *it.name == *name)
    }

    pub(crate) fn is_child(&self, name: &str, parent: &str) -> bool {
        self.children(parent).iter().any(|child| &**child == name)
    }

    /// The connectors that `parent` added, the latest first.
    pub(crate) fn children(&self, parent: &str) -> Vec<Arc<str>> {
        let changes = self.changes();
        let children = changes.newcomers.iter().rev();
        let of_parent =
            |it: &&Newcomer| matches!(&it.origin, Origin::Connector(by) if **by == *parent);
        children
            .filter(of_parent)
            .map(|newcomer| newcomer.name.clone())
            .collect()
    }

    /// What another run of the same servo begins with: who joined from outside, and who has left.
    pub(crate) fn legacy(&self) -> (Vec<NewConnector>, Vec<Arc<str>>) {
        let changes = self.changes();
        let joined = changes.newcomers.iter().filter_map(|it| match &it.origin {
            Origin::Outside(new) if it.settled => Some(new.clone()),
            Origin::Outside(_) | Origin::Connector(_) => None,
        });
        (joined.collect(), changes.departed.clone())
    }

    pub(crate) fn depart(&self, names: Vec<Arc<str>>) {
        self.changes().departed.extend(names);
    }
}
