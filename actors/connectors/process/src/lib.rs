//! Tunes local processes: settings become environment variables and arguments.
//!
//! # What this crate knows
//!
//! How a command is started so that it cannot outlive Servo ([`warden`]), how it is watched and ended,
//! what it uses ([`child`]), what of its set-up can be seen to be wrong beforehand (`checks`), when it is ready ([`readiness`]); how settings reach it ([`component`]); how
//! it moves from one configuration to the next, and back when it does not start ([`tuner`], [`keeper`]);
//! and how all that answers a servo's events ([`Process`]).
//!
//! # What this crate must not know
//!
//! Optimizers, load, objectives, other connectors, Servo's files and command line.
//!
//! # The host
//!
//! The hosting binary calls [`warden::entry`] before anything else in `main`.

mod checks;
pub mod child;
pub mod component;
pub mod config;
mod connector;
mod exit;
mod forgiving;
pub mod keeper;
mod output;
mod proc_tree;
pub mod readiness;
mod template;
pub mod tuner;
pub mod warden;
mod window;

pub use config::ProcessConfig;
pub use connector::Process;
pub use proc_tree::Usage;
