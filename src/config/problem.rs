//! What is wrong with a configuration, told so that it can be mended (`spec/config-and-cli.md` §2.10).

use std::fmt;

use servo_shape::nearest;
use servo_yaml::Place;
use thiserror::Error;

use super::credentials::hidden;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which document of a file of several, counted from 1.
    pub document: Option<usize>,
    /// Keys from the document down.
    pub path: Vec<String>,
    /// What is wrong and what was expected.
    pub message: String,
    /// The nearest right name, when a name is wrong.
    pub nearest: Option<String>,
    /// Where in the file; none when it is nowhere in it.
    pub place: Option<Place>,
}

/// A configuration that cannot be used: everything that is wrong with it, at once.
#[derive(Clone, Debug, Error)]
pub struct InvalidConfig {
    /// The file, as it was named.
    pub file: String,
    /// What is wrong; never empty.
    pub problems: Vec<Problem>,
}

impl Problem {
    pub(super) fn new<S: AsRef<str>>(path: &[S], message: impl Into<String>) -> Self {
        Self {
            document: None,
            path: path
                .iter()
                .map(|key| hidden(key.as_ref()).into_owned())
                .collect(),
            message: hidden(&message.into()).into_owned(),
            nearest: None,
            place: None,
        }
        .suggest_quoted()
    }

    /// Adds the nearest name to what serde says of an unknown field or variant: it quotes the
    /// wrong name first, then all right ones.
    fn suggest_quoted(self) -> Self {
        let message = self.message.clone();
        let mut quoted = message.split('`').skip(1).step_by(2);
        match quoted.next() {
            Some(wrong) if message.starts_with("unknown ") => self.suggest(wrong, quoted),
            _ => self,
        }
    }

    /// Adds the one of `known` that `name` was probably meant to be.
    pub(super) fn suggest<'a>(
        mut self,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.nearest = nearest(name, known).map(str::to_owned);
        self
    }

    /// Extends the path by the keys of one such as `components[0].settings`.
    pub(super) fn below(mut self, path: &str) -> Self {
        self.path.extend(keys(path));
        self
    }
}

/// The keys of a path such as `components[0].settings`.
pub(super) fn keys(path: &str) -> impl Iterator<Item = String> + '_ {
    path.split(['.', '[', ']'])
        .filter(|key| !key.is_empty())
        .map(str::to_owned)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut head = Vec::new();
        if let Some(document) = self.document {
            head.push(format!("document {document}"));
        }
        if !self.path.is_empty() {
            head.push(self.path.join(" -> "));
        }
        let mut head = head.join(": ");
        if let Some(place) = self.place {
            let place = if head.is_empty() {
                place.to_string()
            } else {
                format!(" ({place})")
            };
            head.push_str(&place);
        }
        if !head.is_empty() {
            write!(f, "{head}\n  ")?;
        }
        f.write_str(&self.message)?;
        if let Some(nearest) = &self.nearest {
            write!(f, " (did you mean \"{nearest}\"?)")?;
        }
        Ok(())
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "X Invalid configuration in {}", self.file)?;
        let n = self.problems.len();
        write!(f, "{n} problem{}", if n == 1 { "" } else { "s" })?;
        for problem in &self.problems {
            write!(f, "\n{problem}")?;
        }
        Ok(())
    }
}
