//! What goes wrong outside: each is a clear error that names the thing and what to do; nothing is lost.

use std::{
    fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path, process::Command,
    time::Duration,
};

use rustix::process::Signal;
use servo_doubles::{PrometheusAnswer, PrometheusDouble};

use crate::{
    bench::{Bench, Ended, SOON, wait},
    toy::{Toy, running, study},
};

const STUDY: Duration = Duration::from_secs(90);

#[test]
fn the_target_dies_in_the_middle_of_a_measurement() {
    let bench = Bench::new();
    let toy = Toy::new();
    let file = toy.study(4, "").replace("duration: 300ms", "duration: 1s");
    bench.write("servo.yaml", &file);
    let mut servo = bench.start(&["run"]);
    // The first two are of one process; the third is of another, which has just begun to count.
    servo.until("the third measurement", STUDY, |_, err| {
        (err.matches("=> MEASURE").count() == 3).then_some(())
    });
    toy.wait_for_load(3);
    let _ = toy.get("/die");
    let ended = servo.ended(STUDY);
    ended
        .assert_code(0)
        .assert_stderr(&["toy", "status 7", "out of ideas"])
        .assert_stdout(&["4/4", "verdict: "]);
    let trials = bench.trials("toys/toy");
    assert_eq!(trials.len(), 4, "{trials:#?}");
    bench.assert_nothing_left(SOON);
}

#[test]
fn the_target_dies_during_a_single_measurement() {
    let bench = Bench::new();
    let toy = Toy::new();
    bench.write("servo.yaml", &toy.connectors());
    let servo = bench.start(&["measure", "-d", "10m"]);
    toy.wait_for_load(3);
    let _ = toy.get("/die");
    let ended = servo.ended(Duration::from_secs(20));
    ended
        .assert_code(1)
        .assert_stderr(&["toy", "status 7", "out of ideas"]);
    bench.assert_nothing_left(Duration::from_secs(1));
}

/// A setting with which the application does not start is a bad configuration, not the end.
#[test]
fn a_setting_with_which_the_target_does_not_start() {
    let bench = Bench::new();
    let file = Toy::new()
        .study(8, "")
        .replace("values: [plain, dense]", "values: [missing, dense]");
    bench.write("servo.yaml", &file);
    let ended = bench.run_within(STUDY, &["run"]);
    ended
        .assert_code(0)
        .assert_stdout(&["8/8", "failed", "there is no codec 'missing'"])
        .assert_stderr(&["start-failed"]);
    let trials = bench.trials("toys/toy");
    for trial in &trials {
        let missing = trial["settings"]["toy"]["codec"] == "missing";
        assert_eq!(missing, trial["state"] == "failed", "{trial:#}");
    }
    assert!(trials.iter().any(|t| t["state"] == "failed"), "{trials:#?}");
    bench.assert_nothing_left(SOON);
}

#[test]
fn a_target_that_is_deaf_to_its_signal_is_killed() {
    let bench = Bench::new();
    let toy = Toy::new();
    let program = std::env::current_exe().unwrap();
    // A signal that is ignored stays so in the program that the shell becomes.
    let command = format!(
        r#"[sh, -c, "trap '' TERM; exec '{}' toy::toy_service --exact --nocapture"]"#,
        program.display()
    );
    let stanzas = toy
        .stanzas("connectors: [process, vegeta]", &command)
        .replace("grace: 3s", "grace: 300ms");
    bench.write("servo.yaml", &stanzas);
    bench
        .run(&["adjust", "toy.rounds=2"])
        .assert_code(0)
        .assert_stdout(&["toy.rounds=2"]);
    bench.assert_nothing_left(Duration::from_secs(1));
}

#[track_caller]
fn target_does_not_start(change: impl Fn(String) -> String, parts: &[&str]) {
    let bench = Bench::new();
    bench.write("servo.yaml", &change(Toy::new().study(3, "")));
    for command in [&["run"] as &[&str], &["measure", "-d", "300ms"]] {
        let ended = bench.run(command);
        ended.assert_code(1).assert_stderr(parts);
        assert_eq!(ended.stdout, "", "{ended}");
        assert!(ended.took < Duration::from_secs(30), "{ended}");
        bench.assert_nothing_left(Duration::from_secs(1));
    }
}

#[test]
fn a_command_that_does_not_exist() {
    let program = std::env::current_exe().unwrap();
    let program = program.to_str().unwrap();
    target_does_not_start(
        |file| file.replace(program, "no-such-program"),
        &["command `no-such-program` not found", "check `command`"],
    );
}

