//! Finished reports, kept until the room is used up.

use bytes::Bytes;

use crate::settings::Admission;

/// Marks the end of the chain of recency.
const NONE: u16 = u16::MAX;

/// Reports by item, bounded in bytes; a full cache lets the one used longest ago go.
///
/// Items are small integers, so the chain of recency lies in arrays beside the reports.
#[derive(Debug)]
pub struct Cache {
    slots: Vec<Slot>,
    newest: u16,
    oldest: u16,
    entries: usize,
    used: usize,
    room: usize,
    doorman: Option<Doorman>,
}

#[derive(Clone, Debug)]
struct Slot {
    body: Option<Bytes>,
    newer: u16,
    older: u16,
}

/// Remembers who was turned away lately.
#[derive(Debug)]
struct Doorman {
    seen: Vec<bool>,
    count: usize,
}

impl Cache {
    /// Room for `room` bytes of reports about the items below `items`.
    pub fn new(items: u16, room: usize, admission: Admission) -> Self {
        let slot = Slot {
            body: None,
            newer: NONE,
            older: NONE,
        };
        let doorman = match admission {
            Admission::Always => None,
            Admission::Second => Some(Doorman {
                seen: vec![false; usize::from(items)],
                count: 0,
            }),
        };
        Self {
            slots: vec![slot; usize::from(items)],
            newest: NONE,
            oldest: NONE,
            entries: 0,
            used: 0,
            room,
            doorman,
        }
    }

    /// Bytes it may hold.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Reports held.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Bytes held.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The report of `item`, which thereby becomes the newest.
    pub fn get(&mut self, item: u16) -> Option<Bytes> {
        let body = self.slots.get(usize::from(item))?.body.clone()?;
        self.unlink(item);
        self.link_newest(item);
        Some(body)
    }

    /// Keeps a report as the newest, unless it is larger than the cache or the admission rule turns
    /// it away.
    pub fn insert(&mut self, item: u16, body: Bytes) {
        let holds = self
            .slots
            .get(usize::from(item))
            .is_some_and(|slot| slot.body.is_some());
        if body.len() > self.room || usize::from(item) >= self.slots.len() {
            return;
        }
        let full = self.used + body.len() > self.room;
        if full
            && !holds
            && self
                .doorman
                .as_mut()
                .is_some_and(|doorman| !doorman.admits(item))
        {
            return;
        }
        self.remove(item);
        while self.used + body.len() > self.room {
            self.remove(self.oldest);
        }
        self.store(item, body);
        self.link_newest(item);
    }

    /// Keeps a report as the oldest if there is room for it; says whether there was.
    pub fn fill(&mut self, item: u16, body: Bytes) -> bool {
        if self.used + body.len() > self.room || usize::from(item) >= self.slots.len() {
            return false;
        }
        self.remove(item);
        self.store(item, body);
        self.link_oldest(item);
        true
    }

    fn store(&mut self, item: u16, body: Bytes) {
        if let Some(slot) = self.slots.get_mut(usize::from(item)) {
            self.used += body.len();
            self.entries += 1;
            slot.body = Some(body);
        }
    }

    fn remove(&mut self, item: u16) {
        let Some(slot) = self.slots.get_mut(usize::from(item)) else {
            return;
        };
        if let Some(body) = slot.body.take() {
            self.used -= body.len();
            self.entries -= 1;
            self.unlink(item);
        }
    }

    fn unlink(&mut self, item: u16) {
        let Some(slot) = self.slots.get_mut(usize::from(item)) else {
            return;
        };
        let (newer, older) = (slot.newer, slot.older);
        match self.slots.get_mut(usize::from(newer)) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(usize::from(older)) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link_newest(&mut self, item: u16) {
        let older = std::mem::replace(&mut self.newest, item);
        match self.slots.get_mut(usize::from(older)) {
            Some(slot) => slot.newer = item,
            None => self.oldest = item,
        }
        if let Some(slot) = self.slots.get_mut(usize::from(item)) {
            (slot.newer, slot.older) = (NONE, older);
        }
    }

    fn link_oldest(&mut self, item: u16) {
        let newer = std::mem::replace(&mut self.oldest, item);
        match self.slots.get_mut(usize::from(newer)) {
            Some(slot) => slot.older = item,
            None => self.newest = item,
        }
        if let Some(slot) = self.slots.get_mut(usize::from(item)) {
            (slot.newer, slot.older) = (newer, NONE);
        }
    }
}

impl Doorman {
    /// Whether `item` was here before; it is from now on. Forgets everybody once an eighth of all
    /// items was seen, or else each would be admitted in the end.
    fn admits(&mut self, item: u16) -> bool {
        if self.count > self.seen.len() / 8 {
            self.seen.fill(false);
            self.count = 0;
        }
        let Some(seen) = self.seen.get_mut(usize::from(item)) else {
            return false;
        };
        let before = std::mem::replace(seen, true);
        self.count += usize::from(!before);
        before
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn body(length: usize) -> Bytes {
        Bytes::from(vec![0; length])
    }

    proptest! {
        /// The arrays behave as the obvious queue of items does.
        #[test]
        fn behaves_as_a_plain_queue(
            steps in prop::collection::vec((0u16..8, prop::option::of(1usize..6)), 0..80)
        ) {
            let mut cache = Cache::new(8, 10, Admission::Always);
            let mut model: VecDeque<(u16, usize)> = VecDeque::new();
            for (item, length) in steps {
                let at = model.iter().position(|(held, _)| *held == item);
                match length {
                    None => {
                        let found = at.and_then(|at| model.remove(at));
                        model.extend(found);
                        prop_assert_eq!(cache.get(item).map(|body| body.len()), found.map(|f| f.1));
                    }
                    Some(length) => {
                        at.and_then(|at| model.remove(at));
                        while model.iter().map(|held| held.1).sum::<usize>() + length > 10 {
                            model.pop_front();
                        }
                        model.push_back((item, length));
                        cache.insert(item, body(length));
                    }
                }
                prop_assert_eq!(cache.entries(), model.len());
                prop_assert_eq!(cache.used(), model.iter().map(|held| held.1).sum::<usize>());
            }
        }
    }

    #[test]
    fn filling_stops_at_the_room_and_keeps_the_first_longest() {
        let mut cache = Cache::new(8, 10, Admission::Always);
        assert!(cache.fill(0, body(4)) && cache.fill(1, body(4)));
        assert!(!cache.fill(2, body(4)));
        cache.insert(3, body(4));
        assert!(cache.get(0).is_some() && cache.get(1).is_none() && cache.get(3).is_some());
    }

    #[test]
    fn a_guarded_full_cache_takes_an_item_at_its_second_coming() {
        let mut cache = Cache::new(64, 8, Admission::Second);
        assert!(cache.fill(0, body(8)));
        cache.insert(1, body(8));
        assert!(cache.get(1).is_none() && cache.get(0).is_some());
        cache.insert(1, body(8));
        assert!(cache.get(1).is_some() && cache.get(0).is_none());
    }

    #[test]
    fn what_is_larger_than_the_cache_is_not_kept() {
        let mut cache = Cache::new(8, 0, Admission::Always);
        cache.insert(0, body(1));
        assert_eq!((cache.entries(), cache.get(0)), (0, None));
    }
}
