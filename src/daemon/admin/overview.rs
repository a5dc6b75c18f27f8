//! What the supervision tree says of all servos, in one pass, kept for a moment.
//!
//! With 10,000 servos the tree has tens of thousands of nodes. It is walked once for all who ask, never
//! by one servo at a time, and seldom enough that a page which asks every second costs next to
//! nothing. What a servo is doing at the moment is not taken from here.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use servo_supervision::{Snapshot, State};

use crate::daemon::Fleet;

/// A walk of up to this long is done anew for whoever asks.
const CHEAP: Duration = Duration::from_millis(10);

/// The longest that nobody minds.
const BRIEF: Duration = Duration::from_millis(250);

/// An older one is not shown, however long the next one takes.
const OLDEST: Duration = Duration::from_secs(20);

/// Of the time between two walks, so much at least is between them.
const REST: u32 = 20;

/// Of a text in the tree, so many bytes are kept.
const LONGEST: usize = 500;

/// The tree as it stood.
#[derive(Debug)]
pub(super) struct Overview {
    taken: Instant,
    cost: Duration,
    servos: HashMap<Arc<str>, Standing>,
    /// Connectors of all servos by state.
    pub(super) connectors: BTreeMap<&'static str, u64>,
    /// Restarts of all of these, and of those before them as far as they were seen: never less than before.
    pub(super) connector_restarts: u64,
}

/// A servo in it.
#[derive(Debug)]
pub(super) struct Standing {
    state: State,
    restarts: u64,
    pub(super) last_exit: Option<Box<str>>,
    pub(super) parts: Box<[Part]>,
}

/// An actor of a servo.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: Arc<str>,
    pub(super) state: State,
    pub(super) restarts: u64,
    pub(super) last_exit: Option<Box<str>>,
    pub(super) doing: Option<Box<str>>,
}

/// The actors of a servo that are no connectors.
const OWN: [&str; 3] = ["dispatcher", "optimizer", "exchange"];

impl Part {
    /// Whether it is named as a connector can be.
    pub(super) fn is_connector(&self) -> bool {
        !OWN.contains(&&*self.name)
    }
}

impl Standing {
    /// Its restarts and those of its parts.
    pub(super) fn restarts(&self) -> u64 {
        let parts = self.parts.iter().map(|part| part.restarts);
        self.restarts + parts.sum::<u64>()
    }

    /// Its state, or that of what talks to its optimizer: whichever does less.
    pub(super) fn held_state(&self) -> State {
        let optimizer = self.parts.iter().find(|part| &*part.name == "optimizer");
        match (self.state, optimizer.map(|part| part.state)) {
            (own @ State::Parked { .. }, _) => own,
            (_, Some(optimizer @ State::Parked { .. })) => optimizer,
            (_, Some(optimizer @ State::BackingOff { .. })) => optimizer,
            (own, _) => own,
        }
    }

    /// The word of the state that supervision puts it in, when it keeps it from what it does else.
    fn held(&self) -> Option<&'static str> {
        match self.held_state() {
            held @ (State::Parked { .. } | State::BackingOff { .. }) => Some(word(held)),
            _ => None,
        }
    }
}

impl Overview {
    pub(super) fn of(tree: &Snapshot, cost: Duration) -> Self {
        let assembly = tree.children.iter().find(|child| child.name == "assembly");
        let mut names = HashSet::new();
        let mut this = Self {
            taken: Instant::now(),
            cost,
            servos: HashMap::new(),
            connectors: BTreeMap::new(),
            connector_restarts: 0,
        };
        for servo in assembly.into_iter().flat_map(|assembly| &assembly.children) {
            let parts: Box<[Part]> = servo.children.iter().map(|p| part(p, &mut names)).collect();
            for connector in parts.iter().filter(|part| part.is_connector()) {
                *this.connectors.entry(word(connector.state)).or_default() += 1;
                this.connector_restarts += connector.restarts;
            }
            let standing = Standing {
                state: servo.state,
                restarts: servo.restarts,
                last_exit: servo.last_exit.as_deref().map(short),
                parts,
            };
            this.servos.insert(servo.name.as_str().into(), standing);
        }
        this
    }

