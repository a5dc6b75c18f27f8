//! Shapes of real and of contrived types, as a program that reads configuration uses them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod checking;
mod describing;
mod differential;
mod environment;
mod types;
