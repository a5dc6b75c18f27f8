//! The open loop: a pacer starts requests when they are due, whatever became of the ones before (spec/metrics-and-load.md §3.5).

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::{
    runtime, select,
    sync::{Notify, mpsc},
    task::{LocalSet, coop, spawn_local},
};
use tokio_util::sync::CancellationToken;

use crate::{
    attack::{AttackError, Summary, Update},
    client::{Client, ClientSettings},
    dialer::Dialer,
    plan::{Plan, ReportMode},
    recorder::{Recorder, Sample},
    report::Report,
    request::{Parts, Request},
    schedule::Schedule,
    target::Body,
    ticks::{Tick, Ticks},
    timer::Timer,
    tls::TlsSettings,
};

/// How long requests under way may go on after a cancellation.
const CANCEL_GRACE: Duration = Duration::from_secs(1);
/// How long after the end of the load requests that were due before it are still sent, when only the load generator was late.
const LATE_GRACE: Duration = Duration::from_millis(500);
/// Requests started in one go before responses get their turn.
const BURST: usize = 32;

/// Reads and checks everything that a run needs. Blocks on files.
pub(crate) fn prepare(
    plan: Plan,
    updates: mpsc::Sender<Update>,
) -> Result<(runtime::Runtime, Run), AttackError> {
    let tls = TlsSettings {
        insecure: plan.insecure,
        http2: plan.http2,
        root_certs: plan.root_certs.clone(),
    };
    let dialer = Dialer::new(tls, plan.dns_ttl);
    if plan
        .targets
        .iter()
        .any(|target| target.url.scheme() == "https")
    {
        dialer.prepare_tls()?;
    }
    let client = Client::new(
        ClientSettings {
            timeout: plan.timeout,
            redirects: plan.redirects,
            keepalive: plan.keepalive,
            idle: plan.connections,
            max_connections: plan.max_connections.map(|most| most.get() as usize),
            max_body: plan.max_body,
        },
        dialer,
    );
    let requests = requests(&plan, &client)?;
    if requests.is_empty() {
        return Err(AttackError::NoTargets);
    }
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("servo-load")
        // They resolve names, a few at a time.
        .max_blocking_threads(4)
        .build()?;
    let recorder = || Recorder::new().map_err(io::Error::other);
    let window = match plan.report_mode {
        ReportMode::Cumulative => None,
        ReportMode::Interval => Some(recorder()?),
    };
    let total = plan.warmup.saturating_add(plan.duration);
    let schedule = Schedule::new(&plan.rate, total);
    let limit = match (plan.max_workers, schedule) {
        (Some(most), _) => most.get(),
        (None, Some(_)) => affordable_requests(),
        (None, None) => u64::from(plan.workers.get()),
    };
    let run = Run {
        client,
        requests,
        warmup: plan.warmup,
        total,
        interval: plan.reporting_interval,
        planned: schedule.map_or(u64::MAX, |schedule| schedule.count()),
        schedule,
        limit,
        started: Instant::now(),
        started_at: Timestamp::now(),
        next: Cell::new(0),
        in_flight: Cell::new(0),
        stopping: Cell::new(false),
        freed: Notify::new(),
        pacer_waits: Cell::new(false),
        whole: RefCell::new(recorder()?),
        slice: window.map(RefCell::new),
        updates,
        dropped_updates: Cell::new(0),
    };
    Ok((runtime, run))
}

/// How many requests may be under way when nobody set a limit: each may need a connection of its own, and a quarter of the files
/// that the process may open stays for the rest of the daemon, which would otherwise fail with the load.
fn affordable_requests() -> u64 {
    #[cfg(unix)]
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(unix))]
    let files = None;
    files.map_or(u64::MAX, |files: u64| (files / 4 * 3).max(1))
}

