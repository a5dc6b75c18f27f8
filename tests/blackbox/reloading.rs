//! Reloads of `servo run`: what changes changes, and nothing else notices (`DESIGN.md` §5, `FIELD.md` §B.3).

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::symlink,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;
use servo_doubles::{Fault, FleetOptimizer, On, Orders, Script, ScriptedOptimizer};

use crate::{
    bench::{Bench, Ended, Running, SOON, free_port},
    toy::Toy,
};

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

#[test]
fn a_bad_file_changes_nothing() {
    let (a, b) = (measuring("4s"), idle());
    let bench = Bench::new();
    let good = [document("a", &a, ""), document("b", &b, "")];
    bench.write("servo.yaml", &file(&good));
    let mut servo = bench.start(&["run"]);
    until_measuring(&a);
    until_event(&b, "WHATS_NEXT");
    let bad = [document("a", &a, ""), document("c", &b, "wiat: 1\n")];
    for (text, told) in [
        (
            file(&bad),
            "servo.yaml: document 2: wiat (line 8, column 1): extra fields not permitted (did you mean \"wait\"?)",
        ),
        ("name: [a".to_owned(), "servo.yaml: "),
        (
            file(&[document("a", &a, ""), "name: a\n".to_owned()]),
            "servo.yaml: document 2: optimizer (line 5, column 1): cannot configure",
        ),
        ("name: solo\n".to_owned(), "servo.yaml: optimizer -> id"),
    ] {
        bench.write("servo.yaml", &text);
        let outcome = reload(&mut servo);
        let told = format!("reload refused: {told}");
        assert!(outcome.starts_with(&told), "{outcome}");
    }
    fs::remove_file(bench.path("servo.yaml")).unwrap();
    let outcome = reload(&mut servo);
    assert_eq!(outcome, "reload refused: File 'servo.yaml' does not exist.");
    // The same mistake is told again to whoever makes it again.
    assert_eq!(reload(&mut servo), outcome);
    bench.write("servo.yaml", &file(&good));
    bench.write("servo.toml", "[log]\nlevel = 3 4\n");
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload refused: servo.toml: TOML parse error at line 2"),
        "{outcome}"
    );
    bench.write("servo.toml", "[log]\nlevel = \"loud\"\n");
    let outcome = reload(&mut servo);
    assert!(outcome.contains("invalid log level 'loud'"), "{outcome}");
    let errors = servo.stderr().matches("| ERROR").count();
    assert_eq!(errors, 8, "one line each: {}", servo.stderr());
    fs::remove_file(bench.path("servo.toml")).unwrap();
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -0 =2 in "),
        "{outcome}"
    );
    let completion = a.completion("MEASUREMENT", SOON).unwrap();
    assert_eq!(completion["status"], "ok");
    assert_eq!(told(&b), ["HELLO", "WHATS_NEXT"]);
    assert_eq!(told(&a).iter().filter(|e| *e == "HELLO").count(), 1);
    end(servo);
}

#[test]
fn of_servo_toml_the_log_counts_at_once_and_the_rest_is_named() {
    let a = idle();
    let bench = Bench::new();
    bench.write("servo.yaml", &document("a", &a, ""));
    let mut servo = bench.start(&["run"]);
    until_event(&a, "WHATS_NEXT");
    bench.write(
        "servo.toml",
        "arbiters = 1\n[log]\nlevel = \"DEBUG\"\nformat = \"json\"\n[optimizer]\nmax_concurrent_requests = 3\n\
         [reload]\ncommand = \"finish\"\n",
    );
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -0 =1 in "),
        "{outcome}"
    );
    assert!(
        outcome.ends_with(
            " ms; changes of servo.toml that need a restart: arbiters, log.format, optimizer.max_concurrent_requests"
        ),
        "{outcome}"
    );
    bench.write("servo.yaml", &document("a", &a, "description: new\n"));
    assert!(reload(&mut servo).starts_with("reload finished: +0 ~1 -0 =0"));
    servo.until("a line of DEBUG", SOON, |_, log| {
        log.contains("| DEBUG").then_some(())
    });
    bench.write("servo.toml", "[log]\nlevel = \"ERROR\"\n");
    servo.signal(Signal::HUP);
    // Nothing of it can be told any more.
    thread::sleep(Duration::from_millis(500));
    let length = servo.stderr().len();
    servo.signal(Signal::USR1);
    let ended = end(servo);
    assert_eq!(ended.stderr.len(), length, "{ended}");

    // What the command line says is not the file's to change.
    bench.write("servo.toml", "");
    let mut servo = bench.start(&["-l", "INFO", "run"]);
    servo.until("HELLO", SOON, |_, log| log.contains("HELLO").then_some(()));
    bench.write("servo.toml", "[log]\nlevel = \"DEBUG\"\n");
    reload(&mut servo);
    let ended = end(servo);
    assert!(!ended.stderr.contains("| DEBUG"), "{ended}");
}

