//! Runs shell commands before, at and after a servo's events (`spec/metrics-and-load.md` §4).
//!
//! This crate knows how the commands are written: which events there are, how a command's failure
//! and its time limit are said. What it must not know: what the commands do, and what events mean
//! to other connectors.
//!
//! [`ScriptsConfig`] is the stanza. [`Scripts`] cannot run yet: it reads, checks and documents its
//! stanza, and says so when it is to be started.

mod config;
mod connector;
mod script;
mod validation;

pub use config::{EventScripts, ScriptEvent, ScriptsConfig};
pub use connector::Scripts;
pub use script::{Script, ScriptFailure};
