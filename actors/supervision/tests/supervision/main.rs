//! What those around a supervised actor see when it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod arbiters;
mod ends;
mod failing;
mod log;
mod references;
mod restarts;
mod shutdown;
mod weight;
