//! A fleet of servos in one process of the built program, against a fast optimizer in a process of its own.
//!
//! `cargo bench -p servo-benches --bench fleet -- [PART...]`: `table` (start-up, memory, commands, shutdown at 1 to
//! 10,000 servos), `outage`, `reload`, `shutdown`, `admin`; without names all of them. `FLEET_SIZES=1,100` measures
//! other sizes, `FLEET_OUTAGE=600` makes the outage as many seconds long. When `SERVOX_VENV` names a Python
//! environment with ServoX, it runs the same fleets of up to 1,000 servos. Memory and processor time are those that
//! Linux tells in /proc.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod optimizer;
mod scenarios;
mod subject;
mod table;

use std::process::ExitCode;

/// What was measured beside what is promised.
#[derive(Default)]
struct Bars(Vec<String>);

impl Bars {
    fn hold(&mut self, what: &str, met: bool, is: impl std::fmt::Display, at_most: &str) {
        let verdict = if met { "met   " } else { "MISSED" };
        println!("  {verdict} {what}: {is} (bar: {at_most})");
        if !met {
            self.0.push(what.to_owned());
        }
    }
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(optimizer::ARGUMENT) {
        optimizer::child();
        return ExitCode::SUCCESS;
    }
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|name| !name.starts_with('-'))
        .collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    let mut bars = Bars::default();
    if wanted("table") {
        table::table(&mut bars);
    }
    if wanted("outage") {
        scenarios::outage(&mut bars);
    }
    if wanted("reload") {
        scenarios::reload(&mut bars);
    }
    if wanted("shutdown") {
        scenarios::shutdown(&mut bars);
    }
    if wanted("admin") {
        scenarios::admin(&mut bars);
    }
    if bars.0.is_empty() {
        ExitCode::SUCCESS
    } else {
        println!("missed: {}", bars.0.join("; "));
        ExitCode::FAILURE
    }
}
