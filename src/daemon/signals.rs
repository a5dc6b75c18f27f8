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

/// Listens for signals that ask for something, which would end the program otherwise.
#[derive(Debug)]
pub struct Requests {
    /// SIGHUP: read the configuration again.
    pub(super) reload: Asked,
    /// SIGUSR1: log the supervision tree.
    pub(super) tree: Asked,
}

/// A signal that asks for something.
#[derive(Debug)]
pub(super) struct Asked(unix::Signal);

impl Requests {
    /// From now on these signals do not end the program; those that come before anybody waits for
    /// them are kept. Needs no runtime: a program that still reads its configuration can be asked
    /// already to read it again.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> io::Result<Self> {
        // What is installed here outlives the runtime that installs it.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let _inside = runtime.enter();
        let listen = |kind| unix::signal(kind).map(Asked);
        Ok(Self {
            reload: listen(SignalKind::hangup())?,
            tree: listen(SignalKind::user_defined1())?,
        })
    }
}

impl Asked {
    /// Waits for the next one. Those that came since the last time are one.
    pub(super) async fn next(&mut self) {
        // There is no end of signals.
        let _ = self.0.recv().await;
    }
}
