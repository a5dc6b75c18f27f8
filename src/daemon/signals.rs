//! Signals: those that end the program, and those that ask it for something.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// A signal that ends the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What `kill`, systemd and Kubernetes send.
    Terminate,
}

/// Listens for signals that end the program.
#[derive(Debug)]
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signal {
    /// `SIGINT` or `SIGTERM`.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Interrupt => "SIGINT",
            Signal::Terminate => "SIGTERM",
        }
    }

    /// 128 + the signal's number.
    pub fn exit_code(self) -> u8 {
        match self {
            Signal::Interrupt => 130,
            Signal::Terminate => 143,
        }
    }
}

impl Signals {
    /// From now on these signals no longer end the program by themselves.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}

/// Listens for a signal that asks for something, which would end the program otherwise.
#[derive(Debug)]
pub(super) struct Requests(unix::Signal);

impl Requests {
    /// For SIGHUP: read the configuration again. From now on it does not end the program.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn to_reload() -> io::Result<Self> {
        unix::signal(SignalKind::hangup()).map(Self)
    }

    /// For SIGUSR1: log the supervision tree. From now on it does not end the program.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn for_tree() -> io::Result<Self> {
        unix::signal(SignalKind::user_defined1()).map(Self)
    }

    /// Waits for the next one. Those that came since the last time are one.
    pub(super) async fn next(&mut self) {
        // There is no end of signals.
        let _ = self.0.recv().await;
    }
}
