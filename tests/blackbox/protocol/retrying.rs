//! Optimizers that answer nonsense, nothing, or that they will not: items 18, 19 and 27 to 34.

use std::time::Instant;

use servo_doubles::{Fault, On};

use super::*;

/// §23 item 18
#[test]
fn item_18_unknown_commands_are_no_reason_to_hurry() {
    side_by_side("item_18", unknown_commands_are_no_reason_to_hurry);
}

pub(super) fn unknown_commands_are_no_reason_to_hurry() {
    let script = (0..20).fold(Script::new(), |script, _| {
        script.then(json!({"cmd": "DANCE", "cmd_uid": "u1", "param": {}}))
    });
    let session = Session::start(script, WAIT);
    until(&session.optimizer, "WHATS_NEXT", 1);
    thread::sleep(seconds(10.5));
    let asked = times(&session.optimizer, "WHATS_NEXT");
    let first = asked.iter().filter(|at| **at <= asked[0] + seconds(10.0));
    assert!((2..=6).contains(&first.count()), "{asked:?}");
    let (_, ended) = session.end();
    let error = ended.stderr.lines().find(|line| line.contains("| ERROR"));
    assert!(error.is_some_and(|e| e.contains("DANCE")), "{ended}");
}

/// §23 item 19
#[test]
fn item_19_answers_that_are_no_commands() {
    side_by_side("item_19", answers_that_are_no_commands);
}

pub(super) fn answers_that_are_no_commands() {
    let answers = [
        Fault::Answer(json!({"status": "ok"})),
        Fault::html(),
        Fault::empty(),
        Fault::Answer(json!([])),
    ];
    let optimizers = answers.map(|answer| {
        let optimizer = ScriptedOptimizer::start(Script::new().describe("d1"));
        optimizer.inject(On::event("WHATS_NEXT").times(4), answer);
        optimizer
    });
    let several = Several::start(&optimizers, WAIT);
    for optimizer in &optimizers {
        assert_eq!(completion(optimizer, "d1")["status"], "ok");
        let asked = times(optimizer, "WHATS_NEXT");
        // One after another they would take no time at all.
        assert!(asked[4] - asked[0] > seconds(0.5), "{asked:?}");
    }
    let ended = several.end();
    for (i, told) in [
        "the optimizer said ok",
        "Sign in",
        "the body is empty",
        "[]",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("servo-{i}");
        let told = warnings(&ended.stderr, &name).filter(|line| line.contains(told));
        assert!(told.count() > 0, "{name}: {ended}");
    }
}

/// §23 item 27; the whole hour: `actors/servo/tests/it/times.rs`.
#[test]
fn item_27_a_servo_that_was_replaced_is_silent_and_can_be_ended() {
    side_by_side(
        "item_27",
        a_servo_that_was_replaced_is_silent_and_can_be_ended,
    );
}

pub(super) fn a_servo_that_was_replaced_is_silent_and_can_be_ended() {
    let ons = [
        On::event("WHATS_NEXT"),
        On::progress("MEASUREMENT"),
        On::event("HELLO"),
    ];
    let optimizers = ons.map(|on| {
        let script = Script::new().measure("u1", &["m"], json!({"duration": "10m"}));
        let optimizer = ScriptedOptimizer::start(script);
        optimizer.inject(on.always(), Fault::gone("unexpected servo_uid"));
        optimizer
    });
    let more = format!("{WAIT}servo_uid: old-uid\nsettings: {{progress_interval: 200ms}}\n");
    let mut several = Several::start(&optimizers, &more);
    several.servo.until("all are told of", SOON, |_, log| {
        let all = (0..3).all(|i| {
            let name = format!("servo-{i}");
            warnings(log, "old-uid").any(|line| line.contains(&name))
        });
        all.then_some(())
    });
    let counts = || optimizers.each_ref().map(|o| o.events().len());
    let before = counts();
    thread::sleep(seconds(5.0));
    assert_eq!(counts(), before, "not a word");
    let began = Instant::now();
    several.end();
    assert!(began.elapsed() < seconds(25.0));
    assert_eq!(optimizers[2].events(), ["HELLO"]);
    for optimizer in &optimizers {
        let received = optimizer.received();
        assert!(!received.iter().any(|r| r.completes("MEASUREMENT")));
    }
}

/// §23 item 28
#[test]
fn item_28_a_refused_servo_asks_seldom_and_resumes() {
    side_by_side("item_28", a_refused_servo_asks_seldom_and_resumes);
}

