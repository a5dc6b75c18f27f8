//! `servo run`: its options, what it says first, and what keeps it from running.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::json;
use servo_doubles::{Fault, On, PrometheusAnswer, PrometheusDouble, Script, ScriptedOptimizer};

use crate::bench::{Bench, Ended, Running, SOON, skipped};

const WAIT: &str = "wait: {measure_enabled: true}\n";

fn document(name: &str, optimizer: &ScriptedOptimizer, more: &str) -> String {
    format!(
        "name: {name}\noptimizer: {{id: example.com/{name}, token: t, base_url: \"{}\"}}\n{more}",
        optimizer.base_url()
    )
}

fn bench(more: &str) -> (Bench, ScriptedOptimizer) {
    let (bench, optimizer) = (Bench::new(), ScriptedOptimizer::start(Script::new()));
    bench.write("servo.yaml", &document("solo", &optimizer, more));
    (bench, optimizer)
}

fn with_variables(bench: &Bench, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
    let mut command = bench.servo(arguments);
    command.envs(variables.iter().copied());
    Running::start(command)
}

/// Until it has asked for a command; then it is told to end.
fn until_polled(servo: Running, optimizer: &ScriptedOptimizer) -> Ended {
    optimizer
        .wait_for(SOON, |received| {
            received.iter().any(|r| r.event == "WHATS_NEXT")
        })
        .unwrap();
    servo.signal(Signal::TERM);
    servo.ended(SOON)
}

#[test]
fn connected_without_taking_commands() {
    let (bench, optimizer) = bench(WAIT);
    let mut servo = bench.start(&["run", "--no-poll"]);
    servo.until("the connection", SOON, |_, err| {
        err.contains("not asking for commands").then_some(())
    });
    servo.signal(Signal::TERM);
    servo.ended(SOON).assert_code(0);
    assert_eq!(optimizer.events(), ["HELLO", "GOODBYE"]);
}

/// The soft limit is raised where the hard one allows it, and where it does not, that is told.
#[test]
fn too_few_open_files() {
    for (limits, told) in [("ulimit -n 64", true), ("ulimit -Sn 64", false)] {
        let (bench, optimizer) = bench(WAIT);
        let mut command = bench.command("sh");
        let start = format!("{limits} && exec \"$0\" run");
        command.args(["-c", &start, env!("CARGO_BIN_EXE_servo")]);
        let ended = until_polled(Running::start(command), &optimizer);
        ended.assert_code(0);
        let text = "this process may have 64 files and connections open, and may need 500";
        assert_eq!(
            ended.stderr.contains(text),
            told,
            "{limits}: {}",
            ended.stderr
        );
    }
}

#[test]
fn nobody_to_ask() {
    let (bench, optimizer) = bench(WAIT);
    bench
        .run(&["run", "--interactive"])
        .assert_code(2)
        .assert_stderr(&["stdin is no terminal"]);
    assert_eq!(optimizer.events(), Vec::<String>::new());
}

