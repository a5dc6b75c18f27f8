//! Open-loop HTTP load at a constant rate, and what it does to the latency of those who wait.
//!
//! # What this crate knows
//!
//! The `vegeta` connector ([`Vegeta`]): its stanza ([`VegetaConfig`]), the two formats of [`target`]s, and the engine that sends
//! them ([`Attack`], usable without the connector). Requests go out when they are due, whatever became of the ones before; their
//! latency counts from the moment they were *due*, so a server that stalls cannot hide it by keeping the client from asking.
//! Service time, send lag and the requests that were never sent stand beside it in each [`Report`], together with a verdict on
//! the load generator's own [`Health`].
//!
//! # What this crate must not know
//!
//! Optimizers, other connectors, files of its host program. It starts no other program: the load is made in this process, on a
//! thread of its own for each run.
//!
//! # From the outside in
//!
//! - `connector`: the events `describe`, `metrics` and `measure`; `command`: `servo vegeta attack`; `load`: a run for either; `checks`: whether one can be
//!   made and is answered;
//! - `config`, `rate`, `limits`, `scalar`, `target`: what a user writes;
//! - `attack`, `run`, `schedule`, `ticks`, `timer`: when requests go out and when reports are made;
//! - `client`, `origin`, `dialer`, `tls`, `stream`: where they go;
//! - `request`, `connection`, `decoder`, `head`, `chunked`: HTTP/1.1, byte for byte. It is our own because a target's header names keep their
//!   case, a request is made ready once and not for each hit, and a response needs no memory. HTTP/2 is hyper's;
//! - `recorder`, `report`, `metric`, `written`, `published`: what is made of the answers.

mod attack;
mod checks;
mod chunked;
mod client;
mod command;
mod config;
mod connection;
mod connector;
mod decoder;
mod dialer;
mod failure;
mod head;
mod limits;
mod load;
mod metric;
mod origin;
mod plan;
mod published;
mod rate;
mod recorder;
mod report;
mod request;
mod run;
mod scalar;
mod schedule;
mod stream;
pub mod target;
mod ticks;
mod timer;
mod tls;
mod written;

pub use attack::{Attack, AttackError, Summary, Update};
pub use config::{LoadTargetsError, VegetaConfig};
pub use connector::Vegeta;
pub use limits::{MaxBody, Redirects};
pub use metric::LoadMetric;
pub use plan::{Plan, ReportMode};
pub use rate::{Rate, RateError};
pub use report::{Ailment, Bytes, Health, Latencies, Report};
pub use tls::TlsError;
