//! `servo optimizer serve`: the same optimizer, over HTTP, for any number of servos.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    bench::{Bench, Running, SOON, free_port, wait},
    toy::Toy,
};

const STUDY: Duration = Duration::from_secs(90);

/// Starts the server on a free port with `more` arguments.
pub(crate) fn serve(bench: &Bench, more: &[&str]) -> (Running, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let mut arguments = vec![
        "optimizer",
        "serve",
        "--listen",
        &address,
        "--db",
        "trials.db",
    ];
    arguments.extend(more);
    let mut server = bench.start(&arguments);
    server.until("the server listens", SOON, |_, err| {
        err.contains("the optimizer listens").then_some(())
    });
    (server, address)
}

fn study(id: &str, trials: u32) -> String {
    format!(
        "id: {id}\nobjective: {{minimize: \"10 * toy.rounds + latency_50th\"}}\n\
         trials: {trials}\nconfirmations: 1\nduration: 300ms\n"
    )
}

/// The file of a servo that listens to the server at `address`.
fn servo_yaml(id: &str, token: &str, address: &str) -> String {
    format!(
        "optimizer: {{id: {id}, token: {token}, base_url: \"http://{address}\"}}\n{}",
        Toy::new().connectors()
    )
}

/// The body of the answer to a GET.
fn get(address: &str, path: &str, more: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n"
    )
    .expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    answer
}

#[test]
fn two_servos_have_two_studies() {
    let bench = Bench::new();
    let ids = ["left.toys/toy-1", "right.toys/toy-2"];
    bench.write(
        "study.yaml",
        &format!("{}---\n{}", study(ids[0], 4), study(ids[1], 5)),
    );
    let (mut server, address) = serve(&bench, &["--study", "study.yaml"]);
    bench.write("left.yaml", &servo_yaml(ids[0], "t", &address));
    bench.write("right.yaml", &servo_yaml(ids[1], "t", &address));
    let servos = [
        bench.start(&["-c", "left.yaml", "run"]),
        bench.start(&["-c", "right.yaml", "run"]),
    ];
    server.until("both studies' ends", STUDY, |_, err| {
        (err.matches("study finished").count() == 2).then_some(())
    });
    for servo in servos {
        servo.signal(Signal::TERM);
        servo.ended(Duration::from_secs(15)).assert_code(0);
    }
    let answer = get(&address, "/api/v1/studies", "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for id in ids {
        assert!(answer.contains(id), "{answer}");
    }
    server.signal(Signal::TERM);
    server.ended(Duration::from_secs(10)).assert_code(0);
    assert_eq!(bench.trials(ids[0]).len(), 4);
    assert_eq!(bench.trials(ids[1]).len(), 5);
    assert_eq!(bench.studies().len(), 2);
    bench.assert_nothing_left(SOON);
}

/// The server goes away in the middle and comes back: the servo waits, the study goes on.
#[test]
fn a_server_that_is_killed_and_comes_back() {
    let bench = Bench::new();
    let id = "restarted.toys/toy";
    bench.write("study.yaml", &study(id, 5));
    let (mut server, address) = serve(&bench, &["--study", "study.yaml"]);
    bench.write("servo.yaml", &servo_yaml(id, "t", &address));
    let mut servo = bench.start(&["run"]);
    servo.until("the second measurement", SOON, |_, err| {
        (err.matches("=> MEASURE").count() >= 2).then_some(())
    });
    server.signal(Signal::KILL);
    wait("the server's end", SOON, || {
        server.has_ended().then_some(())
    });
    let mut server = bench.start(&[
        "optimizer",
        "serve",
        "--listen",
        &address,
        "--db",
        "trials.db",
        "--study",
        "study.yaml",
    ]);
    server.until("the end of the study", STUDY, |_, err| {
        err.contains("study finished").then_some(())
    });
    servo.signal(Signal::TERM);
    servo.ended(Duration::from_secs(15)).assert_code(0);
    assert_eq!(bench.trials(id).len(), 5);
    server.signal(Signal::INT);
    server.ended(Duration::from_secs(10)).assert_code(0);
}

#[test]
fn a_token_keeps_strangers_out() {
    let bench = Bench::new();
    let right = "r1ght-t0ken";
    bench.write("token", &format!("{right}\n"));
    bench.write("study.yaml", &study("guarded.toys/toy", 2));
    let (server, address) = serve(
        &bench,
        &[
            "--study",
            "study.yaml",
            "--token-file",
            "token",
            "-l",
            "trace",
        ],
    );
    assert!(get(&address, "/livez", "").ends_with("ok\n"));
    for more in ["", "authorization: Bearer wrong\r\n"] {
        let answer = get(&address, "/api/v1/studies", more);
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(answer.contains("\"detail\""), "{answer}");
    }
    let more = format!("authorization: Bearer {right}\r\n");
    assert!(get(&address, "/api/v1/studies", &more).starts_with("HTTP/1.1 200"));

    bench.write(
        "servo.yaml",
        &servo_yaml("guarded.toys/toy", "wr0ng-t0ken", &address),
    );
    let ended = bench.run(&["run"]);
    ended
        .assert_code(1)
        .assert_stderr(&["401", "check the optimizer's token"]);
    assert!(!ended.stderr.contains("wr0ng-t0ken"), "{ended}");
    bench.assert_nothing_left_but(&server, SOON);

    bench.write(
        "servo.yaml",
        &servo_yaml("guarded.toys/toy", right, &address),
    );
    let mut servo = bench.start(&["run"]);
    servo.until("a measurement", SOON, |_, err| {
        err.contains("=> MEASURE").then_some(())
    });
    servo.signal(Signal::TERM);
    servo.ended(Duration::from_secs(15)).assert_code(0);
    server.signal(Signal::TERM);
    let ended = server.ended(Duration::from_secs(10));
    ended.assert_code(0);
    assert!(!ended.stderr.contains(right), "the token in the log");
}

#[test]
fn what_the_server_refuses() {
    let bench = Bench::new();
    bench
        .run(&["optimizer", "serve", "--listen", "0.0.0.0:0"])
        .assert_code(2)
        .assert_stderr(&["0.0.0.0:0", "without a token", "--token-file"]);
    let taken = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    bench
        .run(&["optimizer", "serve", "--listen", &address])
        .assert_code(1)
        .assert_stderr(&["cannot listen on", &address, "in use", "--listen"]);
    let serve = |more: &[&str]| {
        let mut arguments = vec!["optimizer", "serve", "--listen", "127.0.0.1:0"];
        arguments.extend(more);
        bench.run(&arguments)
    };
    serve(&["--study", "none.yaml"])
        .assert_code(1)
        .assert_stderr(&["cannot read none.yaml"]);
    bench.write("study.yaml", "objective: {minimize: p99}\ntrails: 3\n");
    serve(&["--study", "study.yaml"])
        .assert_code(1)
        .assert_stderr(&["study.yaml", "document 1", "trails", "trials"]);
    bench.write("token", "\n");
    serve(&["--token-file", "token"])
        .assert_code(1)
        .assert_stderr(&["token file token is empty"]);
    serve(&["--db", "."])
        .assert_code(1)
        .assert_stderr(&["is a directory"]);
    serve(&["--db", "none/trials.db"])
        .assert_code(1)
        .assert_stderr(&["none", "does not exist"]);
    assert!(!bench.path("servo-trials.db").exists());
}
