//! Reaching a servo from outside, across its restarts.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use servo_dispatch::DispatcherRef;
use servo_protocol::Outage;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    crowd::Crowd,
    standing::Standing,
    status::{Phase, ServoStatus},
};

/// Reaches a servo from outside, across its restarts.
#[derive(Clone)]
pub struct ServoHandle {
    name: Arc<str>,
    shared: Arc<Shared>,
}

/// What a servo and those who reach it have in common.
pub(crate) struct Shared {
    pub(crate) status: watch::Sender<ServoStatus>,
    /// Of the present incarnation; none before the first start. A change is told as one of the status.
    dispatcher: Mutex<Option<DispatcherRef>>,
    /// Whether, and for how long, the optimizer has given no usable answer.
    pub(crate) outage: Outage,
    /// The servos that it may start together with.
    pub(crate) crowd: Crowd,
    standing: Mutex<Standing>,
    leave: Mutex<Leave>,
}

/// How the servo is to end.
#[derive(Default)]
struct Leave {
    /// What GOODBYE tells as its reason.
    reason: Option<Arc<str>>,
    /// It takes no further commands, ever.
    retired: bool,
    /// Of the present session: fires when it is to take no further commands.
    rest: Option<CancellationToken>,
}

/// A servo did not come up.
#[derive(Clone, Debug, Error)]
#[error("servo {0} did not start in time; the log says why")]
pub struct NotStarted(Arc<str>);

// === impl ServoHandle ===

impl ServoHandle {
    /// How long a servo has for coming up.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A handle for the servo named `name`, to be started with it, among others.
    pub(crate) fn new(name: Arc<str>, crowd: Crowd) -> Self {
        Self {
            name,
            shared: Arc::new(Shared {
                status: watch::Sender::default(),
                dispatcher: Mutex::default(),
                outage: Outage::default(),
                crowd,
                standing: Mutex::default(),
                leave: Mutex::default(),
            }),
        }
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it is doing now, and whenever that changes.
    pub fn status(&self) -> watch::Receiver<ServoStatus> {
        self.shared.status.subscribe()
    }

    /// For how long the optimizer has given no usable answer; none if it answers, or was not asked yet.
    pub fn outage(&self) -> Option<Duration> {
        self.shared.outage.lasts()
    }

    /// Why the optimizer has given no usable answer, as the log tells it; none if it answers, or was not asked yet.
    pub fn outage_condition(&self) -> Option<String> {
        self.shared.outage.condition()
    }

    /// Its dispatcher; none before its first start.
    pub fn dispatcher(&self) -> Option<DispatcherRef> {
        self.shared.dispatcher()
    }

    /// Waits until it has started for the first time.
    ///
    /// # Errors
    /// When that takes too long; the tree knows why.
    pub async fn started(&self) -> Result<DispatcherRef, NotStarted> {
        let mut status = self.status();
        let up = async {
            loop {
                if let Some(dispatcher) = self.dispatcher() {
                    return Some(dispatcher);
                }
                status.changed().await.ok()?;
            }
        };
        let up = tokio::time::timeout(Self::PATIENCE, up).await;
        up.ok()
            .flatten()
            .ok_or_else(|| NotStarted(self.name.clone()))
    }

    /// What GOODBYE will tell as its reason; `shutdown` when nobody says.
    pub fn set_goodbye_reason(&self, reason: impl Into<Arc<str>>) {
        self.shared.leave().reason = Some(reason.into());
    }

    /// Has it end once it has done with the command in progress, at once without one. Waits for
    /// that end, `within` this time; returns whether it came.
    pub(crate) async fn retire(&self, within: Duration) -> bool {
        {
            let mut leave = self.shared.leave();
            leave.retired = true;
            if let Some(rest) = &leave.rest {
                rest.cancel();
            }
        }
        let mut status = self.status();
        // One that was never begun, or lies broken, has nothing in progress.
        let over = status.wait_for(|s| {
            !matches!(
                s.phase,
                Phase::Executing(_) | Phase::Reporting(_) | Phase::ShuttingDown
            )
        });
        tokio::time::timeout(within, over).await.is_ok()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl fmt::Debug for ServoHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServoHandle")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    /// The reason to tell when the servo was told to stop.
    pub(crate) fn goodbye_reason(&self) -> Arc<str> {
        let reason = self.leave().reason.clone();
        reason.unwrap_or_else(|| "shutdown".into())
    }

    /// A session begins: the token that tells it to take no further commands.
    pub(crate) fn begin(&self) -> CancellationToken {
        let rest = CancellationToken::new();
        let mut leave = self.leave();
        if leave.retired {
            rest.cancel();
        }
        leave.rest = Some(rest.clone());
        rest
    }

    /// A new incarnation has this dispatcher.
    pub(crate) fn set_dispatcher(&self, dispatcher: DispatcherRef) {
        *self
            .dispatcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(dispatcher);
        // Whoever waits for it looks again.
        self.status.send_modify(|_| {});
    }

    pub(crate) fn dispatcher(&self) -> Option<DispatcherRef> {
        let dispatcher = self
            .dispatcher
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        dispatcher.clone()
    }

    pub(crate) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self) -> MutexGuard<'_, Leave> {
        self.leave.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
