//! What the fleet tells of itself.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::ReloadRefused;
use crate::config::Diff;

/// What asked for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Signal,
    /// `POST /-/reload`.
    Http,
    /// A file changed.
    File,
}

/// A reload that was carried out.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// What became of which servo.
    pub diff: Diff,
    /// From the moment it began to the moment it was done.
    pub took: Duration,
    /// Keys of `servo.toml` that have changed and count with the next start only.
    pub needs_restart: Vec<String>,
}

impl fmt::Display for Reloaded {
    /// `reload finished: +2 ~1 -0 =9997 in 84 ms`, and what needs a restart if anything does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = self.took.as_millis();
        write!(f, "reload finished: {} in {took} ms", self.diff)?;
        if !self.needs_restart.is_empty() {
            let keys = self.needs_restart.join(", ");
            write!(f, "; changes of servo.toml that need a restart: {keys}")?;
        }
        Ok(())
    }
}

/// How reloads have gone so far.
#[derive(Clone, Debug)]
pub struct ReloadStatus {
    /// Reloads that were carried out.
    pub succeeded: u64,
    /// Reloads that changed nothing because something was wrong.
    pub refused: u64,
    /// The latest one; none before the first.
    pub last: Option<LastReload>,
    /// When the running configuration was taken: by a reload, or at the start.
    pub last_success: Timestamp,
    /// Tells one running configuration from another.
    pub configuration: u64,
    /// Keys of `servo.toml` that are not what the program was started with, as of the last reload that
    /// was carried out: a restart makes them count.
    pub needs_restart: Vec<String>,
}

/// How a reload went.
#[derive(Clone, Debug)]
pub struct LastReload {
    /// Whether it was carried out.
    pub ok: bool,
    /// When it was over.
    pub at: Timestamp,
    /// What the log says of it: `reload finished: ...` or `reload refused: ...`.
    pub text: String,
}

/// Whether the program does what it is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Servos are being taken up.
    Starting {
        /// So many are.
        started: usize,
        /// Of so many.
        of: usize,
    },
    /// All servos have been taken up. How each of them fares, it tells itself.
    Ready,
    /// It is ending.
    ShuttingDown,
}

/// How many of the first servos have been taken up.
#[derive(Debug, Default)]
pub(super) struct StartUp {
    started: AtomicUsize,
    of: AtomicUsize,
    done: CancellationToken,
}

#[derive(Debug)]
pub(super) struct Reloads(Mutex<ReloadStatus>);

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal => "SIGHUP",
            Self::Http => "asked for over HTTP",
            Self::File => "files have changed",
        })
    }
}

impl StartUp {
    pub(super) fn expect(&self, servos: usize) {
        self.of.store(servos, Ordering::Relaxed);
    }

    pub(super) fn one_more(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn finish(&self) {
        self.done.cancel();
    }

    pub(super) fn readiness(&self) -> Readiness {
        if self.done.is_cancelled() {
            return Readiness::Ready;
        }
        Readiness::Starting {
            started: self.started.load(Ordering::Relaxed),
            of: self.of.load(Ordering::Relaxed),
        }
    }
}

impl Reloads {
    pub(super) fn new(configuration: u64) -> Self {
        Self(Mutex::new(ReloadStatus {
            succeeded: 0,
            refused: 0,
            last: None,
            last_success: Timestamp::now(),
            configuration,
            needs_restart: Vec::new(),
        }))
    }

    pub(super) fn status(&self) -> ReloadStatus {
        self.lock().clone()
    }

    /// The running configuration is another one.
    pub(super) fn set_configuration(&self, configuration: u64) {
        self.lock().configuration = configuration;
    }

    /// One has begun.
    pub(super) fn begin(&self, trigger: Trigger) {
        // What goes wrong twice is told twice: this line stands between.
        tracing::info!("reading the configuration again ({trigger})");
    }

    /// Counts it, and logs it in one line.
    pub(super) fn note(&self, outcome: &Result<Reloaded, ReloadRefused>) {
        let (ok, text) = match outcome {
            Ok(reloaded) => (true, reloaded.to_string()),
            Err(refused) => (false, refused.to_string()),
        };
        match outcome {
            Ok(reloaded) if reloaded.needs_restart.is_empty() => tracing::info!("{text}"),
            // Who changed these keys believes that they count.
            Ok(_) => tracing::warn!("{text}"),
            Err(_) => tracing::error!("{text}"),
        }
        let at = Timestamp::now();
        let mut status = self.lock();
        match outcome {
            Ok(reloaded) => {
                status.succeeded += 1;
                status.last_success = at;
                status.needs_restart.clone_from(&reloaded.needs_restart);
            }
            Err(_) => status.refused += 1,
        }
        status.last = Some(LastReload { ok, at, text });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ReloadStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reloaded(needs_restart: &[&str]) -> Reloaded {
        Reloaded {
            diff: Diff {
                added: vec!["a".into(), "b".into()],
                changed: vec!["c".into()],
                ..Diff::default()
            },
            took: Duration::from_micros(84_700),
            needs_restart: needs_restart.iter().map(|k| (*k).to_owned()).collect(),
        }
    }

    #[test]
    fn one_line_says_how_it_went() {
        assert_eq!(
            reloaded(&[]).to_string(),
            "reload finished: +2 ~1 -0 =0 in 84 ms"
        );
        assert_eq!(
            reloaded(&["arbiters", "log.format"]).to_string(),
            "reload finished: +2 ~1 -0 =0 in 84 ms; changes of servo.toml that need a restart: arbiters, log.format"
        );
    }

    #[test]
    fn outcomes_are_counted() {
        let reloads = Reloads::new(1);
        let before = reloads.status();
        reloads.note(&Err(ReloadRefused::new("no")));
        let refused = reloads.status();
        assert_eq!((refused.succeeded, refused.refused), (0, 1));
        assert_eq!(refused.last_success, before.last_success);
        assert_eq!(
            refused.last.map(|l| (l.ok, l.text)),
            Some((false, "reload refused: no".to_owned()))
        );
        reloads.note(&Ok(reloaded(&["arbiters"])));
        reloads.note(&Err(ReloadRefused::new("no")));
        assert_eq!(reloads.status().needs_restart, ["arbiters"]);
        reloads.note(&Ok(reloaded(&[])));
        let done = reloads.status();
        assert!(done.needs_restart.is_empty());
        assert_eq!((done.succeeded, done.refused), (2, 2));
        assert!(done.last.is_some_and(|l| l.ok));
        assert!(done.last_success >= before.last_success);
    }

    #[test]
    fn ready_when_all_are_taken_up() {
        let start = StartUp::default();
        start.expect(2);
        start.one_more();
        assert_eq!(start.readiness(), Readiness::Starting { started: 1, of: 2 });
        start.finish();
        assert_eq!(start.readiness(), Readiness::Ready);
    }
}
