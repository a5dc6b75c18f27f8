//! Which checks are wanted (`spec/events-and-checks.md` §6.7).

use std::{collections::BTreeSet, fmt};

use regex::Regex;
use servo_messages::Severity;
use thiserror::Error;

use super::check::{CheckId, Tag};

/// Selects checks. All constraints must hold; the empty filter selects everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckFilter {
    /// The name is one of these.
    pub name: Option<Patterns>,
    /// The id is one of these.
    pub id: Option<Patterns>,
    /// At least one of the tags is one of these. The empty set selects nothing.
    pub tags: Option<BTreeSet<String>>,
    /// Leave out the critical checks that stand before a selected one, which would run as well.
    pub exclusive: bool,
}

/// Exact texts and regular expressions, of which one has to match; none of none does.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    exact: BTreeSet<Box<str>>,
    /// Match anywhere in the text, as they do in ServoX.
    regexes: Vec<Regex>,
}

/// A value that selects no checks, in a file or on the command line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{key}: {problem}")]
pub struct FilterError {
    /// `name`, `id` or `tag`.
    pub key: &'static str,
    /// Where in the list of values.
    pub index: usize,
    /// What is wrong.
    pub problem: PatternError,
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// Nothing could match it.
    #[error(
        "empty entry in {0:?}: expected a text{or_regex}",
        or_regex = ", or /a regular expression/"
    )]
    Empty(String),
    /// Between its slashes stands no regular expression.
    #[error("'{pattern}' is no regular expression: {reason}")]
    Regex {
        /// With its slashes.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

// === impl Patterns ===

impl Patterns {
    /// Reads texts; one between slashes is a regular expression.
    ///
    /// # Errors
    /// At the first that is empty or no regular expression, with its index.
    pub fn parse(texts: &[impl AsRef<str>]) -> Result<Self, (usize, PatternError)> {
        Self::of(texts, |text| vec![text])
    }

    /// As [`Patterns::parse`], where a text may also be several with commas between them.
    ///
    /// # Errors
    /// At the first that is empty or no regular expression, with its index.
    pub fn parse_lists(texts: &[impl AsRef<str>]) -> Result<Self, (usize, PatternError)> {
        Self::of(texts, |text| text.split(',').map(str::trim).collect())
    }

    /// This text alone, whatever it looks like.
    pub fn exactly(text: impl Into<Box<str>>) -> Self {
        Self {
            exact: BTreeSet::from([text.into()]),
            regexes: Vec::new(),
        }
    }

    fn of<'t, T: AsRef<str> + 't>(
        texts: &'t [T],
        split: impl Fn(&'t str) -> Vec<&'t str>,
    ) -> Result<Self, (usize, PatternError)> {
        let mut patterns = Self::default();
        for (index, text) in texts.iter().enumerate() {
            let text = text.as_ref();
            match between_slashes(text) {
                Some("") => return Err((index, PatternError::Empty(text.to_owned()))),
                Some(pattern) => {
                    let regex = Regex::new(pattern).map_err(|error| {
                        let pattern = text.to_owned();
                        let reason = reason(&error);
                        (index, PatternError::Regex { pattern, reason })
                    })?;
                    patterns.regexes.push(regex);
                }
                None => {
                    for part in split(text) {
                        if part.trim().is_empty() {
                            return Err((index, PatternError::Empty(text.to_owned())));
                        }
                        patterns.exact.insert(part.into());
                    }
                }
            }
        }
        Ok(patterns)
    }

    /// Whether one of them matches.
    pub fn matches(&self, text: &str) -> bool {
        self.exact.contains(text) || self.regexes.iter().any(|regex| regex.is_match(text))
    }

    /// Whether a text that begins like this can match.
    fn may_match_prefix(&self, prefix: &str) -> bool {
        !self.regexes.is_empty() || self.exact.iter().any(|text| text.starts_with(prefix))
    }

    /// What they were read from.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        let exact = self.exact.iter().map(ToString::to_string);
        exact.chain(self.regexes.iter().map(|regex| format!("/{regex}/")))
    }
}

/// What stands between the slashes of a regular expression. A lone slash is an empty one.
fn between_slashes(text: &str) -> Option<&str> {
    if text == "/" {
        return Some("");
    }
    text.strip_prefix('/')?.strip_suffix('/')
}

/// The error without the drawing of the pattern above it.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim().trim_start_matches("error: ").to_owned()
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Self) -> bool {
        self.texts().eq(other.texts())
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().collect::<Vec<_>>().join(", "))
    }
}

