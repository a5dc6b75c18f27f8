//! The threads that make reports, and the queue in front of them.
//!
//! A pass over the ledger costs the same for one report as for many, so a worker gathers a batch
//! first: it waits up to the linger time for more jobs. One worker gathers at a time, or else two of
//! them would split the batch and pay for the pass twice.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    ledger::{Columns, Ledger, Sale},
    report::{self, Packer},
};

/// The most reports that share one pass, so that the last of them does not wait for too many others.
pub const BATCH: usize = 32;

/// A running set of worker threads. Dropping it lets them finish what is queued, then end.
#[derive(Debug)]
pub struct Workers {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

/// What the workers did so far.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Passes over the ledger.
    pub passes: u64,
    /// Reports made.
    pub reports: u64,
    /// Reports waiting now.
    pub queued: usize,
}

/// How reports are made.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Gzip level, 0 for a plain body.
    pub compression: u8,
    /// Longest wait for company before a pass.
    pub linger: Duration,
    /// Number of worker threads.
    pub workers: u16,
    /// Jobs that may wait.
    pub queue: u16,
}

/// The queue is full.
#[derive(Debug, thiserror::Error)]
#[error("{0} reports are waiting already; ask again in a moment")]
pub struct QueueFull(pub usize);

#[derive(Debug)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    capacity: usize,
    linger: Duration,
    passes: AtomicU64,
    reports: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    jobs: VecDeque<Job>,
    gathering: bool,
    closed: bool,
}

#[derive(Debug)]
struct Job {
    item: u16,
    reply: oneshot::Sender<Bytes>,
}

impl Workers {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// The operating system refuses a thread.
    pub fn start(ledger: Arc<Ledger>, recipe: Recipe) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            waiting: Mutex::new(Waiting {
                jobs: VecDeque::new(),
                gathering: false,
                closed: false,
            }),
            changed: Condvar::new(),
            capacity: usize::from(recipe.queue),
            linger: recipe.linger,
            passes: AtomicU64::new(0),
            reports: AtomicU64::new(0),
        });
        let mut workers = Self {
            queue,
            threads: Vec::new(),
        };
        for number in 0..recipe.workers {
            let (queue, ledger) = (Arc::clone(&workers.queue), Arc::clone(&ledger));
            workers.threads.push(
                thread::Builder::new()
                    .name(format!("worker-{number}"))
                    .spawn(move || work(&queue, &ledger, recipe.compression))?,
            );
        }
        Ok(workers)
    }

    /// Queues the report of `item`; the receiver fails if it cannot be made.
    ///
    /// # Errors
    ///
    /// [`QueueFull`] at once, instead of a wait.
    pub fn request(&self, item: u16) -> Result<oneshot::Receiver<Bytes>, QueueFull> {
        let (reply, receiver) = oneshot::channel();
        let mut waiting = self.queue.lock();
        if waiting.jobs.len() >= self.queue.capacity {
            return Err(QueueFull(waiting.jobs.len()));
        }
        waiting.jobs.push_back(Job { item, reply });
        drop(waiting);
        self.queue.changed.notify_all();
        Ok(receiver)
    }

    /// What was done so far.
    pub fn done(&self) -> Done {
        Done {
            passes: self.queue.passes.load(Ordering::Relaxed),
            reports: self.queue.reports.load(Ordering::Relaxed),
            queued: self.queue.lock().jobs.len(),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so on stderr, and its clients were answered.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while holding the lock, and each field is valid by itself.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a batch; `None` when the queue is closed and empty.
    fn gather(&self) -> Option<Vec<Job>> {
        let mut waiting = self.lock();
        while waiting.gathering || waiting.jobs.is_empty() {
            if waiting.closed && waiting.jobs.is_empty() {
                return None;
            }
            waiting = self
                .changed
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
        waiting.gathering = true;
        let deadline = Instant::now() + self.linger;
        while waiting.jobs.len() < BATCH && !waiting.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            waiting = self
                .changed
                .wait_timeout(waiting, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        waiting.gathering = false;
        let taken = waiting.jobs.len().min(BATCH);
        let batch = waiting.jobs.drain(..taken).collect();
        drop(waiting);
        self.changed.notify_all();
        Some(batch)
    }
}

fn work(queue: &Queue, ledger: &Ledger, compression: u8) {
    let mut columns = Columns::default();
    let mut sales: Vec<Sale> = Vec::new();
    let mut page = Vec::new();
    let mut packer = (compression > 0).then(|| Packer::new(compression));
    // The arena is there from the start, so that memory does not depend on who worked already.
    ledger.unpack(&mut columns);
    while let Some(mut batch) = queue.gather() {
        ledger.unpack(&mut columns);
        queue.passes.fetch_add(1, Ordering::Relaxed);
        while let Some(item) = batch.first().map(|job| job.item) {
            sales.clear();
            sales.extend(columns.sales_of(item));
            page.clear();
            report::render(item, &sales, &mut page);
            let body = match &mut packer {
                None => Ok(page.clone()),
                Some(packer) => packer.pack(&page),
            };
            // Boxed, so that a cached report takes no more than its length. Without a body the
            // clients' channels close, which the server reports to them.
            let body = body.ok().map(|body| Bytes::from(body.into_boxed_slice()));
            queue.reports.fetch_add(1, Ordering::Relaxed);
            for job in batch.extract_if(.., |job| job.item == item) {
                if let Some(body) = &body {
                    // The client may have gone away meanwhile.
                    let _ = job.reply.send(body.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn workers(linger: Duration, queue: u16) -> Workers {
        let recipe = Recipe {
            compression: 0,
            linger,
            workers: 2,
            queue,
        };
        Workers::start(Arc::new(Ledger::generate(16)), recipe).unwrap()
    }

    #[test]
    fn reports_asked_for_together_share_a_pass_and_equal_items_share_a_report() {
        let workers = workers(Duration::from_secs(60), 64);
        // A full batch goes at once, whatever the linger time.
        let replies: Vec<_> = (0..BATCH)
            .map(|n| workers.request(n as u16 % 16).unwrap())
            .collect();
        let bodies: Vec<Bytes> = replies
            .into_iter()
            .map(|r| r.blocking_recv().unwrap())
            .collect();
        assert_eq!(bodies[0], bodies[16]);
        assert_ne!(bodies[0], bodies[1]);
        let done = workers.done();
        assert_eq!((done.passes, done.reports, done.queued), (1, 16, 0));
    }

    #[test]
    fn a_full_queue_refuses_and_closing_finishes_what_waits() {
        let workers = workers(Duration::from_secs(60), 3);
        let replies: Vec<_> = (0..3).map(|item| workers.request(item).unwrap()).collect();
        assert_eq!(workers.request(4).unwrap_err().0, 3);
        drop(workers);
        for reply in replies {
            assert!(reply.blocking_recv().is_ok());
        }
    }
}
