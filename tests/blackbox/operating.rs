//! `servo status`, `tree`, `top` and `reload`: what they ask of a running daemon, and what they say.

pub(crate) mod daemon;
pub(crate) mod double;
mod terminal;

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::json;
use servo_doubles::{HttpTarget, Script, ScriptedOptimizer, TargetAnswer};

use crate::bench::{Bench, Ended, Running, SOON, free_port, wait};
use daemon::Daemon;
use double::{AdminDouble, measuring, parked, servo};

fn three() -> AdminDouble {
    AdminDouble::start(vec![
        servo("calm"),
        measuring("team/busy one", 42.7),
        parked("ill"),
    ])
}

/// Runs a command that asks the daemon at `url`.
fn ask(url: &str, arguments: &[&str]) -> Ended {
    let bench = Bench::new();
    bench.run(&[arguments, &["--admin", url]].concat())
}

#[test]
fn the_status_of_all() {
    let daemon = three();
    daemon.world().last_reload = json!({
        "ok": false, "at": "2026-01-21T12:00:00Z", "text": "reload refused: servo.yaml: no",
    });
    let ended = ask(&daemon.url(), &["status"]);
    ended.assert_code(0);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(
        lines[0],
        format!(
            "servo 9.8.7 is ready, up 3d4h, 3 servos (1 executing, 1 parked, 1 polling) at {}",
            daemon.url()
        )
    );
    assert!(
        lines[1].ends_with("ago: reload refused: servo.yaml: no"),
        "{ended}"
    );
    let header = "NAME           STATE                  SINCE    OPERATION                DONE    NOT OK    RESTARTS    LAST                 ERROR";
    assert_eq!(lines[3], header);
    assert_eq!(
        lines[4],
        "calm           polling                12s                               41      0         0           ADJUST ok 5m12s ago"
    );
    assert!(
        lines[5].starts_with("ill            parked (retry in 42s)"),
        "{ended}"
    );
    assert!(lines[5].ends_with("no space left on device"), "{ended}");
    assert!(
        lines[6]
            .starts_with("team/busy one  executing MEASURE      12s      MEASURE 43% 12s warm-up"),
        "{ended}"
    );
    assert_eq!(lines.len(), 7, "{ended}");
}

#[test]
fn a_servo_takes_one_line_whatever_its_name() {
    let daemon = AdminDouble::start(vec![servo("two\nlines")]);
    let ended = ask(&daemon.url(), &["status"]);
    ended.assert_code(0);
    let last = ended.stdout.lines().last().unwrap();
    assert!(
        last.starts_with("two lines") && last.contains("polling"),
        "{ended}"
    );
}

#[test]
fn the_status_for_programs() {
    let daemon = three();
    let ended = ask(&daemon.url(), &["status", "-o", "json"]);
    ended.assert_code(0);
    let told = ended.json();
    assert_eq!(told["daemon"]["version"], "9.8.7");
    assert_eq!(told["servos"][0], servo("calm"));
    assert_eq!(told["servos"].as_array().unwrap().len(), 3);
    let ended = ask(&daemon.url(), &["status", "calm", "-o", "yaml"]);
    ended
        .assert_code(0)
        .assert_stdout(&["\nstate: polling\n", "\nconnectors:\n- name: load\n"]);
}

#[test]
fn thousands_of_servos_are_asked_for_in_pages() {
    let names: Vec<String> = (0..2345).map(|n| format!("s{n:04}")).collect();
    let daemon = AdminDouble::start(names.iter().map(|name| servo(name)).collect());
    let ended = ask(&daemon.url(), &["status", "-o", "json"]);
    let told = ended.assert_code(0).json();
    let found: Vec<&str> = told["servos"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["name"].as_str().unwrap())
        .collect();
    assert_eq!(found, names);
    let asked = daemon
        .world()
        .requests
        .iter()
        .filter(|r| r.contains("/servos?"))
        .count();
    assert_eq!(asked, 3);
}

