//! The end of `servo run` (`spec/optimizer-protocol.md` §16, §23.36, §23.37, §23.43).

use std::{
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;
use servo_doubles::{Fault, FleetOptimizer, On, Orders, Script, ScriptedOptimizer};

use crate::{
    bench::{Bench, Running, SOON, wait},
    toy::Toy,
};

/// Below the 30 s that a container is given.
const BUDGET: Duration = Duration::from_secs(25);

fn servo_yaml(base_url: &str, more: &str) -> String {
    format!(
        "wait: {{measure_enabled: true}}\n\
         optimizer: {{id: example.com/app, token: t, base_url: \"{base_url}\"}}\n{more}"
    )
}

fn start(optimizer: &ScriptedOptimizer, arguments: &[&str]) -> (Bench, Running) {
    let bench = Bench::new();
    bench.write("servo.yaml", &servo_yaml(&optimizer.base_url(), ""));
    let servo = bench.start(arguments);
    (bench, servo)
}

fn until_event(optimizer: &ScriptedOptimizer, event: &str) {
    optimizer
        .wait_for(SOON, |received| received.iter().any(|r| r.event == event))
        .unwrap();
}

/// States in which signals come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Idle,
    Sleeping,
    Measuring,
}

fn optimizer_for(state: State) -> ScriptedOptimizer {
    ScriptedOptimizer::start(match state {
        State::Idle => Script::new(),
        State::Sleeping => Script::new().sleep(json!("10m")),
        State::Measuring => Script::new().measure("m1", &[], json!({"duration": "10m"})),
    })
}

fn until_in(state: State, servo: &mut Running, optimizer: &ScriptedOptimizer) {
    match state {
        State::Idle => servo.until("the connection", SOON, |_, log| {
            log.contains("not asking for commands").then_some(())
        }),
        State::Sleeping => servo.until("the sleep", SOON, |_, log| {
            log.contains("Sleeping for 10m").then_some(())
        }),
        State::Measuring => until_event(optimizer, "MEASUREMENT"),
    }
}

#[test]
fn sigterm_and_sigint_in_every_state() {
    for state in [State::Idle, State::Sleeping, State::Measuring] {
        for (signal, reason) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
            let optimizer = optimizer_for(state);
            let arguments: &[&str] = match state {
                State::Idle => &["run", "--no-poll"],
                _ => &["run"],
            };
            let (_bench, mut servo) = start(&optimizer, arguments);
            until_in(state, &mut servo, &optimizer);
            servo.signal(signal);
            let ended = servo.ended(SOON);
            ended.assert_code(0);
            assert!(!ended.stderr.contains("| ERROR"), "{state:?}: {ended}");
            let received = optimizer.received();
            let last = received.last().unwrap();
            assert_eq!(last.event, "GOODBYE", "{state:?}");
            assert_eq!(last.param["reason"], reason, "{state:?}");
            assert!(
                !received.iter().any(|r| r.completes("MEASUREMENT")),
                "it is handed out again after the next HELLO"
            );
            assert_eq!(optimizer.violations(), Vec::<String>::new());
        }
    }
}

#[test]
fn other_signals_interrupt_nothing() {
    for state in [State::Idle, State::Sleeping, State::Measuring] {
        let optimizer = match state {
            State::Measuring => ScriptedOptimizer::start(Script::new().measure(
                "m1",
                &[],
                json!({"duration": "3s"}),
            )),
            other => optimizer_for(other),
        };
        let arguments: &[&str] = match state {
            State::Idle => &["run", "--no-poll"],
            _ => &["run"],
        };
        let (_bench, mut servo) = start(&optimizer, arguments);
        until_in(state, &mut servo, &optimizer);
        let phase = match state {
            State::Idle => "idle",
            State::Sleeping => "sleeping for 10m",
            State::Measuring => "executing MEASURE",
        };
        wait("the tree tells the phase", SOON, || {
            servo.signal(Signal::USR1);
            thread::sleep(Duration::from_millis(100));
            servo.stderr().contains(phase).then_some(())
        });
        servo.signal(Signal::HUP);
        servo.until("the reload", SOON, |_, log| {
            log.contains("reload finished: +0 ~0 -0 =1 in ")
                .then_some(())
        });
        if state == State::Measuring {
            let completion = optimizer.completion("MEASUREMENT", SOON).unwrap();
            assert_eq!(completion["status"], "ok");
        }
        let events = optimizer.events();
        assert_eq!(
            events.iter().filter(|e| *e == "HELLO").count(),
            1,
            "{events:?}"
        );
        assert!(!events.iter().any(|e| e == "GOODBYE"), "{events:?}");
        servo.signal(Signal::TERM);
        servo.ended(SOON).assert_code(0);
    }
}

