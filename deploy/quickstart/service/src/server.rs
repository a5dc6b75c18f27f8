//! The HTTP side.
//!
//! One thread answers what the cache holds and hands the rest to the [`workers`](crate::workers).

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use serde::Serialize;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::timeout,
};

use crate::{
    cache::Cache,
    ledger::Ledger,
    popularity::Popularity,
    settings::Settings,
    workers::{BATCH, QueueFull, Recipe, Workers},
};

/// A client is told that the service is too slow rather than left waiting for ever.
const REPORT_DEADLINE: Duration = Duration::from_secs(20);
/// How long answers under way may take after SIGTERM.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(5);

/// Why the service ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The address is not to be had.
    #[error(
        "cannot listen on {address}: {source}; stop what holds the port or set PORT to another"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// A thread or signal handler is not to be had.
    #[error("cannot start {what}: {source}; the machine may be out of threads or memory")]
    Start {
        /// What was being started.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// Accepting connections failed for good.
    #[error("cannot serve on {address}: {source}")]
    Serve {
        /// The address listened on.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
}

#[derive(Debug)]
struct Service {
    cache: Mutex<Cache>,
    popularity: Popularity,
    workers: Workers,
    encoding: Option<HeaderValue>,
    warm: AtomicBool,
    hits: AtomicU64,
    misses: AtomicU64,
    rejected: AtomicU64,
    body_bytes: AtomicU64,
}

/// The answer of `/stats`.
#[derive(Debug, Serialize)]
struct Stats {
    ready: bool,
    hits: u64,
    misses: u64,
    rejected: u64,
    body_bytes: u64,
    reports: u64,
    passes: u64,
    queued: usize,
    cache_entries: usize,
    cache_bytes: usize,
}

/// Serves until SIGTERM or SIGINT, then finishes the answers under way. `log` takes the lines for
/// the operator.
///
/// # Errors
///
/// See [`ServiceError`].
pub async fn serve(settings: Settings, log: impl Fn(String)) -> Result<(), ServiceError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, settings.port));
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ServiceError::Listen { address, source })?;
    let address = listener
        .local_addr()
        .map_err(|source| ServiceError::Listen { address, source })?;
    let signals = |what, kind| signal(kind).map_err(|source| ServiceError::Start { what, source });
    let mut terminate = signals("the handler of SIGTERM", SignalKind::terminate())?;
    let mut interrupt = signals("the handler of SIGINT", SignalKind::interrupt())?;

    let service = Arc::new(
        Service::start(&settings).map_err(|source| ServiceError::Start {
            what: "a worker thread",
            source,
        })?,
    );
    log(format!("listening on {address}"));
    let warming = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.warm().await }
    });

    let (stop, stopped) = watch::channel(false);
    let stopping = |mut stopped: watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which is a stop as well.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let server = axum::serve(listener, router(Arc::clone(&service)))
        .with_graceful_shutdown(stopping(stopped.clone()));
    let serving = async move { server.await };
    tokio::pin!(serving);
    let name = tokio::select! {
        ended = &mut serving => {
            return ended.map_err(|source| ServiceError::Serve { address, source });
        }
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    log(format!("stopping on {name}"));
    warming.abort();
    let _ = stop.send(true);
    if timeout(GOODBYE_DEADLINE, serving).await.is_err() {
        log(format!(
            "left clients waiting: answers took over {GOODBYE_DEADLINE:?}"
        ));
    }
    Ok(())
}

fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/healthz", get(health))
        .route("/stats", get(stats))
        .route("/items/next", get(next))
        .route("/items/{item}", get(item))
        .with_state(service)
}

async fn health(State(service): State<Arc<Service>>) -> (StatusCode, &'static str) {
    if service.warm.load(Ordering::Relaxed) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "filling the cache\n")
    }
}

async fn stats(State(service): State<Arc<Service>>) -> Json<Stats> {
    Json(service.stats())
}

async fn next(State(service): State<Arc<Service>>) -> Response {
    let item = service.popularity.next();
    service.answer(item).await
}