#[test]
fn some_of_the_servos() {
    let daemon = three();
    for (arguments, found) in [
        (&["--state", "parked"] as &[&str], &["ill"] as &[&str]),
        (&["--search", "BUSY"], &["team/busy one"]),
        (&["--search", "l", "--state", "polling"], &["calm"]),
        (&["--state", "backing-off"], &[]),
    ] {
        let ended = ask(
            &daemon.url(),
            &[&["status", "-o", "json"], arguments].concat(),
        );
        let told = ended.assert_code(0).json();
        let names: Vec<&str> = told["servos"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, found, "{arguments:?}");
    }
    let ended = ask(&daemon.url(), &["status", "--search", "nobody"]);
    ended.assert_code(0).assert_stdout(&["no servo matches"]);
}

#[test]
fn one_servo_in_full() {
    let daemon = three();
    let ended = ask(&daemon.url(), &["status", "team/busy one"]);
    ended.assert_code(0).assert_stdout(&[
        "servo:     team/busy one\n",
        "state:     executing MEASURE, for 12s\n",
        "operation: MEASURE 43% 12s warm-up (uid c-1)\n",
        "commands:  41 finished, 0 of them not ok\n",
        "last:      ADJUST ok 5m12s ago, took 3.2s\n",
        "optimizer: https://optimizer.example.com/servo\n",
        "load         vegeta  running  measure",
        "ERROR    connector load failed",
    ]);
    // The name of the root's option is understood, too.
    let ended = ask(&daemon.url(), &["-n", "calm", "status"]);
    ended.assert_code(0).assert_stdout(&["servo:     calm\n"]);
}

#[test]
fn what_does_not_work_is_an_exit_code() {
    let daemon = three();
    // Servos that fail are not the daemon's failure.
    ask(&daemon.url(), &["status"]).assert_code(0);
    ask(&daemon.url(), &["status", "ill"])
        .assert_code(1)
        .assert_stdout(&["state:     parked (retry in 42s)"])
        .assert_stderr(&[
            "servo \"ill\" does not do its work: it is parked: no space left on device",
        ]);
    daemon.change("calm", |servo| {
        servo["full"] = json!({"optimizer": {"url": "https://o", "outage_seconds": 75.0}});
    });
    ask(&daemon.url(), &["status", "calm"])
        .assert_code(1)
        .assert_stderr(&["its optimizer has given no usable answer for 1m15s"]);
    ask(&daemon.url(), &["status", "nobody"])
        .assert_code(2)
        .assert_stderr(&["No servo was found named \"nobody\"", &daemon.url()]);
    daemon.world().ready = false;
    ask(&daemon.url(), &["status"])
        .assert_code(1)
        .assert_stdout(&["servo 9.8.7 is not ready"])
        .assert_stderr(&["is not ready"]);
}

#[test]
fn the_tree() {
    let daemon = three();
    let ended = ask(&daemon.url(), &["tree"]);
    ended.assert_code(0).assert_stdout(&[
        "servo: running for 7s\n  assembly: running for 7s\n    calm: running for 7s\n",
        "      load: backing off for 7s, 3 restarts, last exit: panicked: out of ideas\n",
        "      optimizer: running for 7s, polling\n",
        "\n  admin: running for 7s, serving\n",
    ]);
    let ended = ask(&daemon.url(), &["tree", "ill"]);
    ended.assert_code(0);
    assert!(
        ended.stdout.starts_with("ill: running for 7s\n  load: "),
        "{ended}"
    );
    assert_eq!(ended.stdout.lines().count(), 3, "{ended}");
    let told = ask(&daemon.url(), &["tree", "ill", "-o", "json"]).json();
    assert_eq!(told["children"][1]["doing"], "parked");
    ask(&daemon.url(), &["tree", "nobody"]).assert_code(2);
}

#[test]
fn a_reload_finishes_or_is_refused() {
    let daemon = three();
    let result = "reload finished: +2 ~1 -0 =9997 in 84 ms";
    daemon.world().reload = (200, json!({"result": result, "added": 2}));
    let ended = ask(&daemon.url(), &["reload"]);
    ended.assert_code(0);
    assert_eq!(ended.stdout, format!("{result}\n"));
    assert_eq!(
        ask(&daemon.url(), &["reload", "-o", "json"]).json()["added"],
        2
    );
    let refused = "reload refused: servo.yaml: document 3: vegeta -> rate: field required";
    daemon.world().reload = (422, json!({"error": refused}));
    let ended = ask(&daemon.url(), &["reload"]);
    ended.assert_code(1);
    assert_eq!(
        (ended.stdout.as_str(), ended.stderr),
        ("", format!("{refused}\n"))
    );
    assert_eq!(daemon.world().requests[0], "POST /api/v1/reload");
}

