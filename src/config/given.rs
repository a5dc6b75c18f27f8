//! What was given for a servo, and where it came from (`spec/config-and-cli.md` §3.4, §7.5).

use std::{collections::BTreeMap, fmt};

use serde_yaml::Mapping;
use servo_yaml::Place;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The assembly file, at this place; none where an anchor or a merge hides it.
    File(Option<Place>),
    /// A variable of the environment or of `.env`.
    Variable(String),
    /// An option on the command line.
    Flag(&'static str),
    /// A file that is read when nothing else is said.
    Path(&'static str),
    /// Nobody said otherwise.
    Default,
}

/// A document with everything that was filled in, for those who show it. It holds secrets in the
/// clear.
#[derive(Clone, Default)]
pub struct Given {
    /// The document: each value that somebody gave, coerced to its kind; of the optimizer also its
    /// computed addresses.
    pub document: Mapping,
    /// Where values came from that are not from the file, by path.
    pub origins: BTreeMap<Vec<String>, Origin>,
    /// Where the keys of the file stand.
    pub places: Option<servo_yaml::Places>,
}

impl Given {
    /// Where the value at `path` came from: from where the nearest part of it around it did.
    pub fn origin(&self, path: &[String]) -> Origin {
        (1..=path.len())
            .rev()
            .find_map(|depth| {
                let part = path.get(..depth)?;
                let written = || {
                    let place = self.places.as_ref()?.exact(part)?;
                    Some(Origin::File(Some(place)))
                };
                self.origins.get(part).cloned().or_else(written)
            })
            .unwrap_or(Origin::Default)
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").finish_non_exhaustive()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(Some(place)) => write!(f, "{place}"),
            Self::File(None) => f.write_str("file"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(flag) => write!(f, "option {flag}"),
            Self::Path(path) => write!(f, "file {path}"),
            Self::Default => f.write_str("default"),
        }
    }
}