/// The measurement ends before the application, which ends before GOODBYE.
#[test]
fn the_application_is_stopped_before_goodbye() {
    let optimizer = ScriptedOptimizer::start(Script::new().measure(
        "m1",
        &["throughput"],
        json!({"duration": "10m"}),
    ));
    let bench = Bench::new();
    let toy = Toy::new();
    bench.write(
        "servo.yaml",
        &format!(
            "optimizer: {{id: example.com/app, token: t, base_url: \"{}\"}}\n{}",
            optimizer.base_url(),
            toy.connectors()
        ),
    );
    let servo = bench.start(&["run"]);
    toy.wait_for_load(10);
    // No answer: whoever asks for the application now, asks while GOODBYE is being said.
    optimizer.inject(On::event("GOODBYE"), Fault::Delay(Duration::from_secs(1)));
    servo.signal(Signal::TERM);
    until_event(&optimizer, "GOODBYE");
    assert_eq!(crate::toy::running(&bench), 0);
    servo.ended(BUDGET).assert_code(0);
    assert!(
        !optimizer
            .received()
            .iter()
            .any(|r| r.completes("MEASUREMENT"))
    );
    bench.assert_nothing_left(SOON);
}

#[test]
fn an_optimizer_that_is_down_does_not_hold_up_the_end() {
    // A port that nobody listens on, and one where nobody answers.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [closed.local_addr().unwrap(), silent.local_addr().unwrap()];
    drop(closed);
    for address in addresses {
        let bench = Bench::new();
        bench.write("servo.yaml", &servo_yaml(&format!("http://{address}"), ""));
        let mut servo = bench.start(&["run"]);
        servo.until("HELLO", SOON, |_, log| log.contains("HELLO").then_some(()));
        thread::sleep(Duration::from_millis(300));
        servo.signal(Signal::TERM);
        servo.ended(BUDGET).assert_code(0);
    }
    // One that falls silent in the middle of a measurement.
    let optimizer = optimizer_for(State::Measuring);
    let (_bench, mut servo) = start(&optimizer, &["run"]);
    until_in(State::Measuring, &mut servo, &optimizer);
    optimizer.inject(On::any().always(), Fault::Stall);
    servo.signal(Signal::TERM);
    let ended = servo.ended(BUDGET);
    ended.assert_code(0);
}

