//! Start-up, memory, commands and shutdown of fleets of growing size.

use std::{thread::sleep, time::Duration};

use servo_doubles::Orders;

use crate::{
    Bars,
    optimizer::Optimizer,
    subject::{Kind, Subject, documents, servox},
};

const SIZES: [usize; 4] = [1, 100, 1_000, 10_000];
const MOST_OF_SERVOX: usize = 1_000;

/// What one fleet needs.
#[derive(Clone, Copy, Debug)]
struct Row {
    servos: usize,
    /// From the start of the process to the last HELLO.
    hello: Duration,
    /// In memory, all asleep.
    resident: usize,
    /// In memory, all at work.
    resident_at_work: usize,
    /// Commands in a second, all at work.
    rate: f64,
    /// Processor time for a thousand commands.
    cpu: Duration,
    p50: Duration,
    p99: Duration,
    /// From SIGTERM to the end.
    shutdown: Duration,
    goodbyes: u64,
}

pub(crate) fn table(bars: &mut Bars) {
    let sizes: Vec<usize> = match std::env::var("FLEET_SIZES") {
        Ok(sizes) => sizes.split(',').map(|n| n.parse().unwrap()).collect(),
        Err(_) => SIZES.to_vec(),
    };
    println!(
        "{:<8}{:>7}{:>11}{:>11}{:>12}{:>11}{:>12}{:>14}{:>10}{:>10}{:>11}{:>10}",
        "",
        "servos",
        "all HELLO",
        "RSS",
        "each more",
        "RSS busy",
        "commands/s",
        "CPU per 1,000",
        "p50",
        "p99",
        "shutdown",
        "GOODBYEs"
    );
    let ours = rows(Kind::Servo, &sizes);
    let theirs = if servox().is_some() {
        let sizes: Vec<usize> = sizes
            .into_iter()
            .filter(|servos| *servos <= MOST_OF_SERVOX)
            .collect();
        rows(Kind::Servox, &sizes)
    } else {
        println!("SKIPPED: ServoX, as SERVOX_VENV names no environment with it");
        Vec::new()
    };
    judge(bars, &ours, &theirs);
}

fn rows(kind: Kind, sizes: &[usize]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for servos in sizes {
        let Some(row) = measure(kind, *servos) else {
            println!("{kind:?} with {servos} servos: no figures");
            continue;
        };
        let each = rows.first().map(|first| each_more(first, &row));
        rows.push(row);
        println!(
            "{:<8}{:>7}{:>11}{:>11}{:>12}{:>11}{:>12.0}{:>14}{:>10}{:>10}{:>11}{:>10}",
            match kind {
                Kind::Servo => "Servo",
                Kind::Servox => "ServoX",
            },
            row.servos,
            seconds(row.hello),
            mib(row.resident),
            each.map_or("-".to_owned(), |each| format!("{:.1} KiB", each / 1024.0)),
            mib(row.resident_at_work),
            row.rate,
            format!("{:.0} ms", row.cpu.as_secs_f64() * 1e3),
            millis(row.p50),
            millis(row.p99),
            seconds(row.shutdown),
            row.goodbyes,
        );
    }
    rows
}

fn each_more(first: &Row, row: &Row) -> f64 {
    let more = row.resident as f64 - first.resident as f64;
    more / (row.servos - first.servos).max(1) as f64
}

