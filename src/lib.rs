//! Servo connects applications to an optimizer: it is told to DESCRIBE, MEASURE and ADJUST, and
//! does so through connectors.
//!
//! This is the façade for programs of their own connectors: a `main` of one line,
//! `servo::cli::main(servo::connectors::bundled().with::<MyConnector>())`, is a servo that knows
//! `MyConnector` too, with all commands, its part of the schema, and its own group of commands.
//! What a connector is, [`servo_dispatch`] says; `examples/spool.rs` is a whole one.

pub mod cli;
pub mod config;
pub mod connectors;
pub mod daemon;

pub use {jiff, serde_json, servo_dispatch, servo_messages};
