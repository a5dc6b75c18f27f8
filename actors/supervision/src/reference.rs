//! Talking to a child across its restarts.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::dev::{SendError, ToEnvelope};
use actix::{Addr, Context, Handler, MailboxError, Message};
use futures_util::FutureExt;
use tokio::time::timeout;

use crate::child::Supervised;
use crate::exit::Exit;
use crate::life::Life;
use crate::lock::lock;
use crate::node::{Node, State, Status};

/// A reference to a child. It survives every restart of the child; it never keeps one alive.
pub struct ChildRef<A: Supervised> {
    slot: Arc<Slot<A>>,
}

/// Why a child did not answer, or was not told. Every one of them names the child's path.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AskError {
    /// It is between two runs, or in its first start. The message was not sent.
    #[error("`{path}` is restarting{}", Last(.last_exit))]
    Restarting {
        /// The child.
        path: String,
        /// How its last run ended, if there was one.
        last_exit: Option<Exit>,
    },
    /// It could not be kept alive and waits for a retry on a slow timer. The message was not sent.
    #[error("`{path}` is parked after too many restarts{}", Last(.last_exit))]
    Parked {
        /// The child.
        path: String,
        /// How its last run ended.
        last_exit: Option<Exit>,
    },
    /// It ended while it handled the message or held it in its mailbox. Whether the message took effect is unknown.
    #[error("`{path}` died before it answered: {exit}")]
    Died {
        /// The child.
        path: String,
        /// How the run that had the message ended.
        exit: Exit,
    },
    /// It did not answer in time. The message may still take effect.
    #[error("`{path}` did not answer within {after:?}")]
    Deadline {
        /// The child.
        path: String,
        /// The deadline that passed.
        after: Duration,
    },
    /// Its mailbox is full, or as many asks as it admits are waiting for answers. The message was not sent.
    #[error("`{path}` is busy: it has more messages waiting than it admits; try again later")]
    Busy {
        /// The child.
        path: String,
    },
    /// It ended for good, or was never started. The message was not sent.
    #[error("`{path}` is not running and will not be restarted")]
    Gone {
        /// The child.
        path: String,
    },
    /// It dropped the request without an answer and lives on: a detached future of its handler panicked, say.
    #[error("`{path}` dropped the request without an answer")]
    Unanswered {
        /// The child.
        path: String,
    },
}

/// Where a child's current address is kept.
pub(crate) struct Slot<A: Supervised> {
    node: Arc<Node>,
    up: Mutex<Option<Up<A>>>,
}

struct Up<A: Supervised> {
    addr: Addr<A>,
    life: Arc<Life>,
}

struct Last<'a>(&'a Option<Exit>);

/// For how long a closed mailbox may precede the record of why it closed: a panic drops the message it was
/// handling while it unwinds, and the asker may be on another thread.
const RECORD_LAG: Duration = Duration::from_millis(50);

// === impl ChildRef ===

impl<A: Supervised> ChildRef<A> {
    pub(crate) fn new(slot: Arc<Slot<A>>) -> Self {
        Self { slot }
    }

