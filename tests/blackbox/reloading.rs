//! Reloads of `servo run`: what changes changes, and nothing else notices (`DESIGN.md` §5, `FIELD.md` §B.3).

mod at_run_time;
mod daemon_file;
mod files;
mod in_progress;
mod refusing;
mod studies;

use std::{fs, io::Write, thread, time::Duration};

use rustix::process::Signal;
use serde_json::json;
use servo_doubles::{Fault, FleetOptimizer, On, Orders, Script, ScriptedOptimizer};

use crate::bench::{Bench, Ended, Running, SOON, wait};

const AUTHORITY: &str = include_str!("../../actors/optimizer/protocol/tests/tls/authority.pem");

/// A servo of `servo.yaml`, with an optimizer of its own.
fn document(name: &str, optimizer: &ScriptedOptimizer, more: &str) -> String {
    format!(
        "name: {name}\nwait: {{measure_enabled: true}}\n\
         optimizer: {{id: example.com/{name}, token: t, base_url: \"{}\"}}\n{more}",
        optimizer.base_url()
    )
}

fn file(documents: &[String]) -> String {
    documents.join("---\n")
}

fn idle() -> ScriptedOptimizer {
    ScriptedOptimizer::start(Script::new())
}

fn measuring(duration: &str) -> ScriptedOptimizer {
    ScriptedOptimizer::start(Script::new().measure("m1", &[], json!({"duration": duration})))
}

fn until_event(optimizer: &ScriptedOptimizer, event: &str) {
    optimizer
        .wait_for(SOON, |received| received.iter().any(|r| r.event == event))
        .unwrap();
}

fn until_measuring(optimizer: &ScriptedOptimizer) {
    optimizer
        .wait_for(SOON, |received| {
            received.iter().any(|r| r.progresses("MEASUREMENT"))
        })
        .unwrap();
}

/// The events without progress.
fn told(optimizer: &ScriptedOptimizer) -> Vec<String> {
    let received = optimizer.received();
    let told = received.iter().filter(|r| !r.progresses("MEASUREMENT"));
    told.map(|r| match r.event.as_str() {
        "GOODBYE" => format!("GOODBYE {}", r.param["reason"].as_str().unwrap_or_default()),
        event => event.to_owned(),
    })
    .collect()
}

/// The outcomes of reloads that the log tells of.
fn outcomes(log: &str) -> Vec<&str> {
    log.lines()
        .filter_map(|line| {
            let at = line
                .find("reload finished")
                .or_else(|| line.find("reload refused"))?;
            line.get(at..)
        })
        .collect()
}

/// Sends SIGHUP, and waits for the outcome.
fn reload(servo: &mut Running) -> String {
    let before = outcomes(&servo.stderr()).len();
    servo.signal(Signal::HUP);
    next_outcome(servo, before)
}

/// The outcome that comes after so many others.
fn next_outcome(servo: &mut Running, before: usize) -> String {
    servo.until("the outcome of a reload", SOON, |_, log| {
        outcomes(log)
            .get(before)
            .map(|outcome| (*outcome).to_owned())
    })
}

fn end(servo: Running) -> Ended {
    servo.signal(Signal::TERM);
    let ended = servo.ended(SOON);
    ended.assert_code(0);
    ended
}

/// The configuration is a pipe, so that the moment is known in which it is read.
#[test]
fn a_program_that_still_reads_its_configuration_can_be_told_to_read_it_again() {
    let optimizer = idle();
    let bench = Bench::new();
    let pipe = bench.path("servo.yaml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let mut servo = bench.start(&["run"]);
    // Opening it waits for the reader.
    let mut first = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    servo.signal(Signal::HUP);
    let text = document("a", &optimizer, "");
    bench.write("next.yaml", &text);
    fs::rename(bench.path("next.yaml"), pipe).unwrap();
    first.write_all(text.as_bytes()).unwrap();
    drop(first);
    let outcome = next_outcome(&mut servo, 0);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -0 =1 in "),
        "{outcome}"
    );
    until_event(&optimizer, "WHATS_NEXT");
    end(servo);
}

