//! `servo top` in a terminal, which `script` provides.

use std::{
    io::{Read, Write},
    process::{Child, ChildStdin, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use super::{double::AdminDouble, three};
use crate::bench::{Bench, SOON, skipped, wait};

/// A program in a terminal of 30 rows and 100 columns.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    seen: Arc<Mutex<String>>,
    _bench: Bench,
}

impl Terminal {
    fn start(line: &str) -> Option<Self> {
        let bench = Bench::new();
        let servo = env!("CARGO_BIN_EXE_servo");
        let mut command = bench.command("script");
        command
            .args([
                "-qec",
                &format!("stty rows 30 cols 100; '{servo}' {line}"),
                "/dev/null",
            ])
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        let (keys, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let seen = Arc::new(Mutex::new(String::new()));
        let into = seen.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut buffer) {
                into.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        Some(Self {
            child,
            keys,
            seen,
            _bench: bench,
        })
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// The last screen that was drawn completely, without colours.
    fn screen(&self) -> Option<String> {
        let seen = self.seen.lock().unwrap();
        let end = seen.rfind("\u{1b}[J")?;
        let start = seen[..end].rfind("\u{1b}[H")?;
        let mut text = String::new();
        let mut rest = &seen[start + 3..end];
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            text.push_str(before);
            rest = after.split_once(|c: char| c.is_ascii_alphabetic())?.1;
        }
        text.push_str(rest);
        Some(text)
    }

    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait(what, SOON, || {
                last = self.screen().unwrap_or_default();
                is_so(&last).then(|| last.clone())
            })
        }));
        found.unwrap_or_else(|_| panic!("{what}: not on the screen:\n{last}"))
    }

    /// How it ended, and that the terminal is as it was.
    fn ended(mut self, code: i32) {
        let ended = wait("the end", SOON, || self.child.try_wait().unwrap());
        assert_eq!(ended.code(), Some(code));
        wait("the old screen", SOON, || {
            let seen = self.seen.lock().unwrap();
            seen.trim_end()
                .ends_with("\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l")
                .then_some(())
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn names(screen: &str) -> Vec<&str> {
    screen
        .lines()
        .skip(4)
        .map(|row| row.split("  ").next().unwrap())
        .collect()
}

fn top(daemon: &AdminDouble) -> Option<Terminal> {
    let url = daemon.url();
    let terminal = Terminal::start(&format!("top --admin {url} --interval 200ms"));
    if terminal.is_none() {
        skipped("servo top in a terminal, for there is no `script`");
    }
    terminal
}

#[test]
fn it_shows_what_changes_until_q_is_pressed() {
    let daemon = three();
    let Some(mut terminal) = top(&daemon) else {
        return;
    };
    let first = terminal.until("three rows", |screen| names(screen).len() == 3);
    assert!(
        first.starts_with("servo 9.8.7 is ready, up 3d4h, 3 servos"),
        "{first}"
    );
    assert_eq!(names(&first), ["ill", "team/busy one", "calm"], "{first}");
    assert!(first.contains("MEASURE 43%"), "{first}");
    assert!(
        first.lines().all(|line| line.chars().count() <= 100),
        "{first}"
    );
    daemon.change("team/busy one", |servo| {
        servo["command"]["percent"] = 77.into()
    });
    terminal.until("progress", |screen| screen.contains("MEASURE 77%"));
    terminal.press("n");
    terminal.until("names in order", |screen| {
        names(screen) == ["calm", "ill", "team/busy one"]
    });
    terminal.press("n");
    terminal.until("names in reverse", |screen| {
        names(screen) == ["team/busy one", "ill", "calm"]
    });
    terminal.press("/cal\r");
    terminal.until("one name", |screen| names(screen) == ["calm"]);
    terminal.press("q");
    terminal.ended(0);
}

#[test]
fn a_daemon_that_goes_away_is_told_of_and_comes_back() {
    let daemon = three();
    let Some(mut terminal) = top(&daemon) else {
        return;
    };
    terminal.until("three rows", |screen| names(screen).len() == 3);
    let address = daemon.address();
    drop(daemon);
    let gone = terminal.until("the trouble", |screen| {
        screen.contains("no daemon answers at")
    });
    assert_eq!(names(&gone).len(), 3, "{gone}");
    let _daemon = AdminDouble::start_at(address, vec![super::servo("new")]);
    terminal.until("the daemon again", |screen| names(screen) == ["new"]);
    // Ctrl-C
    terminal.press("\u{3}");
    terminal.ended(0);
}

/// Of 5,000 servos no more are asked for than a screen and those around it, wherever one looks.
#[test]
fn of_many_servos_it_asks_for_a_few() {
    let servos = (0..5000).map(|n| super::servo(&format!("s{n:04}")));
    let daemon = AdminDouble::start(servos.collect());
    let Some(mut terminal) = top(&daemon) else {
        return;
    };
    terminal.until("the first", |screen| {
        names(screen).first() == Some(&"s0000") && screen.contains("1-26 of 5000")
    });
    // The end of the list, and a page up again.
    terminal.press("\u{1b}[F");
    terminal.until("the last", |screen| names(screen).last() == Some(&"s4999"));
    terminal.press("\u{1b}[5~");
    terminal.until("before the last", |screen| {
        screen.contains("4949-4974 of 5000") && names(screen).len() == 26
    });
    terminal.press("n");
    terminal.press("n");
    terminal.until("in reverse", |screen| {
        names(screen).first() == Some(&"s4999")
    });
    terminal.press("q");
    terminal.ended(0);
    let asked = daemon.world().requests.clone();
    for request in asked.iter().filter(|r| r.contains("/servos?")) {
        let (_, limit) = request.split_once("limit=").unwrap();
        let limit = limit.split('&').next().unwrap();
        assert!(limit.parse::<usize>().unwrap() <= 78, "{request}");
    }
}