/// `script` gives the program a terminal.
#[test]
fn an_operator_decides() {
    for (answers, events, told) in [
        ("n\n", &[] as &[&str], "no servo is to run"),
        ("y\nn\n", &["HELLO"], "Sleeping for 1m"),
        ("y\ny\n", &["HELLO", "WHATS_NEXT"], "Poll for next command?"),
    ] {
        let (bench, optimizer) = bench(WAIT);
        let servo = env!("CARGO_BIN_EXE_servo");
        let mut command = bench.command("script");
        command
            .args(["-qec", &format!("'{servo}' run -i"), "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let Ok(child) = command.spawn() else {
            return skipped("servo run --interactive, for there is no `script`");
        };
        let mut terminal = Terminal(child, bench);
        terminal.answer(answers, told);
        optimizer
            .wait_for(SOON, |received| {
                let seen: Vec<&str> = received.iter().map(|r| r.event.as_str()).collect();
                seen.starts_with(events)
            })
            .unwrap();
        terminal.end();
        let seen = optimizer.events();
        assert_eq!(seen[..events.len()], *events, "{answers:?}: {seen:?}");
        let polls = events.iter().filter(|e| **e == "WHATS_NEXT").count();
        let polled = seen.iter().filter(|e| *e == "WHATS_NEXT").count();
        assert_eq!(polls, polled, "{answers:?}: {seen:?}");
    }
}

/// The program behind `script`.
struct Terminal(std::process::Child, Bench);

impl Terminal {
    /// Types `answers` as they are asked for, and waits for `told`.
    fn answer(&mut self, answers: &str, told: &str) {
        use std::io::{Read, Write};
        let Self(child, _) = self;
        let mut input = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut buffer) {
                let _ = send.send(String::from_utf8_lossy(&buffer[..n]).into_owned());
            }
        });
        let mut seen = String::new();
        let mut until = |wanted: &dyn Fn(&str) -> bool| {
            while !wanted(&seen) {
                match receive.recv_timeout(SOON) {
                    Ok(more) => seen.push_str(&more),
                    Err(error) => panic!("{error}: {seen}"),
                }
            }
        };
        for (asked, answer) in answers.lines().enumerate() {
            until(&|seen| seen.matches("[y/N]").count() > asked);
            writeln!(input, "{answer}").unwrap();
        }
        until(&|seen| seen.contains(told));
        // What is typed stays open: its end would be one more answer.
        child.stdin = Some(input);
    }

    /// Ends the program, which has to end well.
    fn end(mut self) {
        for (pid, line) in self.1.processes() {
            if line.contains("servo run -i") && !line.contains("script") && !line.contains("sh -c")
            {
                let _ = rustix::process::kill_process(pid, Signal::TERM);
            }
        }
        let code = crate::bench::wait("the end", SOON, || self.0.try_wait().unwrap());
        assert_eq!(code.code(), Some(0));
    }
}

#[test]
fn the_first_failure_ends_it_when_debugging() {
    for (arguments, variables) in [
        (&["run", "--debug"] as &[&str], &[] as &[(&str, &str)]),
        (&["run", "--DEBUG"], &[]),
        (&["run"], &[("SERVO_RUN_DEBUG", "1")]),
    ] {
        let prometheus = PrometheusDouble::start();
        let error =
            || PrometheusAnswer::Error(400, "bad_data".to_owned(), "no such thing".to_owned());
        prometheus.answer("up", error());
        let bench = Bench::new();
        let optimizer = ScriptedOptimizer::start(Script::new().measure("m1", &[], json!({})));
        let stanza = format!(
            "prometheus: {{base_url: \"{}\", metrics: [{{name: up, query: up, unit: rps}}]}}\n",
            prometheus.base_url()
        );
        bench.write("servo.yaml", &document("solo", &optimizer, &stanza));
        let ended = with_variables(&bench, arguments, variables).ended(SOON);
        ended
            .assert_code(1)
            .assert_stderr(&["servo \"solo\" failed: ", "no such thing"]);
        assert_eq!(optimizer.events().last().unwrap(), "GOODBYE");
    }
}

#[test]
fn what_it_says_first() {
    let (bench, optimizer) = bench(&format!("{WAIT}servo_uid: u-1\n"));
    let version = env!("CARGO_PKG_VERSION");
    let ended = until_polled(bench.start(&["run"]), &optimizer);
    ended.assert_code(0).assert_stdout(&[
        &format!("v{version} initialized\n\nconnectors:  wait-"),
        "config file: ",
        "servo UID:   u-1\n",
        "optimizer:   example.com/solo\n",
        &format!(
            "base url:    {}",
            optimizer.base_url().trim_end_matches('/')
        ),
    ]);
    assert!(!ended.stdout.contains('\u{1b}'), "{ended}");
    for (variables, warnings) in [
        (
            &[
                ("SERVO_BANNER_FONT", "zzzz"),
                ("SERVO_BANNER_COLOR", "pink"),
            ] as &[(&str, &str)],
            &["zzzz", "pink"] as &[&str],
        ),
        (&[("SERVO_BANNER_COLOR", "red")], &[]),
    ] {
        let (bench, optimizer) = self::bench(WAIT);
        let servo = with_variables(&bench, &["run"], variables);
        let ended = until_polled(servo, &optimizer);
        ended.assert_code(0).assert_stderr(warnings);
        assert_eq!(
            ended.stderr.contains("BANNER"),
            !warnings.is_empty(),
            "{ended}"
        );
    }
    for (arguments, variables) in [
        (&["run", "--no-banner"] as &[&str], &[] as &[(&str, &str)]),
        (&["run"], &[("SERVO_NO_BANNER", "true")]),
        (&["run", "-o", "json"], &[]),
    ] {
        let (bench, optimizer) = self::bench(WAIT);
        let servo = with_variables(&bench, arguments, variables);
        let ended = until_polled(servo, &optimizer);
        assert_eq!(ended.assert_code(0).stdout, "", "{ended}");
    }
    let ended = with_variables(&bench, &["run"], &[("SERVO_NO_BANNER", "perhaps")]).ended(SOON);
    ended.assert_code(2).assert_stderr(&["SERVO_NO_BANNER"]);
}

