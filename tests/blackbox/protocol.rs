//! The acceptance list of the optimizer protocol, item by item (`spec/optimizer-protocol.md` §23).
//!
//! Items are here as `item_NN_..`, all of them against the built program but for 21 and 22, which need connectors that
//! no program has (`judging.rs`); and but for those which stand with their own numbers beside others of their kind, and
//! for what no bundled connector can be made to do:
//!
//! | item | where |
//! |---|---|
//! | 20 panics | `actors/servo/tests/it/commands.rs` |
//! | 13 as a connector's own types, 11 scalars beside series | `actors/servo/tests/it/payloads.rs` |
//! | 17, 27 whole times, under a clock that is paused | `actors/servo/tests/it/times.rs` |
//! | 35 | `network.rs` |
//! | 36, 37, 43 | `shutting_down.rs`, with what connectors hear in `actors/servo/tests/it/leaving.rs` |
//! | 40 | `reloading.rs`, `running.rs` |
//! | 41 | `running.rs` |
//! | 44 | `service_levels.rs`, but for empty series |
//! | 45 | `diagnostics.rs`, but for a long log |

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use servo_doubles::{ReceivedEvent, Script, ScriptedOptimizer};

use crate::bench::{Bench, Ended, Running, SOON};

mod commands;
mod ending;
mod hostile;
mod judging;
mod progress;
mod reaching;
mod retrying;

/// Items that mostly wait. They do so side by side, however few tests may run at a time.
const PATIENT: &[(&str, fn())] = &[
    ("item_17", commands::forms_of_sleep),
    ("item_42", ending::a_dry_run),
    ("item_45", ending::diagnostics_of_a_long_log),
    ("item_24", progress::heartbeats_of_a_silent_connector),
    ("item_18", retrying::unknown_commands_are_no_reason_to_hurry),
    ("item_19", retrying::answers_that_are_no_commands),
    (
        "item_27",
        retrying::a_servo_that_was_replaced_is_silent_and_can_be_ended,
    ),
    ("item_28", retrying::a_refused_servo_asks_seldom_and_resumes),
    ("item_29", retrying::retry_after_not_found_and_redirects),
    ("item_30", retrying::a_completion_is_said_until_it_is_heard),
    (
        "item_31",
        retrying::an_optimizer_that_is_away_for_longer_than_its_budget,
    ),
    ("hostile", hostile::servos_bear_their_optimizers),
    ("item_33", retrying::hello_has_a_budget_or_none),
];

static STARTED: LazyLock<Mutex<BTreeMap<&str, JoinHandle<()>>>> = LazyLock::new(|| {
    let started = PATIENT
        .iter()
        .map(|(name, item)| (*name, thread::spawn(item)));
    Mutex::new(started.collect())
});

/// Whether all tests are run, so that each of the patient ones will wait for its own thread.
fn all_run() -> bool {
    std::env::args().len() == 1
}

/// Runs `item`, one of the patient ones, or waits for its end if it has been started beside others.
fn side_by_side(name: &str, item: fn()) {
    if !all_run() {
        return item();
    }
    let started = STARTED.lock().unwrap().remove(name);
    let started = started
        .unwrap_or_else(|| panic!("{name} is not among the patient ones"))
        .join();
    if let Err(panic) = started {
        std::panic::resume_unwind(panic);
    }
}

/// Measures for as long as it is told to, and nothing.
const WAIT: &str = "wait: {measure_enabled: true}\n";
/// Measures nothing, at once.
const NO_WAIT: &str = "wait: {measure_enabled: false}\n";

/// A document for the servo named `name`; `more` are its other stanzas.
fn document(name: &str, optimizer: &ScriptedOptimizer, more: &str) -> String {
    if all_run() {
        LazyLock::force(&STARTED);
    }
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
