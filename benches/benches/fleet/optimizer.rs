//! The optimizer, which is this very benchmark started a second time, told what to do over its stdin.

use std::{
    cell::RefCell,
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use servo_doubles::{FleetFigures, FleetOptimizer, Orders, Temper};

use crate::subject::Subject;

/// What the second start is told apart by.
pub(crate) const ARGUMENT: &str = "be-the-optimizer";

#[derive(Debug, Serialize, Deserialize)]
enum Word {
    Order(Orders),
    Treat(Temper),
    Vanish,
    Return,
    Reset,
    Figures,
}

/// An optimizer in a process of its own. Ends when dropped.
pub(crate) struct Optimizer {
    child: Child,
    pipes: RefCell<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
    pub(crate) base_url: String,
}

/// The second process.
pub(crate) fn child() {
    let optimizer = FleetOptimizer::start(Orders::Sleep(Duration::from_secs(3600))).unwrap();
    println!("{}", optimizer.base_url());
    for line in std::io::stdin().lines() {
        let mut figures = FleetFigures::default();
        match serde_json::from_str(&line.unwrap()).unwrap() {
            Word::Order(orders) => optimizer.order(orders),
            Word::Treat(temper) => optimizer.treat(temper),
            Word::Vanish => optimizer.vanish(),
            Word::Return => optimizer.return_home(),
            Word::Reset => optimizer.reset(),
            Word::Figures => figures = optimizer.figures(),
        }
        println!("{}", serde_json::to_string(&figures).unwrap());
    }
}

impl Optimizer {
    pub(crate) fn start(orders: Orders) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let base_url = lines.next().unwrap().unwrap();
        let optimizer = Self {
            child,
            pipes: RefCell::new((stdin, lines)),
            base_url,
        };
        optimizer.order(orders);
        optimizer
    }

    fn say(&self, word: &Word) -> FleetFigures {
        let (stdin, lines) = &mut *self.pipes.borrow_mut();
        writeln!(stdin, "{}", serde_json::to_string(word).unwrap()).unwrap();
        serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap()
    }

    pub(crate) fn order(&self, orders: Orders) {
        self.say(&Word::Order(orders));
    }

    pub(crate) fn treat(&self, temper: Temper) {
        self.say(&Word::Treat(temper));
    }

    pub(crate) fn vanish(&self) {
        self.say(&Word::Vanish);
    }

    pub(crate) fn come_back(&self) {
        self.say(&Word::Return);
    }

    pub(crate) fn reset(&self) {
        self.say(&Word::Reset);
    }

    pub(crate) fn figures(&self) -> FleetFigures {
        self.say(&Word::Figures)
    }

    /// The figures as soon as they are as wanted; none when they are not in time.
    pub(crate) fn until(
        &self,
        within: Duration,
        subject: &mut Subject,
        wanted: impl Fn(&FleetFigures) -> bool,
    ) -> Option<FleetFigures> {
        let end = Instant::now() + within;
        loop {
            let figures = self.figures();
            if wanted(&figures) {
                return Some(figures);
            }
            if let Some(status) = subject.has_ended() {
                println!("  it ended with {status}: {}", subject.log());
                return None;
            }
            if Instant::now() > end {
                println!("  not within {within:?}: {figures:?}\n{}", subject.log());
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Optimizer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
