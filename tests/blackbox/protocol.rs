//! The acceptance list of the optimizer protocol, item by item (`spec/optimizer-protocol.md` §23).
//!
//! Items are here as `item_NN_..`, but for those which stand with their own numbers beside others of
//! their kind, and for what no bundled connector can be made to do:
//!
//! | item | where |
//! |---|---|
//! | 20 panics, 21 two kinds of errors at once, 22 | `actors/servo/tests/it/commands.rs` |
//! | 13 as a connector's own types, 11 scalars beside series | `actors/servo/tests/it/payloads.rs` |
//! | 17, 27 whole times, under a clock that is paused | `actors/servo/tests/it/times.rs` |
//! | 35 | `network.rs` |
//! | 36, 37, 43 | `shutting_down.rs`, with what connectors hear in `actors/servo/tests/it/leaving.rs` |
//! | 40 | `reloading.rs`, `running.rs` |
//! | 41 | `running.rs` |
//! | 44 | `service_levels.rs`, but for empty series |
//! | 45 | `diagnostics.rs`, but for a long log |

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use servo_doubles::{ReceivedEvent, Script, ScriptedOptimizer};

use crate::bench::{Bench, Ended, Running, SOON};

mod commands;
mod ending;
mod progress;
mod reaching;
mod retrying;

/// Measures for as long as it is told to, and nothing.
const WAIT: &str = "wait: {measure_enabled: true}\n";
/// Measures nothing, at once.
const NO_WAIT: &str = "wait: {measure_enabled: false}\n";

/// A document for the servo named `name`; `more` are its other stanzas.
fn document(name: &str, optimizer: &ScriptedOptimizer, more: &str) -> String {
    format!(
        "name: {name}\noptimizer: {{id: example.com/{name}, token: token-of-{name}, base_url: \"{}\"}}\n{more}",
        optimizer.base_url()
    )
}

/// An optimizer and the one servo that it has.
struct Session {
    bench: Bench,
    optimizer: ScriptedOptimizer,
    servo: Running,
}

impl Session {
    /// With these stanzas beside `optimizer`.
    fn start(script: Script, more: &str) -> Self {
        Self::with(ScriptedOptimizer::start(script), more)
    }

    /// With an optimizer that has been prepared.
    fn with(optimizer: ScriptedOptimizer, more: &str) -> Self {
        let bench = Bench::new();
        bench.write("servo.yaml", &document("solo", &optimizer, more));
        let servo = bench.start(&["run", "--no-banner"]);
        Self {
            bench,
            optimizer,
            servo,
        }
    }

    fn completion(&self, uid: &str) -> Value {
        completion(&self.optimizer, uid)
    }

    /// Ends the servo, which has to end well and to have kept to the protocol.
    #[track_caller]
    fn end(self) -> (Vec<ReceivedEvent>, Ended) {
        self.servo.signal(Signal::TERM);
        let ended = self.servo.ended(Duration::from_secs(25));
        ended.assert_code(0);
        assert_eq!(self.optimizer.violations(), Vec::<String>::new());
        (self.optimizer.received(), ended)
    }
}

/// Servos of one process, each with its optimizer, which has to be prepared before.
struct Several {
    bench: Bench,
    servo: Running,
}

impl Several {
    /// Named `servo-0`, `servo-1`, ...
    fn start<'a>(optimizers: impl IntoIterator<Item = &'a ScriptedOptimizer>, more: &str) -> Self {
        let documents: Vec<String> = optimizers
            .into_iter()
            .zip(0..)
            .map(|(optimizer, i)| document(&format!("servo-{i}"), optimizer, more))
            .collect();
        let bench = Bench::new();
        bench.write("servo.yaml", &documents.join("---\n"));
        let servo = bench.start(&["run", "--no-banner"]);
        Self { bench, servo }
    }

    #[track_caller]
    fn end(self) -> Ended {
        self.servo.signal(Signal::TERM);
        let ended = self.servo.ended(Duration::from_secs(25));
        ended.assert_code(0);
        drop(self.bench);
        ended
    }
}

#[track_caller]
fn completion(optimizer: &ScriptedOptimizer, uid: &str) -> Value {
    optimizer
        .find(SOON, |received| {
            let found = received
                .iter()
                .find(|r| r.param["cmd_uid"] == uid && r.param.get("status").is_some());
            found.map(|r| r.param.clone())
        })
        .unwrap()
}

/// Waits until so many requests of `event` have come.
#[track_caller]
fn until(optimizer: &ScriptedOptimizer, event: &str, count: usize) {
    optimizer
        .wait_for(Duration::from_secs(60), |received| {
            received.iter().filter(|r| r.event == event).count() >= count
        })
        .unwrap();
}

/// When each request of `event` came.
fn times(optimizer: &ScriptedOptimizer, event: &str) -> Vec<Duration> {
    let received = optimizer.received();
    let of_event = received.iter().filter(|r| r.event == event);
    of_event.map(|r| r.at).collect()
}

fn sleep(duration: Value) -> Value {
    json!({"cmd": "SLEEP", "param": {"duration": duration, "data": {"reason": "idle"}}})
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn warnings<'a>(log: &'a str, part: &'a str) -> impl Iterator<Item = &'a str> {
    log.lines()
        .filter(move |line| line.contains("| WARN") && line.contains(part))
}
