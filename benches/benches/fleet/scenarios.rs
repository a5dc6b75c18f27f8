//! What happens to a fleet of 10,000 in the course of its life.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use servo_doubles::{Orders, Temper};

use crate::{
    Bars,
    optimizer::Optimizer,
    subject::{Kind, Subject, document, documents},
    table::{mib, millis, seconds},
};

const SERVOS: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(90);
/// Of the default configuration.
const CONCURRENT_REQUESTS: usize = 100;

/// A fleet that has said HELLO.
fn fleet(orders: Orders, environment: &[(&str, &str)]) -> (Optimizer, Subject) {
    let optimizer = Optimizer::start(orders);
    let fleet = documents(SERVOS, &optimizer.base_url);
    let subject = start(&optimizer, &fleet, environment);
    (optimizer, subject)
}

fn start(optimizer: &Optimizer, documents: &str, environment: &[(&str, &str)]) -> Subject {
    let mut subject = Subject::start(Kind::Servo, documents, environment);
    let up = optimizer.until(PATIENCE, &mut subject, |now| now.connected == SERVOS);
    assert!(up.is_some(), "no fleet");
    subject
}

/// The optimizer goes, and comes back.
pub(crate) fn outage(bars: &mut Bars) {
    let gone = std::env::var("FLEET_OUTAGE").map_or(60, |seconds| seconds.parse().unwrap());
    println!("{SERVOS} servos, optimizer gone for {gone} s:");
    // They ask often enough to notice.
    let (optimizer, mut subject) = fleet(Orders::Sleep(Duration::from_secs(10)), &[]);
    sleep(Duration::from_secs(15));
    optimizer.reset();
    let (cpu, began) = (subject.cpu(), Instant::now());
    sleep(Duration::from_secs(10));
    let figures = optimizer.figures();
    println!(
        "  before: {:.0} requests/s, {:.1} % of a processor, {} in memory",
        figures.requests as f64 / began.elapsed().as_secs_f64(),
        (subject.cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0,
        mib(subject.resident())
    );
    let before = subject.resident();
    optimizer.vanish();
    let (cpu, began) = (subject.cpu(), Instant::now());
    sleep(Duration::from_secs(gone));
    println!(
        "  gone: {:.1} % of a processor, {} in memory",
        (subject.cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0,
        mib(subject.resident())
    );
    optimizer.reset();
    // So that requests meet at the optimizer.
    optimizer.treat(Temper::Slow(Duration::from_millis(20)));
    optimizer.come_back();
    let back = Instant::now();
    // A servo is back when it has asked what is next; `longest_silence` counts from the reset.
    let minute = Duration::from_secs(60);
    let mut all_back = None;
    while back.elapsed() < minute * 2 {
        let figures = optimizer.figures();
        if figures.heard == SERVOS {
            all_back = Some(back.elapsed());
            break;
        }
        sleep(Duration::from_millis(50));
    }
    let figures = optimizer.figures();
    bars.hold(
        "all back after an outage",
        all_back.is_some_and(|took| took <= minute),
        all_back.map_or(format!("{} of {SERVOS}", figures.heard), seconds),
        "60 s",
    );
    bars.hold(
        "requests in flight after an outage",
        figures.most_in_flight <= CONCURRENT_REQUESTS,
        figures.most_in_flight,
        "100",
    );
    println!(
        "  most connections at a time, idle ones among them: {}",
        figures.most_connections
    );
    sleep(Duration::from_secs(15));
    let after = subject.resident();
    bars.hold(
        "RSS after an outage",
        after as f64 <= before as f64 * 1.05,
        format!("{} after {}", mib(after), mib(before)),
        "5 % more",
    );
    let (took, status) = subject.end(Duration::from_secs(30));
    println!("  ended in {} with {status:?}", seconds(took));
}

/// One servo of many is changed.
pub(crate) fn reload(bars: &mut Bars) {
    println!("{SERVOS} servos, one is changed by SIGHUP while each measures for 5 s at a time:");
    let optimizer = Optimizer::start(Orders::Measure(Duration::from_secs(5)));
    // They wait for as long as they are told to; the changed one will not.
    let [mut first, mut changed] = [String::new(), String::new()];
    for n in 0..SERVOS {
        document(&mut first, n, &optimizer.base_url, true);
        document(&mut changed, n, &optimizer.base_url, n != SERVOS / 2);
    }
    let mut subject = start(&optimizer, &first, &[]);
    sleep(Duration::from_secs(7));
    let file = subject.folder().join("servo.yaml");
    fs::write(subject.folder().join("new.yaml"), changed).unwrap();
    fs::rename(subject.folder().join("new.yaml"), file).unwrap();
    optimizer.reset();
    let began = Instant::now();
    subject.signal(Signal::HUP);
    let figures = optimizer.until(Duration::from_secs(30), &mut subject, |now| {
        now.goodbyes >= 1 && now.hellos >= 1 && now.connected == SERVOS
    });
    let took = figures.is_some().then(|| began.elapsed());
    bars.hold(
        "reload that changes 1 of 10,000",
        took.is_some_and(|took| took < Duration::from_secs(2)),
        took.map_or("not done".to_owned(), seconds),
        "2 s",
    );
    if let Some(line) = subject.has_logged("reload") {
        println!("  {}", line.trim());
    }
    sleep(Duration::from_secs(7));
    let figures = optimizer.figures();
    bars.hold(
        "HELLOs and GOODBYEs by a reload of one",
        (figures.hellos, figures.goodbyes) == (1, 1) && figures.reason == "reconfigured",
        format!(
            "{} and {} ({})",
            figures.hellos, figures.goodbyes, figures.reason
        ),
        "1 and 1, reconfigured",
    );
    bars.hold(
        "commands lost by a reload",
        figures.asked_again + figures.unexpected + figures.not_ok == 0,
        format!(
            "{} asked again, {} unexpected, {} not ok",
            figures.asked_again, figures.unexpected, figures.not_ok
        ),
        "none",
    );
    // A measurement's own time, and a share of the machine for all that come to an end with it.
    bars.hold(
        "longest time that a servo said nothing",
        figures.longest_silence < Duration::from_secs(7),
        seconds(figures.longest_silence),
        "5 s to measure, 2 s",
    );
    let (took, status) = subject.end(Duration::from_secs(30));
    println!("  ended in {} with {status:?}", seconds(took));
}

/// SIGTERM while all are at work, and while the optimizer is gone.
pub(crate) fn shutdown(bars: &mut Bars) {
    println!("{SERVOS} servos are ended:");
    let (optimizer, mut subject) = fleet(Orders::Measure(Duration::ZERO), &[]);
    sleep(Duration::from_secs(3));
    optimizer.reset();
    let (took, status) = subject.end(Duration::from_secs(60));
    let goodbyes = optimizer.figures().goodbyes;
    let fine = status.is_some_and(|status| status.success());
    bars.hold(
        "10,000 end at work",
        fine && goodbyes == SERVOS as u64 && took < Duration::from_secs(10),
        format!("{} with {goodbyes} GOODBYEs, {status:?}", seconds(took)),
        "10 s, every GOODBYE, code 0",
    );
    drop((optimizer, subject));
    let (optimizer, mut subject) = fleet(Orders::Sleep(Duration::from_secs(3600)), &[]);
    optimizer.vanish();
    let (took, status) = subject.end(Duration::from_secs(60));
    bars.hold(
        "10,000 end without an optimizer",
        status.is_some_and(|status| status.success()) && took < Duration::from_secs(25),
        format!("{}, {status:?}", seconds(took)),
        "25 s, code 0",
    );
    drop((optimizer, subject));
    let (optimizer, mut subject) = fleet(Orders::Sleep(Duration::from_secs(3600)), &[]);
    optimizer.reset();
    optimizer.treat(servo_doubles::Temper::Stalling);
    let (took, status) = subject.end(Duration::from_secs(60));
    let at_a_time = optimizer.figures().most_in_flight;
    bars.hold(
        "requests at a time that an optimizer is left with",
        at_a_time <= CONCURRENT_REQUESTS,
        at_a_time,
        "100",
    );
    bars.hold(
        "10,000 end with an optimizer that never answers",
        status.is_some_and(|status| status.success()) && took < Duration::from_secs(25),
        format!("{}, {status:?}", seconds(took)),
        "25 s, code 0",
    );
}

/// What people and Prometheus look at.
pub(crate) fn admin(bars: &mut Bars) {
    println!("{SERVOS} servos are looked at:");
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap();
    let listen = port.to_string();
    let (_optimizer, mut subject) = fleet(
        Orders::Sleep(Duration::from_secs(3600)),
        &[("SERVOD_ADMIN__LISTEN", &listen)],
    );
    sleep(Duration::from_secs(2));
    for (path, bar) in [
        ("/metrics", Some(200)),
        ("/", Some(1000)),
        ("/api/v1/servos?limit=100", Some(1000)),
        ("/api/v1/servos?q=servo-99&limit=1000", None),
        ("/api/v1/tree", None),
        ("/readyz?verbose", None),
    ] {
        let mut times = Vec::new();
        let mut size = 0;
        for _ in 0..5 {
            let began = Instant::now();
            match get(port, path) {
                Ok(bytes) => size = bytes,
                Err(error) => println!("  GET {path}: {error}"),
            }
            times.push(began.elapsed());
        }
        times.sort();
        let is = format!(
            "{} (slowest {}), {} KiB",
            millis(times[2]),
            millis(times[4]),
            size / 1024
        );
        match bar {
            Some(bar) => bars.hold(
                &format!("GET {path}"),
                size > 0 && times[4] < Duration::from_millis(bar),
                is,
                &format!("{bar} ms"),
            ),
            None => println!("  GET {path}: {is}"),
        }
    }
    subject.end(Duration::from_secs(30));
}

/// The length of the answer.
fn get(address: SocketAddr, path: &str) -> Result<usize, String> {
    let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
    let timeout = Some(Duration::from_secs(30));
    stream.set_read_timeout(timeout).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .map_err(|error| error.to_string())?;
    if answer.starts_with(b"HTTP/1.1 200") {
        Ok(answer.len())
    } else {
        let head = String::from_utf8_lossy(&answer);
        Err(head.lines().next().unwrap_or("no answer").to_owned())
    }
}
