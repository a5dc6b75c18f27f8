//! Events between connectors that fail in every way, as a caller sees them.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod acceptance;
mod around;
mod checks;
mod declaring;
mod dynamic;
mod exchange;
mod failing;
mod lifecycle;
mod log;
mod membership;
mod nested;
mod repeating;
mod several;
mod stages;
mod telemetry;
mod time;
mod troupe;