#[test]
fn files_that_servos_name_and_variables_count() {
    let (token, authority, variable) = (idle(), idle(), idle());
    let bench = Bench::new();
    let text = [
        format!(
            "name: token\nwait: {{measure_enabled: true}}\n\
             optimizer: {{id: example.com/token, token_file: the-token, base_url: \"{}\"}}\n",
            token.base_url()
        ),
        document("authority", &authority, "settings: {ssl_verify: ca.pem}\n"),
        format!(
            "name: variable\nwait: {{measure_enabled: true}}\n\
             optimizer: {{id: example.com/variable, base_url: \"{}\"}}\n",
            variable.base_url()
        ),
    ];
    bench.write("servo.yaml", &file(&text));
    bench.write("the-token", "one\n");
    bench.write("ca.pem", AUTHORITY);
    bench.write(".env", "OPSANI_TOKEN=first\n");
    let mut servo = bench.start(&["run"]);
    for optimizer in [&token, &authority, &variable] {
        until_event(optimizer, "WHATS_NEXT");
    }
    let hellos = |optimizer: &ScriptedOptimizer| {
        let received = optimizer.received();
        let hellos = received.iter().filter(|r| r.event == "HELLO");
        hellos
            .map(|r| r.header("authorization").unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let again = |optimizer: &ScriptedOptimizer| {
        optimizer
            .wait_for(SOON, |received| {
                received.iter().filter(|r| r.event == "HELLO").count() == 2
            })
            .unwrap();
    };
    bench.write("the-token", "two\n");
    assert!(reload(&mut servo).starts_with("reload finished: +0 ~1 -0 =2 in "));
    again(&token);
    assert_eq!(hellos(&token), ["Bearer one", "Bearer two"]);

    bench.write("ca.pem", &format!("{AUTHORITY}\n{AUTHORITY}"));
    assert!(reload(&mut servo).starts_with("reload finished: +0 ~1 -0 =2 in "));
    again(&authority);
    bench.write("ca.pem", "no certificate\n");
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload refused: servo \"authority\": ") && outcome.contains("ca.pem"),
        "{outcome}"
    );
    bench.write("ca.pem", &format!("{AUTHORITY}\n{AUTHORITY}"));

    bench.write(".env", "OPSANI_TOKEN=second\n");
    assert!(reload(&mut servo).starts_with("reload finished: +0 ~1 -0 =2 in "));
    again(&variable);
    assert_eq!(hellos(&variable), ["Bearer first", "Bearer second"]);
    assert_eq!((hellos(&token).len(), hellos(&authority).len()), (2, 2));
    end(servo);
}

#[test]
fn a_command_is_cancelled_or_may_end_first() {
    for (policy, completes) in [
        ("", false),
        ("[reload]\ncommand = \"finish\"\n", true),
        (
            "[reload]\ncommand = \"finish\"\nfinish_within = \"1s\"\n",
            false,
        ),
    ] {
        let a = measuring(if completes { "3s" } else { "1m" });
        let bench = Bench::new();
        bench.write("servo.toml", policy);
        bench.write("servo.yaml", &document("a", &a, ""));
        let mut servo = bench.start(&["run"]);
        until_measuring(&a);
        bench.write("servo.yaml", &document("a", &a, "description: new\n"));
        let outcome = reload(&mut servo);
        assert!(
            outcome.starts_with("reload finished: +0 ~1 -0 =0 in "),
            "{outcome}"
        );
        a.wait_for(SOON, |received| {
            received.iter().filter(|r| r.event == "HELLO").count() == 2
        })
        .unwrap();
        let told = told(&a);
        let goodbye = told
            .iter()
            .position(|e| e == "GOODBYE reconfigured")
            .unwrap();
        let completed = told[..goodbye].iter().any(|e| e == "MEASUREMENT");
        assert_eq!(completed, completes, "{policy:?}: {told:?}");
        assert_eq!(a.violations(), Vec::<String>::new());
        end(servo);
    }
}

