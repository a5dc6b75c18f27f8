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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{Environment, LoadOptions, Need, OptimizerFlags, Source, load_text};

    fn servos(text: &str, variables: &[(&str, &str)]) -> Vec<ServoConfig> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let options = LoadOptions {
            registry: &crate::connectors::bundled(),
            environment: &Environment::new(variables, [].into()),
            flags: &OptimizerFlags::default(),
            optimizer: Need::Optional,
            words: None,
            keep_given: false,
        };
        let source = Source {
            name: "servo.yaml".to_owned(),
            path: None,
        };
        load_text(&source, text, &options).unwrap().servos
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
        let diff = diff(&servos(OLD, &[]), &servos(new, &[]));
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
        let same = diff(&servos(OLD, &[]), &servos(OLD, &[]));
        assert_eq!(same.unchanged, named(&["a", "b", "c"]));
        assert_eq!(same.to_string(), "+0 ~0 -0 =3");
    }

    #[test]
    fn a_variable_changes_the_servos_that_it_fills() {
        let text = "name: a\nvegeta: {target: 'GET http://a/'}\n---\nname: b\n";
        let rate = |rate| servos(text, &[("SERVO_VEGETA_RATE", rate)]);
        let diff = diff(&rate("5"), &rate("6"));
        assert_eq!(
            (diff.changed, diff.unchanged),
            (named(&["a"]), named(&["b"]))
        );
    }
}