    /// The same after `before`: what connectors of then had been restarted counts on when they, or the
    /// servo that they were of, are gone.
    fn after(mut self, before: &Self) -> Self {
        let present = |servo: &str, name: &str| {
            let parts = &self.servos.get(servo)?.parts;
            let part = parts.iter().find(|part| &*part.name == name)?;
            Some(part.restarts)
        };
        let now = self.connectors_restarts();
        let mut lost = before
            .connector_restarts
            .saturating_sub(before.connectors_restarts());
        for (servo, standing) in &before.servos {
            for part in standing.parts.iter().filter(|part| part.restarts > 0) {
                // One that counts less than before is another one of the same name.
                let goes_on = present(servo, &part.name).is_some_and(|now| now >= part.restarts);
                if part.is_connector() && !goes_on {
                    lost += part.restarts;
                }
            }
        }
        self.connector_restarts = lost + now;
        self
    }

    /// Restarts of the connectors that it knows.
    fn connectors_restarts(&self) -> u64 {
        let parts = self.servos.values().flat_map(|standing| &standing.parts);
        let connectors = parts.filter(|part| part.is_connector());
        connectors.map(|part| part.restarts).sum()
    }

    /// What it says of `servo`; nothing of one that is newer.
    pub(super) fn servo(&self, name: &str) -> Option<&Standing> {
        self.servos.get(name)
    }

    /// The word of the state that supervision holds `name` in, if it has not left it since: it says
    /// itself since when it does what it does.
    pub(super) fn held(&self, name: &str, since: Instant) -> Option<&'static str> {
        self.servo(name)?.held().filter(|_| since <= self.taken)
    }
}

fn part(node: &Snapshot, names: &mut HashSet<Arc<str>>) -> Part {
    let name = match names.get(node.name.as_str()) {
        Some(name) => name.clone(),
        None => {
            let name: Arc<str> = node.name.as_str().into();
            names.insert(name.clone());
            name
        }
    };
    Part {
        name,
        state: node.state,
        restarts: node.restarts,
        last_exit: node.last_exit.as_deref().map(short),
        doing: node.doing.as_deref().map(short),
    }
}

fn short(text: &str) -> Box<str> {
    let end = text.len().min(LONGEST);
    let end = (0..=end).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or_default().into()
}

/// The word of a state in the tree.
pub(super) fn word(state: State) -> &'static str {
    match state {
        State::Starting => "starting",
        State::Running => "running",
        State::BackingOff { .. } => "backing_off",
        State::Parked { .. } => "parked",
        State::Stopping => "stopping",
        State::Ended => "ended",
    }
}

/// The latest overview, for all who ask.
#[derive(Debug)]
pub(super) struct Overviews {
    fleet: Fleet,
    latest: Mutex<Option<Arc<Overview>>>,
    taking: tokio::sync::Mutex<()>,
}

impl Overviews {
    pub(super) fn new(fleet: Fleet) -> Self {
        Self {
            fleet,
            latest: Mutex::default(),
            taking: tokio::sync::Mutex::default(),
        }
    }

    /// One that is fresh enough: a walk that takes long is done behind the back of those who ask,
    /// who get the one before.
    pub(super) async fn get(self: &Arc<Self>) -> Arc<Overview> {
        let Some(latest) = self.latest() else {
            return self.take(None).await;
        };
        let age = latest.taken.elapsed();
        if age < BRIEF.max(latest.cost * REST).min(OLDEST) {
            return latest;
        }
        if latest.cost <= CHEAP || age >= OLDEST {
            return self.take(Some(latest.taken)).await;
        }
        if self.taking.try_lock().is_ok() {
            let (this, taken) = (self.clone(), latest.taken);
            tokio::spawn(async move { drop(this.take(Some(taken)).await) });
        }
        latest
    }