#[test]
fn nobody_answers() {
    let url = format!("http://127.0.0.1:{}/", free_port());
    for command in ["status", "tree", "top", "reload"] {
        let ended = ask(&url, &[command]);
        ended.assert_code(69).assert_stderr(&[
            &format!("no daemon answers at {url}: "),
            "onnection refused",
            "is `servo run` there",
            "[admin] listen",
            "--admin URL",
        ]);
        assert_eq!(ended.stdout, "");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
    }
}

/// It listens, and says nothing.
#[test]
fn a_daemon_that_hangs() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let ended = ask(&url, &["reload", "--timeout", "300ms"]);
    ended
        .assert_code(69)
        .assert_stderr(&["has not answered in time"]);
    assert!(ended.took.as_secs() < 20, "{ended}");
}

#[test]
fn somebody_else_answers() {
    let target = HttpTarget::start(TargetAnswer::status(200));
    let ended = ask(&target.url(), &["status"]);
    ended.assert_code(1).assert_stderr(&[
        "answers, but not as a servo daemon does",
        "is it the admin address?",
    ]);
}

#[test]
fn a_token_is_sent_and_never_shown() {
    let daemon = three();
    daemon.world().token = Some("s3cret".to_owned());
    let bench = Bench::new();
    bench.write("token", "s3cret\n");
    bench.write("other", "0ther");
    bench.write("empty", "\n");
    let url = daemon.url();
    let ask = |more: &[&str]| bench.run(&[&["status", "--admin", &url], more].concat());
    ask(&[])
        .assert_code(1)
        .assert_stderr(&["wants a token: give --admin-token-file FILE"]);
    ask(&["--admin-token-file", "token"]).assert_code(0);
    let ended = ask(&["--admin-token-file", "other"]);
    ended
        .assert_code(1)
        .assert_stderr(&["wants a token other than this one"]);
    assert!(!ended.stderr.contains("0ther"));
    ask(&["--admin-token-file", "empty"])
        .assert_code(1)
        .assert_stderr(&["token file empty: it is empty"]);
    ask(&["--admin-token-file", "none"])
        .assert_code(1)
        .assert_stderr(&["token file none: "]);
    for (name, value, code) in [
        ("SERVO_ADMIN_TOKEN_FILE", "token", 0),
        ("SERVO_ADMIN_TOKEN", "s3cret", 0),
        ("SERVO_ADMIN_TOKEN", "0ther", 1),
        ("SERVO_ADMIN_TOKEN", "t0 ken", 1),
    ] {
        let mut command = bench.servo(&["status", "--admin", &url]);
        command.env(name, value);
        let ended = Running::start(command).ended(SOON);
        ended.assert_code(code);
        assert!(
            !ended.stderr.contains("0ther") && !ended.stderr.contains("t0 ken"),
            "{ended}"
        );
    }
}

/// A command knows from the same `servo.toml` as the daemon where that is, and its token.
#[test]
fn where_the_daemon_is() {
    let daemon = three();
    daemon.world().token = Some("s3cret".to_owned());
    let bench = Bench::new();
    bench.write("token", "s3cret");
    let port = daemon.address().port();
    bench.write(
        "servo.toml",
        &format!("[admin]\nlisten = \"0.0.0.0:{port}\"\ntoken_file = \"token\"\n"),
    );
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = bench.servo(arguments);
        command
            .env_remove("SERVOD_ADMIN__LISTEN")
            .envs(variables.iter().copied());
        Running::start(command).ended(SOON)
    };
    run(&["status"], &[])
        .assert_code(0)
        .assert_stdout(&[&format!("at http://127.0.0.1:{port}/")]);
    // Its token is not for others.
    let other = three();
    other.world().token = Some("s3cret".to_owned());
    let there = other.address().to_string();
    run(&["status"], &[("SERVO_ADMIN", &there)])
        .assert_code(1)
        .assert_stderr(&["wants a token"]);
    run(
        &["status"],
        &[("SERVO_ADMIN", &there), ("SERVO_ADMIN_TOKEN", "s3cret")],
    )
    .assert_code(0);
    run(
        &["status", "--admin", &daemon.url()],
        &[("SERVO_ADMIN", &there), ("SERVO_ADMIN_TOKEN", "s3cret")],
    )
    .assert_code(0)
    .assert_stdout(&[&daemon.url()]);
    bench.write("servo.toml", "[admin]\nlisten = \"off\"\n");
    run(&["status"], &[])
        .assert_code(1)
        .assert_stderr(&["the admin server is off", "--admin URL"]);
    run(&["status", "--admin", "ftp://x"], &[])
        .assert_code(2)
        .assert_stderr(&["invalid address of the daemon 'ftp://x'"]);
}

