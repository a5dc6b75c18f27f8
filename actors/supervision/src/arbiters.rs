//! A pool of threads for children, and a watch on their health.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use actix_rt::{Arbiter, ArbiterHandle};

use crate::exit::Exit;
use crate::life::Life;
use crate::lock::lock;
use crate::node::Node;
use crate::runner::Report;

/// A pool of actix arbiters; each new child goes to the one that carries the fewest.
///
/// One thread watches their heartbeats. An arbiter that has not ticked for the limit is blocked by some handler: it
/// is reported once as `ERROR` with the open turns of those who live there, is given no child any more, and its
/// children are [`Stuck`](crate::Exit::Stuck) for supervisors that live elsewhere, which start them on another arbiter.
/// When none is left, a new arbiter is added.
///
/// The arbiters end when the last clone is gone, and no child placed by it runs any more.
#[derive(Clone, Debug)]
pub struct Arbiters(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    limit: Duration,
    threads: Mutex<Vec<Arc<Thread>>>,
}

#[derive(Debug)]
struct Thread {
    handle: ArbiterHandle,
    name: usize,
    /// Grows with each heartbeat.
    beats: AtomicU64,
    load: AtomicUsize,
    wedged: AtomicBool,
    residents: Mutex<HashMap<u64, Resident>>,
}

#[derive(Debug)]
struct Resident {
    life: Weak<Life>,
    report: Report,
}

/// A place on an arbiter, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    thread: Arc<Thread>,
    number: u64,
    /// Keeps the thread running.
    _pool: Arc<Pool>,
}

/// The heartbeats of one limit. A single late look of the watchdog itself, after the whole process was suspended
/// say, counts as one missed beat and not as all.
const BEATS_PER_LIMIT: u32 = 4;

// === impl Arbiters ===

impl PartialEq for Arbiters {
    /// Whether both are the same threads.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Arbiters {
    /// `n` arbiters, at least one, each watched with a limit of 10 s.
    ///
    /// # Errors
    ///
    /// If a thread cannot be started.
    ///
    /// # Panics
    ///
    /// Outside of an actix system.
    pub fn new(n: usize) -> io::Result<Self> {
        Self::with_limit(n, Duration::from_secs(10))
    }

    /// `n` arbiters, at least one. One that is blocked for `limit` is given up.
    ///
    /// # Errors
    ///
    /// If a thread cannot be started.
    ///
    /// # Panics
    ///
    /// Outside of an actix system.
    pub fn with_limit(n: usize, limit: Duration) -> io::Result<Self> {
        let limit = limit.max(Duration::from_millis(1));
        let pool = Arc::new(Pool {
            limit,
            threads: Mutex::new(Vec::new()),
        });
        for _ in 0..n.max(1) {
            pool.add_thread()?;
        }
        let watched = Arc::downgrade(&pool);
        std::thread::Builder::new()
            .name("arbiter-watchdog".to_owned())
            .spawn(move || watch(&watched, limit / BEATS_PER_LIMIT))?;
        Ok(Self(pool))
    }

    /// How many children each healthy arbiter carries, not counting what those supervise themselves.
    pub fn loads(&self) -> Vec<usize> {
        let threads = lock(&self.0.threads);
        let healthy = threads.iter().filter(|thread| !thread.is_wedged());
        healthy
            .map(|thread| thread.load.load(Ordering::Relaxed))
            .collect()
    }

    pub(crate) fn seat(&self) -> io::Result<Seat> {
        static NEXT_SEAT: AtomicU64 = AtomicU64::new(0);
        let least = {
            let threads = lock(&self.0.threads);
            let healthy = threads.iter().filter(|thread| !thread.is_wedged());
            healthy
                .min_by_key(|thread| thread.load.load(Ordering::Relaxed))
                .cloned()
        };
        let thread = match least {
            Some(thread) => thread,
            None => self.0.add_thread()?,
        };
        thread.load.fetch_add(1, Ordering::Relaxed);
        Ok(Seat {
            thread,
            number: NEXT_SEAT.fetch_add(1, Ordering::Relaxed),
            _pool: self.0.clone(),
        })
    }
}

