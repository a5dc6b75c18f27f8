//! The embedded optimizer: studies, trials on disk, and the optimizer's side of the protocol.
//!
//! A servo needs somebody to tell it what to try. This crate is that somebody for people who have no
//! optimizer service: it speaks the same protocol as one, in the servo's own process
//! ([`EmbeddedClient`]) or over HTTP to any number of servos ([`server`]).
//!
//! | module | what it knows |
//! |---|---|
//! | [`expression`] | the language of objectives and constraints |
//! | [`study`] | what a user writes: objective, constraints, budget, times |
//! | [`application`] | what a servo describes, and a configuration of it |
//! | [`problem`] | expressions bound to an application: what a measurement is worth |
//! | [`store`] | the file of trials |
//! | [`result`] | what came of a study |
//! | [`optimizer`] | the thread that owns all of it, and the handle to that thread |
//! | [`server`] | the same over HTTP |
//!
//! The search itself is `servo-search`'s; it is asked for each suggestion with the whole history, so the
//! file of trials is the only state there is.
//!
//! # What it must not know
//!
//! No connector, no actor, no servo configuration beyond its own section, no command line. It never
//! decides how an application is adjusted or measured, only to what and for how long.

pub mod application;
mod client;
mod engine;
pub mod expression;
mod notice;
pub mod optimizer;
pub mod problem;
pub mod result;
pub mod server;
mod session;
pub mod store;
pub mod study;

pub use client::EmbeddedClient;
pub use notice::TrialEvent;
pub use optimizer::{EmbeddedOptimizer, HandleError};
pub use result::{StudyResult, StudyRow, TrialRow, Verdict};
pub use store::{Store, StoreError};
pub use study::{EmbeddedConfig, Studies, StudyConfig};