#[test]
fn a_working_directory_that_does_not_exist() {
    target_does_not_start(
        |file| {
            file.replace(
                "      settings:",
                "      cwd: no/such/place\n      settings:",
            )
        },
        &["no/such/place", "check `cwd`"],
    );
}

#[test]
fn a_command_that_may_not_be_executed() {
    let program = std::env::current_exe().unwrap();
    let program = program.to_str().unwrap();
    target_does_not_start(
        |file| file.replace(program, "/etc/passwd"),
        &["cannot start `/etc/passwd`", "ermission denied"],
    );
}

#[test]
fn a_port_that_is_taken() {
    let bench = Bench::new();
    let toy = Toy::new();
    let stranger = TcpListener::bind(("127.0.0.1", toy.port)).unwrap();
    bench.write("servo.yaml", &toy.study(3, ""));
    bench.run(&["run"]).assert_code(1).assert_stderr(&[
        "toy",
        &format!(
            "127.0.0.1:{} is already answered by a process that Servo did not start",
            toy.port
        ),
        "another port",
    ]);
    drop(stranger);
    bench.assert_nothing_left(Duration::from_secs(1));
    bench.run_within(STUDY, &["run"]).assert_code(0);
}

#[track_caller]
fn trial_file_is_refused(bench: &Bench, database: &str, parts: &[&str]) -> Ended {
    let file = Toy::new()
        .study(3, "")
        .replace("database: trials.db", &format!("database: {database}"));
    bench.write("servo.yaml", &file);
    let ended = bench.run(&["run"]);
    ended.assert_code(1).assert_stderr(parts);
    bench.assert_nothing_left(Duration::from_secs(1));
    ended
}

#[test]
fn trial_files_that_are_none() {
    let bench = Bench::new();
    trial_file_is_refused(&bench, ".", &["is a directory", "`database`"]);
    trial_file_is_refused(
        &bench,
        "no/such/trials.db",
        &["trials.db", "no/such does not exist", "create it"],
    );
    bench.write(
        "notes.txt",
        "These are the notes of a long and happy life, in which no SQLite occurs at all.",
    );
    trial_file_is_refused(
        &bench,
        "notes.txt",
        &["notes.txt is not a trial file", "not touched"],
    );
    assert!(
        fs::read_to_string(bench.path("notes.txt"))
            .unwrap()
            .starts_with("These")
    );
}

#[test]
#[ignore = "needs a user who cannot write everywhere, or may mount; run by tests/with-servers"]
fn a_directory_that_cannot_be_written() {
    let bench = Bench::new();
    let directory = bench.path("locked");
    fs::create_dir(&directory).unwrap();
    let _guard = read_only(&directory).expect("this user may write everywhere and may not mount");
    trial_file_is_refused(
        &bench,
        "locked/trials.db",
        &["locked/trials.db", "ead-only"],
    );
}

/// A file system for one test.
struct Mount<'a>(&'a Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).output();
    }
}

fn mount<'a>(directory: &'a Path, options: &str) -> Option<Mount<'a>> {
    let done = Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(directory)
        .output()
        .is_ok_and(|output| output.status.success());
    done.then_some(Mount(directory))
}

/// Takes the right to write from everybody: by a mount for root, by the mode for others.
fn read_only(directory: &Path) -> Option<Option<Mount<'_>>> {
    if let Some(mount) = mount(directory, "ro,size=64k") {
        return Some(Some(mount));
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(0o555)).ok()?;
    let denied = fs::write(directory.join("probe"), "").is_err();
    denied.then_some(None)
}