    /// Sends `msg` and waits for the answer, `deadline` long at most.
    ///
    /// A child that is not up is reported at once, and so is one that dies with the message.
    ///
    /// # Errors
    ///
    /// Each variant of [`AskError`]; [`Busy`](AskError::Busy) if as many asks as the child admits are waiting already
    /// ([`ChildSpec::max_asks`](crate::ChildSpec::max_asks)).
    pub async fn ask<M>(&self, msg: M, deadline: Duration) -> Result<M::Result, AskError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
        Context<A>: ToEnvelope<A, M>,
    {
        // A clone of the address for each message would cost more than the message, and every clone may send one past
        // the mailbox's limit.
        let (request, life, _asking) = self
            .with_up(|up| {
                let asking = up.life.begin_ask()?;
                Some((up.addr.send(msg), up.life.clone(), asking))
            })?
            .ok_or_else(|| AskError::Busy { path: self.path() })?;
        let answer = async {
            if !life.is_away() {
                return request.await;
            }
            // The thread of a killed run may be blocked and its mailbox stay open.
            tokio::pin!(request);
            tokio::select! {
                biased;
                answer = &mut request => answer,
                // Its last act may have been the answer.
                () = life.node().until(|_| life.exit().is_some()) => {
                    request.now_or_never().unwrap_or(Err(MailboxError::Closed))
                }
            }
        };
        match timeout(deadline, answer).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(MailboxError::Closed)) => Err(self.cause_of_close(&life).await),
            Ok(Err(MailboxError::Timeout)) | Err(_) => Err(AskError::Deadline {
                path: self.path(),
                after: deadline,
            }),
        }
    }

    /// Sends `msg` and forgets it.
    ///
    /// # Errors
    ///
    /// If the child is not up, or its mailbox is full.
    pub fn try_tell<M>(&self, msg: M) -> Result<(), AskError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
        Context<A>: ToEnvelope<A, M>,
    {
        let told = self.with_up(|up| up.addr.try_send(msg))?;
        told.map_err(|error| match error {
            SendError::Full(_) => AskError::Busy { path: self.path() },
            SendError::Closed(_) => self.absence(),
        })
    }

    /// Waits until the child handles messages, `deadline` long at most.
    ///
    /// # Errors
    ///
    /// What [`ask`](Self::ask) would say at the deadline; [`AskError::Gone`] at once if the child has ended for good.
    pub async fn wait_until_up(&self, deadline: Duration) -> Result<(), AskError> {
        let node = &self.slot.node;
        let decided =
            |node: &Node| self.is_up() || (node.state() == State::Ended && node.latest_run() > 0);
        let _ = timeout(deadline, node.until(decided)).await;
        self.with_up(|_| ())
    }

    /// Whether the child handles messages now.
    pub fn is_up(&self) -> bool {
        lock(&self.slot.up)
            .as_ref()
            .is_some_and(|up| up.life.exit().is_none())
    }

    /// The names from the root supervisor down to the child, joined by `/`; only its name before it is started.
    pub fn path(&self) -> String {
        self.slot.node.path()
    }

    /// How its last finished run ended.
    pub fn last_exit(&self) -> Option<Exit> {
        self.slot.node.last_exit()
    }

    /// How it stands right now.
    pub fn status(&self) -> Status {
        self.slot.node.read().status
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.slot.node
    }

    fn with_up<T>(&self, act: impl FnOnce(&Up<A>) -> T) -> Result<T, AskError> {
        {
            let up = lock(&self.slot.up);
            if let Some(up) = up.as_ref().filter(|up| up.life.exit().is_none()) {
                return Ok(act(up));
            }
        }
        Err(self.absence())
    }

    fn absence(&self) -> AskError {
        let node = &self.slot.node;
        let path = node.path();
        let last_exit = node.last_exit();
        match node.state() {
            State::Starting | State::Running | State::BackingOff { .. } | State::Stopping => {
                AskError::Restarting { path, last_exit }
            }
            State::Parked { .. } => AskError::Parked { path, last_exit },
            State::Ended => AskError::Gone { path },
        }
    }

    async fn cause_of_close(&self, life: &Arc<Life>) -> AskError {
        if life.exit().is_none() {
            let recorded = self.slot.node.until(|_| life.exit().is_some());
            let _ = timeout(RECORD_LAG, recorded).await;
        }
        let path = self.path();
        match life.exit() {
            Some(exit) => AskError::Died {
                path,
                exit: exit.clone(),
            },
            None => AskError::Unanswered { path },
        }
    }
}

impl<A: Supervised> Clone for ChildRef<A> {
    fn clone(&self) -> Self {
        Self {
            slot: self.slot.clone(),
        }
    }
}

impl<A: Supervised> fmt::Debug for ChildRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChildRef({})", self.path())
    }
}

// === impl Slot ===

impl<A: Supervised> Slot<A> {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            up: Mutex::new(None),
        }
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub(crate) fn open(&self, addr: Addr<A>, life: Arc<Life>) {
        *lock(&self.up) = Some(Up { addr, life });
    }

    /// Forgets the address of this run; that of a newer one stays.
    pub(crate) fn close(&self, life: &Arc<Life>) {
        let mut up = lock(&self.up);
        if up.as_ref().is_some_and(|up| Arc::ptr_eq(&up.life, life)) {
            *up = None;
        }
    }
}

// === impl Last ===

impl fmt::Display for Last<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(exit) => write!(f, "; its last run {}", exit),
            None => Ok(()),
        }
    }
}
