//! Who asks for what: a fixed sequence of items in which few are popular and many are rare.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::mix;

/// How steeply popularity falls with rank. Web catalogues are usually found between 0.6 and 1.
const EXPONENT: f64 = 0.9;

/// A Zipf-distributed sequence of items, the same one in each run of the service.
#[derive(Debug)]
pub struct Popularity {
    /// `cumulative[r]` is the probability of a rank of at most `r`.
    cumulative: Vec<f64>,
    ranked: Vec<u16>,
    next: AtomicU64,
}

impl Popularity {
    /// The popularity of `items` items; which item holds which rank is drawn once and for all.
    pub fn new(items: u16) -> Self {
        let mut ranked: Vec<u16> = (0..items).collect();
        ranked.sort_by_key(|&item| mix(u64::from(item) ^ 0x9a4e));
        let weights = (1..=items).map(|rank| f64::from(rank).powf(-EXPONENT));
        let total: f64 = weights.clone().sum();
        let cumulative = weights
            .scan(0.0, |sum, weight| {
                *sum += weight / total;
                Some(*sum)
            })
            .collect();
        Self {
            cumulative,
            ranked,
            next: AtomicU64::new(0),
        }
    }

    /// The items, most popular first.
    pub fn ranked(&self) -> &[u16] {
        &self.ranked
    }

    /// The next item somebody asks for.
    pub fn next(&self) -> u16 {
        let draw = mix(self.next.fetch_add(1, Ordering::Relaxed) ^ 0x5eed_0000_0000);
        // The upper 53 bits are exactly the doubles of [0, 1).
        let uniform = (draw >> 11) as f64 / (1u64 << 53) as f64;
        let rank = self
            .cumulative
            .partition_point(|&probability| probability <= uniform);
        // Rounding may leave the last sum just below 1, so the last rank takes what is beyond it.
        self.ranked
            .get(rank)
            .or(self.ranked.last())
            .copied()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_skewed_and_repeatable() {
        let draw = || {
            let popularity = Popularity::new(1000);
            let drawn: Vec<u16> = (0..20_000).map(|_| popularity.next()).collect();
            (popularity.ranked().to_vec(), drawn)
        };
        let (ranked, drawn) = draw();
        assert_eq!((ranked.clone(), drawn.clone()), draw());
        let share = |ranks: &[u16]| {
            drawn.iter().filter(|item| ranks.contains(item)).count() as f64 / drawn.len() as f64
        };
        // Zipf with exponent 0.9 over 1000 ranks: the sums of the first and the second 100.
        assert!(
            (share(&ranked[..100]) - 0.61).abs() < 0.04,
            "{}",
            share(&ranked[..100])
        );
        assert!(share(&ranked[100..200]) < 0.13);
        assert!(share(&ranked[900..]) > 0.0);
    }
}
