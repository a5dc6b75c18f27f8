//! The running program: its actor system, supervision tree, signals and logs.

pub mod admin;
pub mod banner;
mod check;
mod detach;
mod diagnostics;
mod fitness;
pub mod fleet;
pub mod logging;
mod open_files;
mod operator;
mod optimizers;
mod own_check;
pub mod run;
mod signals;
mod systemd;
mod tree;
mod watch;

pub use check::{CheckError, Checked, ServoChecks, Teller, ToCheck, check};
pub use detach::detach;
pub use fitness::Unfit;
pub use fleet::Fleet;
pub use logging::InitError;
pub use optimizers::{OptimizerError, Optimizers};
pub use run::{Plan, Polls, RunError, Study, run};
pub use signals::{Requests, Signal, Signals};
pub use tree::{StartError, Tree, block_on, servo_spec};

/// What this program calls itself to optimizers: product and version.
pub const AGENT: &str = concat!("github.com/servo/servo v", env!("CARGO_PKG_VERSION"));
