//! A small HTTP service to tune: the target of `make demo`.
//!
//! It serves sales reports, one for each item of a shop. The sales are kept as one packed,
//! time-ordered ledger, so a report costs a pass over the ledger, a rendering and a compression.
//! What that costs, and how long a client waits, depends on five [`settings`]: the number of worker
//! threads, the time a worker lingers to share one pass between several reports, the compression
//! level, the size of the cache and what the cache admits.
//!
//! # What this crate knows
//!
//! How to generate the shop ([`ledger`], [`popularity`]), make a report ([`report`]), share passes
//! between reports ([`workers`]), keep finished reports ([`cache`]) and speak HTTP ([`server`]).
//!
//! # What it must not know
//!
//! That it is being tuned. It has no delay, no curve and no special case for a measurement: every
//! millisecond is work or waiting for company, every byte is sent. It shares no code with Servo.

pub mod cache;
pub mod ledger;
pub mod popularity;
pub mod report;
pub mod server;
pub mod settings;
pub mod workers;

/// SplitMix64: a good hash of a counter, so that generated data needs no state and no seed file.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
