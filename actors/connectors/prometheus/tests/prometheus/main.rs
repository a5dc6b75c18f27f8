//! The connector against servers that answer, refuse, stall and lie.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod asking;
mod checking;
mod configuring;
mod connecting;
mod measuring;
mod real;
mod streaming;
mod watching;
mod world;