fn measure(kind: Kind, servos: usize) -> Option<Row> {
    let patience = Duration::from_secs(90);
    let window = match kind {
        Kind::Servox if servos >= 1000 => Duration::from_secs(30),
        Kind::Servox => Duration::from_secs(10),
        Kind::Servo => Duration::from_secs(5),
    };
    // All asleep.
    let optimizer = Optimizer::start(Orders::Sleep(Duration::from_secs(3600)));
    let fleet = documents(servos, &optimizer.base_url);
    optimizer.reset();
    let mut subject = Subject::start(kind, &fleet, &[]);
    let started = optimizer.until(patience, &mut subject, |now| now.connected == servos)?;
    // Until idle connections are closed.
    sleep(Duration::from_secs(8));
    let resident = subject.resident();
    optimizer.reset();
    let (shutdown, ended) = subject.end(Duration::from_secs(60));
    if ended.is_none() {
        println!("  it did not end: {}", subject.log());
    }
    let goodbyes = optimizer.figures().goodbyes;
    drop((subject, optimizer));
    // All at work.
    let optimizer = Optimizer::start(Orders::Measure(Duration::ZERO));
    let fleet = documents(servos, &optimizer.base_url);
    let mut subject = Subject::start(kind, &fleet, &[]);
    optimizer.until(patience, &mut subject, |now| now.connected == servos)?;
    sleep(window.div_f64(2.5));
    optimizer.reset();
    let before = subject.cpu();
    let began = std::time::Instant::now();
    sleep(window);
    let figures = optimizer.figures();
    let took = began.elapsed();
    let cpu = subject.cpu() - before;
    let resident_at_work = subject.resident();
    assert!(subject.has_ended().is_none(), "{}", subject.log());
    if figures.not_ok + figures.unexpected > 0 {
        println!("  {figures:?}");
    }
    subject.end(Duration::from_secs(60));
    Some(Row {
        servos,
        hello: started.last_hello,
        resident,
        resident_at_work,
        rate: figures.completed as f64 / took.as_secs_f64(),
        cpu: cpu.div_f64((figures.completed as f64 / 1000.0).max(0.001)),
        p50: figures.p50,
        p99: figures.p99,
        shutdown,
        goodbyes,
    })
}

fn judge(bars: &mut Bars, ours: &[Row], theirs: &[Row]) {
    let of = |rows: &[Row], servos| rows.iter().find(|row| row.servos == servos).copied();
    println!("bars:");
    for row in ours {
        let what = format!("{} servos say GOODBYE", row.servos);
        bars.hold(
            &what,
            row.goodbyes == row.servos as u64,
            row.goodbyes,
            "each",
        );
    }
    if let Some(one) = of(ours, 1) {
        let base = one.resident as f64 / 1048576.0;
        bars.hold("base RSS", base <= 20.0, mib(one.resident), "20 MiB");
        if let Some(thousand) = of(ours, 1_000) {
            let each = each_more(&one, &thousand) / 1024.0;
            let is = format!("{each:.1} KiB");
            bars.hold("each further servo, to 1,000", each <= 12.0, is, "12 KiB");
        }
    }
    if let Some(row) = of(ours, 1_000) {
        bars.hold(
            "all of 1,000 said HELLO",
            row.hello <= Duration::from_millis(800),
            seconds(row.hello),
            "0.8 s",
        );
        if let Some(their) = of(theirs, 1_000) {
            let ratio = their.cpu.as_secs_f64() / row.cpu.as_secs_f64();
            let is = format!("1/{ratio:.0}");
            bars.hold("CPU beside ServoX, 1,000", ratio >= 30.0, is, "1/30");
            let ratio = their.p99.as_secs_f64() / row.p99.as_secs_f64();
            let is = format!("1/{ratio:.0}");
            bars.hold("p99 beside ServoX, 1,000", ratio >= 20.0, is, "1/20");
            let ratio = their.hello.as_secs_f64() / row.hello.as_secs_f64();
            let is = format!("1/{ratio:.0}");
            bars.hold("HELLO beside ServoX, 1,000", ratio >= 10.0, is, "1/10");
        }
    }
    if let Some(row) = of(ours, 10_000) {
        bars.hold(
            "all of 10,000 said HELLO",
            row.hello < Duration::from_secs(6),
            seconds(row.hello),
            "6 s",
        );
        let resident = row.resident.max(row.resident_at_work);
        bars.hold(
            "RSS of 10,000, at work too",
            resident < 200 << 20,
            mib(resident),
            "200 MiB",
        );
        bars.hold(
            "10,000 end",
            row.shutdown < Duration::from_secs(10),
            seconds(row.shutdown),
            "10 s",
        );
        if let Some(hundred) = of(ours, 100) {
            bars.hold(
                "commands/s with 10,000 beside 100",
                row.rate >= hundred.rate,
                format!("{:.0} beside {:.0}", row.rate, hundred.rate),
                "no fewer",
            );
        }
    }
}

pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

pub(crate) fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

pub(crate) fn mib(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / 1048576.0)
}
