//! One child, as its supervisor sees it.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use tokio::time::Instant;

use crate::arbiters::Seat;
use crate::child::Placement;
use crate::exit::Exit;
use crate::life::Life;
use crate::node::Key;
use crate::restart::History;
use crate::runner::{Launch, Report, Ticket};
use crate::supervisor::Supervisor;

/// A child with its past and present.
pub(crate) struct Ward {
    pub(crate) spec: Arc<dyn Launch>,
    /// None before its first end.
    pub(crate) history: Option<Box<History>>,
    pub(crate) phase: Phase,
    /// The number of its latest run.
    pub(crate) run: u64,
    /// Counts phases, so that an alarm set in an earlier one is told apart.
    pub(crate) epoch: u64,
}

/// What a child is going through, seen from its supervisor.
pub(crate) enum Phase {
    /// A run is under way. Next: its end.
    Running { run: Run, since: Instant },
    /// It starts again when its alarm rings, or when told to.
    Waiting,
    /// It was asked to stop. Next: its end, or the alarm of its budget.
    Stopping {
        run: Run,
        budget: Duration,
        then: Sequel,
    },
    /// It did not stop in time and was killed. Next: its end, or, if its thread is blocked, the alarm.
    Killed { run: Run, then: Sequel },
}

/// What follows a stop.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sequel {
    Remove,
    Restart,
}

/// A run that has not been reported as ended.
pub(crate) struct Run {
    pub(crate) life: Arc<Life>,
    /// Given up together with the run.
    _seat: Option<Seat>,
}

// === impl Ward ===

impl Ward {
    pub(crate) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch += 1;
    }

    /// Leaves it `Waiting`; the caller decides what comes.
    pub(crate) fn take_phase(&mut self) -> Phase {
        std::mem::replace(&mut self.phase, Phase::Waiting)
    }

    pub(crate) fn life(&self) -> Option<&Arc<Life>> {
        match &self.phase {
            Phase::Running { run, .. }
            | Phase::Stopping { run, .. }
            | Phase::Killed { run, .. } => Some(&run.life),
            Phase::Waiting => None,
        }
    }

    /// Whether it is on its way out.
    pub(crate) fn is_going(&self) -> bool {
        match &self.phase {
            Phase::Stopping { then, .. } | Phase::Killed { then, .. } => {
                matches!(then, Sequel::Remove)
            }
            Phase::Running { .. } | Phase::Waiting => false,
        }
    }
}

impl Sequel {
    pub(crate) fn or(self, later: Self) -> Self {
        match (self, later) {
            (Self::Restart, Self::Restart) => Self::Restart,
            _ => Self::Remove,
        }
    }
}

/// Starts a run.
pub(crate) fn launch(
    spec: &Arc<dyn Launch>,
    key: Key,
    supervisor: &Arc<Addr<Supervisor>>,
) -> Phase {
    let policy = spec.policy();
    let report = Report::Supervisor {
        to: supervisor.clone(),
        key,
    };
    let seat = match &policy.placement {
        Placement::Parent => Ok(None),
        Placement::LeastLoaded(arbiters) => arbiters.seat().map(Some),
    };
    let away = matches!(seat, Ok(Some(_)));
    let life = Life::new(spec.node().clone(), policy.clone(), away);
    let mut ticket = Ticket::new(life.clone(), report.clone());
    let seat = match seat {
        Ok(seat) => {
            let arbiter = seat.as_ref().map(|seat| {
                seat.occupy(&life, report);
                seat.handle()
            });
            spec.clone().launch(ticket, arbiter);
            seat
        }
        Err(error) => {
            ticket.fulfil(Exit::failed(error));
            None
        }
    };
    Phase::Running {
        run: Run { life, _seat: seat },
        since: Instant::now(),
    }
}
