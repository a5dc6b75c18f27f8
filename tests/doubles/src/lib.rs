//! Servers with scripted behaviour and scripted faults, for tests: an optimizer, a Prometheus, a service
//! under load.
//!
//! Each double is a real server on 127.0.0.1 with a thread of its own, so that it serves black-box tests of
//! the built program, async tests and plain `#[test]` functions alike. Each records what it is asked; tests
//! wait for a condition on that record with a deadline, never for time to pass. Each stops when dropped.
//!
//! # What it must not know
//!
//! Nothing of the crates under test: a double reads and writes raw JSON after the published contract
//! (`spec/optimizer-protocol.md` §20), so that it cannot share their mistakes.

mod fleet;
mod optimizer;
mod prometheus;
mod record;
mod server;
mod target;

pub use self::{
    fleet::{FleetFigures, FleetOptimizer, Orders, Temper},
    optimizer::{Fault, On, ReceivedEvent, ReportKind, Script, ScriptedOptimizer},
    prometheus::{PrometheusAnswer, PrometheusDouble, PrometheusQuery},
    record::TimedOut,
    server::HttpRequest,
    target::{HttpTarget, TargetAnswer},
};
