//! What a service manager is told: a real socket, as systemd's.

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::{Duration, Instant},
};

use rustix::{
    process::Signal,
    time::{ClockId, clock_gettime},
};
use servo_doubles::{Fault, On, Script, ScriptedOptimizer};

use crate::bench::{Bench, Running, SOON};

/// The service manager's side.
struct Manager {
    socket: UnixDatagram,
    seen: Vec<String>,
}

impl Manager {
    fn new(socket: UnixDatagram) -> Self {
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        Self {
            socket,
            seen: Vec::new(),
        }
    }

    /// The next message that has `part` in it.
    #[track_caller]
    fn next(&mut self, part: &str) -> String {
        let until = Instant::now() + SOON;
        let mut buffer = [0; 4096];
        while Instant::now() < until {
            if let Ok(n) = self.socket.recv(&mut buffer) {
                let message = String::from_utf8_lossy(&buffer[..n]).into_owned();
                self.seen.push(message.clone());
                if message.contains(part) {
                    return message;
                }
            }
        }
        panic!("no {part} in {:#?}", self.seen);
    }
}

fn servo_yaml(optimizer: &ScriptedOptimizer, more: &str) -> String {
    format!(
        "wait: {{measure_enabled: true}}\n\
         optimizer: {{id: example.com/app, token: t, base_url: \"{}\"}}\n{more}",
        optimizer.base_url()
    )
}

fn microseconds() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

#[test]
fn ready_reloading_and_stopping() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let bench = Bench::new();
    bench.write("servo.yaml", &servo_yaml(&optimizer, ""));
    let mut manager = Manager::new(UnixDatagram::bind(bench.path("notify")).unwrap());
    let mut command = bench.servo(&["run"]);
    command.env("NOTIFY_SOCKET", bench.path("notify"));
    let servo = Running::start(command);
    manager.next("STATUS=starting 1 servos");
    let ready = manager.next("READY=1");
    assert!(
        ready.contains("STATUS=1 servos have been taken up"),
        "{ready}"
    );

    let before = microseconds();
    servo.signal(Signal::HUP);
    let reloading = manager.next("RELOADING=1");
    let at = reloading
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC=")?.parse().ok());
    assert!(
        at.is_some_and(|at| before <= at && at <= microseconds()),
        "{reloading}"
    );
    let ready = manager.next("READY=1");
    assert!(
        ready.contains("STATUS=reload finished: +0 ~0 -0 =1 in "),
        "{ready}"
    );

    bench.write("servo.yaml", "x: [");
    servo.signal(Signal::HUP);
    manager.next("RELOADING=1");
    let ready = manager.next("READY=1");
    assert!(
        ready.contains("STATUS=reload refused: servo.yaml: "),
        "{ready}"
    );

    servo.signal(Signal::TERM);
    let stopping = manager.next("STOPPING=1");
    assert!(
        stopping.contains("STATUS=SIGTERM: 1 servo says GOODBYE"),
        "{stopping}"
    );
    servo.ended(SOON).assert_code(0);
    let alive = manager.seen.iter().any(|m| m.contains("WATCHDOG"));
    assert!(!alive, "nobody asked for it: {:#?}", manager.seen);
}

#[test]
fn the_watchdog_is_fed_to_the_end() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let bench = Bench::new();
    bench.write("servo.yaml", &servo_yaml(&optimizer, ""));
    // Names without a file are told by an `@`.
    let name = format!("servo-blackbox-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let mut manager = Manager::new(UnixDatagram::bind_addr(&address).unwrap());
    let mut command = bench.servo(&["run"]);
    command
        .env("NOTIFY_SOCKET", format!("@{name}"))
        .env("WATCHDOG_USEC", "600000");
    let servo = Running::start(command);
    manager.next("READY=1");
    let began = Instant::now();
    for _ in 0..5 {
        manager.next("WATCHDOG=1");
    }
    let took = began.elapsed();
    assert!(took > Duration::from_millis(900), "{took:?}");
    // A shutdown that takes its time is no reason to kill it.
    optimizer.inject(On::any().always(), Fault::Stall);
    servo.signal(Signal::TERM);
    manager.next("STOPPING=1");
    for _ in 0..3 {
        manager.next("WATCHDOG=1");
    }
    servo.ended(Duration::from_secs(25)).assert_code(0);
}

#[test]
fn a_manager_that_cannot_be_told_is_a_warning() {
    let optimizer = ScriptedOptimizer::start(Script::new());
    let bench = Bench::new();
    bench.write("servo.yaml", &servo_yaml(&optimizer, ""));
    let mut command = bench.servo(&["run"]);
    command.env("NOTIFY_SOCKET", bench.path("nobody"));
    let servo = Running::start(command);
    optimizer
        .wait_for(SOON, |received| !received.is_empty())
        .unwrap();
    servo.signal(Signal::TERM);
    servo
        .ended(SOON)
        .assert_code(0)
        .assert_stderr(&["cannot reach the service manager", "nobody (NOTIFY_SOCKET)"]);
}
