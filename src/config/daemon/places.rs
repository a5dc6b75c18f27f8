//! Where the keys of `servo.toml` stand.

use std::collections::HashMap;

use servo_yaml::Place;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The places of the keys of a TOML text, by their paths.
#[derive(Debug, Default)]
pub(super) struct Places(HashMap<Vec<String>, Place>);

/// What is wrong with TOML itself.
#[derive(Debug)]
pub(super) struct NotToml {
    pub(super) message: String,
    pub(super) place: Option<Place>,
}

impl Places {
    /// Those of `text`.
    ///
    /// # Errors
    /// When it is no TOML.
    pub(super) fn of(text: &str) -> Result<Self, NotToml> {
        let table = DeTable::parse(text).map_err(|error| NotToml {
            message: error.message().replace('\n', ", "),
            place: error.span().map(|span| place(text, span.start)),
        })?;
        let mut places = Self::default();
        places.add(text, &mut Vec::new(), table.get_ref());
        Ok(places)
    }

    /// That of the key at `path`, or of what is nearest around it.
    pub(super) fn at(&self, path: &[String]) -> Option<Place> {
        (1..=path.len())
            .rev()
            .find_map(|depth| self.0.get(path.get(..depth)?).copied())
    }

    fn add(&mut self, text: &str, path: &mut Vec<String>, table: &DeTable<'_>) {
        for (key, value) in table {
            path.push(key.get_ref().to_string());
            self.0
                .insert(path.clone(), place(text, Spanned::span(key).start));
            if let DeValue::Table(inner) = value.get_ref() {
                self.add(text, path, inner);
            }
            path.pop();
        }
    }
}

/// The place of the byte at `offset`.
fn place(text: &str, offset: usize) -> Place {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default();
    Place {
        line,
        column: column.chars().count() + 1,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_of_all_kinds_of_tables() {
        let text =
            "watch = true\n[log]\n  level = 'x'\nfile = {keep = 1}\n[admin]\n\"listen\" = 'ü'\n";
        let places = Places::of(text).unwrap();
        for (path, told) in [
            (&["watch"][..], "line 1, column 1"),
            (&["log"], "line 2, column 2"),
            (&["log", "level"], "line 3, column 3"),
            (&["log", "file", "keep"], "line 4, column 9"),
            (&["log", "file", "directory"], "line 4, column 1"),
            (&["admin", "listen"], "line 6, column 1"),
        ] {
            let path: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
            assert_eq!(places.at(&path).unwrap().to_string(), told, "{path:?}");
        }
        assert_eq!(places.at(&["arbiters".to_owned()]), None);
        let error = Places::of("a = 1\n[b").unwrap_err();
        assert_eq!(error.place.unwrap().line, 2);
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,60}", more in "[a-z\\[\\]=\"{}., \n]{0,40}") {
            let _ = Places::of(&text);
            let _ = Places::of(&more);
        }
    }
}
