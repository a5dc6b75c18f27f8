//! An optimizer that follows a script (`spec/optimizer-protocol.md` §20).

mod script;
mod state;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

pub use self::script::{Fault, On, ReportKind, Script};
use self::state::State;
use crate::{
    record::{Record, TimedOut},
    server::{Handler, HttpRequest, Reply, Server},
};

/// One request that an optimizer received.
#[derive(Debug, Clone)]
pub struct ReceivedEvent {
    /// Time since the optimizer started.
    pub at: Duration,
    /// As it came in.
    pub http: HttpRequest,
    /// The body; null if it is no JSON.
    pub json: Value,
    /// `HELLO`, `WHATS_NEXT`, ...; empty if there is none.
    pub event: String,
    /// The event's parameter; null if there is none.
    pub param: Value,
}

impl ReceivedEvent {
    /// Whether this is a report, and of which kind.
    pub fn report(&self) -> Option<ReportKind> {
        let fields = self.param.as_object()?;
        if fields.contains_key("progress") {
            Some(ReportKind::Progress)
        } else if fields.contains_key("status") {
            Some(ReportKind::Completion)
        } else {
            None
        }
    }

    /// Whether this is a completion on `event`.
    pub fn completes(&self, event: &str) -> bool {
        self.event == event && self.report() == Some(ReportKind::Completion)
    }

    /// Whether this is progress on `event`.
    pub fn progresses(&self, event: &str) -> bool {
        self.event == event && self.report() == Some(ReportKind::Progress)
    }

    /// A request header; names in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.http.headers.get(name).map(String::as_str)
    }
}

/// An optimizer on 127.0.0.1 that hands out scripted commands, keeps the protocol's state, and can be told
/// to misbehave. Stops when dropped.
#[derive(Debug)]
pub struct ScriptedOptimizer {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    record: Record<State>,
    arrivals: tokio::sync::watch::Sender<u64>,
}

impl Handler for Shared {
    fn handle(&self, request: HttpRequest) -> (Duration, Reply) {
        let at = self.started.elapsed();
        let reply = self.record.change(|state| state.handle(at, request));
        self.arrivals.send_modify(|count| *count += 1);
        reply
    }
}

impl ScriptedOptimizer {
    /// Starts on a free port.
    ///
    /// # Panics
    ///
    /// If 127.0.0.1 cannot be listened on.
    pub fn start(script: Script) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), script)
            .unwrap_or_else(|error| panic!("cannot listen on 127.0.0.1: {error}"))
    }

    /// Starts on `address`, to come back where an earlier one stopped.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub fn start_on(address: SocketAddr, script: Script) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            started: Instant::now(),
            record: Record::new(State::new(script)),
            arrivals: tokio::sync::watch::Sender::new(0),
        });
        Ok(Self {
            server: Server::start_on(address, shared.clone())?,
            shared,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `http://127.0.0.1:<port>`, for `base_url`. Events are taken on any path.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// From now on, requests that `on` names meet `fault`. Earlier faults go first.
    pub fn inject(&self, on: On, fault: Fault) {
        self.shared.record.change(|state| state.arm(on, fault));
    }

    /// Takes back all faults.
    pub fn heal(&self) {
        self.shared.record.change(State::heal);
    }

    /// Adds a command, or any other answer to WHATS_NEXT, behind the last one.
    pub fn push(&self, answer: Value) {
        self.shared.record.change(|state| state.push(answer));
    }

    /// From now on, answers 401 to requests whose header `name` (in lower case) is not `value`.
    pub fn accept_only(&self, name: &str, value: &str) {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.shared
            .record
            .change(|state| state.accept_only(name, value));
    }

    /// Everything received so far, in order.
    pub fn received(&self) -> Vec<ReceivedEvent> {
        self.shared.record.lock().received.clone()
    }

    /// The names of the events received so far, in order.
    pub fn events(&self) -> Vec<String> {
        let state = self.shared.record.lock();
        state.received.iter().map(|r| r.event.clone()).collect()
    }

    /// What the servo did against the protocol: missing keys, progress that goes backward or is 100,
    /// progress after the completion, events before HELLO. Empty for a servo that behaves.
    pub fn violations(&self) -> Vec<String> {
        self.shared.record.lock().violations.clone()
    }

    /// Whether HELLO was said, and no GOODBYE since.
    pub fn connected(&self) -> bool {
        self.shared.record.lock().connected
    }

    /// Whether every scripted command has been handed out and completed.
    pub fn exhausted(&self) -> bool {
        self.shared.record.lock().exhausted()
    }

    /// Waits until `condition` holds of what was received. Blocks the thread: for black-box tests and
    /// plain `#[test]` functions.
    ///
    /// # Errors
    ///
    /// It did not hold within `deadline`; the error lists what was received.
    pub fn wait_for(
        &self,
        deadline: Duration,
        condition: impl Fn(&[ReceivedEvent]) -> bool,
    ) -> Result<(), TimedOut> {
        self.find(deadline, |received| condition(received).then_some(()))
    }

    /// Waits until `find` finds something in what was received, and returns it. Blocks the thread.
    ///
    /// # Errors
    ///
    /// As [`Self::wait_for`].
    pub fn find<R>(
        &self,
        deadline: Duration,
        find: impl Fn(&[ReceivedEvent]) -> Option<R>,
    ) -> Result<R, TimedOut> {
        self.shared
            .record
            .wait(deadline, |state| find(&state.received), State::describe)
    }

    /// Waits for the first completion on `event`, and returns its `param`. Blocks the thread.
    ///
    /// # Errors
    ///
    /// As [`Self::wait_for`].
    pub fn completion(&self, event: &str, deadline: Duration) -> Result<Value, TimedOut> {
        self.find(deadline, |received| {
            let found = received.iter().find(|request| request.completes(event))?;
            Some(found.param.clone())
        })
    }

    /// As [`Self::wait_for`], for async tests: does not block the thread.
    ///
    /// # Errors
    ///
    /// As [`Self::wait_for`].
    pub async fn until(
        &self,
        deadline: Duration,
        condition: impl Fn(&[ReceivedEvent]) -> bool,
    ) -> Result<(), TimedOut> {
        let mut arrivals = self.shared.arrivals.subscribe();
        let holds = async {
            while !condition(&self.shared.record.lock().received) {
                if arrivals.changed().await.is_err() {
                    break;
                }
            }
        };
        tokio::time::timeout(deadline, holds)
            .await
            .map_err(|_| TimedOut {
                waited: deadline,
                seen: State::describe(&self.shared.record.lock()),
            })
    }
}

#[cfg(test)]
mod tests;