async fn item(State(service): State<Arc<Service>>, Path(item): Path<String>) -> Response {
    let items = service.popularity.ranked().len();
    match item.parse::<u16>() {
        Ok(item) if usize::from(item) < items => service.answer(item).await,
        _ => (
            StatusCode::NOT_FOUND,
            format!("no item {item:?}; there are 0 to {}\n", items - 1),
        )
            .into_response(),
    }
}

impl Service {
    fn start(settings: &Settings) -> io::Result<Self> {
        let recipe = Recipe {
            compression: settings.compression,
            linger: settings.linger(),
            workers: settings.workers,
            queue: settings.queue,
        };
        let ledger = Arc::new(Ledger::generate(settings.items));
        Ok(Self {
            cache: Mutex::new(Cache::new(
                settings.items,
                settings.cache_bytes(),
                settings.cache_admission,
            )),
            popularity: Popularity::new(settings.items),
            workers: Workers::start(ledger, recipe)?,
            encoding: (settings.compression > 0).then(|| HeaderValue::from_static("gzip")),
            warm: AtomicBool::new(false),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            body_bytes: AtomicU64::new(0),
        })
    }

    /// Fills the cache with the most popular reports, so that a restart is not followed by a storm
    /// of misses.
    async fn warm(&self) {
        if self.cache().room() > 0 {
            self.fill_cache().await;
        }
        self.warm.store(true, Ordering::Relaxed);
    }

    async fn fill_cache(&self) {
        for items in self.popularity.ranked().chunks(2 * BATCH) {
            let mut requested = Vec::with_capacity(items.len());
            for &item in items {
                match self.workers.request(item) {
                    Ok(reply) => requested.push((item, reply)),
                    // Clients come first: what does not fit into the queue is not filled in.
                    Err(QueueFull(_)) => break,
                }
            }
            for (item, reply) in requested {
                let Ok(Ok(body)) = timeout(REPORT_DEADLINE, reply).await else {
                    continue;
                };
                if !self.cache().fill(item, body) {
                    return;
                }
            }
        }
    }

    async fn answer(&self, item: u16) -> Response {
        let cached = self.cache().get(item);
        let body = match cached {
            Some(body) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                body
            }
            None => {
                self.misses.fetch_add(1, Ordering::Relaxed);
                match self.make(item).await {
                    Ok(body) => body,
                    Err(response) => return response,
                }
            }
        };
        self.body_bytes
            .fetch_add(body.len() as u64, Ordering::Relaxed);
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if let Some(encoding) = &self.encoding {
            headers.insert(header::CONTENT_ENCODING, encoding.clone());
        }
        (headers, body).into_response()
    }

    async fn make(&self, item: u16) -> Result<Bytes, Response> {
        let reply = self.workers.request(item).map_err(|full| {
            self.rejected.fetch_add(1, Ordering::Relaxed);
            let again = [(header::RETRY_AFTER, "1")];
            (StatusCode::SERVICE_UNAVAILABLE, again, format!("{full}\n")).into_response()
        })?;
        let body = match timeout(REPORT_DEADLINE, reply).await {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => {
                let text = "this report could not be made\n";
                return Err((StatusCode::INTERNAL_SERVER_ERROR, text).into_response());
            }
            Err(_) => {
                let text = format!("no report within {REPORT_DEADLINE:?}\n");
                return Err((StatusCode::GATEWAY_TIMEOUT, text).into_response());
            }
        };
        self.cache().insert(item, body.clone());
        Ok(body)
    }

    fn stats(&self) -> Stats {
        let done = self.workers.done();
        let (cache_entries, cache_bytes) = {
            let cache = self.cache();
            (cache.entries(), cache.used())
        };
        Stats {
            ready: self.warm.load(Ordering::Relaxed),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            rejected: self.rejected.load(Ordering::Relaxed),
            body_bytes: self.body_bytes.load(Ordering::Relaxed),
            reports: done.reports,
            passes: done.passes,
            queued: done.queued,
            cache_entries,
            cache_bytes,
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        // Only this thread takes the lock, for microseconds; nothing panics while holding it.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