// === impl CheckFilter ===

impl CheckFilter {
    /// Reads what a file or a command line says; none is no constraint. Names and ids may be regular expressions
    /// between slashes; ids and tags may be several with commas between them.
    ///
    /// # Errors
    /// At the first entry that is empty or no regular expression.
    pub fn parse(
        name: Option<&[String]>,
        id: Option<&[String]>,
        tag: Option<&[String]>,
    ) -> Result<Self, FilterError> {
        let at = |key| {
            move |(index, problem)| FilterError {
                key,
                index,
                problem,
            }
        };
        Ok(Self {
            name: name.map(Patterns::parse).transpose().map_err(at("name"))?,
            id: id
                .map(Patterns::parse_lists)
                .transpose()
                .map_err(at("id"))?,
            tags: tag.map(tags).transpose().map_err(at("tag"))?,
            exclusive: false,
        })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.name.is_none() && self.id.is_none() && self.tags.is_none()
    }

    /// Whether it selects a check of these properties.
    pub fn matches(&self, name: &str, id: &CheckId, tags: &BTreeSet<Tag>) -> bool {
        let common =
            |wanted: &BTreeSet<String>| tags.iter().any(|tag| wanted.contains(tag.as_str()));
        self.name.as_ref().is_none_or(|p| p.matches(name))
            && self.id.as_ref().is_none_or(|p| p.matches(id.as_str()))
            && self.tags.as_ref().is_none_or(common)
    }

    /// Whether it can select anything in a group with this id and these tags, whose items are not known yet.
    pub(crate) fn may_match_in_group(&self, id: Option<&CheckId>, tags: &BTreeSet<Tag>) -> bool {
        let tags_match = self
            .tags
            .as_ref()
            .is_none_or(|wanted| tags.iter().any(|tag| wanted.contains(tag.as_str())));
        let id_may_match = match (&self.id, id) {
            (Some(wanted), Some(id)) => wanted.may_match_prefix(id.as_str()),
            _ => true,
        };
        tags_match && id_may_match
    }

    /// Which of some checks, in order, are to run: those that match, and the critical ones before the last of them,
    /// which they may build on (`spec/events-and-checks.md` §6.8).
    pub(crate) fn selection<'c>(
        &self,
        checks: impl Iterator<Item = (&'c str, &'c CheckId, &'c BTreeSet<Tag>, Severity)>,
    ) -> Vec<bool> {
        let mut required = Vec::new();
        let mut wanted: Vec<bool> = checks
            .map(|(name, id, tags, severity)| {
                required.push(severity == Severity::Critical && !self.exclusive);
                self.matches(name, id, tags)
            })
            .collect();
        if let Some(last) = wanted.iter().rposition(|w| *w) {
            for (wanted, required) in wanted.iter_mut().zip(required).take(last) {
                *wanted |= required;
            }
        }
        wanted
    }
}