#[test]
#[ignore = "mounts a tmpfs, which takes root; run by tests/with-servers"]
fn a_disk_that_is_full() {
    let bench = Bench::new();
    let disk = bench.path("disk");
    fs::create_dir(&disk).unwrap();
    let _mount = mount(&disk, "size=512k").expect("this user may not mount a tmpfs");
    let file = Toy::new()
        .study(6, "")
        .replace("database: trials.db", "database: disk/trials.db");
    bench.write("servo.yaml", &file);
    let mut servo = bench.start(&["run"]);
    servo.until("the second trial", STUDY, |out, _| {
        out.contains("2/6").then_some(())
    });
    fill(&disk);
    servo.until("the full disk in the log", STUDY, |_, err| {
        (err.contains("disk") && err.contains("full") && err.contains("trials.db")).then_some(())
    });
    // Either it waits for room or it ends; neither loses a trial.
    if !servo.has_ended() {
        servo.signal(Signal::INT);
    }
    let ended = servo.ended(Duration::from_secs(15));
    assert_ne!(ended.code, Some(0), "{ended}");
    bench.assert_nothing_left(SOON);
    let trials = |bench: &Bench| {
        bench.run(&[
            "optimizer",
            "trials",
            "--db",
            "disk/trials.db",
            "toys/toy",
            "-o",
            "json",
        ])
    };
    let before = trials(&bench);
    before.assert_code(0);
    let before = before.json()["trials"].as_array().unwrap().clone();
    assert!(before.len() >= 2, "{before:#?}");
    fs::remove_file(disk.join("filler")).unwrap();
    bench
        .run_within(STUDY, &["run"])
        .assert_code(0)
        .assert_stdout(&["6/6", "verdict: "]);
    let after = trials(&bench).json()["trials"].as_array().unwrap().clone();
    assert_eq!(after.len(), 6);
    assert_eq!(after[..2], before[..2], "finished trials stay as they were");
}

fn fill(disk: &Path) {
    use std::io::Write;
    let mut filler = fs::File::create(disk.join("filler")).unwrap();
    for size in [4096, 512, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
#[ignore = "mounts a tmpfs, which takes root; run by tests/with-servers"]
fn a_disk_that_is_full_from_the_start() {
    let bench = Bench::new();
    let disk = bench.path("disk");
    fs::create_dir(&disk).unwrap();
    let _mount = mount(&disk, "size=64k").expect("this user may not mount a tmpfs");
    fill(&disk);
    trial_file_is_refused(
        &bench,
        "disk/trials.db",
        &["disk/trials.db", "full", "free some space"],
    );
}

/// A metric that is no number: the objective never has a value.
#[test]
fn a_metric_that_is_not_a_number() {
    let prometheus = PrometheusDouble::start();
    prometheus.answer_all(Some(PrometheusAnswer::Constant(f64::NAN)));
    let bench = Bench::new();
    let toy = Toy::new();
    let stanzas = toy.stanzas(
        "connectors: [process, prometheus]",
        &crate::toy::this_binary(),
    );
    let (stanzas, _) = stanzas.split_once("vegeta:").unwrap();
    bench.write(
        "servo.yaml",
        &format!(
            "{}{stanzas}prometheus:\n  base_url: {}\n  metrics:\n    - {{name: errors, query: errors, step: 100ms, unit: count}}\n",
            study(6, "").replace("latency_50th", "errors"),
            prometheus.base_url(),
        ),
    );
    let ended = bench.run_within(STUDY, &["run"]);
    assert_eq!(ended.code, Some(1), "{ended}");
    ended.assert_stderr(&["errors"]);
    let all = format!("{}{}", ended.stdout, ended.stderr);
    for part in ["objective", "errors", "no value"] {
        assert!(all.contains(part), "{part:?}: {ended}");
    }
    bench.assert_nothing_left(SOON);
}

/// Nobody describes the metric of the objective.
#[test]
fn a_metric_that_nobody_knows() {
    let bench = Bench::new();
    bench.write(
        "servo.yaml",
        &Toy::new()
            .study(4, "")
            .replace("latency_50th", "latency_51st"),
    );
    let ended = bench.run_within(STUDY, &["run"]);
    ended
        .assert_code(1)
        .assert_stderr(&["latency_51st", "latency_50th"]);
    bench.assert_nothing_left(SOON);
}

/// Its child is restarted when it dies while nothing happens, too.
#[test]
fn a_target_that_dies_while_nothing_happens() {
    let bench = Bench::new();
    let toy = Toy::new();
    bench.write(
        "servo.yaml",
        &toy.study(2, "keep_running: true\nconfirmations: 0")
            .replacen("    confirmations: 2\n", "", 1),
    );
    let mut servo = bench.start(&["run"]);
    servo.until("the end of the study", STUDY, |_, err| {
        err.contains("study finished").then_some(())
    });
    let _ = toy.get("/die");
    servo.until("its death in the log", SOON, |_, err| {
        err.contains("status 7").then_some(())
    });
    wait("another toy", SOON, || toy.get("/healthz"));
    assert_eq!(running(&bench), 1);
    servo.signal(Signal::TERM);
    servo.ended(Duration::from_secs(15)).assert_code(0);
    bench.assert_nothing_left(SOON);
}