/// The targets as requests, with their bodies read: each file once.
fn requests(plan: &Plan, client: &Client) -> Result<Vec<Request>, AttackError> {
    let mut files: HashMap<PathBuf, Bytes> = HashMap::new();
    let mut requests = Vec::with_capacity(plan.targets.len());
    for target in &plan.targets {
        let body = match &target.body {
            Body::Inline(bytes) => bytes.clone(),
            Body::File(path) => match files.get(path) {
                Some(bytes) => bytes.clone(),
                None => {
                    let bytes =
                        Bytes::from(std::fs::read(path).map_err(|cause| AttackError::BadBody {
                            path: path.clone(),
                            cause,
                        })?);
                    files.insert(path.clone(), bytes.clone());
                    bytes
                }
            },
        };
        let mut headers = target.headers.clone();
        for (name, value) in &plan.headers {
            if !target
                .headers
                .iter()
                .any(|(own, _)| own.eq_ignore_ascii_case(name))
            {
                headers.push((name.clone(), value.clone()));
            }
        }
        let parts = Parts {
            method: target.method,
            url: target.url.clone(),
            headers,
            body,
        };
        requests.push(
            client
                .prepare(parts)
                .ok_or_else(|| AttackError::BadTarget(target.shown()))?,
        );
    }
    Ok(requests)
}
/// Runs to the end. On return, every task, connection and timer of the run is gone.
pub(crate) fn execute(
    runtime: runtime::Runtime,
    mut run: Run,
    cancel: &CancellationToken,
) -> Summary {
    (run.started, run.started_at) = (Instant::now(), Timestamp::now());
    let run = Rc::new(run);
    let tasks = LocalSet::new();
    let cancelled = tasks.block_on(&runtime, run.clone().pace(cancel));
    drop(tasks);
    // A name lookup cannot be interrupted; it ends in the background.
    runtime.shutdown_background();
    run.summary(cancelled)
}
/// A request that is to be sent now.
struct Hit {
    sequence: u64,
    /// `None` at an unlimited rate.
    intended: Option<Duration>,
    /// It had to wait for a free slot.
    queued: bool,
}

/// Everything of a run that its tasks share. All moments are counted from `started`.
pub(crate) struct Run {
    client: Client,
    requests: Vec<Request>,
    warmup: Duration,
    /// Warm-up and measured window.
    total: Duration,
    interval: Duration,
    /// `None` at an unlimited rate.
    schedule: Option<Schedule>,
    /// Requests of the whole run; never reached at an unlimited rate.
    planned: u64,
    /// The most requests under way.
    limit: u64,
    started: Instant,
    started_at: Timestamp,
    /// The sequence number of the next request.
    next: Cell<u64>,
    in_flight: Cell<u64>,
    /// No request may be started any more.
    stopping: Cell<bool>,
    /// Wakes the pacer when a slot becomes free, if `pacer_waits` for one.
    freed: Notify,
    pacer_waits: Cell<bool>,
    whole: RefCell<Recorder>,
    /// Since the last report, when reports do not cover the whole window.
    slice: Option<RefCell<Recorder>>,
    updates: mpsc::Sender<Update>,
    dropped_updates: Cell<u64>,
}

impl Run {
    /// Starts requests until the end of the load, then waits for those under way. True when cancelled before.
    async fn pace(self: Rc<Self>, cancel: &CancellationToken) -> bool {
        let timer = Timer::new();
        let mut ticks = Ticks::new(self.warmup, self.total, self.interval);
        let cancelled = loop {
            if cancel.is_cancelled() {
                break true;
            }
            let now = self.started.elapsed();
            match ticks.take(now) {
                Some(Tick::Report) => self.send_report(),
                Some(Tick::Interim) => self.send_interim(),
                None => {}
            }
            if self.is_over(now) {
                break false;
            }
            let more_due = self.start_due();
            if more_due {
                // Let responses in before the next burst.
                tokio::task::yield_now().await;
                continue;
            }
            let wake = self
                .next_due()
                .into_iter()
                .chain(ticks.next())
                .fold(self.total, Duration::min);
            self.pacer_waits.set(self.is_full());
            select! {
                biased;
                () = cancel.cancelled() => {}
                () = self.freed.notified() => {}
                () = timer.until(self.started + wake) => {}
            }
        };
        self.stopping.set(true);
        self.pacer_waits.set(true);
        let cancelled = cancelled
            || select! {
                biased;
                () = cancel.cancelled() => true,
                () = self.drained() => false,
            };
        if cancelled {
            // Those that do not make it are dropped with their tasks.
            let _ = tokio::time::timeout(CANCEL_GRACE, self.drained()).await;
        } else {
            self.send_report();
        }
        cancelled
    }

    /// Starts requests that are due. True when there are more of them for which there is room.
    fn start_due(self: &Rc<Self>) -> bool {
        for _ in 0..BURST {
            if self.is_full() {
                return false;
            }
            let Some(hit) = self.take(false) else {
                return false;
            };
            self.in_flight.set(self.in_flight.get() + 1);
            spawn_local(Slot(self.clone()).work(hit));
        }
        true
    }

    /// The next request, if it is due.
    fn take(&self, queued: bool) -> Option<Hit> {
        let sequence = self.next.get();
        if self.stopping.get() || sequence >= self.planned {
            return None;
        }
        let now = self.started.elapsed();
        let intended = match &self.schedule {
            Some(schedule) => Some(schedule.due(sequence))
                .filter(|due| *due <= now)
                .map(Some)?,
            None if now < self.total => None,
            None => return None,
        };
        // What queued for a slot until the end of the load is missed, not sent (spec §3.5, item 3).
        if queued && now >= self.total {
            return None;
        }
        self.next.set(sequence + 1);
        Some(Hit {
            sequence,
            intended,
            queued,
        })
    }