pub(super) fn a_refused_servo_asks_seldom_and_resumes() {
    let optimizer = ScriptedOptimizer::start(Script::new().describe("d1"));
    optimizer.inject(On::event("WHATS_NEXT").always(), Fault::status(401));
    let session = Session::with(optimizer, WAIT);
    until(&session.optimizer, "WHATS_NEXT", 1);
    thread::sleep(seconds(30.0));
    let count = session.optimizer.events().len();
    assert!(count < 10, "{count}");
    session.optimizer.heal();
    until(&session.optimizer, "DESCRIPTION", 1);
    let (received, ended) = session.end();
    assert_eq!(received.iter().filter(|r| r.event == "HELLO").count(), 1);
    ended.assert_stderr(&["check the optimizer's token"]);
    // Told once, not at each attempt; and once when it is over.
    assert_eq!(warnings(&ended.stderr, "401").count(), 1, "{ended}");
    let over = ended.stderr.matches("the optimizer answers again");
    assert_eq!(over.count(), 1, "{ended}");
}

/// §23 item 29
#[test]
fn item_29_retry_after_not_found_and_redirects() {
    side_by_side("item_29", retry_after_not_found_and_redirects);
}

pub(super) fn retry_after_not_found_and_redirects() {
    let faults = [
        Fault::retry_after(503, "7"),
        Fault::status(404),
        Fault::redirect("http://127.0.0.1:9/elsewhere"),
    ];
    let elsewhere = ScriptedOptimizer::start(Script::new());
    let optimizers = faults.map(|fault| {
        let optimizer = ScriptedOptimizer::start(Script::new().describe("d1"));
        let fault = match fault {
            Fault::Status { status: 302, .. } => Fault::redirect(&elsewhere.base_url()),
            other => other,
        };
        optimizer.inject(On::event("WHATS_NEXT"), fault);
        optimizer
    });
    let several = Several::start(&optimizers, WAIT);
    for optimizer in &optimizers {
        assert_eq!(completion(optimizer, "d1")["status"], "ok");
    }
    let asked = times(&optimizers[0], "WHATS_NEXT");
    assert!(asked[1] - asked[0] >= seconds(7.0), "{asked:?}");
    assert_eq!(elsewhere.events(), Vec::<String>::new());
    several.end().assert_stderr(&["503", "404", "302"]);
}

/// §23 item 30
#[test]
fn item_30_a_completion_is_said_until_it_is_heard() {
    side_by_side("item_30", a_completion_is_said_until_it_is_heard);
}

pub(super) fn a_completion_is_said_until_it_is_heard() {
    let optimizer = ScriptedOptimizer::start(Script::new().describe("d1"));
    optimizer.inject(On::completion("DESCRIPTION").times(3), Fault::status(503));
    let session = Session::with(optimizer, WAIT);
    until(&session.optimizer, "WHATS_NEXT", 2);
    let (received, _) = session.end();
    let events: Vec<&str> = received.iter().map(|r| r.event.as_str()).collect();
    assert_eq!(
        events[..7],
        [
            "HELLO",
            "WHATS_NEXT",
            "DESCRIPTION",
            "DESCRIPTION",
            "DESCRIPTION",
            "DESCRIPTION",
            "WHATS_NEXT"
        ]
    );
    for again in &received[3..6] {
        assert_eq!(again.http.body, received[2].http.body);
    }
}