// === impl Pool ===

impl Pool {
    fn add_thread(&self) -> io::Result<Arc<Thread>> {
        let arbiter = Arbiter::try_new()?;
        let mut threads = lock(&self.threads);
        let thread = Arc::new(Thread {
            handle: arbiter.handle(),
            name: threads.len(),
            beats: AtomicU64::new(0),
            load: AtomicUsize::new(0),
            wedged: AtomicBool::new(false),
            residents: Mutex::new(HashMap::new()),
        });
        let beating = Arc::downgrade(&thread);
        let pause = self.limit / BEATS_PER_LIMIT / 2;
        arbiter.spawn(async move {
            while let Some(thread) = beating.upgrade() {
                thread.beats.fetch_add(1, Ordering::Relaxed);
                drop(thread);
                tokio::time::sleep(pause).await;
            }
        });
        threads.push(thread.clone());
        Ok(thread)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for thread in lock(&self.threads).iter() {
            thread.handle.stop();
        }
    }
}

// === impl Thread ===

impl Thread {
    fn is_wedged(&self) -> bool {
        self.wedged.load(Ordering::Relaxed)
    }

    /// Gives the thread up, with all who live there.
    fn give_up(&self, after: Duration) {
        self.wedged.store(true, Ordering::Relaxed);
        let residents = std::mem::take(&mut *lock(&self.residents));
        let residents = residents.into_values();
        let residents: Vec<_> = residents
            .filter_map(|it| Some((it.life.upgrade()?, it.report)))
            .collect();
        let mut turns = Vec::new();
        for (life, _) in &residents {
            open_turns(life.node(), &mut turns);
        }
        tracing::error!(
            arbiter = self.name,
            ?after,
            children = residents.len(),
            open_turns = turns.join("; "),
            "an arbiter's thread is blocked by a handler; its children are started elsewhere"
        );
        for (life, report) in residents {
            let mut own = Vec::new();
            open_turns(life.node(), &mut own);
            let doing = if own.is_empty() {
                "nothing; its arbiter is blocked".to_owned()
            } else {
                format!("blocking its arbiter in {}", own.join("; "))
            };
            life.kill(Exit::Stuck { doing, after });
            life.node().kill_children();
            report.send(&life);
        }
    }
}

fn open_turns(node: &Node, into: &mut Vec<String>) {
    let reading = node.read();
    if let Some(life) = reading.life {
        let (_, turns) = life.doing();
        if !turns.is_empty() {
            into.push(format!("{}: {}", node.path(), turns.join(", ")));
        }
    }
    for child in reading.children {
        open_turns(&child, into);
    }
}

/// The watchdog's thread. Ends with the pool.
fn watch(pool: &Weak<Pool>, pause: Duration) {
    // By arbiter: the beats seen last, and how often in a row there was no new one.
    let mut seen: Vec<(u64, u32)> = Vec::new();
    loop {
        std::thread::sleep(pause);
        let Some(threads) = pool.upgrade().map(|pool| lock(&pool.threads).clone()) else {
            return;
        };
        seen.resize(threads.len(), (0, 0));
        for (thread, (beats, missed)) in threads.iter().zip(&mut seen) {
            if thread.is_wedged() {
                continue;
            }
            let now = thread.beats.load(Ordering::Relaxed);
            if now != *beats {
                (*beats, *missed) = (now, 0);
                continue;
            }
            *missed += 1;
            if *missed >= BEATS_PER_LIMIT {
                thread.give_up(pause * *missed);
            }
        }
    }
}

// === impl Seat ===

impl Seat {
    pub(crate) fn handle(&self) -> &ArbiterHandle {
        &self.thread.handle
    }

    /// Names who sits here, and who learns if the thread is given up.
    pub(crate) fn occupy(&self, life: &Arc<Life>, report: Report) {
        let life = Arc::downgrade(life);
        lock(&self.thread.residents).insert(self.number, Resident { life, report });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.thread.residents).remove(&self.number);
        self.thread.load.fetch_sub(1, Ordering::Relaxed);
    }
}