/// Hostile texts of servos do not steer the terminal.
#[test]
fn no_text_of_a_servo_moves_the_cursor() {
    let mut evil = parked("a\u{1b}[2Jb");
    evil["error"] = "\u{1b}]0;owned\u{7}\r\nsecond".into();
    evil["full"] =
        json!({"recent_errors": [{"at": "?", "level": "\u{1b}[31m", "text": "\u{9b}2J"}]});
    let daemon = AdminDouble::start(vec![evil]);
    for arguments in [
        &["status"] as &[&str],
        &["status", "a\u{1b}[2Jb"],
        &["tree"],
        &["top"],
    ] {
        let ended = ask(&daemon.url(), arguments);
        let strange = |c: char| c.is_control() && c != '\n';
        assert!(!ended.stdout.contains(strange), "{ended}");
        assert!(!ended.stdout.is_empty(), "{ended}");
    }
}

#[test]
fn top_prints_once_where_there_is_no_terminal() {
    let daemon = three();
    let names = |arguments: &[&str]| -> Vec<String> {
        let ended = ask(&daemon.url(), arguments);
        ended.assert_code(0);
        let rows = ended.stdout.lines().skip(3);
        rows.map(|row| row.split("  ").next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&["top"]), ["ill", "team/busy one", "calm"]);
    assert_eq!(
        names(&["top", "--once", "--sort", "name"]),
        ["calm", "ill", "team/busy one"]
    );
    assert_eq!(
        names(&["top", "--sort", "restarts", "--search", "l"]),
        ["ill", "calm"]
    );
}

#[test]
fn the_help_tells_what_to_expect() {
    let bench = Bench::new();
    let help = bench.run(&["--help"]);
    for command in ["status", "tree", "top", "reload"] {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{help}");
        bench
            .run(&[command, "--help"])
            .assert_code(0)
            .assert_stdout(&[
                "Exit code: 0",
                "69 when no",
                "--admin URL",
                "SERVO_ADMIN",
                "--admin-token-file FILE",
                "--admin-ca FILE",
            ]);
    }
    let script = bench.run(&["completions", "bash"]);
    script
        .assert_code(0)
        .assert_stdout(&["servo__subcmd__reload", "--admin-token-file"]);
}

#[test]
fn a_daemon_that_runs_is_found_by_its_own_file() {
    let daemon = Daemon::start(&["one", "two"], "");
    let url = format!("http://127.0.0.1:{}/", daemon.port);
    let ended = wait("both asleep", SOON, || {
        let ended = daemon.ask(&["status"]);
        ended.stdout.contains("(2 sleeping)").then_some(ended)
    });
    ended.assert_code(0).assert_stdout(&[
        concat!("servo ", env!("CARGO_PKG_VERSION"), " is ready, up "),
        &format!(", 2 servos (2 sleeping) at {url}\n"),
        "\none     sleeping for 1m (",
        "\ntwo     sleeping for 1m (",
    ]);
    let ended = daemon.ask(&["status", "two"]);
    ended
        .assert_code(0)
        .assert_stdout(&["servo:     two\n", "wait         wait    running"]);
    let told = daemon.ask(&["status", "two", "-o", "json"]).json();
    assert_eq!(told["name"], "two");
    assert_eq!(told["connectors"][0]["type"], "wait");
    let ended = daemon.ask(&["status", "three"]);
    ended
        .assert_code(2)
        .assert_stderr(&["No servo was found named \"three\""]);
    let ended = daemon.ask(&["status", "--state", "lazy"]);
    ended
        .assert_code(2)
        .assert_stderr(&["expected one of starting, attaching"]);
    let ended = daemon.ask(&["tree"]);
    ended.assert_code(0).assert_stdout(&[
        "servo: running",
        "\n  assembly: running",
        "\n    two: running",
        "\n      wait: running",
    ]);
    let ended = daemon.ask(&["tree", "two"]);
    ended
        .assert_code(0)
        .assert_stdout(&["  optimizer: running for "]);
    assert!(ended.stdout.starts_with("two: running"), "{ended}");
    daemon.ask(&["tree", "three"]).assert_code(2);
    let ended = daemon.ask(&["top"]);
    ended
        .assert_code(0)
        .assert_stdout(&["\none     sleeping ", "\ntwo     sleeping "]);
    let Daemon { running, bench, .. } = daemon;
    running.signal(Signal::TERM);
    running.ended(SOON).assert_code(0);
    let mut command = bench.servo(&["status"]);
    command.env_remove("SERVOD_ADMIN__LISTEN");
    let ended = Running::start(command).ended(SOON);
    ended
        .assert_code(69)
        .assert_stderr(&[&format!("no daemon answers at {url}: ")]);
}