#[test]
fn the_placeholder_is_no_optimizer() {
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &format!("optimizer: {{id: generated-id.test/generated, token: generated-token}}\n{WAIT}"),
    );
    for arguments in [
        &["run"] as &[&str],
        &["run", "--check"],
        &["run", "--dry-run"],
        &["check"],
    ] {
        let ended = bench.run(arguments);
        ended
            .assert_code(1)
            .assert_stderr(&["placeholder", "OPSANI_OPTIMIZER", "OPSANI_TOKEN"]);
        assert_eq!(ended.stdout, "", "{ended}");
        assert!(
            ended.took < Duration::from_secs(1),
            "{:?}: {ended}",
            ended.took
        );
    }
}

/// Told at once, on one line, with the connector and its servo.
#[test]
fn connectors_that_this_build_cannot_run() {
    let (bench, optimizer) =
        bench("jobs: {on: {measure: [\"true\"]}}\nconnectors: {jobs: scripts}\n");
    for arguments in [
        &["run"] as &[&str],
        &["run", "--check"],
        &["check"],
        &["describe"],
        &["measure"],
        &["adjust", "a.b=1"],
        &["promote"],
        &["show", "components"],
        &["show", "metrics"],
    ] {
        let ended = bench.run(arguments);
        ended
            .assert_code(1)
            .assert_stderr(&["servo \"solo\": connector \"jobs\" of type scripts cannot run: "]);
        assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
        assert_eq!(ended.stdout, "", "{ended}");
    }
    assert_eq!(optimizer.events(), Vec::<String>::new());
}

#[test]
fn servos_that_cannot_run_leave_the_others_alone() {
    let bench = Bench::new();
    let optimizer = ScriptedOptimizer::start(Script::new());
    let embedded = |name: &str| {
        format!(
            "name: {name}\noptimizer: {{embedded: {{id: toys/{name}, database: no/folder/t.db, objective: {{minimize: x}}}}}}\n{WAIT}"
        )
    };
    bench.write(
        "servo.yaml",
        &[
            document("broken", &optimizer, "scripts: {on: {measure: [\"true\"]}}\n"),
            embedded("homeless"),
            "name: nameless\noptimizer: {id: generated-id.test/generated, token: generated-token}\n".to_owned(),
            document("fine", &optimizer, WAIT),
        ]
        .join("---\n"),
    );
    let ended = until_polled(bench.start(&["run"]), &optimizer);
    ended.assert_code(0).assert_stdout(&["servos:      "]);
    for (servo, told) in [
        ("broken", "cannot run: "),
        ("homeless", "no/folder"),
        ("nameless", "placeholder"),
    ] {
        let line = ended
            .stderr
            .lines()
            .find(|line| line.contains("ERROR") && line.contains(servo) && line.contains(told));
        assert!(line.is_some(), "{servo}: {ended}");
    }
}

/// Only when none is left does it fail.
#[test]
fn no_servo_starts() {
    let bench = Bench::new();
    let [left, right] = [(); 2].map(|()| ScriptedOptimizer::start(Script::new()));
    for optimizer in [&left, &right] {
        optimizer.inject(On::event("HELLO").always(), Fault::status(401));
    }
    let more = format!("settings: {{backoff: {{connect: {{max_time: 500ms}}}}}}\n{WAIT}");
    bench.write(
        "servo.yaml",
        &format!(
            "{}---\n{}",
            document("left", &left, &more),
            document("right", &right, &more)
        ),
    );
    bench
        .run(&["run"])
        .assert_code(1)
        .assert_stderr(&["none of 2 servos can start"]);
    right.heal();
    let ended = until_polled(bench.start(&["run"]), &right);
    ended.assert_code(0);
}

