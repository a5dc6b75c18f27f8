//! Values in the order of their keys, which only grow.

use crate::node::Key;

/// A map for keys that are given out in growing order.
///
/// Thousands of supervisors have three or four children each, and one has thousands: this takes no more memory than
/// its values and a key each, and finds and removes in logarithmic time. A removed value leaves a gap until there are
/// more gaps than values.
#[derive(Debug)]
pub(crate) struct Ordered<T> {
    entries: Vec<(Key, Option<T>)>,
    gaps: usize,
}

/// Fewer gaps than these are not worth the work.
const FEW: usize = 16;

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            gaps: 0,
        }
    }
}

impl<T> Ordered<T> {
    /// Room for so many more, and not for one above.
    pub(crate) fn reserve_exact(&mut self, more: usize) {
        self.entries.reserve_exact(more);
    }

    /// Adds a value, in its place should the key not be the greatest yet.
    pub(crate) fn insert(&mut self, key: Key, value: T) {
        match self.entries.last() {
            Some((last, _)) if *last >= key => match self.position(key) {
                Ok(place) => {
                    if let Some((_, entry)) = self.entries.get_mut(place)
                        && entry.replace(value).is_none()
                    {
                        self.gaps -= 1;
                    }
                }
                Err(place) => self.entries.insert(place, (key, Some(value))),
            },
            _ => self.entries.push((key, Some(value))),
        }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let place = self.position(key).ok()?;
        self.entries.get(place)?.1.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.position(key).ok()?;
        self.entries.get_mut(place)?.1.as_mut()
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.position(key).ok()?;
        let removed = self.entries.get_mut(place)?.1.take()?;
        self.gaps += 1;
        while let Some((_, None)) = self.entries.last() {
            self.entries.pop();
            self.gaps -= 1;
        }
        if self.gaps > FEW && self.gaps > self.entries.len() / 2 {
            self.entries.retain(|(_, value)| value.is_some());
            self.entries.shrink_to(self.entries.len() * 2);
            self.gaps = 0;
        }
        Some(removed)
    }

    /// The value with the greatest key.
    pub(crate) fn last(&self) -> Option<(Key, &T)> {
        let (key, value) = self.entries.last()?;
        Some((*key, value.as_ref()?))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        let entries = self.entries.iter();
        entries.filter_map(|(key, value)| Some((*key, value.as_ref()?)))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.gaps
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn position(&self, key: Key) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&key, |(key, _)| *key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        /// Whatever is added and removed, it holds what a map would.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((any::<bool>(), 0_u64..80), 0..300)) {
            let mut ordered = Ordered::default();
            let mut map = BTreeMap::new();
            let mut next = 0;
            for (adds, key) in steps {
                if adds {
                    ordered.insert(next, next * 10);
                    map.insert(next, next * 10);
                    next += 1;
                } else {
                    prop_assert_eq!(ordered.remove(key), map.remove(&key));
                }
                prop_assert_eq!(ordered.get(key), map.get(&key));
                prop_assert_eq!(ordered.len(), map.len());
                prop_assert_eq!(ordered.is_empty(), map.is_empty());
                prop_assert_eq!(ordered.last(), map.last_key_value().map(|(key, value)| (*key, value)));
            }
            let all: Vec<_> = ordered.iter().map(|(key, value)| (key, *value)).collect();
            prop_assert_eq!(all, map.into_iter().collect::<Vec<_>>());
            prop_assert!(ordered.gaps <= FEW || ordered.gaps <= ordered.len());
        }
    }

    #[test]
    fn a_key_that_comes_late_finds_its_place() {
        let mut ordered = Ordered::default();
        for key in [1, 5, 3, 5] {
            ordered.insert(key, key);
        }
        assert_eq!(ordered.values().copied().collect::<Vec<_>>(), [1, 3, 5]);
        assert_eq!(ordered.get_mut(3).copied(), Some(3));
    }
}