/// While one reload waits for a command to end, those that are asked for become one.
#[test]
fn reloads_come_one_after_the_other() {
    let a = measuring("3s");
    let bench = Bench::new();
    bench.write("servo.toml", "[reload]\ncommand = \"finish\"\n");
    bench.write("servo.yaml", &document("a", &a, ""));
    let mut servo = bench.start(&["run"]);
    until_measuring(&a);
    bench.write("servo.yaml", &document("a", &a, "description: new\n"));
    servo.signal(Signal::HUP);
    servo.until("the first reload", SOON, |_, log| {
        log.contains("reading the configuration again")
            .then_some(())
    });
    for _ in 0..5 {
        servo.signal(Signal::HUP);
        thread::sleep(Duration::from_millis(50));
    }
    // Meanwhile the tree can be had.
    servo.signal(Signal::USR1);
    servo.until("the tree", SOON, |_, log| {
        log.contains("supervision tree").then_some(())
    });
    assert_eq!(outcomes(&servo.stderr()).len(), 0);
    next_outcome(&mut servo, 1);
    thread::sleep(Duration::from_millis(300));
    let ended = end(servo);
    let outcomes = outcomes(&ended.stderr);
    assert_eq!(outcomes.len(), 2, "{ended}");
    assert!(
        outcomes[0].starts_with("reload finished: +0 ~1 -0 =0"),
        "{ended}"
    );
    assert!(
        outcomes[1].starts_with("reload finished: +0 ~0 -0 =1"),
        "{ended}"
    );
}

/// A signal in the middle of a reload ends the program as at any time.
#[test]
fn the_end_does_not_wait_for_a_reload() {
    let a = measuring("1h");
    let bench = Bench::new();
    bench.write(
        "servo.toml",
        "[reload]\ncommand = \"finish\"\nfinish_within = \"1h\"\n",
    );
    bench.write("servo.yaml", &document("a", &a, ""));
    let mut servo = bench.start(&["run"]);
    until_measuring(&a);
    bench.write("servo.yaml", &document("a", &a, "description: new\n"));
    servo.signal(Signal::HUP);
    servo.until("the reload", SOON, |_, log| {
        log.contains("reading the configuration again")
            .then_some(())
    });
    thread::sleep(Duration::from_millis(300));
    servo.signal(Signal::TERM);
    let ended = servo.ended(Duration::from_secs(25));
    ended.assert_code(0);
    assert!(told(&a).last().unwrap().starts_with("GOODBYE"), "{ended}");
}

#[test]
fn files_are_watched_where_that_is_wanted() {
    let (a, b) = (idle(), idle());
    let bench = Bench::new();
    // As the kubelet mounts a ConfigMap.
    let version = |name: &str, text: &str| {
        fs::create_dir(bench.path(name)).unwrap();
        fs::write(bench.path(name).join("servo.yaml"), text).unwrap();
        symlink(name, bench.path("..data_tmp")).unwrap();
        fs::rename(bench.path("..data_tmp"), bench.path("..data")).unwrap();
    };
    version("..1", &document("a", &a, ""));
    symlink("..data/servo.yaml", bench.path("servo.yaml")).unwrap();
    bench.write("servo.toml", "watch = true\n");
    let mut servo = bench.start(&["run"]);
    until_event(&a, "WHATS_NEXT");
    // The first look has been taken by then.
    thread::sleep(Duration::from_secs(1));
    version(
        "..2",
        &file(&[document("a", &a, ""), document("b", &b, "")]),
    );
    let outcome = next_outcome(&mut servo, 0);
    assert!(
        outcome.starts_with("reload finished: +1 ~0 -0 =1 in "),
        "{outcome}"
    );
    until_event(&b, "WHATS_NEXT");
    // Half of a file is refused, once.
    fs::remove_file(bench.path("servo.yaml")).unwrap();
    bench.write("servo.yaml", "name: a\nwait: {measure_");
    let outcome = next_outcome(&mut servo, 1);
    assert!(
        outcome.starts_with("reload refused: servo.yaml: "),
        "{outcome}"
    );
    thread::sleep(Duration::from_secs(5));
    assert_eq!(outcomes(&servo.stderr()).len(), 2, "{}", servo.stderr());
    // Replaced by a rename, as editors do.
    bench.write("new.yaml", &document("a", &a, ""));
    fs::rename(bench.path("new.yaml"), bench.path("servo.yaml")).unwrap();
    let outcome = next_outcome(&mut servo, 2);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -1 =1 in "),
        "{outcome}"
    );
    // No longer.
    bench.write("servo.toml", "watch = false\n");
    let outcome = next_outcome(&mut servo, 3);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -0 =1 in "),
        "{outcome}"
    );
    bench.write("servo.yaml", "x: [");
    thread::sleep(Duration::from_secs(5));
    let ended = end(servo);
    assert_eq!(outcomes(&ended.stderr).len(), 4, "{ended}");
    assert_eq!(told(&a), ["HELLO", "WHATS_NEXT", "GOODBYE SIGTERM"]);
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