#[test]
fn what_changes_changes_and_nothing_else_notices() {
    let (same, changed, removed, added) = (measuring("3s"), idle(), idle(), idle());
    let bench = Bench::new();
    let all = [
        document("same", &same, ""),
        document("changed", &changed, ""),
        document("removed", &removed, ""),
    ];
    bench.write("servo.yaml", &file(&all));
    let mut servo = bench.start(&["run"]);
    until_measuring(&same);
    until_event(&changed, "WHATS_NEXT");
    until_event(&removed, "WHATS_NEXT");
    let new = [
        document("added", &added, ""),
        document("changed", &changed, "description: another\n"),
        document("same", &same, "# no change\n"),
    ];
    bench.write("servo.yaml", &file(&new));
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +1 ~1 -1 =1 in "),
        "{outcome}"
    );
    assert!(outcome.ends_with(" ms"), "{outcome}");
    until_event(&added, "WHATS_NEXT");
    changed
        .wait_for(SOON, |received| {
            received.iter().filter(|r| r.event == "WHATS_NEXT").count() == 2
        })
        .unwrap();
    let before = ["HELLO", "WHATS_NEXT", "GOODBYE reconfigured"];
    assert_eq!(told(&removed), before);
    assert_eq!(told(&changed), [&before[..], &before[..2]].concat());
    // The measurement that was under way comes to its end.
    let completion = same.completion("MEASUREMENT", SOON).unwrap();
    assert_eq!(completion["status"], "ok", "{completion}");
    assert_eq!(told(&same)[..3], ["HELLO", "WHATS_NEXT", "MEASUREMENT"]);
    let ended = end(servo);
    assert_eq!(
        ended.stderr.matches("reload finished").count(),
        1,
        "{ended}"
    );
    assert!(!ended.stderr.contains("| ERROR"), "{ended}");
    for optimizer in [same, changed, added] {
        assert_eq!(
            optimizer.received().last().unwrap().param["reason"],
            "SIGTERM"
        );
        assert_eq!(optimizer.violations(), Vec::<String>::new());
    }
    assert_eq!(told(&removed), before, "nothing more is heard of it");
}

/// A servo of another name, or another servo, takes over an optimizer: that hears GOODBYE first, and
/// never two at a time.
#[test]
fn an_optimizer_that_changes_hands_hears_goodbye_before_hello() {
    let (a, b) = (measuring("2s"), idle());
    for optimizer in [&a, &b] {
        let slow = Fault::Delay(Duration::from_millis(500));
        optimizer.inject(On::event("GOODBYE").always(), slow);
    }
    let bench = Bench::new();
    let named = |name: &str, optimizer: &ScriptedOptimizer, id: &str| {
        document(name, optimizer, "")
            .replace(&format!("example.com/{name}"), &format!("example.com/{id}"))
    };
    bench.write("servo.toml", "[reload]\ncommand = \"finish\"\n");
    bench.write("servo.yaml", &named("old", &a, "x"));
    let mut servo = bench.start(&["run"]);
    until_measuring(&a);
    bench.write(
        "servo.yaml",
        &file(&[named("new", &a, "x"), named("other", &b, "y")]),
    );
    assert!(reload(&mut servo).starts_with("reload finished: +2 ~0 -1 =0"));
    until_event(&b, "WHATS_NEXT");
    assert_eq!(
        told(&a)[..5],
        [
            "HELLO",
            "WHATS_NEXT",
            "MEASUREMENT",
            "GOODBYE reconfigured",
            "HELLO"
        ]
    );
    // Each takes the other's.
    bench.write(
        "servo.yaml",
        &file(&[named("new", &b, "y"), named("other", &a, "x")]),
    );
    assert!(reload(&mut servo).starts_with("reload finished: +0 ~2 -0 =0"));
    for optimizer in [&a, &b] {
        let hello = |events: &[String]| events.iter().filter(|e| *e == "HELLO").count();
        let before = if std::ptr::eq(optimizer, &a) { 2 } else { 1 };
        wait("HELLO of the other", SOON, || {
            (hello(&told(optimizer)) > before).then_some(())
        });
        let events = told(optimizer);
        let last = events.iter().rposition(|e| e == "HELLO").unwrap();
        assert_eq!(events[last - 1], "GOODBYE reconfigured", "{events:?}");
    }
    end(servo);
}

