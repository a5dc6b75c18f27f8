//! The running program: its actor system, supervision tree, signals and logs.

pub mod banner;
mod fitness;
pub mod logging;
mod optimizers;
pub mod run;
mod signals;
mod tree;

pub use fitness::Unfit;
pub use logging::InitError;
pub use optimizers::{OptimizerError, Optimizers};
pub use run::{RunError, Study, run};
pub use signals::{Signal, Signals};
pub use tree::{StartError, Tree, block_on, servo_spec};

/// What this program calls itself to optimizers: product and version.
pub const AGENT: &str = concat!("github.com/servo/servo v", env!("CARGO_PKG_VERSION"));
