//! Health, as kubelets and Prometheus ask for it.

use rustix::process::Signal;
use servo_doubles::{Fault, On, Script, ScriptedOptimizer};

use super::{
    Daemon,
    client::{ask_with, send},
    document, one,
};
use crate::bench::{Bench, SOON, wait};

#[test]
fn health_for_kubelets_and_prometheus() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let daemon = one(&optimizer);
    daemon.until_ready();
    for path in ["/livez", "/readyz", "/healthz", "/-/healthy", "/-/ready"] {
        let answer = daemon.get(path);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "ok\n"),
            "{path}"
        );
        let head = daemon.ask("HEAD", path);
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(head.header("content-length"), Some("3"), "{path}");
    }
    let verbose = daemon.get("/livez?verbose").text();
    assert!(verbose.contains("[+]arbiter-0 ok\n"), "{verbose}");
    assert!(verbose.contains("[+]supervision ok\n"), "{verbose}");
    assert!(verbose.ends_with("livez check passed\n"), "{verbose}");
    let verbose = daemon.get("/readyz?verbose=true").text();
    assert!(verbose.starts_with("[+]servos ok\n"), "{verbose}");
    // Kubelets name the pod's address, or nothing.
    let answer = ask_with(
        daemon.address,
        "GET",
        "/livez",
        "host: 10.0.0.7:9797\r\n",
        b"",
    );
    assert_eq!(answer.status, 200);
    let answer = send(daemon.address, b"GET /livez HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(answer.status, 200);
    daemon.end();
}

/// The program is not ready while it ends, and lives until then.
#[test]
fn not_ready_while_shutting_down_but_alive() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    optimizer.inject(On::event("GOODBYE").always(), Fault::Stall);
    let daemon = one(&optimizer);
    daemon.until_ready();
    daemon.until("/api/v1/servos/solo", |s| {
        (s["state"] == "sleeping").then_some(())
    });
    daemon.running.signal(Signal::TERM);
    wait("not ready", SOON, || {
        let answer = daemon.get("/readyz");
        (answer.status == 503).then(|| assert!(answer.text().contains("shutting down")))
    });
    assert_eq!(daemon.get("/livez").status, 200);
    let servo = daemon.get("/api/v1/servos/solo").json();
    assert_eq!(servo["state"], "shutting_down", "{servo}");
    assert_eq!(daemon.ask("DELETE", "/api/v1/servos/solo").status, 503);
    daemon.running.signal(Signal::TERM);
    daemon.running.ended(SOON);
}

/// What fails outside, or in one servo, is no reason to restart the program.
#[test]
fn a_servo_that_fails_again_and_again_fails_neither_liveness_nor_readiness() {
    let sound = ScriptedOptimizer::start(Script::new());
    let broken = ScriptedOptimizer::start(Script::new());
    broken.inject(On::event("HELLO").always(), Fault::status(401));
    let bench = Bench::new();
    let impatient = "settings: {backoff: {connect: {max_time: 100ms}}}\n";
    bench.write(
        "servo.yaml",
        &[
            document("sound", &sound, ""),
            document("broken/one", &broken, impatient),
        ]
        .join("---\n"),
    );
    let daemon = Daemon::start(bench);
    let servo = daemon.until("/api/v1/servos/broken%2Fone", |servo| {
        let held = servo["state"] == "backing_off" || servo["state"] == "parked";
        (held && servo["restarts"].as_u64()? > 0).then(|| servo.clone())
    });
    assert!(servo["error"].as_str().unwrap().contains("401"), "{servo}");
    let errors = servo["recent_errors"].as_array().unwrap();
    assert!(
        !errors.is_empty() && errors[0]["text"].as_str().is_some(),
        "{servo}"
    );
    daemon.until_ready();
    assert_eq!(daemon.get("/livez").status, 200);
    // A name may stand there as it is.
    let raw = daemon.get("/api/v1/servos/broken/one").json();
    assert_eq!(raw["name"], "broken/one");
    let failed = daemon
        .metric("servo_restarts_total{cause=\"failed\"}")
        .unwrap();
    assert!(failed >= 1.0, "{failed}");
    assert!(
        daemon
            .metric("servo_servo_restarts_total{servo=\"broken/one\"}")
            .unwrap()
            >= 1.0
    );
    assert_eq!(daemon.metric("servo_servos{state=\"sleeping\"}"), Some(1.0));
    daemon.end();
}
