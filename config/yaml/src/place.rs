//! Where in a text something stands.

use std::{fmt, sync::Arc};

use saphyr_parser::Marker;

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

impl From<Marker> for Place {
    fn from(marker: Marker) -> Self {
        Self {
            line: marker.line(),
            column: marker.col() + 1,
        }
    }
}

/// The places of all keys and list items of one document.
///
/// A key or item with an anchor or a tag stands where that begins; an empty item stands at its dash.
/// What came in through an alias or a merge key stands where its anchor has it.
#[derive(Clone, Debug, Default)]
pub struct Places {
    root: Branch,
}

/// The places inside a value.
#[derive(Clone, Debug, Default)]
pub(crate) enum Branch {
    #[default]
    Leaf,
    Items(Box<[Spot]>),
    /// Sorted by key.
    Keys(Box<[(Arc<str>, Spot)]>),
}

/// A key or an item.
#[derive(Clone, Debug)]
pub(crate) struct Spot {
    pub(crate) place: Place,
    pub(crate) inside: Branch,
}

impl Places {
    pub(crate) fn new(root: Branch) -> Self {
        Self { root }
    }

    /// The place of the key or list item at `path` (`"0"`, `"1"`, … for items). Where the path goes on into what is
    /// not in the document, the place of its deepest part that is: what is missing has no place, but what it is
    /// missing from does. `None` if not even the first part is there.
    #[must_use]
    pub fn of<S: AsRef<str>>(&self, path: &[S]) -> Option<Place> {
        self.walk(path).1
    }

    /// The place of the key or list item at `path`, if it is in the document.
    #[must_use]
    pub fn exact<S: AsRef<str>>(&self, path: &[S]) -> Option<Place> {
        let (depth, place) = self.walk(path);
        place.filter(|_| depth == path.len())
    }

    /// How many parts of `path` are in the document, and the place of the last of them.
    fn walk<S: AsRef<str>>(&self, path: &[S]) -> (usize, Option<Place>) {
        let mut inside = &self.root;
        let mut found = None;
        for (depth, part) in path.iter().enumerate() {
            match inside.get(part.as_ref()) {
                Some(spot) => {
                    found = Some(spot.place);
                    inside = &spot.inside;
                }
                None => return (depth, found),
            }
        }
        (path.len(), found)
    }
}

impl Branch {
    fn get(&self, part: &str) -> Option<&Spot> {
        match self {
            Self::Leaf => None,
            Self::Items(items) => items.get(index(part)?),
            Self::Keys(keys) => {
                let at = keys.binary_search_by(|(key, _)| (**key).cmp(part)).ok()?;
                keys.get(at).map(|(_, spot)| spot)
            }
        }
    }
}

/// An index as this crate writes it: no sign, no leading zeros.
fn index(part: &str) -> Option<usize> {
    let digits = part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (part.len() > 1 && part.starts_with('0')) {
        return None;
    }
    part.parse().ok()
}
