//! HELLO and GOODBYE (`spec/optimizer-protocol.md` §5, §11, §16).

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use servo_dispatch::{DispatchError, Startup};
use servo_messages::ErrorKind;
use servo_protocol::{
    Backoff, BoxFuture, Budget, Event as Say, Goodbye, Hello, OptimizerClient, OptimizerStatus,
    PostError, PostFailure, Request, Response,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Session, SessionError, State, Step};
use crate::{policy::Question, standing::AllBut, status::Phase};

/// How long HELLO waits for connectors that had something to tell, and have just been replaced.
const RETURN: Duration = Duration::from_secs(5);

/// Counts how often an optimizer was asked.
struct Counted<'a> {
    client: &'a dyn OptimizerClient,
    tries: AtomicU32,
}

impl Session {
    /// Says HELLO until it is welcome, then has the connectors start up.
    pub(super) async fn connect(&mut self) -> Result<Step, SessionError> {
        self.enter(Phase::Connecting);
        if self.is_refused(Question::Connect).await {
            return Ok(Step::Stop);
        }
        let delay = self.shared.crowd.delay();
        if !delay.is_zero() && self.rested(delay).await.is_none() {
            return Ok(Step::Stop);
        }
        tracing::info!(
            servo = %self.spec.name,
            optimizer = %self.client.display_url(),
            "Saying HELLO."
        );
        let step = self.greet().await?;
        if let Some(step) = step {
            return Ok(step);
        }
        self.shared.standing().greeted = true;
        if self.shared.standing().started.is_none() {
            let started = self.lifecycle(Startup).await;
            let by = took_part(&started);
            self.shared.standing().started = by;
            match started {
                Err(DispatchError::Cancelled { .. }) => return Ok(Step::Stop),
                Err(error) => return Err(SessionError::Startup(error)),
                Ok(()) => {}
            }
        }
        Ok(Step::To(State::Polling))
    }

    /// One HELLO and its repetitions, all within one budget, whether the optimizer cannot be
    /// reached or does not welcome the servo. What follows, unless it is welcome.
    async fn greet(&self) -> Result<Option<Step>, SessionError> {
        let returned = self.dispatcher.telemetry_settled(RETURN);
        if self.rest.run_until_cancelled(returned).await.is_none() {
            return Ok(Some(Step::Stop));
        }
        let client = Counted {
            client: &*self.client,
            tries: AtomicU32::new(0),
        };
        let limits = &self.spec.common.policy.connect;
        let began = Instant::now();
        let mut backoff = Backoff::standard();
        loop {
            let left = limits.after(began.elapsed(), client.tries.load(Ordering::Relaxed));
            let request = self.request(Say::Hello(self.hello()));
            let answer = self.post(&client, &request, &left, &self.rest).await;
            let cause = match answer {
                Ok(Response::Status(reply)) if reply.status == OptimizerStatus::Ok => {
                    return Ok(None);
                }
                Ok(Response::Status(reply)) => format!("HELLO was answered {reply}"),
                Ok(_) => "HELLO was answered with a command".to_owned(),
                Err(PostFailure::Cancelled) => return Ok(Some(Step::Stop)),
                Err(PostFailure::GaveUp {
                    error: PostError::ServoReplaced { .. },
                    ..
                }) => return Ok(Some(self.replaced())),
                Err(failure) => return Err(self.unwelcome(failure.to_string())),
            };
            let left = limits.after(began.elapsed(), client.tries.load(Ordering::Relaxed));
            if left.is_spent() {
                return Err(self.unwelcome(cause));
            }
            let delay = backoff.next_delay();
            let delay = left.max_time.map_or(delay, |left| delay.min(left));
            tracing::warn!(servo = %self.spec.name, retry_in = ?delay, "{cause}");
            self.shared.status.send_modify(|s| s.note_error(cause));
            if self.rested(delay).await.is_none() {
                return Ok(Some(Step::Stop));
            }
        }
    }

    /// What the servo and its connectors tell of themselves now (`spec/optimizer-protocol.md` §18). No
    /// connector can say what the servo says, whatever its name.
    fn hello(&self) -> Hello {
        let common = &self.spec.common;
        let mut telemetry = self.dispatcher.telemetry();
        telemetry.extend(common.telemetry.clone());
        Hello {
            agent: common.agent.clone(),
            telemetry,
        }
    }

    fn unwelcome(&self, cause: String) -> SessionError {
        SessionError::Connect {
            url: self.client.display_url(),
            cause,
        }
    }

    /// Takes leave of an optimizer that knows the servo; of no other.
    pub(super) async fn say_goodbye(&self, reason: &str, cancel: &CancellationToken) {
        if !std::mem::take(&mut self.shared.standing().greeted) {
            return;
        }
        let request = self.request(Say::Goodbye(Goodbye {
            reason: reason.to_owned(),
        }));
        let limits = &self.spec.common.policy.goodbye;
        match self.post(&*self.client, &request, limits, cancel).await {
            Ok(_) => tracing::info!(servo = %self.spec.name, reason, "Said GOODBYE."),
            // It is to be said again, for a better reason.
            Err(PostFailure::Cancelled) => self.shared.standing().greeted = true,
            Err(failure) => {
                tracing::warn!(servo = %self.spec.name, reason, "GOODBYE could not be said: {failure}");
            }
        }
    }
}

/// The connectors that an event of the servo's life has changed. One that failed by itself has
/// undone what it did; one that was interrupted may not have.
pub(super) fn took_part(outcome: &Result<(), DispatchError>) -> Option<AllBut> {
    match outcome {
        Err(DispatchError::Handlers(errors)) => {
            let failed = errors
                .iter()
                .filter(|e| e.error.kind != ErrorKind::Cancelled);
            Some(failed.map(|e| e.connector.clone()).collect())
        }
        _ => Some(AllBut::default()),
    }
}

/// What is left of limits.
trait Remaining {
    /// After so long and so many tries.
    fn after(&self, elapsed: Duration, tries: u32) -> Self;

    /// Whether there is to be no other try.
    fn is_spent(&self) -> bool;
}

impl Remaining for Budget {
    fn after(&self, elapsed: Duration, tries: u32) -> Self {
        Self {
            max_time: self.max_time.map(|time| time.saturating_sub(elapsed)),
            max_tries: self.max_tries.map(|max| max.saturating_sub(tries)),
            attempt: self.attempt,
        }
    }

    fn is_spent(&self) -> bool {
        self.max_time.is_some_and(|time| time.is_zero()) || self.max_tries == Some(0)
    }
}

impl OptimizerClient for Counted<'_> {
    fn post<'a>(
        &'a self,
        request: &'a Request,
        deadline: Duration,
    ) -> BoxFuture<'a, Result<Response, PostError>> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        self.client.post(request, deadline)
    }

    fn display_url(&self) -> String {
        self.client.display_url()
    }
}
