//! What many servos in one file cost: the loader in this process, and the built program.
//!
//! The program is the release build beside this benchmark, or what `SERVO_BINARY` names.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use servo::config::{Environment, LoadOptions, Need, OptimizerFlags, Source, load};
use servo_benches::program;

const SIZES: [usize; 3] = [100, 1_000, 10_000];
/// The fastest of so many counts: others work on this machine too.
const RUNS: usize = 5;
const LONGEST: Duration = Duration::from_secs(2);
const MOST_BYTES: usize = 200 * 1024 * 1024;
/// How much more a document may cost among ten times as many.
const GROWTH: f64 = 1.5;

fn documents(count: usize) -> String {
    (0..count)
        .map(|i| {
            format!(
                "name: servo-{i}\n\
                 optimizer:\n  id: example.com/app-{i}\n  token: token-{i}\n\
                 connectors: [wait, vegeta]\n\
                 wait:\n  measure_enabled: true\n\
                 vegeta:\n  rate: 50/1s\n  target: GET https://app-{i}.example.com/\n  workers: 10\n"
            )
        })
        .collect::<Vec<_>>()
        .join("---\n")
}

fn in_process(folder: &Path) {
    let registry = servo::connectors::bundled();
    let environment = Environment::new([], BTreeMap::new());
    let flags = OptimizerFlags::default();
    let options = LoadOptions {
        registry: &registry,
        environment: &environment,
        flags: &flags,
        optimizer: Need::Required,
        words: None,
        keep_given: false,
    };
    let mut smaller: Option<f64> = None;
    for count in SIZES {
        let name = format!("{count}.yaml");
        let text = documents(count);
        fs::write(folder.join(&name), &text).unwrap();
        let source = Source::new(Path::new(&name), folder);
        let fastest = (0..RUNS)
            .map(|_| {
                let began = Instant::now();
                let assembly = load(&source, &options).unwrap();
                let took = began.elapsed();
                assert_eq!(assembly.servos.len(), count);
                took
            })
            .min()
            .unwrap();
        let each = fastest.as_secs_f64() * 1e6 / count as f64;
        println!(
            "load {count:>6} documents ({:>4} KiB) {fastest:>10.2?} {each:>7.1} µs each",
            text.len() / 1024
        );
        if let Some(before) = smaller.replace(each) {
            assert!(
                each < GROWTH * before,
                "a document costs {before:.1} µs, but {each:.1} µs among ten times as many"
            );
        }
    }
}

/// Wall time, and the most memory that it used.
fn validate(program: &Path, file: &Path) -> (Duration, usize) {
    let began = Instant::now();
    let mut child = Command::new(program)
        .args(["--no-env-file", "-c"])
        .arg(file)
        .args(["validate", "--quiet"])
        .current_dir(file.parent().unwrap())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    let code = loop {
        // The kernel keeps the peak, so that only what is used between the last look and the end is
        // missed; by then all that is left to do is to give memory back.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| {
            let kib = line.strip_prefix("VmHWM:")?.split_whitespace().next()?;
            kib.parse::<usize>().ok()
        });
        most = most.max(peak.unwrap_or(0) * 1024);
        if let Some(code) = child.try_wait().unwrap() {
            break code;
        }
        std::thread::sleep(Duration::from_micros(500));
    };
    let took = began.elapsed();
    assert!(code.success(), "{code}");
    assert!(most > 0, "no memory was seen");
    (took, most)
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    in_process(folder.path());
    let program = program();
    for count in SIZES {
        let file = folder.path().join(format!("{count}.yaml"));
        let runs: Vec<_> = (0..RUNS).map(|_| validate(&program, &file)).collect();
        let took = runs.iter().map(|run| run.0).min().unwrap();
        let most = runs.iter().map(|run| run.1).max().unwrap();
        println!(
            "servo validate of {count:>6} documents {took:>10.2?} {:>6.1} MiB at most",
            most as f64 / 1048576.0
        );
        assert!(took < LONGEST, "{took:?} is not under {LONGEST:?}");
        assert!(most < MOST_BYTES, "{most} bytes are not under {MOST_BYTES}");
    }
}