/// The study of a running servo is given another budget, and the run ends with it.
#[test]
fn a_study_that_is_changed_goes_on_with_its_trials() {
    let bench = Bench::new();
    let toy = Toy::new();
    bench.write("servo.yaml", &toy.study(500, ""));
    let mut servo = bench.start(&["run"]);
    servo.until("the third trial", Duration::from_secs(90), |out, _| {
        out.contains("3/500").then_some(())
    });
    bench.write("servo.yaml", &toy.study(6, ""));
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +0 ~1 -0 =0 in "),
        "{outcome}"
    );
    let ended = servo.ended(Duration::from_secs(90));
    ended.assert_code(0);
    assert!(ended.stdout.contains("6/6"), "{ended}");
    assert_eq!(bench.trials("toys/toy").len(), 6);
    assert_eq!(bench.studies().len(), 1);
    bench.assert_nothing_left(SOON);
}

/// Two servos share a trial file: one that joins it does not disturb the other.
#[test]
fn a_trial_file_that_is_shared_with_a_servo_that_comes_later() {
    let bench = Bench::new();
    let study = |name: &str, toy: Toy, trials: u32| {
        toy.study(trials, "")
            .replace("toys/toy", &format!("toys/{name}"))
            + &format!("name: {name}\n")
    };
    let (old, new) = (Toy::new(), Toy::new());
    bench.write("servo.yaml", &study("old", old, 12));
    let mut servo = bench.start(&["run"]);
    servo.until("the second trial", Duration::from_secs(90), |out, _| {
        out.contains("2/12").then_some(())
    });
    bench.write(
        "servo.yaml",
        &file(&[study("old", old, 12), study("new", new, 4)]),
    );
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +1 ~0 -0 =1 in "),
        "{outcome}"
    );
    let ended = servo.ended(Duration::from_secs(120));
    ended.assert_code(0);
    assert_eq!(bench.trials("toys/old").len(), 12);
    assert_eq!(bench.trials("toys/new").len(), 4);
    bench.assert_nothing_left(SOON);
}

/// The optimizer is gone when a servo is removed: the reload has its limits all the same.
#[test]
fn a_reload_does_not_hang_on_an_optimizer_that_is_silent() {
    let (gone, stays) = (idle(), idle());
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &file(&[document("gone", &gone, ""), document("stays", &stays, "")]),
    );
    let mut servo = bench.start(&["run"]);
    until_event(&gone, "WHATS_NEXT");
    until_event(&stays, "WHATS_NEXT");
    gone.inject(On::any().always(), Fault::Stall);
    bench.write("servo.yaml", &document("stays", &stays, ""));
    let began = Instant::now();
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -1 =1 in "),
        "{outcome}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    end(servo);
    assert_eq!(told(&stays), ["HELLO", "WHATS_NEXT", "GOODBYE SIGTERM"]);
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

/// A request to the admin server: its status and body.
fn admin(port: u16, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\ncontent-length: {}\r\n\
         content-type: application/yaml\r\n\r\n{body}",
        body.len()
    )
    .expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned());
    (status.expect("a status"), body.unwrap_or_default())
}