/// Who was never connected has nobody to take leave of, and is not said to.
#[test]
fn only_those_that_are_connected_are_counted() {
    let reached = ScriptedOptimizer::start(Script::new().sleep(json!("10m")));
    let silent = ScriptedOptimizer::start(Script::new());
    silent.inject(On::any().always(), Fault::Stall);
    let document = |name: &str, optimizer: &ScriptedOptimizer| {
        let text = servo_yaml(&optimizer.base_url(), "");
        format!(
            "name: {name}\n{}",
            text.replace("example.com/app", &format!("example.com/{name}"))
        )
    };
    for (names, told) in [
        (
            &["a", "b"][..],
            "1 of 2 servos says GOODBYE, the others are not connected",
        ),
        (&["b"], "no GOODBYE, none of 1 is connected"),
    ] {
        let bench = Bench::new();
        let documents: Vec<String> = names
            .iter()
            .map(|name| document(name, if *name == "a" { &reached } else { &silent }))
            .collect();
        bench.write("servo.yaml", &documents.join("---\n"));
        let mut servo = bench.start(&["run"]);
        if names.contains(&"a") {
            until_in(State::Sleeping, &mut servo, &reached);
        }
        servo.until("all have said HELLO", SOON, |_, log| {
            (log.matches("Saying HELLO").count() == names.len()).then_some(())
        });
        servo.signal(Signal::TERM);
        let ended = servo.ended(BUDGET);
        ended.assert_code(0);
        let line = format!("shutting down (SIGTERM): {told}");
        assert!(ended.stderr.contains(&line), "{ended}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for (first, second, code) in [
        (Signal::TERM, Signal::TERM, 143),
        (Signal::TERM, Signal::INT, 130),
        (Signal::INT, Signal::INT, 130),
    ] {
        let optimizer = optimizer_for(State::Measuring);
        let (_bench, mut servo) = start(&optimizer, &["run"]);
        until_in(State::Measuring, &mut servo, &optimizer);
        optimizer.inject(On::any().always(), Fault::Stall);
        servo.signal(first);
        // Those of a wrapper and of the terminal come together, and are one.
        servo.signal(first);
        thread::sleep(Duration::from_millis(600));
        assert!(!servo.has_ended());
        let began = Instant::now();
        servo.signal(second);
        let ended = servo.ended(SOON);
        ended.assert_code(code);
        assert!(began.elapsed() < Duration::from_secs(2), "{ended}");
        ended.assert_stderr(&["not waiting for the end of the shutdown"]);
    }
}

/// `spec/optimizer-protocol.md` §23.43
#[test]
fn no_poll_asks_for_no_commands_not_even_after_a_reload() {
    let optimizer = ScriptedOptimizer::start(Script::new().describe("d1"));
    let (bench, mut servo) = start(&optimizer, &["run", "--no-poll"]);
    until_event(&optimizer, "HELLO");
    bench.write(
        "servo.yaml",
        &servo_yaml(&optimizer.base_url(), "description: new\n"),
    );
    servo.signal(Signal::HUP);
    servo.until("the reload", SOON, |_, log| {
        log.contains("reload finished: +0 ~1 -0 =0").then_some(())
    });
    optimizer
        .wait_for(SOON, |received| {
            received.iter().filter(|r| r.event == "HELLO").count() == 2
        })
        .unwrap();
    thread::sleep(Duration::from_secs(5));
    servo.signal(Signal::TERM);
    servo.ended(SOON).assert_code(0);
    assert_eq!(optimizer.events(), ["HELLO", "GOODBYE", "HELLO", "GOODBYE"]);
}

/// Many servos, a large tree.
#[test]
fn five_hundred_goodbyes() {
    const SERVOS: usize = 500;
    let optimizer = FleetOptimizer::start(Orders::Measure(Duration::from_secs(600))).unwrap();
    let documents: Vec<String> = (0..SERVOS)
        .map(|i| {
            servo_yaml(&optimizer.base_url(), &format!("name: servo-{i}\n"))
                .replace("example.com/app", &format!("example.com/app-{i}"))
        })
        .collect();
    let bench = Bench::new();
    bench.write("servo.yaml", &documents.join("---\n"));
    let mut servo = bench.start(&["run"]);
    wait("all commands", Duration::from_secs(60), || {
        (optimizer.figures().open == SERVOS).then_some(())
    });
    servo.signal(Signal::USR1);
    servo.until("the whole tree", SOON, |_, log| {
        log.contains("the end of the supervision tree")
            .then_some(())
    });
    let log = servo.stderr();
    assert!(log.contains("with 500 servos in records of their own"));
    for i in [0, 99, 499] {
        assert!(log.contains(&format!("servo-{i}: running")), "servo-{i}");
    }
    let began = Instant::now();
    servo.signal(Signal::TERM);
    let ended = servo.ended(BUDGET);
    assert_eq!(ended.code, Some(0));
    let figures = optimizer.figures();
    assert_eq!((figures.goodbyes, figures.connected), (SERVOS as u64, 0));
    assert_eq!(figures.completed, 0);
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

/// A study that is to end by itself has not done what it was asked to.
#[test]
fn a_study_that_is_interrupted() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let bench = Bench::new();
        bench.write("servo.yaml", &Toy::new().study(50, ""));
        let mut servo = bench.start(&["run"]);
        servo.until("the first trial", Duration::from_secs(90), |out, _| {
            out.contains("1/50").then_some(())
        });
        servo.signal(signal);
        servo.ended(BUDGET).assert_code(code);
        bench.assert_nothing_left(SOON);
    }
}

#[test]
fn the_help_tells_the_exit_codes() {
    let ended = Bench::new().run(&["run", "--help"]);
    ended.assert_code(0);
    for part in ["Exit codes: 0", "SIGHUP", "SIGUSR1", "143"] {
        assert!(ended.stdout.contains(part), "{part}: {ended}");
    }
}
