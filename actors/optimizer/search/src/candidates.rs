//! Configurations worth a look: everywhere, and around the best.

use crate::record::Record;
use crate::sampling::{Lattice, gaussian};
use crate::space::{Point, Space};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use std::collections::HashSet;

/// Spaces of at most this many points are looked at completely.
const ENUMERABLE: u128 = 1500;

/// Collects configurations that were neither tried nor collected before.
pub(crate) struct Candidates<'a> {
    space: &'a Space,
    record: &'a Record,
    seen: HashSet<Vec<u64>>,
}

impl<'a> Candidates<'a> {
    pub(crate) fn new(space: &'a Space, record: &'a Record) -> Self {
        Self {
            space,
            record,
            seen: HashSet::new(),
        }
    }

    fn accept(&mut self, point: Point) -> Option<Point> {
        if self.record.position(self.space, &point).is_some() {
            return None;
        }
        self.seen.insert(self.space.key(&point)).then_some(point)
    }

    /// Every untried configuration of a small space.
    pub(crate) fn all(&mut self) -> Option<Vec<Point>> {
        let points = self.space.enumerate(ENUMERABLE)?;
        Some(
            points
                .into_iter()
                .filter_map(|point| self.accept(point))
                .collect(),
        )
    }

    /// About `count` configurations from everywhere.
    pub(crate) fn spread(&mut self, count: usize, rng: &mut ChaCha8Rng) -> Vec<Point> {
        let mut lattice = Lattice::new(self.space.axes().len(), rng);
        (0..count)
            .filter_map(|_| {
                let point = self.space.place(lattice.next_place());
                self.accept(point)
            })
            .collect()
    }

    /// About `count` configurations around a place, most of them within `radius` of it (of the unit interval).
    pub(crate) fn around(
        &mut self,
        point: &[f64],
        radius: f64,
        count: usize,
        rng: &mut ChaCha8Rng,
    ) -> Vec<Point> {
        let axes = self.space.axes();
        let place = self.space.scale(point);
        // Few coordinates at a time: most settings of a good configuration are right.
        let share = (2.5 / axes.len() as f64).clamp(0.25, 1.0);
        (0..count)
            .filter_map(|_| {
                let mut moved = place.clone();
                let forced = rng.random_range(0..axes.len());
                let mut steps = vec![0.0; axes.len()];
                for (index, axis) in axes.iter().enumerate() {
                    if index != forced && rng.random::<f64>() > share {
                        continue;
                    }
                    if axis.is_choice() {
                        if index == forced || rng.random::<f64>() < 0.3 {
                            moved[index] = rng.random_range(0..axis.options()) as f64;
                        }
                    } else {
                        let step = radius * gaussian(rng);
                        moved[index] = (place[index] + step).clamp(0.0, 1.0);
                        steps[index] = step;
                    }
                }
                let mut next = self.space.unscale(&moved);
                for (index, axis) in axes.iter().enumerate() {
                    // A move too small for the grid goes to the neighbour.
                    if steps[index] != 0.0 && axis.has_grid() && next[index] == point[index] {
                        next[index] = axis.neighbour(point[index], steps[index].signum());
                    }
                }
                self.accept(next)
            })
            .collect()
    }
}