#[test]
fn servos_that_come_and_go_while_it_runs() {
    let (first, added, taken) = (measuring("6s"), idle(), idle());
    let bench = Bench::new();
    let own = document("first", &first, "");
    bench.write("servo.yaml", &own);
    let port = free_port();
    let mut command = bench.servo(&["run"]);
    command
        .env("SERVOD_ADMIN__LISTEN", format!("127.0.0.1:{port}"))
        // It names one optimizer, and is not for those that join others.
        .env("OPSANI_ID", "example.com/of-the-environment");
    let mut servo = Running::start(command);
    until_measuring(&first);
    let add = |yaml: &str| admin(port, "POST", "/api/v1/servos", yaml);
    let new = document("added", &added, "");
    for (yaml, told) in [
        ("name: [".to_owned(), "the documents: "),
        ("name: x\n".to_owned(), "optimizer -> id"),
        (own.clone(), "\\\"first\\\" exists already"),
        (
            new.replace("name: added", "name: other")
                .replace("example.com/added", "example.com/first"),
            "example.com/first",
        ),
        (
            file(&[new.clone(), "name: x\nwiat: 1\n".to_owned()]),
            "wiat",
        ),
    ] {
        let (status, body) = add(&yaml);
        assert!(
            (400..500).contains(&status) && body.contains(told),
            "{status} {body}"
        );
    }
    assert_eq!(added.events(), Vec::<String>::new(), "all of them, or none");
    let (status, body) = add(&new);
    assert_eq!(
        (status, body.trim()),
        (201, "{\"added\":[\"added\"]}"),
        "{body}"
    );
    until_event(&added, "WHATS_NEXT");
    // The file does not name it: it stays as it is.
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -0 =1 in "),
        "{outcome}"
    );
    // The file may not give its optimizer to another servo.
    let thief = document("thief", &taken, "").replace("example.com/thief", "example.com/added");
    bench.write("servo.yaml", &file(&[own.clone(), thief]));
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload refused: servo \"thief\" has the optimizer example.com/added"),
        "{outcome}"
    );
    // The file names it, and what the file says counts from now on.
    bench.write("servo.yaml", &file(&[own.clone(), new.clone()]));
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -0 =2 in "),
        "{outcome}"
    );
    assert_eq!(told(&added), ["HELLO", "WHATS_NEXT"]);
    // One that is removed comes back when the file still has it.
    let (status, body) = admin(port, "DELETE", "/api/v1/servos/added", "");
    assert_eq!(status, 204, "{body}");
    assert_eq!(
        told(&added),
        ["HELLO", "WHATS_NEXT", "GOODBYE reconfigured"]
    );
    assert_eq!(admin(port, "DELETE", "/api/v1/servos/added", "").0, 404);
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +1 ~0 -0 =1 in "),
        "{outcome}"
    );
    // What the file takes back is gone.
    bench.write("servo.yaml", &own);
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -1 =1 in "),
        "{outcome}"
    );
    // Added, removed, and not in the file: gone for good.
    assert_eq!(add(&new).0, 201);
    assert_eq!(admin(port, "DELETE", "/api/v1/servos/added", "").0, 204);
    let (status, body) = admin(port, "POST", "/-/reload", "");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("reload finished: +0 ~0 -0 =1 in "), "{body}");
    let completion = first.completion("MEASUREMENT", SOON).unwrap();
    assert_eq!(
        completion["status"], "ok",
        "nothing of it disturbs the first"
    );
    let (status, body) = admin(port, "POST", "/-/quit", "");
    assert!((200..300).contains(&status), "{status} {body}");
    let ended = servo.ended(SOON);
    ended.assert_code(0);
    assert_eq!(first.received().last().unwrap().param["reason"], "shutdown");
    assert_eq!(first.events().iter().filter(|e| *e == "HELLO").count(), 1);
}

/// What could not run from the start does not keep the others from their changes, but nothing new may be
/// like that.
#[test]
fn servos_that_cannot_run() {
    let (a, b) = (idle(), idle());
    let placeholder = |name: &str| {
        format!(
            "name: {name}\nwait: {{measure_enabled: true}}\n\
             optimizer: {{id: generated-id.test/generated, token: generated-token}}\n"
        )
    };
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &file(&[document("a", &a, ""), placeholder("never")]),
    );
    let mut servo = bench.start(&["run"]);
    until_event(&a, "WHATS_NEXT");
    bench.write(
        "servo.yaml",
        &file(&[
            document("a", &a, ""),
            placeholder("never"),
            document("b", &b, ""),
        ]),
    );
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload finished: +1 ~0 -0 =1 in "),
        "{outcome}"
    );
    until_event(&b, "WHATS_NEXT");
    bench.write(
        "servo.yaml",
        &file(&[document("a", &a, ""), placeholder("b")]),
    );
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload refused: servo \"b\" has the placeholder optimizer"),
        "{outcome}"
    );
    end(servo);
    assert_eq!(told(&b), ["HELLO", "WHATS_NEXT", "GOODBYE SIGTERM"]);
}

#[test]
fn standard_input_cannot_be_read_again() {
    let a = idle();
    let bench = Bench::new();
    bench.write("given.yaml", &document("a", &a, ""));
    let mut command = bench.servo(&["-c", "-", "run"]);
    command.stdin(fs::File::open(bench.path("given.yaml")).unwrap());
    let mut servo = Running::start(command);
    until_event(&a, "WHATS_NEXT");
    assert_eq!(
        reload(&mut servo),
        "reload refused: this program was not started from a configuration that can be read again"
    );
    end(servo);
}
