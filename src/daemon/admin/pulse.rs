//! Whether the threads of the program turn: what liveness is about. How servos and connectors fare
//! is not, for no restart of the program mends what an optimizer or an application does.
//!
//! Each thread for servos, and the one that supervises them, has an actor or a task of ours that notes
//! the time once a second. A thread that is blocked stops noting; looking at the notes asks nobody and
//! waits for nobody. A thread that its pool has given up has no servos any more: its pulse beats on
//! another one.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{Actor, AsyncContext, Context};
use servo_supervision::{Arbiters, ChildSpec, Placement, Restart, Supervised};

/// How long a thread may not turn.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

const BEAT: Duration = Duration::from_secs(1);

/// The pulses of all threads that matter.
#[derive(Clone, Debug)]
pub(super) struct Pulses(Arc<[Pulse]>);

/// That of one.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    pub(super) name: Arc<str>,
    epoch: Instant,
    /// Milliseconds after the epoch.
    last: Arc<AtomicU64>,
}

/// Beats where it lives.
pub(super) struct Beating(Pulse);

impl Pulses {
    /// Those of `arbiters` threads for servos, and of the one that this is called on.
    pub(super) fn of(arbiters: usize) -> Self {
        let servos = (0..arbiters).map(|n| Pulse::new(format!("arbiter-{n}")));
        Self(
            std::iter::once(Pulse::new("supervision".to_owned()))
                .chain(servos)
                .collect(),
        )
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pulse> {
        self.0.iter()
    }

    /// Those of the threads for servos.
    fn arbiters(&self) -> impl Iterator<Item = &Pulse> {
        self.0.iter().skip(1)
    }

    /// Has the current thread's pulse beat.
    pub(super) fn beat_here(&self) {
        if let Some(pulse) = self.0.first().cloned() {
            actix_rt::spawn(async move {
                loop {
                    pulse.note();
                    tokio::time::sleep(BEAT).await;
                }
            });
        }
    }

    /// The actors that beat on the threads of `arbiters`: each new one goes to the least loaded, so
    /// as long as there are no servos, each to one of its own.
    pub(super) fn children(&self, arbiters: &Arbiters) -> Vec<ChildSpec<Beating>> {
        self.arbiters()
            .cloned()
            .map(|pulse| {
                let placement = Placement::LeastLoaded(arbiters.clone());
                ChildSpec::new(pulse.name.clone(), move |_| Ok(Beating(pulse.clone())))
                    .restart(Restart::Permanent)
                    .placement(placement)
            })
            .collect()
    }
}

impl Pulse {
    fn new(name: String) -> Self {
        Self {
            name: name.into(),
            epoch: Instant::now(),
            last: Arc::default(),
        }
    }

    fn note(&self) {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.fetch_max(now, Ordering::Relaxed);
    }

    /// For how long it has not beaten.
    pub(super) fn silence(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.epoch.elapsed().saturating_sub(last)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.silence() < LIMIT
    }

    #[cfg(test)]
    pub(super) fn silent_for(name: &str, silence: Duration) -> Self {
        Self {
            epoch: Instant::now()
                .checked_sub(silence)
                .unwrap_or_else(Instant::now),
            ..Self::new(name.to_owned())
        }
    }
}

#[cfg(test)]
impl FromIterator<Pulse> for Pulses {
    fn from_iter<I: IntoIterator<Item = Pulse>>(pulses: I) -> Self {
        Self(pulses.into_iter().collect())
    }
}

impl Actor for Beating {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.0.note();
        ctx.run_interval(BEAT, |this, _| this.0.note());
    }
}

impl Supervised for Beating {}

impl fmt::Debug for Beating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Beating").field(&self.0).finish()
    }
}