    fn is_full(&self) -> bool {
        self.in_flight.get() >= self.limit
    }

    /// Whether the load has ended: its time is up, and everything that is still to be sent would be sent too late.
    fn is_over(&self, now: Duration) -> bool {
        let all_sent = self.schedule.is_none() || self.next.get() >= self.planned;
        now >= self.total
            && (all_sent || self.is_full() || now >= self.total.saturating_add(LATE_GRACE))
    }

    /// When the next request is due, unless it has to wait for a slot or there is none.
    fn next_due(&self) -> Option<Duration> {
        let schedule = self
            .schedule
            .as_ref()
            .filter(|_| !self.is_full() && self.next.get() < self.planned)?;
        Some(schedule.due(self.next.get()))
    }

    async fn drained(&self) {
        while self.in_flight.get() > 0 {
            self.freed.notified().await;
        }
    }

    /// Sends one request and counts it, unless it belongs to the warm-up.
    async fn fire(&self, hit: Hit) {
        let index = hit.sequence % self.requests.len() as u64;
        let Some(request) = usize::try_from(index)
            .ok()
            .and_then(|index| self.requests.get(index))
        else {
            return;
        };
        let started = self.started.elapsed();
        let reply = self.client.send(request, hit.sequence).await;
        let ended = self.started.elapsed();
        let intended = hit.intended.unwrap_or(started);
        if intended < self.warmup {
            return;
        }
        let bytes_out = request.parts.body.len() as u64;
        let sample = Sample {
            intended,
            started,
            ended,
            queued: hit.queued,
            bytes_out,
            reply,
        };
        self.whole.borrow_mut().record(&sample);
        if let Some(slice) = &self.slice {
            slice.borrow_mut().record(&sample);
        }
    }

    /// Requests of the measured window that the plan foresees before `elapsed`.
    fn planned_by(&self, elapsed: Duration) -> Option<u64> {
        let schedule = self.schedule.as_ref()?;
        Some(
            schedule
                .before(elapsed.min(self.total))
                .saturating_sub(schedule.before(self.warmup)),
        )
    }

    /// Requests of the measured window that will never be sent; known at the end of the load.
    fn missed(&self) -> u64 {
        match &self.schedule {
            Some(schedule) if self.stopping.get() => self
                .planned
                .saturating_sub(self.next.get().max(schedule.before(self.warmup))),
            _ => 0,
        }
    }

    /// The figures of the present slice, or of the whole window.
    fn figures(&self, recorder: &RefCell<Recorder>) -> Option<Box<Report>> {
        let planned = self.planned_by(self.started.elapsed()).unwrap_or(u64::MAX);
        recorder
            .borrow()
            .report(self.started_at, self.missed(), planned)
            .map(Box::new)
    }

    fn send_report(&self) {
        if let Some(report) = self.figures(self.slice.as_ref().unwrap_or(&self.whole)) {
            self.send(Update::Report(report));
        }
        if let Some(slice) = &self.slice {
            slice.borrow_mut().clear();
        }
    }

    fn send_interim(&self) {
        self.send(Update::Interim(
            self.figures(self.slice.as_ref().unwrap_or(&self.whole)),
        ));
    }

    fn send(&self, update: Update) {
        if self.updates.try_send(update).is_err() {
            self.dropped_updates.set(self.dropped_updates.get() + 1);
        }
    }

    fn summary(&self, cancelled: bool) -> Summary {
        let report = self.figures(&self.whole).map(|report| *report);
        let sent = report.as_ref().map_or(0, |report| report.requests);
        Summary {
            planned: self.planned_by(self.total).unwrap_or(sent),
            missed: self.missed(),
            report,
            limit: self.limit,
            dropped_updates: self.dropped_updates.get(),
            cancelled,
        }
    }
}

/// One of the requests that may be under way at once. Gives itself back when dropped, so that even a panic frees it.
struct Slot(Rc<Run>);

impl Slot {
    /// Sends `hit`, and then whatever is due already.
    async fn work(self, hit: Hit) {
        let mut next = Some(hit);
        while let Some(hit) = next {
            self.0.fire(hit).await;
            // Requests that fail at once would otherwise never let go of the thread.
            coop::consume_budget().await;
            next = self.0.take(self.0.is_full());
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0
            .in_flight
            .set(self.0.in_flight.get().saturating_sub(1));
        if self.0.pacer_waits.get() {
            self.0.freed.notify_one();
        }
    }
}
