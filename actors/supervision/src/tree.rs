//! The supervision tree as a value, for people and for tests.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::node::{Node, State};

/// One node of the tree and everything below it, as it stood at one moment.
///
/// Taking one asks no actor, so it works while actors are stuck. Its [`Display`](fmt::Display) is one line for each
/// node, children indented below their supervisor.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The names from the root down to here, joined by `/`.
    pub path: String,
    /// Its name, unique among its siblings.
    pub name: String,
    /// What its supervisor has it do.
    pub state: State,
    /// How often it was restarted.
    pub restarts: u64,
    /// How its last finished run ended.
    pub last_exit: Option<String>,
    /// For how long it has been in this state.
    pub age: Duration,
    /// What it says it is doing.
    pub doing: Option<String>,
    /// Its open turns of work, each with its age.
    pub open_turns: Vec<String>,
    /// What it supervises, in start order.
    pub children: Vec<Snapshot>,
}

// === impl Snapshot ===

impl Snapshot {
    pub(crate) fn take(node: &Node) -> Self {
        Self::take_at(node, node.path())
    }

    fn take_at(node: &Node, path: String) -> Self {
        let reading = node.read();
        let life = reading.life.filter(|life| life.exit().is_none());
        let (doing, open_turns) = life.map(|life| life.doing()).unwrap_or_default();
        Self {
            name: node.name().to_string(),
            state: reading.status.state,
            restarts: reading.status.restarts,
            last_exit: reading.status.last_exit.map(|exit| exit.to_string()),
            age: reading.status.age,
            doing,
            open_turns,
            children: reading
                .children
                .iter()
                .map(|child| Self::take_at(child, format!("{path}/{}", child.name())))
                .collect(),
            path,
        }
    }

    /// The node at `path`, this one or one below it.
    pub fn find(&self, path: &str) -> Option<&Self> {
        if self.path == path {
            return Some(self);
        }
        let below = path.strip_prefix(self.path.as_str())?;
        if !below.starts_with('/') {
            return None;
        }
        self.children.iter().find_map(|child| child.find(path))
    }

    fn write_line(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        write!(
            f,
            "{:depth$}{}: {}",
            "",
            self.name,
            self.state,
            depth = depth * 2
        )?;
        write!(f, " for {:.1?}", self.age)?;
        if self.restarts > 0 {
            write!(f, ", {} restarts", self.restarts)?;
        }
        if let Some(doing) = &self.doing {
            write!(f, ", {doing}")?;
        }
        if !self.open_turns.is_empty() {
            write!(f, ", in {}", self.open_turns.join(", "))?;
        }
        if let Some(exit) = &self.last_exit {
            write!(f, ", last {}", exit.replace('\n', "\\n"))?;
        }
        for child in &self.children {
            writeln!(f)?;
            child.write_line(f, depth + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_line(f, 0)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = |until: &Instant| until.saturating_duration_since(Instant::now());
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Running => f.write_str("running"),
            Self::BackingOff { until } => write!(f, "backing off ({:.1?} left)", left(until)),
            Self::Parked { until } => write!(f, "parked (retry in {:.1?})", left(until)),
            Self::Stopping => f.write_str("stopping"),
            Self::Ended => f.write_str("ended"),
        }
    }
}
