//! What changes from one assembly to the next, servo by servo (`DESIGN.md` §5).

mod files;

use std::{collections::HashMap, sync::Arc};

use super::ServoConfig;

pub use files::{FileContents, ReferredFiles};

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

/// Tells one configuration of a servo from another: everything that was given for it, in the file
/// or by variables or flags, and what stands in the files that it names. Neither the order of keys
/// nor comments count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// Of what was given, the token in its file among it.
    given: u64,
    /// Of what stands in the files that were named.
    files: u64,
}

impl Fingerprint {
    /// Of a servo which names `files`, with what these hold now.
    pub fn of(servo: &ServoConfig, files: &ReferredFiles, contents: &mut FileContents) -> Self {
        Self {
            given: servo.digest,
            files: contents.of_all(&files.held),
        }
    }

    /// Whether the servo would be the same as `servo`, but for what stands in files.
    pub fn is_of_same_document(&self, servo: &ServoConfig) -> bool {
        self.given == servo.digest
    }
}

/// What no two servos may have in common, beside their names: their optimizer.
pub fn optimizer_identity(servo: &ServoConfig) -> Option<String> {
    Some(servo.optimizer.as_ref()?.identity(&servo.name))
}

/// Compares two assemblies. Servos of one name are one servo; they are unchanged when their
/// fingerprints are equal.
pub fn diff<'a>(
    old: impl IntoIterator<Item = (&'a Arc<str>, Fingerprint)>,
    new: impl IntoIterator<Item = (&'a Arc<str>, Fingerprint)>,
) -> Diff {
    let mut before: HashMap<&Arc<str>, Fingerprint> = old.into_iter().collect();
    let mut diff = Diff::default();
    for (name, fingerprint) in new {
        let list = match before.remove(name) {
            None => &mut diff.added,
            Some(known) if known == fingerprint => &mut diff.unchanged,
            Some(_) => &mut diff.changed,
        };
        list.push(name.clone());
    }
    diff.removed = before.into_keys().cloned().collect();
    diff.removed.sort_unstable();
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::config::sample;

    fn servos(text: &str, variables: &[(&str, &str)]) -> Vec<ServoConfig> {
        sample::servos(text, variables, &crate::connectors::bundled())
    }

    fn compare(old: &[ServoConfig], new: &[ServoConfig]) -> Diff {
        let mut contents = FileContents::default();
        let mut fingerprints = |servos: &[ServoConfig]| -> Vec<(Arc<str>, Fingerprint)> {
            let of = |servo: &ServoConfig| {
                let files = ReferredFiles::of(servo, Path::new("."));
                let fingerprint = Fingerprint::of(servo, &files, &mut contents);
                (servo.name.clone(), fingerprint)
            };
            servos.iter().map(of).collect()
        };
        let (old, new) = (fingerprints(old), fingerprints(new));
        diff(
            old.iter().map(|(name, f)| (name, *f)),
            new.iter().map(|(name, f)| (name, *f)),
        )
    }

    fn named(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    const OLD: &str = "\
name: a
wait: {measure_enabled: true}
---
name: b
wait: {measure_enabled: true}
optimizer: {id: abcde/b, token: one}
---
name: c
wait: {measure_enabled: true}
";

    #[test]
    fn servos_are_added_removed_changed_and_unchanged() {
        let new = "\
# another order, another style
optimizer: {token: two, id: abcde/b}
wait: {measure_enabled: true}
name: b
---
name: d
---
wait:
  measure_enabled: yes
name: a
";
        let diff = compare(&servos(OLD, &[]), &servos(new, &[]));
        assert_eq!(
            diff,
            Diff {
                added: named(&["d"]),
                removed: named(&["c"]),
                changed: named(&["b"]),
                unchanged: named(&["a"]),
            }
        );
        assert_eq!(diff.to_string(), "+1 ~1 -1 =1");
    }

    #[test]
    fn the_same_file_changes_nothing() {
        let same = compare(&servos(OLD, &[]), &servos(OLD, &[]));
        assert_eq!(same.unchanged, named(&["a", "b", "c"]));
        assert_eq!(same.to_string(), "+0 ~0 -0 =3");
    }

    #[test]
    fn a_variable_changes_the_servos_that_it_fills() {
        let text = "name: a\nvegeta: {target: 'GET http://a/'}\n---\nname: b\n";
        let rate = |rate| servos(text, &[("SERVO_VEGETA_RATE", rate)]);
        let diff = compare(&rate("5"), &rate("6"));
        assert_eq!(
            (diff.changed, diff.unchanged),
            (named(&["a"]), named(&["b"]))
        );
    }
}
