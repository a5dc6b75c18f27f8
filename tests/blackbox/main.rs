//! Drives the built program as a user does: files, signals, sockets in; stdout, stderr, exit codes,
//! files, requests and left processes out.
//!
//! Each test has a directory, ports and an id of its own; every process that a test leads to inherits
//! the id, so that what is left behind is found.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod acceptance;
mod admin;
mod bench;
mod checking;
mod checks_acceptance;
mod command_line;
mod config_command;
mod configuration;
mod connector_groups;
mod diagnostics;
mod embedded;
mod failures;
mod generating;
mod initializing;
mod interruption;
mod network;
mod one_shot;
mod operating;
mod opsani;
mod page;
mod protocol;
mod reloading;
mod robustness;
mod running;
mod scale;
mod schemas;
mod secrets;
mod served;
mod service_levels;
mod servox;
mod showing;
mod shutting_down;
mod spool;
mod systemd;
mod toy;
mod unread_log;
mod validating;
mod values;