/// The command, the log, the metric and the status tell the same of a reload.
#[test]
fn everybody_tells_the_same_of_a_reload() {
    let mut daemon = Daemon::start(&["one", "two"], "");
    daemon.write_another("three");
    let ended = daemon.ask(&["reload"]);
    ended.assert_code(0);
    assert!(
        ended.stdout.starts_with("reload finished: +1 ~0 -0 =2 in "),
        "{ended}"
    );
    same_everywhere(&mut daemon, ended.stdout.trim_end(), true);
    daemon
        .bench
        .write("servo.yaml", "name: one\nwait: {duration: soon}\n");
    let ended = daemon.ask(&["reload"]);
    ended.assert_code(1);
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.starts_with("reload refused: "), "{ended}");
    same_everywhere(&mut daemon, ended.stderr.trim_end(), false);
    // Nothing has changed.
    daemon
        .ask(&["status"])
        .assert_code(0)
        .assert_stdout(&[", 3 servos ("]);
    daemon.running.signal(Signal::TERM);
    daemon.running.ended(SOON).assert_code(0);
}

#[track_caller]
fn same_everywhere(daemon: &mut Daemon, line: &str, successful: bool) {
    daemon.running.until("the line in the log", SOON, |_, err| {
        err.contains(line).then_some(())
    });
    let told = daemon.ask(&["status", "-o", "json"]).json();
    assert_eq!(told["daemon"]["reloads"]["last"]["text"], line);
    assert_eq!(told["daemon"]["reloads"]["last"]["ok"], successful);
    let gauge = daemon.metric("servo_config_last_reload_successful");
    assert_eq!(gauge, if successful { "1.0" } else { "0.0" });
}

/// With a certificate that no authority of the system vouches for, and a token.
#[test]
fn a_daemon_behind_tls_and_a_token() {
    let tls = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/actors/optimizer/protocol/tests/tls"
    );
    let bench = Bench::new();
    bench.write("token", "s3cret\n");
    let optimizer = ScriptedOptimizer::start(Script::new());
    let admin = format!(
        "token_file = \"token\"\ntls_certificate = \"{tls}/server.pem\"\ntls_key = \"{tls}/server.key\""
    );
    let daemon = Daemon::of(bench, vec![("one".to_owned(), optimizer)], &admin);
    let authority = format!("{tls}/authority.pem");
    let url = format!("https://127.0.0.1:{}", daemon.port);
    daemon
        .ask(&["status", "--admin-ca", &authority])
        .assert_code(0)
        .assert_stdout(&[&url, "\none "]);
    daemon
        .ask(&["status", "--admin", &url, "--admin-token-file", "token"])
        .assert_code(69)
        .assert_stderr(&["certificate", "--admin-ca FILE"]);
    daemon
        .ask(&["status", "--admin", &url, "--admin-ca", &authority])
        .assert_code(1)
        .assert_stderr(&["wants a token"]);
    daemon
        .ask(&["status", "--admin-ca", "token"])
        .assert_code(1)
        .assert_stderr(&["cannot use the certificates of token"]);
    daemon.running.signal(Signal::TERM);
    daemon.running.ended(SOON).assert_code(0);
}
