//! A document while it is read: its aliases still point at their anchors.

use std::{collections::BTreeMap, sync::Arc};

use serde_yaml::{Mapping, Value};

use crate::{
    Place, YamlErrorKind,
    place::{Branch, Spot},
};

/// A node. Its depth is limited by [`crate::MAX_DEPTH`], so recursion over it is safe.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    Scalar(Value),
    Items(Vec<Item>),
    Keys(Vec<Entry>),
    /// A node that has an anchor.
    Shared(Arc<Tree>),
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) place: Place,
    pub(crate) tree: Tree,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    key: Arc<str>,
    place: Place,
    origin: Origin,
    tree: Tree,
}

/// How a key came into its mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Own,
    Merged,
}

impl Tree {
    /// The value, with every alias replaced by what it stands for.
    pub(crate) fn expand(self) -> (Value, Branch) {
        match self {
            Self::Scalar(value) => (value, Branch::Leaf),
            Self::Items(items) => {
                let mut values = Vec::with_capacity(items.len());
                let mut spots = Vec::with_capacity(items.len());
                for Item { place, tree } in items {
                    let (value, inside) = tree.expand();
                    values.push(value);
                    spots.push(Spot { place, inside });
                }
                (Value::Sequence(values), Branch::Items(spots.into()))
            }
            Self::Keys(entries) => {
                let mut mapping = Mapping::with_capacity(entries.len());
                let mut spots = Vec::with_capacity(entries.len());
                for entry in entries {
                    let (value, inside) = entry.tree.expand();
                    mapping.insert(Value::String((*entry.key).to_owned()), value);
                    let place = entry.place;
                    spots.push((entry.key, Spot { place, inside }));
                }
                spots.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
                (Value::Mapping(mapping), Branch::Keys(spots.into()))
            }
            Self::Shared(tree) => Arc::unwrap_or_clone(tree).expand(),
        }
    }

    fn unshared(self) -> Self {
        match self {
            Self::Shared(tree) => Arc::unwrap_or_clone(tree).unshared(),
            tree => tree,
        }
    }
}

/// The entries of a mapping that is still open, in the order of the text.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    entries: Vec<Entry>,
    index: BTreeMap<Arc<str>, usize>,
}

impl Entries {
    /// Where the mapping itself has this key.
    pub(crate) fn own(&self, key: &str) -> Option<Place> {
        let entry = self.entries.get(*self.index.get(key)?)?;
        (entry.origin == Origin::Own).then_some(entry.place)
    }

    pub(crate) fn insert(&mut self, key: String, place: Place, tree: Tree) {
        let key: Arc<str> = key.into();
        let entry = Entry {
            key: key.clone(),
            place,
            origin: Origin::Own,
            tree,
        };
        match self
            .index
            .get(&key)
            .and_then(|&at| self.entries.get_mut(at))
        {
            Some(merged) => *merged = entry,
            None => self.add(entry),
        }
    }

    /// Adds the keys of the mapping or mappings `tree` that are not yet there.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn merge(&mut self, tree: Tree) -> Result<(), YamlErrorKind> {
        match tree.unshared() {
            Tree::Scalar(_) => Err(YamlErrorKind::BadMerge("a scalar")),
            Tree::Keys(entries) => {
                self.merge_entries(entries);
                Ok(())
            }
            Tree::Items(items) => {
                let mut fits = true;
                for item in items {
                    match item.tree.unshared() {
                        Tree::Keys(entries) => self.merge_entries(entries),
                        _ => fits = false,
                    }
                }
                fits.then_some(()).ok_or(YamlErrorKind::BadMerge(
                    "a list with something else than mappings",
                ))
            }
            // `unshared` has removed all of these.
            Tree::Shared(_) => Ok(()),
        }
    }

    fn merge_entries(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            if !self.index.contains_key(&entry.key) {
                self.add(Entry {
                    origin: Origin::Merged,
                    ..entry
                });
            }
        }
    }

    fn add(&mut self, entry: Entry) {
        self.index.insert(entry.key.clone(), self.entries.len());
        self.entries.push(entry);
    }

    pub(crate) fn close(self) -> Vec<Entry> {
        self.entries
    }
}