/// A cluster is not needed to say so.
#[test]
fn describing_kubernetes() {
    let bench = Bench::new();
    bench.run(&["generate", "kubernetes"]).assert_code(0);
    let ended = bench.run(&["describe"]);
    ended.assert_code(1).assert_stderr(&["kubernetes"]);
    assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
}

/// `spec/optimizer-protocol.md` §17 and §23.41: those that wait for their turn keep their command.
#[test]
fn no_more_commands_at_a_time_than_the_limit() {
    let bench = Bench::new();
    let measuring = || {
        let script = Script::new().measure("u1", &[], json!({"duration": "2s"}));
        ScriptedOptimizer::start(script)
    };
    let began = Instant::now();
    let optimizers = [measuring(), measuring()];
    let [left, right] = &optimizers;
    let more = format!("{WAIT}settings: {{progress_interval: 500ms}}\n");
    bench.write(
        "servo.yaml",
        &format!(
            "{}---\n{}",
            document("left", left, &more),
            document("right", right, &more)
        ),
    );
    let servo = bench.start(&["--limit", "1", "run"]);
    for optimizer in &optimizers {
        optimizer
            .wait_for(SOON, |received| {
                received.iter().any(|r| r.completes("MEASUREMENT"))
            })
            .unwrap();
    }
    assert!(began.elapsed() >= Duration::from_secs(4));
    servo.signal(Signal::TERM);
    servo.ended(SOON).assert_code(0);
    let waited = |optimizer: &ScriptedOptimizer| {
        let received = optimizer.received();
        received
            .iter()
            .filter(|r| r.param["message"] == "waiting for its turn" && r.param["progress"] == 0.0)
            .count()
    };
    let mut waited = [waited(left), waited(right)];
    waited.sort_unstable();
    assert!(waited[0] == 0 && waited[1] > 0, "{waited:?}");
}

#[test]
fn some_of_several() {
    let bench = Bench::new();
    let [left, right] = [(); 2].map(|()| ScriptedOptimizer::start(Script::new()));
    bench.write(
        "servo.yaml",
        &format!(
            "{}---\n{}",
            document("left", &left, WAIT),
            document("right", &right, WAIT)
        ),
    );
    let ended = until_polled(bench.start(&["-n", "right", "run"]), &right);
    ended.assert_code(0);
    assert_eq!(left.events(), Vec::<String>::new());
    bench
        .run(&["-n", "nope", "run"])
        .assert_code(2)
        .assert_stderr(&["No servo was found named \"nope\""]);
    bench.write("token", "x");
    for (flag, value, told) in [
        (
            "--optimizer",
            "abcde.com/x",
            "An optimizer cannot be specified",
        ),
        ("--token", "x", "A token cannot be specified"),
        ("--token-file", "token", "A token file cannot be specified"),
        ("--base-url", "http://x", "A base URL cannot be specified"),
        ("--url", "http://x", "A URL cannot be specified"),
    ] {
        bench
            .run(&[flag, value, "run"])
            .assert_code(2)
            .assert_stderr(&[told, "multi-servo configuration"]);
    }
    let all = [
        "--optimizer",
        "abcde.com/x",
        "--token",
        "x",
        "--url",
        "http://u:hush@x",
    ];
    let ended = bench.run(&[&all[..], &["run"]].concat());
    ended.assert_code(2).assert_stderr(&[
        "An optimizer cannot be specified",
        "A token cannot be specified",
        "A URL cannot be specified",
    ]);
    assert!(!ended.stderr.contains("hush"), "{ended}");
}

#[test]
fn optimizers_of_several() {
    let bench = Bench::new();
    let one = ScriptedOptimizer::start(Script::new());
    bench.write(
        "servo.yaml",
        &format!("{}---\nname: other\n{WAIT}", document("one", &one, WAIT)),
    );
    bench.run(&["run"]).assert_code(1).assert_stderr(&[
        "cannot configure a multi-servo assembly without an optimizer specified in each config",
    ]);
    let two = document("one", &one, WAIT).replacen("name: one", "name: two", 1);
    bench.write(
        "servo.yaml",
        &format!("{}---\n{two}", document("one", &one, WAIT)),
    );
    bench
        .run(&["run"])
        .assert_code(1)
        .assert_stderr(&["example.com/one"]);
    assert_eq!(one.events(), Vec::<String>::new());
}
