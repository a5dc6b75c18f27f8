//! Real children, seen from outside: through `/proc`, sockets and files.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod adjusting;
mod checking;
mod configuring;
mod connecting;
mod ending;
mod output;
mod roles;
mod starting;
mod world;