/// §12: what is lost is told whole, with what the optimizer had against it, and is not repeated.
#[test]
fn a_completion_that_is_refused_is_told_and_not_repeated() {
    for status in [400, 413] {
        let optimizer = ScriptedOptimizer::start(Script::new().describe("d1").describe("d2"));
        let refusal = Fault::Status {
            status,
            headers: Vec::new(),
            body: json!({"detail": "too many cooks"}).to_string(),
        };
        let once = On::completion("DESCRIPTION").and_drop_command();
        optimizer.inject(once, refusal);
        let session = Session::with(optimizer, WAIT);
        assert_eq!(session.completion("d2")["status"], "ok");
        let (received, ended) = session.end();
        let told = received.iter().filter(|r| r.completes("DESCRIPTION"));
        let told: Vec<_> = told.map(|r| &r.param["cmd_uid"]).collect();
        assert_eq!(told, ["d1", "d2"]);
        let mut errors = ended.stderr.lines().filter(|line| line.contains("| ERROR"));
        let error = errors.next().unwrap();
        for part in [&*status.to_string(), "too many cooks", "descriptor", "d1"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert_eq!(errors.next(), None, "{ended}");
    }
}

/// §23 item 31
#[test]
fn item_31_an_optimizer_that_is_away_for_longer_than_its_budget() {
    side_by_side(
        "item_31",
        an_optimizer_that_is_away_for_longer_than_its_budget,
    );
}

pub(super) fn an_optimizer_that_is_away_for_longer_than_its_budget() {
    let script = || Script::new().idle(sleep(json!(0.2)));
    let optimizer = ScriptedOptimizer::start(script());
    let address = optimizer.address();
    let bench = Bench::new();
    let more = format!("{WAIT}settings: {{backoff: {{__default__: {{max_time: 5s}}}}}}\n");
    bench.write("servo.yaml", &document("solo", &optimizer, &more));
    let mut servo = bench.start(&["run", "--no-banner"]);
    until(&optimizer, "WHATS_NEXT", 2);
    drop(optimizer);
    servo.until("the budget is spent", SOON, |_, log| {
        log.lines()
            .any(|line| line.contains("| ERROR"))
            .then_some(())
    });
    assert!(!servo.has_ended());
    let optimizer = ScriptedOptimizer::start_on(address, script()).unwrap();
    until(&optimizer, "WHATS_NEXT", 2);
    servo.signal(Signal::TERM);
    let ended = servo.ended(SOON);
    ended
        .assert_code(0)
        .assert_stderr(&["the optimizer answers again"]);
}

/// §23 item 32
#[test]
fn item_32_a_request_that_is_never_answered_is_made_again() {
    let optimizer = ScriptedOptimizer::start(Script::new().describe("d1"));
    optimizer.inject(On::event("WHATS_NEXT"), Fault::Stall);
    let session = Session::with(optimizer, &format!("{WAIT}settings: {{timeouts: 2s}}\n"));
    assert_eq!(session.completion("d1")["status"], "ok");
    let asked = times(&session.optimizer, "WHATS_NEXT");
    let apart = asked[1] - asked[0];
    // The first pause is at most a second.
    assert!(apart >= seconds(1.9) && apart < seconds(5.0), "{asked:?}");
    let (_, ended) = session.end();
    ended.assert_stderr(&["no answer in time"]);
}

/// §23 item 33
#[test]
fn item_33_hello_has_a_budget_or_none() {
    side_by_side("item_33", hello_has_a_budget_or_none);
}

pub(super) fn hello_has_a_budget_or_none() {
    let unwelcome = || {
        let optimizer = ScriptedOptimizer::start(Script::new());
        optimizer.inject(On::event("HELLO").always(), Fault::status(500));
        optimizer
    };
    let settings = |max_time: &str| {
        format!("{WAIT}settings: {{backoff: {{connect: {{max_time: {max_time}}}}}}}\n")
    };
    let endless = Session::with(unwelcome(), &settings("null"));
    let session = Session::with(unwelcome(), &settings("3s"));
    until(&session.optimizer, "HELLO", 1);
    let began = Instant::now();
    let ended = session.servo.ended(SOON);
    ended.assert_code(1).assert_stderr(&["500"]);
    let took = began.elapsed();
    // What began within the budget may end after it.
    assert!(took < seconds(6.0), "{took:?}");
    let tries = times(&session.optimizer, "HELLO");
    assert!(tries.len() >= 2, "{tries:?}");
    assert!(!session.optimizer.events().iter().any(|e| e != "HELLO"));
    drop(session.bench);

    until(&endless.optimizer, "HELLO", 3);
    let (received, _) = endless.end();
    assert!(received.iter().all(|r| r.event == "HELLO"), "no GOODBYE");
}

/// §23 item 34
#[test]
fn item_34_hello_that_is_invalid_is_no_connection() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let answer = json!({"status": "invalid", "reason": "go away"});
    optimizer.inject(On::event("HELLO").always(), Fault::Answer(answer));
    let mut session = Session::with(optimizer, WAIT);
    session.servo.until("the reason", SOON, |_, log| {
        log.contains("go away").then_some(())
    });
    until(&session.optimizer, "HELLO", 3);
    let (received, _) = session.end();
    assert!(received.iter().all(|r| r.event == "HELLO"));
}

/// §11: an optimizer, or a server before it, that refuses each outcome and hands out the same command again.
#[test]
fn an_optimizer_that_refuses_each_outcome_is_not_hurried() {
    let faults = [
        Fault::status(413),
        Fault::unexpected_event(),
        Fault::empty(),
    ];
    let optimizers = faults.map(|fault| {
        let optimizer = ScriptedOptimizer::start(Script::new().describe("d1"));
        optimizer.inject(On::completion("DESCRIPTION").always(), fault);
        optimizer
    });
    let several = Several::start(&optimizers, WAIT);
    for optimizer in &optimizers {
        until(optimizer, "DESCRIPTION", 3);
    }
    thread::sleep(seconds(5.0));
    for optimizer in &optimizers {
        let told = times(optimizer, "DESCRIPTION");
        assert!(told.len() <= 7, "{told:?}");
    }
    several.end();
}
