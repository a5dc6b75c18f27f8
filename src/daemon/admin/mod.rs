//! The HTTP server for those who look after the program: health, metrics, the state of servos, reload,
//! a page for people.
//!
//! It is an actor under the root supervisor, on a thread of its own, so that it answers while servos are
//! busy, and it starts anew when it fails. It starts before the servos and ends after them. It must not
//! hold up anything else: what takes long to tell is told by threads for that, and every request, every
//! connection and the number of both has a limit.

mod api;
mod credentials;
mod guard;
mod health;
mod lines;
mod listing;
mod metrics;
mod overview;
pub mod page;
mod problem;
mod pulse;
mod routes;
mod scrape;
mod server;
mod support;
#[cfg(test)]
mod tests;
mod view;

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use jiff::Timestamp;
use servo_dispatch::Registry;
use servo_supervision::{
    Arbiters, Backoff, ChildContext, ChildRef, ChildSpec, Exhausted, Placement, Restart,
    SuperviseError, Supervised, Supervisor,
};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use credentials::CredentialsError;
pub use metrics::Metrics;

use super::{Fleet, logging::Recent};
use crate::config::{AdminConfig, Listen};
use credentials::Credentials;
use guard::Guard;
use lines::Lines;
use overview::Overviews;
use problem::Problem;
use pulse::Pulses;

/// What this program is.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Of which source it is built, as far as that is known.
const REVISION: &str = match option_env!("SERVO_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Long answers of one kind that are made at a time.
const HEAVY: usize = 2;

/// How long one waits for its turn.
const TURN: Duration = Duration::from_secs(5);

/// A server that fails again and again is tried again after this.
const RETRY: Duration = Duration::from_secs(30);

/// What the server has to end: its last answers have less.
const SHUTDOWN: Duration = Duration::from_secs(4);

/// What the supervisor has for taking it up.
const START: Duration = Duration::from_secs(10);

/// Why there is no admin server although there is to be one.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The token or the certificate cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Its address cannot be had.
    #[error(
        "the admin server cannot listen on {address}: {cause}; set another admin.listen in servo.toml (or SERVOD_ADMIN__LISTEN), or \"off\""
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        cause: io::Error,
    },
    /// The threads cannot be started.
    #[error("cannot start the thread of the admin server: {0}")]
    Thread(io::Error),
    /// The supervisor does not take it.
    #[error("cannot start the admin server: {0}")]
    Start(#[from] SuperviseError),
}

/// A port that is taken, and the credentials of those who may ask there.
#[derive(Debug)]
pub struct Bound {
    listener: Arc<TcpListener>,
    address: SocketAddr,
    credentials: Arc<Credentials>,
}

/// The place of the server in the tree, kept from the start on. There is nothing in it at first.
pub struct Room {
    spec: ChildSpec<Supervisor>,
    furniture: Arc<OnceLock<Furniture>>,
}

/// What comes into the room.
struct Furniture {
    http: ChildSpec<Admin>,
    pulses: Vec<ChildSpec<pulse::Beating>>,
}

/// What the server tells of, and by what it is known.
#[derive(Debug)]
pub struct Parts {
    /// The servos.
    pub fleet: Fleet,
    /// The threads that they live on, and how many there were at the start.
    pub arbiters: (Arbiters, usize),
    /// What happens to them.
    pub metrics: Arc<Metrics>,
    /// The log's last records.
    pub log: Recent,
    /// The connectors that the program knows: it takes their schemas to tell secrets from settings.
    pub registry: Registry,
}

/// What requests are answered from.
#[derive(Clone)]
struct App(Arc<Inner>);

struct Inner {
    fleet: Fleet,
    metrics: Arc<Metrics>,
    log: Recent,
    registry: Registry,
    arbiters: Arbiters,
    guard: Guard,
    credentials: Arc<Credentials>,
    pulses: Pulses,
    overviews: Arc<Overviews>,
    lines: Lines,
    turns: Turns,
    started: Instant,
    started_at: Timestamp,
}

/// Those who wait for a long answer of one kind do not hold up the others: a slow upload no scrape.
struct Turns {
    scrapes: Arc<Semaphore>,
    trees: Arc<Semaphore>,
    uploads: Arc<Semaphore>,
}

/// The server: an actor whose one piece of work is to answer.
pub struct Admin {
    app: App,
    listener: Arc<TcpListener>,
    child: ChildContext,
}

// === impl Bound ===

impl Bound {
    /// Takes the port and reads the credentials; `None` when there is to be no server, or when nobody
    /// asked for the port and somebody else has it, which is a warning.
    ///
    /// # Errors
    /// When the port was asked for and cannot be had, or a credential cannot be used.
    pub fn of(config: &AdminConfig) -> Result<Option<Self>, AdminError> {
        let Listen::At { address, explicit } = config.listen else {
            return Ok(None);
        };
        let credentials = Arc::new(Credentials::read(config)?);
        let bound = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        match bound {
            Ok((listener, address)) => Ok(Some(Self {
                listener: Arc::new(listener),
                address,
                credentials,
            })),
            Err(cause) if explicit => Err(AdminError::Listen { address, cause }),
            Err(cause) => {
                tracing::warn!(
                    "no admin server: {address} cannot be had ({cause}); set admin.listen in servo.toml, \"off\" if none is wanted"
                );
                Ok(None)
            }
        }
    }

