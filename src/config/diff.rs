//! What changes from one assembly to the next, servo by servo (`DESIGN.md` §5).

use std::{collections::HashMap, sync::Arc};

use super::ServoConfig;

/// What a new configuration means for the servos of an old one, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Not there before.
    pub added: Vec<Arc<str>>,
    /// There no more.
    pub removed: Vec<Arc<str>>,
    /// There before and after, but not the same.
    pub changed: Vec<Arc<str>>,
    /// The same as before, wherever in the file.
    pub unchanged: Vec<Arc<str>>,
}

/// Compares two assemblies. Servos of one name are one servo; they are unchanged when everything
/// that was given for them, in the file or by variables, is the same. Neither the order of keys
/// nor comments count.
pub fn diff(old: &[ServoConfig], new: &[ServoConfig]) -> Diff {
    let mut before: HashMap<&str, u64> = old.iter().map(|s| (&*s.name, s.digest)).collect();
    let mut diff = Diff::default();
    for servo in new {
        let list = match before.remove(&*servo.name) {
            None => &mut diff.added,
            Some(digest) if digest == servo.digest => &mut diff.unchanged,
            Some(_) => &mut diff.changed,
        };
        list.push(servo.name.clone());
    }
    diff.removed = old
        .iter()
        .filter(|servo| before.contains_key(&*servo.name))
        .map(|servo| servo.name.clone())
        .collect();
    diff
}

impl std::fmt::Display for Diff {
    /// `+2 ~1 -0 =9997`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "+{} ~{} -{} ={}",
            self.added.len(),
            self.changed.len(),
            self.removed.len(),
            self.unchanged.len()
        )
    }
}