/// `spec/optimizer-protocol.md` §23.40
#[test]
fn only_the_servo_that_is_named() {
    let optimizers = [idle(), idle(), idle()];
    let names = ["first", "second", "third"];
    let documents: Vec<String> = names
        .iter()
        .zip(&optimizers)
        .map(|(name, optimizer)| document(name, optimizer, ""))
        .collect();
    let bench = Bench::new();
    bench.write("servo.yaml", &file(&documents));
    let mut servo = bench.start(&["-n", "third", "run"]);
    until_event(&optimizers[2], "WHATS_NEXT");
    let mut changed = documents.clone();
    changed[0].push_str("description: new\n");
    bench.write("servo.yaml", &file(&changed));
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -0 =1 in "),
        "{outcome}"
    );
    bench.write("servo.yaml", &file(&documents[..2]));
    assert_eq!(
        reload(&mut servo),
        "reload refused: servo.yaml: No servo was found named \"third\""
    );
    end(servo);
    let told: Vec<_> = optimizers.iter().map(told).collect();
    assert_eq!(told[2], ["HELLO", "WHATS_NEXT", "GOODBYE SIGTERM"]);
    assert_eq!((told[0].len(), told[1].len()), (0, 0));

    bench.write("servo.yaml", &file(&documents));
    bench
        .run(&["-n", "nope", "run"])
        .assert_code(2)
        .assert_stderr(&["No servo was found named \"nope\""]);
    bench.write(
        "servo.yaml",
        &file(&[documents[0].clone(), "name: x\n".to_owned()]),
    );
    bench
        .run(&["run"])
        .assert_code(1)
        .assert_stderr(&["document 2", "optimizer"]);
}

/// A reload of many, of which few change.
#[test]
fn a_thousand_servos_of_which_one_changes() {
    const SERVOS: usize = 1000;
    let optimizer = FleetOptimizer::start(Orders::Sleep(Duration::from_secs(600))).unwrap();
    let document = |i: usize, more: &str| {
        format!(
            "name: servo-{i}\nwait: {{measure_enabled: true}}\n\
             optimizer: {{id: example.com/app-{i}, token: t, base_url: \"{}\"}}\n{more}",
            optimizer.base_url()
        )
    };
    let bench = Bench::new();
    let mut all: Vec<String> = (0..SERVOS).map(|i| document(i, "")).collect();
    bench.write("servo.yaml", &file(&all));
    let mut servo = bench.start(&["-l", "WARNING", "run"]);
    crate::bench::wait("all HELLOs", Duration::from_secs(60), || {
        (optimizer.figures().connected == SERVOS).then_some(())
    });
    optimizer.reset();
    all[500] = document(500, "description: new\n");
    bench.write("servo.yaml", &file(&all));
    servo.signal(Signal::HUP);
    crate::bench::wait("the HELLO of the one", SOON, || {
        (optimizer.figures().hellos == 1).then_some(())
    });
    let figures = optimizer.figures();
    assert_eq!((figures.hellos, figures.goodbyes), (1, 1));
    servo.signal(Signal::USR1);
    thread::sleep(Duration::from_millis(200));
    assert!(!servo.has_ended());
    servo.signal(Signal::TERM);
    servo.ended(SOON).assert_code(0);
    let figures = optimizer.figures();
    assert_eq!(figures.goodbyes, SERVOS as u64 + 1);
    assert_eq!(figures.connected, 0);
}