    /// Where it will answer.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// With which URLs it is asked.
    fn url(&self) -> String {
        let scheme = if self.credentials.is_tls() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }
}

// === impl Room ===

impl Room {
    /// An empty one.
    pub fn new() -> Self {
        let furniture: Arc<OnceLock<Furniture>> = Arc::default();
        let known = furniture.clone();
        // Should the room itself ever fail, the new one has the same furniture.
        let spec = Supervisor::spec("admin", move |children| {
            if let Some(Furniture { http, pulses }) = known.get() {
                children.start(http.clone());
                for pulse in pulses {
                    children.start(pulse.clone());
                }
            }
            Ok(())
        })
        .restart(Restart::Permanent)
        .exhausted(Exhausted::Park { retry_every: RETRY });
        Self { spec, furniture }
    }

    /// How to run it: before the servos, so that it ends after them.
    pub fn spec(&self) -> ChildSpec<Supervisor> {
        self.spec.clone()
    }

    fn reference(&self) -> ChildRef<Supervisor> {
        self.spec.reference()
    }

    /// Starts the server at `bound`. Is called on the thread that supervises, before there are servos.
    ///
    /// # Errors
    /// When its thread cannot be started, or the room is not in a tree that runs.
    pub async fn open(&self, bound: Bound, parts: Parts) -> Result<(), AdminError> {
        let url = bound.url();
        let (arbiters, count) = parts.arbiters.clone();
        let pulses = Pulses::of(count);
        pulses.beat_here();
        let thread = Arbiters::new(1).map_err(AdminError::Thread)?;
        let listener = bound.listener.clone();
        let app = App::new(bound, parts, pulses.clone());
        let http = ChildSpec::new("http", move |child| {
            Ok(Admin {
                app: app.clone(),
                listener: listener.clone(),
                child,
            })
        })
        .restart(Restart::Permanent)
        .backoff(Backoff::default())
        .exhausted(Exhausted::Park { retry_every: RETRY })
        .shutdown(SHUTDOWN)
        .placement(Placement::LeastLoaded(thread));
        let pulses = pulses.children(&arbiters);
        let room = self.reference();
        room.wait_until_up(START)
            .await
            .map_err(SuperviseError::from)?;
        let _ = self.furniture.set(Furniture {
            http: http.clone(),
            pulses: pulses.clone(),
        });
        for pulse in pulses {
            room.start_child(pulse, START).await?;
        }
        room.start_child(http, START).await?;
        tracing::info!("the admin server listens on {url}");
        Ok(())
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room")
            .field("open", &self.furniture.get().is_some())
            .finish()
    }
}

// === impl App ===

impl App {
    fn new(bound: Bound, parts: Parts, pulses: Pulses) -> Self {
        let Parts {
            fleet,
            arbiters: (arbiters, _),
            metrics,
            log,
            registry,
        } = parts;
        Self(Arc::new(Inner {
            overviews: Arc::new(Overviews::new(fleet.clone())),
            fleet,
            metrics,
            log,
            registry,
            arbiters,
            guard: Guard::new(bound.address, bound.credentials.clone()),
            credentials: bound.credentials,
            pulses,
            lines: Lines::default(),
            turns: Turns {
                scrapes: Arc::new(Semaphore::new(HEAVY)),
                trees: Arc::new(Semaphore::new(HEAVY)),
                uploads: Arc::new(Semaphore::new(HEAVY)),
            },
            started: Instant::now(),
            started_at: Timestamp::now(),
        }))
    }

    /// Does what takes long on a thread for that.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|_| Problem::internal("the answer could not be made: the log says why"))
    }

    /// Servos on each thread for servos. Each thread carries a pulse of ours, too.
    fn arbiter_loads(&self) -> Vec<usize> {
        let loads = self.arbiters.loads().into_iter();
        loads.map(|load| load.saturating_sub(1)).collect()
    }
}

impl std::ops::Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// One of the few long answers of a kind at a time; `what` is told to those who are too many.
async fn turn(of: &Arc<Semaphore>, what: &str) -> Result<OwnedSemaphorePermit, Problem> {
    let turn = tokio::time::timeout(TURN, of.clone().acquire_owned()).await;
    match turn {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(Problem::busy(what)),
    }
}

// === impl Admin ===

impl Actor for Admin {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let app = self.app.clone();
        let served = server::serve(
            self.listener.clone(),
            routes::router(app.clone()),
            app.credentials.clone(),
            app.lines.clone(),
            self.child.stopping(),
        );
        ctx.spawn(
            served
                .into_actor(self)
                .map(|served, this, ctx: &mut Self::Context| {
                    if let Err(error) = served {
                        this.child.fail(error);
                    }
                    ctx.stop();
                }),
        );
    }
}

impl Supervised for Admin {
    /// The server watches the same token and ends by itself, after its last answers.
    fn stop(&mut self, _: &mut Self::Context) {}
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admin")
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("App")
    }
}
