//! What is wrong with a configuration, told so that it can be mended (`spec/config-and-cli.md` §2.10).

use std::{fmt, path::PathBuf};

use thiserror::Error;

use super::locate::{Location, locate};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which document of the file, counted from 1; none for the file as a whole.
    pub document: Option<usize>,
    /// Keys from the document down.
    pub path: Vec<String>,
    /// What is wrong and what was expected.
    pub message: String,
    /// The nearest right name, when a name is wrong.
    pub nearest: Option<String>,
    /// Where in the file; none when it is nowhere in it.
    pub location: Option<Location>,
}

/// A configuration that cannot be used: everything that is wrong with it, at once.
#[derive(Clone, Debug, Error)]
pub struct InvalidConfig {
    /// The file.
    pub file: PathBuf,
    /// What is wrong; never empty.
    pub problems: Vec<Problem>,
}

impl Problem {
    pub(crate) fn new(document: usize, path: &[&str], message: impl Into<String>) -> Self {
        Self {
            document: Some(document),
            path: path.iter().map(ToString::to_string).collect(),
            message: message.into(),
            nearest: None,
            location: None,
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

    /// Points at the place in `text`, the file's.
    pub(crate) fn located(mut self, text: &str) -> Self {
        if let Some(document) = self.document {
            self.location = locate(text, document, &self.path);
        }
        self
    }

    /// Adds the one of `known` that `name` was probably meant to be.
    pub(crate) fn suggest<'a>(
        mut self,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.nearest = nearest(name, known).map(str::to_owned);
        self
    }

    /// Splits a path such as `components[0].settings` into its keys.
    pub(crate) fn below(mut self, path: &str) -> Self {
        let keys = path
            .split(['.', '[', ']'])
            .filter(|key| !key.is_empty())
            .map(str::to_owned);
        self.path.extend(keys);
        self
    }
}

/// The name among `known` that is closest to `name`, if any is close.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(name, k), k))
        .filter(|(distance, k)| *distance <= 2.max(k.len().max(name.len()) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(document) = self.document {
            write!(f, "document {document}")?;
            if !self.path.is_empty() {
                write!(f, ": {}", self.path.join(" -> "))?;
            }
            if let Some(location) = self.location {
                write!(f, " ({location})")?;
            }
            write!(f, "\n  ")?;
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
        writeln!(f, "X Invalid configuration in {}", self.file.display())?;
        let n = self.problems.len();
        write!(f, "{n} problem{}", if n == 1 { "" } else { "s" })?;
        for problem in &self.problems {
            write!(f, "\n{problem}")?;
        }
        Ok(())
    }
}
