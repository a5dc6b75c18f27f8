//! The vocabulary against its contract: the tables of `spec/config-and-cli.md §6`, round trips, and parsers fed with
//! anything.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod acceptance;
mod adjustment;
mod agreement;
mod configuration;
mod control;
mod description;
mod duration;
mod error;
mod measurement;
mod number;
mod progress;
mod quantity;
mod setting;
mod slo;
mod strategies;
