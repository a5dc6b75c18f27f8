//! The connections that are open, and which of them gives way to a new one.
//!
//! A probe that is not answered within a second counts against the program. Whoever holds connections
//! open and asks nothing, on purpose or as pools of clients do, must not keep it from being answered:
//! when there are as many as there may be, the one that has asked nothing for the longest time ends.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Connections at a time.
pub(super) const MOST: usize = 256;

/// Who asks, as requests carry it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    places: Arc<Semaphore>,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    lines: HashMap<u64, State>,
    next: u64,
}

#[derive(Debug)]
struct State {
    /// Since when nothing is asked on it; none while something is answered.
    idle: Option<Instant>,
    give_way: CancellationToken,
}

/// One connection, for as long as this lives.
#[derive(Debug)]
pub(super) struct Line {
    lines: Lines,
    number: u64,
    give_way: CancellationToken,
    _place: OwnedSemaphorePermit,
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Answering {
    lines: Lines,
    number: u64,
}

impl Default for Lines {
    fn default() -> Self {
        Self::of(MOST)
    }
}

impl Lines {
    fn of(most: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most)),
            open: Arc::default(),
        }
    }

    /// How many there are.
    pub(super) fn open(&self) -> u64 {
        self.lock().lines.len() as u64
    }

    /// A place for one more. Where there is none, the one that has been idle for the longest time
    /// gives way; where none is idle, this waits.
    pub(super) async fn one_more(&self) -> Line {
        let place = match self.places.clone().try_acquire_owned() {
            Ok(place) => Some(place),
            Err(_) => {
                self.make_room();
                self.places.clone().acquire_owned().await.ok()
            }
        };
        let Some(place) = place else {
            // It is never closed.
            return std::future::pending().await;
        };
        let give_way = CancellationToken::new();
        let mut open = self.lock();
        let number = open.next;
        open.next += 1;
        let state = State {
            idle: Some(Instant::now()),
            give_way: give_way.clone(),
        };
        open.lines.insert(number, state);
        Line {
            lines: self.clone(),
            number,
            give_way,
            _place: place,
        }
    }

    fn make_room(&self) {
        let open = self.lock();
        let idle = open
            .lines
            .values()
            .filter(|line| !line.give_way.is_cancelled())
            .filter_map(|line| Some((line.idle?, &line.give_way)));
        if let Some((_, longest)) = idle.min_by_key(|(since, _)| *since) {
            longest.cancel();
        }
        drop(open);
        tracing::warn!(
            "the admin server has {} connections, as many as it takes: those that ask nothing give way to new ones",
            self.open()
        );
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Completes when it has to give way.
    pub(super) async fn gives_way(&self) {
        self.give_way.cancelled().await;
    }

    /// A mark for requests on it.
    pub(super) fn mark(&self) -> impl Fn() -> Answering + Clone + Send + 'static {
        let (lines, number) = (self.lines.clone(), self.number);
        move || {
            if let Some(line) = lines.lock().lines.get_mut(&number) {
                line.idle = None;
            }
            Answering {
                lines: lines.clone(),
                number,
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.lines.lock().lines.remove(&self.number);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(line) = self.lines.lock().lines.get_mut(&self.number) {
            line.idle = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_one_that_asks_nothing_for_the_longest_time_gives_way() {
        let lines = Lines::of(3);
        let [a, b, c] = [
            lines.one_more().await,
            lines.one_more().await,
            lines.one_more().await,
        ];
        assert_eq!(lines.open(), 3);
        let gives_way = |line: &Line| line.gives_way().now_or_never().is_some();
        // The first is asked something, and the second has been since.
        let asked = a.mark()();
        drop(b.mark()());
        let more = lines.one_more();
        tokio::pin!(more);
        assert!(more.as_mut().now_or_never().is_none());
        assert!(gives_way(&c) && !gives_way(&a) && !gives_way(&b));
        drop(c);
        let d = more.await;
        assert_eq!(lines.open(), 3);
        // Where all are at work, nobody has to go.
        let (_b, _d) = (b.mark()(), d.mark()());
        assert!(lines.one_more().now_or_never().is_none());
        assert!(!gives_way(&a) && !gives_way(&b) && !gives_way(&d));
        drop(asked);
        assert!(lines.one_more().now_or_never().is_none());
        assert!(gives_way(&a));
    }
}
