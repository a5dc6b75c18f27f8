//! A servo with connectors of the tests' own, in conversation with a scripted optimizer over HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod answers;
mod commands;
mod connectors;
mod conversation;
mod ending;
mod failing;
mod leaving;
mod limits;
mod log;
mod payloads;
mod polling;
mod progress;
mod puppet;
mod stage;
mod telemetry;
mod times;
