//! One optimizer for thousands of servos: fast, and counting instead of remembering.
//!
//! [`ScriptedOptimizer`](crate::ScriptedOptimizer) keeps every request that it gets; this one keeps a few numbers for
//! each servo, which it tells apart by the path of their requests, and answers some 30,000 requests a second on its
//! one thread.

mod ledger;
mod wire;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use self::ledger::Ledger;
pub use self::ledger::{FleetFigures, Orders, Temper};

/// An optimizer on 127.0.0.1 for a fleet of servos. Ends when dropped.
#[derive(Debug)]
pub struct FleetOptimizer {
    address: SocketAddr,
    ledger: Shared,
    presence: watch::Sender<Presence>,
    thread: Option<thread::JoinHandle<()>>,
}

type Shared = Arc<Mutex<Ledger>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Here,
    /// Nobody listens, and every connection is closed.
    Gone,
    Over,
}

/// What becomes of a connection after a request.
enum Reply {
    Answer(Vec<u8>),
    /// The same after this time, if there is somebody still.
    Later(Duration, Vec<u8>),
    /// It is left open, and never answered.
    Silence,
    /// It is closed without an answer.
    Close,
}

impl FleetOptimizer {
    /// Starts on a free port. Whoever asks what is next is given `orders`.
    ///
    /// # Errors
    ///
    /// 127.0.0.1 cannot be listened on, or no thread can be started.
    pub fn start(orders: Orders) -> io::Result<Self> {
        let ledger = Arc::new(Mutex::new(Ledger::new(orders)));
        let (presence, watched) = watch::channel(Presence::Here);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (bound, binding) = std::sync::mpsc::channel();
        let thread = {
            let ledger = ledger.clone();
            let serving = async move {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
                let address = listener.as_ref().map(TcpListener::local_addr);
                let address = address.map_err(|error| io::Error::from(error.kind()));
                // Whoever started it waits for this.
                let _ = bound.send(address.flatten());
                if let Ok(listener) = listener {
                    serve(listener, ledger, watched).await;
                }
            };
            thread::Builder::new()
                .name("fleet-optimizer".to_owned())
                .spawn(move || runtime.block_on(serving))?
        };
        let address = binding.recv().map_err(io::Error::other)??;
        Ok(Self {
            address,
            ledger,
            presence,
            thread: Some(thread),
        })
    }

    /// `http://127.0.0.1:<port>`, for `base_url`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What those who ask from now on are given.
    pub fn order(&self, orders: Orders) {
        lock(&self.ledger).orders = orders;
    }

    /// How requests from now on are treated.
    pub fn treat(&self, temper: Temper) {
        lock(&self.ledger).temper = temper;
    }

    /// From now on, only commands of servos are timed whose path has this in it.
    pub fn time_only(&self, part: &str) {
        part.clone_into(&mut lock(&self.ledger).timed);
    }

    /// Stops listening and closes every connection.
    pub fn vanish(&self) {
        self.presence.send_replace(Presence::Gone);
    }

    /// Listens again, where it did.
    pub fn return_home(&self) {
        self.presence.send_replace(Presence::Here);
    }

    /// Starts the counts and times over; who is connected and what was ordered stays known.
    pub fn reset(&self) {
        lock(&self.ledger).reset();
    }

    /// The counts and times since the last reset.
    pub fn figures(&self) -> FleetFigures {
        lock(&self.ledger).figures()
    }
}

impl Drop for FleetOptimizer {
    fn drop(&mut self) {
        self.presence.send_replace(Presence::Over);
        if let Some(thread) = self.thread.take() {
            // It has told of its panic already.
            let _ = thread.join();
        }
    }
}

fn lock(ledger: &Shared) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(first: TcpListener, ledger: Shared, mut presence: watch::Receiver<Presence>) {
    let Ok(address) = first.local_addr() else {
        return;
    };
    let mut first = Some(first);
    loop {
        let now = presence.wait_for(|now| *now != Presence::Gone).await;
        if now.map_or(Presence::Over, |now| *now) == Presence::Over {
            return;
        }
        let listener = match first.take() {
            Some(listener) => Ok(listener),
            None => TcpListener::bind(address).await,
        };
        let Ok(listener) = listener else {
            // The port is its own; whoever holds it for a moment is a connection on its way out.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        connections.spawn(converse(stream, Open::new(ledger.clone())));
                    }
                }
                Some(_) = connections.join_next() => {}
                left = presence.wait_for(|now| *now != Presence::Here) => {
                    drop(left);
                    break;
                }
            }
        }
    }
}

/// A connection that counts as open.
struct Open(Shared);

impl Open {
    fn new(ledger: Shared) -> Self {
        lock(&ledger).connected();
        Self(ledger)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.0).disconnected();
    }
}

/// A request that counts as being worked on.
struct InFlight<'a>(&'a Shared);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        lock(self.0).in_flight -= 1;
    }
}

async fn converse(mut stream: TcpStream, open: Open) {
    let ledger = &open.0;
    let _ = stream.set_nodelay(true);
    let mut received = Vec::with_capacity(2048);
    loop {
        let request = loop {
            match wire::request(&received) {
                Ok(Some(request)) => break request,
                Ok(None) => {}
                Err(wire::NotHttp) => return,
            }
            match stream.read_buf(&mut received).await {
                Ok(read) if read > 0 => {}
                _ => return,
            }
        };
        let (reply, in_flight) = {
            let mut ledger_now = lock(ledger);
            ledger_now.in_flight += 1;
            ledger_now.most_in_flight = ledger_now.most_in_flight.max(ledger_now.in_flight);
            (
                ledger_now.handle(request.path, request.body),
                InFlight(ledger),
            )
        };
        let length = request.length;
        received.drain(..length);
        let reply = match reply {
            Reply::Later(time, answer) => {
                let mut next = [0];
                tokio::select! {
                    () = tokio::time::sleep(time) => Reply::Answer(answer),
                    // Nothing comes before the answer, but the end.
                    _ = stream.peek(&mut next) => Reply::Close,
                }
            }
            reply => reply,
        };
        match reply {
            Reply::Answer(answer) => {
                let written = stream.write_all(&answer).await;
                drop(in_flight);
                if written.is_err() {
                    return;
                }
            }
            Reply::Silence => {
                // Until the servo gives up.
                let mut more = [0; 64];
                while matches!(stream.read(&mut more).await, Ok(read) if read > 0) {}
                return;
            }
            Reply::Later(..) | Reply::Close => return,
        }
    }
}

#[cfg(test)]
mod tests;