fn tags(texts: &[String]) -> Result<BTreeSet<String>, (usize, PatternError)> {
    let mut tags = BTreeSet::new();
    for (index, text) in texts.iter().enumerate() {
        for part in text.split(',').map(str::trim) {
            if part.is_empty() {
                return Err((index, PatternError::Empty(text.clone())));
            }
            tags.insert(part.to_owned());
        }
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn patterns_are_what_they_were_read_from(texts in prop::collection::vec("/?[a-c,.+(\\[ ]{0,5}/?", 0..4)) {
            if let Ok(patterns) = Patterns::parse(&texts) {
                let again: Vec<String> = patterns.texts().collect();
                prop_assert_eq!(Patterns::parse(&again).unwrap(), patterns.clone());
                for text in texts.iter().filter(|t| between_slashes(t).is_none()) {
                    prop_assert!(patterns.matches(text));
                }
            }
        }
    }

    fn list(texts: &[&str]) -> Option<Vec<String>> {
        Some(texts.iter().map(ToString::to_string).collect())
    }

    fn filter(name: Option<&[&str]>, id: Option<&[&str]>, tag: Option<&[&str]>) -> CheckFilter {
        try_filter(name, id, tag).unwrap()
    }

    fn try_filter(
        name: Option<&[&str]>,
        id: Option<&[&str]>,
        tag: Option<&[&str]>,
    ) -> Result<CheckFilter, FilterError> {
        let [name, id, tag] = [name, id, tag].map(|texts| texts.and_then(list));
        CheckFilter::parse(name.as_deref(), id.as_deref(), tag.as_deref())
    }

    /// The checks of the table in `spec/events-and-checks.md` §6.7.
    fn selected(filter: &CheckFilter) -> String {
        [
            ('a', "name-only", "check_one", &[][..]),
            ('b', "name-and-id", "explicit-id", &[]),
            ('c', "with tags", "check_three", &["one", "two"]),
            ('d', "more tags", "check_four", &["one", "two"]),
            ('e', "other tags", "check_five", &["three", "four"]),
            ('f', "last tags", "check_six", &["one", "four"]),
        ]
        .into_iter()
        .filter(|(_, name, id, tags)| {
            let tags = tags.iter().map(|t| Tag::try_new(t).unwrap()).collect();
            filter.matches(name, &CheckId::try_new(*id).unwrap(), &tags)
        })
        .map(|(letter, ..)| letter)
        .collect()
    }

    #[test]
    fn the_table_of_the_spec() {
        for (wanted, filter) in [
            ("abcdef", filter(None, None, None)),
            ("a", filter(Some(&["name-only"]), None, None)),
            ("", filter(Some(&["Name-Only"]), None, None)),
            (
                "ab",
                filter(Some(&["name-only", "name-and-id"]), None, None),
            ),
            ("", filter(Some(&["name-only,name-and-id"]), None, None)),
            ("", filter(Some(&[]), None, None)),
            ("cdef", filter(Some(&["/.*tags/"]), None, None)),
            ("", filter(Some(&["/.*TAGS/"]), None, None)),
            ("acdef", filter(Some(&["name-only", "/tags$/"]), None, None)),
            ("bef", filter(None, Some(&["/[i]+/"]), None)),
            ("ab", filter(None, Some(&["check_one, explicit-id"]), None)),
            (
                "abf",
                filter(None, Some(&["check_one,explicit-id", "check_six"]), None),
            ),
            ("cdf", filter(None, None, Some(&["one"]))),
            ("cdef", filter(None, None, Some(&["one, four"]))),
            ("cdef", filter(None, None, Some(&["one", "four"]))),
            ("", filter(None, None, Some(&[]))),
            ("", filter(None, None, Some(&["/one/"]))),
            ("ef", filter(None, Some(&["/[i]+/"]), Some(&["four"]))),
            ("", filter(Some(&["name-only"]), Some(&["check_six"]), None)),
        ] {
            assert_eq!(selected(&filter), wanted, "{filter:?}");
        }
    }

    #[test]
    fn what_selects_nothing_by_mistake_is_told_with_its_key() {
        for (wanted, told) in [
            (
                "id: '/[/' is no regular expression: unclosed character class",
                try_filter(None, Some(&["ok", "/[/"]), None),
            ),
            (
                "name: empty entry in \"\": expected a text, or /a regular expression/",
                try_filter(Some(&[""]), None, None),
            ),
            (
                "name: empty entry in \"/\": expected a text, or /a regular expression/",
                try_filter(Some(&["/"]), None, None),
            ),
            (
                "id: empty entry in \"//\": expected a text, or /a regular expression/",
                try_filter(None, Some(&["//"]), None),
            ),
            (
                "tag: empty entry in \"a,,b\": expected a text, or /a regular expression/",
                try_filter(None, None, Some(&["a,,b"])),
            ),
        ] {
            assert_eq!(told.unwrap_err().to_string(), wanted);
        }
    }
}
