//! The connections of a run to one scheme, host and port.

use std::cell::RefCell;

use tokio::sync::Semaphore;

use crate::{
    connection::{Connection, ReadBuffer},
    dialer::{Endpoint, Http2},
};

/// An endpoint with its idle connections.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) endpoint: Endpoint,
    /// The last one used is the first one taken, so that a low rate keeps few connections warm.
    idle: RefCell<Vec<Connection>>,
    /// Shared by every request once a server has chosen HTTP/2.
    http2: RefCell<Option<Http2>>,
    /// One permit for each request under way, when connections are limited. Idle connections are always used up before a new
    /// one is opened, so this also limits how many are open.
    pub(crate) permits: Option<Semaphore>,
}

impl Origin {
    pub(crate) fn new(endpoint: Endpoint, max_connections: Option<usize>) -> Self {
        let permits = max_connections.map(|most| Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self {
            endpoint,
            idle: RefCell::default(),
            http2: RefCell::default(),
            permits,
        }
    }

    /// An idle connection that still seems alive.
    pub(crate) fn take(&self, buffer: &ReadBuffer) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut connection) = idle.pop() {
            if !connection.is_stale(buffer) {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request, unless `most` are kept already.
    pub(crate) fn give(&self, connection: Connection, most: usize) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < most {
            idle.push(connection);
        }
    }

    /// The shared HTTP/2 connection, while it is open.
    pub(crate) fn http2(&self) -> Option<Http2> {
        self.http2.borrow_mut().take_if(|sender| sender.is_closed());
        self.http2.borrow().clone()
    }

    /// Shares an HTTP/2 connection, unless an open one is shared already.
    pub(crate) fn share(&self, sender: Http2) {
        self.http2.borrow_mut().get_or_insert(sender);
    }
}