    fn latest(&self) -> Option<Arc<Overview>> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.clone()
    }

    /// A new one, unless somebody else took one after `known` meanwhile.
    async fn take(self: &Arc<Self>, known: Option<Instant>) -> Arc<Overview> {
        let _taking = self.taking.lock().await;
        if let Some(latest) = self.latest()
            && known.is_none_or(|known| latest.taken > known)
        {
            return latest;
        }
        let (fleet, before) = (self.fleet.clone(), self.latest());
        let walk = move || {
            let begun = Instant::now();
            let tree = fleet.tree();
            let mut overview = Overview::of(&tree, Duration::ZERO);
            if let Some(before) = before {
                overview = overview.after(&before);
            }
            Overview {
                cost: begun.elapsed(),
                ..overview
            }
        };
        let overview = match tokio::task::spawn_blocking(walk).await {
            Ok(overview) => Arc::new(overview),
            // It panicked, which is logged as every panic is, or the program ends: nothing is known.
            Err(_) => {
                return self.latest().unwrap_or_else(|| {
                    Arc::new(Overview {
                        taken: Instant::now(),
                        cost: Duration::ZERO,
                        servos: HashMap::new(),
                        connectors: BTreeMap::new(),
                        connector_restarts: 0,
                    })
                });
            }
        };
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = Some(overview.clone());
        overview
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn node(name: &str, state: State, children: Vec<Snapshot>) -> Snapshot {
        Snapshot {
            path: name.to_owned(),
            name: name.to_owned(),
            state,
            restarts: 1,
            last_exit: Some("ä".repeat(LONGEST)),
            age: Duration::ZERO,
            doing: None,
            open_turns: Vec::new(),
            children,
        }
    }

    fn restarted(servos: &[(&str, &str, u64)]) -> Overview {
        let servos = servos.iter().map(|(servo, connector, restarts)| Snapshot {
            restarts: 7,
            ..node(
                servo,
                State::Running,
                vec![Snapshot {
                    restarts: *restarts,
                    ..node(connector, State::Running, Vec::new())
                }],
            )
        });
        let assembly = node("assembly", State::Running, servos.collect());
        let tree = node("servo", State::Running, vec![assembly]);
        Overview::of(&tree, Duration::ZERO)
    }

    #[test]
    fn what_connectors_were_restarted_never_gets_less() {
        let mut overview = restarted(&[("a", "wait", 3), ("b", "web", 2), ("b2", "dispatcher", 9)]);
        assert_eq!(overview.connector_restarts, 5);
        type Running = &'static [(&'static str, &'static str, u64)];
        let steps: [(Running, u64); 6] = [
            // One goes on, one was replaced and restarted once since.
            (&[("a", "wait", 4), ("b", "web", 1)], 7),
            (&[("a", "wait", 4), ("b", "web", 1)], 7),
            // A servo is removed; another connector has its place.
            (&[("b", "other", 0)], 7),
            (&[], 7),
            (&[("a", "wait", 0)], 7),
            (&[("a", "wait", 1)], 8),
        ];
        for (servos, total) in steps {
            overview = restarted(servos).after(&overview);
            assert_eq!(overview.connector_restarts, total, "{servos:?}");
        }
    }

    #[test]
    fn servos_and_their_connectors() {
        let until = tokio::time::Instant::now();
        let parts = || {
            vec![
                node("dispatcher", State::Running, Vec::new()),
                node("wait", State::Running, Vec::new()),
                node("web", State::BackingOff { until }, Vec::new()),
                node("optimizer", State::Running, Vec::new()),
            ]
        };
        let servos = vec![
            node("a/b", State::Running, parts()),
            node("c", State::Parked { until }, Vec::new()),
        ];
        let tree = node(
            "servo",
            State::Running,
            vec![
                node("admin", State::Running, Vec::new()),
                node("assembly", State::Running, servos),
            ],
        );
        let overview = Overview::of(&tree, Duration::ZERO);
        assert_eq!(overview.connectors["running"], 1);
        assert_eq!(overview.connectors["backing_off"], 1);
        assert_eq!(overview.connector_restarts, 2);
        let before = overview.taken;
        assert_eq!(
            overview.held("a/b", before),
            None,
            "a connector is not the servo"
        );
        assert_eq!(overview.held("c", before), Some("parked"));
        let later = overview.taken + Duration::from_millis(1);
        assert_eq!(overview.held("c", later), None);
        assert_eq!(overview.servo("a/b").unwrap().restarts(), 5);
        assert!(overview.servo("nobody").is_none());
        assert!(
            overview
                .servo("c")
                .unwrap()
                .last_exit
                .as_ref()
                .unwrap()
                .len()
                <= LONGEST
        );
    }
}
